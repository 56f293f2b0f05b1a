"""What every kind of CMDB source promises. A new file in ``cmdb_sync`` is tested by existing.

It is read from its stand-in, ``foreshock/sandbox/<kind>.py`` with ``source_settings``, in which the suite changes what
people would (``sandbox.cmdb.CmdbSystem``). What a system cannot do, its ``Cmdb.lacks`` says with the reason.
"""

import gc
import importlib
import inspect
import unicodedata
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule
from pydantic import ValidationError

from foreshock.connect.cmdb import MAX_TEXT_CHARS
from foreshock.connect.config import parse_yaml
from foreshock.core.cmdb import GENERIC, RELATED, CmdbConfig, Expired, Kind, SourceKind
from foreshock.core.errors import Denied, ForeshockError, Unavailable
from foreshock.core.topology import DIRECTIONS
from foreshock.sandbox.cmdb import Cmdb, Relation, Trait
from foreshock.sandbox.faults import Fault
from foreshock.service.settings import Settings
from foreshock.service.settings_files import example
from foreshock.testing.sources import SOURCE_SIMULATORS, SOURCES, Bench, Copy, Reading, benched, shown

REMOTE = {name: kind for name, kind in SOURCES.items() if not kind.local}

every_kind = pytest.mark.parametrize("declared", SOURCES.values(), ids=SOURCES)
every_remote_kind = pytest.mark.parametrize("declared", REMOTE.values(), ids=REMOTE)


@pytest.fixture
def bench(declared: SourceKind, tmp_path):
    with benched(declared, tmp_path) as made:
        yield made


@pytest.fixture
def no_collections():
    """A stand-in that holds hundreds of thousands of objects is no garbage, and searching it takes half of the time."""
    gc.disable()
    yield
    gc.enable()


def needs(bench: Bench, *traits: Trait) -> None:
    """Skips with the reason that the stand-in declares."""
    for trait in traits:
        if trait in bench.can.lacks:
            pytest.skip(f"{bench.kind.kind}: {bench.can.lacks[trait]}")


# ---- declaration ----------------------------------------------------------------------------------------------------


@every_kind
def test_the_declaration_is_complete(declared: SourceKind):
    assert declared.title
    assert declared.facts
    assert issubclass(declared.config, CmdbConfig)
    assert callable(declared.build)


@every_kind
def test_the_file_begins_with_its_facts(declared: SourceKind):
    doc = inspect.getdoc(importlib.import_module(f"cmdb_sync.{declared.kind}")) or ""

    assert [word for word in ("Facts:", "Delivery:", "Recovery:", "Limits:", "Needs:") if word not in doc] == []


@every_kind
def test_every_setting_is_described_and_unknown_ones_are_refused(declared: SourceKind):
    assert [name for name, info in declared.config.model_fields.items() if not info.description] == []
    assert not {"name", "kind", "config"} & set(declared.config.model_fields), "these name the instance"
    with pytest.raises(ValidationError, match="Extra inputs"):
        declared.config.model_validate({"no_such_setting": 1})


@every_kind
def test_the_example_file_shows_an_instance_with_its_settings(declared: SourceKind):
    lines = example().splitlines()
    topology = lines[next(index for index, line in enumerate(lines) if line.lstrip("# ").startswith("topology:")) :]
    begin = topology.index(f"  # - name: {declared.kind}")
    end = next(index for index in range(begin + 1, len(topology)) if not topology[index].startswith("  #   "))
    (shown,) = parse_yaml("\n".join(line.replace("# ", "", 1) for line in topology[begin:end]), file="example").data

    assert shown.keys() - {"name", "kind"} <= declared.config.model_fields.keys()
    assert {name for name, info in declared.config.model_fields.items() if info.is_required()} <= shown.keys()


@every_kind
def test_an_instance_is_configured_by_the_settings_of_its_stand_in(bench: Bench):
    instance = {"name": "prod", "kind": bench.kind.kind, **bench.settings}

    assert Settings.model_validate({"topology": [instance]}).topology[0].kind == bench.kind.kind


