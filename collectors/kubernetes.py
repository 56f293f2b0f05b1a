"""Warnings and the conditions of nodes in a Kubernetes cluster, by watches of its API.

Facts:    https://kubernetes.io/docs/reference/using-api/api-concepts/#efficient-detection-of-changes (watch,
          resourceVersion, bookmarks, 410), core/v1 Event and NodeCondition, read 2026-11-22.
Delivery: at least once. Each visit watches for a second from the version where the last one ended, which is kept once
          its record is on disk; a version that the server has forgotten (410) means that all is listed again.
Recovery: conditions of nodes are reported: an alert is over when its condition is well again, or the node is gone. A
          warning has no end: it is over when it was not seen again for 35 minutes, in which Kubernetes repeats what
          goes on.
Limits:   the conditions of pods are not watched, warnings tell of them (BackOff, Unhealthy, FailedScheduling, …). An
          alert is a reason on an object, of pods by container; a pod that is replaced is another object. Warnings are
          kept by Kubernetes for an hour, so a longer break loses some.
Needs:    an account that may list and watch ``events`` and ``nodes`` in the whole cluster (a ClusterRole with ``get``,
          ``list`` and ``watch``).
"""

from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from typing import Any

import msgspec
from msgspec import Raw, Struct
from pydantic import Field

from foreshock.connect.vendors.kubernetes import Kubernetes, KubernetesAccess, connect
from foreshock.core.cmdb import Expired
from foreshock.core.contracts import Collector, Page, Poll, PollConfig
from foreshock.core.errors import Denied, Malformed
from foreshock.core.model import Event
from foreshock.core.payload import Object, alert, moment, needed, part, parts, text
from foreshock.core.quantities import Duration, parse_duration

HOLDS = timedelta(minutes=35)
"""Longer than client-go leaves between two reports of a series that goes on (30 minutes)."""
MAX_EVENTS = 2000
"""In one record."""

_EVENTS, _NODES = "/api/v1/events", "/api/v1/nodes"
_WARNINGS = "type=Warning"
_LABELS = {
    "Pod": "pod",
    "Node": "node",
    "Deployment": "deployment",
    "StatefulSet": "statefulset",
    "DaemonSet": "daemonset",
    "ReplicaSet": "replicaset",
    "CronJob": "cronjob",
    "Job": "job_name",
    "PersistentVolumeClaim": "persistentvolumeclaim",
    "Ingress": "ingress",
    "Service": "service",
}
_CONDITIONS = {
    "Ready": ("NodeNotReady", "critical"),
    "NetworkUnavailable": ("NodeNetworkUnavailable", "major"),
    "MemoryPressure": ("NodeMemoryPressure", "warning"),
    "DiskPressure": ("NodeDiskPressure", "warning"),
    "PIDPressure": ("NodePIDPressure", "warning"),
}


class KubernetesConfig(PollConfig, KubernetesAccess):
    every: Duration = Field(
        default=parse_duration("10s"), ge=timedelta(seconds=2), le=timedelta(minutes=30), description="how often to ask"
    )
    cluster: str = Field(default="", max_length=200, description="name of the cluster, for the label of that name")
    nodes: bool = Field(default=True, description="whether conditions of nodes are watched")


class _Cursor(Struct):
    """events, nodes: versions to go on from. bad: conditions that were told of, as ``NODE TYPE``, with their items."""

    events: str = ""
    nodes: str = ""
    bad: dict[str, Object] = {}


