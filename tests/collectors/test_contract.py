"""What every collector promises. A new file in ``collectors`` is tested by being there."""

import json
from contextlib import suppress
from copy import deepcopy
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import collectors
from collectors import alertmanager, alertmanager_webhook, events
from foreshock.core.contracts import Collector, Ignored
from foreshock.core.errors import Malformed
from foreshock.core.model import Change, Event, Samples, read_annotations, read_labels
from foreshock.core.registry import kinds

SAMPLES = Path(__file__).resolve().parents[1] / "samples"
KINDS = kinds(collectors, "COLLECTOR", Collector)
RECEIVED = datetime(2026, 11, 22, 3, 18, 1, tzinfo=UTC)
RECEIVERS = {kind: collector for kind, collector in KINDS.items() if collector.receive}
every_receiver = pytest.mark.parametrize("collector", RECEIVERS.values(), ids=RECEIVERS)
every_kind = pytest.mark.parametrize("collector", KINDS.values(), ids=KINDS)


def sample(name: str) -> Any:
    """The body of a recorded payload; around it lie the request line and headers."""
    return json.loads((SAMPLES / name).read_text(encoding="utf-8"))["body"]


def body_of(collector: Collector) -> bytes:
    return json.dumps(sample(collector.sample)).encode()


def read(collector: Collector, body: bytes) -> list[Any]:
    """Items translated; what cannot be read stands as Malformed in its place."""
    results: list[Any] = []
    for item in collector.decode(body):
        if isinstance(item, Malformed):
            results.append(item)
            continue
        try:
            event = collector.translate(item, RECEIVED)
            if isinstance(event, Event):
                read_labels(event.labels)
                read_annotations(event.annotations)
            results.append(event)
        except Malformed as error:
            results.append(error)
    return results


def as_bytes(results: list[Any]) -> list[bytes]:
    return [str(one).encode() if isinstance(one, Malformed) else msgspec.json.encode(one) for one in results]


def items_of(payload: Any) -> list[Any]:
    """The list of items in a payload: the payload itself, or its first list of objects."""
    if isinstance(payload, list):
        return payload
    return next(value for value in payload.values() if isinstance(value, list) and value and isinstance(value[0], dict))


# ---- declaration ----------------------------------------------------------------------------------------------------


@every_kind
def test_it_says_what_it_is_and_where_its_facts_come_from(collector: Collector):
    assert collector.title
    assert collector.facts
    assert collector.receive or collector.poll or collector.listen
    if collector.receive:
        assert collector.receive.path.startswith("/api/")
        assert collector.receive.answer in ("per_item", "alertmanager")


def test_no_two_collectors_share_an_address():
    paths = [collector.receive.path for collector in RECEIVERS.values()]

    assert len(set(paths)) == len(paths)


TYPES: dict[str, Any] = {"object": dict, "array": list, "string": str}


def fits(value: Any, schema: Any) -> bool:
    """The few words of JSON Schema that our schemas use; an unknown word is a mistake here or there."""
    known = {
        "type",
        "required",
        "properties",
        "additionalProperties",
        "items",
        "enum",
        "oneOf",
        "format",
        "description",
        "default",
    }
    known |= {"minProperties", "maxProperties", "maxLength"}
    assert set(schema) <= known, f"unknown words {set(schema) - known}"
    if "oneOf" in schema and sum(fits(value, one) for one in schema["oneOf"]) != 1:
        return False
    if "enum" in schema and value not in schema["enum"]:
        return False
    if "type" in schema and not isinstance(value, TYPES[schema["type"]]):
        return False
    if isinstance(value, list):
        return all(fits(item, schema.get("items", {})) for item in value)
    if isinstance(value, dict):
        named, others = schema.get("properties", {}), schema.get("additionalProperties", {})
        return (
            set(schema.get("required", ())) <= set(value)
            and schema.get("minProperties", 0) <= len(value) <= schema.get("maxProperties", 10**6)
            and (others is not False or set(value) <= set(named))
            and all(fits(item, named.get(name, others or {})) for name, item in value.items())
        )
    return not isinstance(value, str) or len(value) <= schema.get("maxLength", 10**6)


@every_receiver
def test_its_schema_describes_its_sample_and_not_just_anything(collector: Collector):
    payload = sample(collector.sample)
    assert fits(payload, collector.receive.schema)

    broken = deepcopy(payload)
    items_of(broken)[0].clear()

    assert not fits(broken, collector.receive.schema)
    assert json.loads(json.dumps(collector.receive.schema)) == collector.receive.schema


