"""What people ask Foreshock to be quiet about: silences and maintenance windows, seen, tried out, set and ended.

Every change is a record with its actor. A preview answers from the alerts that are active now, before anything is set.
"""

import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import msgspec
from msgspec import Struct

from correlation.suppression.maintenance import ActiveWindow, scope
from correlation.suppression.silences import ActiveSilence, compiled
from foreshock.core.contracts import NewRecord, RecordKind
from foreshock.core.errors import Malformed, Rejected, Unavailable
from foreshock.core.matchers import Matcher, matches_all, parse_matcher
from foreshock.core.model import Alert, HeldKind, MaintenanceWindow, Moment, Silence, SilenceMatcher, Situation, Span
from foreshock.service.engine import Engine
from foreshock.service.inbox import Inbox
from foreshock.service.maintenance import Plan, Scope, extended, read_calendar, same_plan, window
from foreshock.service.records import OperatorRecord
from foreshock.service.runner import Runner

MAX_MATCHERS = 100
MAX_COMMENT = 10_000
MAX_LENGTH = timedelta(days=366)
MAX_WINDOWS = 5_000
_SHOWN_ALERTS, _SHOWN_INCIDENTS, _SHOWN_SPANS = 100, 100, 5
_ORDER = ("running", "active", "planned", "pending", "over", "expired")


# ---- what people see ------------------------------------------------------------------------------------------------


class SilenceView(Struct, frozen=True, kw_only=True):
    """state: pending, active or expired. matchers: as Alertmanager writes them. held: incidents it holds now."""

    id: str
    state: str
    matchers: tuple[str, ...]
    starts_at: Moment
    ends_at: Moment
    created_by: str
    comment: str
    held: int


class WindowView(Struct, frozen=True, kw_only=True):
    """One maintenance window.

    Attributes:
        state: running, planned or over.
        spans: the one that runs and the next ones, at most 5. schedule: how it recurs, as it was written; empty if not.
        scope: number of CIs in scope now; 0 where labels alone decide. cut: there are more than can be in one scope.
        origin: operator, configuration where it is kept in a file, or the source of CIs that it comes from.
        held: incidents it holds now.
    """

    id: str
    state: str
    title: str
    owner: str
    comment: str
    cis: tuple[str, ...]
    descendants: bool
    services: tuple[str, ...]
    matchers: tuple[str, ...]
    spans: tuple[Span, ...]
    schedule: str
    origin: str
    scope: int
    cut: bool
    held: int


class HitAlert(Struct, frozen=True, kw_only=True):
    fingerprint: str
    name: str
    ci: str
    severity: str
    situation: str


class HitIncident(Struct, frozen=True, kw_only=True):
    """An incident with alerts that are covered: so many of its active ones. whole: all of them, so it would be held."""

    id: str
    title: str
    priority: int
    covered: int
    active: int
    whole: bool
    tickets: tuple[str, ...]


class PreviewView(Struct, frozen=True, kw_only=True):
    """What a silence or a window would cover, of what is active now.

    Attributes:
        matched: alerts that are covered, the first 100 of them in ``alerts``; active: all that are active.
        incidents: the first 100, those that would be held first.
        scope: number of CIs in scope; 0 where labels alone decide. cut: there are more than can be in one scope.
        unknown: names of CIs and services that the topology does not know.
    """

    matched: int
    active: int
    alerts: tuple[HitAlert, ...]
    incidents: tuple[HitIncident, ...]
    scope: int = 0
    cut: bool = False
    unknown: tuple[str, ...] = ()


class Quiet(Protocol):
    """Questions and actions; each action returns after it is on disk and reflected."""

    def silences(self) -> list[SilenceView]:
        """Active ones first, then by end; those that ended less than a day ago too."""

    def windows(self) -> list[WindowView]:
        """Running ones first, then by what comes next."""

    def preview(self, scope: Scope) -> PreviewView:
        """A silence is a scope of matchers alone. Raises Rejected where it says nothing, or everything."""

    def set_silence(
        self, matchers: Sequence[str], *, length: timedelta, comment: str, actor: str, starts: datetime | None = None
    ) -> SilenceView:
        """starts: aware; now if None. Raises Rejected with the reason."""

    def expire_silence(self, id: str, *, actor: str) -> SilenceView:
        """Raises Rejected where there is nothing to end."""

    def plan(self, plan: Plan, *, actor: str, id: str = "") -> WindowView:
        """id: of the window to replace; a new one where it is empty. Raises Rejected."""

    def take_calendar(self, body: bytes, scope: Scope, *, actor: str, time_zone: str = "UTC") -> list[WindowView]:
        """Raises Malformed naming the event at fault; then none of them is set."""

    def end_window(self, id: str, *, actor: str, only_running: bool = False) -> WindowView:
        """Raises Rejected where there is nothing to end, or where a file says otherwise."""


