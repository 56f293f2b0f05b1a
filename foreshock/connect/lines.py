"""Lines of logs: which of them become events, and how many of the others there were, by what they say.

A log says the same over and over with other numbers in it. So a line is told by its template (``core.templates``): one
that becomes an event is one alert however often it comes, and the others are counted by host, program and template,
which is a metric like any other. Shared by all collectors of lines.
"""

import hashlib
import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Annotated, Any, Literal

import msgspec
import re2
from msgspec import Struct
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from foreshock.core.contracts import decode_items
from foreshock.core.errors import Invalid, Malformed
from foreshock.core.matchers import Matcher, matches_all, parse_matchers
from foreshock.core.model import Event, Moment, Samples, Series, encode_annotations, encode_texts
from foreshock.core.quantities import Duration
from foreshock.core.templates import key, template

SEVERITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
"""The worst first."""
METRIC = "log_lines"
OTHERS = "others"
"""Stands for the templates beyond the bound."""
MAX_NAME_CHARS = 200
MAX_TEXT_CHARS = 8000
MAX_FOLDED = 512
"""Different lines in one record."""
SHOWN = 50

_MAX_KEYS = 65_536  # of lines, remembered with their series: some 20 MB
_QUIET_S = 900.0  # a series without lines is told as 0 for so long, then forgotten

Word = Literal["emerg", "alert", "crit", "err", "warning", "notice", "info", "debug"]


# ---- settings -------------------------------------------------------------------------------------------------------


def _are_matchers(text: str) -> str:
    try:
        found = parse_matchers(text)
    except Malformed as error:
        raise Invalid(str(error)) from None
    if not found:
        raise Invalid("it matches every line", hint='write matchers such as app="sshd", text=~".*refused.*"')
    return text


def _is_expression(text: str) -> str:
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(text, options)
    except re2.error as error:
        raise Invalid(f"{text!r} is no expression ({error})", hint="use RE2 syntax") from None
    return text


Matchers = Annotated[str, AfterValidator(_are_matchers), Field(max_length=4096)]
Expression = Annotated[str, AfterValidator(_is_expression), Field(min_length=1, max_length=4096)]


class Pair(BaseModel):
    """Two lines of which the second says that what the first one told of is over."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=100, description="what the alert is called")
    fails: Expression = Field(
        description="found in a line that opens the alert (RE2); named groups tell one alert from another: "
        r"Interface (?P<interface>\S+), changed state to down"
    )
    recovers: Expression = Field(description="found in a line that resolves it; with the same named groups")
    severity: Word | None = Field(default=None, description="of the alert; absent: as the line says")
    holds: Duration = Field(
        default=timedelta(days=1),
        ge=timedelta(minutes=1),
        le=timedelta(days=31),
        description="the alert is over after so long although no line said so",
    )


class LineRules(BaseModel):
    """What becomes of a line. The first that fits counts: drop, pairs, events, severity; all others are counted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    severity: Word = Field(default="err", description="a line this severe, or worse, becomes an event")
    events: tuple[Matchers, ...] = Field(
        default=(),
        max_length=100,
        description="lines that become events whatever their severity, as matchers on host, app, facility, severity, "
        "process, id, text and structured data; =~ takes RE2 and fits the whole value",
        examples=[['app="sshd", text=~".*Failed password.*"']],
    )
    drop: tuple[Matchers, ...] = Field(
        default=(), max_length=100, description="lines that are neither events nor counted by template, as matchers"
    )
    pairs: tuple[Pair, ...] = Field(
        default=(), max_length=100, description="lines that open an alert, with those that resolve it"
    )
    holds: Duration = Field(
        default=timedelta(minutes=15),
        ge=timedelta(minutes=1),
        le=timedelta(days=31),
        description="a line says nothing of an end: its alert is over when it has not come again for so long",
    )
    count_every: Duration = Field(
        default=timedelta(seconds=30),
        ge=timedelta(seconds=10),
        le=timedelta(minutes=10),
        description="how often the number of lines of each host, program and template goes into the metric history",
    )
    templates: int = Field(
        default=1000, ge=10, le=100_000, description=f"most templates told apart; further ones count as {OTHERS!r}"
    )
    series: int = Field(
        default=5000,
        ge=10,
        le=100_000,
        description="most series, one for each host, program and template that comes; further lines of a host count as "
        f"{OTHERS!r}",
    )


# ---- fates ----------------------------------------------------------------------------------------------------------


