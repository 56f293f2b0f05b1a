"""The values that move through the pipeline, in the field's words (see docs/concepts.md).

They are msgspec structs rather than dataclasses: one definition serves the hot path, the checkpoint, the capture file
and the API, and a struct costs a third of the memory. All are frozen but two: ``Alert`` and ``Situation`` are the
engine's running state, changed only by ``correlation`` while the engine holds them; copying them for each repeat would
cost more than everything else together. What there are very many of is kept out of the garbage collector's sight
(``gc=False``): none of them leads back to itself. Times are aware UTC.
"""

from collections.abc import Callable, Mapping, Sequence
from copy import copy
from datetime import datetime, timedelta
from enum import StrEnum
from functools import lru_cache
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Raw, Struct

from foreshock.core.errors import Malformed, TooLarge
from foreshock.core.packing import pack, unpack
from foreshock.core.severity import Severity

Moment = Annotated[datetime, Meta(tz=True)]
"""An aware time; a naive one is refused while decoding."""

MAX_LABELS = 64
MAX_LABEL_NAME_BYTES = 1024
MAX_LABEL_VALUE_BYTES = 2048
MAX_ANNOTATIONS = 64
MAX_ANNOTATION_VALUE_BYTES = 8192

_TEXTS = msgspec.json.Decoder(dict[str, str])


@lru_cache(maxsize=256)
def _reader_of(label: str) -> Callable[[bytes], Any]:
    """Reads the one label, as ``value``, from labels that were found sound; the others are passed over."""
    wanted = msgspec.defstruct("Wanted", [("value", str, msgspec.field(default="", name=label))])
    return msgspec.json.Decoder(wanted).decode


_SMALL = 1024
"""Bytes of JSON in which no text can be longer than any of the limits."""
_EMPTY = Raw(b"{}")


class Event(Struct, gc=False, kw_only=True):
    """One occurrence reported by one source, in our words.

    Labels and annotations stay the JSON they came as until someone reads them: seven events in ten are re-sends, and
    equal bytes already tell that.

    Attributes:
        labels: JSON object of strings; identity, events with equal labels belong to one alert.
        annotations: JSON object of strings; explains, never identifies.
        severity: the source's word; empty means "see the label named severity".
        starts_at: as the source dates it; None where it does not.
        ends_at: at or before the time of receipt means resolved; later means "holds until then unless sent again".
        url: where the source shows it; empty if nowhere.
    """

    labels: Raw
    annotations: Raw = _EMPTY
    severity: str = ""
    starts_at: Moment | None = None
    ends_at: Moment | None = None
    url: str = ""


def read_labels(raw: Raw | bytes) -> dict[str, str]:
    """Decode and check an event's labels. Raises Malformed or TooLarge naming the label, the bound and the value seen.

    A label with an empty value is the same as no label (the Prometheus data model), so it is dropped.
    """
    labels = {name: value for name, value in _read_texts(raw, "labels").items() if value}
    if not labels:
        raise Malformed("the alert has no labels", hint="send at least one label with a value; labels are its identity")
    if len(labels) > MAX_LABELS:
        raise TooLarge(f"the alert has {len(labels)} labels, {MAX_LABELS} are allowed")
    if "" in labels:
        raise Malformed("a label has an empty name")
    if len(bytes(raw)) <= _SMALL:
        return labels
    for name, value in labels.items():
        if len(name) * 4 > MAX_LABEL_NAME_BYTES and (size := len(name.encode())) > MAX_LABEL_NAME_BYTES:
            raise TooLarge(f"a label name has {size} bytes, {MAX_LABEL_NAME_BYTES} are allowed")
        if len(value) * 4 > MAX_LABEL_VALUE_BYTES and (size := len(value.encode())) > MAX_LABEL_VALUE_BYTES:
            raise TooLarge(f"label {name!r} has {size} bytes, {MAX_LABEL_VALUE_BYTES} are allowed")
    return labels


