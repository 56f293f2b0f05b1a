"""What every collector promises. A new file in ``collectors`` is tested by being there, with what its sample holds.

A kind whose alerts end names its sample ``X-firing.json`` and has an ``X-resolved.json`` beside it; ``Recovery: none``
in its docstring says that there is no such thing. Payloads that are no JSON may be files of any other ending.
"""

import importlib
import inspect
import json
import os
import re
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import collectors
from foreshock.connect.lines import event_of
from foreshock.core.contracts import Collector, with_head
from foreshock.core.errors import Malformed
from foreshock.core.model import Change, Event, Samples, read_annotations, read_labels
from foreshock.core.registry import kinds
from foreshock.core.severity import Severity, parse_severity
from foreshock.testing.payloads import (
    Sample,
    changed,
    doubled,
    items_at,
    parts,
    removed,
    replaced,
    sample,
    samples_of,
)
from foreshock.testing.schemas import problems

EXAMPLES = int(os.environ.get("FORESHOCK_FUZZ_EXAMPLES", "200"))
KINDS = kinds(collectors, "COLLECTOR", Collector)
RECEIVERS = {kind: collector for kind, collector in KINDS.items() if collector.receive}
JSON_KINDS = {kind: collector for kind, collector in KINDS.items() if sample(collector.sample).tree is not None}
RECEIVED = datetime(2026, 11, 22, 3, 18, 1, tzinfo=UTC)
LATER = datetime(2036, 1, 1, tzinfo=UTC)
"""After all that was ever recorded."""


