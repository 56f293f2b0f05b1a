"""Remote write is read as it was sent, whatever its shape; and what is no remote write is refused."""

import math
from collections.abc import Mapping, Sequence
from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.connect.vendors import remote_write
from foreshock.connect.vendors.remote_write import Decoder, Request
from foreshock.core.errors import Malformed
from foreshock.testing.remote_write import STALE, Point, field, request, request_2, sample, series, varint

AT = 1_795_317_523_496
Found = dict[tuple[tuple[str, str], ...], list[Point]]


class Reader:
    """A decoder that wants every series whose name does not begin with ``no_``."""

    def __init__(self) -> None:
        self.labels: list[Mapping[str, str]] = []
        self.decoder = Decoder(self._place)

    def _place(self, labels: Mapping[str, str]) -> int:
        if labels["__name__"].startswith("no_"):
            return -1
        self.labels.append(labels)
        return len(self.labels) - 1

    def read(self, body: bytes) -> Request:
        return self.decoder.read(body)

    def points(self, body: bytes) -> Found:
        read, found = self.read(body), {}
        for place, time, value in zip(read.places.tolist(), read.times.tolist(), read.values.tolist(), strict=True):
            found.setdefault(tuple(sorted(self.labels[place].items())), []).append((time, value))
        return {labels: sorted(points) for labels, points in found.items()}


def labels(name: str, **others: str) -> dict[str, str]:
    return {"__name__": name, **others}


NAMES = st.text(st.characters(codec="utf-8"), min_size=1, max_size=8)
LABELS = st.dictionaries(NAMES.filter(lambda name: name != "__name__"), st.text(max_size=12), max_size=4)
POINTS = st.lists(st.tuples(st.integers(-(2**62), 2**62) | st.integers(AT, AT + 10**6), st.floats(allow_nan=False)),
                  min_size=1, max_size=3)  # fmt: skip
SERIES = st.lists(st.tuples(st.builds(lambda n, more: {"__name__": n, **more}, NAMES, LABELS), POINTS), max_size=6)


def sent(found: Sequence[tuple[Mapping[str, str], Sequence[Point]]]) -> Found:
    expected: Found = {}
    for names, points in found:
        if not names["__name__"].startswith("no_"):
            expected.setdefault(tuple(sorted(names.items())), []).extend(points)
    return {names: sorted(points) for names, points in expected.items()}


@settings(max_examples=200)
@given(SERIES, SERIES)
def test_what_is_read_is_what_was_sent_in_both_versions_also_by_one_who_met_the_series_before(first, second):
    reader, reader_2 = Reader(), Reader()
    for found in (first, second, first):
        assert merged(reader.points(request(found))) == merged(sent(found))
        assert merged(reader_2.points(request_2(found))) == merged(sent(found))


def merged(found: Found) -> Found:
    return {names: [(time, value + 0.0) for time, value in points] for names, points in found.items()}


@settings(max_examples=300)
@given(SERIES, st.data())
def test_a_request_with_some_bytes_changed_is_read_or_refused(found, data):
    reader = Reader()
    whole = data.draw(st.sampled_from([request, request_2]))(found)
    reader.read(whole)
    body = bytearray(whole + b"\x0a")
    for _ in range(data.draw(st.integers(1, 4))):
        body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    try:
        read = reader.read(bytes(body))
    except Malformed:
        return
    assert len(read.places) == len(read.times) == len(read.values)
    assert read.samples >= 0


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(body):
    with suppress(Malformed):
        Reader().read(body)


def test_zero_is_read_though_it_is_not_sent_and_a_stale_marker_is_no_number():
    reader = Reader()
    reader.read(request([(labels("up"), [(AT, 1.0)])]))

    assert reader.points(request([(labels("up"), [(AT + 1, 0.0)])])) == {(("__name__", "up"),): [(AT + 1, 0.0)]}
    [value] = reader.read(request([(labels("up"), [(AT + 2, STALE)])])).values.tolist()
    assert math.isnan(value)


def test_series_that_are_not_wanted_are_counted_and_never_asked_for_again():
    reader = Reader()
    body = request([(labels("no_thanks"), [(AT, 1.0)]), (labels("up"), [(AT, 1.0)])])

    reader.read(body)
    read = reader.read(body)

    assert (read.samples, len(read.places), len(reader.labels)) == (2, 1, 1)


