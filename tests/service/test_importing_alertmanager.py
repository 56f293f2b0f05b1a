"""Alertmanager's configuration, translated: what it becomes, what is said of the rest, and that nothing is lost on the
way."""

import itertools
import json
from collections.abc import Sequence
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from correlation.rules.attribute import VARIABLES
from correlation.settings import SuppressSettings
from correlation.suppression.inhibition import Inhibition
from foreshock.core.cel import Condition
from foreshock.core.errors import ConfigError, ForeshockError
from foreshock.core.matchers import Matcher, matches_all, parse_matchers
from foreshock.core.model import Alert, encode_texts
from foreshock.core.severity import Severity
from foreshock.core.topology import Topology
from foreshock.service.importing.kinds.alertmanager import Inhibit, Route, _shown, read, translate
from foreshock.service.importing.translation import Fate, Translation
from foreshock.testing.factories import NOW

TODAY = date(2026, 11, 22)

EXAMPLE = r"""
global: {resolve_timeout: 7m, smtp_from: x@example.org}
templates: [/etc/alertmanager/*.tmpl]
route:
  receiver: ops
  group_by: [alertname, cluster]
  group_wait: 45s
  repeat_interval: 4h
  routes:
  - receiver: 'null'
    matchers: ['alertname=~"Watchdog|InfoInhibitor"']
  - receiver: dba
    match_re: {service: mysql|postgres}
    mute_time_intervals: [nights]
    group_wait: 5s
    routes:
    - match: {severity: critical}
      receiver: pager
  - receiver: web
    matchers: [team = web, 'severity!="info"']
    active_time_intervals: [office]
  - receiver: audit
    matchers: ['{audit="yes",env="prod"}']
    group_by: [alertname]
    continue: true
time_intervals:
- name: nights
  time_intervals:
  - times: [{start_time: '22:00', end_time: '24:00'}]
    location: Europe/Berlin
- name: office
  time_intervals:
  - times: [{start_time: '09:00', end_time: '17:00'}]
    weekdays: ['monday:friday']
- name: unused
  time_intervals: [{months: ['december']}]
inhibit_rules:
- source_matchers: ['severity="critical"']
  target_matchers: ['severity=~"warning|info"']
  equal: [namespace, alertname]
- source_match: {alertname: ClusterDown}
  target_match_re: {severity: .+}
  equal: [cluster]
receivers:
- {name: ops, email_configs: [{to: ops@example.org}]}
- {name: 'null'}
- {name: dba, webhook_configs: [{url: 'http://127.0.0.1:9/'}]}
- {name: pager, pagerduty_configs: [{routing_key: very-secret}]}
- {name: web, slack_configs: [{channel: '#web'}]}
- {name: audit, webhook_configs: [{url: 'http://127.0.0.1:9/'}]}
"""

SILENCES = [
    {
        "id": "one", "status": {"state": "active"}, "createdBy": "ann", "comment": "disks, CHG0012",
        "startsAt": "2026-11-22T10:00:00Z", "endsAt": "2026-11-23T10:00:00Z",
        "matchers": [{"name": "host", "value": "db.*", "isRegex": True}],
    },
    {
        "id": "two", "status": {"state": "expired"}, "createdBy": "ann", "comment": "over",
        "startsAt": "2026-11-20T10:00:00Z", "endsAt": "2026-11-21T10:00:00Z",
        "matchers": [{"name": "host", "value": "db1", "isRegex": False, "isEqual": True}],
    },
    {
        "id": "three", "status": {"state": "active"}, "createdBy": "bob", "comment": "all of it",
        "startsAt": "2026-11-22T10:00:00Z", "endsAt": "2026-11-23T10:00:00Z",
        "matchers": [{"name": "host", "value": ".*", "isRegex": True, "isEqual": True}],
    },
]  # fmt: skip


def made(tmp_path: Path, text: str, silences: Any = None) -> Translation:
    (tmp_path / "alertmanager.yml").write_text(text)
    named = None
    if silences is not None:
        named = str(tmp_path / "silences.json")
        Path(named).write_text(json.dumps(silences))
    return translate(read([tmp_path / "alertmanager.yml"], named), TODAY)


def fates(translation: Translation) -> dict[str, Fate]:
    return {item.name: item.fate for item in translation.items}


def notes(translation: Translation) -> dict[str, str]:
    return {item.name: item.note for item in translation.items}


# ---- nothing is dropped ---------------------------------------------------------------------------------------------


