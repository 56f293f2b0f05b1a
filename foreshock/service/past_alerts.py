"""Alerts of the past, as Prometheus keeps them in its series ``ALERTS``: for learning, and for trying rules.

Prometheus writes a point for each evaluation while an alert fires. So an alert was there from the first point of a run
to the last one; what is between two points of a range read that are further apart than the step is a pause.

Facts: https://prometheus.io/docs/prometheus/latest/configuration/alerting_rules/ (ALERTS, ``alertstate``), from memory
on 2026-11-22, tested with 2.42. External labels are not in its own series: they are added where they are given.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Protocol
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from foreshock.connect.http import Answer
from foreshock.core.errors import Unavailable

QUERY = 'ALERTS{alertstate="firing"}'
_OURS = ("__name__", "alertstate")
_AT_ONCE = timedelta(days=1)
_FORM = {"Content-Type": "application/x-www-form-urlencoded"}

Labels = tuple[tuple[str, str], ...]


class Api(Protocol):
    def post(self, path: str, *, body: bytes, headers: dict[str, str]) -> Answer: ...


class Run(Struct, frozen=True, order=True):
    """An alert from its start to its end, in seconds since 1970. open: it may have gone on."""

    start: float
    end: float
    labels: Labels
    open: bool = False


class _Found(Struct):
    metric: dict[str, str]
    values: list[tuple[float, str]] = []


class _Data(Struct):
    result: list[_Found] = []


class _Answer(Struct):
    status: str
    error: str = ""
    data: _Data = msgspec.field(default_factory=_Data)


def read(
    api: Api,
    start: datetime,
    end: datetime,
    step: timedelta,
    query: str = QUERY,
    headers: Mapping[str, str] | None = None,
) -> Iterator[Run]:
    """Runs of all alerts in that time, by a day at a time. headers: of every call. Raises Unavailable, Denied,
    Rejected."""
    step_s = step.total_seconds()
    going: dict[Labels, tuple[float, float]] = {}
    first, last = start.timestamp(), end.timestamp()
    while first <= last:
        until = min(last, first + _AT_ONCE.total_seconds() - step_s)
        form = {"query": query, "start": f"{first:.3f}", "end": f"{until:.3f}", "step": f"{step_s:g}"}
        answer = api.post("/api/v1/query_range", body=urlencode(form).encode(), headers={**_FORM, **(headers or {})})
        try:
            found = msgspec.json.decode(answer.body, type=_Answer)
        except msgspec.DecodeError as error:
            raise Unavailable(f"{answer.place} gave no answer to a range query: {error}") from None
        if found.status != "success":
            raise Unavailable(f"{answer.place} answered with {found.status}: {found.error[:300]}")
        yield from _runs(found.data.result, going, step_s)
        first = until + step_s
    for labels, (began, ended) in going.items():
        yield Run(began, ended, labels, open=last - ended < 2 * step_s)


def _runs(found: Iterable[_Found], going: dict[Labels, tuple[float, float]], step_s: float) -> Iterator[Run]:
    """Those that are over; the others stay in ``going``."""
    for each in found:
        labels = tuple(sorted((name, value) for name, value in each.metric.items() if name not in _OURS))
        for at, _ in each.values:
            run = going.get(labels)
            if run is not None and at - run[1] > 1.5 * step_s:
                yield Run(*run, labels)
                run = None
            going[labels] = (at if run is None else run[0], at)


def lines(runs: Iterable[Run], step: timedelta, more: Mapping[str, str]) -> Sequence[bytes]:
    """A stream of Alertmanager alerts, as ``foreshock history import`` reads it, in order of time.

    more: labels that each alert gets, such as the external labels of that Prometheus.
    """
    found: list[tuple[float, bytes]] = []
    for run in runs:
        labels = {**dict(run.labels), **more}
        end = run.end + step.total_seconds()
        alert = {"labels": labels, "startsAt": _text(run.start), "endsAt": _text(end)}
        found.append((run.start, _line(run.start, alert)))
        if not run.open:
            found.append((end, _line(end, alert)))
    return [line for _, line in sorted(found)]


def _line(at: float, alert: object) -> bytes:
    return msgspec.json.encode({"at": _text(at), "alert": alert}) + b"\n"


def _text(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat()
