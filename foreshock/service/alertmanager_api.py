"""What Alertmanager answers under /api/v2, so that amtool, Grafana, karma and scripts talk to Foreshock unchanged.

Facts: OpenAPI document of Alertmanager's API v2 (prometheus/alertmanager, api/v2/openapi.yaml, read 2026-11-22).
Where it speaks of receivers there is one, ``foreshock``; alert groups are our open situations.
"""

import uuid
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import msgspec
from fastapi import APIRouter, Depends, Query, Request, Response
from fastapi.concurrency import run_in_threadpool
from msgspec import Raw, Struct

from correlation.suppression.silences import ActiveSilence
from correlation.variants import whole
from foreshock import __version__
from foreshock.core.contracts import NewRecord, RecordKind
from foreshock.core.errors import Malformed, Unavailable
from foreshock.core.matchers import Matcher, matches_all, parse_matcher
from foreshock.core.model import Alert, Held, HeldKind, Moment, Silence, SilenceMatcher, SituationState
from foreshock.service.engine import Engine
from foreshock.service.guard import refuse_cross_site
from foreshock.service.inbox import Inbox
from foreshock.service.quiet import silence_refusal
from foreshock.service.records import OperatorRecord
from foreshock.service.runner import Runner

RECEIVER = {"name": "foreshock"}
_NO_EXPIRY = timedelta(minutes=5)
_CONFIG = """\
# Foreshock is not configured by routes; see `foreshock init`.
route:
  receiver: foreshock
receivers:
- name: foreshock
"""


class AlertStatus(Struct, frozen=True, rename="camel"):
    state: str
    silenced_by: tuple[str, ...]
    inhibited_by: tuple[str, ...] = ()
    muted_by: tuple[str, ...] = ()


class GettableAlert(Struct, frozen=True, kw_only=True, rename="camel"):
    """An alert as Alertmanager shows it; labels and annotations go out as they came in."""

    annotations: Raw
    ends_at: datetime
    fingerprint: str
    receivers: tuple[dict[str, str], ...]
    starts_at: datetime
    status: AlertStatus
    updated_at: datetime
    generator_url: str = msgspec.field(name="generatorURL")
    labels: Raw


Choose = Callable[[Iterable[Alert]], list[GettableAlert]]
"""Of these alerts those that were asked for, as they are shown."""


class SilenceState(Struct, frozen=True):
    state: str


class GettableSilence(Struct, frozen=True, kw_only=True, rename="camel"):
    id: str
    status: SilenceState
    updated_at: datetime
    annotations: dict[str, str]
    comment: str
    created_by: str
    ends_at: datetime
    matchers: tuple[SilenceMatcher, ...]
    starts_at: datetime


class PostableSilence(Struct, frozen=True, kw_only=True, rename="camel"):
    matchers: tuple[SilenceMatcher, ...]
    starts_at: Moment
    ends_at: Moment
    created_by: str
    comment: str
    id: str = ""
    annotations: dict[str, str] = {}


_POSTED_SILENCE = msgspec.json.Decoder(PostableSilence)


def alertmanager_api(
    runner: Runner,
    inbox: Inbox,
    *,
    actor: Callable[[Request], str],
    clock: Callable[[], datetime],
    started_at: datetime,
) -> APIRouter:
    """The routes. Every answer includes everything acknowledged before the question."""
    router = APIRouter(prefix="/api/v2", tags=["Alertmanager-compatible"])
    _add_status(router, started_at)
    _add_alerts(router, runner, inbox)
    _add_silences(router, runner, inbox, actor, clock)
    return router


def _up_to_date(runner: Runner, inbox: Inbox) -> None:
    """Everything acknowledged before the question is reflected. Raises Unavailable where that takes too long."""
    if not runner.caught_up(inbox.last):
        raise Unavailable(f"{runner.lag} records are not reflected yet", hint="ask again in a moment", retry_after_s=5)


def _add_status(router: APIRouter, started_at: datetime) -> None:
    @router.get("/status")
    def status() -> Response:
        version = {
            "version": __version__,
            "revision": "",
            "branch": "",
            "buildUser": "",
            "buildDate": "",
            "goVersion": "",
        }
        return _json(
            {
                "cluster": {"status": "disabled", "peers": []},
                "versionInfo": version,
                "config": {"original": _CONFIG},
                "uptime": started_at,
            }
        )

    @router.get("/receivers")
    def receivers() -> Response:
        return _json([RECEIVER])