def test_every_route_rule_receiver_interval_and_silence_is_in_the_report(tmp_path):
    told = fates(made(tmp_path, EXAMPLE, SILENCES))

    assert told == {
        "global.resolve_timeout": Fate.TRANSLATED,
        "global.smtp_from": Fate.NOT_TRANSLATED,
        "templates": Fate.NOT_TRANSLATED,
        "route": Fate.APPROXIMATELY,
        "route.group_by": Fate.APPROXIMATELY,
        "route.group_wait": Fate.APPROXIMATELY,
        "route.repeat_interval": Fate.NOT_TRANSLATED,
        "route.routes[0]": Fate.APPROXIMATELY,
        "route.routes[1]": Fate.APPROXIMATELY,
        "route.routes[1].mute_time_intervals": Fate.TRANSLATED,
        "route.routes[1].group_wait": Fate.NOT_TRANSLATED,
        "route.routes[1].routes[0]": Fate.NOT_TRANSLATED,
        "route.routes[2]": Fate.NOT_TRANSLATED,
        "route.routes[2].active_time_intervals": Fate.TRANSLATED,
        "route.routes[3]": Fate.NOT_TRANSLATED,
        "route.routes[3].group_by": Fate.APPROXIMATELY,
        "route.routes[3].continue": Fate.NOT_TRANSLATED,
        "nights": Fate.TRANSLATED,
        "office": Fate.TRANSLATED,
        "unused": Fate.NOT_TRANSLATED,
        "inhibit_rules[0]": Fate.TRANSLATED,
        "inhibit_rules[1]": Fate.APPROXIMATELY,
        **dict.fromkeys(("ops", "dba", "pager", "web", "audit"), Fate.NOT_TRANSLATED),
        "null": Fate.TRANSLATED,
        "one": Fate.TRANSLATED,
        "two": Fate.NOT_TRANSLATED,
        "three": Fate.NOT_TRANSLATED,
    }


def mappings(value: Any, path: str = "") -> "list[tuple[str, dict[str, Any]]]":
    """Every mapping of the example whose keys are Alertmanager's words, with its path."""
    found = []
    if isinstance(value, dict):
        found.append((path, value))
        for key, inner in value.items():
            if key not in ("match", "match_re", "source_match", "target_match_re") and not key.endswith("_configs"):
                found += mappings(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list):
        for index, inner in enumerate(value):
            found += mappings(inner, f"{path}[{index}]")
    return found


@pytest.mark.parametrize("place", [path for path, _ in mappings(YAML(typ="safe").load(EXAMPLE))])
def test_a_key_that_nobody_knows_is_told_wherever_it_stands(tmp_path, place):
    data = YAML(typ="safe").load(EXAMPLE)
    dict(mappings(data))[place]["novelty"] = "x"
    key = f"{place}.novelty" if place else "novelty"
    if "].time_intervals[" in place:  # a time that is not understood would be quiet at the wrong time
        with pytest.raises(ConfigError, match="novelty: unknown key"):
            made(tmp_path, json.dumps(data))
    else:
        assert fates(made(tmp_path, json.dumps(data)))[key] is Fate.NOT_TRANSLATED


def test_the_report_holds_no_secret_of_a_receiver(tmp_path):
    assert "very-secret" not in str(made(tmp_path, EXAMPLE).items)


# ---- what it becomes ------------------------------------------------------------------------------------------------


def test_times_of_the_first_route_are_settings_and_those_of_others_are_told(tmp_path):
    translation = made(tmp_path, EXAMPLE)

    assert {path: noted.value for path, noted in translation.settings.items()} == {
        "ticket.delay": "45s",
        "fold.expire_after": "7m",
        "assignment.default": "ops",
    }
    assert "one for all (45s)" in notes(translation)["route.routes[1].group_wait"]


def test_a_receiver_owns_the_cis_that_its_route_names(tmp_path):
    assert [noted.value for noted in made(tmp_path, EXAMPLE).cis.values()] == [
        {"id": "mysql", "kind": "service", "owner": "dba"},
        {"id": "postgres", "kind": "service", "owner": "dba"},
    ]


def test_a_mute_interval_is_a_window_for_what_ends_at_that_route_alone(tmp_path):
    windows = {noted.value["name"]: noted.value for noted in made(tmp_path, EXAMPLE).maintenance}

    night = windows["am-nights"]
    assert set(night["matchers"]) == {
        'service=~"mysql|postgres"', 'severity!="critical"', 'alertname!~"Watchdog|InfoInhibitor"',
    }  # fmt: skip
    assert [night[key] for key in ("starts", "length", "rrule", "time_zone")] == [
        "2026-11-21 22:00", "2h", "FREQ=DAILY", "Europe/Berlin",
    ]  # fmt: skip