def test_metadata_alone_is_a_request_without_samples():
    read = Reader().read(field(3, b"\x08\x02" + field(2, b"up")) * 3)

    assert (read.samples, read.metadata, len(read.places)) == (0, 3, 0)


def test_histograms_and_exemplars_are_counted():
    behind = field(3, b"") + field(4, b"\x08\x01") * 2
    read = Reader().read(field(1, series(labels("up"), [(AT, 1.0)], behind)))
    assert (read.samples, read.exemplars, read.histograms) == (1, 1, 2)

    read = Reader().read(request_2([(labels("up"), [(AT, 1.0)])], field(3, b"\x08\x01") * 2 + field(4, b"")))
    assert (read.samples, read.exemplars, read.histograms) == (1, 1, 2)


def test_in_version_2_what_is_behind_the_samples_does_no_harm():
    created = varint(6 << 3) + varint(AT)
    reader = Reader()

    found = reader.points(request_2([(labels("up", a="b"), [(AT, 1.0)])], field(5, b"\x08\x01") + created))

    assert found == {(("__name__", "up"), ("a", "b")): [(AT, 1.0)]}


def test_one_bad_series_is_refused_and_the_others_are_read():
    body = request([({"instance": "a"}, [(AT, 1.0), (AT + 1, 1.0)]), (labels("up"), [(AT, 1.0)])])

    read = Reader().read(body)

    assert read.refused == ("a series has no name",)
    assert (read.refused_samples, read.samples) == (2, 1)


@pytest.mark.parametrize(
    ("body", "why"),
    [
        pytest.param(b"\x0a\x05ab", "middle of a field", id="cut off"),
        pytest.param(b"\x0a", "middle of a field", id="a tag alone"),
        pytest.param(b"\x08\x01", "field 1 of the request has type 0", id="another type"),
        pytest.param(b"\x0a" + b"\xff" * 12, "more than ten bytes", id="an endless number"),
        pytest.param(field(4, b"up") + field(5, b""), "first symbol", id="symbols that do not begin with an empty one"),
    ],
)
def test_what_is_no_request_is_refused(body, why):
    with pytest.raises(Malformed, match=why):
        Reader().read(body)


@pytest.mark.parametrize(
    ("part", "why"),
    [
        pytest.param(series({"a": "b"}, []) * 2 + field(2, sample(AT, 1.0)), "comes twice", id="a label twice"),
        pytest.param(field(1, field(2, b"x")), "has no name", id="a label without a name"),
        pytest.param(field(1, field(1, b"\xff") + field(2, b"x")), "not UTF-8", id="a label that is no text"),
        pytest.param(series(labels("up"), []) + b"\x12\x09\x09abcd", "middle of a field", id="a sample cut off"),
        pytest.param(series(labels("up"), []) + b"\x0b", "has type 3", id="a type of old"),
    ],
)
def test_a_series_that_cannot_be_read_says_why(part, why):
    [refused] = Reader().read(field(1, part)).refused
    assert why in refused


def test_a_label_that_points_beyond_the_symbols_is_refused():
    body = field(4, b"") + field(5, field(1, b"\x07\x08") + field(2, sample(AT, 1.0)))

    assert Reader().read(body).refused == ("a label refers to a symbol that is not there",)


def test_labels_behind_a_sample_count_too_and_are_not_taken_for_the_whole():
    reader = Reader()
    split = series(labels("up"), [(AT, 1.0)]) + series({"instance": "a"}, [])
    for _ in range(2):
        assert reader.points(field(1, split)) == {(("__name__", "up"), ("instance", "a")): [(AT, 1.0)]}

    assert reader.points(request([(labels("up"), [(AT, 2.0)])])) == {(("__name__", "up"),): [(AT, 2.0)]}


def test_the_series_that_are_remembered_are_bounded(monkeypatch):
    monkeypatch.setattr(remote_write, "MAX_KNOWN", 10)
    reader = Reader()
    for number in range(50):
        reader.read(request([(labels("up", n=str(number)), [(AT, 1.0)])]))

    assert len(reader.decoder._known) <= 11