@every_remote_kind
def test_it_has_a_stand_in(declared: SourceKind):
    assert declared.kind in SOURCE_SIMULATORS, f"write foreshock/sandbox/{declared.kind}.py with source_settings"


@every_kind
def test_what_the_stand_in_cannot_do_has_a_reason_and_what_it_can_do_is_named(bench: Bench):
    can = bench.can

    assert all(can.lacks.values())
    assert can.kind in set(Kind)
    assert can.relation.type in DIRECTIONS
    assert bool(can.unmapped_class) != (Trait.CLASSES in can.lacks)
    assert (can.unmapped_relation is not None) != (Trait.RELATIONS in can.lacks)
    assert bool(can.permissions) != (Trait.PERMISSIONS in can.lacks)


# ---- whole readings -------------------------------------------------------------------------------------------------


@every_kind
def test_the_same_content_gives_the_same_reading(bench: Bench):
    bench.related(("one", "two"))

    assert bench.read() == bench.read()


@every_kind
def test_a_whole_reading_holds_what_is_there_in_our_words(bench: Bench):
    (one,) = bench.put("one")
    ((source, target, key),) = bench.related(("two", "three"))

    reading = bench.read()

    assert reading.whole
    assert reading.flaws == []
    assert (reading.items[one].name, reading.items[one].kind) == ("one", bench.can.kind)
    assert reading.items[one].class_name or bench.kind.local
    tie = reading.ties[key]
    assert (tie.source, tie.type, tie.target) == (source, bench.can.relation.type, target)
    assert {end for each in reading.ties.values() for end in (each.source, each.target)} <= set(reading.items)
    assert {each.type for each in reading.ties.values()} <= set(DIRECTIONS)
    assert not any(item.retired for item in reading.items.values())


@every_kind
def test_what_a_ci_has_is_shown_whichever_it_is(bench: Bench):
    for name, values in bench.can.shows.items():
        for index, value in enumerate(values):
            id = bench.world.put_ci(f"{name.replace('_', '-')}-{index}", **{name: value})

            assert shown(bench.read().items[id], name) == value, name


@every_kind
def test_small_pages_hold_the_same_as_large_ones(bench: Bench):
    needs(bench, Trait.PAGES)
    bench.related(*((f"a{number}", f"b{number}") for number in range(7)))
    large = bench.read()

    bench.world.page_rows = 2
    small = bench.read()

    assert len(small.cursors) > len(large.cursors)
    assert (small.items, small.ties, small.whole) == (large.items, large.ties, True)


@every_kind
def test_a_reading_goes_on_in_another_process_from_any_page_even_twice(bench: Bench):
    needs(bench, Trait.PAGES)
    bench.related(*((f"a{number}", f"b{number}") for number in range(4)))
    bench.world.page_rows = 2
    reading = bench.read()

    for cursor in reading.cursors:
        assert bench.source().page(cursor, "") == bench.source().page(cursor, "")
    assert set(reading.cursors) >= {bench.source().page(cursor, "").next for cursor in reading.cursors} - {""}


@every_kind
@pytest.mark.parametrize("done", ["deleted", "renamed", "added"])
def test_nothing_that_stays_is_missed_while_something_else_is_changed(bench: Bench, done: str):
    needs(bench, Trait.PAGES, *([Trait.RENAMES] if done == "renamed" else []))
    ids = bench.put(*(f"ci-{number:02}" for number in range(12)))
    bench.world.page_rows = 3
    reading, touched = Reading(), []
    page = bench.source().page("", "")
    reading.add(page)
    while page.next:
        seen = [id for id in ids if id in reading.items]
        if seen and not touched:
            touched = seen[:1]
            match done:
                case "deleted":
                    bench.world.delete_ci(touched[0])
                case "renamed":
                    bench.world.change_ci(touched[0], name="zz-renamed")
                case "added":
                    bench.put("aa-new")
        page = bench.source().page(page.next, "")
        reading.add(page)

    assert touched, "all were read at once"
    assert set(ids) - set(touched) <= set(reading.items)
    assert reading.whole