def test_an_active_interval_is_quiet_at_all_other_times_of_the_week(tmp_path):
    office = [n.value for n in made(tmp_path, EXAMPLE).maintenance if n.value["name"].startswith("am-office")]

    assert sorted((w["starts"][-5:], w["length"], w["rrule"]) for w in office) == [
        ("00:00", "24h", "FREQ=WEEKLY;BYDAY=SA,SU"),
        ("00:00", "9h", "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR"),
        ("17:00", "7h", "FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR"),
    ]


def test_a_receiver_that_tells_nobody_is_a_window_that_never_ends(tmp_path):
    [window] = [n.value for n in made(tmp_path, EXAMPLE).maintenance if n.value["name"] == "am-silent"]

    assert (window["matchers"], window["length"]) == (['alertname=~"Watchdog|InfoInhibitor"'], "24h")


def test_where_no_receiver_tells_anybody_only_what_is_meant_to_be_quiet_is(tmp_path):
    """As Kubernetes distributions ship it: receivers are empty until somebody fills them in."""
    text = """
route:
  receiver: Default
  routes:
  - {receiver: 'null', matchers: ['alertname = InfoInhibitor']}
  - {receiver: Critical, matchers: ['severity = critical']}
receivers: [{name: Default}, {name: Critical}, {name: 'null'}]
"""
    translation = made(tmp_path, text)

    assert [noted.value["matchers"] for noted in translation.maintenance] == [['alertname="InfoInhibitor"']]
    assert "people look at Alertmanager itself" in notes(translation)["route.routes[1]"]


def test_a_password_in_the_address_of_alertmanager_is_shown_nowhere(tmp_path):
    (tmp_path / "alertmanager.yml").write_text(EXAMPLE)
    with pytest.raises(ForeshockError) as caught:
        read([tmp_path / "alertmanager.yml"], "http://ann:very-secret@127.0.0.1:1")

    assert "very-secret" not in str(caught.value)
    assert _shown("https://ann:very-secret@am.example:9093/x") == "https://am.example:9093/x"


def test_grouping_that_says_nothing_of_where_is_written_and_not_in_force(tmp_path):
    rules = {noted.value["name"]: noted.value for noted in made(tmp_path, EXAMPLE).rules}

    assert rules["alertmanager-alertname-cluster"].get("enabled", True)
    assert rules["alertmanager-alertname"]["enabled"] is False


def test_inhibition_is_written_so_that_a_circle_loses_least(tmp_path):
    """Critical alerts are targets of the second rule, so the first one would do nothing if it stood above."""
    translation = made(tmp_path, EXAMPLE)

    assert [noted.value["source_matchers"] for noted in translation.inhibit] == [
        ['alertname="ClusterDown"'], ['severity="critical"'],
    ]  # fmt: skip
    assert "explains nothing by this rule" in notes(translation)["inhibit_rules[1]"]


def test_a_rule_that_a_circle_leaves_nothing_of_is_not_written(tmp_path):
    text = """
route: {receiver: x}
receivers: [{name: x, webhook_configs: [{}]}]
inhibit_rules:
- {source_matchers: ['a="1"'], target_matchers: ['a="2"']}
- {source_matchers: ['a="2"'], target_matchers: ['a="1"']}
"""
    translation = made(tmp_path, text)

    assert len(translation.inhibit) == 1
    assert sorted(f for name, f in fates(translation).items() if name.startswith("inhibit")) == [
        Fate.NOT_TRANSLATED, Fate.TRANSLATED,
    ]  # fmt: skip


def test_silences_keep_their_owner_reason_and_end(tmp_path):
    translation = made(tmp_path, EXAMPLE, SILENCES)

    assert translation.silences == [
        {
            "matchers": [{"name": "host", "value": "db.*", "isRegex": True, "isEqual": True}],
            "startsAt": "2026-11-22T10:00:00+00:00", "endsAt": "2026-11-23T10:00:00+00:00",
            "createdBy": "ann", "comment": "disks, CHG0012",
        }
    ]  # fmt: skip
    assert notes(translation)["two"] == "it is over"
    assert "matches every alert" in notes(translation)["three"]


# ---- routes: never quieter than Alertmanager, whatever the tree -----------------------------------------------------


