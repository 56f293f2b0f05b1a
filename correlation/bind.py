"""Which CI an alert is about, found from its labels by the names the topology knows."""

import re
from collections.abc import Iterator, Mapping
from enum import IntEnum
from functools import lru_cache
from sys import intern

from msgspec import Struct

from correlation.settings import BindRule, BindSettings
from foreshock.core.naming import canonical
from foreshock.core.topology import Topology


class Confidence(IntEnum):
    """How sure it is that a CI is the one that was meant, the least first.

    IMPLIED: made up from a label. STRIPPED: only a part of the value, or the value with one of our domains, names it.
    SCOPED: several go by that name, and other labels tell them apart. NAME: it alone goes by that name. ID: its id.
    """

    NONE = 0
    IMPLIED = 1
    STRIPPED = 2
    SCOPED = 3
    NAME = 4
    ID = 5


class Binding(Struct, frozen=True, gc=False):
    """``ci`` is empty where nothing was found. ``how`` names the label and the way, for people; it is one of few words,
    so that many alerts share it. ``peers``: other CIs the alert names, each once, without ``ci``."""

    ci: str
    how: str
    peers: tuple[str, ...] = ()
    confidence: Confidence = Confidence.NONE


UNBOUND = Binding("", "no label names a CI")

_MAX_KNOWN = 16_384  # identities whose binding is kept: some 8 MB
_MAX_CANDIDATES = 16  # of one name, which are told apart; a name that more share means nothing
_MAX_PLACES = 64  # that one candidate is looked for in
_SHOWN = 3  # candidates in a reason
_ID_LABELS = frozenset({"ci", "ci_id", "cmdb_ci", "peer_ci"})
_NAMESPACES = ("namespace", "exported_namespace", "kubernetes_namespace", "k8s_namespace_name", "k8s.namespace.name")
_WORKLOADS = {
    "deployment": "deployment",
    "statefulset": "statefulset",
    "daemonset": "daemonset",
    "replicaset": "replicaset",
    "cronjob": "cronjob",
    "job_name": "job",
    "persistentvolumeclaim": "persistentvolumeclaim",
    "ingress": "ingress",
}
"""Labels of kube-state-metrics, each with the kind of object that it names beside a namespace."""
_KUBERNETES = {**_WORKLOADS, "pod": "pod", "service": "service"}
_MADE_UP = "[bcdfghjklmnpqrstvwxz2456789]"  # what Kubernetes puts at random into names
_PODS = (
    (re.compile(rf"(.+)-{_MADE_UP}{{6,10}}-{_MADE_UP}{{5}}"), ("deployment",)),
    (re.compile(r"(.+)-\d{8,10}-[0-9a-z]{5}"), ("cronjob",)),
    (re.compile(r"(.+)-\d{1,4}"), ("statefulset",)),
    (re.compile(rf"(.+)-{_MADE_UP}{{5}}"), ("daemonset", "job", "replicaset")),
)
_WHEREABOUTS = frozenset({"runs_on", "hosted_on", "located_in", "member_of", "contains", "hosts"})
_ENVIRONMENTS = {
    "prod": "production", "prd": "production", "live": "production", "stage": "staging", "stg": "staging",
    "dev": "development", "tst": "test", "testing": "test",
}  # fmt: skip


def bind(
    labels: Mapping[str, str], topology: Topology, settings: BindSettings, collector: str = "", source: str = ""
) -> Binding:
    """The CI that the most specific label names.

    An exact name wins over one without its port or domain. A name that several CIs share binds nothing, unless labels
    such as ``site`` or ``cluster`` tell them apart: a wrong CI would glue strangers together, which is worse than none.
    With ``implied`` the first value that names nothing at all serves as a CI of its own.
    """
    return _bind(labels, topology, _reading(settings, settings.about(collector, source)))


def named(name: str, topology: Topology, settings: BindSettings) -> str:
    """The one CI that goes by ``name``, as ``bind`` would take it; empty if there is none, or several share it."""
    if (ci := topology.cis.get(name)) is not None:
        return ci.id
    for spelling, _, _ in _spellings(name, settings):
        found = topology.known_as(spelling)
        if found:
            return found[0] if len(found) == 1 else ""
    return intern(_host(name)) if settings.implied else ""