class Cluster:
    """Polls one cluster. reach: makes a client; a token in a file is read again by making another one."""

    def __init__(self, config: KubernetesConfig, reach: Callable[[], Kubernetes]) -> None:
        self._config, self._reach = config, reach
        self._client = reach()

    def fetch(self, cursor: str, now: datetime) -> Page:
        try:
            return self._visit(cursor, now)
        except Denied:  # the token of a pod is another one within the hour
            self._client = self._reach()
            return self._visit(cursor, now)

    def _visit(self, cursor: str, now: datetime) -> Page:
        known = msgspec.json.decode(cursor, type=_Cursor) if cursor else _Cursor()
        events = list(self._warnings(known, now))
        nodes = list(self._conditions(known, now)) if self._config.nodes else []
        about = {"cluster": self._config.cluster}
        payloads = [
            msgspec.json.encode({**about, name: items[start : start + MAX_EVENTS]})
            for name, items in (("events", events), ("nodes", nodes))
            for start in range(0, len(items), MAX_EVENTS)
        ]
        return Page(payloads=tuple(payloads), cursor=msgspec.json.encode(known).decode())

    def _warnings(self, known: _Cursor, now: datetime) -> Iterator[Object]:
        try:
            if known.events:
                seen = self._client.watch(_EVENTS, known.events, selector=_WARNINGS)
                known.events = seen.version
                yield from (_trimmed(one) for word, one in seen.changes if word != "DELETED")
                return
        except Expired:
            pass  # too much happened, or we were away for too long: what is known by now
        found, known.events = self._all(_EVENTS, _WARNINGS)
        for one in found:
            last = _last(one)
            if last is None or now - last < HOLDS:
                yield _trimmed(one)

    def _conditions(self, known: _Cursor, now: datetime) -> Iterator[Object]:
        changes: list[tuple[str, Any]] | None = None
        if known.nodes:
            try:
                seen = self._client.watch(_NODES, known.nodes)
                changes, known.nodes = seen.changes, seen.version
            except Expired:
                pass
        if changes is None:
            found, known.nodes = self._all(_NODES, "")
            here = {text(one, "metadata", "name") for one in found}
            changes = [("ADDED", one) for one in found]
            gone = {key.partition(" ")[0] for key in known.bad} - here
            changes += [("DELETED", {"metadata": {"name": name}}) for name in sorted(gone)]
        for word, node in changes:
            yield from _told(known.bad, node, gone=word == "DELETED", now=now)

    def _all(self, path: str, selector: str) -> tuple[list[Any], str]:
        """All there is, and the version as of which."""
        found: list[Any] = []
        token = version = ""
        while True:
            page = self._client.page(path, token, selector=selector)
            found += page.items
            token, version = page.next, page.version
            if not token:
                return found, version


def _told(bad: dict[str, Object], node: Object, *, gone: bool, now: datetime) -> Iterator[Object]:
    """Conditions of a node that are news; ``bad`` follows them."""
    name = text(node, "metadata", "name")
    shown = {} if gone else {text(one, "type"): one for one in parts(node, "status", "conditions")}
    for kind in _CONDITIONS:
        key, condition = f"{name} {kind}", shown.get(kind)
        if condition is not None and _is_bad(kind, text(condition, "status")):
            item = {
                "node": name,
                "type": kind,
                "bad": True,
                "since": text(condition, "lastTransitionTime"),
                "reason": text(condition, "reason"),
                "message": text(condition, "message")[:1000],
            }
            if bad.get(key, {}).get("since") != item["since"]:
                bad[key] = item
                yield item
        elif (told := bad.pop(key, None)) is not None:
            ended_at = text(condition, "lastTransitionTime") if condition is not None else now.isoformat()
            yield {**told, "bad": False, "since": ended_at, "message": "" if condition is not None else "it is gone"}


def _is_bad(kind: str, status: str) -> bool:
    """Ready must be True; nothing else may be. Unknown is bad where the node should say that it is well."""
    return status in ("False", "Unknown") if kind == "Ready" else status == "True"


def _last(event: Object) -> datetime | None:
    return (
        moment(event, "series", "lastObservedTime")
        or moment(event, "lastTimestamp")
        or moment(event, "eventTime")
        or moment(event, "firstTimestamp")
    )