def read_annotations(raw: Raw | bytes) -> dict[str, str]:
    """Decode and check an event's annotations. Raises Malformed or TooLarge as ``read_labels`` does."""
    annotations = _read_texts(raw, "annotations")
    if len(annotations) > MAX_ANNOTATIONS:
        raise TooLarge(f"the alert has {len(annotations)} annotations, {MAX_ANNOTATIONS} are allowed")
    if len(bytes(raw)) <= _SMALL:
        return annotations
    for name, value in annotations.items():
        if len(value) * 4 > MAX_ANNOTATION_VALUE_BYTES and (size := len(value.encode())) > MAX_ANNOTATION_VALUE_BYTES:
            raise TooLarge(f"annotation {name!r} has {size} bytes, {MAX_ANNOTATION_VALUE_BYTES} are allowed")
    return annotations


def _read_texts(raw: Raw | bytes, what: str) -> dict[str, str]:
    try:
        return _TEXTS.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"{what} are not an object of strings: {error}") from None


def encode_texts(texts: Mapping[str, str]) -> Raw:
    """JSON of a text mapping in sorted order: equal mappings give equal bytes."""
    return Raw(msgspec.json.encode(dict(texts), order="sorted"))


def encode_annotations(annotations: Mapping[str, str]) -> Raw:
    """JSON of annotations that a collector puts together: empty ones are left out, long ones end in ``…``, and there
    are no more than may be. What explains an alert must never cost us the alert."""
    kept = {name: _fitting(text) for name, text in annotations.items() if text}
    return encode_texts({name: kept[name] for name in list(kept)[:MAX_ANNOTATIONS]})


def _fitting(text: str) -> str:
    if len(text) * 4 <= MAX_ANNOTATION_VALUE_BYTES or len(text.encode()) <= MAX_ANNOTATION_VALUE_BYTES:
        return text
    return text.encode()[: MAX_ANNOTATION_VALUE_BYTES - 3].decode(errors="ignore") + "…"


class Alert(Struct, gc=False, kw_only=True):
    """The state of one condition over time: every event with the same fingerprint. Running state, changed only by fold.

    Attributes:
        source: kind of the collector; origin: name of the source that sent it first, or that of several which alone
            can end it.
        labels: JSON bytes as first received; annotations: as last received, packed. ``read_labels`` and
            ``read_annotations`` open them.
        said: hash of the annotations as they came, in this process: whether a re-send says the same is asked often.
        starts_at: onset of the present (or last) occurrence, as the source dates it.
        dated: the newest start its source gave for that occurrence, as it was sent; None where it gave none.
        ends_at: when the last occurrence ended; None while it holds.
        last_end: when the one before it ended, as far as a source said so: what is dated before that is late.
        expires_at: the condition is over at this time unless it is sent again; None: only a resolve ends it.
        first_seen, last_seen: by the clock of the records.
        expired: it is over only because it was not sent again in time; nobody said so.
        firing: what the source says. Whether it may disturb anyone is decided elsewhere.
        held_until: it flaps, and counts as active until this time whatever it is; each change puts that off.
        flips: times of the latest changes between firing and resolved, newest last, bounded.
        flaps: changes since it began to flap; 0 while it does not.
        count: events folded into it; occurrences: how often it started to fire.
        ci: id of the CI it is bound to; empty if none. bound_by: the label and the way that bound it.
        peers: ids of other CIs it names, for example the other end of a slow call.
        situation: id of the situation it belongs to; empty if none.
        variants: its label sets, where not all labels identify and it has several: see ``correlation.variants``.
        clashes: its label sets are about different CIs, and that was told.
    """

    fingerprint: str
    source: str
    labels: bytes
    annotations: bytes
    severity: Severity
    starts_at: Moment
    first_seen: Moment
    last_seen: Moment
    dated: Moment | None = None
    ends_at: Moment | None = None
    last_end: Moment | None = None
    expires_at: Moment | None = None
    firing: bool = True
    expired: bool = False
    held_until: Moment | None = None
    flips: tuple[Moment, ...] = ()
    flaps: int = 0
    count: int = 1
    occurrences: int = 1
    ci: str = ""
    bound_by: str = ""
    peers: tuple[str, ...] = ()
    situation: str = ""
    url: str = ""
    origin: str = ""
    variants: "dict[str, Alert] | None" = None
    clashes: bool = False
    said: int = 0

    def __post_init__(self) -> None:
        if self.annotations[:1] == b"{":  # not a copy of one that has packed them
            self.annotate(self.annotations)

    @property
    def active(self) -> bool:
        """Firing, or held open because it flaps."""
        return self.firing or self.held_until is not None

    def read_labels(self) -> dict[str, str]:
        """The labels that have a value, as ``core.model.read_labels`` gives them."""
        return {name: value for name, value in _TEXTS.decode(self.labels).items() if value}

    def label(self, name: str) -> str:
        """One of them, where the others do not matter; empty if there is none."""
        value: str = _reader_of(name)(self.labels).value
        return value

    def annotate(self, annotations: bytes) -> None:
        """They came as these bytes."""
        self.annotations, self.said = pack(annotations), hash(annotations)

    def raw_annotations(self) -> bytes:
        """As they came."""
        return unpack(self.annotations)

    def read_annotations(self) -> dict[str, str]:
        return _TEXTS.decode(unpack(self.annotations))

    def plain(self) -> "Alert":
        """As it is told and saved: nothing in it is of this process only."""
        plain = copy(self)
        plain.annotations, plain.said = unpack(self.annotations), 0
        if self.variants is not None:
            plain.variants = {key: one.plain() for key, one in self.variants.items()}
        return plain


