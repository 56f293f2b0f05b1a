"""What is searched: numbers of the correlation settings, each with a range around its present value.

A place in the range is a number 0..1: the logarithm of the value, or its log-odds where it is a share. So a step is
worth as much for 20 seconds as for 20 minutes, and a share never leaves 0..1.
"""

import math
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from enum import StrEnum
from fnmatch import fnmatchcase
from typing import Any, get_args

from msgspec import Struct
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from correlation.settings import CorrelationSettings
from foreshock.connect.config import did_you_mean
from foreshock.core.errors import Malformed
from foreshock.core.quantities import format_duration

Values = Mapping[str, float]
"""By path; durations in seconds. What is not in it is as it was."""

USUAL: tuple[str, ...] = (
    "group.threshold", "relate.step", "relate.half_gap", "relate.window", "group.join", "group.merge", "relate.costs.*",
    "relate.max_cost", "group.part", "relate.tempo", "relate.explains", "relate.restart", "relate.half_gap_late",
    "relate.fade", "relate.least", "relate.noticeable", "group.wave.*", "group.part_cis", "group.quiet",
    "group.max_away",
)  # fmt: skip
"""What decides on what is grouped, the most promising first; other numbers change no group, or hardly."""

_REACH = 3.0
"""A value, or the odds of a share, is tried up to so many times as large and as small: further away lies another way of
working, not a better setting of this one."""
_COSTS = "relate.costs"
_USUAL_COST = 1.0
_DIGITS = 3


class Kind(StrEnum):
    NUMBER = "number"
    WHOLE = "whole"
    DURATION = "duration"


class Parameter(Struct, frozen=True, kw_only=True):
    """One number.

    Attributes:
        path: as ``--set`` takes it. base: its present value; low <= base <= high; durations in seconds.
        share: it lies between 0 and 1.
    """

    path: str
    kind: Kind
    base: float
    low: float
    high: float
    share: bool = False

    def value(self, place: float) -> float:
        """At this place of the range, rounded so that a person would write it."""
        low, high = self._scaled(self.low), self._scaled(self.high)
        scaled = low + min(max(place, 0.0), 1.0) * (high - low)
        raw = 1 / (1 + math.exp(-scaled)) if self.share else math.exp(scaled)
        if math.isclose(raw, self.base, rel_tol=1e-9):
            return self.base
        rounded = float(round(raw)) if self.kind is Kind.WHOLE else _short(raw, self.kind)
        return min(max(rounded, self.low), self.high)

    def place(self, value: float) -> float:
        low, high = self._scaled(self.low), self._scaled(self.high)
        return (self._scaled(value) - low) / (high - low)

    def text(self, value: float) -> str:
        """As a person writes it."""
        if self.kind is Kind.DURATION:
            return format_duration(timedelta(seconds=value))
        return str(int(value)) if self.kind is Kind.WHOLE else f"{value:g}"

    def _scaled(self, value: float) -> float:
        return math.log(value / (1 - value)) if self.share else math.log(value)


def _short(value: float, kind: Kind) -> float:
    """Three digits; a duration in whole seconds, or thousandths below one second."""
    digits = _DIGITS - 1 - math.floor(math.log10(value))
    if kind is Kind.DURATION:
        digits = min(digits, 0) if value >= 1 else 3
    return round(value, digits)


# ---- which there are ------------------------------------------------------------------------------------------------


def parameters(
    settings: CorrelationSettings, relationships: Collection[str], only: Sequence[str] = ()
) -> tuple[Parameter, ...]:
    """Those whose path one of the patterns ``only`` fits, in the order of the patterns; by default the usual ones.

    Args:
        relationships: types that history's topology has, each with a cost.
    Raises: Malformed for a pattern that fits none.
    """
    found = {one.path: one for one in (*_numbers(settings), *_costs(settings, relationships))}
    chosen: dict[str, Parameter] = {}
    for pattern in only or USUAL:
        fitting = {path: one for path, one in found.items() if fnmatchcase(path, pattern)}
        if not fitting and only:
            hint = did_you_mean(pattern, tuple(found)) or f"for example {', '.join(USUAL[:3])}"
            raise Malformed(f"no number that can be tuned is named {pattern!r}", hint=hint)
        chosen |= {path: one for path, one in fitting.items() if path not in chosen}
    return tuple(chosen.values())


