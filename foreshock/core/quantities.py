"""Durations, sizes and time zones as people write them: ``30s``, ``1h30m``, ``7d``; ``512KiB``; ``Europe/Berlin``.

Pure. The annotated types read that text in any pydantic model; ``Duration`` and ``Size`` write it back into JSON.
A bare number is refused: ``delay: 30`` means seconds to one reader and minutes to the next.
"""

import re
from datetime import timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from pydantic import AfterValidator, BeforeValidator, PlainSerializer, WithJsonSchema

from foreshock.core.errors import Invalid

MAX_DURATION = timedelta(days=36_500)
"""A hundred years: longer is a typing mistake, and far below where adding it to a date overflows."""
MAX_SIZE = 2**60
"""One exbibyte, well inside a 64-bit integer of any database."""

_MILLISECOND = timedelta(milliseconds=1)
_UNITS_MS = {"w": 604_800_000, "d": 86_400_000, "h": 3_600_000, "m": 60_000, "s": 1000, "ms": 1}
# Largest unit first and each at most once, as Prometheus has it, so that 1m30s has one reading only.
_DURATION = re.compile("".join(f"(?:([0-9]{{1,15}}){unit})?" for unit in _UNITS_MS))
_DURATION_HINT = "write a number with its unit: 30s, 5m, 2h, 7d or 1h30m"

_UNITS_BYTES = {
    "B": 1, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30, "TiB": 2**40, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12,
}  # fmt: skip
_SIZE = re.compile("([0-9]{1,19}) ?(" + "|".join(_UNITS_BYTES) + ")")
_SIZE_HINT = "write a whole number with its unit: 512KiB, 5MiB or 10GiB (MiB is 1048576 bytes, MB is 1000000)"


def parse_duration(text: str) -> timedelta:
    """Read ``30s``, ``5m``, ``2h``, ``7d``, ``2w``, ``500ms`` or a row of them, largest first. Raises Invalid."""
    found = _DURATION.fullmatch(text)
    if found is None or not text:
        raise Invalid(f"{_shown(text)} is not a duration", hint=_DURATION_HINT)
    counts = zip(found.groups(), _UNITS_MS.values(), strict=True)
    total_ms = sum(int(count) * unit_ms for count, unit_ms in counts if count)
    if total_ms > MAX_DURATION // _MILLISECOND:
        raise Invalid(f"{_shown(text)} is longer than 100 years", hint=_DURATION_HINT)
    return timedelta(milliseconds=total_ms)


def format_duration(duration: timedelta) -> str:
    """The text that ``parse_duration`` reads back as the same whole number of milliseconds; weeks are not used."""
    rest, parts = duration // _MILLISECOND, []
    for unit, unit_ms in _UNITS_MS.items():
        count, rest = divmod(rest, unit_ms) if unit != "w" else (0, rest)
        if count:
            parts.append(f"{count}{unit}")
    return "".join(parts) or "0s"


def parse_size(text: str) -> int:
    """Read ``5MiB`` (binary) or ``5MB`` (decimal) as bytes. Raises Invalid."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise Invalid(f"{_shown(text)} is not a size", hint=_SIZE_HINT)
    size = int(found[1]) * _UNITS_BYTES[found[2]]
    if size > MAX_SIZE:
        raise Invalid(f"{_shown(text)} is more than 1048576TiB", hint=_SIZE_HINT)
    return size


def format_size(size: int) -> str:
    """The text with the largest binary unit that divides ``size``; ``parse_size`` reads it back as the same number."""
    units = [(unit, factor) for unit, factor in _UNITS_BYTES.items() if unit == "B" or unit.endswith("iB")]
    for unit, factor in reversed(units):
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return "0B"


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")


def _read_duration(value: Any) -> timedelta:
    if isinstance(value, str):
        return parse_duration(value)
    if not isinstance(value, timedelta):  # a default, or a value made by code, is a timedelta already
        raise Invalid(f"{_shown(str(value))} has no unit", hint=_DURATION_HINT)
    if value < timedelta(0) or value > MAX_DURATION or value % _MILLISECOND:
        raise Invalid(f"{value} is not a whole number of milliseconds between 0 and 100 years")
    return value


def _read_size(value: Any) -> int:
    if isinstance(value, str):
        return parse_size(value)
    raise Invalid(f"{_shown(str(value))} has no unit", hint=_SIZE_HINT)


def read_zone(name: str) -> ZoneInfo:
    """Raises Invalid for a name that the IANA database does not have."""
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise Invalid(f"{name[:80]!r} is no time zone", hint="use a name like Europe/Berlin, or UTC") from None


def _zone_name(name: str) -> str:
    return read_zone(name).key


Duration = Annotated[
    timedelta,
    BeforeValidator(_read_duration),
    PlainSerializer(format_duration, return_type=str, when_used="json"),
    WithJsonSchema({"type": "string", "pattern": "^([0-9]+(w|d|h|m|s|ms))+$", "examples": ["30s", "5m", "2h", "7d"]}),
]
"""A pydantic field of a ``timedelta`` that a person writes as ``30s`` or ``1h30m``."""

Size = Annotated[
    int,
    BeforeValidator(_read_size),
    PlainSerializer(format_size, return_type=str, when_used="json"),
    WithJsonSchema({
        "type": "string", "pattern": f"^[0-9]+ ?({'|'.join(_UNITS_BYTES)})$", "examples": ["512KiB", "5MiB", "10GiB"],
    }),
]  # fmt: skip
"""A pydantic field of a number of bytes that a person writes as ``5MiB``."""

ZoneName = Annotated[str, AfterValidator(_zone_name)]
"""A pydantic field of a time zone by its name."""