class Link(Struct, frozen=True, gc=False, kw_only=True):
    """Why two alerts are held to be one problem.

    Attributes:
        alert, other: fingerprints; ``alert`` is the one that joined.
        strength: 0..1, compared with the threshold of the settings.
        rule: name@version of the rule that said so.
        path: CI ids from the CI of ``alert`` to the CI of ``other``; one id when both are on the same CI; none where
            the evidence is no path.
        via: the CI at which both walks meet; failures spread from it.
        gap_s: seconds between the two onsets, never negative.
        evidence: what the rule saw, in words, where the path does not say it.
    """

    alert: str
    other: str
    strength: float
    rule: str
    path: tuple[str, ...]
    via: str
    gap_s: float
    evidence: str = ""


class Moved(Struct, frozen=True, gc=False, kw_only=True):
    """How an alert came over from another situation: by a merge, a split or a move.

    Attributes:
        source: id of the situation it came from.
        by: the person who said so; empty if correlation did.
        reason: in words.
    """

    at: Moment
    source: str
    by: str = ""
    reason: str = ""


class Considered(Struct, frozen=True, gc=False, kw_only=True):
    """A situation that an alert was related to and did not join, as it was decided then.

    Attributes:
        other: the alert there that was related, how strongly, and the rule that said so.
        why: what kept it out, in words.
    """

    situation: str
    other: str
    strength: float
    rule: str
    why: str


class Member(Struct, frozen=True, gc=False, kw_only=True):
    """One alert's place in a situation: when it joined, or last fired again in it (records' clock), and why; no link
    for one that opened its own.

    Attributes:
        moved: how it came to this situation if that was not by joining it; joined_at and link tell of the first then.
        considered: the situations it might have joined instead, the strongest first, bounded.
    """

    joined_at: Moment
    link: Link | None = None
    moved: Moved | None = None
    considered: tuple[Considered, ...] = ()


class Contribution(Struct, frozen=True, gc=False, kw_only=True):
    """One visible part of a score: points add up to the score."""

    name: str
    points: float
    evidence: str


class Cause(Struct, frozen=True, gc=False, kw_only=True):
    """A CI that may be where the problem started.

    Attributes:
        score: 0..1, its share of all evidence and the sum of its contributions.
        said_by: the person who said that it was the cause; it stands first then, whatever its score.
    """

    ci: str
    score: float
    contributions: tuple[Contribution, ...]
    said_by: str = ""

    @property
    def reason(self) -> str:
        return "; ".join(part.evidence for part in self.contributions)


class Direction(StrEnum):
    """Which way a metric left what is normal for it."""

    UP = "up"
    DOWN = "down"


class Series(Struct, frozen=True, gc=False, kw_only=True):
    """One metric of one CI.

    Attributes:
        metric: what is measured, as the settings name it. unit: of the values; empty for a plain number.
        dimension: which of several series of the metric on the CI, for example ``p99`` or ``mountpoint=/var``; empty
            where there is one.
        worse: the one direction that matters; None: both.
    """

    ci: str
    metric: str
    dimension: str = ""
    unit: str = ""
    worse: Direction | None = None