@every_remote_kind
def test_a_page_that_comes_once_more_loses_nothing(bench: Bench):
    needs(bench, Trait.PAGES)
    bench.related(*((f"a{number}", f"b{number}") for number in range(6)))
    bench.world.page_rows = 3
    wanted = bench.read()

    try:
        reading = bench.read_repeated(1)
    except Unavailable:  # it was noticed, so the reading is tried again later
        reading = bench.read()

    assert (reading.items, reading.ties, reading.whole) == (wanted.items, wanted.ties, True)


@every_remote_kind
def test_a_page_that_comes_for_ever_does_not_end_as_a_whole_reading(bench: Bench):
    needs(bench, Trait.PAGES)
    bench.related(*((f"a{number}", f"b{number}") for number in range(6)))
    bench.world.page_rows = 3
    wanted = bench.read()

    try:
        reading = bench.read_repeated(0)
    except Unavailable:
        return
    assert (reading.items, reading.ties) == (wanted.items, wanted.ties), "the reading says that it is whole"


@every_kind
@pytest.mark.parametrize("nonsense", ["nonsense", '{"v": 0}', "[]", "null", "\ud800"])
def test_a_cursor_or_mark_of_another_version_begins_anew(bench: Bench, nonsense: str):
    if Trait.PAGES not in bench.can.lacks:
        with pytest.raises(Expired):
            bench.source().page(nonsense, "")
    with suppress(Expired):
        assert bench.read(nonsense).whole


@every_kind
def test_expired_cursors_and_marks_begin_anew(bench: Bench):
    needs(bench, Trait.EXPIRY, Trait.PAGES)
    bench.put(*(f"ci-{number}" for number in range(6)))
    mark = bench.read().mark
    bench.world.page_rows = 2
    cursor = bench.source().page("", "").next
    bench.world.expire()

    with pytest.raises(Expired):
        bench.source().page(cursor, "")
    with suppress(Expired):
        assert not mark or bench.read(mark).whole
    assert bench.read().whole


# ---- deltas ---------------------------------------------------------------------------------------------------------


@every_kind
def test_a_mark_brings_all_that_changed_since(bench: Bench):
    stays, changes = bench.put("stays", "changes")
    reading = bench.read()
    copy = Copy()
    copy.apply(reading)
    bench.clock.move(600)
    (added,) = bench.put("added")
    ((source, target, _),) = bench.related(("from", "to"))
    for name, (_, second) in bench.can.shows.items():
        bench.world.change_ci(changes, **{name: second})
    bench.clock.move(60)

    delta = bench.read(reading.mark)
    copy.apply(delta)

    assert (bool(reading.mark) and not delta.whole) == (Trait.DELTA not in bench.can.lacks)
    assert {stays, added} <= set(copy.items)
    assert {name: shown(copy.items[changes], name) for name in bench.can.shows} == {
        name: second for name, (_, second) in bench.can.shows.items()
    }
    assert (source, bench.can.relation.type, target) in copy.ties


@every_kind
def test_a_delta_does_not_bring_what_did_not_change(bench: Bench):
    needs(bench, Trait.DELTA)
    bench.put(*(f"ci-{number}" for number in range(20)))
    bench.clock.move(7200)
    mark = bench.read().mark
    bench.clock.move(7200)
    (added,) = bench.put("added")

    delta = bench.read(mark)

    assert set(delta.items) == {added}
    assert not delta.gone


@every_kind
def test_where_nothing_changed_a_mark_brings_nothing_and_still_leads_on(bench: Bench):
    needs(bench, Trait.DELTA)
    bench.put("one")
    bench.clock.move(7200)
    mark = bench.read().mark
    for _ in range(3):
        bench.clock.move(7200)
        delta = bench.read(mark)
        assert (delta.items, delta.ties, delta.gone, delta.gone_ties) == ({}, {}, set(), set())
        assert delta.mark
        mark = delta.mark
    (two,) = bench.put("two")

    assert two in bench.read(mark).items


@every_kind
def test_a_renamed_ci_keeps_its_id(bench: Bench):
    needs(bench, Trait.RENAMES)
    (id,) = bench.put("before")
    copy = Copy()
    copy.apply(bench.read())
    bench.clock.move(60)

    bench.world.change_ci(id, name="after")
    copy.apply(bench.read(copy.mark))

    assert copy.items[id].name == "after"
    assert not [item for item in copy.items.values() if item.name == "before"]