# ---- from the running engine ----------------------------------------------------------------------------------------


class LiveQuiet:
    """Implements ``Quiet``."""

    def __init__(self, runner: Runner, inbox: Inbox, clock: Callable[[], datetime]) -> None:
        self._runner, self._inbox, self._clock = runner, inbox, clock

    # ---- questions ----

    def silences(self) -> list[SilenceView]:
        self._up_to_date()
        now = self._clock()
        with self._runner.looking() as engine:
            held = _holding(engine, HeldKind.SILENCE)
            found = [_silence(active, now, held) for active in engine.suppression.silences.values()]
        return sorted(found, key=lambda view: (_ORDER.index(view.state), view.ends_at, view.id))

    def windows(self) -> list[WindowView]:
        self._up_to_date()
        now = self._clock()
        with self._runner.looking() as engine:
            held = _holding(engine, HeldKind.MAINTENANCE)
            found = [_window(active, now, held, engine) for active in engine.suppression.windows.values()]
        return sorted(
            found, key=lambda view: (_ORDER.index(view.state), view.spans[0].starts_at if view.spans else now, view.id)
        )

    def preview(self, scope: Scope) -> PreviewView:
        self._up_to_date()
        tried = _tried(scope, self._clock())
        matchers = compiled(tried.matchers)
        with self._runner.looking() as engine:
            cis, cut = _cis_of(tried, engine)
            unknown = tuple(name for name in (*tried.cis, *tried.services) if not engine.topology.named(name))
            active = [alert for alert in engine.alerts.values() if alert.active]
        # Labels are read without the engine waiting: an alert keeps its labels.
        hit = [
            a
            for a in active
            if (cis is None or a.ci in cis) and (not matchers or matches_all(matchers, a.read_labels()))
        ]
        covered = Counter(alert.situation for alert in hit)
        with self._runner.looking() as engine:
            incidents = [
                _incident(engine.situations[id], count, engine)
                for id, count in covered.items()
                if id in engine.situations
            ]
        incidents.sort(key=lambda view: (not view.whole, view.priority, -view.covered, view.id))
        return PreviewView(
            matched=len(hit),
            active=len(active),
            alerts=tuple(_alert(alert) for alert in hit[:_SHOWN_ALERTS]),
            incidents=tuple(incidents[:_SHOWN_INCIDENTS]),
            scope=0 if cis is None else len(cis),
            cut=cut,
            unknown=unknown,
        )

    # ---- actions ----

    def set_silence(
        self, matchers: Sequence[str], *, length: timedelta, comment: str, actor: str, starts: datetime | None = None
    ) -> SilenceView:
        now = self._clock()
        begin = max(starts or now, now)
        posted = tuple(_posted(text) for text in matchers)
        refused = silence_refusal(posted, begin, begin + length, actor, comment, now)
        if refused:
            raise Rejected(refused, hint="nothing was set")
        silence = Silence(
            id=str(uuid.uuid4()),
            matchers=posted,
            starts_at=begin,
            ends_at=begin + length,
            created_by=actor,
            comment=comment.strip(),
            updated_at=now,
        )
        self._record(OperatorRecord(set_silence=silence), actor)
        return _silence(ActiveSilence(silence), now, {})

    def expire_silence(self, id: str, *, actor: str) -> SilenceView:
        self._up_to_date()
        with self._runner.looking() as engine:
            active = engine.suppression.silences.get(id)
        if active is None or active.silence.ends_at <= self._clock():
            raise Rejected(f"there is no silence {id[:80]!r} to end", hint="list them with foreshock silence list")
        self._record(OperatorRecord(expire_silence=id), actor)
        return next(view for view in self.silences() if view.id == id)

    def plan(self, plan: Plan, *, actor: str, id: str = "") -> WindowView:
        self._up_to_date()
        now = self._clock()
        if id:
            self._operators_own(id)
        made = window(plan, id=id or f"mw-{uuid.uuid4().hex[:12]}", owner=actor, origin="operator", now=now)
        if ActiveWindow(made).is_over(now):
            raise Rejected("the window is over already", hint="give it an end that lies ahead")
        self._set([made], actor)
        return self._one(made.id)

    def take_calendar(self, body: bytes, scope: Scope, *, actor: str, time_zone: str = "UTC") -> list[WindowView]:
        self._up_to_date()
        found = read_calendar(
            body, scope, owner=actor, origin="operator", prefix="ics", now=self._clock(), time_zone=time_zone
        )
        with self._runner.looking() as engine:
            known = engine.suppression.windows
            news = [made for made in found if made.id not in known or not same_plan(known[made.id].window, made)]
        self._set(news, actor)
        wanted = {made.id for made in found}
        return [view for view in self.windows() if view.id in wanted]

    def end_window(self, id: str, *, actor: str, only_running: bool = False) -> WindowView:
        self._up_to_date()
        now = self._clock()
        with self._runner.looking() as engine:
            active = engine.suppression.windows.get(id)
        if active is None or active.is_over(now):
            raise Rejected(f"there is no window {id[:80]!r} to end", hint="list them with foreshock maintenance list")
        if only_running and active.span(now) is None:
            raise Rejected(f"{id} does not run now", hint="leave out that only the running span should end")
        if not only_running:
            self._operators_own(id)
        self._record(OperatorRecord(end_window=id, only_running=only_running), actor)
        return self._one(id)

    # ---- what comes round by itself, and what files say ----

    def keep(self, wanted: Sequence[MaintenanceWindow], *, actor: str, origin: str = "configuration") -> bool:
        """Bring the windows of an origin to what it says now, all that are not over; whether anything differed."""
        now = self._clock()
        ids = {made.id for made in wanted}
        with self._runner.looking() as engine:
            known = dict(engine.suppression.windows)
        news = [made for made in wanted if made.id not in known or not same_plan(known[made.id].window, made)]
        gone = [
            id
            for id, active in known.items()
            if active.window.origin == origin and id not in ids and not active.is_over(now)
        ]
        self._set(news, actor)
        for id in gone:
            self._record(OperatorRecord(end_window=id), actor)
        return bool(news or gone)

    def extend(self) -> None:
        """Expand recurring windows further, where it is time for that."""
        now = self._clock()
        with self._runner.looking() as engine:
            known = [active.window for active in engine.suppression.windows.values()]
        self._set([made for one in known if (made := extended(one, now)) is not None], "foreshock")

    # ---- parts ----

    def _operators_own(self, id: str) -> None:
        with self._runner.looking() as engine:
            active = engine.suppression.windows.get(id)
        if active is not None and active.window.origin != "operator":
            where = active.window.origin.replace("configuration", "the configuration file")
            raise Rejected(f"{id} is kept in {where}", hint="change it there; a span that runs can be ended here")

    def _set(self, windows: Iterable[MaintenanceWindow], actor: str) -> None:
        windows = list(windows)
        with self._runner.looking() as engine:
            count = len(engine.suppression.windows) + len(windows)
        if count > MAX_WINDOWS:
            raise Rejected(f"there would be {count} windows, {MAX_WINDOWS} are allowed", hint="end some first")
        for made in windows:
            self._record(OperatorRecord(set_window=made), actor)

    def _one(self, id: str) -> WindowView:
        return next(view for view in self.windows() if view.id == id)

    def _record(self, done: OperatorRecord, actor: str) -> None:
        body = msgspec.json.encode(done)
        number = self._inbox.append_now(NewRecord(kind=RecordKind.OPERATOR, body=body, source="quiet", actor=actor))
        if not self._runner.caught_up(number):
            raise Unavailable("it is on disk, and not reflected yet", hint="look again in a moment", retry_after_s=5)

    def _up_to_date(self) -> None:
        if not self._runner.caught_up(self._inbox.last):
            raise Unavailable(
                f"{self._runner.lag} records are not reflected yet", hint="ask again in a moment", retry_after_s=5
            )


