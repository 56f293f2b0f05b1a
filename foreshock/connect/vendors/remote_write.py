"""The bytes of Prometheus remote write 1.0 and 2.0: Protocol Buffers in Snappy's block format.

A sender repeats the labels of a series with every sample, byte for byte. So a series is looked up by those bytes: one
that was seen before costs a look into a dictionary, and NumPy reads the samples of a request at once.

Facts: https://prometheus.io/docs/specs/prw/remote_write_spec/ and remote_write_spec_2_0/, prompb/types.proto and
prompb/io/prometheus/write/v2/types.proto, from memory on 2026-11-22; version 1 as sent by Prometheus 2.42. UNVERIFIED:
version 2 by a real sender, as Debian 12 has none. Native histograms are the same message in both, but for its number.
"""

import struct
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from foreshock.connect.histograms import MAX_BUCKETS, SCALES, Explicit, Exponential, Observed
from foreshock.core.errors import Malformed

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

MAX_KNOWN = 300_000
"""Series whose bytes are remembered: about 100 MB. Beyond that all are forgotten and met anew."""
MAX_SERIES = 100_000
"""In one request."""

_DROPPED = -1
_FULL, _ZERO = 18, 9  # bytes of a sample at the end of a series: one with a value, and one whose value is 0
_MAX_ERRORS = 10

Place = int
Span = Sequence[int]
"""Where bytes begin and end."""
Choose = Callable[[Mapping[str, str]], Place]
"""Labels to a place of the caller's own, or -1 where the series is not wanted. Raises Malformed."""


class Request(Struct, frozen=True, kw_only=True):
    """What one request held.

    Attributes:
        places, times, values: samples of the series that are wanted; times in milliseconds. Values may be NaN.
        samples: of all series that could be read. histograms, exemplars, metadata: how many came with them.
        observed: histograms of the series that are wanted, but for those that mark an end, or are gauges.
        refused: why series could not be read, the first few; refused_samples: how many samples they had.
    """

    places: "NDArray[np.int64]"
    times: "NDArray[np.int64]"
    values: "NDArray[np.float64]"
    samples: int = 0
    histograms: int = 0
    observed: "Sequence[tuple[Place, Observed]]" = ()
    exemplars: int = 0
    metadata: int = 0
    refused: Sequence[str] = ()
    refused_samples: int = 0


class Decoder:
    """Reads requests, and remembers the series it met. choose: asked once for each."""

    def __init__(self, choose: Choose) -> None:
        self._choose = choose
        self._known: dict[bytes | tuple[bytes, ...], Place] = {}

    def read(self, body: bytes) -> Request:
        """A request without its compression. Raises Malformed where it is none."""
        if len(self._known) > MAX_KNOWN:
            self._known.clear()
        return _Reading(self._known, self._choose).read(body)