@every_kind
def test_what_changes_in_the_second_of_the_mark_is_not_lost(bench: Bench):
    (first,) = bench.put("first")
    copy = Copy()
    copy.apply(bench.read())

    (second,) = bench.put("second")
    if Trait.RENAMES not in bench.can.lacks:
        bench.world.change_ci(first, name="renamed")
    copy.apply(bench.read(copy.mark))
    bench.clock.move(1)
    copy.apply(bench.read(copy.mark))

    assert second in copy.items
    assert copy.items[first].name == ("first" if Trait.RENAMES in bench.can.lacks else "renamed")


@every_kind
def test_a_delta_by_small_pages_holds_all(bench: Bench):
    needs(bench, Trait.DELTA, Trait.PAGES)
    mark = bench.read().mark
    bench.clock.move(60)
    added = bench.put(*(f"ci-{number}" for number in range(11)))  # all in one second
    bench.world.page_rows = 3

    assert set(added) <= set(bench.read(mark).items)


@every_kind
def test_what_is_deleted_is_gone(bench: Bench):
    needs(bench, Trait.TOMBSTONES)
    (id,) = bench.put("goes")
    ((source, target, key),) = bench.related(("one", "two"))
    ((_, _, left),) = bench.related(("three", "four"))
    copy = Copy()
    copy.apply(bench.read())
    bench.clock.move(600)

    bench.world.delete_ci(id)
    bench.world.unrelate(key)
    delta = bench.read(copy.mark)
    copy.apply(delta)

    assert not delta.whole
    assert id not in copy.items
    assert {source, target} <= set(copy.items)
    assert key not in copy.all_ties
    assert left in copy.all_ties


@every_kind
def test_a_deletion_without_a_trace_is_found_by_the_next_whole_reading(bench: Bench):
    needs(bench, Trait.TRACELESS)
    stays, goes = bench.put("stays", "goes")
    copy = Copy()
    copy.apply(bench.read())
    bench.clock.move(600)

    bench.world.delete_ci(goes, trace=False)
    copy.apply(bench.read(copy.mark))
    copy.apply(bench.read())

    assert stays in copy.items
    assert goes not in copy.items


@every_kind
def test_what_is_deleted_and_made_again_is_there(bench: Bench):
    bench.put("again")
    copy = Copy()
    copy.apply(bench.read())
    bench.clock.move(600)
    bench.world.delete_ci(bench.read().named("again").id)
    (id,) = bench.put("again")

    copy.apply(bench.read(copy.mark))

    assert id in copy.items


# ---- one bad object, odd ones ---------------------------------------------------------------------------------------


@every_kind
def test_an_object_that_cannot_be_read_is_a_flaw_and_the_rest_goes_on(bench: Bench):
    needs(bench, Trait.FLAWS)
    good, bad = bench.put("good", "bad")
    copy = Copy()
    copy.apply(bench.read())
    bench.clock.move(60)
    bench.world.spoil_ci(bad)

    reading = bench.read()
    copy.apply(reading)

    (flaw,) = reading.flaws
    assert flaw.error
    assert len(flaw.payload) < 5000
    assert good in reading.items
    assert bad in copy.items, "what cannot be read now is not gone"


@every_kind
def test_hostile_names_come_out_bounded_and_on_one_line(bench: Bench):
    needs(bench, Trait.FREE_NAMES)
    hostile = [
        "line\nbreak\r\x00\x1b[31mred",
        "x" * 1_000_000,
        "\u202egnp.exe",
        "abc\u200bdef\u2066",
        "{{7*7}} ${jndi:ldap://x} <script>alert(1)</script> '; DROP TABLE cis; --",
        "عربى שלום",
        "e\u0301tat",
    ]
    ids = bench.put(*hostile)

    reading = bench.read()

    assert reading.flaws == []
    names = [reading.items[id].name for id in ids]
    assert all(name and name.isprintable() and len(name) <= MAX_TEXT_CHARS for name in names), names
    assert all(unicodedata.is_normalized("NFC", name) for name in names)
    assert names[4].startswith("{{7*7}} ${jndi"), "markers are only text"
    assert names[5] == "عربى שלום"