def _add_alerts(router: APIRouter, runner: Runner, inbox: Inbox) -> None:
    def answer(filter: list[str], receiver: str, wanted: Wanted, of: Callable[[Engine, Choose], list[Any]]) -> Response:
        """What ``of`` makes of the engine and of a way to choose among alerts; nothing for another receiver."""
        matchers = _matchers(filter)
        if matchers is None or not _receiver(receiver):
            return _bad(f"cannot read {filter!r}" if matchers is None else f"cannot read the expression {receiver!r}")
        _up_to_date(runner, inbox)
        if not _matches_receiver(receiver):
            return _json([])
        with runner.looking() as engine:
            return _json(of(engine, partial(_choose, engine, matchers=matchers, wanted=wanted)))

    @router.get("/alerts")
    def alerts(
        active: bool = True,
        silenced: bool = True,
        inhibited: bool = True,
        unprocessed: bool = True,
        filter: list[str] = Query(default=[]),  # noqa: B008 (FastAPI reads defaults this way)
        receiver: str = "",
    ) -> Response:
        def of(engine: Engine, choose: Choose) -> list[GettableAlert]:
            return choose(map(whole, engine.alerts.values()))

        return answer(filter, receiver, Wanted(active=active, silenced=silenced, inhibited=inhibited), of)

    @router.get("/alerts/groups")
    def groups(
        active: bool = True,
        silenced: bool = True,
        inhibited: bool = True,
        muted: bool = True,
        filter: list[str] = Query(default=[]),  # noqa: B008
        receiver: str = "",
    ) -> Response:
        def of(engine: Engine, choose: Choose) -> list[Any]:
            live = (each for each in engine.situations.values() if each.state is SituationState.OPEN)
            chosen = ((situation.id, choose(engine.members(situation))) for situation in live)
            return [
                {"labels": {"situation": id}, "routeLabels": {}, "receiver": RECEIVER, "alerts": alerts}
                for id, alerts in chosen
                if alerts and (muted or any(alert.status.state == "active" for alert in alerts))
            ]

        return answer(filter, receiver, Wanted(active=active, silenced=silenced, inhibited=inhibited), of)


def _add_silences(
    router: APIRouter,
    runner: Runner,
    inbox: Inbox,
    actor: Callable[[Request], str],
    clock: Callable[[], datetime],
) -> None:
    @router.get("/silences")
    def silences(
        filter: list[str] = Query(default=[]),  # noqa: B008
        active: bool = True,
        expired: bool = True,
        pending: bool = True,
    ) -> Response:
        matchers = _matchers(filter)
        if matchers is None:
            return _bad(f"cannot read {filter!r}")
        _up_to_date(runner, inbox)
        wanted = {state for state, yes in (("active", active), ("expired", expired), ("pending", pending)) if yes}
        with runner.looking() as engine:
            known = list(engine.suppression.silences.values())
        found = [_silence(held.silence, clock()) for held in known if _about(held, matchers)]
        found.sort(key=lambda s: (("active", "pending", "expired").index(s.status.state), s.ends_at))
        return _json([silence for silence in found if silence.status.state in wanted])

    @router.post("/silences", dependencies=[Depends(refuse_cross_site)])
    async def set_silence(request: Request) -> Response:
        who = actor(request)
        try:
            posted = _POSTED_SILENCE.decode(await request.body())
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            return _bad(f"the silence cannot be read: {error}")
        now = clock()
        refused = silence_refusal(
            posted.matchers, posted.starts_at, posted.ends_at, posted.created_by, posted.comment, now
        )
        if refused:
            return _bad(refused)
        if posted.id:
            await run_in_threadpool(_up_to_date, runner, inbox)
        with runner.looking() as engine:
            known = engine.suppression.silences.get(posted.id)
        if posted.id and known is None:
            return _json(f"silence {posted.id} is not known", status=404)
        same = known is not None and known.silence.ends_at > now and known.silence.matchers == posted.matchers
        silence = Silence(
            id=posted.id if same else str(uuid.uuid4()),
            matchers=posted.matchers,
            # An active silence keeps its beginning; one that should have begun already begins now.
            starts_at=known.silence.starts_at
            if same and known and known.silence.starts_at <= now
            else max(posted.starts_at, now),
            ends_at=posted.ends_at,
            created_by=posted.created_by,
            comment=posted.comment,
            updated_at=now,
            annotations=posted.annotations,
        )
        if known is not None and not same and known.silence.ends_at > now:
            await _append(inbox, OperatorRecord(expire_silence=known.silence.id), who)
        await _append(inbox, OperatorRecord(set_silence=silence), who)
        return _json({"silenceID": silence.id})

    @router.get("/silence/{id}")
    def silence(id: str) -> Response:
        _up_to_date(runner, inbox)
        with runner.looking() as engine:
            held = engine.suppression.silences.get(id)
        return (
            _json(f"silence {id} is not known", status=404) if held is None else _json(_silence(held.silence, clock()))
        )

    @router.delete("/silence/{id}", dependencies=[Depends(refuse_cross_site)])
    async def expire_silence(id: str, request: Request) -> Response:
        who = actor(request)
        await run_in_threadpool(_up_to_date, runner, inbox)
        with runner.looking() as engine:
            held = engine.suppression.silences.get(id)
        if held is None:
            return _json(f"silence {id} is not known", status=404)
        await _append(inbox, OperatorRecord(expire_silence=id), who)
        return Response(status_code=200)