class _Reading:
    """One request. Samples of the usual shape are collected as bytes, others one by one."""

    def __init__(self, known: dict[bytes | tuple[bytes, ...], Place], choose: Choose) -> None:
        self._known, self._choose = known, choose
        self._places: list[Place] = []
        self._full: list[bytes] = []
        self._zero_places: list[Place] = []
        self._zero: list[bytes] = []
        self._others: list[tuple[Place, int, float]] = []
        self._samples = self._histograms = self._exemplars = self._metadata = 0
        self._observed: list[tuple[Place, Observed]] = []
        self._refused: list[str] = []
        self._refused_samples = 0

    def read(self, body: bytes) -> Request:
        try:
            self._request(body)
        except IndexError:
            raise Malformed("the request ends in the middle of a field") from None
        return self._done()

    def _request(self, body: bytes) -> None:
        known, at, size = self._known, 0, len(body)
        symbols: list[bytes] = []
        second: list[tuple[int, int]] = []
        count = 0
        while at < size:
            tag, length = body[at], body[at + 1]
            if tag & 7 != 2:
                raise Malformed(f"field {tag >> 3} of the request has type {tag & 7}")
            at += 2
            if length > 127:
                length, at = _varint(body, at - 1)
            end = at + length
            if end > size:
                raise Malformed("the request ends in the middle of a field")
            if tag == 0x0A:
                count += 1
                place = known.get(body[at : end - _FULL]) if length > _FULL else None
                if place is not None:
                    if place >= 0:
                        self._places.append(place)
                        self._full.append(body[end - _FULL : end])
                    self._samples += 1
                else:
                    place = known.get(body[at : end - _ZERO]) if length > _ZERO else None
                    if place is None:
                        self._first(body, at, end)
                    else:
                        if place >= 0:
                            self._zero_places.append(place)
                            self._zero.append(body[end - _ZERO : end])
                        self._samples += 1
            elif tag == 0x2A:
                count += 1
                second.append((at, end))
            elif tag == 0x22:
                symbols.append(body[at:end])
            elif tag == 0x1A:
                self._metadata += 1
            at = end
            if count > MAX_SERIES:
                raise Malformed(f"the request has more than {MAX_SERIES} series", hint="send smaller ones")
        if second:
            if symbols[:1] != [b""]:
                raise Malformed("the first symbol of the request is not empty")
            places: dict[bytes, Place] = {}
            for start, end in second:
                self._second(body, start, end, symbols, places)

    # ---- version 1 ----

    def _first(self, body: bytes, at: int, end: int) -> None:
        """A series that was not met before, or with more or less than one sample."""
        behind = at  # where its labels end, if they all come first
        others = late = False
        labels: dict[str, str] = {}
        samples: list[tuple[int, int]] = []
        histograms: list[tuple[int, int]] = []
        try:
            for field, kind, first, last in _fields(body, at, end):
                if field == 1 and kind == 2:
                    name, value = _label(body, first, last)
                    if name in labels:
                        raise Malformed(f"the label {name} comes twice")
                    labels[name] = value
                    behind, late = last, late or others
                    continue
                others = True
                if field == 2 and kind == 2:
                    samples.append((first, last))
                elif field == 3:
                    self._exemplars += 1
                elif field == 4 and kind == 2:
                    histograms.append((first, last))
            raw = b"" if late else body[at:behind]
            place = self._known.get(raw) if raw else None
            if place is None:
                place = self._place(labels)
                if raw:
                    self._known[raw] = place
            self._take(body, place, samples, histograms)
        except Malformed as error:
            self._refuse(str(error), max(1, len(samples) + len(histograms)))

    def _place(self, labels: Mapping[str, str]) -> Place:
        if not labels.get("__name__"):
            raise Malformed("a series has no name")
        return self._choose(labels)

    def _take(self, body: bytes, place: Place, samples: Sequence[Span], histograms: Sequence[Span] = ()) -> None:
        read = [(place, *_sample(body, *span)) for span in samples]
        observed = [_histogram(body, *span) for span in histograms] if place >= 0 else []
        self._samples += len(read)
        self._histograms += len(histograms)
        if place >= 0:
            self._others += read
            self._observed += [(place, each) for each in observed if each is not None]

    def _refuse(self, why: str, samples: int) -> None:
        self._refused_samples += samples
        if len(self._refused) < _MAX_ERRORS:
            self._refused.append(why)

    # ---- version 2 ----

    def _second(self, body: bytes, at: int, end: int, symbols: Sequence[bytes], places: dict[bytes, Place]) -> None:
        samples: list[tuple[int, int]] = []
        histograms: list[tuple[int, int]] = []
        refs = b""
        try:
            for field, kind, first, last in _fields(body, at, end):
                if field == 1 and kind in (0, 2):  # not packed, packed
                    refs += body[first:last]
                elif field == 2 and kind == 2:
                    samples.append((first, last))
                elif field == 3 and kind == 2:
                    histograms.append((first, last))
                elif field == 4:
                    self._exemplars += 1
            place = places.get(refs)
            if place is None:
                place = places[refs] = self._named(refs, symbols)
            if len(samples) == 1 and not histograms and samples[0][1] - samples[0][0] == _FULL - 2:
                self._samples += 1
                if place >= 0:
                    first, last = samples[0]
                    self._places.append(place)
                    self._full.append(body[first - 2 : last])
            else:
                self._take(body, place, samples, histograms)
        except Malformed as error:
            self._refuse(str(error), max(1, len(samples) + len(histograms)))

    def _named(self, refs: bytes, symbols: Sequence[bytes]) -> Place:
        try:
            words = tuple(symbols[ref] for ref in _varints(refs))
        except IndexError:
            raise Malformed("a label refers to a symbol that is not there") from None
        place = self._known.get(words)
        if place is None:
            if len(words) % 2:
                raise Malformed("a label has no value")
            texts = [_text(word) for word in words]
            labels = dict(zip(texts[::2], texts[1::2], strict=True))
            if len(labels) * 2 != len(texts):
                raise Malformed("a label comes twice")
            place = self._known[words] = self._place(labels)
        return place

    # ---- samples ----

    def _done(self) -> Request:
        import numpy as np

        places, times, values = [np.empty(0, dtype=np.int64)], [np.empty(0, dtype=np.int64)], [np.empty(0)]
        usual: tuple[tuple[list[Place], list[bytes], int], ...] = (
            (self._places, self._full, _FULL),
            (self._zero_places, self._zero, _ZERO),
        )
        for found, raw, width in usual:
            if not found:
                continue
            rows = np.frombuffer(b"".join(raw), dtype=np.uint8).reshape(-1, width)
            good = _is_usual(rows)
            if not good.all():
                for index in np.flatnonzero(~good).tolist():
                    self._odd(found[index], raw[index])
                rows, found = rows[good], [found[index] for index in np.flatnonzero(good).tolist()]
            places.append(np.array(found, dtype=np.int64))
            times.append(_moments(rows[:, -6:]))
            full = width == _FULL
            values.append(rows[:, 3:11].copy().view("<f8").ravel() if full else np.zeros(len(rows)))
        if self._others:
            columns = list(zip(*self._others, strict=True))
            places.append(np.array(columns[0], dtype=np.int64))
            times.append(np.array(columns[1], dtype=np.int64))
            values.append(np.array(columns[2], dtype=np.float64))
        return Request(
            places=np.concatenate(places),
            times=np.concatenate(times),
            values=np.concatenate(values),
            samples=self._samples,
            histograms=self._histograms,
            observed=self._observed,
            exemplars=self._exemplars,
            metadata=self._metadata,
            refused=tuple(self._refused),
            refused_samples=self._refused_samples,
        )

    def _odd(self, place: Place, raw: bytes) -> None:
        """The end of a series that is no sample of the usual shape: fields behind the labels, of whatever kind."""
        self._samples -= 1
        try:
            fields = [(field, first, last) for field, kind, first, last in _fields(raw, 0, len(raw)) if kind == 2]
            samples, histograms = ([span for number, *span in fields if number == field] for field in (2, 4))
            self._take(raw, place, samples, histograms)
        except (Malformed, IndexError) as error:
            self._refuse(str(error) or "a series ends in the middle of a field", 1)


