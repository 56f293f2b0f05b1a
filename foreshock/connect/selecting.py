"""Which series that come in are kept, and as what: by matchers, the first that fits counts.

Series of a counter are kept as what they grow by a second, so that what is usual for them can be learned.
"""

import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

import msgspec
from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field, field_validator

from foreshock.core.contracts import Measured
from foreshock.core.errors import Invalid, Malformed
from foreshock.core.matchers import Matcher, matches_all, parse_matchers
from foreshock.core.model import Direction, Samples, Series

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

MAX_NAME_CHARS = 300
MAX_KNOWN = 200_000
"""Series whose fate is remembered."""
_METER_KNOWN = 50_000
_NAME = "__name__"
_SELECTOR = re.compile(r"\s*(?P<name>[a-zA-Z_:][a-zA-Z0-9_:.]*)?\s*(?P<matchers>\{.*\})?\s*", re.DOTALL)
_COUNTERS = ("_total", "_sum", "_count", "_bucket")
_GAP_S = 600.0
"""A counter that was silent for longer begins anew."""
_OLDEST_S, _AHEAD_S = 86_400.0, 600.0


class Selected(BaseModel):
    """Series of one kind, and as what they are kept."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    match: str = Field(
        min_length=1,
        max_length=4096,
        description='which series, as in PromQL: `node_load1`, `{__name__=~"node_disk_.*", device!~"loop.*"}`',
    )
    metric: str = Field(default="", max_length=100, description="what they are called here; empty: as they are called")
    ci: tuple[str, ...] = Field(
        default=("instance",), min_length=1, description="labels whose value names the CI; the first that is there"
    )
    dimension: tuple[str, ...] | None = Field(
        default=None,
        description="labels that tell several series of one CI apart; left out: all others. Of series that are then "
        "the same, the last point holds",
    )
    rate: bool | None = Field(
        default=None,
        description="whether they only ever grow, and are kept as growth a second; left out: as the source says, or "
        "where the name ends with _total, _sum, _count or _bucket",
    )
    unit: str = Field(default="", max_length=20, description="unit of what is kept, for people")
    worse: Literal["up", "down", "either"] = Field(
        default="either", description="which way is worse; the other way is then no anomaly"
    )

    @field_validator("match")
    @classmethod
    def _can_be_read(cls, match: str) -> str:
        try:
            parse_selector(match)
        except Malformed as error:
            raise Invalid(str(error), hint=error.hint) from None
        return match


def parse_selector(text: str) -> tuple[Matcher, ...]:
    """Matchers of ``name{label="value"}``, as PromQL has it. Raises Malformed."""
    found = _SELECTOR.fullmatch(text)
    if found is None or not (found["name"] or found["matchers"]):
        raise Malformed(f"{text!r} selects no series", hint='write it like node_load1{job="node"}')
    named = (Matcher(name=_NAME, value=found["name"]),) if found["name"] else ()
    return (*named, *parse_matchers(found["matchers"] or ""))


class Kept(Struct, frozen=True):
    """What becomes of a series. rate: its points are growth a second."""

    series: Series
    rate: bool

    def part(self, suffix: str, unit: str) -> "Kept":
        """A series that was made of this one, which is no counter."""
        return Kept(msgspec.structs.replace(self.series, metric=self.series.metric + suffix, unit=unit), False)


class Selector:
    """Selects by the settings; asked once for each series."""

    def __init__(self, selected: Sequence[Selected]) -> None:
        self._rules = [(parse_selector(each.match), each) for each in selected]

    def kept(
        self,
        labels: Mapping[str, str],
        *,
        unit: str = "",
        counts: bool | None = None,
        own: Iterable[str] | None = None,
    ) -> Kept | None:
        """None where no rule fits, or no label names a CI.

        Args:
            labels: of the series, with its name as ``__name__``. unit, counts: what the source says of it: the unit,
                and whether it only grows; None: it does not say. own: labels that make the dimension where the rule
                names none; all where it is None.
        """
        for matchers, rule in self._rules:
            if matches_all(matchers, labels):
                return _kept(rule, labels, unit, counts, sorted(labels if own is None else own))
        return None


def _kept(rule: Selected, labels: Mapping[str, str], unit: str, counts: bool | None, own: Sequence[str]) -> Kept | None:
    name = labels.get(_NAME, "")
    label = next((label for label in rule.ci if labels.get(label)), None)
    if label is None or not name:
        return None
    told = own if rule.dimension is None else rule.dimension
    dimension = ",".join(f"{each}={labels[each]}" for each in told if each not in (label, _NAME) and labels.get(each))
    rate = rule.rate if rule.rate is not None else name.endswith(_COUNTERS) if counts is None else counts
    if not rule.unit and unit and rate:
        unit = f"{unit}/s"
    series = Series(
        ci=labels[label][:MAX_NAME_CHARS],
        metric=(rule.metric or name)[:MAX_NAME_CHARS],
        dimension=dimension[:MAX_NAME_CHARS],
        unit=(rule.unit or unit)[:20],
        worse=None if rule.worse == "either" else Direction(rule.worse),
    )
    return Kept(series, rate)


class Keeper:
    """Turns points of series that are kept into samples. Series have places, so that NumPy can work on many."""

    def __init__(self) -> None:
        self._kept: list[Kept] = []
        self._places: dict[Kept, int] = {}
        self._known: Rates | None = None

    @property
    def _rates(self) -> "Rates":
        if self._known is None:  # NumPy is loaded by who needs it
            self._known = Rates()
        return self._known

    def place(self, kept: Kept) -> int:
        place = self._places.setdefault(kept, len(self._kept))
        if place == len(self._kept):
            self._kept.append(kept)
        return place

    def kept(self, place: int) -> Kept:
        return self._kept[place]

    def samples(self, places: "NDArray[np.int64]", times: "Floats", values: "Floats") -> list[Samples]:
        """Of points in any order; times in seconds, values finite."""
        import numpy as np

        grows = np.fromiter((kept.rate for kept in self._kept), dtype=bool, count=len(self._kept))[places]
        found = self._by_series(places[~grows], times[~grows], values[~grows])
        return found + self._by_series(*self._rates.of(places[grows], times[grows], values[grows]))

    def _by_series(self, places: "NDArray[np.int64]", times: "Floats", values: "Floats") -> list[Samples]:
        import numpy as np

        if not len(places):
            return []
        order = np.lexsort((times, places))
        places, times, values = places[order], times[order], values[order]
        edges = [0, *(np.flatnonzero(np.diff(places)) + 1).tolist(), len(places)]
        moments, numbers = times.tolist(), values.tolist()
        return [
            Samples(series=self._kept[place].series, times=moments[first:last], values=numbers[first:last])
            for place, first, last in zip(places[edges[:-1]].tolist(), edges[:-1], edges[1:], strict=True)
        ]

    def state(self, places: "NDArray[np.int64]") -> Any:
        """What is known of these places, for ``restore`` where their points could not be kept and come again."""
        return self._rates.known(places)

    def restore(self, state: Any) -> None:
        self._rates.restore(state)


class Rates:
    """Growth a second of counters, by place. A counter that is smaller than before began again at zero; what comes out
    of order, or again, is left out."""

    def __init__(self) -> None:
        import numpy as np

        self._np = np
        self._times, self._values = np.empty(0), np.empty(0)

    def known(self, places: "NDArray[np.int64]") -> "tuple[NDArray[np.int64], Floats, Floats]":
        """The newest points of these places, for ``restore``."""
        touched = self._np.unique(places)
        if len(touched):
            self._grow(int(touched[-1]) + 1)
        return touched, self._times[touched], self._values[touched]

    def restore(self, known: "tuple[NDArray[np.int64], Floats, Floats]") -> None:
        """As if nothing had come since: what came was not kept, and comes again."""
        places, times, values = known
        self._times[places], self._values[places] = times, values

    def of(
        self, places: "NDArray[np.int64]", times: "Floats", values: "Floats"
    ) -> "tuple[NDArray[np.int64], Floats, Floats]":
        """Places, times in seconds and rates, in order of place and time; the first point of a counter has none."""
        np = self._np
        if not len(places):
            return places, times, values
        self._grow(int(places.max()) + 1)
        order = np.lexsort((times, places))
        places, times, values = places[order], times[order], values[order]
        first = np.ones(len(places), dtype=bool)
        first[1:] = places[1:] != places[:-1]
        before, was = np.roll(times, 1), np.roll(values, 1)
        before[first], was[first] = self._times[places[first]], self._values[places[first]]
        # Of a place the newest is remembered, also where this batch is older than the last one.
        last = np.append(first[1:], True)
        newer = last & ~(times <= self._times[places])
        self._times[places[newer]], self._values[places[newer]] = times[newer], values[newer]
        passed = times - before
        rates = np.where(values >= was, values - was, values) / np.where(passed > 0, passed, 1.0)
        known = (passed > 0) & (passed <= _GAP_S)
        return places[known], times[known], rates[known]

    def _grow(self, size: int) -> None:
        np = self._np
        if size > len(self._times):
            more = max(size, 2 * len(self._times)) - len(self._times)
            self._times = np.append(self._times, np.full(more, np.nan))
            self._values = np.append(self._values, np.zeros(more))


# ---- a few points at a time -----------------------------------------------------------------------------------------


class Metered(Struct, frozen=True):
    """What became of points: ``samples`` are to be kept, so many others were not selected or were ``late``. newest: of
    counters, for ``Meter.keep``."""

    samples: Sequence[Samples]
    ignored: int
    late: int
    newest: "Mapping[Series, tuple[float, float]]"

    @property
    def points(self) -> int:
        return sum(len(each.times) for each in self.samples)


class Meter:
    """What ``Selector`` and ``Keeper`` do, for points that come a few hundred at a time: without NumPy, which the
    process that is posted to does not load."""

    def __init__(self, selected: Sequence[Selected]) -> None:
        self.selected = tuple(selected)
        self._selector = Selector(selected)
        self._known: dict[Any, Kept | None] = {}
        self._newest: dict[Series, tuple[float, float]] = {}

    def read(self, points: Iterable[Measured], now_s: float) -> Metered:
        """Points older than a day, or more than ten minutes ahead, are late. ``keep`` it once it is on disk."""
        courses: dict[Kept, list[tuple[float, float]]] = {}
        ignored = late = 0
        for point in points:
            kept = self._kept(point)
            if kept is None or not math.isfinite(point.value):
                ignored += 1
            elif not now_s - _OLDEST_S <= point.at_s <= now_s + _AHEAD_S:
                late += 1
            else:
                courses.setdefault(kept, []).append((point.at_s, point.value))
        samples, newest = [], {}
        for kept, course in courses.items():
            course.sort(key=lambda each: each[0])
            if kept.rate:
                newest[kept.series] = course[-1]
                course = _growth(self._newest.get(kept.series), course)
            if course:
                times, values = zip(*course, strict=True)
                samples.append(Samples(series=kept.series, times=times, values=values))
        return Metered(samples, ignored, late, newest)

    def keep(self, metered: Metered) -> None:
        """Counters go on from there. Not called, all is as if the points had not come: they come again."""
        if len(self._newest) > _METER_KNOWN:
            self._newest.clear()
        for series, newest in metered.newest.items():
            self._newest[series] = max(newest, self._newest.get(series, newest), key=lambda point: point[0])

    def _kept(self, point: Measured) -> Kept | None:
        if not self.selected:
            return None
        series = (point.counts, point.unit, *point.labels.items())
        try:
            return self._known[series]
        except KeyError:
            if len(self._known) >= _METER_KNOWN:
                self._known.clear()
            found = self._known[series] = self._selector.kept(point.labels, unit=point.unit, counts=point.counts)
            return found


def _growth(before: tuple[float, float] | None, course: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """Growth a second of a counter, as in ``Rates``. before: its newest point."""
    found = []
    for at, value in course:
        if before is not None and at <= before[0]:
            continue
        if before is not None and at - before[0] <= _GAP_S:
            grown = value - before[1] if value >= before[1] else value
            found.append((at, grown / (at - before[0])))
        before = (at, value)
    return found