LABELS = {"a": ("", "1", "2"), "b": ("", "1", "2"), "c": ("", "1")}
ALERTS = [
    {name: value for name, value in zip(LABELS, chosen, strict=True) if value}
    for chosen in itertools.product(*LABELS.values())
]

matcher_texts = st.builds(
    lambda name, sign, value: f'{name}{sign}"{value}"',
    st.sampled_from(sorted(LABELS)),
    st.sampled_from(["=", "!=", "=~", "!~"]),
    st.sampled_from(["1", "2", "1|2", ".+"]),
)


@st.composite
def trees(draw: st.DrawFn, depth: int = 2) -> dict[str, Any]:
    route: dict[str, Any] = {
        "receiver": draw(st.sampled_from(["x", "nobody"])),
        "matchers": draw(st.lists(matcher_texts, min_size=1, max_size=2)),
    }
    if draw(st.booleans()):
        route["continue"] = True
    if draw(st.booleans()):
        route["group_by"] = draw(st.sampled_from([["a"], ["b", "c"], ["..."]]))
    if depth:
        route["routes"] = draw(st.lists(trees(depth - 1), max_size=2))
    return route


def ends(route: Route, labels: dict[str, str]) -> list[Route]:
    """The routes an alert ends at, as Alertmanager's documentation says: depth first, on only past `continue`."""
    if not matches_all(route.matchers, labels):
        return []
    found: list[Route] = []
    for child in route.routes:
        below = ends(child, labels)
        found += below
        if below and not child.goes_on:
            break
    return found or [route]


@settings(max_examples=80, deadline=None)
@given(routes=st.lists(trees(), min_size=1, max_size=3))
def test_a_window_covers_only_alerts_that_no_other_route_tells_of(tmp_path_factory, routes):
    config = {
        "route": {"receiver": "x", "group_by": ["a", "b"], "routes": routes},
        "receivers": [{"name": "x", "webhook_configs": [{"url": "http://127.0.0.1:9/"}]}, {"name": "nobody"}],
    }
    file = tmp_path_factory.mktemp("tree") / "alertmanager.yml"
    file.write_text(json.dumps(config))
    source = read([file], None)
    translation = translate(source, TODAY)
    windows = [read_all(noted.value["matchers"]) for noted in translation.maintenance]
    silent = {item.name for item in translation.items if "tells nobody: a maintenance" in item.note}

    for labels in ALERTS:
        found = ends(source.route, labels)
        quiet = any(matches_all(matchers, labels) for matchers in windows)
        if quiet:
            assert {route.receiver for route in found} == {"nobody"}
        elif len(found) == 1:
            assert found[0].node.name not in silent


@settings(max_examples=40, deadline=None)
@given(routes=st.lists(trees(depth=1), min_size=1, max_size=3))
def test_a_grouping_rule_is_about_the_alerts_that_are_grouped_so(tmp_path_factory, routes):
    config = {
        "route": {"receiver": "x", "group_by": ["a", "b"], "routes": routes},
        "receivers": [{"name": "x", "webhook_configs": [{"url": "http://127.0.0.1:9/"}]}, {"name": "nobody"}],
    }
    file = tmp_path_factory.mktemp("tree") / "alertmanager.yml"
    file.write_text(json.dumps(config))
    source = read([file], None)
    side = {"annotations": {}, "severity": "", "source": "", "ci": "", "ci_kind": ""}

    for noted in translate(source, TODAY).rules:
        if "when" not in noted.value:
            continue
        condition = Condition(noted.value["when"], VARIABLES)
        for labels in ALERTS:
            values = {f"{one}.{name}": value for one in "ab" for name, value in {**side, "labels": labels}.items()}
            grouped = any(sorted(route.group_by) == noted.value["equal"] for route in ends(source.route, labels))
            assert condition.holds({**values, "gap_s": 0.0}) == grouped


def read_all(texts: Sequence[str]) -> tuple[Matcher, ...]:
    return tuple(matcher for text in texts for matcher in parse_matchers(text))


# ---- inhibition: what Alertmanager keeps quiet, and never more ------------------------------------------------------


some = st.lists(matcher_texts, min_size=1, max_size=2)
inhibit_rules = st.builds(
    lambda source, target, equal: {"source_matchers": source, "target_matchers": target, "equal": equal},
    some,
    some,
    st.sampled_from([[], ["c"], ["a", "c"]]),
)


