"""What all imports share: the folder that is written, the order of inhibition rules, windows that recur, the
command."""

import itertools
import json
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner, Result

from foreshock.core import registry
from foreshock.core.errors import ConfigError, ForeshockError, Problem
from foreshock.core.matchers import Matcher, matches_all, parse_matchers
from foreshock.service.cli import app
from foreshock.service.importing import kinds
from foreshock.service.importing.circles import implied, literals, may_overlap, ordered
from foreshock.service.importing.folder import pages, write
from foreshock.service.importing.reading import root, unplaced
from foreshock.service.importing.recurring import Pattern, clock, outside, windows
from foreshock.service.importing.translation import Fate, Importer, Refused, Translation
from foreshock.service.maintenance import Plan, window

TODAY = date(2026, 11, 22)
CONFIG = """
route: {receiver: ops, group_by: [cluster], routes: [{receiver: dba, matchers: [service="orders"]}]}
receivers: [{name: ops, webhook_configs: [{}]}, {name: dba, webhook_configs: [{}]}]
inhibit_rules: [{source_matchers: [severity="critical"], target_matchers: [severity="warning"], equal: [cluster]}]
"""


FILES = {"alertmanager.yml": CONFIG}
pytestmark = pytest.mark.usefixtures("here")


def run(*words: str) -> Result:
    return CliRunner().invoke(app, list(words))


def a_translation() -> Translation:
    made = Translation(kind="alertmanager", title="Alertmanager", files=("a.yml",))
    node = root({"x": 1}, unplaced("a.yml"))
    key = made.add_ci("db|1`", {"kind": "host", "owner": "<b>dba</b>"}, "a.yml:7 x")
    made.tell(node, "host", Fate.TRANSLATED, name="db|1`\x1b[31m", into=(key,), note="<script> *bold* \u202e")
    return made


# ---- the command ----------------------------------------------------------------------------------------------------


def test_an_import_writes_a_configuration_that_passes_the_checks(here: Path):
    found = run("import", "alertmanager", "alertmanager.yml", "--out", "imported")

    assert found.exit_code == 0, found.output
    assert "6 items: 1 translated, 3 approximately, 2 not translated" in found.output
    assert run("check", "--config", "imported/foreshock.yaml").exit_code == 0
    assert run("rules", "check", "imported/rules").exit_code == 0
    assert sorted(path.name for path in (here / "imported").iterdir()) == [
        "REPORT.md", "correlation.yaml", "foreshock.yaml", "rules", "topology.yaml",
    ]  # fmt: skip


def test_what_was_made_stands_where_the_report_says(here: Path):
    found = json.loads(run("import", "alertmanager", "alertmanager.yml", "-o", "json").stdout)
    [rule] = [item for item in found["items"] if item["what"] == "inhibit rule"]
    [place] = rule["into"]
    name, _, line = place.partition(":")

    assert (rule["file"], rule["line"], rule["fate"]) == ("alertmanager.yml", 4, "translated")
    assert "inhibit rule 1" in (here / found["folder"] / name).read_text().splitlines()[int(line) - 1]
    assert found["folder"] == "imported-alertmanager"


def test_nothing_is_overwritten(here: Path):
    (here / "imported").mkdir()
    found = run("import", "alertmanager", "alertmanager.yml", "--out", "imported")

    assert (found.exit_code, list((here / "imported").iterdir())) == (1, [])
    assert "exists, and nothing is overwritten" in found.output


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("alertmanager", "missing.yml"), 78, "missing.yml: does not exist"),
        (("alertmanager", "bad.yml"), 78, "bad.yml:2:3: route.group_wait: 'x' is not a duration"),
        (("alertmanager", "alertmanager.yml", "alertmanager.yml"), 78, "2 files are named"),
        (("alertmanager", "alertmanager.yml", "--silences", "missing.json"), 78, "missing.json"),
        (("alertmanager", "alertmanager.yml", "--silences", "http://127.0.0.1:1"), 5, "alertmanager"),
        (("pagerbell", "alertmanager.yml"), 2, "'pagerbell' is none of alertmanager"),
        (("alertmanager", "alertmanager.yml", "--out", "alertmanager.yml/x"), 1, "cannot be written"),
    ],
)
def test_what_cannot_be_imported_is_said_and_nothing_is_written(here: Path, words: Sequence[str], code: int, said: str):
    (here / "bad.yml").write_text("route:\n  group_wait: x\n")
    before = sorted(here.iterdir())
    found = run("import", *words)

    assert (found.exit_code, sorted(here.iterdir())) == (code, before)
    assert said in found.output.replace("\n", " ").replace("│", "").replace("  ", " ")
    assert "Traceback" not in found.output