# ---- reading --------------------------------------------------------------------------------------------------------


@every_receiver
def test_its_sample_is_read(collector: Collector):
    results = read(collector, body_of(collector))

    assert results
    assert all(isinstance(one, Event | Change | Ignored) for one in results)
    assert any(isinstance(one, Event | Change) for one in results)


@every_receiver
def test_the_same_payload_twice_gives_equal_events(collector: Collector):
    body = body_of(collector)

    assert as_bytes(read(collector, body)) == as_bytes(read(collector, body))


@every_receiver
def test_translating_is_pure(collector: Collector):
    for item in collector.decode(body_of(collector)):
        before = msgspec.json.encode(item)

        once = msgspec.json.encode(collector.translate(item, RECEIVED))
        again = msgspec.json.encode(collector.translate(item, RECEIVED))

        assert once == again
        assert msgspec.json.encode(item) == before


@every_receiver
def test_times_are_aware(collector: Collector):
    for one in read(collector, body_of(collector)):
        for moment in (one.at,) if isinstance(one, Change) else (one.starts_at, one.ends_at):
            assert moment is None or moment.tzinfo is not None


@pytest.mark.parametrize("collector", [kind for kind in KINDS.values() if kind.poll], ids=lambda kind: kind.kind)
def test_a_sample_of_what_is_asked_for_is_read_purely(collector: Collector):
    results = read(collector, body_of(collector))

    assert results
    assert all(isinstance(one, Event | Change | Samples | Ignored) for one in results)
    assert as_bytes(results) == as_bytes(read(collector, body_of(collector)))
    for one in results:
        if isinstance(one, Samples):
            assert one.series.ci
            assert one.series.metric
            assert list(one.times) == sorted(one.times)
            assert len(one.times) == len(one.values)


BAD_ITEMS = [
    pytest.param(7, id="a number"),
    pytest.param(None, id="null"),
    pytest.param({}, id="empty"),
    pytest.param({"labels": None}, id="labels null"),
    pytest.param({"labels": {}}, id="no labels"),
    pytest.param({"labels": {"a": 1}}, id="a label that is a number"),
    pytest.param({"labels": {"a": "x" * 3000}}, id="a label that is too long"),
    pytest.param({"labels": {f"l{number}": "x" for number in range(65)}}, id="too many labels"),
    pytest.param({"labels": {"a": "b"}, "annotations": []}, id="annotations that are a list"),
    pytest.param(
        {"labels": {"a": "b"}, "startsAt": "2026-11-22T03:17:56", "starts_at": "2026-11-22T03:17:56"},
        id="a time without a zone",
    ),
    pytest.param({"labels": {"a": "b"}, "startsAt": "yesterday", "starts_at": "yesterday"}, id="a time in words"),
    pytest.param({"labels": {"a": "b"}, "endsAt": 10**400, "ends_at": 10**400}, id="a huge number for a time"),
    pytest.param({"labels": {"a": "b"}, "status": "perhaps", "endsAt": 5}, id="a state nobody knows"),
]


@every_receiver
@pytest.mark.parametrize("bad", BAD_ITEMS)
def test_a_bad_item_never_loses_its_neighbours(collector: Collector, bad: Any):
    payload = sample(collector.sample)
    good = read(collector, json.dumps(payload).encode())
    items_of(payload)[1:1] = [bad]

    results = read(collector, json.dumps(payload).encode())

    assert isinstance(results[1], Malformed), results[1]
    assert as_bytes([results[0], *results[2:]]) == as_bytes(good)


@every_receiver
def test_a_bad_item_keeps_its_text_for_the_dead_letter(collector: Collector):
    payload = sample(collector.sample)
    items_of(payload).append({"labels": {"a": "b"}, "startsAt": "never", "starts_at": "never", "status": "firing"})

    (*_, last) = collector.decode(json.dumps(payload).encode())

    assert b"never" in last.payload


