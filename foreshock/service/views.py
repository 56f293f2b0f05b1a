"""What people are shown, as plain values: the API, the console and the command line all read these and nothing else."""

from datetime import datetime
from typing import Protocol

from msgspec import Struct

from correlation.problem import Past
from foreshock.core.contracts import DeskAction, DeskNote, DeskRecord, ForecastRow
from foreshock.core.model import Cause, Evidence, Forecast, Held, Judgement, Moment, Versions
from foreshock.service.ledger import Ledger, Per
from foreshock.service.records import Statement
from foreshock.service.report import By, Report


class TicketView(Struct, frozen=True, kw_only=True):
    """sink: instance name. state: how far the last write got (planned, sending, confirmed, unknown, rejected).
    label: as what people closed it (real, no_fault, duplicate, false_alarm)."""

    sink: str
    state: str
    number: str
    url: str
    open: bool
    assignee: str = ""
    closed_by: str = ""
    error: str = ""
    label: str = ""


class ChildView(Struct, frozen=True, kw_only=True):
    """A situation under the umbrella of another, that is not over. tickets: numbers of its own that are open."""

    id: str
    title: str
    priority: int
    opened_at: Moment
    alerts: int
    tickets: tuple[str, ...]


class UmbrellaView(Struct, frozen=True, kw_only=True):
    """What one incident holds over others.

    Attributes:
        words: in a sentence, as its ticket says it.
        ci: what they have in common; empty where it was only too full. total, open: how many came under it so far, and
            how many are not over.
        alerts, active, cis: of all that are not over, its own included.
        children: the most urgent that are not over; bounded.
    """

    words: str
    ci: str
    since: Moment
    total: int
    open: int
    alerts: int
    active: int
    cis: int
    children: tuple[ChildView, ...]


class IncidentRow(Struct, frozen=True, kw_only=True):
    """One line of the incident list.

    Attributes:
        id: situation id, S-1.
        state: open, resolved or merged.
        priority: 1..5. severity: word of the scale.
        age_s: seconds since opened, up to its end.
        cis: affected CIs, number of them in ci_count; the list is cut at 5.
        alerts, active: members, and how many still fire. events: how many events they folded.
        cause: the best candidate's CI; empty where there is none, or not enough evidence. cause_score: 0..1.
        held_by: why no ticket is opened; empty if nothing holds it.
        parent: the incident under whose umbrella it is; under: how many are under its own and not over.
    """

    id: str
    title: str
    state: str
    priority: int
    severity: str
    opened_at: Moment
    updated_at: Moment
    age_s: float
    cis: tuple[str, ...]
    ci_count: int
    alerts: int
    active: int
    events: int
    cause: str
    cause_score: float
    assignment_group: str
    held_by: str
    tickets: tuple[TicketView, ...]
    services: tuple[str, ...] = ()
    parent: str = ""
    under: int = 0


class DecidedView(Struct, frozen=True, kw_only=True):
    """The latest decision for one sink: what it is to hear, why, until when, and by which versions it was decided."""

    sink: str
    at: Moment
    step: str
    reason: str
    until: Moment | None
    versions: Versions | None


class ConsideredView(Struct, frozen=True, kw_only=True):
    """A decision at the time an alert was placed: it might have joined ``situation`` and did not.

    Attributes:
        alert, other: fingerprints of the one that was placed and of the one that was related to it.
        strength: 0..1. rule: name@version. why: what kept it out, in words.
        versions: what it was decided by; None if that is longer ago than is remembered.
    """

    at: Moment
    alert: str
    situation: str
    other: str
    strength: float
    rule: str
    why: str
    versions: Versions | None


class WhyView(Struct, frozen=True, kw_only=True):
    """Why an alert is in its situation.

    Attributes:
        sentence: for people, for example "shop depends on db1, which failed 40 s earlier".
        path: CI ids from this alert's CI to the other alert's CI. relations: type of each step, one fewer than path.
        strength, threshold: 0..1. gap_s: seconds between the onsets. rule: kind@version.
        other: fingerprint of the alert it was linked to; empty for the one that opened the situation.
        joined_at, versions: when and by what it was decided; None where that was worked out for a question.
        moved: how it came over from another situation, in words; empty if it joined this one.
        considered: the situations it might have joined instead.
    """

    sentence: str
    path: tuple[str, ...] = ()
    relations: tuple[str, ...] = ()
    strength: float = 1.0
    threshold: float = 0.0
    gap_s: float = 0.0
    rule: str = ""
    other: str = ""
    joined_at: Moment | None = None
    versions: Versions | None = None
    moved: str = ""
    considered: tuple[ConsideredView, ...] = ()