def _is_usual(rows: "NDArray[np.uint8]") -> "NDArray[np.bool_]":
    """Which rows are one sample with a time of six bytes: any after 2004 and before 2109."""
    full = rows.shape[1] == _FULL
    good = (rows[:, 0] == 0x12) & (rows[:, 1] == (0x10 if full else 0x07)) & (rows[:, 2] == (0x09 if full else 0x10))
    if full:
        good &= rows[:, 11] == 0x10
    found: NDArray[np.bool_] = good & (rows[:, -6:-1] > 127).all(axis=1) & (rows[:, -1] < 128)
    return found


def _moments(times: "NDArray[np.uint8]") -> "NDArray[np.int64]":
    """Varints of six bytes each."""
    import numpy as np

    shifts = np.arange(0, 42, 7, dtype=np.int64)
    found: NDArray[np.int64] = ((times & 127).astype(np.int64) << shifts).sum(axis=1)
    return found


# ---- Protocol Buffers -----------------------------------------------------------------------------------------------


def _varint(body: bytes, at: int) -> tuple[int, int]:
    """The number at ``at``, and where it ends. Raises Malformed; IndexError at the end."""
    value = shift = 0
    while True:
        byte = body[at]
        at += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, at
        shift += 7
        if shift > 63:
            raise Malformed("a number has more than ten bytes")


def _varints(body: bytes) -> Iterator[int]:
    if not any(byte > 127 for byte in body):
        yield from body
        return
    at = 0
    while at < len(body):
        value, at = _varint(body, at)
        yield value


def _fields(body: bytes, at: int, end: int) -> Iterator[tuple[int, int, int, int]]:
    """Number and type of each field, and where its content begins and ends. Raises Malformed."""
    while at < end:
        try:
            tag, at = _varint(body, at)
            kind = tag & 7
            first = at
            if kind == 0:
                _, at = _varint(body, at)
            elif kind == 1:
                at += 8
            elif kind == 2:
                length, first = _varint(body, at)
                at = first + length
            elif kind == 5:
                at += 4
            else:
                raise Malformed(f"a field has type {kind}")
        except IndexError:
            raise Malformed("a series ends in the middle of a field") from None
        if at > end:
            raise Malformed("a series ends in the middle of a field")
        yield tag >> 3, kind, first, at


def _label(body: bytes, at: int, end: int) -> tuple[str, str]:
    name = value = b""
    for field, kind, first, last in _fields(body, at, end):
        if kind == 2 and field == 1:
            name = body[first:last]
        elif kind == 2 and field == 2:
            value = body[first:last]
    if not name:
        raise Malformed("a label has no name")
    return _text(name), _text(value)


def _text(raw: bytes) -> str:
    try:
        return raw.decode()
    except UnicodeDecodeError:
        raise Malformed("a label is not UTF-8") from None


def _sample(body: bytes, at: int, end: int) -> tuple[int, float]:
    """Time in milliseconds, and value. What is zero is not sent."""
    time, value = 0, 0.0
    for field, kind, first, _ in _fields(body, at, end):
        if field == 1 and kind == 1:
            (value,) = struct.unpack_from("<d", body, first)
        elif field == 2 and kind == 0:
            time, _ = _varint(body, first)
            time = (time ^ (1 << 63)) - (1 << 63) if time < 1 << 64 else 0
    return time, value