class Samples(Struct, frozen=True, kw_only=True):
    """Points of one series, oldest first.

    Attributes:
        times: seconds since 1970, rising. values: as many, in the unit of the series; a missing point is left out.
            Both are anything NumPy reads without a copy, for example ``array("d")``.
    """

    series: Series
    times: Sequence[float]
    values: Sequence[float]


POINTS = "points"
"""The metric of an anomaly that is about series which stopped coming, not about what they say."""


class Anomaly(Struct, frozen=True, gc=False, kw_only=True):
    """A metric of a CI that is not as it was: evidence for a situation, never one by itself.

    Attributes:
        onset: first point of the deviation. at: the point that made it certain. until: last point of it, None while it
            lasts.
        score: how far it deviates, in robust standard deviations, never negative: the median over its points, so
            that one wild point does not make it. What is not measured in those is set beside them by its detector.
        observed, expected: medians over its points, in the unit of the series.
        detector: kind@version.
        course: values of the window it was found in, oldest first, thinned out, for a small picture; ``course_onset``
            is the place of the onset among them.
        said: what is odd, in an operator's words and without its times, where ``observed`` for ``expected`` does not
            say it.
    """

    ci: str
    metric: str
    dimension: str = ""
    unit: str = ""
    onset: Moment
    at: Moment
    until: Moment | None = None
    score: float
    direction: Direction
    observed: float
    expected: float
    detector: str
    course: tuple[float, ...] = ()
    course_onset: int = 0
    said: str = ""


class Evidence(Struct, frozen=True, gc=False, kw_only=True):
    """An anomaly that says something about a situation.

    Attributes:
        path: CI ids from one with an alert in the situation to that of the anomaly, on which it depends; one id where
            they are the same.
    """

    anomaly: Anomaly
    path: tuple[str, ...]


class TicketState(StrEnum):
    """How far one ticket write has got; UNKNOWN means the answer was lost, so a search comes before another create."""

    PLANNED = "planned"
    SENDING = "sending"
    CONFIRMED = "confirmed"
    UNKNOWN = "unknown"
    REJECTED = "rejected"


class Told(Struct, frozen=True, gc=False):
    """What a ticket said of the size of its situation, so that the next note can say what is new.

    Attributes:
        cause: the CI that was named; empty if none was. services: how many business services.
    """

    alerts: int
    cis: int
    services: int
    cause: str


class Ticket(Struct, frozen=True, gc=False, kw_only=True):
    """Our side of the record a sink keeps for a situation.

    Attributes:
        open: what we last asked for, or what a person did there.
        closed_by: the person who resolved it in the sink; empty if we did. Such a ticket is not touched again.
        closed_at: when we heard of that.
        kept_open_by: the person who reopened it after the situation was over. It is theirs until the situation reopens.
        number, url: as the sink named it; empty until it answered.
        pending: for whom or what it waits there, in words; empty while somebody works on it.
        priority, version: of the situation when the last write was ordered.
        written_at: when the last write was ordered, on the records' clock. told: what it told; None before the first.
        heard: outbox sequence of the newest write that was answered.
        label: as what people closed it (``correlation.closing.Label``); empty if they did not, or in no known word.
    """

    sink: str
    state: TicketState = TicketState.PLANNED
    open: bool = True
    number: str = ""
    url: str = ""
    closed_by: str = ""
    closed_at: Moment | None = None
    kept_open_by: str = ""
    assignee: str = ""
    pending: str = ""
    priority: int = 5
    version: int = 0
    written_at: Moment | None = None
    told: Told | None = None
    heard: int = 0
    label: str = ""


class Versions(Struct, frozen=True, kw_only=True):
    """What decisions were made by, from one moment on.

    Attributes:
        rules: name@version of each rule in force. topology: of the CMDB sources. learned: of what history has taught.
        settings: digest of the `correlation` settings.
    """

    since: Moment
    rules: tuple[str, ...] = ()
    topology: str = ""
    learned: str = ""
    settings: str = ""