@every_kind
def test_names_that_differ_only_by_case_or_unicode_form_are_two_things(bench: Bench):
    needs(bench, Trait.TWINS)
    ids = bench.put("Db1", "db1", "\u00e9tat", "e\u0301tat")

    first, second = bench.read(), bench.read()

    assert len(set(ids)) == 4
    assert set(ids) <= set(first.items)
    assert first.items == second.items


@every_kind
def test_a_ci_related_to_itself_disturbs_nothing(bench: Bench):
    needs(bench, Trait.LOOPS)
    relation = bench.can.relation
    id = bench.world.put_ci("loop", relation.source)
    bench.world.relate(id, id, relation.word)
    ((source, target, key),) = bench.related(("one", "two"))

    reading = bench.read()

    assert {id, source, target} <= set(reading.items)
    assert key in reading.ties
    assert reading.flaws == []


@every_kind
@pytest.mark.timeout(600)
def test_a_hub_of_very_many_is_read_by_bounded_pages(bench: Bench):
    relation = bench.can.relation
    hub = bench.world.put_ci("hub", relation.target)
    for number in range(bench.can.hub):
        bench.world.relate(bench.world.put_ci(f"leaf-{number}", relation.source), hub, relation.word)

    cursor, items, ties = "", 0, 0
    source = bench.source()
    while True:
        page = source.page(cursor, "")
        items, ties, cursor = items + len(page.items), ties + len(page.ties), page.next
        assert len(page.items) + len(page.ties) <= 10_000 or Trait.PAGES in bench.can.lacks
        if not cursor:
            break

    assert items > bench.can.hub
    assert ties >= bench.can.hub


@every_kind
def test_a_class_that_no_map_names_is_generic_and_keeps_its_name(bench: Bench):
    needs(bench, Trait.CLASSES)
    id = bench.world.put_ci("odd", bench.can.unmapped_class)

    item = bench.read().items[id]

    assert item.kind == GENERIC
    assert bench.can.unmapped_class.casefold() in item.class_name.casefold()


@every_kind
def test_a_relation_that_no_map_names_is_kept_without_a_direction(bench: Bench):
    needs(bench, Trait.RELATIONS)
    assert isinstance(bench.can.unmapped_relation, Relation)
    ((source, target, key),) = bench.related(("one", "two"), relation=bench.can.unmapped_relation)

    tie = bench.read().ties[key]

    assert tie.type == RELATED
    assert {tie.source, tie.target} == {source, target}
    assert tie.class_name


# ---- the system fails -----------------------------------------------------------------------------------------------


@every_remote_kind
@pytest.mark.parametrize("fault", [Fault.DENIED, Fault.FORBIDDEN])
def test_refused_credentials_are_denied_and_say_what_to_do(bench: Bench, fault: Fault):
    bench.faults.set_rates({fault: 1.0})

    with pytest.raises(Denied) as raised:
        bench.read()

    assert raised.value.hint
    assert "prod" in str(raised.value)


@every_remote_kind
def test_a_rate_limit_says_how_long_to_rest(bench: Bench):
    bench.faults.set_rates({Fault.LIMITED: 1.0})

    with pytest.raises(Unavailable) as raised:
        bench.read()

    assert raised.value.retry_after_s is not None
    assert raised.value.retry_after_s > 0


_BROKEN = [Fault.ERROR, Fault.RESET, Fault.LOST, Fault.TRUNCATED, Fault.HTML, Fault.HUGE, Fault.MASKED]


@every_remote_kind
@pytest.mark.parametrize("fault", _BROKEN)
def test_a_broken_answer_is_unavailable_and_never_an_empty_reading(bench: Bench, fault: Fault):
    bench.put("one")
    bench.faults.set_rates({fault: 1.0})

    with pytest.raises(Unavailable):
        bench.read()