class Fate(Struct, frozen=True):
    """What becomes of a line.

    Attributes:
        event: whether it is one; else it is counted, or dropped.
        name: of the alert, with the labels that identify it there; empty: its template.
        ends: it resolves the alert. holds_s: the alert is over after so long. severity: instead of the line's own.
    """

    event: bool = False
    dropped: bool = False
    name: str = ""
    labels: Mapping[str, str] = {}
    ends: bool = False
    holds_s: float = 0.0
    severity: str = ""


COUNTED, DROPPED = Fate(), Fate(dropped=True)


class Sieve:
    """Says what becomes of lines.

    Attributes:
        plain: the severity alone decides, so nothing else of a line need be read for it.
        worst: a severity number up to this makes an event.
    """

    def __init__(self, rules: LineRules) -> None:
        self.worst = SEVERITIES.index(rules.severity)
        self.event = Fate(event=True, holds_s=rules.holds.total_seconds())
        self._drop = [parse_matchers(text) for text in rules.drop]
        self._events = [parse_matchers(text) for text in rules.events]
        self._pairs = [(pair, re2.compile(pair.fails), re2.compile(pair.recovers)) for pair in rules.pairs]
        self.plain = not (self._drop or self._events or self._pairs)

    def by_severity(self, severity: int) -> Fate:
        return self.event if severity <= self.worst else COUNTED

    def fate(self, severity: int, fields: Mapping[str, str]) -> Fate:
        """fields: host, app, facility, severity, process, id, text, and what else the line has; absent is empty."""
        if _any_fits(self._drop, fields):
            return DROPPED
        text = fields.get("text", "")
        for pair, fails, recovers in self._pairs:
            for pattern, ends in ((recovers, True), (fails, False)):
                if (found := pattern.search(text)) is not None:
                    return Fate(
                        event=True,
                        name=pair.name,
                        labels={name: value for name, value in found.groupdict().items() if value},
                        ends=ends,
                        holds_s=0.0 if ends else pair.holds.total_seconds(),
                        severity=pair.severity or "",
                    )
        return self.event if _any_fits(self._events, fields) else self.by_severity(severity)


def _any_fits(conditions: Iterable[Sequence[Matcher]], fields: Mapping[str, str]) -> bool:
    return any(matches_all(matchers, fields) for matchers in conditions)


# ---- lines that are events ------------------------------------------------------------------------------------------


class Line(Struct, kw_only=True, omit_defaults=True):
    """One line that becomes an event, as it stands in a record.

    Attributes:
        severity: syslog's word. at: as it says itself; None where that is no help, ``note`` then says why.
        name, labels, ends, holds_s: as its ``Fate`` has them. more: what else it says, for people.
        lines: that it stands for, all alike but for their values, the newest being this one.
    """

    text: str
    severity: Word
    host: str = ""
    app: str = ""
    at: Moment | None = None
    more: dict[str, str] = {}
    note: str = ""
    name: str = ""
    labels: dict[str, str] = {}
    ends: bool = False
    holds_s: float = 0.0
    lines: int = 1


encode_lines: Callable[[Sequence[Line]], bytes] = msgspec.json.Encoder().encode
decode_lines = partial(
    decode_items, many=msgspec.json.Decoder(list[Line]), one=msgspec.json.Decoder(Line), what="lines of a log"
)


def event_of(line: Line, received_at: datetime) -> Event:
    """The alert is told by host, program, template and severity, or by what the pair says."""
    name = line.name or alert_name(template(line.text.encode()))
    if not name:
        raise Malformed("the line is empty")
    labels = {**line.labels, "alertname": name, "host": line.host[:MAX_NAME_CHARS]}
    if not line.name:
        labels |= {"app": line.app[:MAX_NAME_CHARS], "severity": line.severity}
    at = received_at if line.at is None else min(line.at, received_at)
    ends_at = at if line.ends else None
    if not line.ends and 0 < line.holds_s < timedelta.max.total_seconds() / 1000:
        ends_at = received_at + timedelta(seconds=line.holds_s)
    return Event(
        labels=encode_texts({name: value for name, value in labels.items() if value}),
        annotations=encode_annotations(
            {
                "summary": line.text[:MAX_TEXT_CHARS],
                "app": line.app if line.name else "",
                "lines": str(line.lines) if line.lines > 1 else "",
                "clock": line.note,
                **line.more,
            }
        ),
        severity=line.severity,
        starts_at=line.at,
        ends_at=ends_at,
    )


def alert_name(text: str) -> str:
    """A template that is too long for a name ends in a digest of the whole."""
    if len(text) <= MAX_NAME_CHARS:
        return text
    return f"{text[: MAX_NAME_CHARS - 10]}… {_digest(text)}"