@pytest.mark.parametrize("text", ["{", "[1]", '[{"matchers": []}]'])
def test_a_file_without_silences_is_told_before_anything_is_asked(here: Path, text: str):
    (here / "silences.json").write_text(text)
    found = run("silence", "import", "silences.json", "--server", "http://127.0.0.1:1")

    assert (found.exit_code, "silences.json: holds no silences" in found.output) == (78, True)


# ---- the folder -----------------------------------------------------------------------------------------------------


def test_a_folder_that_does_not_pass_our_own_check_is_not_written(here: Path):
    made = a_translation()
    made.settings["ticket.delay"] = made.cis["db|1`"]  # no duration
    before = sorted(here.iterdir())

    with pytest.raises(ForeshockError, match="does not pass our own check"):
        write(made, here / "out")
    assert sorted(here.iterdir()) == before


def test_text_of_a_stranger_is_text_in_every_file(here: Path):
    write(a_translation(), here / "out")
    report = (here / "out" / "REPORT.md").read_text()

    assert "`` db|1`�[31m ``" in report
    assert r"\<script\> \*bold\* �" in report
    assert '- {id: "db|1`", kind: host, owner: "<b>dba</b>"}' in (here / "out" / "topology.yaml").read_text()


def test_a_large_topology_is_json_whose_lines_the_report_names_too(here: Path):
    made = a_translation()
    node = root({}, unplaced("a.yml"))
    for number in range(2001):
        key = made.add_ci(f"host-{number}", {"kind": "host", "name": 'a name, and "more"'}, "")
    key = made.add_relationship("host-1", "depends_on", "host-2", "")
    made.tell(node, "host", Fate.TRANSLATED, into=(key,))
    found = write(made, here / "out")

    name, _, line = found[-1].into[0].partition(":")
    row = (here / "out" / name).read_text().splitlines()[int(line) - 1]
    assert (name, json.loads(row)["target"]) == ("topology.json", "host-2")
    assert run("check", "--config", "out/foreshock.yaml").exit_code == 0


texts = st.text(min_size=1, max_size=12)


@settings(max_examples=60, deadline=None)
@given(ids=st.lists(texts, max_size=4), owner=texts, matchers=st.lists(texts, min_size=1, max_size=3))
def test_whatever_text_the_source_has_what_is_written_passes_the_checks(tmp_path_factory, ids, owner, matchers):
    """What our settings do not take is refused entry by entry, with the reason, before the folder is written."""
    made = Translation(kind="alertmanager", title="Alertmanager", files=(owner,))
    for id in ids:
        with suppress(Refused):
            made.add_ci(id, {"owner": owner}, id)
    with suppress(Refused):
        made.add_inhibit(owner, [str(Matcher(name=text, value=owner)) for text in matchers], ['a="b"'], ids, owner)
        made.add_window(owner, {"title": owner, "comment": owner, "matchers": ['a="b"'], "starts": "2026-11-22 00:00",
                                "length": "1h"}, owner)  # fmt: skip

    write(made, tmp_path_factory.mktemp("any") / "out")


def test_names_that_would_be_equal_are_told_apart():
    made = Translation(kind="x", title="X", files=())

    assert [made.name(text) for text in ("Nights!", "nights", "nights-2", "ÄÖ", "")] == [
        "nights", "nights-2", "nights-2-2", "imported", "imported-2",
    ]  # fmt: skip
    assert {len(made.name("x" * 200)) for _ in range(12)} == {64}