_GAUGE = 3  # of hints on resets: it may fall, so nothing can be said of what came since
_CUSTOM = -53  # the schema whose bounds are told
_STALE = (0x7FF0000000000002).to_bytes(8, "little")


def _histogram(body: bytes, at: int, end: int) -> Observed | None:
    """None where it marks the end of its series, or is a gauge. Raises Malformed."""
    numbers: dict[int, int] = {}
    doubles: dict[int, float] = {}
    lists: dict[int, list[Any]] = {}
    for field, kind, first, last in _fields(body, at, end):
        if kind == 0 and field in (9, 12):  # not packed
            lists.setdefault(field, []).append(_signed(_varint(body, first)[0]))
        elif kind == 0:
            numbers[field] = _varint(body, first)[0]
        elif kind == 1 and field in (10, 13, 16):
            lists.setdefault(field, []).append(struct.unpack_from("<d", body, first)[0])
        elif kind == 1:
            if field == 3 and body[first:last] == _STALE:
                return None
            (doubles[field],) = struct.unpack_from("<d", body, first)
        elif kind == 2 and field in (8, 11):
            lists.setdefault(field, []).append(_span(body, first, last))
        elif kind == 2 and field in (9, 12):
            lists.setdefault(field, []).extend(_signed(number) for number in _varints(body[first:last]))
        elif kind == 2 and field in (10, 13, 16):
            whole = first + (last - first) // 8 * 8
            lists.setdefault(field, []).extend(each for (each,) in struct.iter_unpack("<d", body[first:whole]))
    if numbers.get(14, 0) == _GAUGE:
        return None
    time = numbers.get(15, 0)  # one before 1970 is far ahead, and refused
    count, zero = (doubles.get(number, float(numbers.get(number - 1, 0))) for number in (2, 7))
    negative, positive = (
        _indexed(lists.get(spans, []), lists.get(counts) or _summed(lists.get(deltas, [])))
        for spans, deltas, counts in ((8, 9, 10), (11, 12, 13))
    )
    scale = _signed(numbers.get(4, 0))
    buckets: Explicit | Exponential
    if scale == _CUSTOM:
        bounds = lists.get(16, [])
        if len(bounds) > MAX_BUCKETS:
            raise Malformed(f"a histogram has {len(bounds)} bounds, {MAX_BUCKETS} are read")
        buckets = Explicit(bounds, [positive.get(index, 0.0) for index in range(-1, len(bounds))])
    elif scale in SCALES:
        buckets = Exponential(scale, doubles.get(5, 0.0), zero, positive, negative)
    else:
        raise Malformed(f"a histogram has the schema {scale}")
    return Observed(time / 1000, count, doubles.get(3, 0.0), buckets)


def _indexed(spans: Sequence[tuple[int, int]], counts: Sequence[float]) -> dict[int, float]:
    """By index as ``Exponential`` counts it, which is one less than Prometheus'. Raises Malformed."""
    if sum(length for _, length in spans) != len(counts) or len(counts) > MAX_BUCKETS:
        raise Malformed(f"a histogram has {len(counts)} buckets, and spans for others, or more than {MAX_BUCKETS}")
    found, index, at = {}, -1, 0
    for offset, length in spans:
        index += offset
        for count in counts[at : at + length]:
            found[index] = float(count)
            index += 1
        at += length
    return found


def _summed(deltas: Sequence[int]) -> list[int]:
    return list(accumulate(deltas))


def _span(body: bytes, at: int, end: int) -> tuple[int, int]:
    found = {field: _varint(body, first)[0] for field, kind, first, _ in _fields(body, at, end) if kind == 0}
    return _signed(found.get(1, 0)), found.get(2, 0)


def _signed(number: int) -> int:
    """Zigzag undone."""
    return (number >> 1) ^ -(number & 1)


def series_of(body: bytes) -> list[tuple[dict[str, str], list[int], list[float]]]:
    """Labels, times in milliseconds and values of each series. Raises Malformed where any cannot be read."""
    found: list[tuple[dict[str, str], list[int], list[float]]] = []

    def choose(labels: Mapping[str, str]) -> Place:
        found.append((dict(labels), [], []))
        return len(found) - 1

    request = Decoder(choose).read(body)
    if request.refused:
        raise Malformed(request.refused[0])
    columns: Any = (request.places.tolist(), request.times.tolist(), request.values.tolist())
    for place, time, value in sorted(zip(*columns, strict=True), key=lambda each: each[:2]):
        found[place][1].append(time)
        found[place][2].append(value)
    return found