class Wanted(Struct, frozen=True, kw_only=True):
    """Which alerts an answer should hold, as the parameters of the same names say."""

    active: bool = True
    silenced: bool = True
    inhibited: bool = True

    def holds(self, status: AlertStatus) -> bool:
        return (
            (self.active or status.state != "active")
            and (self.silenced or not status.silenced_by)
            and (self.inhibited or not status.inhibited_by)
        )


def _choose(engine: Engine, alerts: Iterable[Alert], matchers: list[Matcher], wanted: Wanted) -> list[GettableAlert]:
    chosen = []
    for alert in alerts:
        if not alert.firing or (matchers and not matches_all(matchers, alert.read_labels())):
            continue
        status = _status(engine.suppression.quieted(alert, engine.now))
        if not wanted.holds(status):
            continue
        chosen.append(
            GettableAlert(
                annotations=Raw(alert.raw_annotations()),
                ends_at=alert.expires_at or alert.last_seen + _NO_EXPIRY,
                fingerprint=alert.fingerprint,
                receivers=(RECEIVER,),
                starts_at=alert.starts_at,
                status=status,
                updated_at=alert.last_seen,
                generator_url=alert.url,
                labels=Raw(alert.labels),
            )
        )
    return chosen


def _status(held: Sequence[Held]) -> AlertStatus:
    """Maintenance windows are what Alertmanager knows as time intervals that mute."""

    def by(kind: HeldKind) -> tuple[str, ...]:
        return tuple(one.id for one in held if one.kind is kind)

    return AlertStatus(
        "suppressed" if held else "active", by(HeldKind.SILENCE), by(HeldKind.INHIBITION), by(HeldKind.MAINTENANCE)
    )


def _matchers(filters: list[str]) -> list[Matcher] | None:
    try:
        return [parse_matcher(text) for text in filters]
    except Malformed:
        return None


def _receiver(expression: str) -> bool:
    try:
        Matcher(name="receiver", value=expression, is_regex=True)
    except Malformed:
        return False
    return True


def _matches_receiver(expression: str) -> bool:
    return not expression or Matcher(name="receiver", value=expression, is_regex=True).matches(
        {"receiver": RECEIVER["name"]}
    )


def _about(held: ActiveSilence, matchers: list[Matcher]) -> bool:
    """A filter finds a silence that has a matcher on the same label with a value it accepts."""
    return all(
        any(m.name == own.name and m.matches({own.name: own.value}) for own in held.silence.matchers) for m in matchers
    )


def _silence(silence: Silence, now: datetime) -> GettableSilence:
    state = "pending" if now < silence.starts_at else "active" if now < silence.ends_at else "expired"
    return GettableSilence(
        id=silence.id,
        status=SilenceState(state),
        updated_at=silence.updated_at,
        annotations=silence.annotations,
        comment=silence.comment,
        created_by=silence.created_by,
        ends_at=silence.ends_at,
        matchers=silence.matchers,
        starts_at=silence.starts_at,
    )


async def _append(inbox: Inbox, record: OperatorRecord, actor: str) -> None:
    await inbox.append(NewRecord(kind=RecordKind.OPERATOR, body=msgspec.json.encode(record), source="api", actor=actor))


def _json(value: Any, *, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status_code=status, media_type="application/json")


def _bad(reason: str) -> Response:
    return _json(reason, status=400)