@every_remote_kind
@pytest.mark.parametrize("fault", _BROKEN)
def test_a_reading_that_breaks_in_the_middle_goes_on_from_its_cursor(bench: Bench, fault: Fault):
    needs(bench, Trait.PAGES)
    bench.related(*((f"a{number}", f"b{number}") for number in range(5)))
    bench.world.page_rows = 2
    wanted = bench.read()

    def broken(page: int) -> None:
        if page % 2:
            bench.faults.set_rates({fault: 1.0})
            with pytest.raises(Unavailable):
                bench.source().page(wanted.cursors[page - 1], "")
            bench.faults.set_rates({})

    reading = bench.read(between=broken)

    assert (reading.items, reading.ties, reading.whole) == (wanted.items, wanted.ties, True)


@every_remote_kind
def test_a_slow_answer_is_read(bench: Bench):
    (id,) = bench.put("one")
    bench.faults.set_rates({Fault.SLOW: 0.5, Fault.DELAY: 0.5})

    assert id in bench.read().items


@every_remote_kind
def test_no_secret_is_in_what_goes_wrong(bench: Bench, tmp_path):
    secrets = [path.read_text().strip() for path in tmp_path.iterdir() if path.is_file()]
    for fault in (Fault.DENIED, Fault.ERROR, Fault.HTML):
        bench.faults.set_rates({fault: 1.0})
        with pytest.raises(ForeshockError) as raised:
            bench.read()
        assert [secret for secret in secrets if len(secret) > 3 and secret in str(raised.value)] == []


# ---- check ----------------------------------------------------------------------------------------------------------


@every_kind
def test_a_check_of_an_account_that_may_all_has_nothing_to_mend(bench: Bench):
    bench.related(("one", "two"))

    findings = bench.source().check()

    assert findings
    assert [(finding.subject, finding.observed) for finding in findings if finding.remedy] == []


@every_kind
def test_a_check_finds_each_permission_that_is_missing(bench: Bench, tmp_path_factory):
    needs(bench, Trait.PERMISSIONS)
    for permission in bench.can.permissions:
        with benched(bench.kind, tmp_path_factory.mktemp("other")) as other:
            other.related(("one", "two"))
            other.world.forbid(permission)

            findings = [finding for finding in other.source().check() if finding.remedy]

            assert findings, permission


@every_kind
def test_what_may_not_be_read_is_never_taken_for_gone(bench: Bench, tmp_path_factory):
    needs(bench, Trait.PERMISSIONS)
    for permission in bench.can.permissions:
        with benched(bench.kind, tmp_path_factory.mktemp("other")) as other:
            other.related(("one", "two"))
            other.put("full", **{name: first for name, (first, _) in other.can.shows.items()})
            wanted = other.read()
            other.world.forbid(permission)

            with suppress(Denied):
                reading = other.read()
                assert reading.problems or reading == wanted, permission
                assert not reading.whole or set(wanted.items) == set(reading.items), permission
                assert not reading.whole or set(wanted.ties) == set(reading.ties), permission


@every_remote_kind
def test_a_check_of_a_system_that_does_not_answer_is_unavailable(bench: Bench):
    bench.faults.set_rates({Fault.RESET: 1.0})

    with pytest.raises(Unavailable):
        bench.source().check()


@every_remote_kind
def test_a_check_with_refused_credentials_says_so(bench: Bench):
    bench.faults.set_rates({Fault.DENIED: 1.0})

    with suppress(Denied):
        assert [finding for finding in bench.source().check() if finding.remedy]


@every_remote_kind
def test_nothing_is_changed_there_by_reading_or_checking(bench: Bench):
    bench.related(("one", "two"))
    bench.source().check()
    bench.read(bench.read().mark)

    assert bench.server is not None
    assert bench.server.ledger.effects() == []


# ---- anything, in any order -----------------------------------------------------------------------------------------