def test_a_ci_that_is_named_twice_is_one_with_what_either_knows():
    made = a_translation()
    made.add_ci("web", {"kind": "host"}, "")
    made.add_ci("web", {"kind": "vm", "owner": "ops"}, "")

    assert made.cis["web"].value == {"id": "web", "kind": "host", "owner": "ops"}
    with pytest.raises(Refused, match="only by case"):
        made.add_ci("WEB", {}, "")
    with pytest.raises(Refused, match="is no CI here"):
        made.add_relationship("web", "depends_on", "gone", "")
    assert "version: 1" in pages(made)[0]["topology.yaml"]


# ---- what is broken -------------------------------------------------------------------------------------------------


SHIPPED = Path(__file__).parents[1] / "samples"
XML = """<zabbix_export><version>6.0</version><hosts><host><host>a</host><interfaces><interface><ip>192.0.2.1</ip>
</interface></interfaces><items><item><key>k</key><triggers><trigger><expression>last(/a/k)=0</expression><name>x</name>
<dependencies><dependency><name>y</name><expression>last(/a/z)=0</expression></dependency></dependencies></trigger>
</triggers></item></items></host></hosts></zabbix_export>"""
SAMPLES = [
    ("alertmanager", CONFIG),
    ("nagios", (SHIPPED / "nagios-objects.cfg").read_text()),
    ("zabbix", (SHIPPED / "zabbix-export.yaml").read_text()),
    ("zabbix", XML),
]
damage = st.lists(
    st.tuples(st.floats(0, 1), st.integers(0, 40), st.sampled_from(["", *"{}<>:x+,ß[' ", "\n", "- ", "\x00"])),
    min_size=1,
    max_size=4,
)  # fmt: skip


@pytest.mark.parametrize(("tool", "text"), SAMPLES, ids=["alertmanager", "nagios", "zabbix yaml", "zabbix xml"])
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(wounds=damage)
def test_a_damaged_file_is_imported_or_refused_with_its_place(tool, text, tmp_path_factory, wounds):
    folder = tmp_path_factory.mktemp("damaged")
    for where, cut, put in wounds:
        at = int(where * len(text))
        text = text[:at] + put + text[at + cut :]
    (folder / "source").write_text(text)
    importer = registry.kinds(kinds, "IMPORTER", Importer)[tool]
    problems: Sequence[Problem] = ()
    try:
        write(importer.translate(importer.read([folder / "source"], None), TODAY), folder / "out")
    except ConfigError as error:
        problems = error.problems

    assert {problem.file for problem in problems} <= {str(folder / "source")}
    assert (folder / "out").exists() != bool(problems)


# ---- in which order inhibition rules stand --------------------------------------------------------------------------


def m(text: str) -> tuple[Matcher, ...]:
    return parse_matchers(text)


def test_what_an_expression_lists_is_known_and_what_it_does_besides_is_not():
    assert literals("db|web") == ("db", "web")
    assert literals(r"^(?:db1\.example|web 2)$") == ("db1.example", "web 2")
    assert [literals(text) for text in ("db.*", "d[bc]", "(a|b)|c", "a.b", "(a", r"\d")] == [None] * 6


VALUES = ("", "1", "2", "3", "12", "1x2", "1..")
words = st.sampled_from(["1", "2", "1|2", "2|3", ".*", ".+", "[12]", "1.*", ".*2", "1.*2", r"1\.*"])
some_matchers = st.lists(
    st.builds(
        lambda name, value, regex, equal: Matcher(name=name, value=value, is_regex=regex, is_equal=equal),
        st.sampled_from("ab"), words, st.booleans(), st.booleans(),
    ),
    max_size=3,
).map(tuple)  # fmt: skip


@given(one=some_matchers, other=some_matchers)
def test_matchers_that_are_said_to_be_apart_are_and_what_is_said_to_follow_does(one, other):
    alerts = [{"a": a, "b": b} for a, b in itertools.product(VALUES, VALUES)]
    if any(matches_all(one, labels) and matches_all(other, labels) for labels in alerts):
        assert may_overlap(one, other)
    if implied(one, other):
        assert all(matches_all(other, labels) for labels in alerts if matches_all(one, labels))