class AgainstView(Struct, frozen=True, kw_only=True):
    """Why an alert is, or is not, in a situation.

    Attributes:
        alert: fingerprint. name, ci: of the alert. home: the situation it is in. situation: the one it was asked about.
        together: whether it is in it. sentence: the answer in one sentence.
        link: the strongest link between it and the alerts there, worked out with present rules and topology (the one
            that was decided, where they are together); None if no rule relates them.
        counted: what all of the situation came to when the alert was placed, 0..1; where that was not kept, what it
            comes to by present rules, as it stood then. None where they are together.
        obstacles: what would keep it out whatever relates them, and where nothing does, what is missing, in words.
        decided: what was decided about the two when either was placed.
        now: the versions in force now.
    """

    alert: str
    name: str
    ci: str
    home: str
    situation: str
    together: bool
    sentence: str
    link: WhyView | None
    counted: float | None
    obstacles: tuple[str, ...]
    decided: tuple[ConsideredView, ...]
    now: Versions | None


class LabelSetView(Struct, frozen=True, kw_only=True):
    """One of several label sets of an alert. labels: those in which they differ. state: firing or resolved."""

    labels: dict[str, str]
    state: str
    count: int


class AlertView(Struct, frozen=True, kw_only=True):
    """state: firing, resolved or held (flapping). bound_by: how the CI was found, in words. confidence: how sure that
    is, the least first: none, implied (made up from a label), stripped (of a domain or port), scoped (other labels tell
    several apart), name, id; empty where the CI is kept although it is retired. flaps: changes since it began to flap;
    0 while it does not. held: all that suppresses it. source: kind of the collector; origin: name of the source that
    sent it first. label_sets: where it has several."""

    fingerprint: str
    name: str
    summary: str
    state: str
    severity: str
    ci: str
    bound_by: str
    source: str
    labels: dict[str, str]
    annotations: dict[str, str]
    starts_at: Moment
    ends_at: Moment | None
    last_seen: Moment
    count: int
    occurrences: int
    url: str
    situation: str
    held: tuple[Held, ...] = ()
    why: WhyView | None = None
    flaps: int = 0
    origin: str = ""
    label_sets: tuple[LabelSetView, ...] = ()
    confidence: str = ""


class TimelineEntry(Struct, frozen=True, kw_only=True):
    """lane: alert, incident, ticket or person. at: records' clock."""

    at: Moment
    lane: str
    actor: str
    action: str
    text: str


class GraphNode(Struct, frozen=True, kw_only=True):
    """role: cause (best candidate), affected (has alerts of this situation) or context. level: 0 is furthest
    upstream."""

    id: str
    label: str
    kind: str
    role: str
    severity: str
    level: int


class GraphEdge(Struct, frozen=True, kw_only=True):
    """source needs target: a failure spreads from target to source."""

    source: str
    target: str
    type: str


class GraphView(Struct, frozen=True, kw_only=True):
    """The topology around an incident, at most 60 nodes; left_out counts the rest."""

    nodes: tuple[GraphNode, ...]
    edges: tuple[GraphEdge, ...]
    left_out: int = 0


class OccurrenceView(Struct, frozen=True, kw_only=True):
    """An incident of a pattern. how: it ended, in words; said: what the person who closed it wrote; label: as what they
    closed it (real, no_fault, duplicate, false_alarm); change: the last one on the CI before it. tickets: by sink."""

    situation: str
    title: str
    priority: int
    opened_at: Moment
    ended_at: Moment | None
    how: str
    said: str
    label: str
    change: str
    tickets: dict[str, str]


class ProblemRecordView(Struct, frozen=True, kw_only=True):
    """The Problem record of one sink. state: planned, confirmed or rejected. linked: situations that it was told of.
    ended: resolved, closed or deleted by people there. previous: number of the record that it follows."""

    sink: str
    number: str
    url: str
    state: str
    linked: int
    ended: str
    known_error: str
    previous: str