HOSTILE_BODIES = [
    pytest.param(b"", id="empty"),
    pytest.param(b" \n", id="blank"),
    pytest.param(b"null", id="null"),
    pytest.param(b"true", id="true"),
    pytest.param(b"17", id="a number"),
    pytest.param(b'"text"', id="a text"),
    pytest.param(b"NaN", id="NaN"),
    pytest.param(b"[NaN]", id="NaN in a list"),
    pytest.param(b"9" * 5000, id="a huge number"),
    pytest.param(b"<xml/>", id="XML"),
    pytest.param(b"labels: {a: b}", id="YAML"),
    pytest.param(b"a=b&c=d", id="a form"),
    pytest.param(b"\x00" * 40, id="zeros"),
    pytest.param(b"\x1f\x8b\x08\x00", id="gzip"),
    pytest.param(b"\xff\xfe[\x00]\x00", id="UTF-16 with a mark"),
    pytest.param('[{"labels":{"a":"b"}}]'.encode("utf-16-le"), id="UTF-16"),
    pytest.param('[{"labels":{"a":"ü"}}]'.encode("latin-1")[:-1], id="Latin-1 and truncated"),
    pytest.param(b"\xef\xbb\xbf[]", id="a byte order mark"),
    pytest.param(b"[" * 200_000, id="deep lists"),
    pytest.param(b"[" * 200_000 + b"]" * 200_000, id="deep lists that end"),
    pytest.param(b'{"x":' * 200_000, id="deep objects"),
    pytest.param(b'{"alerts":' + b"[" * 200_000, id="deep alerts"),
    pytest.param(b'[{"labels":{"a":"b"}},', id="truncated"),
    pytest.param(b'{"labels":{"a":"b"}', id="truncated object"),
    pytest.param(b'{"alerts":[{"status":"firing","labels":{"a":"b"}', id="truncated notification"),
    pytest.param(b"[{}] trailing", id="something behind it"),
]


@every_receiver
@pytest.mark.parametrize("body", HOSTILE_BODIES)
def test_a_body_that_cannot_be_read_is_malformed_and_nothing_worse(collector: Collector, body: bytes):
    try:
        results = read(collector, body)
    except Malformed as error:
        assert len(str(error)) < 2000, "the message repeats the body"  # noqa: PT017
    else:
        assert results
        assert all(isinstance(one, Malformed) for one in results)


@every_receiver
def test_no_part_of_the_sample_can_be_cut_off_unnoticed(collector: Collector):
    body = body_of(collector).rstrip()
    for length in range(len(body)):
        with pytest.raises(Malformed):
            collector.decode(body[:length])


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=6) | st.just("2026-11-22T03:17:56Z"),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(
                [
                    "labels",
                    "annotations",
                    "status",
                    "alerts",
                    "startsAt",
                    "starts_at",
                    "endsAt",
                    "ends_at",
                    "severity",
                    "x",
                ]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


@every_receiver
@settings(max_examples=200)
@given(payload=JSON, wrapped=st.booleans())
def test_any_json_is_read_or_malformed(collector: Collector, payload: Any, wrapped: bool):
    body = json.dumps({"alerts": [payload]} if wrapped else payload).encode()

    with suppress(Malformed):
        read(collector, body)


@every_receiver
@settings(max_examples=200)
@given(data=st.data())
def test_a_sample_with_some_bytes_changed_is_read_or_malformed(collector: Collector, data: Any):
    body = bytearray(body_of(collector))
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))

    with suppress(Malformed):
        read(collector, bytes(body))


@every_receiver
def test_of_a_key_that_comes_twice_the_last_one_counts(collector: Collector):
    """Go's and Python's decoders agree on this; what matters is that it is always the same one."""
    payload = sample(collector.sample)
    items_of(payload)[:] = items_of(payload)[:1]
    if "labels" not in items_of(payload)[0]:
        pytest.skip("the product has no labels; translate makes them")
    items_of(payload)[0]["labels"] = {"twice": "2"}
    body = json.dumps(payload).encode().replace(b'{"twice": "2"}', b'{"twice": "1", "twice": "2"}')

    (event,) = read(collector, body)

    assert read_labels(event.labels) == {"twice": "2"}


# ---- resolves -------------------------------------------------------------------------------------------------------

BEFORE, AFTER = RECEIVED - timedelta(seconds=30), RECEIVED + timedelta(minutes=4)
NEVER = "0001-01-01T00:00:00Z"


def text(moment: datetime) -> str:
    return moment.isoformat().replace("+00:00", "Z")


@pytest.mark.parametrize(
    ("fields", "ends_at"),
    [
        pytest.param({"status": "resolved", "endsAt": text(BEFORE)}, BEFORE, id="resolved"),
        pytest.param({"status": "resolved", "endsAt": text(AFTER)}, RECEIVED, id="resolved by a clock that runs ahead"),
        pytest.param({"status": "resolved", "endsAt": NEVER}, RECEIVED, id="resolved at no time"),
        pytest.param({"status": "resolved"}, RECEIVED, id="resolved without a time"),
        pytest.param({"status": "firing", "endsAt": NEVER}, None, id="firing"),
        pytest.param({"status": "firing", "endsAt": text(BEFORE)}, None, id="firing, whatever the end says"),
    ],
)
def test_the_state_of_a_notification_decides(fields: dict[str, str], ends_at: datetime | None):
    (item,) = alertmanager_webhook.decode(json.dumps({"alerts": [{"labels": {"a": "b"}, **fields}]}).encode())

    assert alertmanager_webhook.translate(item, RECEIVED).ends_at == ends_at