class Binder:
    """``bind`` for very many alerts about one topology: what was found for the same values of the labels that count is
    remembered. Remembered or not, the answer is the same."""

    def __init__(self, topology: Topology, settings: BindSettings) -> None:
        self.topology, self.settings = topology, settings
        self._readings: dict[tuple[str, str], _Reading] = {}
        self._known: dict[tuple[str, ...], Binding] = {}

    def bind(self, labels: Mapping[str, str], collector: str = "", source: str = "") -> Binding:
        reading = self._readings.get((collector, source))
        if reading is None:
            if len(self._readings) >= _MAX_KNOWN:
                self._readings.clear()
            reading = _reading(self.settings, self.settings.about(collector, source))
            self._readings[collector, source] = reading
        tag, counts = reading.tag, reading.counts
        key = (tag, *[part for item in labels.items() if item[0] in counts for part in item])
        found = self._known.get(key)
        if found is None:
            if len(self._known) >= _MAX_KNOWN:
                self._known.clear()
            found = self._known[key] = _bind(labels, self.topology, reading)
        return found


class _Reading(Struct, frozen=True, gc=False):
    """How the labels of one source are read. tag: tells readings apart. counts: all labels that can make a
    difference."""

    settings: BindSettings
    tag: str
    labels: tuple[str, ...]
    peers: tuple[str, ...]
    scope: tuple[str, ...]
    counts: frozenset[str]


@lru_cache(maxsize=256)
def _reading(settings: BindSettings, rule: BindRule | None) -> _Reading:
    labels, peers, scope = (
        getattr(settings, each) if rule is None or getattr(rule, each) is None else getattr(rule, each)
        for each in ("labels", "peers", "scope")
    )
    tag = "" if rule is None else str(settings.sources.index(rule))
    return _Reading(settings, tag, labels, peers, scope, frozenset({*labels, *peers, *scope, *_NAMESPACES}))


def _bind(labels: Mapping[str, str], topology: Topology, reading: _Reading) -> Binding:
    found = _first_named(labels, topology, reading)
    peers: dict[str, None] = {}
    for label in reading.peers:
        if value := labels.get(label):
            peers[named(value, topology, reading.settings)] = None
    if not peers:
        return found
    peers.pop(found.ci, None)
    peers.pop("", None)
    return Binding(found.ci, found.how, tuple(peers), found.confidence) if peers else found


def _first_named(labels: Mapping[str, str], topology: Topology, reading: _Reading) -> Binding:
    implied = implied_by = shared = ""
    namespace = next((value for label in _NAMESPACES if (value := labels.get(label))), "")
    for label in reading.labels:
        value = labels.get(label)
        if not value or (label in _WORKLOADS and not namespace):
            continue
        if label in _ID_LABELS and (ci := topology.cis.get(value)) is not None:
            return Binding(ci.id, intern(f"label {label}"), (), Confidence.ID)
        for spelling, how, stripped in _tries(label, value, namespace, reading.settings):
            ids = topology.known_as(spelling)
            if len(ids) == 1:
                return Binding(ids[0], intern(f"label {label}{how}"), (), _confidence(ids[0], spelling, stripped))
            if ids:
                left, by = _told_apart(ids, labels, topology, reading.scope)
                if len(left) == 1:
                    return Binding(left[0], intern(f"label {label}{how}, by {by}"), (), Confidence.SCOPED)
                shared = shared or f"{label}={value[:100]}{how} names {len(left)} CIs: {_listed(left)}"
                break
        else:
            if not implied:
                implied_by = label
                implied = f"{namespace}/{_WORKLOADS[label]}/{value}" if label in _WORKLOADS else _host(value)
    if implied and reading.settings.implied:
        how = intern(f"label {implied_by}, not in the topology")
        return Binding(intern(implied), how, (), Confidence.IMPLIED)
    return Binding("", shared) if shared else UNBOUND