class PatternView(Struct, frozen=True, kw_only=True):
    """Incidents with the same cause and pattern, or an incident that is forecast.

    Attributes:
        kind: recurring, or proactive: made of a forecast.
        id: of the pattern; of what is proactive the problem's, or the CI where it made none.
        problem: id of what it has become, P-1; empty while it is none.
        state: watched (no problem), open, quiet (proposed for closing) or ended (by people, in every sink).
        names: of the alerts on the CI. reason: why it is a problem, or why not yet. rate: how often it came, in words.
        total: incidents so far; occurrences: the newest of them, newest first.
        known_error: what people wrote of it in the record known_error_in.
        forecast: that the problem stands on, or that made none; services: business services that depend on its CI.
        expected_until, confirmed_by: until when an incident is expected, and the situation that came.

    Of what is proactive, state is watched (no problem), expected, confirmed, expired, or ended (by people, while it was
    expected).
    """

    id: str
    kind: str = "recurring"
    problem: str
    state: str
    title: str
    ci: str
    names: tuple[str, ...]
    priority: int
    assignment_group: str
    total: int
    reason: str
    rate: str
    since: Moment
    last_at: Moment
    opened_at: Moment | None
    quiet_since: Moment | None
    known_error: str
    known_error_in: str
    records: tuple[ProblemRecordView, ...]
    occurrences: tuple[OccurrenceView, ...]
    forecast: Forecast | None = None
    services: tuple[str, ...] = ()
    expected_until: Moment | None = None
    confirmed_by: str = ""


class ForecastView(Struct, frozen=True, kw_only=True):
    """The newest forecast of a model for a place.

    Attributes:
        problem: that stands on it. reason: why none does.
        entry: in the ledger, F-1; empty while nothing likely was announced. outcome: of that entry.
        until: it comes true before then, or is over.
        likely_at: when it most likely happens.
        services: business services that depend on the CI, the most critical first. team: that would have to act.
    """

    forecast: Forecast
    problem: str
    reason: str
    entry: str
    outcome: str
    until: Moment
    likely_at: Moment
    services: tuple[str, ...] = ()
    team: str = ""


class ForeseenView(Struct, frozen=True, kw_only=True):
    """That an incident was expected. problem: that it confirmed. lead_s: from the opening of that to the incident.
    words: the same in one line."""

    problem: str
    lead_s: float
    forecast: Forecast
    words: str


class IncidentView(Struct, frozen=True, kw_only=True):
    """The incident page: everything known of one situation.

    evidence: metric anomalies on its CIs and on what they depend on, the strongest first.
    held: why it has no ticket, or why its ticket is not escalated.
    pattern: id of the pattern that it belongs to, with a ticket or without; empty if it is the first of its kind.
    recurrence: how often that came back, and whether it is a problem, in words. problem: its id; empty if it is none.
    known_error: what people know of it. similar: earlier incidents of the pattern and how they ended.
    foreseen: forecasts that it confirmed.
    """

    row: IncidentRow
    impact: int
    urgency: int
    priority_reason: str
    cleared_at: Moment | None
    resolved_at: Moment | None
    merged_into: str
    previous: str
    reopened: int
    next_step: str
    cause_doubt: str
    causes: tuple[Cause, ...]
    evidence: tuple[Evidence, ...]
    alerts: tuple[AlertView, ...]
    timeline: tuple[TimelineEntry, ...]
    graph: GraphView
    records: tuple[DeskRecord, ...]
    notes: tuple[DeskNote, ...]
    held: tuple[Held, ...] = ()
    split_from: str = ""
    decisions: tuple[DecidedView, ...] = ()
    judgements: tuple[Judgement, ...] = ()
    umbrella: UmbrellaView | None = None
    assignment_reason: str = ""
    pattern: str = ""
    recurrence: str = ""
    problem: str = ""
    known_error: str = ""
    similar: tuple[Past, ...] = ()
    sla: tuple[str, ...] = ()
    escalation: tuple[str, ...] = ()
    foreseen: tuple[ForeseenView, ...] = ()