class Decided(Struct, frozen=True, gc=False, kw_only=True):
    """What was decided for one sink, the negative too, as it was decided.

    Attributes:
        step: open, update, resolve, reopen; wait, hold or nothing; "quiet", of no sink: the time before the end began.
        reason: in words. until: when it is decided anew at the latest; None: when something changes.
    """

    at: Moment
    sink: str
    step: str
    reason: str
    until: Moment | None = None


class HeldKind(StrEnum):
    """What suppresses: a person asked (SILENCE), planned work (MAINTENANCE), another alert explains it (INHIBITION),
    nothing fires while a flapping alert is held open (FLAPPING), its like recovers by itself (TRANSIENT), there are too
    few of it (THRESHOLD), another situation has the ticket for it and its like (UMBRELLA), or for all that comes while
    tickets are due too fast (STORM)."""

    SILENCE = "silence"
    MAINTENANCE = "maintenance"
    INHIBITION = "inhibition"
    FLAPPING = "flapping"
    TRANSIENT = "transient"
    THRESHOLD = "threshold"
    UMBRELLA = "umbrella"
    STORM = "storm"


class Held(Struct, frozen=True, gc=False, kw_only=True):
    """Why something real disturbs nobody now.

    Attributes:
        kind: which suppressor.
        id: of the silence, window or rule; of an inhibition the fingerprint of the alert that explains; of a transient
            the class; of a flapping alert its fingerprint; of an umbrella or a storm the situation that holds it.
        reason: in words.
        until: when this reason ends by itself; None: only when something changes.
        alerts: how many active alerts of the situation it covers.
    """

    kind: HeldKind
    id: str
    reason: str
    until: Moment | None = None
    alerts: int = 1


class SituationState(StrEnum):
    OPEN = "open"
    RESOLVED = "resolved"
    MERGED = "merged"


class Umbrella(Struct, frozen=True, gc=False, kw_only=True):
    """Situations that come under one of them, which has the one ticket for all: its children.

    Attributes:
        ci: what they have in common; empty where it only holds what no longer fits into its situation, and in a
            storm.
        since: when the first came under it. total: how many came so far, over or not.
        enough: while at least half as many come in ``umbrella.within``, it takes all that begins below ``ci``.
        storm: it is for what came when tickets were due too fast, of this priority or less urgent; 0: it is not.
    """

    ci: str = ""
    since: Moment
    total: int = 0
    enough: int = 0
    storm: int = 0


class News(Struct, frozen=True, gc=False, kw_only=True):
    """Something the next ticket write should tell in words. version: of the situation that first includes it."""

    version: int
    text: str


class Trend(StrEnum):
    """Where a situation goes: alerts go on joining it, or most are over."""

    GROWING = "growing"
    STEADY = "steady"
    FALLING = "falling"


class Urged(Struct, frozen=True, gc=False, kw_only=True):
    """Why a situation is as urgent as it is, where severity alone does not say it, as of the moment it was decided.

    Attributes:
        wanted: the urgency it would have inside service hours.
        outside: whose service hours are over, in words; empty where it is inside some, or needed at any time.
        until: when service hours begin next; None where they never do, or it is inside.
    """

    at: Moment
    wanted: int
    trend: Trend = Trend.STEADY
    outside: str = ""
    until: Moment | None = None


class SlaClock(Struct, frozen=True, gc=False, kw_only=True):
    """How much of the time that was promised for an incident is gone.

    Attributes:
        used: what was counted until ``since``. since: from when on it runs; None while it stands.
        stopped: why it stands, in words; empty while it runs. calendar: the hours it runs in; empty: at any time.
        priority: of the situation when it was last looked at. next_at: when the next percentage is reached.
        told_acknowledge, told_resolve: the percentage that people were told of last.
        acknowledged_in_time, resolved_in_time: whether what was promised was kept; None while that is open, or where
            nothing was promised.
    """

    used: timedelta = timedelta(0)
    since: Moment | None = None
    stopped: str = ""
    calendar: str = ""
    priority: int = 0
    next_at: Moment | None = None
    told_acknowledge: int = 0
    told_resolve: int = 0
    acknowledged_in_time: bool | None = None
    resolved_in_time: bool | None = None

    @property
    def kept_acknowledge(self) -> bool | None:
        """Broken already where people were told that the time is over."""
        return (
            False if self.acknowledged_in_time is None and self.told_acknowledge >= 100 else self.acknowledged_in_time
        )

    @property
    def kept_resolve(self) -> bool | None:
        return False if self.resolved_in_time is None and self.told_resolve >= 100 else self.resolved_in_time