def silence_refusal(
    matchers: Sequence[SilenceMatcher],
    starts_at: datetime,
    ends_at: datetime,
    created_by: str,
    comment: str,
    now: datetime,
) -> str:
    """Why a silence is not taken; empty if it is."""
    if not matchers:
        return "a silence needs at least one matcher"
    if len(matchers) > MAX_MATCHERS:
        return f"a silence has {len(matchers)} matchers, {MAX_MATCHERS} are allowed"
    if ends_at <= starts_at:
        return "endsAt must be after startsAt"
    if ends_at <= now:
        return f"endsAt {ends_at.isoformat()} is over already"
    if not comment.strip() or not created_by.strip():
        return "a silence needs a comment and its creator: somebody will ask why"
    if len(comment) > MAX_COMMENT:
        return f"the comment has {len(comment)} characters, {MAX_COMMENT} are allowed"
    try:
        read = compiled(matchers)
    except Malformed as error:
        return str(error)
    if matches_all(read, {}):
        return "the matchers match every alert; name at least one value"
    return ""


def _posted(text: str) -> SilenceMatcher:
    try:
        read = parse_matcher(text)
    except Malformed as error:
        raise Rejected(str(error.args[0]), hint=error.hint) from None
    return SilenceMatcher(name=read.name, value=read.value, is_regex=read.is_regex, is_equal=read.is_equal)