class ExplainView(Struct, frozen=True, kw_only=True):
    """Why an incident is what it is, or where one alert stands: ``alerts`` is that one alone then.

    Attributes:
        situation: id; empty for an alert in none. next_step: what each sink hears now, and why.
        decisions: the latest for each sink, as it was decided. now: the versions in force now.
        parent: the incident under whose umbrella it is. umbrella: what its own is for, in a sentence; empty if nothing.
        recurrence: how often the like of it came back, and whether that is a problem; empty if it is the first.
    foreseen: forecasts that it confirmed.
    """

    alerts: tuple[AlertView, ...]
    now: Versions | None
    situation: str = ""
    title: str = ""
    state: str = ""
    priority: int = 0
    priority_reason: str = ""
    assignment: str = ""
    held: tuple[Held, ...] = ()
    cause_doubt: str = ""
    next_step: str = ""
    decisions: tuple[DecidedView, ...] = ()
    causes: tuple[Cause, ...] = ()
    evidence: tuple[Evidence, ...] = ()
    judgements: tuple[Judgement, ...] = ()
    parent: str = ""
    umbrella: str = ""
    recurrence: str = ""
    foreseen: tuple[ForeseenView, ...] = ()


class CountedView(Struct, frozen=True, kw_only=True):
    """One row of what came most often. of: of what, for example templates of lines."""

    of: str
    text: str
    count: int


class ListeningView(Struct, frozen=True, kw_only=True):
    """An instance that is listened to, since the start.

    Attributes:
        address: what it is bound to, or connected with; empty while it is neither.
        running: its process is up. restarts: how often it had to be started again.
        counts: of what was sent, by outcome: received, ignored, rejected, lost, late. points: of samples.
        problem: why nothing, or not everything, is heard; empty while all is well.
        tops: what came most often.
    """

    name: str
    collector: str
    title: str
    address: str
    running: bool
    restarts: int
    last_heard: Moment | None
    counts: dict[str, int]
    points: int
    problem: str
    tops: tuple[CountedView, ...] = ()


class SourceView(Struct, frozen=True, kw_only=True):
    """One sender. last_seen is None for a receiver nobody has used yet; path is where to post. configured: the settings
    have an entry for it.

    clashes: alerts that are about several CIs at once under the identity rules; clash: the last, with the remedy.
    expired: alerts that ran out because they were not sent again. silent_since: the last it was heard of before that,
    None while it reports. holds_s: how long an alert without an end of its own is waited for; None: until it is
    resolved. clock: how its clock stands, in words, empty if there is nothing to tell; lag_s: seconds from its dates to
    their receipt where they should be fresh, below zero if they lie ahead; None as long as too little was seen.
    refused: requests refused whole, by reason. proofs: requests by what proved them, such as ``token 1``.
    listening: how it stands with one that is listened to.
    """

    name: str
    collector: str
    title: str
    path: str
    last_seen: Moment | None
    batches: int
    events: int
    rejected: int
    configured: bool = False
    last_error: str = ""
    clashes: int = 0
    clash: str = ""
    expired: int = 0
    silent_since: Moment | None = None
    holds_s: float | None = None
    clock: str = ""
    lag_s: float | None = None
    refused: dict[str, int] = {}
    proofs: dict[str, int] = {}
    listening: ListeningView | None = None


class PayloadView(Struct, frozen=True, kw_only=True):
    """What a source sent last. record: its number. payload: as it was received, as text; its beginning where it is
    long, ``bytes`` says how much there was."""

    record: int
    at: Moment
    source: str
    collector: str
    actor: str
    bytes: int
    payload: str


class DeadLetterView(Struct, frozen=True, kw_only=True):
    """stage: translate or delivery. payload: the item as text, cut at 4 KiB."""

    id: int
    record: int
    item: int
    at: Moment
    source: str
    stage: str
    error: str
    payload: str


class JobView(Struct, frozen=True, kw_only=True):
    name: str
    started_at: Moment | None
    ended_at: Moment | None
    ok: bool
    error: str
    next_at: Moment | None


