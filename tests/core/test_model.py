"""Limits on what an event may carry."""

from contextlib import suppress

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock.core.errors import Malformed, TooLarge
from foreshock.core.model import Alert, encode_annotations, encode_texts, read_annotations, read_labels
from foreshock.core.severity import Severity
from foreshock.testing.records import NOON


def json(value: object) -> bytes:
    return msgspec.json.encode(value)


@pytest.mark.parametrize(
    "labels",
    [
        pytest.param({f"l{number}": "x" for number in range(64)}, id="64 labels"),
        pytest.param({"a": "x" * 2048}, id="2048 letters"),
        pytest.param({"a": "é" * 1024}, id="2048 bytes"),
        pytest.param({"n" * 1024: "x"}, id="a name of 1024 letters"),
        pytest.param({"a b": "x", "ü": "y"}, id="any letters in a name"),
    ],
)
def test_labels_up_to_the_limits_are_taken(labels: dict[str, str]):
    assert read_labels(json(labels)) == labels


@pytest.mark.parametrize(
    ("labels", "message"),
    [
        pytest.param({f"l{number}": "x" for number in range(65)}, "has 65 labels, 64 are allowed", id="65 labels"),
        pytest.param({"big": "x" * 2049}, "label 'big' has 2049 bytes, 2048 are allowed", id="a value"),
        pytest.param({"big": "é" * 1025}, "label 'big' has 2050 bytes, 2048 are allowed", id="bytes, not letters"),
        pytest.param({"n" * 1025: "x"}, "a label name has 1025 bytes, 1024 are allowed", id="a name"),
        pytest.param({"ü" * 600: "x"}, "a label name has 1200 bytes, 1024 are allowed", id="bytes of a name"),
    ],
)
def test_beyond_a_limit_the_message_names_it_and_what_was_seen(labels: dict[str, str], message: str):
    with pytest.raises(TooLarge, match=message):
        read_labels(json(labels))


def test_a_label_without_a_value_is_no_label():
    assert read_labels(b'{"a":"","b":"x"}') == {"b": "x"}
    assert len(read_labels(json({**{f"e{number}": "" for number in range(100)}, "b": "x"}))) == 1


def test_an_alert_reads_its_labels_as_they_were_checked():
    alert = Alert(
        fingerprint="f", source="events", labels=b'{"a":"","b":"x"}', annotations=b"{}", severity=Severity.INFO,
        starts_at=NOON, first_seen=NOON, last_seen=NOON,
    )  # fmt: skip

    assert alert.read_labels() == {"b": "x"}


def test_what_an_alert_says_besides_its_labels_is_told_and_saved_as_it_came():
    annotations = [json({"summary": f"Load on host-{number} is above its threshold. " * 3}) for number in range(200)]
    alerts = [
        Alert(
            fingerprint="f", source="events", labels=b'{"b":"x"}', annotations=each, severity=Severity.INFO,
            starts_at=NOON, first_seen=NOON, last_seen=NOON,
        )
        for each in annotations
    ]  # fmt: skip
    last = alerts[-1]
    last.variants = {"v": alerts[-2]}

    assert len(last.annotations) < len(annotations[-1]) / 2
    assert [alert.raw_annotations() for alert in alerts] == annotations
    plain = last.plain()
    assert plain.annotations == annotations[-1]
    assert plain.variants is not None
    assert plain.variants["v"].annotations == annotations[-2]
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(plain), type=Alert)
    assert again.raw_annotations() == annotations[-1]
    assert (again.said, again.variants["v"].said) == (last.said, alerts[-2].said)


@pytest.mark.parametrize(
    "body",
    [b"{}", b'{"a":""}', b'{"":"x"}', b"[]",
     b'{"a":1}', b'{"a":null}', b"null", b'"x"', b"", b"{", b'{"a":"\xff"}', b'{"a":"\\ud800"}',
     b'{"a":' * 5000 + b"1" + b"}" * 5000, b'{"a":NaN}'],
)  # fmt: skip
def test_what_are_no_labels_is_malformed(body: bytes):
    with pytest.raises(Malformed):
        read_labels(body)


@given(st.binary(max_size=60))
def test_any_bytes_are_labels_or_malformed(body: bytes):
    with suppress(Malformed):
        assert read_labels(body)


def test_annotations_may_be_empty_and_longer_than_labels():
    assert read_annotations(b"{}") == {}
    assert read_annotations(json({"a": "x" * 8192, "b": ""}))["b"] == ""


@pytest.mark.parametrize(
    ("annotations", "message"),
    [
        ({f"a{number}": "x" for number in range(65)}, "has 65 annotations, 64 are allowed"),
        ({"text": "x" * 8193}, "annotation 'text' has 8193 bytes, 8192 are allowed"),
    ],
)
def test_annotations_have_limits_too(annotations: dict[str, str], message: str):
    with pytest.raises(TooLarge, match=message):
        read_annotations(json(annotations))


@given(st.dictionaries(st.text(min_size=1), st.text(min_size=1), min_size=1, max_size=5))
def test_equal_texts_are_equal_bytes_and_are_read_again(texts: dict[str, str]):
    raw = encode_texts(texts)

    assert bytes(raw) == bytes(encode_texts(dict(reversed(texts.items()))))
    assert read_labels(raw) == texts


def test_annotations_that_are_too_long_or_too_many_are_cut_to_what_may_be():
    given = {"empty": "", "long": "ü" * 9000, **{f"a{number}": "x" for number in range(100)}}

    found = read_annotations(encode_annotations(given))

    assert len(found) == 64
    assert "empty" not in found
    assert found["long"].endswith("ü…")
    assert len(found["long"].encode()) <= 8192


def test_annotations_that_fit_stay_as_they_are():
    assert read_annotations(encode_annotations({"summary": "x" * 8192})) == {"summary": "x" * 8192}
