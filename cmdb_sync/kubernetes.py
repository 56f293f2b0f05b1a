"""Nodes, workloads, services, routes and volumes of a Kubernetes cluster.

Facts:    kubernetes.io API reference v1 (core, apps, batch, networking, gateway.networking.k8s.io), "API concepts" and
          "Labels and selectors", read 2026-11-22; read against kube-apiserver 1.20 and the official client 37.0.
Delivery: the whole each time, by kind and by pages of 500 objects. A watch is not used: which workload a pod, a
          service's selector or a claim belongs to follows from several objects together, so one event alone does not
          tell which relationships go, and a server forgets events within minutes. 5,000 pods are 10 requests.
Recovery: a list that grew too old while it was read (410) begins anew; what was deleted is missing from the next whole.
Limits:   objects that are not listed below, and pods that have ended, are left out. Pods count for their workload
          (Deployment, StatefulSet, DaemonSet, CronJob, or whatever owns them); with `pods` each is a CI of its own.
Needs:    a service account, or a user with a client certificate, that may list the kinds of `resources`, and
          replicasets and jobs; nothing else.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct
from pydantic import Field

from foreshock.connect.cmdb import criticality, flaw, read_cursor, text, write_cursor
from foreshock.connect.vendors.kubernetes import Kubernetes, KubernetesAccount, connect
from foreshock.core.cmdb import CmdbPage, CmdbParts, Expired, Flaw, Identifier, IdType, Item, Kind, SourceKind, Tie
from foreshock.core.contracts import Finding
from foreshock.core.errors import Denied, Malformed, Missing, Rejected

CLUSTER = "cluster"
"""Id of the cluster itself."""
PART_OF = "app.kubernetes.io/part-of"
_COMPONENT = "app.kubernetes.io/component"
_ZONES = ("topology.kubernetes.io/region", "topology.kubernetes.io/zone")
_LIVE_PODS = "status.phase!=Succeeded,status.phase!=Failed"
_DOMAIN = "cluster.local"
"""Where nobody set another one (kubeadm, "networking.dnsDomain"); aliases only, so a wrong one binds nothing."""

KINDS: Mapping[str, Kind] = {
    "Node": Kind.SERVER,
    "Namespace": Kind.NAMESPACE,
    "PersistentVolume": Kind.STORAGE,
    "PersistentVolumeClaim": Kind.STORAGE,
    "Service": Kind.SERVICE,
    "Ingress": Kind.SERVICE,
    "HTTPRoute": Kind.SERVICE,
    "Deployment": Kind.APPLICATION,
    "StatefulSet": Kind.APPLICATION,
    "DaemonSet": Kind.APPLICATION,
    "CronJob": Kind.APPLICATION,
    "ReplicaSet": Kind.APPLICATION,
    "Job": Kind.APPLICATION,
    "Pod": Kind.CONTAINER,
}
# Values of the recommended label app.kubernetes.io/component that say what a workload is.
_COMPONENTS = {
    "database": Kind.DATABASE, "db": Kind.DATABASE, "cache": Kind.DATABASE,
    "queue": Kind.QUEUE, "message-queue": Kind.QUEUE, "broker": Kind.QUEUE,
}  # fmt: skip
# Of node.spec.providerID, by scheme: the machine is one of a cloud or hypervisor. How the id reads elsewhere: the last
# part (i-0abc…), all parts, or the whole path (Azure's resource id). cloud-provider documentation of each.
_CLOUDS: Mapping[str, Callable[[str], str]] = {
    "aws": lambda path: path.rpartition("/")[2],
    "gce": lambda path: path.strip("/"),
    "azure": lambda path: path.lower(),
    "openstack": lambda path: path.rpartition("/")[2],
    "vsphere": lambda path: path.rpartition("/")[2],
    "digitalocean": lambda path: path.strip("/"),
    "hcloud": lambda path: path.strip("/"),
    "oci": lambda path: path.strip("/"),
    "ibm": lambda path: path.strip("/"),
}

ResourceName = Literal[
    "namespaces",
    "nodes",
    "persistentvolumes",
    "persistentvolumeclaims",
    "services",
    "deployments",
    "statefulsets",
    "daemonsets",
    "cronjobs",
    "pods",
    "ingresses",
    "httproutes",
]


class KubernetesConfig(KubernetesAccount):
    cluster: str = Field(
        min_length=1,
        max_length=100,
        description="what the cluster is called here; names within it are unique only with this",
        examples=["prod-eu"],
    )
    namespaces: tuple[str, ...] = Field(
        default=(), description="only these are read, each by itself, so that a Role in each will do; empty: all"
    )
    resources: tuple[ResourceName, ...] = Field(
        default=(),
        description="what is read, for example [nodes, deployments, pods]; empty: all that there is of namespaces, "
        "nodes, persistentvolumes, persistentvolumeclaims, services, deployments, statefulsets, daemonsets, cronjobs, "
        "pods, ingresses and httproutes",
    )
    pods: bool = Field(default=False, description="each running pod is a CI of its own beside its workload")
    kinds: dict[str, str] = Field(
        default_factory=dict,
        description="kinds of Kubernetes in our words or yours, for example {Service: api, Rollout: application}",
    )
    environment: str = Field(default="", description="environment of all that no label says otherwise")
    environment_labels: tuple[str, ...] = Field(
        default=(), description="labels or annotations of an object, else of its namespace, that name the environment"
    )
    owner_labels: tuple[str, ...] = Field(
        default=(),
        description="labels or annotations of an object, else of its namespace, that name the team",
        examples=[["team"]],
    )
    criticality_labels: tuple[str, ...] = Field(
        default=(), description="labels or annotations that say 1 (most) to 4, or critical, high, medium, low"
    )


# ---- what is read of each object ------------------------------------------------------------------------------------


class _Owner(Struct, frozen=True):
    kind: str
    name: str
    controller: bool | None = None


class _Meta(Struct, frozen=True, rename="camel"):
    name: str
    namespace: str = ""
    uid: str = ""
    labels: dict[str, str] | None = None
    annotations: dict[str, str] | None = None
    owner_references: list[_Owner] | None = None

    @property
    def controller(self) -> tuple[str, str] | None:
        """Kind and name of what looks after it."""
        return next(((one.kind, one.name) for one in self.owner_references or () if one.controller), None)


class _Any(Struct, frozen=True):
    metadata: _Meta


_M = TypeVar("_M", bound=_Any)


class _Address(Struct, frozen=True):
    type: str
    address: str


class _NodeInfo(Struct, frozen=True):
    system_uuid: str = msgspec.field(default="", name="systemUUID")


class _NodeStatus(Struct, frozen=True, rename="camel"):
    addresses: list[_Address] | None = None
    node_info: _NodeInfo | None = None


class _NodeSpec(Struct, frozen=True):
    provider_id: str = msgspec.field(default="", name="providerID")


class _Node(_Any, frozen=True):
    spec: _NodeSpec = _NodeSpec()
    status: _NodeStatus = _NodeStatus()


class _Labelled(Struct, frozen=True):
    labels: dict[str, str] | None = None


class _Template(Struct, frozen=True):
    metadata: _Labelled | None = None


class _JobSpec(Struct, frozen=True):
    template: _Template | None = None


class _JobTemplate(Struct, frozen=True):
    spec: _JobSpec | None = None


class _WorkloadSpec(Struct, frozen=True, rename="camel"):
    template: _Template | None = None
    job_template: _JobTemplate | None = None


class _Workload(_Any, frozen=True):
    spec: _WorkloadSpec

    @property
    def pod_labels(self) -> Mapping[str, str]:
        made_by = self.spec.template
        if made_by is None and self.spec.job_template is not None and self.spec.job_template.spec is not None:
            made_by = self.spec.job_template.spec.template
        return (made_by.metadata.labels if made_by is not None and made_by.metadata is not None else None) or {}


class _ClaimUse(Struct, frozen=True, rename="camel"):
    claim_name: str


class _PodVolume(Struct, frozen=True, rename="camel"):
    persistent_volume_claim: _ClaimUse | None = None


class _PodSpec(Struct, frozen=True, rename="camel"):
    node_name: str = ""
    volumes: list[_PodVolume] | None = None


class _PodStatus(Struct, frozen=True, rename="camel"):
    phase: str = ""
    pod_ip: str = msgspec.field(default="", name="podIP")


class _Pod(_Any, frozen=True):
    spec: _PodSpec
    status: _PodStatus = _PodStatus()


class _Entry(Struct, frozen=True):
    ip: str = ""
    hostname: str = ""


class _Balancer(Struct, frozen=True):
    ingress: list[_Entry] | None = None


class _ServiceStatus(Struct, frozen=True, rename="camel"):
    load_balancer: _Balancer | None = None


class _ServiceSpec(Struct, frozen=True, rename="camel"):
    selector: dict[str, str] | None = None
    external_name: str = ""


class _Service(_Any, frozen=True):
    spec: _ServiceSpec
    status: _ServiceStatus = _ServiceStatus()


class _Reference(Struct, frozen=True):
    name: str
    kind: str = "Service"
    namespace: str = ""


class _Backend(Struct, frozen=True):
    service: _Reference | None = None


class _Way(Struct, frozen=True):
    backend: _Backend | None = None


class _Http(Struct, frozen=True):
    paths: list[_Way] | None = None


class _Rule(Struct, frozen=True):
    host: str = ""
    http: _Http | None = None


class _IngressSpec(Struct, frozen=True, rename="camel"):
    default_backend: _Backend | None = None
    rules: list[_Rule] | None = None


class _Ingress(_Any, frozen=True):
    spec: _IngressSpec = _IngressSpec()
    status: _ServiceStatus = _ServiceStatus()


class _RouteRule(Struct, frozen=True, rename="camel"):
    backend_refs: list[_Reference] | None = None


class _RouteSpec(Struct, frozen=True):
    hostnames: list[str] | None = None
    rules: list[_RouteRule] | None = None


class _Route(_Any, frozen=True):
    spec: _RouteSpec = _RouteSpec()


class _ClaimSpec(Struct, frozen=True, rename="camel"):
    volume_name: str = ""


class _Claim(_Any, frozen=True):
    spec: _ClaimSpec = _ClaimSpec()


class _Csi(Struct, frozen=True, rename="camel"):
    driver: str
    volume_handle: str


class _VolumeSpec(Struct, frozen=True):
    csi: _Csi | None = None


class _Volume(_Any, frozen=True):
    spec: _VolumeSpec = _VolumeSpec()


# ---- the source -----------------------------------------------------------------------------------------------------


class _Resource(Struct, frozen=True, kw_only=True):
    """One kind that is listed. shape: what is read of an object. group: empty for the core group."""

    name: ResourceName
    class_name: str
    shape: type[_Any]
    group: str = ""
    namespaced: bool = True
    selector: str = ""

    def path(self, namespace: str) -> str:
        return _path(self.group, self.name, namespace)


RESOURCES = (
    _Resource(name="namespaces", class_name="Namespace", shape=_Any, namespaced=False),
    _Resource(name="nodes", class_name="Node", shape=_Node, namespaced=False),
    _Resource(name="persistentvolumes", class_name="PersistentVolume", shape=_Volume, namespaced=False),
    _Resource(name="persistentvolumeclaims", class_name="PersistentVolumeClaim", shape=_Claim),
    _Resource(name="services", class_name="Service", shape=_Service),
    _Resource(name="deployments", class_name="Deployment", shape=_Workload, group="apps"),
    _Resource(name="statefulsets", class_name="StatefulSet", shape=_Workload, group="apps"),
    _Resource(name="daemonsets", class_name="DaemonSet", shape=_Workload, group="apps"),
    _Resource(name="cronjobs", class_name="CronJob", shape=_Workload, group="batch"),
    _Resource(name="pods", class_name="Pod", shape=_Pod, selector=_LIVE_PODS),
    _Resource(name="ingresses", class_name="Ingress", shape=_Ingress, group="networking.k8s.io"),
    _Resource(name="httproutes", class_name="HTTPRoute", shape=_Route, group="gateway.networking.k8s.io"),
)
OWNERS = (("ReplicaSet", "apps", "replicasets"), ("Job", "batch", "jobs"))
"""Of these only the metadata are read: whose they are."""
_NAMED_ALIKE = frozenset(("Service", "Ingress", "HTTPRoute", "PersistentVolumeClaim"))
"""They are called as the workload they belong to. A name that two things have means neither, so it is left to that."""
_WORKLOADS = frozenset(resource.class_name for resource in RESOURCES if resource.shape is _Workload)


class _Place(Struct, frozen=True):
    """Where a reading stands: the list that comes next, and the token of its page."""

    resource: ResourceName
    namespace: str = ""
    token: str = ""


class KubernetesSource:
    """One cluster. Lists that other objects are looked up in are read when they are first needed, and again by another
    process that goes on with the same reading."""

    def __init__(self, config: KubernetesConfig, api: Kubernetes) -> None:
        self._config = config
        self._api = api
        wanted = [one for one in RESOURCES if not config.resources or one.name in config.resources]
        self._plan = [
            (resource, namespace)
            for resource in wanted
            for namespace in ((config.namespaces or ("",)) if resource.namespaced else ("",))
        ]
        self._asked = frozenset(resource.class_name for resource in wanted)

    # ---- pages ----

    def page(self, cursor: str, mark: str) -> CmdbPage:
        place = read_cursor(cursor, _Place) if cursor else None
        step = 0 if place is None else self._step_of(place)
        resource, namespace = self._plan[step]
        problems: tuple[str, ...] = ()
        try:
            listed = self._api.page(
                resource.path(namespace),
                place.token if place is not None else "",
                selector=resource.selector,
            )
            objects, token = listed.items, listed.next
        except Missing as error:
            if not resource.group:  # the core group is there in every cluster, so this is another address
                raise Rejected(str(error), hint="check that url is that of the API server") from None
            objects, token = [], ""
            if resource.name != "httproutes":  # which many clusters do not have
                problems = (f"this cluster has no {resource.name} of {resource.group}/v1",)
        said = _Said()
        if place is None:
            said.items[CLUSTER] = self._cluster()
        for raw in objects:
            self._read(resource, raw, said)
        following = _Place(resource.name, namespace, token) if token else self._after(step)
        return CmdbPage(
            items=list(said.items.values()),
            ties=list(said.ties.values()),
            flaws=said.flaws,
            next=write_cursor(following) if following is not None else "",
            whole=following is None,
            problems=problems,
        )

    def _step_of(self, place: _Place) -> int:
        """Raises Expired where the settings have changed since."""
        for step, (resource, namespace) in enumerate(self._plan):
            if (resource.name, namespace) == (place.resource, place.namespace):
                return step
        raise Expired(f"{place.resource} are no longer read")

    def _after(self, step: int) -> _Place | None:
        if step + 1 == len(self._plan):
            return None
        resource, namespace = self._plan[step + 1]
        return _Place(resource.name, namespace)

    def _read(self, resource: _Resource, raw: Any, said: "_Said") -> None:
        try:
            found = msgspec.convert(raw, resource.shape)
            if resource.class_name == "Pod":
                assert isinstance(found, _Pod)
                self._pod(found, said)
            else:
                self._object(resource, found, said)
        except (msgspec.ValidationError, Malformed) as error:
            said.flaws.append(flaw(_flawed_id(resource, raw), error, raw))

    def check(self) -> Sequence[Finding]:
        lists: list[tuple[str, str, str]] = [(one.name, one.path(space), one.group) for one, space in self._plan]
        if "Pod" in self._asked:
            lists += [
                (owned, _path(group, owned, space), group) for _, group, owned in OWNERS for space in self._spaces
            ]
        return [self._finding(*one) for one in lists]

    def _finding(self, name: str, path: str, group: str) -> Finding:
        try:
            self._api.page(path, limit=1)
        except Missing as error:
            remedy = "" if group else "check that url is that of the API server"
            return Finding(subject=name, observed=f"this cluster has no {name}" if group else str(error), remedy=remedy)
        except Denied as error:
            return Finding(subject=name, observed=str(error), remedy=error.hint)
        return Finding(subject=name, observed="can be listed")

    # ---- what other objects are looked up in ----

    @property
    def _spaces(self) -> tuple[str, ...]:
        return self._config.namespaces or ("",)

    def _all(self, group: str, plural: str, shape: type[_M], *, metadata: bool = False) -> Iterator[_M]:
        """Those that can be read; what cannot is a flaw where the objects themselves are read."""
        for space in self._spaces:
            for raw in self._api.all(_path(group, plural, space), metadata=metadata):
                try:
                    yield msgspec.convert(raw, shape)
                except msgspec.ValidationError:
                    continue

    @cached_property
    def _owners(self) -> Mapping[tuple[str, str, str], tuple[str, str]]:
        """By namespace, kind and name of a ReplicaSet or Job: kind and name of what made it."""
        return {
            (one.metadata.namespace, kind, one.metadata.name): one.metadata.controller
            for kind, group, plural in OWNERS
            for one in self._all(group, plural, _Any, metadata=True)
            if one.metadata.controller is not None
        }

    @cached_property
    def _services(self) -> Mapping[str, Mapping[str, Mapping[str, str]]]:
        """Selectors of services, by namespace and name; none where services are not read."""
        found: dict[str, dict[str, Mapping[str, str]]] = {}
        if "Service" in self._asked:
            for one in self._all("", "services", _Service):
                found.setdefault(one.metadata.namespace, {})[one.metadata.name] = one.spec.selector or {}
        return found

    @cached_property
    def _namespaces(self) -> Mapping[str, _Meta]:
        return {meta.name: meta for raw in self._api.all("/api/v1/namespaces") if (meta := _converted(raw)) is not None}

    # ---- objects to items and ties ----

    def _cluster(self) -> Item:
        name = self._config.cluster
        return Item(
            id=CLUSTER, name=name, kind=Kind.CLUSTER, class_name="Cluster", environment=self._config.environment
        )

    def _item(self, class_name: str, meta: _Meta, *, kind: str = "", **more: Any) -> Item:
        id = _id(class_name, meta.namespace, meta.name)
        identifiers = (Identifier(IdType.KUBERNETES, id, self._config.cluster), *more.pop("identifiers", ()))
        if meta.uid:
            identifiers += (Identifier(IdType.RECORD, text(meta.uid, "uid"), "kubernetes"),)
        return Item(
            id=id,
            name=id if class_name in _NAMED_ALIKE else text(meta.name, "name"),
            kind=self._config.kinds.get(class_name) or kind or KINDS.get(class_name, Kind.APPLICATION),
            class_name=text(class_name, "kind"),
            handle=more.pop("handle", id),
            identifiers=identifiers,
            owner=self._labelled(meta, self._config.owner_labels),
            environment=self._labelled(meta, self._config.environment_labels) or self._config.environment,
            criticality=criticality(self._labelled(meta, self._config.criticality_labels)),
            **more,
        )

    def _labelled(self, meta: _Meta, names: Sequence[str]) -> str:
        """What the first of these labels or annotations says of an object, else of its namespace."""
        if not names:
            return ""
        around = self._namespaces.get(meta.namespace)
        for one in (meta, *((around,) if around is not None else ())):
            for name in names:
                if said := (one.labels or {}).get(name) or (one.annotations or {}).get(name):
                    return text(said, name)
        return ""

    def _object(self, resource: _Resource, found: _Any, said: "_Said") -> None:
        meta, class_name = found.metadata, resource.class_name
        if class_name == "Namespace" and self._config.namespaces and meta.name not in self._config.namespaces:
            return
        more: dict[str, Any] = {}
        id = _id(class_name, meta.namespace, meta.name)
        match found:
            case _Node():
                more = _node(found)
                said.tie(id, "member_of", CLUSTER, "cluster")
            case _Volume() if found.spec.csi is not None:
                csi = found.spec.csi
                more["identifiers"] = (
                    Identifier(IdType.PROVIDER, text(csi.volume_handle, "volumeHandle"), csi.driver),
                )
            case _Claim() if found.spec.volume_name and "PersistentVolume" in self._asked:
                said.tie(id, "depends_on", _id("PersistentVolume", "", found.spec.volume_name), "volumeName")
            case _Service():
                more = self._service(found)
            case _Workload():
                more["kind"] = _COMPONENTS.get((meta.labels or {}).get(_COMPONENT, "").lower(), "")
                self._selected(id, meta.namespace, found.pod_labels, said)
            case _Ingress():
                more = _ingress(found)
                self._routed(id, meta.namespace, _backends(found), said)
            case _Route():
                more["aliases"] = _texts(found.spec.hostnames or ())
                references = [one for rule in found.spec.rules or () for one in rule.backend_refs or ()]
                self._routed(id, meta.namespace, references, said)
        if class_name == "Namespace":
            said.tie(CLUSTER, "contains", id, "cluster")
            more["handle"] = id
        said.items[id] = self._item(class_name, meta, **more)
        self._placed(id, meta, said)

    def _placed(self, id: str, meta: _Meta, said: "_Said") -> None:
        """Its namespace, and the application that it is a part of."""
        if not meta.namespace:
            return
        if "Namespace" in self._asked:
            said.tie(_id("Namespace", "", meta.namespace), "contains", id, "namespace")
        part_of = text((meta.labels or {}).get(PART_OF), PART_OF)
        if part_of:
            # Not `contains`: an application suffers from its parts, not they from it.
            whole = _id("Application", meta.namespace, part_of)
            said.items[whole] = Item(
                id=whole,
                name=part_of,
                kind=self._config.kinds.get("Application", Kind.APPLICATION),
                class_name="Application",
                handle=whole,
                environment=self._config.environment,
            )
            said.tie(whole, "depends_on", id, PART_OF)

    def _service(self, found: _Service) -> dict[str, Any]:
        meta, spec = found.metadata, found.spec
        names = (f"{meta.name}.{meta.namespace}", f"{meta.name}.{meta.namespace}.svc")
        return {
            "aliases": _texts((*names, f"{names[1]}.{_DOMAIN}", spec.external_name)),
            # Not its clusterIP: an address of the same private range is another thing outside of the cluster.
            "identifiers": tuple(_entries(found.status)),
        }

    def _selected(self, id: str, namespace: str, labels: Mapping[str, str], said: "_Said") -> None:
        """Which services lead to it. Not by EndpointSlices: what a service needs is the workload, with or without pods
        that are ready just now."""
        for name, selector in self._services.get(namespace, {}).items():
            if selector and selector.items() <= labels.items():
                said.tie(_id("Service", namespace, name), "depends_on", id, "selector")

    def _routed(self, id: str, namespace: str, references: Iterable[_Reference], said: "_Said") -> None:
        for one in references:
            space = one.namespace or namespace
            if one.kind == "Service" and one.name in self._services.get(space, {}):
                said.tie(id, "depends_on", _id("Service", space, one.name), "backend")

    def _pod(self, pod: _Pod, said: "_Said") -> None:
        meta = pod.metadata
        kind, name = self._workload_of(meta)
        workload = _id(kind, meta.namespace, name)
        if kind not in _WORKLOADS or kind not in self._asked:
            # Nothing else tells of it: a pod by itself, a custom resource's pods, a job that nobody schedules.
            labels = {PART_OF: part_of} if (part_of := (meta.labels or {}).get(PART_OF)) else None
            owner = meta if kind == "Pod" else _Meta(name=name, namespace=meta.namespace, labels=labels)
            said.items[workload] = self._item(kind, owner)
            self._placed(workload, owner, said)
            self._selected(workload, meta.namespace, meta.labels or {}, said)
        suffering = [workload]
        if self._config.pods and kind != "Pod":
            id = _id("Pod", meta.namespace, meta.name)
            address = (Identifier(IdType.IP, pod.status.pod_ip, self._config.cluster),) if pod.status.pod_ip else ()
            said.items[id] = self._item("Pod", meta, identifiers=address)
            said.tie(id, "member_of", workload, "ownerReferences")
            suffering.append(id)
        for one in suffering:
            if pod.spec.node_name and "Node" in self._asked:
                said.tie(one, "runs_on", _id("Node", "", pod.spec.node_name), "nodeName")
            for volume in pod.spec.volumes or ():
                claim = volume.persistent_volume_claim
                if claim is not None and "PersistentVolumeClaim" in self._asked:
                    claimed = _id("PersistentVolumeClaim", meta.namespace, claim.claim_name)
                    said.tie(one, "depends_on", claimed, "persistentVolumeClaim")

    def _workload_of(self, meta: _Meta) -> tuple[str, str]:
        """Kind and name of what the pod is there for; of a static pod, which its node looks after, the pod itself."""
        here = ("Pod", meta.name)
        above = meta.controller
        while above is not None and above[0] != "Node" and above != here:
            here, above = above, self._owners.get((meta.namespace, *above))
        return here


class _Said:
    """What a page says, each thing once."""

    def __init__(self) -> None:
        self.items: dict[str, Item] = {}
        self.ties: dict[str, Tie] = {}
        self.flaws: list[Flaw] = []

    def tie(self, source: str, type_: str, target: str, class_name: str) -> None:
        tie = Tie(source=source, type=type_, target=target, class_name=class_name)
        self.ties[tie.key] = tie


def _path(group: str, plural: str, namespace: str) -> str:
    base = f"/apis/{group}/v1" if group else "/api/v1"
    return f"{base}/namespaces/{namespace}/{plural}" if namespace else f"{base}/{plural}"


def _id(kind: str, namespace: str, name: str) -> str:
    """``namespace/kind/name``, of what is in no namespace ``kind/name``. By name and not by uid: names cannot be
    changed, others refer by them, and what is made again under a name is for people the same thing."""
    return "/".join(filter(None, (namespace, kind.lower(), name)))


def _converted(raw: Any) -> _Meta | None:
    try:
        return msgspec.convert(raw, _Any).metadata
    except msgspec.ValidationError:
        return None


def _flawed_id(resource: _Resource, raw: Any) -> str:
    meta = raw.get("metadata") if isinstance(raw, dict) else None
    name, space = (meta.get("name"), meta.get("namespace")) if isinstance(meta, dict) else (None, None)
    return _id(resource.class_name, str(space or ""), name) if isinstance(name, str) else ""


def _node(found: _Node) -> dict[str, Any]:
    labels = found.metadata.labels or {}
    scheme, _, path = found.spec.provider_id.partition("://")
    identifiers = []
    if scheme in _CLOUDS:
        identifiers.append(Identifier(IdType.PROVIDER, text(_CLOUDS[scheme](path), "providerID")))
    if found.status.node_info is not None and found.status.node_info.system_uuid:
        identifiers.append(Identifier(IdType.UUID, text(found.status.node_info.system_uuid, "systemUUID")))
    for one in found.status.addresses or ():
        address = text(one.address, one.type)
        if one.type.endswith("IP"):
            identifiers.append(Identifier(IdType.IP, address))
        elif address:
            identifiers.append(Identifier(IdType.FQDN if "." in address else IdType.HOSTNAME, address))
    return {
        "kind": Kind.VM if scheme in _CLOUDS else Kind.SERVER,
        "handle": found.metadata.name,
        "identifiers": tuple(dict.fromkeys(identifiers)),
        "location": " / ".join(filter(None, (text(labels.get(zone), zone) for zone in _ZONES))),
    }


def _ingress(found: _Ingress) -> dict[str, Any]:
    hosts = (rule.host for rule in found.spec.rules or ())
    return {"aliases": _texts(hosts), "identifiers": tuple(_entries(found.status))}


def _backends(found: _Ingress) -> Iterator[_Reference]:
    ways = [way.backend for rule in found.spec.rules or () if rule.http for way in rule.http.paths or ()]
    for backend in (found.spec.default_backend, *ways):
        if backend is not None and backend.service is not None:
            yield backend.service


def _entries(status: _ServiceStatus) -> Iterator[Identifier]:
    """Addresses of a load balancer."""
    for one in (status.load_balancer.ingress if status.load_balancer is not None else None) or ():
        if one.ip:
            yield Identifier(IdType.IP, text(one.ip, "ip"))
        if one.hostname:
            yield Identifier(IdType.FQDN, text(one.hostname, "hostname"))


def _texts(names: Iterable[str]) -> tuple[str, ...]:
    return tuple(dict.fromkeys(filter(None, (text(name, "host") for name in names))))


def _build(name: str, config: KubernetesConfig, parts: CmdbParts) -> KubernetesSource:
    return KubernetesSource(config, connect(config, name, f"topology.{name}", parts.http))


SOURCE = SourceKind(
    kind="kubernetes",
    title="Kubernetes: nodes, workloads, services, routes and volumes",
    facts="Kubernetes API v1",
    config=KubernetesConfig,
    build=_build,
)