class StatusView(Struct, frozen=True, kw_only=True):
    """The whole in one look. intake: accepting, or why not. topology: version, with the number of CIs and
    relationships.

    rules: name@version of those in force. rules_suspended: of those that took more than their budget, with the reason.
    reloaded_at, reload_error: when settings and rules were last put into force, and why the last reload was refused.
    disk_free_bytes, disk_total_bytes: of the file system with the store; 0 and 0 where that is not ours to know.
    foresees: which model foresees incidents, or why none does, in a sentence.
    """

    version: str
    demo: bool
    intake: str
    started_at: Moment
    now: Moment
    position: int
    lag_records: int
    open_incidents: int
    active_alerts: int
    outbox_pending: int
    outbox_oldest_s: float
    dead_letters: int
    topology_version: str
    cis: int
    relationships: int
    topology_error: str
    jobs: tuple[JobView, ...]
    rules: tuple[str, ...] = ()
    rules_suspended: dict[str, str] = {}
    reloaded_at: Moment | None = None
    reload_error: str = ""
    disk_free_bytes: int = 0
    disk_total_bytes: int = 0
    foresees: str = ""


class Views(Protocol):
    """The questions people ask. Every answer includes everything acknowledged before the question."""

    def status(self) -> StatusView: ...

    def incidents(self, *, state: str = "open", limit: int = 200, parent: str = "") -> list[IncidentRow]:
        """state: open, resolved, merged or all. Open ones first by priority, then newest. Of those that are open and
        under the umbrella of another, none, unless that one is named as ``parent``: then only they."""

    def incident(self, id: str) -> IncidentView | None:
        """By situation id or by ticket number."""

    def alert(self, fingerprint: str) -> AlertView | None: ...

    def explain(self, id: str) -> ExplainView:
        """Of an incident by situation id or ticket number, or of an alert by fingerprint, the beginning of one, or
        ``NAME on CI``. Raises Missing where there is none, Rejected where several alerts go by the name."""

    def against(self, id: str, other: str) -> list[AgainstView]:
        """Why an alert, or each alert of an incident, is or is not in the incident ``other``, or in that of the alert
        ``other``; bounded. Both are named, and may be missing, as for ``explain``."""

    def sources(self) -> list[SourceView]: ...

    def last_payload(self, source: str) -> PayloadView | None: ...

    def dead_letters(self, *, limit: int = 200) -> list[DeadLetterView]: ...

    def problems(self, *, limit: int = 200) -> list[DeskRecord]: ...

    def patterns(self, *, watched: bool = False, limit: int = 200) -> list[PatternView]:
        """What has become a problem, the one that came last first; with ``watched`` also what may become one."""

    def pattern(self, name: str) -> PatternView | None:
        """By its id, by that of its problem, by a record's number, by one of its situations, or by the CI of a
        forecast."""

    def record(self, number: str) -> tuple[DeskRecord, list[DeskNote]] | None:
        """A desk record with its notes."""

    def linked(self, problem: str) -> list[DeskRecord]:
        """Incidents of the desk that a problem links, newest first."""

    def judgements(self, *, incident: str = "", limit: int = 200) -> list[Judgement]:
        """What people said of the structure, newest first; with ``incident`` only of that one."""

    def report(self, begin: datetime | None, end: datetime | None, by: By | None) -> Report:
        """Of the incidents opened in begin <= t < end; the last thirty days unless said otherwise. Raises Rejected for
        a period that is none."""

    def forecasts(self, *, limit: int = 200) -> list[ForecastView]:
        """The newest forecast of each model for each CI, and for what of it it is about; what is likely to happen first
        comes first."""

    def forecast_entries(
        self, *, limit: int = 100, model: str = "", ci: str = "", outcome: str = "", ended: bool = False
    ) -> list[ForecastRow]:
        """Entries of the ledger, the newest first; ``ended``: only what is over, what ended last first."""

    def ledger(self, begin: datetime | None, end: datetime | None, by: Per, *, problems_only: bool = True) -> Ledger:
        """Of what was announced in begin <= t < end; the last thirty days unless said otherwise. Raises Rejected for a
        period that is none."""


class Actions(Protocol):
    """What people can do; each returns after it is on disk and reflected."""

    def act(self, number: str, action: DeskAction, *, actor: str, text: str = "", code: str = "") -> DeskRecord:
        """Raises Rejected with the reason where the record's state does not allow it."""

    def open_problem(self, incident: str, *, actor: str, title: str = "") -> DeskRecord: ...

    def judge(self, said: Statement, *, actor: str) -> Judgement:
        """Situations by id or ticket number, alerts by fingerprint or the beginning of one, CIs by any of their names.
        Raises Rejected with the reason for what means nothing; what is true but changes nothing any more is kept."""