def test_texts_that_begin_or_end_differently_are_apart():
    assert not may_overlap(m('a=~".*: full"'), m('a=~".*: slow"'))
    assert not may_overlap(m('a=~"disk .*"'), m('a=~"fan .*"'))
    assert may_overlap(m('a=~"disk .*"'), m('a=~".*: full"'))


def test_a_rule_stands_above_those_whose_sources_it_names_as_targets():
    chain = [(m('a="3"'), m('a="4"')), (m('a="2"'), m('a="3"')), (m('a="1"'), m('a="2"'))]

    found = ordered(chain)
    assert (found.order, found.cut, found.dead) == ((2, 1, 0), {}, frozenset())


def test_of_a_circle_the_rule_that_loses_least_stands_on_top():
    found = ordered([(m('sev="high"'), m('sev="low"')), (m('name="Cluster"'), m('sev=~"high|low"'))])

    assert (found.order, found.cut, found.dead) == ((1, 0), {1: (0,)}, frozenset())


def test_a_rule_of_which_nothing_is_left_is_dead():
    assert ordered([(m('a="1"'), m('a="2"')), (m('a="2"'), m('a="1"'))]).dead == {0}


# ---- windows that recur ---------------------------------------------------------------------------------------------


patterns = st.builds(
    lambda times, weekdays, month_days, months: Pattern(
        start=min(times), end=max(times), weekdays=weekdays, month_days=month_days, months=months
    ),
    st.sets(st.sampled_from([0, 360, 540, 1020, 1440]), min_size=2, max_size=2),
    st.sets(st.integers(0, 6), max_size=3).map(lambda days: tuple(sorted(days))),
    st.sampled_from([(), (1,), (15, 16), (-1,), (-3, -2, -1), (31,)]),
    st.sampled_from([(), (12,), (1, 2)]),
)


@settings(max_examples=60, deadline=None)
@given(pattern=patterns)
def test_a_window_takes_place_when_its_pattern_says(pattern: Pattern):
    now = datetime(2026, 11, 22, tzinfo=UTC)
    [plan] = windows(pattern, now.date(), "UTC")
    made = window(
        Plan(title="x", comment="y", cis=("z",), **plan), id="w", owner="o", origin="operator", now=now
    )  # fmt: skip

    for offset in range(0, 80 * 24 * 60, 180):
        moment = now + timedelta(minutes=offset)
        minute = moment.hour * 60 + moment.minute
        expected = pattern.holds_on(moment.date()) and pattern.start <= minute < pattern.end
        assert any(span.starts_at <= moment < span.ends_at for span in made.spans) == expected, moment


def test_years_are_windows_that_end_and_those_that_are_over_are_none():
    plans = windows(Pattern(years=(2025, 2027, 2028)), TODAY, "UTC")

    assert [(plan["starts"], plan["rrule"]) for plan in plans] == [
        ("2027-01-01 00:00", "FREQ=DAILY;UNTIL=20281231T235959Z")
    ]


@given(chosen=st.lists(patterns.map(lambda p: Pattern(start=p.start, end=p.end, weekdays=p.weekdays)), max_size=4))
def test_what_is_outside_is_all_the_rest_of_the_week(chosen: list[Pattern]):
    rest = outside(chosen)

    def holds(pattern: Pattern, day: int, minute: int) -> bool:
        return (not pattern.weekdays or day in pattern.weekdays) and pattern.start <= minute < pattern.end

    for day, minute in itertools.product(range(7), range(0, 1440, 30)):
        inside = any(holds(pattern, day, minute) for pattern in chosen)
        assert any(holds(pattern, day, minute) for pattern in rest) != inside


def test_what_is_outside_of_days_of_the_month_is_not_worked_out():
    assert outside([Pattern(month_days=(1,))]) is None


def test_a_time_of_day_is_read_or_refused():
    assert [clock(text) for text in ("09:30", "24:00", "0:00", "24:01", "9", "12:60", "x:00", "-1:00")] == [
        570, 1440, 0, None, None, None, None, None,
    ]  # fmt: skip
