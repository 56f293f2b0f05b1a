"""Mappings: which payload becomes what, what is told of one that does not fit, and that any is read or refused."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.connect.config import strictly
from foreshock.connect.mapping import Item, Mapper, Mapping, Unmapped, decode, finder, load_mapping, translate
from foreshock.core.contracts import Ignored, with_head
from foreshock.core.errors import ConfigError, Invalid, Malformed
from foreshock.core.model import Change, Event, read_annotations, read_labels

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
HOUR_AGO = NOW - timedelta(hours=1)
PLAIN = {"labels": {"alertname": "name", "host": "host"}}


def mapper(**mapping: Any) -> Mapper:
    read = strictly(mapping, Mapping)
    return Mapper(read.model_dump_json(exclude_defaults=True).encode())


def items(payload: Any, **mapping: Any) -> list[Any]:
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    return mapper(**mapping).items(body, {})


def mapped(payload: Any, **mapping: Any) -> Any:
    """What the one item of a payload becomes."""
    (item,) = items(payload, **mapping)
    return item.mapper.apply(item.value, NOW)


def event(payload: Any, **mapping: Any) -> Event:
    result = mapped(payload, **{**PLAIN, **mapping}).result
    assert isinstance(result, Event)
    return result


# ---- labels ---------------------------------------------------------------------------------------------------------


def test_labels_are_what_their_expressions_find():
    payload = {"name": "DiskFull", "host": "db1", "n": 7, "f": 1.0, "ok": True, "none": None, "tags": ["a", "b"]}
    labels = {
        "alertname": "name", "host": "host", "n": "n", "f": "f", "ok": "ok", "none": "none", "first": "tags[0]",
        "all": "join('-', tags)", "constant": "'prod'",
    }  # fmt: skip

    assert read_labels(event(payload, labels=labels).labels) == {
        "alertname": "DiskFull", "host": "db1", "n": "7", "f": "1", "ok": "true", "first": "a", "all": "a-b",
        "constant": "prod",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("expression", "found"),
    [
        ("lower(a)", "db1.example"),
        ("split('.', a)[0]", "DB1"),
        ("split(':', port)[0]", None),
        (r"capture('^([^.]+)', a)", "DB1"),
        (r"capture('\d+', a)", "1"),
        ("capture('x(y)', a)", None),
        ("lower(nowhere)", None),
    ],
)
def test_there_are_three_functions_beside_those_of_jmespath(expression: str, found: str | None):
    assert (finder(expression)({"a": "DB1.Example"}) or None) == found


def test_a_plain_field_is_what_jmespath_says():
    """It is looked up without it."""
    import jmespath

    payload = {"a": {"b": {"c": 1}}, "t": "text", "n": None, "l": [{"c": 2}]}
    for text in ("a", "a.b", "a.b.c", "a.b.c.d", "t.x", "n", "n.x", "l.c", "nowhere.at.all"):
        assert finder(text)(payload) == jmespath.search(text, payload), text


def test_an_item_without_a_name_is_refused_and_says_where():
    with pytest.raises(Unmapped, match=r"labels.alertname: 'name' gives nothing; .* both kinds of quotes") as caught:
        mapped({"host": "db1"}, **PLAIN)

    assert caught.value.place == ("labels", "alertname")


def test_a_list_is_no_label():
    with pytest.raises(Unmapped, match=r"labels.host: 'host' gives a list, not a text; .* join"):
        mapped({"name": "x", "host": ["a"]}, **PLAIN)


def test_a_label_that_finds_nothing_is_noted():
    notes = mapped({"name": "x"}, **PLAIN).notes

    assert notes == ((("labels", "host"), "labels.host: 'host' gives nothing"),)


# ---- what explains --------------------------------------------------------------------------------------------------


def test_what_only_explains_never_loses_the_alert():
    mapping = {
        **PLAIN, "annotations": {"a": "length(n)", "b": "nowhere", "c": "tags"}, "severity": "length(n)", "url": "name",
        "starts_at": "name",
    }  # fmt: skip

    found = mapped({"name": "x", "host": "h", "n": 7, "tags": ["a"]}, **mapping)

    assert read_annotations(found.result.annotations) == {"c": '["a"]'}
    assert (found.result.severity, found.result.url, found.result.starts_at) == ("", "", None)
    assert [place for place, _ in found.notes] == [
        ("severity",), ("annotations", "a"), ("annotations", "b"), ("starts_at",), ("url",),
    ]  # fmt: skip


def test_a_default_for_what_is_missing_is_no_lack():
    found = mapped({"name": "x", "host": "h"}, **PLAIN, annotations={"summary": "message || ''"})

    assert found.notes == ()


def test_severities_are_what_the_file_says_and_else_the_word_itself():
    mapping = {"severity": "p", "severities": {"P1": "critical", "2": "major"}}

    assert [event({"name": "x", "host": "h", "p": p}, **mapping).severity for p in ("p1", " P1", 2, "warning", 9)] == [
        "critical", "critical", "major", "warning", "9",
    ]  # fmt: skip


# ---- times ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "meant"),
    [
        ("2026-11-22T10:00:00Z", "2026-11-22T10:00:00+00:00"),
        ("2026-11-22T10:00:00", "2026-11-22T09:00:00+00:00"),
        ("2026-11-22 10:00:00.5", "2026-11-22T09:00:00.500000+00:00"),
        (1795312800, "2026-11-22T02:00:00+00:00"),
        ("1795312800", "2026-11-22T02:00:00+00:00"),
        (1795312800000, "2026-11-22T02:00:00+00:00"),
        (1795312800000000, "2026-11-22T02:00:00+00:00"),
        (1795312800.5, "2026-11-22T02:00:00.500000+00:00"),
        ("0001-01-01T00:00:00Z", None),
        ("soon", None),
        (0, None),
        (-5, None),
        (True, None),
        (1e300, None),
        ([], None),
    ],
)
def test_times_are_read_as_products_write_them(said: Any, meant: str | None):
    at = event({"name": "x", "host": "h", "at": said}, starts_at="at", zone="Europe/Berlin").starts_at

    assert (at and at.isoformat()) == meant


@pytest.mark.parametrize(
    ("mapping", "item", "ends_at"),
    [
        ({"resolved": "state == 'ok'"}, {"state": "ok"}, NOW),
        ({"resolved": "state == 'ok'"}, {"state": "bad"}, None),
        ({"resolved": "over"}, {"over": "false"}, None),
        ({"resolved": "over"}, {"over": 0}, None),
        ({"resolved": "over"}, {"over": 1}, NOW),
        (
            {"resolved": "over", "ends_at": "end"},
            {"over": True, "end": "2026-11-22T11:00:00Z"},
            NOW - timedelta(hours=1),
        ),
        ({"resolved": "over", "ends_at": "end"}, {"over": True, "end": "2036-11-22T11:00:00Z"}, NOW),
        ({"resolved": "over", "ends_at": "end"}, {"over": False, "end": "2026-11-22T11:00:00Z"}, None),
        ({"ends_at": "end"}, {"end": "2026-11-22T11:00:00Z"}, HOUR_AGO),
        ({"ends_at": "end"}, {"end": None}, None),
        ({"expires_after": "1h"}, {}, NOW + timedelta(hours=1)),
        ({"expires_after": "1h", "resolved": "over"}, {"over": True}, NOW),
    ],
)
def test_when_an_alert_is_over(mapping: dict[str, Any], item: dict[str, Any], ends_at: datetime | None):
    assert event({"name": "x", "host": "h", **item}, **mapping).ends_at == ends_at


# ---- items and rules ------------------------------------------------------------------------------------------------


def test_items_may_see_the_payload_around_them_and_what_came_with_it():
    mapping = {
        "items": "list", "headers": ["X-Type"],
        "labels": {"alertname": "name", "site": "_payload.site", "type": '_head.headers."x-type"'},
    }  # fmt: skip
    text = strictly(mapping, Mapping).model_dump_json(exclude_defaults=True).encode()
    body = json.dumps({"site": "fra", "list": [{"name": "a"}, {"name": "b"}]}).encode()
    head = {"mapping": json.loads(text), "headers": {"x-type": "disk"}}

    found = [translate(item, NOW) for item in decode(with_head(head, body)) if isinstance(item, Item)]

    assert [read_labels(one.labels) for one in found if isinstance(one, Event)] == [
        {"alertname": "a", "site": "fra", "type": "disk"},
        {"alertname": "b", "site": "fra", "type": "disk"},
    ]


@pytest.mark.parametrize(
    ("format", "body", "name"),
    [("json", b'{"name": "x"}', "name"), ("form", b"name=x&a=%3D", "name"), ("text", b"x", "text")],
)
def test_a_payload_is_json_a_form_or_a_text(format: str, body: bytes, name: str):
    assert read_labels(mapped(body, format=format, labels={"alertname": name}).result.labels) == {"alertname": "x"}


@pytest.mark.parametrize(("format", "body"), [("json", b"{"), ("text", b"\xff"), ("form", b"a&b"), ("form", b"\xff=")])
def test_a_payload_of_another_format_is_refused(format: str, body: bytes):
    with pytest.raises(Malformed, match="the payload is not"):
        items(body, format=format, labels={"alertname": "a"})


def test_items_that_find_nothing_are_told():
    with pytest.raises(Unmapped, match="items finds nothing in the payload"):
        items({"other": []}, items="alerts", **PLAIN)


RULES = {
    "rules": [
        {"when": "type == 'deploy'", "change": {"id": "id", "cis": "services", "title": "text", "at": "at"}},
        {"when": "type == 'ping'", "ignore": "a test"},
        {"when": "type == 'alert'", **PLAIN},
    ]
}


def test_the_first_rule_that_is_for_an_item_makes_it():
    payload = [
        {"type": "deploy", "id": 7, "services": ["shop", "api", "shop"], "text": "2.1", "at": "2026-11-22T11:00:00Z"},
        {"type": "ping"},
        {"type": "alert", "name": "x", "host": "h"},
    ]

    change, ignored, alert = (item.mapper.apply(item.value, NOW).result for item in items(payload, **RULES))

    assert change == Change(id="7", at=HOUR_AGO, title="2.1", cis=("shop", "api"), actor="", url="")
    assert ignored == Ignored("a test")
    assert read_labels(alert.labels)["alertname"] == "x"


def test_an_item_that_no_rule_is_for_is_refused():
    with pytest.raises(Unmapped, match="no rule is for it; add one, with `ignore: why`"):
        mapped({"type": "other"}, **RULES)


# ---- the file -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("labels:\n  host: h\n", ":1:1: labels: there is no label alertname; name the condition"),
        ("labels:\n  alertname: a[\n", ":2:3: labels.alertname: 'a[' is no expression: …; write it in JMESPath"),
        ("labels:\n  alertname: shout(a)\n", ":2:3: labels.alertname: 'shout(a)' calls shout(), which there is not"),
        ("item: a\n", ":1:1: item: unknown key; did you mean 'items'?"),
        ("items: a\n", ":1:1: nothing says what an item becomes; add labels"),
        (
            "labels: {alertname: a}\nignore: x\n",
            ":1:1: a rule has one of labels, change and ignore, not labels",
        ),
        ("labels: {alertname: a}\nrules: [{ignore: x}]\n", ":2:1: rules: a rule stands beside `rules`"),
        ("rules:\n- ignore: x\n- ignore: y\n", ":2:3: rules[0]: the rules behind this one are never reached"),
        ("rules:\n- when: a\n", ":2:3: rules[0]: nothing says what an item becomes"),
        ("labels: {alertname: a}\nzone: Mars\n", ":2:1: zone: 'Mars' is no time zone"),
        ("labels: {alertname: a}\nseverity: a\nseverities: {x: bad}\n", ":3:14: severities.x: "),
        ("labels: {alertname: a}\nexpires_after: 5\n", ":2:1: expires_after: "),
    ],
)
def test_a_mistake_in_the_file_is_told_with_its_line(tmp_path: Path, text: str, told: str):
    path = tmp_path / "mapping.yaml"
    path.write_text(text)

    with pytest.raises(ConfigError) as caught:
        load_mapping(path)

    place, _, rest = told.partition("…")
    assert f"{path}{place}" in str(caught.value)
    assert rest in str(caught.value)


def test_an_expression_has_a_bound():
    with pytest.raises(Invalid, match="2001 characters, 2000 are allowed"):
        finder("a" * 2001)


@pytest.mark.parametrize("payload", [b"", b"{}", b"{}\n{}", b'{"mapping": {}}\n{}', b'{"mapping": 7}\n{}', b"x\ny"])
def test_a_record_without_a_mapping_is_malformed(payload: bytes):
    with pytest.raises(Malformed, match="does not hold a mapping"):
        decode(payload)


# ---- anything -------------------------------------------------------------------------------------------------------

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5)
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner, max_size=3)
)
EXPRESSIONS = st.sampled_from([
    "a", "a.b", "a[0]", "a[*].b", "length(a)", "join(',', a)", "lower(a)", "split('.', a)", "capture('(.)', a)", "@",
    "a == b", "!a", "a || b", "to_string(@)", "sort(a)", "max(a)", "keys(@)", "*", "[]", "a[?b].c", "_payload.a",
])  # fmt: skip


@settings(max_examples=int(os.environ.get("FORESHOCK_FUZZ_EXAMPLES", "200")))
@given(payload=VALUES, data=st.data())
def test_any_payload_with_any_mapping_becomes_something_or_is_malformed(payload: Any, data: Any):
    def one() -> str:
        return str(data.draw(EXPRESSIONS))

    mapping = mapper(
        items=one(), labels={"alertname": one(), "b": one()}, annotations={"c": one()}, severity=one(), starts_at=one(),
        resolved=one(), ends_at=one(), url=one(), when=data.draw(st.none() | EXPRESSIONS),
    )  # fmt: skip
    try:
        for item in mapping.items(json.dumps(payload).encode(), {}):
            assert isinstance(item, Item)
            first, again = mapping.apply(item.value, NOW), mapping.apply(item.value, NOW)
            assert first == again
            assert isinstance(first.result, Event)
            read_labels(first.result.labels)
            read_annotations(first.result.annotations)
    except Malformed:
        pass