def inhibited(rules: Sequence[Inhibit], alerts: Sequence[dict[str, str]]) -> set[int]:
    """As Alertmanager's documentation says: numbers of the alerts."""
    found = set()
    for rule, (number, target), source in itertools.product(rules, enumerate(alerts), alerts):
        both = matches_all(rule.source, target) and matches_all(rule.target, source)
        equal = all(source.get(name, "") == target.get(name, "") for name in rule.equal)
        if matches_all(rule.source, source) and matches_all(rule.target, target) and equal and not both:
            found.add(number)
    return found


def explained(translation: Translation, alerts: Sequence[dict[str, str]]) -> set[int]:
    known = {str(number): an_alert(str(number), labels) for number, labels in enumerate(alerts)}
    inhibition = Inhibition(known.get)
    rules = [noted.value for noted in translation.inhibit]
    inhibition.use(SuppressSettings.model_validate({"inhibit": rules}), Topology(), known.values())
    return {int(one.fingerprint) for one in known.values() if inhibition.explained(one, lambda alert: False)}


def an_alert(fingerprint: str, labels: dict[str, str]) -> Alert:
    return Alert(
        fingerprint=fingerprint,
        source="alertmanager",
        labels=bytes(encode_texts(labels)),
        annotations=b"{}",
        severity=Severity.CRITICAL,
        starts_at=NOW,
        first_seen=NOW,
        last_seen=NOW,
        ci="",
    )


@settings(max_examples=150, deadline=None)
@given(rules=st.lists(inhibit_rules, min_size=1, max_size=4), alerts=st.lists(st.sampled_from(ALERTS[1:]), max_size=6))
def test_what_is_inhibited_is_the_same_but_for_circles_where_it_is_less(tmp_path_factory, rules, alerts):
    file = tmp_path_factory.mktemp("rules") / "alertmanager.yml"
    top = {"route": {"receiver": "x"}, "receivers": [{"name": "x"}]}
    file.write_text(json.dumps({**top, "inhibit_rules": rules}))
    source = read([file], None)
    translation = translate(source, TODAY)
    told = [item for item in translation.items if item.what == "inhibit rule"]

    theirs, ours = inhibited(source.inhibit, alerts), explained(translation, alerts)
    assert ours <= theirs
    if all(item.fate is Fate.TRANSLATED for item in told):
        assert ours == theirs


# ---- what is broken or hostile --------------------------------------------------------------------------------------


HEAD = "route: {receiver: x%s}\nreceivers: [{name: x}]\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("route: [", ": is not YAML"),
        ("receivers: []\n", "holds no `route`"),
        ("kind: AlertmanagerConfig\nspec: {}\n", "holds a Kubernetes object of kind 'AlertmanagerConfig'"),
        (HEAD % ", group_wait: soon", ":1:22: route.group_wait: 'soon' is not a duration"),
        (HEAD % ", routes: [{receiver: y}]", "route.routes[0]: 'y' is no receiver"),
        (HEAD % ", routes: [{matchers: ['a=~\"(\"']}]", "'(' is not a valid expression"),
        (HEAD % ", routes: [{matchers: [a]}]", "'a' is not a matcher"),
        (HEAD % ", routes: {a: 1}", "must be a list"),
        (HEAD % ", routes: [{match: {a: 1.50}}]", "put it in quotes"),
        (HEAD % ", routes: [{mute_time_intervals: [never]}]", "'never' is no time interval"),
        (HEAD % "" + "time_intervals: [{name: n, time_intervals: [{times: [{start_time: '9', end_time: '8'}]}]}]",
         "is no time of day"),
        (HEAD % "" + "time_intervals: [{name: n, time_intervals: [{weekdays: ['funday']}]}]", "'funday' is no range"),
        (HEAD % "" + "a: &a [1, 1]\nb: *c\n", "no finished anchor"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_its_place(tmp_path, text, said):
    with pytest.raises(ConfigError) as caught:
        made(tmp_path, text)

    assert said in str(caught.value)
    assert "alertmanager.yml" in str(caught.value)


@pytest.mark.parametrize(
    ("silences", "said"),
    [({"a": 1}, "must be a list"), ([{"matchers": []}], "[0]: is no silence"), ([1], "[0]: is no silence")],
)
def test_silences_that_are_none_are_said_with_their_place(tmp_path, silences, said):
    with pytest.raises(ConfigError, match=r"silences\.json") as caught:
        made(tmp_path, EXAMPLE, silences)

    assert said in str(caught.value)