def _tried(scope: Scope, now: datetime) -> MaintenanceWindow:
    """A window with that scope, to ask what it would cover."""
    try:
        scope.check()
    except ValueError as error:
        raise Rejected(str(error), hint=getattr(error, "hint", "")) from None
    return MaintenanceWindow(
        id="preview",
        title="",
        owner="",
        comment="",
        spans=(),
        cis=scope.cis,
        descendants=scope.descendants,
        services=scope.services,
        matchers=tuple(_posted(text) for text in scope.matchers),
        updated_at=now,
    )


def _cis_of(window: MaintenanceWindow, engine: Engine) -> tuple[frozenset[str] | None, bool]:
    found = scope(window, engine.topology)
    return (None, False) if found is None else found


def _holding(engine: Engine, kind: HeldKind) -> Counter[str]:
    """Incidents that are held, by the id of what holds them."""
    return Counter(held.id for s in engine.situations.values() for held in s.held if held.kind is kind)


def _silence(active: ActiveSilence, now: datetime, held: Mapping[str, int]) -> SilenceView:
    silence = active.silence
    return SilenceView(
        id=silence.id,
        state="pending" if now < silence.starts_at else "active" if now < silence.ends_at else "expired",
        matchers=tuple(map(str, active.matchers)),
        starts_at=silence.starts_at,
        ends_at=silence.ends_at,
        created_by=silence.created_by,
        comment=silence.comment,
        held=held.get(silence.id, 0),
    )


def _window(active: ActiveWindow, now: datetime, held: Mapping[str, int], engine: Engine) -> WindowView:
    window = active.window
    ahead = [span for span in window.spans if span.ends_at > now]
    cis, cut = _cis_of(window, engine)
    return WindowView(
        id=window.id,
        state="over" if active.is_over(now) else "running" if active.span(now) is not None else "planned",
        title=window.title,
        owner=window.owner,
        comment=window.comment,
        cis=window.cis,
        descendants=window.descendants,
        services=window.services,
        matchers=tuple(map(str, active.matchers)),
        spans=tuple((ahead or list(window.spans[-1:]))[:_SHOWN_SPANS]),
        schedule=window.schedule,
        origin=window.origin,
        scope=0 if cis is None else len(cis),
        cut=cut,
        held=held.get(window.id, 0),
    )


def _incident(situation: Situation, covered: int, engine: Engine) -> HitIncident:
    active = sum(alert.active for alert in engine.members(situation))
    return HitIncident(
        id=situation.id,
        title=situation.title,
        priority=situation.priority,
        covered=covered,
        active=active,
        whole=covered >= active,
        tickets=tuple(ticket.number for ticket in situation.tickets.values() if ticket.number),
    )


def _alert(alert: Alert) -> HitAlert:
    labels = alert.read_labels()
    return HitAlert(
        fingerprint=alert.fingerprint,
        name=labels.get("alertname", "") or next(iter(labels.values()), ""),
        ci=alert.ci,
        severity=alert.severity.word,
        situation=alert.situation,
    )


def matchers_of(alert_labels: Mapping[str, str]) -> tuple[str, ...]:
    """Matchers that cover alerts with exactly these labels, to begin a silence with."""
    return tuple(str(Matcher(name=name, value=value)) for name, value in alert_labels.items())