def each(found: dict[str, Collector]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("collector", found.values(), ids=found)


every_kind, every_receiver, every_json_kind = each(dict(KINDS)), each(RECEIVERS), each(JSON_KINDS)


def read(collector: Collector, payload: bytes, at: datetime = RECEIVED) -> list[Any]:
    """Items translated, checked as the intake does; what cannot be read stands as Malformed in its place."""
    results: list[Any] = []
    for item in collector.decode(payload):
        try:
            if isinstance(item, Malformed):
                raise item
            result = collector.translate(item, at)
            if isinstance(result, Event):
                read_labels(result.labels)
                read_annotations(result.annotations)
            results.append(result)
        except Malformed as error:
            as_bytes([item])  # as a dead letter
            results.append(error)
    return results


def told(collector: Collector, payload: bytes) -> list[Any]:
    """As ``read``; a payload that is refused whole counts as one item that is Malformed."""
    try:
        return read(collector, payload)
    except Malformed as error:
        return [error]


def _kind(part: Any) -> str:
    return type(part).__name__


def as_bytes(results: Sequence[Any]) -> list[bytes]:
    return [
        str(one).encode() if isinstance(one, Malformed) else msgspec.json.encode(one, enc_hook=_kind) for one in results
    ]


def identities(results: Sequence[Any]) -> set[tuple[tuple[str, str], ...]]:
    return {tuple(sorted(read_labels(one.labels).items())) for one in results if isinstance(one, Event)}


def said(results: Sequence[Any]) -> list[Any]:
    """What is not refused and not passed over."""
    return [one for one in results if isinstance(one, Event | Change | Samples)]


def recovery(collector: Collector) -> str:
    text = inspect.getdoc(importlib.import_module(f"{collectors.__name__}.{collector.kind}")) or ""
    found = re.search(r"^Recovery: +(.*)", text, re.MULTILINE)
    return found[1] if found else ""


# ---- declaration ----------------------------------------------------------------------------------------------------


@every_kind
def test_it_says_what_it_is_and_where_its_facts_come_from(collector: Collector):
    text = inspect.getdoc(importlib.import_module(f"{collectors.__name__}.{collector.kind}")) or ""

    assert collector.title
    assert collector.facts
    assert collector.receive or collector.poll or collector.listen
    for word in ("Facts", "Delivery", "Recovery", "Limits", "Needs"):
        assert re.search(rf"^{word}: +\S", text, re.MULTILINE), f"the docstring has no line {word}:"
    if collector.receive:
        assert collector.receive.path.startswith("/api/")
        assert collector.receive.answer in ("per_item", "alertmanager")


def test_no_two_collectors_share_an_address():
    paths = [collector.receive.path for collector in RECEIVERS.values() if collector.receive]

    assert len(set(paths)) == len(paths)


@every_kind
def test_all_modes_of_a_kind_have_one_model_of_settings(collector: Collector):
    for mode in (collector.receive, collector.poll, collector.listen):
        if mode is not None and mode.config is not None:
            assert mode.config is collector.config


@every_receiver
def test_what_goes_before_the_body_is_in_its_sample(collector: Collector):
    assert collector.receive
    head, given = collector.receive.head, sample(collector.sample)

    assert (head is None) == (given.head is None)
    if head is not None and not any(info.is_required() for info in collector.config.model_fields.values()):
        assert json.loads(with_head(head(collector.config(), {}), b"").decode()) == head(collector.config(), {})


@every_receiver
def test_its_schema_describes_its_samples_and_not_just_anything(collector: Collector):
    assert collector.receive
    schema, given = collector.receive.schema, sample(collector.sample)
    assert json.loads(json.dumps(schema)) == schema
    if given.tree is None or not schema:
        pytest.skip("it takes any text, or any JSON")
    for name in samples_of(collector):
        assert list(problems(sample(name).tree, schema, schema)) == [], name
    place = items_at(collector, given) or ()

    empty = replaced(given.tree, (*place, 0) if isinstance(given.tree, list) or place else (), {})
    assert list(problems(empty, schema, schema))


# ---- reading --------------------------------------------------------------------------------------------------------


@every_kind
def test_its_samples_are_read(collector: Collector):
    for name in samples_of(collector):
        results = read(collector, sample(name).payload)

        assert results, name
        assert [one for one in results if isinstance(one, Malformed)] == [], name
    assert said(read(collector, sample(collector.sample).payload))


@every_kind
def test_the_same_payload_twice_gives_equal_events(collector: Collector):
    payload = sample(collector.sample).payload

    assert as_bytes(read(collector, payload)) == as_bytes(read(collector, payload))


@every_kind
def test_translating_is_pure(collector: Collector):
    for item in collector.decode(sample(collector.sample).payload):
        before = as_bytes([item])

        once = as_bytes([collector.translate(item, RECEIVED)])
        again = as_bytes([collector.translate(item, RECEIVED)])

        assert once == again
        assert as_bytes([item]) == before


@every_kind
def test_what_is_read_is_whole(collector: Collector):
    """Times have a zone, words for severity are known, alerts have a name, series have points that rise."""
    for name in samples_of(collector):
        for one in read(collector, sample(name).payload):
            if isinstance(one, Event):
                labels = read_labels(one.labels)
                assert "alertname" in labels
                word = one.severity or labels.get("severity", "")
                assert not word or parse_severity(word) is not Severity.UNKNOWN, word
                assert all(moment is None or moment.tzinfo for moment in (one.starts_at, one.ends_at))
            elif isinstance(one, Change):
                assert one.id
                assert one.at.tzinfo
            elif isinstance(one, Samples):
                assert one.series.ci
                assert one.series.metric
                assert list(one.times) == sorted(one.times)
                assert len(one.times) == len(one.values)


# ---- what is wrong --------------------------------------------------------------------------------------------------

NO_ZONE = "2026-11-22T03:17:56"
BAD_ITEMS: dict[str, Any] = {
    "a number": 7,
    "null": None,
    "a text": "text",
    "a list": [],
    "empty": {},
    "labels null": {"labels": None},
    "no labels": {"labels": {}},
    "a label that is a number": {"labels": {"a": 1}},
    "a label that is too long": {"labels": {"a": "x" * 3000}},
    "too many labels": {"labels": {f"l{number}": "x" for number in range(65)}},
    "annotations that are a list": {"labels": {"a": "b"}, "annotations": []},
    "a time without a zone": {
        "labels": {"a": "b"},
        "startsAt": "2026-11-22T03:17:56",
        "starts_at": "2026-11-22T03:17:56",
    },
    "a time in words": {"labels": {"a": "b"}, "startsAt": "yesterday", "starts_at": "yesterday"},
    "a huge number for a time": {"labels": {"a": "b"}, "endsAt": 10**400, "ends_at": 10**400},
    "a state nobody knows": {"labels": {"a": "b"}, "status": "perhaps", "endsAt": 5},
}


@every_json_kind
def test_a_bad_item_never_loses_its_neighbours(collector: Collector):
    given = sample(collector.sample)
    place = items_at(collector, given)
    good = as_bytes(read(collector, given.payload))
    for what, bad in BAD_ITEMS.items():
        if place is None:  # a payload is about one thing
            assert said(told(collector, given.of(bad))) == [], what
            continue
        results = read(
            collector, given.of(changed(given.tree, place, lambda items, bad=bad: [items[0], bad, *items[1:]]))
        )
        more = len(results) - len(good)
        first = next((at for at, one in enumerate(as_bytes(results)) if [one] != good[at : at + 1]), 0)

        assert more > 0, f"{what}: it went unnoticed"
        assert said(results[first : first + more]) == [], what
        assert as_bytes([*results[:first], *results[first + more :]]) == good, what


@every_json_kind
def test_a_bad_item_keeps_its_text_for_the_dead_letter(collector: Collector):
    given = sample(collector.sample)
    place = items_at(collector, given)
    if place is None:
        pytest.skip("a payload is about one thing, and kept whole")
    bad = {"labels": {"a": "b"}, "startsAt": "never", "starts_at": "never", "status": "firing"}

    (*_, last) = collector.decode(given.of(changed(given.tree, place, lambda items: [*items, bad])))

    assert not isinstance(last, Malformed) or b"never" in last.payload


HOSTILE_BODIES: dict[str, Any] = {
    "empty": b"",
    "blank": b" \n",
    "null": b"null",
    "true": b"true",
    "a number": b"17",
    "a text": b'"text"',
    "an empty object": b"{}",
    "NaN": b"NaN",
    "NaN in a list": b"[NaN]",
    "a huge number": b"9" * 5000,
    "XML": b"<xml/>",
    "YAML": b"labels: {a: b}",
    "a form": b"a=b&c=d",
    "zeros": b"\x00" * 40,
    "gzip": b"\x1f\x8b\x08\x00",
    "UTF-16 with a mark": b"\xff\xfe[\x00]\x00",
    "UTF-16": '[{"labels":{"a":"b"}}]'.encode("utf-16-le"),
    "Latin-1 and truncated": '[{"labels":{"a":"ü"}}]'.encode("latin-1")[:-1],
    "a byte order mark": b"\xef\xbb\xbf[]",
    "deep lists": b"[" * 200_000,
    "deep lists that end": b"[" * 200_000 + b"]" * 200_000,
    "deep objects": b'{"x":' * 200_000,
    "deep alerts": b'{"alerts":' + b"[" * 200_000,
    "truncated": b'[{"labels":{"a":"b"}},',
    "truncated object": b'{"labels":{"a":"b"}',
    "truncated notification": b'{"alerts":[{"status":"firing","labels":{"a":"b"}',
    "something behind it": b"[{}] trailing",
}


@every_kind
def test_a_body_that_cannot_be_read_is_malformed_and_nothing_worse(collector: Collector):
    given = sample(collector.sample)
    for what, body in HOSTILE_BODIES.items():
        for payload in (given.around(body), body):  # a record that lost what goes before its body, too
            results = told(collector, payload)

            assert given.tree is None or said(results) == [], what
            assert all(len(str(one)) < 2000 for one in results if isinstance(one, Malformed)), f"{what} is repeated"


@every_json_kind
def test_no_part_of_the_sample_can_be_cut_off_unnoticed(collector: Collector):
    given = sample(collector.sample)
    for length in range(0, len(given.body), max(1, len(given.body) // 500)):
        with pytest.raises(Malformed):
            collector.decode(given.around(given.body[:length]))


@every_json_kind
def test_of_a_key_that_comes_twice_the_last_one_counts(collector: Collector):
    """Go's and Python's decoders agree on this; what matters is that it is always the same one."""
    given = sample(collector.sample)

    results = told(collector, given.around(doubled(given.tree).encode()))

    assert identities(results) in (set(), identities(read(collector, given.payload)))


def leaves(given: Sample) -> list[tuple[Any, Any]]:
    return [(place, part) for place, part in parts(given.tree) if not isinstance(part, dict | list)]


WRONG = [None, True, 7, -1.5, 10**400, "", "x" * 100_000, [], [[]], {}, {"a": {"b": ["c"]}}, [None], "\ud800", "\x00"]


@every_json_kind
def test_a_value_of_another_type_or_size_is_refused_or_does_no_harm(collector: Collector):
    given = sample(collector.sample)
    for (place, _), wrong in product(parts(given.tree), WRONG):
        told(collector, given.of(replaced(given.tree, place, wrong)))


WHOLE = {KINDS[kind].translate for kind in ("alertmanager", "alertmanager_webhook", "events")}
"""They hand on the annotations as they came, and say which is too long."""


@each({kind: collector for kind, collector in JSON_KINDS.items() if collector.translate not in WHOLE})
def test_a_long_explanation_costs_no_alert(collector: Collector):
    given = sample(collector.sample)
    good = read(collector, given.payload)
    for place, value in leaves(given):
        if isinstance(value, str):
            longer = told(collector, given.of(replaced(given.tree, place, f"{value} so")))
            if identities(longer) == identities(good):
                longest = told(collector, given.of(replaced(given.tree, place, f"{value} so" + " ü" * 10_000)))
                assert identities(longest) == identities(good), place


@every_json_kind
def test_any_part_may_be_missing(collector: Collector):
    given = sample(collector.sample)
    for place, _ in parts(given.tree):
        if place:
            told(collector, given.of(removed(given.tree, place)))


@every_json_kind
def test_where_every_text_is_empty_nobody_knows_what_it_is_about(collector: Collector):
    given = sample(collector.sample)
    tree = given.tree
    for place, value in leaves(given):
        if isinstance(value, str):
            tree = replaced(tree, place, "")

    assert said(told(collector, given.of(tree))) == []


HOSTILE_TEXTS: dict[str, Any] = {
    "terminal escapes": "\x1b[31mred\x1b[0m\x07",
    "text that runs backwards": "\u202egnp.exe\u2066",
    "a formula": '=HYPERLINK("http://x","y")',
    "markup": "</td><script>alert(1)</script>",
    "line breaks": "a\r\nSet-Cookie: b\n\n\u2028c",
    "characters nobody sees": "\ufeff\u200b\u0000\U0010ffff",
    "templates": "{{7*7}}${7*7}%s%n{0.__class__}",
    "separators": "a, b=c; d|e\\f'g\"h`i",
}


@every_json_kind
def test_a_hostile_text_arrives_as_it_is_or_is_refused(collector: Collector):
    """Each way out makes it inert; a way in that mends texts would make one alert of two."""
    given = sample(collector.sample)
    for (place, value), (what, hostile) in product(leaves(given), HOSTILE_TEXTS.items()):
        marked = f"before{hostile}after"
        if not isinstance(value, str):
            continue
        results = told(collector, given.of(replaced(given.tree, place, marked)))
        for one in results:
            if isinstance(one, Event):
                labels = read_labels(one.labels)
                if collector.translate is event_of:  # there the name is what lines have in common
                    del labels["alertname"]
                for text in (*labels.values(), *read_annotations(one.annotations).values()):
                    assert not ("before" in text and "after" in text) or hostile in text, (what, place)


# ---- times ----------------------------------------------------------------------------------------------------------

TIME_KEYS = re.compile(r"(?i)time|date|clock|stamp|_at$|[a-z]At$|^ts$|start|end|since|until|when|created|changed")
TIMES = ["0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999999Z", "2026-11-22T03:17:56", "yesterday", "1969-12-31"]
TIMES += ["2026-11-22T03:17:56.123456789+05:30", "2026-11-22 03:17:56", "-1", "0", "99999999999999999999"]
NUMBERS = [0, -1, 1e308, 10**30, 253402300800, -62135596801, 1763781476123456789, 1763781476.5, True]


def times_of(given: Sample) -> list[tuple[Any, Any]]:
    """Parts that look like a time, by their key and value."""
    found = []
    for place, value in leaves(given):
        if isinstance(value, bool) or not any(isinstance(step, str) and TIME_KEYS.search(step) for step in place[-1:]):
            continue
        if isinstance(value, str):
            with suppress(ValueError):
                datetime.fromisoformat(value)
                found.append((place, value))
                continue
        digits = str(value).partition(".")[0]
        if digits.isdigit() and len(digits) in (10, 13, 16, 19):
            found.append((place, value))
    return found


@every_json_kind
def test_no_time_is_part_of_an_identity_and_none_does_harm(collector: Collector):
    given = sample(collector.sample)
    known = identities(read(collector, given.payload))
    for place, value in times_of(given):
        for time in [*TIMES, *NUMBERS] if isinstance(value, str) else [*NUMBERS, *TIMES]:
            results = told(collector, given.of(replaced(given.tree, place, time)))
            assert identities(results) <= known, (place, time)
            for one in results:
                if isinstance(one, Event):
                    assert all(moment is None or moment.tzinfo for moment in (one.starts_at, one.ends_at)), (
                        place,
                        time,
                    )


# ---- resolves -------------------------------------------------------------------------------------------------------


def resolved_of(collector: Collector) -> Sample | None:
    name = collector.sample.replace("-firing", "-resolved")
    return sample(name) if name != collector.sample and name in samples_of(collector) else None


RESOLVING = {kind: collector for kind, collector in KINDS.items() if resolved_of(collector) is not None}
ends = each(RESOLVING)


@every_kind
def test_a_kind_with_alerts_shows_how_they_end_or_says_that_nothing_does(collector: Collector):
    if any(isinstance(one, Event) for one in read(collector, sample(collector.sample).payload)):
        assert collector.kind in RESOLVING or collector.expires or recovery(collector).startswith(("none", "as ")), (
            f"{collector.sample} should be X-firing.json, with X-resolved.json beside it"
        )


@ends
def test_a_resolve_ends_the_alert_that_it_is_about(collector: Collector):
    resolved = resolved_of(collector)
    assert resolved
    first = read(collector, sample(collector.sample).payload)
    begun = max((one.starts_at for one in first if isinstance(one, Event) and one.starts_at), default=RECEIVED)
    sent = begun + timedelta(seconds=1)
    firing = [one for one in read(collector, sample(collector.sample).payload, sent) if isinstance(one, Event)]
    over = [one for one in read(collector, resolved.payload, LATER) if isinstance(one, Event)]

    assert over
    assert identities(over) <= identities(firing)
    assert all(one.ends_at is None or one.ends_at > sent for one in firing)
    assert all(one.ends_at is not None and one.ends_at <= LATER for one in over)


@ends
def test_a_resolve_is_one_whatever_the_clock_of_its_sender_says(collector: Collector):
    if collector.expires:
        pytest.skip("an end that lies ahead means that it holds until then")
    resolved = resolved_of(collector)
    assert resolved
    if resolved.tree is None:
        pytest.skip("no JSON")
    for shift in (timedelta(days=-3650), timedelta(days=3650)):
        tree = resolved.tree
        for place, value in times_of(resolved):
            tree = replaced(tree, place, shifted(value, shift))
        for one in told(collector, resolved.of(tree)):
            if isinstance(one, Event):
                assert one.ends_at is not None
                assert one.ends_at <= RECEIVED


def shifted(value: Any, by: timedelta) -> Any:
    if isinstance(value, str) and not value.isdigit():
        moment = datetime.fromisoformat(value)
        if not timedelta(days=3650) < moment.replace(tzinfo=None) - datetime.min < timedelta(days=3_000_000):  # noqa: DTZ901
            return value
        return (moment + by).isoformat().replace("+00:00", "Z")
    number = float(value)
    unit = 10 ** (len(str(int(number))) - 10)
    moved = int(number + by.total_seconds() * unit)
    return str(moved) if isinstance(value, str) else moved


# ---- anything -------------------------------------------------------------------------------------------------------

SMALL = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6)
JSON = SMALL | st.lists(SMALL, max_size=3) | st.dictionaries(st.text(max_size=4), SMALL, max_size=3)


@st.composite
def payloads(draw: st.DrawFn, given: Sample) -> bytes:
    """The sample with up to four parts replaced, taken out or put elsewhere, or up to four bytes changed."""
    times = draw(st.integers(1, 4))
    if given.tree is None or draw(st.booleans()):
        body = bytearray(given.body)
        for _ in range(times):
            body[draw(st.integers(0, len(body) - 1))] = draw(st.integers(0, 255))
        return given.around(bytes(body[: draw(st.integers(len(body) // 2, 2 * len(body)))]))
    tree = given.tree
    for _ in range(times):
        found = list(parts(tree))
        place, _ = found[draw(st.integers(0, len(found) - 1))]
        match draw(st.sampled_from(("value", "gone", "other"))):
            case "gone" if place:
                tree = removed(tree, place)
            case "other":
                tree = replaced(tree, place, found[draw(st.integers(0, len(found) - 1))][1])
            case _:
                tree = replaced(tree, place, draw(JSON))
    return given.of(tree)


SAMPLES = {kind: sample(collector.sample) for kind, collector in KINDS.items()}


@every_kind
@settings(max_examples=EXAMPLES)
@given(data=st.data())
def test_a_sample_with_anything_changed_is_read_or_malformed(collector: Collector, data: Any):
    payload = data.draw(payloads(SAMPLES[collector.kind]))

    results = told(collector, payload)

    assert as_bytes(results) == as_bytes(told(collector, payload))