class Escalated(Struct, frozen=True, gc=False, kw_only=True):
    """How far the escalation of an incident that nobody takes has got.

    Attributes:
        policy: its name. since: from when on its times count. level: how many of its steps were told.
        next_at: when the next step is due; None after the last, and while one is held back.
    """

    policy: str
    since: Moment
    level: int = 0
    next_at: Moment | None = None


class Situation(Struct, gc=False, kw_only=True):
    """Alerts that correlation holds to be one problem. Running state, changed only by group and the engine.

    Attributes:
        id: S-<number>, in order of opening.
        members: by fingerprint, in order of joining.
        onset: earliest start of a member. opened_at, updated_at, cleared_at, resolved_at: records' clock;
            cleared_at is when the last active member ended, None while one is active.
        last_joined_at: when an alert last joined it, or fired again in it. tempo_s: usual seconds between two of those.
        first_ci: the CI it began on; empty if its first alert has none.
        version: one more with every visible change.
        news: what happened that numbers do not tell, for the note of the next ticket write; the newest, bounded.
        impact, urgency: 1..3, 1 is the highest. priority: 1..5, 1 is the highest. urged: what made up the urgency.
        joins: when the latest alerts joined it, the newest last, bounded.
        criticality: of the most critical business service that depends on an affected CI, 1..4; 0 if there is none.
        services, causes: those services and the ranked causes, as of the last ticket write or the end.
        assignment_group, assignment_reason: who gets the ticket, and why in words, as of the last ticket write.
        cause_doubt: why the first of the causes was not named as the cause then, in words; empty if it was.
        held: what keeps a ticket write back that is otherwise due, by kind and id; empty if nothing does.
        merged_into: the situation that took its alerts over; state is MERGED then.
        previous: an earlier situation with the same condition, if this one follows it.
        split_from: the situation whose alerts it was split off with; empty if it opened by itself.
        examined_cis: how many CIs it had when it was last examined for falling apart.
        superseded_by: the situation that a new wave of its alerts became; it takes only what fits nowhere else then.
        parent: the situation under whose umbrella it is, or was when it ended; empty if under none. A parent has none.
        was_under: the parent that was over when this one was reopened: nobody was told of it before.
        umbrella: what it holds over others; None if nothing. It is over when they are.
        reopened_at: when it was last reopened.
        evidence: metric anomalies on its CIs or on what they depend on, the strongest first.
        shaped_by: the person who last said what belongs in it; correlation by itself then neither splits nor merges it.
        decided: why a sink hears nothing now; what it heard is in the audit.
        cause_said, cause_said_by: the CI that a person named as the cause, and the person.
        ticketed_at: when its first ticket was ordered. acknowledged_at, acknowledged_by: when and by whom one was
            first taken, commented or ended. sla: the clock of what was promised; None where nothing ever was.
        escalated: who was told because nobody took it; None before anybody could be.
    """

    id: str
    opened_at: Moment
    onset: Moment
    updated_at: Moment
    last_joined_at: Moment
    tempo_s: float = 30.0
    first_ci: str = ""
    state: SituationState = SituationState.OPEN
    title: str = ""
    members: dict[str, Member] = {}
    severity: Severity = Severity.UNKNOWN
    impact: int = 3
    urgency: int = 3
    priority: int = 5
    urged: Urged | None = None
    joins: tuple[Moment, ...] = ()
    assignment_group: str = ""
    assignment_reason: str = ""
    criticality: int = 0
    services: tuple[str, ...] = ()
    causes: tuple[Cause, ...] = ()
    cause_doubt: str = ""
    evidence: tuple[Evidence, ...] = ()
    version: int = 1
    news: tuple[News, ...] = ()
    reopened: int = 0
    held: tuple[Held, ...] = ()
    cleared_at: Moment | None = None
    resolved_at: Moment | None = None
    merged_into: str = ""
    previous: str = ""
    split_from: str = ""
    superseded_by: str = ""
    parent: str = ""
    was_under: str = ""
    umbrella: Umbrella | None = None
    reopened_at: Moment | None = None
    examined_cis: int = 0
    shaped_by: str = ""
    cause_said: str = ""
    cause_said_by: str = ""
    ticketed_at: Moment | None = None
    escalated: Escalated | None = None
    acknowledged_at: Moment | None = None
    acknowledged_by: str = ""
    sla: SlaClock | None = None
    tickets: dict[str, Ticket] = {}
    decided: tuple[Decided, ...] = ()

    @property
    def held_by(self) -> str:
        """All that holds it, in words."""
        return "; ".join(held.reason for held in self.held)