def _numbers(section: BaseModel, way: tuple[str, ...] = ()) -> Iterator[Parameter]:
    for name, field in type(section).model_fields.items():
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            yield from _numbers(value, (*way, name))
        elif (kind := _KINDS.get(field.annotation)) is not None:
            base = value.total_seconds() if isinstance(value, timedelta) else float(value)
            yield from _parameter(".".join((*way, name)), kind, base, field.metadata)


_KINDS: Mapping[Any, Kind] = {float: Kind.NUMBER, int: Kind.WHOLE, timedelta: Kind.DURATION}


def _costs(settings: CorrelationSettings, relationships: Collection[str]) -> Iterator[Parameter]:
    costs = settings.relate.costs
    inner = get_args(type(settings.relate).model_fields["costs"].annotation)[1]
    metadata = next(part for part in get_args(inner) if isinstance(part, FieldInfo)).metadata
    for type_ in sorted({*relationships, *costs}):
        yield from _parameter(f"{_COSTS}.{type_}", Kind.NUMBER, costs.get(type_, _USUAL_COST), metadata)


def _parameter(path: str, kind: Kind, base: float, metadata: Iterable[Any]) -> Iterator[Parameter]:
    """Nothing where the number is 0, which turns something off, or where it has no room."""
    least, most, share = _bounds(metadata)
    if base <= 0 or (share and base >= 1):
        return
    low, high = base / _REACH, base * _REACH
    if share:
        odds = base / (1 - base)
        low, high = odds / _REACH / (1 + odds / _REACH), odds * _REACH / (1 + odds * _REACH)
    low, high = max(_short(low, kind), least), min(_short(high, kind), most)
    if kind is Kind.WHOLE:
        low, high = float(math.ceil(low)), float(math.floor(high))
    if low < high and low <= base <= high:
        yield Parameter(path=path, kind=kind, base=base, low=low, high=high, share=share)


def _bounds(metadata: Iterable[Any]) -> tuple[float, float, bool]:
    """The least and the largest value, and whether it is a share: one that is at most 1."""
    least, most = 0.0, math.inf
    for bound in metadata:
        least = max(least, _seconds(getattr(bound, "ge", None), least), _seconds(getattr(bound, "gt", None), least))
        most = min(most, _seconds(getattr(bound, "le", None), most), _seconds(getattr(bound, "lt", None), most))
    return least, most, most <= 1


def _seconds(bound: Any, otherwise: float) -> float:
    if bound is None:
        return otherwise
    return bound.total_seconds() if isinstance(bound, timedelta) else float(bound)


# ---- settings with other values -------------------------------------------------------------------------------------


def changed(settings: CorrelationSettings, space: Iterable[Parameter], values: Values) -> CorrelationSettings:
    """The settings with these values."""
    data = settings.model_dump(mode="json")
    for parameter in space:
        if parameter.path in values:
            *way, name = parameter.path.split(".")
            section = data
            for step in way:
                section = section[step]
            section[name] = written(parameter, values[parameter.path])
    return CorrelationSettings.model_validate(data)


def written(parameter: Parameter, value: float) -> Any:
    """As a settings file holds it."""
    if parameter.kind is Kind.DURATION:
        return parameter.text(value)
    return int(value) if parameter.kind is Kind.WHOLE else value


def named(space: Sequence[Parameter], places: Sequence[float]) -> dict[str, float]:
    """What is at these places, where it is not as it was."""
    values = {one.path: one.value(place) for one, place in zip(space, places, strict=True)}
    return {one.path: values[one.path] for one in space if values[one.path] != one.base}


def placed(space: Sequence[Parameter], values: Values) -> list[float]:
    """Where these values are."""
    return [one.place(values.get(one.path, one.base)) for one in space]