def _trimmed(event: Object) -> Object:
    """Without what is only for programs."""
    kept = ("involvedObject", "reason", "message", "type", "count", "series", "eventTime", "firstTimestamp")
    shown = {key: event[key] for key in (*kept, "lastTimestamp", "source", "reportingComponent") if event.get(key)}
    return {**shown, "metadata": {"namespace": text(event, "metadata", "namespace")}}


# ---- payload to events ----------------------------------------------------------------------------------------------


class _Payload(Struct):
    cluster: str = ""
    events: list[Raw] = []
    nodes: list[Raw] = []


class Warned(Struct):
    """A warning, as Kubernetes has it."""

    cluster: str
    event: Object


class Condition(Struct):
    """A condition of a node that began, or is over."""

    cluster: str
    found: Object


_PAYLOAD, _OBJECT = msgspec.json.Decoder(_Payload), msgspec.json.Decoder(Object)


def decode(payload: bytes) -> list[Warned | Condition | Malformed]:
    try:
        read = _PAYLOAD.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"the payload cannot be read: {error}") from None
    if not (read.events or read.nodes):
        raise Malformed("there are neither events nor conditions of nodes")
    items: list[Warned | Condition | Malformed] = []
    for raws, kind in ((read.events, Warned), (read.nodes, Condition)):
        for raw in raws:
            try:
                items.append(kind(read.cluster, _OBJECT.decode(raw)))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                items.append(Malformed(str(error), payload=bytes(raw)[:1000]))
    return items


def translate(item: Warned | Condition, received_at: datetime) -> Event:
    """Raises Malformed where nothing names the reason and the object, or the node and its condition."""
    return _warning(item, received_at) if isinstance(item, Warned) else _condition(item, received_at)


def _warning(item: Warned, received_at: datetime) -> Event:
    event, about = item.event, part(item.event, "involvedObject")
    kind = needed(event, "involvedObject", "kind")
    label = _LABELS.get(kind, "object")
    return alert(
        {
            label: needed(event, "involvedObject", "name"),
            "alertname": needed(event, "reason"),
            "object_kind": kind if label == "object" else "",
            "namespace": text(about, "namespace"),
            "container": _container(text(about, "fieldPath")),
            "cluster": item.cluster,
        },
        received_at,
        annotations={
            "summary": text(event, "message"),
            "reported_by": text(event, "reportingComponent") or text(event, "source", "component"),
            "host": text(event, "source", "host"),
            "seen": text(event, "series", "count") or text(event, "count"),
        },
        severity=text(event, "type").lower(),
        starts_at=moment(event, "firstTimestamp") or moment(event, "eventTime"),
        holds=HOLDS,
    )


def _container(path: str) -> str:
    """``spec.containers{web}`` says which."""
    _, brace, rest = path.partition("{")
    return rest.removesuffix("}") if brace else ""


def _condition(item: Condition, received_at: datetime) -> Event:
    found = item.found
    kind = needed(found, "type")
    name, severity = _CONDITIONS.get(kind, (f"Node{kind}", "warning"))
    since, over = moment(found, "since"), found.get("bad") is False
    return alert(
        {"alertname": name, "node": needed(found, "node"), "cluster": item.cluster},
        received_at,
        annotations={"summary": text(found, "message"), "reason": text(found, "reason")},
        severity=severity,
        starts_at=None if over else since,
        over=over,
        ended_at=since,
    )


def _build(name: str, config: KubernetesConfig) -> Cluster:
    from foreshock.connect.http import Http

    return Cluster(config, lambda: connect(config, name, f"collectors.{name}", Http))


COLLECTOR = Collector(
    kind="kubernetes",
    title="Warnings and conditions of nodes in Kubernetes",
    facts="Kubernetes API, watches of core/v1",
    decode=decode,
    translate=translate,
    sample="kubernetes-firing.json",
    poll=Poll(config=KubernetesConfig, build=_build),
)