class Readings(RuleBasedStateMachine):
    """People change a CMDB and a sync follows by deltas and whole readings: it ends up with what is there."""

    cis = Bundle("cis")
    ties = Bundle("ties")
    kind: SourceKind
    folder: object

    def __init__(self) -> None:
        super().__init__()
        self._context = benched(self.kind, self.folder)
        self.bench = self._context.__enter__()
        self.can: Cmdb = self.bench.can
        self.copy = Copy()
        self.traceless = False
        self.there: set[str] = set()
        self.ends: dict[str, tuple[str, str]] = {}
        self.count = 0

    @initialize()
    def begins(self) -> None:
        self.copy.apply(self.bench.read())

    @rule(target=cis, source=st.booleans())
    def put(self, source: bool) -> tuple[str, bool]:
        self.count += 1
        relation = self.can.relation
        id = self.bench.world.put_ci(f"ci-{self.count}", relation.source if source else relation.target)
        self.there.add(id)
        return id, source

    @rule(ci=cis, data=st.data())
    def change(self, ci: tuple[str, bool], data: st.DataObject) -> None:
        if self.can.shows and ci[0] in self.there and self._in_default_class(ci):
            name = data.draw(st.sampled_from(sorted(self.can.shows)))
            self.bench.world.change_ci(ci[0], **{name: data.draw(st.sampled_from(self.can.shows[name]))})

    @rule(ci=cis)
    def rename(self, ci: tuple[str, bool]) -> None:
        if Trait.RENAMES not in self.can.lacks and ci[0] in self.there:
            self.count += 1
            self.bench.world.change_ci(ci[0], name=f"renamed-{self.count}")

    @rule(target=ties, source=cis, to=cis)
    def relate(self, source: tuple[str, bool], to: tuple[str, bool]) -> object:
        pair = (source[0], to[0])
        if not source[1] or to[1] or not set(pair) <= self.there or pair in self.ends.values():
            return multiple()
        key = self.bench.world.relate(*pair)
        self.ends[key] = pair
        return key

    @rule(key=consumes(ties))
    def unrelate(self, key: str) -> None:
        if self.ends.pop(key, None) is not None:
            self.bench.world.unrelate(key)

    @rule(ci=consumes(cis), trace=st.booleans())
    def delete(self, ci: tuple[str, bool], trace: bool) -> None:
        if ci[0] not in self.there:
            return
        trace = trace or Trait.TRACELESS in self.can.lacks
        self.traceless = self.traceless or not trace
        self.there.discard(ci[0])
        self.ends = {key: ends for key, ends in self.ends.items() if ci[0] not in ends}
        self.bench.world.delete_ci(ci[0], trace=trace)

    @rule(seconds=st.sampled_from([0.4, 1, 61, 4000]))
    def time_passes(self, seconds: float) -> None:
        self.bench.clock.move(seconds)

    @rule(rows=st.sampled_from([0, 1, 2, 5]))
    def pages_are(self, rows: int) -> None:
        if Trait.PAGES not in self.can.lacks:
            self.bench.world.page_rows = rows

    @rule()
    def follow(self) -> None:
        self._apply(self.copy.mark)

    @rule()
    def read_whole(self) -> None:
        self._apply("")

    @invariant()
    def nothing_is_wrong(self) -> None:
        assert self.bench.server is None or self.bench.server.failures == []

    def _apply(self, mark: str) -> None:
        reading = self.bench.read(mark)
        self.copy.apply(reading)
        self.traceless = self.traceless and not reading.whole
        now = Copy()
        now.apply(self.bench.read())
        extra = set(self.copy.items) - set(now.items)
        assert self.there <= set(now.items)
        assert {id: self.copy.items.get(id) for id in now.items} == now.items
        assert now.ties <= self.copy.ties
        if reading.whole or not (self.traceless or Trait.TOMBSTONES in self.can.lacks):
            assert (extra, self.copy.ties) == (set(), now.ties)

    def _in_default_class(self, ci: tuple[str, bool]) -> bool:
        return self.can.class_name == (self.can.relation.source if ci[1] else self.can.relation.target)

    def teardown(self) -> None:
        self._context.__exit__(None, None, None)


@every_kind
def test_a_copy_that_follows_by_deltas_holds_what_is_there(declared: SourceKind, tmp_path):
    class Machine(Readings):
        kind = declared
        folder = tmp_path

    case = Machine.TestCase
    case.settings = settings(
        max_examples=10, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
    )
    case().runTest()