class Ended(Struct, frozen=True, kw_only=True):
    """A situation that is over, with its alerts as they were: what history keeps."""

    situation: Situation
    alerts: tuple[Alert, ...]


class CI(Struct, frozen=True, gc=False, kw_only=True):
    """Configuration item: a thing the CMDB knows.

    Attributes:
        aliases: other names it goes by (FQDN, IP, UUID, provider id); matched however they are spelt.
        owner: the support group that gets its tickets; empty if unknown.
        criticality: 1 (most) .. 4 for what the business depends on directly; 0 where nobody said.
        implied: made up from labels because no source knows it.
    """

    id: str
    kind: str = "generic"
    name: str = ""
    aliases: tuple[str, ...] = ()
    owner: str = ""
    criticality: int = 0
    environment: str = ""
    implied: bool = False


class Relationship(Struct, frozen=True, gc=False, kw_only=True):
    """``source`` <type> ``target``, for example shop depends_on database. See topology.DIRECTIONS for how failures
    spread."""

    source: str
    type: str
    target: str


class Change(Struct, frozen=True, kw_only=True):
    """Something a person or a pipeline did to CIs, a candidate for the cause of what follows."""

    id: str
    at: Moment
    title: str
    cis: tuple[str, ...] = ()
    actor: str = ""
    url: str = ""


class ForecastState(StrEnum):
    """What a model says of something it expects. REACHED: it saw it happen; WITHDRAWN: it expects it no more."""

    EXPECTED = "expected"
    REACHED = "reached"
    WITHDRAWN = "withdrawn"


class Forecast(Struct, frozen=True, kw_only=True):
    """A predicted incident on one CI.

    Attributes:
        probability: 0..1, calibrated: of a hundred forecasts at .8, eighty come true.
        horizon_h, lead_time_h: hours; it is expected within the horizon, most likely after the lead time.
        contributions: evidence, adding up to the score of the model.
        model: name@version.
        about: what of the CI it is about, such as ``disk_used mount=/var``; empty: the CI as a whole. Of each, one
            problem is expected.
        signs: an incident is this one only if the labels of an alert on the CI hold one of these words, in any case;
            empty: any incident with the CI.
        summary: in operators' words: ``/var is full in 9 h (7 to 13 h)``.
        earliest_h, latest_h: hours from made_at between which it happens in nine of ten cases; None where the model
            does not say.
        alarm: whether it is worth a Problem, where the model decides by a budget of false alarms; None: the settings'
            ``probability`` decides.
    """

    ci: str
    made_at: Moment
    probability: float
    horizon_h: float
    lead_time_h: float
    model: str
    contributions: tuple[Contribution, ...] = ()
    about: str = ""
    signs: tuple[str, ...] = ()
    summary: str = ""
    earliest_h: float | None = None
    latest_h: float | None = None
    state: ForecastState = ForecastState.EXPECTED
    alarm: bool | None = None


class SilenceMatcher(Struct, frozen=True, kw_only=True, rename="camel"):
    """A matcher as Alertmanager's API spells it."""

    name: str
    value: str
    is_regex: bool
    is_equal: bool = True


class Silence(Struct, frozen=True, kw_only=True):
    """A person asked for quiet: matching alerts open nothing in starts_at <= t < ends_at. Resolutions always pass."""

    id: str
    matchers: tuple[SilenceMatcher, ...]
    starts_at: Moment
    ends_at: Moment
    created_by: str
    comment: str
    updated_at: Moment
    annotations: dict[str, str] = {}