def _confidence(ci: str, spelling: str, stripped: bool) -> Confidence:
    if stripped:
        return Confidence.STRIPPED
    return Confidence.ID if ci == spelling or canonical(ci) == spelling else Confidence.NAME


def _listed(ids: tuple[str, ...]) -> str:
    more = len(ids) - _SHOWN
    return ", ".join(ids[:_SHOWN]) + (f" and {more:,} more" if more > 0 else "")


# ---- spellings ------------------------------------------------------------------------------------------------------


def _tries(label: str, value: str, namespace: str, settings: BindSettings) -> Iterator[tuple[str, str, bool]]:
    """What a value may mean, the surest first: canonical spelling, the way to it in words, and whether it is less, or
    more, than what the value says."""
    kind = _KUBERNETES.get(label) if namespace else None
    if kind is not None:
        yield canonical(f"{namespace}/{kind}/{value}"), " in its namespace", False
    if label in _WORKLOADS:
        return
    yield from _spellings(value, settings)
    if kind == "pod":
        for pattern, kinds in _PODS:
            if match := pattern.fullmatch(value):
                for workload in kinds:
                    yield canonical(f"{namespace}/{workload}/{match[1]}"), ", its workload", True


def _spellings(value: str, settings: BindSettings) -> Iterator[tuple[str, str, bool]]:
    whole = canonical(value)
    yield whole, "", False
    host = _host(value)
    if host != value:
        host = canonical(host)
        yield host, " without its port" if "://" not in value else ", its host", False
    else:
        host = whole
    if not host or ":" in host or host.replace(".", "").isdigit():
        return
    for domain in settings.domains:
        if host.endswith(domain) and host[-len(domain) - 1 : -len(domain)] == ".":
            yield host[: -len(domain) - 1], " without its domain", True
    if "." in host:
        if settings.strip_domain:
            yield host.partition(".")[0], " without its domain", True
    else:
        for domain in settings.domains:
            yield f"{host}.{domain}", " with our domain", True


def _host(value: str) -> str:
    """host:9100, [::1]:9100 and https://host:9100/path without all but the host; anything else as it is."""
    scheme, found, rest = value.partition("://")
    if found and scheme.isalnum():
        value = re.split("[/?#]", rest, maxsplit=1)[0].rpartition("@")[2] or value
    host, colon, port = value.rpartition(":")
    if not colon or not port.isdigit() or (":" in host and not host.endswith("]")):
        return value
    return host.removeprefix("[").removesuffix("]")


# ---- scope ----------------------------------------------------------------------------------------------------------


def _told_apart(
    ids: tuple[str, ...], labels: Mapping[str, str], topology: Topology, scope: tuple[str, ...]
) -> tuple[tuple[str, ...], str]:
    """Those of the candidates that are where the alert says it is, and the label that told. What no candidate agrees
    with says nothing: the topology does not know of it."""
    by = ""
    if len(ids) > _MAX_CANDIDATES:
        return ids, by
    for label in scope:
        value = labels.get(label)
        if not value:
            continue
        place = canonical(value)
        agree = tuple(id for id in ids if _stands_in(id, place, topology))
        if agree and len(agree) < len(ids):
            ids, by = agree, f"label {label}"
        if len(ids) == 1:
            break
    return ids, by


def _stands_in(id: str, place: str, topology: Topology) -> bool:
    """Whether that is its environment, a part of its own path-like name, or a place that it stands in, runs on or
    belongs to, however far."""
    ci = topology.cis[id]
    environment = canonical(ci.environment)
    if environment and _ENVIRONMENTS.get(environment, environment) == _ENVIRONMENTS.get(place, place):
        return True
    if any("/" in name and place in canonical(name).split("/")[:-1] for name in (id, ci.name, *ci.aliases)):
        return True
    places = set(topology.known_as(place))
    return bool(places) and not places.isdisjoint(_places_of(id, topology))


def _places_of(id: str, topology: Topology) -> list[str]:
    found = {id: None}
    for here in (todo := [id]):
        for there, (_, kind) in topology.steps_up(here).items():
            if kind in _WHEREABOUTS and there not in found and len(found) <= _MAX_PLACES:
                found[there] = None
                todo.append(there)
    return todo[1:]
