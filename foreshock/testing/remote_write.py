"""Requests of Prometheus remote write, as a sender makes them: for tests and benchmarks."""

import struct
from collections.abc import Mapping, Sequence

import cramjam

Point = tuple[int, float]
"""Time in milliseconds, and value."""

STALE = struct.unpack("<d", (0x7FF0000000000002).to_bytes(8, "little"))[0]
"""What Prometheus sends where a series ends."""


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    found = bytearray()
    while value > 127:
        found.append(value & 127 | 128)
        value >>= 7
    found.append(value)
    return bytes(found)


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


def sample(time_ms: int, value: float) -> bytes:
    """Zeros are left out, as proto3 has it."""
    raw = struct.pack("<d", value)
    return (b"\x09" + raw if raw != b"\0" * 8 else b"") + (b"\x10" + varint(time_ms) if time_ms else b"")


def series(labels: Mapping[str, str], points: Sequence[Point], behind: bytes = b"") -> bytes:
    pairs = (field(1, field(1, name.encode()) + field(2, value.encode())) for name, value in sorted(labels.items()))
    return b"".join(pairs) + b"".join(field(2, sample(*point)) for point in points) + behind


def request(found: Sequence[tuple[Mapping[str, str], Sequence[Point]]], behind: bytes = b"") -> bytes:
    """Of version 1, not compressed."""
    return b"".join(field(1, series(*each)) for each in found) + behind


def request_2(found: Sequence[tuple[Mapping[str, str], Sequence[Point]]], behind: bytes = b"") -> bytes:
    """Of version 2, not compressed. behind: further fields of each series."""
    symbols: dict[str, int] = {"": 0}
    parts = []
    for labels, points in found:
        words = [word for pair in sorted(labels.items()) for word in pair]
        refs = b"".join(varint(symbols.setdefault(word, len(symbols))) for word in words)
        parts.append(field(5, field(1, refs) + b"".join(field(2, sample(*point)) for point in points) + behind))
    return b"".join(field(4, symbol.encode()) for symbol in symbols) + b"".join(parts)


def zigzag(number: int) -> bytes:
    return varint(number << 1 if number >= 0 else -number * 2 - 1)


def histogram(
    time_ms: int,
    positive: Mapping[int, int],
    *,
    total: float,
    schema: int = 0,
    zero: int = 0,
    bounds: Sequence[float] = (),
) -> bytes:
    """A native histogram of whole numbers. positive: by index, as Prometheus counts; bounds: of schema -53."""

    def number(place: int, value: bytes) -> bytes:
        return varint(place << 3) + value

    def double(place: int, value: float) -> bytes:
        return varint(place << 3 | 1) + struct.pack("<d", value)

    spans, deltas, behind, before = [], [], 0, 0
    for index, count in sorted(positive.items()):
        spans.append(field(11, number(1, zigzag(index - behind)) + number(2, varint(1))))
        deltas.append(zigzag(count - before))
        behind, before = index + 1, count
    return (
        number(1, varint(sum(positive.values())))
        + double(3, total)
        + number(4, zigzag(schema))
        + double(5, 2.0**-128)
        + b"".join(spans)
        + field(12, b"".join(deltas))
        + number(15, varint(time_ms))
        + (field(16, struct.pack(f"<{len(bounds)}d", *bounds)) if bounds else b"")
    )


def compressed(body: bytes) -> bytes:
    return bytes(cramjam.snappy.compress_raw(body))