class Span(Struct, frozen=True, gc=False, kw_only=True):
    """starts_at <= t < ends_at."""

    starts_at: Moment
    ends_at: Moment


class MaintenanceWindow(Struct, frozen=True, kw_only=True):
    """Planned work: alerts in its scope open nothing while it runs. Resolutions always pass.

    The times are concrete: who reads the calendar expands it up to a horizon, and what was expanded is what enters as a
    record, so that a replay needs neither the calendar nor a time zone database.

    Attributes:
        id: stable: setting a window with the same id replaces it.
        title, comment: what is done, and why; owner: the person or team that asked for it.
        cis: ids or names of CIs. descendants: whether what depends on them is in scope too.
        services: business services; in scope are they, and every CI that none but services named here need.
        matchers: of labels; with CIs or services an alert must meet both.
        spans: ascending, apart from each other.
        calendar: the iCalendar text that the spans were read from; empty where they were just given.
        schedule: the recurrence as it was written, empty for one that happens once.
        expanded_to: spans that begin before are known; None where there are no others.
        origin: "operator", "configuration" where it is kept in a file, or the name of the source that plans it.
    """

    id: str
    title: str
    owner: str
    comment: str
    spans: tuple[Span, ...]
    cis: tuple[str, ...] = ()
    descendants: bool = True
    services: tuple[str, ...] = ()
    matchers: tuple[SilenceMatcher, ...] = ()
    calendar: str = ""
    schedule: str = ""
    expanded_to: Moment | None = None
    origin: str = "operator"
    updated_at: Moment


class JudgementKind(StrEnum):
    """What a person can say of the structure: MERGE two situations, SPLIT alerts off, MOVE alerts to another situation,
    two things are NOT_RELATED, this CI was the CAUSE."""

    MERGE = "merge"
    SPLIT = "split"
    MOVE = "move"
    NOT_RELATED = "not_related"
    CAUSE = "cause"


class Witness(Struct, frozen=True, gc=False, kw_only=True):
    """An alert as it was when a person judged: enough to find it, or its like, in a history.

    Attributes:
        name: its label alertname, or the first label there is. onset: start of the occurrence that was judged.
    """

    fingerprint: str
    name: str
    ci: str
    onset: Moment


class Judgement(Struct, frozen=True, kw_only=True):
    """What a person said of what belongs together, with what it did: labelled truth for whoever learns from it.

    Attributes:
        id: J-<number>, in the order in which they were said. at: records' clock.
        situation, other: the situations it was about; of MERGE the one that stays and the one that went over; of MOVE
            where the alerts came from and where they went.
        one: of MERGE the alerts of ``situation``; of SPLIT and MOVE those that left it; of NOT_RELATED the first side;
            of CAUSE those that the CI caused. Empty where what was said means nothing: then it is no truth.
        same: alerts that are one problem with each of ``one``. apart: alerts that are another problem than any of them.
        cis: of NOT_RELATED two CIs, if CIs were named and not alerts; of CAUSE the one.
        applied: whether it changed anything; outcome: what it changed, or why it changed nothing, in words.
        until: so long correlation keeps apart what was said to be; None where there is nothing to keep apart.
    """

    id: str
    at: Moment
    actor: str
    kind: JudgementKind
    situation: str = ""
    other: str = ""
    one: tuple[Witness, ...] = ()
    same: tuple[Witness, ...] = ()
    apart: tuple[Witness, ...] = ()
    cis: tuple[str, ...] = ()
    comment: str = ""
    applied: bool = False
    outcome: str = ""
    until: Moment | None = None


class Label(Struct, frozen=True, kw_only=True):
    """One row of labelled truth, drawn from a judgement.

    Attributes:
        says: "same": both alerts are one problem; "apart": they are not; "cause": ``ci`` caused ``alert``.
        other: None where says is "cause". ci: empty where it is not.
        by, at, judgement: who said so, when, and the id of what they said.
    """

    says: str
    alert: Witness
    other: Witness | None = None
    ci: str = ""
    by: str
    at: Moment
    judgement: str