@pytest.mark.parametrize(
    ("fields", "ends_at"),
    [
        pytest.param({"status": "resolved"}, RECEIVED, id="resolved now"),
        pytest.param({"status": "resolved", "ends_at": text(BEFORE)}, BEFORE, id="resolved before"),
        pytest.param({"status": "resolved", "ends_at": text(AFTER)}, RECEIVED, id="resolved in the future"),
        pytest.param({"status": "resolved", "ends_at": NEVER}, RECEIVED, id="resolved at no time"),
        pytest.param({}, None, id="firing is what is not said"),
        pytest.param({"ends_at": text(BEFORE)}, BEFORE, id="an end that is past"),
        pytest.param({"ends_at": text(AFTER)}, AFTER, id="an end to come"),
    ],
)
def test_an_event_says_resolved_or_gives_an_end(fields: dict[str, str], ends_at: datetime | None):
    (item,) = events.decode(json.dumps({"labels": {"a": "b"}, **fields}).encode())

    assert events.translate(item, RECEIVED).ends_at == ends_at


@pytest.mark.parametrize("ends_at", [None, BEFORE, AFTER])
def test_what_prometheus_posts_is_the_event_as_it_stands(ends_at: datetime | None):
    posted = {"labels": {"a": "b"}, "generatorURL": "http://prometheus.example/graph", "startsAt": text(BEFORE)}
    (item,) = alertmanager.decode(json.dumps([posted | ({"endsAt": text(ends_at)} if ends_at else {})]).encode())

    event = alertmanager.translate(item, RECEIVED)

    assert (event.starts_at, event.ends_at, event.url) == (BEFORE, ends_at, "http://prometheus.example/graph")


@pytest.mark.parametrize(
    ("name", "collector", "resolved"),
    [
        ("prometheus-alerts-firing.json", alertmanager.COLLECTOR, False),
        ("prometheus-alerts-resolved.json", alertmanager.COLLECTOR, True),
        ("alertmanager-webhook-firing.json", alertmanager_webhook.COLLECTOR, False),
        ("alertmanager-webhook-resolved.json", alertmanager_webhook.COLLECTOR, True),
    ],
)
def test_what_real_servers_sent_is_understood(name: str, collector: Collector, resolved: bool):
    for event in read(collector, json.dumps(sample(name)).encode()):
        # The firing ones were recorded at 03:17:56, their end lies four intervals ahead.
        now = datetime(2026, 11, 22, 3, 20, tzinfo=UTC) if resolved else datetime(2026, 11, 22, 3, 17, 57, tzinfo=UTC)
        assert (event.ends_at is not None and event.ends_at <= now) is resolved
        assert read_labels(event.labels)["alertname"] == "LabFault"


def test_one_event_needs_no_list_and_two_do():
    assert len(events.decode(b' {"labels":{"a":"b"}}')) == 1
    assert len(events.decode(b'[{"labels":{"a":"b"}},{"labels":{"a":"c"}}]')) == 2


def test_a_word_for_severity_has_a_bound():
    (item,) = events.decode(json.dumps({"labels": {"a": "b"}, "severity": "x" * 65}).encode())

    with pytest.raises(Malformed, match="severity has 65 characters, 64 are allowed"):
        events.translate(item, RECEIVED)


def test_half_a_character_in_one_item_costs_that_item_alone():
    body = b'[{"labels": {"alertname": "A", "x": "\\ud800"}}, {"labels": {"alertname": "B"}}]'

    half, whole = alertmanager.decode(body)

    assert isinstance(half, Malformed)
    assert read_labels(whole.labels) == {"alertname": "B"}


def test_half_a_character_in_one_alert_of_a_notification_costs_that_alert_alone():
    body = (
        b'{"version": "4", "alerts": [{"status": "firing", "labels": {"x": "\\ud800"}},'
        b' {"status": "firing", "labels": {"alertname": "B"}}]}'
    )

    half, whole = alertmanager_webhook.decode(body)

    assert isinstance(half, Malformed)
    assert read_labels(whole.labels) == {"alertname": "B"}