def _digest(text: str) -> str:
    return hashlib.blake2s(text.encode("utf-8", "replace"), digest_size=4).hexdigest()


class Batch:
    """Lines on their way into a record. Of those that come at once and differ in their values only the newest is kept,
    with their number: a storm of one message costs as much as the message."""

    def __init__(self) -> None:
        self._kept: dict[tuple[Any, ...], tuple[Callable[[], Line], int]] = {}
        self.size = self.lines = 0

    def __bool__(self) -> bool:
        return bool(self._kept)

    def __len__(self) -> int:
        return len(self._kept)

    def add(self, alike: tuple[Any, ...], line: Callable[[], Line], size: int) -> None:
        """alike: equal for lines that differ in their values only. line: makes it, once it is known to be the
        newest."""
        known = self._kept.get(alike)
        self._kept[alike] = line, 1 if known is None else known[1] + 1
        self.size += size if known is None else 0
        self.lines += 1

    def take(self) -> list[Line]:
        """All of them; then there are none."""
        made = []
        for line, number in self._kept.values():
            one = line()
            one.lines = number
            made.append(one)
        self._kept, self.size, self.lines = {}, 0, 0
        return made


# ---- lines that are counted -----------------------------------------------------------------------------------------


class _Series(Struct, gc=False):
    """One host, program and template. count: since it was last told. total: ever. heard_s: when the last came."""

    host: str
    app: str
    template: str
    count: int = 0
    total: int = 0
    heard_s: float = -math.inf


class LineCounter:
    """How many lines of each template came, bounded.

    Attributes:
        beyond: lines that counted as others, because there were too many templates or series.
    """

    def __init__(self, rules: LineRules) -> None:
        self._most_templates, self._most_series = rules.templates, rules.series
        self._by_key: dict[tuple[bytes, bytes, bytes], _Series] = {}
        self._series: dict[tuple[str, str, str], _Series] = {}
        self._templates: set[str] = set()
        self.beyond = 0

    def add(self, host: bytes, app: bytes, text: bytes) -> None:
        alike = (host, app, key(text))
        series = self._by_key.get(alike)
        if series is None:
            series = self._find(alike)
        series.count += 1

    def _find(self, alike: tuple[bytes, bytes, bytes]) -> _Series:
        host, app = (part[:MAX_NAME_CHARS].decode(errors="replace") for part in alike[:2])
        said = template(alike[2])
        if said not in self._templates:
            if len(self._templates) < self._most_templates:
                self._templates.add(said)
            else:
                said = OTHERS
        place = (host, app, said)
        series = self._series.get(place)
        if series is None:
            if len(self._series) >= self._most_series:
                place = (host, "", OTHERS)
                series = self._series.get(place) or self._series.get(("", "", OTHERS))
                if series is None and len(self._series) >= 2 * self._most_series:
                    place = ("", "", OTHERS)
            if series is None:
                series = self._series[place] = _Series(*place)
        if series.template == OTHERS:
            self.beyond += 1
        if len(self._by_key) >= _MAX_KEYS:
            self._by_key.clear()
        self._by_key[alike] = series
        return series

    def samples(self, now_s: float) -> list[Samples]:
        """Lines of each series since the last time, 0 for those that came lately; then they are counted anew."""
        found = []
        silent = set()
        for place, series in self._series.items():
            if series.count:
                series.total += series.count
                series.heard_s = now_s
            elif now_s - series.heard_s > _QUIET_S:
                silent.add(place)
                continue
            if series.host:
                found.append(
                    Samples(
                        series=Series(ci=series.host, metric=METRIC, dimension=_dimension(series), unit="lines"),
                        times=[now_s],
                        values=[float(series.count)],
                    )
                )
            series.count = 0
        if silent:
            self._forget(silent)
        return found

    def _forget(self, silent: set[tuple[str, str, str]]) -> None:
        for place in silent:
            del self._series[place]
        self._templates = {series.template for series in self._series.values()}
        self._by_key = {
            alike: series
            for alike, series in self._by_key.items()
            if (series.host, series.app, series.template) in self._series
        }

    def tops(self) -> list[tuple[str, str, int]]:
        """The templates that came most, as (program, template, lines)."""
        totals: Counter[tuple[str, str]] = Counter()
        for series in self._series.values():
            totals[series.app, series.template] += series.total + series.count
        return [(app, text, count) for (app, text), count in totals.most_common(SHOWN)]


def _dimension(series: _Series) -> str:
    """Program and template, as a short digest: texts are shown beside the source."""
    what = OTHERS if series.template == OTHERS else _digest(series.template)
    return f"{series.app[:100]}/{what}" if series.app else what
