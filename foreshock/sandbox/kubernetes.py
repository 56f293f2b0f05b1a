"""A stand-in of Kubernetes' API server, as far as lists go, and watches that end at once.

Facts: those of ``cmdb_sync.kubernetes``; its answers were compared with those of kube-apiserver 1.20, and the official
    client 37.0 reads it.

It copies what matters to a reader: a list that goes on by ``continue`` shows the state in which it began, and expires
(410); kinds and rights by resource; selectors of fields on pods; objects of which only the metadata are wanted; errors
as ``Status``.
"""

import itertools
import json
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from foreshock.sandbox.cmdb import Cmdb, Relation, Trait
from foreshock.sandbox.faults import Fault
from foreshock.sandbox.system import (
    Answering,
    Clock,
    Refused,
    Reply,
    Request,
    Simulator,
    secret_file,
    stable_id,
)

TOKEN = "sandbox-token"  # noqa: S105
NAMESPACE = "shop"
CORE, APPS, BATCH = "/api/v1", "/apis/apps/v1", "/apis/batch/v1"
# Kind: where it is listed, its plural, whether it is in a namespace.
_KINDS: Mapping[str, tuple[str, str, bool]] = {
    "Namespace": (CORE, "namespaces", False),
    "Node": (CORE, "nodes", False),
    "PersistentVolume": (CORE, "persistentvolumes", False),
    "PersistentVolumeClaim": (CORE, "persistentvolumeclaims", True),
    "Service": (CORE, "services", True),
    "Pod": (CORE, "pods", True),
    "Deployment": (APPS, "deployments", True),
    "StatefulSet": (APPS, "statefulsets", True),
    "DaemonSet": (APPS, "daemonsets", True),
    "ReplicaSet": (APPS, "replicasets", True),
    "CronJob": (BATCH, "cronjobs", True),
    "Job": (BATCH, "jobs", True),
    "Ingress": ("/apis/networking.k8s.io/v1", "ingresses", True),
    "Event": (CORE, "events", True),
    "HTTPRoute": ("/apis/gateway.networking.k8s.io/v1", "httproutes", True),
}
_SHOWN = {"owner": "team", "environment": "env", "criticality": "tier"}


class _Status(Refused):
    def __init__(self, code: int, reason: str, message: str, headers: Mapping[str, str] = {}) -> None:
        body = {"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure"}
        super().__init__(
            Reply(status=code, body={**body, "message": message, "reason": reason, "code": code}, headers=headers)
        )


class KubernetesSystem(Answering):
    """One cluster with one node, on which one deployment runs.

    Attributes:
        page_rows: at most so many objects in one answer; 0: as asked. has_gateways: whether it knows HTTPRoutes.
    """

    cmdb = Cmdb(
        class_name="Deployment",
        kind="application",
        relation=Relation("volumeName", "PersistentVolumeClaim", "PersistentVolume", "depends_on"),
        shows={"owner": ("Database", "Network"), "environment": ("production", "test"), "criticality": (1, 3)},
        permissions=("namespaces", "nodes", "services", "deployments", "pods", "replicasets"),
        lacks={
            Trait.DELTA: "a change of one object does not tell which relationships go, so each reading is whole",
            Trait.TOMBSTONES: "each reading is whole",
            Trait.RENAMES: "the API refuses to change a name",
            Trait.FREE_NAMES: "names are DNS labels",
            Trait.TWINS: "names are lower case",
            Trait.LOOPS: "no reference of an object can be to itself",
            Trait.CLASSES: "only kinds that are known are listed",
            Trait.RELATIONS: "only references that are known are read",
        },
    )

    def __init__(self, clock: Clock, seed: int = 1) -> None:
        super().__init__(clock, seed)
        self.page_rows = 0
        self.has_gateways = True
        self.objects: dict[str, dict[tuple[str, str], dict[str, Any]]] = {kind: {} for kind in _KINDS}
        self._version = 100
        self._lists: dict[tuple[str, str], list[dict[str, Any]]] = {}
        self._forbidden: set[str] = set()
        self._changes: list[tuple[int, str, str, dict[str, Any]]] = []  # version, word, kind, object
        self._forgotten = 0
        self._numbers = itertools.count(1)
        for name in ("default", "kube-node-lease", "kube-public", "kube-system"):
            self.put("Namespace", name)
        self.put("Namespace", NAMESPACE, labels={"team": "Platform"})
        self.put(
            "Node", "node-1", spec={"providerID": "aws:///eu-1a/i-0abc"}, status=_node_status("10.1.0.1", "node-1")
        )
        self.relate(self.put("Deployment", "web"), "node/node-1", "nodeName")

    # ---- what people do ----

    def put(
        self,
        kind: str,
        name: str,
        *,
        namespace: str = NAMESPACE,
        labels: Mapping[str, str] = {},
        owner: tuple[str, str] | None = None,
        **parts: Any,
    ) -> str:
        """A new object, or a new state of one; its id as the source says it. owner: kind and name of its controller."""
        namespace = namespace if _KINDS[kind][2] else ""
        metadata: dict[str, Any] = {"name": name, "uid": self._uid(), "labels": dict(labels)}
        metadata |= {"namespace": namespace} if namespace else {}
        metadata["resourceVersion"] = self._bump()
        metadata["creationTimestamp"] = self._clock().strftime("%Y-%m-%dT%H:%M:%SZ")
        if owner is not None:
            reference = {"apiVersion": "v1", "kind": owner[0], "name": owner[1], "uid": self._uid(), "controller": True}
            metadata["ownerReferences"] = [reference]
        parts["spec"] = {**_spec(kind, name), **parts.get("spec", {})}
        word = "MODIFIED" if (namespace, name) in self.objects[kind] else "ADDED"
        self.objects[kind][namespace, name] = made = {"metadata": metadata, **parts}
        self._changes.append((self._version, word, kind, deepcopy(made)))
        return "/".join(filter(None, (namespace, kind.lower(), name)))

    def put_ci(self, name: str, class_name: str = "", **shown: Any) -> str:
        id = self.put(class_name or self.cmdb.class_name, name)
        self.change_ci(id, **shown)
        return id

    def change_ci(self, id: str, **shown: Any) -> None:
        metadata = self._object(id)["metadata"]
        metadata["labels"] |= {_SHOWN[name]: str(value) for name, value in shown.items()}
        metadata["resourceVersion"] = self._bump()

    def delete_ci(self, id: str, *, trace: bool = True) -> None:
        kind, key = self._place(id)
        gone = self.objects[kind].pop(key)
        gone["metadata"]["resourceVersion"] = self._bump()
        self._changes.append((self._version, "DELETED", kind, gone))
        if kind == "PersistentVolume":
            for claim in self.objects["PersistentVolumeClaim"].values():
                if claim["spec"].get("volumeName") == key[1]:
                    claim["spec"] = {}
        if kind == "Node":
            pods = self.objects["Pod"]
            for place in [place for place, pod in pods.items() if pod["spec"].get("nodeName") == key[1]]:
                del pods[place]
        self._collect(kind, key)

    def _collect(self, kind: str, key: tuple[str, str]) -> None:
        """What is owned by what is gone goes too."""
        for owned in ("ReplicaSet", "Job", "Pod"):
            for place, one in list(self.objects[owned].items()):
                references = one["metadata"].get("ownerReferences", ())
                if place[0] == key[0] and any((each["kind"], each["name"]) == (kind, key[1]) for each in references):
                    del self.objects[owned][place]
                    self._collect(owned, place)

    def relate(self, source: str, target: str, word: str = "") -> str:
        """volumeName: of a claim. nodeName: a pod of the workload on a node. selector: of a service."""
        (_, (_, name)), (_, (_, other)) = self._place(source), self._place(target)
        match word or self.cmdb.relation.word:
            case "volumeName":
                self._object(source)["spec"] = {"volumeName": other}
                return f"{source} depends_on {target}"
            case "selector":
                self._object(source)["spec"] = {"selector": {"app": other}, "clusterIP": "None"}
                return f"{source} depends_on {target}"
            case "nodeName":
                made = f"{name}-7d9f"
                self.put("ReplicaSet", made, owner=("Deployment", name))
                pod = f"{made}-{next(self._numbers)}"
                self.put("Pod", pod, owner=("ReplicaSet", made), spec={"nodeName": other}, status={"phase": "Running"})
                return f"{source} runs_on {target}"
        raise KeyError(word)

    def unrelate(self, key: str) -> None:
        """Of a claim or service, as far as it still is so."""
        source, _, target = key.split(" ")
        spec, name = self._object(source)["spec"], target.rpartition("/")[2]
        if name in (spec.get("volumeName"), spec.get("selector", {}).get("app")):
            self._object(source)["spec"] = {}

    def spoil_ci(self, id: str) -> None:
        self._object(id)["metadata"]["labels"] = "no labels"

    def expire(self) -> None:
        """Neither lists that were begun nor changes are known any more."""
        self._lists.clear()
        self._changes.clear()
        self._forgotten = self._version

    def forbid(self, permission: str) -> None:
        self._forbidden.add(permission)

    def _object(self, id: str) -> dict[str, Any]:
        """To change it."""
        self._bump()
        kind, key = self._place(id)
        return self.objects[kind][key]

    def _place(self, id: str) -> tuple[str, tuple[str, str]]:
        namespace, _, rest = id.partition("/") if id.count("/") == 2 else ("", "", id)
        word, _, name = rest.partition("/")
        kind = next(kind for kind in _KINDS if kind.lower() == word)
        return kind, (namespace, name)

    def _bump(self) -> str:
        """The version of the store grows by each change."""
        self._version += 1
        return str(self._version)

    def _uid(self) -> str:
        text = stable_id(self._seed, "uid", self._bump())
        return "-".join((text[:8], text[8:12], text[12:16], text[16:20], text[20:32]))

    # ---- requests ----

    def refuse(self, fault: Fault) -> Reply:
        match fault:
            case Fault.LIMITED:
                message = "Too many requests, please try again later."
                return _Status(429, "TooManyRequests", message, {"Retry-After": "1"}).reply
            case Fault.DENIED:
                return _Status(401, "Unauthorized", "Unauthorized").reply
            case Fault.FORBIDDEN:
                return _Status(403, "Forbidden", "this is forbidden: User cannot list resource").reply
        return _Status(500, "InternalError", "Internal error occurred: etcdserver: request timed out").reply

    def _routed(self, request: Request) -> Reply:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return self.refuse(Fault.DENIED)
        if request.method != "GET":
            raise _Status(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
        if request.path in ("/version", "/version/"):
            return Reply(body=_VERSION)
        for kind, (base, plural, namespaced) in _KINDS.items():
            namespace = self._namespace_in(request.path, base, plural, namespaced)
            if namespace is not None and (kind != "HTTPRoute" or self.has_gateways):
                return self._list(kind, namespace, request)
        return Reply(status=404, body=b"404 page not found\n", headers={"Content-Type": "text/plain; charset=utf-8"})

    def _namespace_in(self, path: str, base: str, plural: str, namespaced: bool) -> str | None:
        """Empty for all; None where the path is another one."""
        if path == f"{base}/{plural}":
            return ""
        head, tail = f"{base}/namespaces/", f"/{plural}"
        if namespaced and path.startswith(head) and path.endswith(tail):
            namespace = path.removeprefix(head).removesuffix(tail)
            return namespace if namespace and "/" not in namespace else None
        return None

    def _list(self, kind: str, namespace: str, request: Request) -> Reply:
        base, plural, _ = _KINDS[kind]
        if plural in self._forbidden:
            group = base.removeprefix("/apis/").rpartition("/")[0] if base != CORE else ""
            raise _Status(
                403,
                "Forbidden",
                f'{plural} is forbidden: User "system:serviceaccount:foreshock:foreshock" cannot list resource '
                f'"{plural}" in API group "{group}" at the cluster scope',
            )
        asked = request.parameters
        if asked.get("watch") == "true":
            return self._watch(kind, namespace, request)
        asked_for = f"{request.path}?{asked.get('fieldSelector', '')}"
        version, _, place = asked.get("continue", "").partition("-")
        start = int(place or 0)
        if version:
            if (asked_for, version) not in self._lists:
                raise _Status(410, "Expired", "The provided continue parameter is too old to display a consistent list")
            rows = self._lists[asked_for, version]
        else:
            version = str(self._version)
            rows = [one for key, one in sorted(self.objects[kind].items()) if namespace in ("", key[0])]
            rows = [one for one in rows if _selects(asked.get("fieldSelector", ""), one)]
        limit = int(asked.get("limit") or 0) or len(rows)
        end = start + min(limit, self.page_rows or limit)
        shown, head = rows[start:end], {"resourceVersion": version}
        if end < len(rows):
            head |= {"continue": f"{version}-{end}"}
            if not start:  # what comes later is shown as it is now
                self._lists[asked_for, version] = deepcopy(rows)
        group = base.removeprefix("/apis/").removeprefix("/api/")
        if "as=PartialObjectMetadataList" in request.headers.get("accept", "").partition(",")[0]:
            named = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1"}
            items = [{**named, "metadata": one["metadata"]} for one in shown]
            body = {"kind": "PartialObjectMetadataList", "apiVersion": "meta.k8s.io/v1"}
        else:
            items = shown
            body = {"kind": f"{kind}List", "apiVersion": group}
        return Reply(body=json.dumps({**body, "metadata": head, "items": items}).encode(), headers=_JSON)

    def _watch(self, kind: str, namespace: str, request: Request) -> Reply:
        """What changed since a version; it ends at once, as a watch does whose time is over."""
        asked = request.parameters
        since = int(asked.get("resourceVersion") or 0)
        if since < self._forgotten:
            gone = {"kind": "Status", "status": "Failure", "reason": "Expired", "code": 410}
            message = f"too old resource version: {since} ({self._forgotten})"
            changes = [{"type": "ERROR", "object": {**gone, "message": message}}]
        else:
            changes = [
                {"type": word, "object": one}
                for version, word, of, one in self._changes
                if version > since and of == kind and namespace in ("", one["metadata"].get("namespace"))
                if _selects(asked.get("fieldSelector", ""), one)
            ]
            if asked.get("allowWatchBookmarks") == "true":
                changes.append({"type": "BOOKMARK", "object": {"metadata": {"resourceVersion": str(self._version)}}})
        return Reply(body=b"".join(json.dumps(one).encode() + b"\n" for one in changes), headers=_JSON)


_VERSION = {
    "major": "1",
    "minor": "31",
    "gitVersion": "v1.31.0",
    "gitCommit": "0",
    "gitTreeState": "clean",
    "buildDate": "2024-08-13T07:28:49Z",
    "goVersion": "go1.22.5",
    "compiler": "gc",
    "platform": "linux/amd64",
}
_NODE_WORDS = (
    "machineID bootID kernelVersion osImage containerRuntimeVersion kubeletVersion kubeProxyVersion operatingSystem "
    "architecture"
)
_JSON = {"content-type": "application/json"}


def _selects(selector: str, one: Mapping[str, Any]) -> bool:
    phase = one.get("status", {}).get("phase", "")
    if selector.startswith("type="):
        return bool(one.get("type") == selector.removeprefix("type="))
    return all(term.partition("!=")[2] != phase for term in selector.split(",") if term.startswith("status.phase!="))


def _spec(kind: str, name: str) -> dict[str, Any]:
    """What an object of a kind cannot be without."""
    containers = {"containers": [{"name": "app", "image": "app:1"}]}
    template = {"metadata": {"labels": {"app": name}}, "spec": containers}
    match kind:
        case "Pod":
            return containers
        case "Deployment" | "StatefulSet" | "DaemonSet" | "ReplicaSet":
            return {"selector": {"matchLabels": {"app": name}}, "template": template}
        case "CronJob":
            return {"schedule": "0 * * * *", "jobTemplate": {"spec": {"template": template}}}
    return {}


def _node_status(address: str, name: str) -> dict[str, Any]:
    addresses = [{"type": "InternalIP", "address": address}, {"type": "Hostname", "address": name}]
    info = dict.fromkeys(_NODE_WORDS.split(), "")
    return {"addresses": addresses, "nodeInfo": {**info, "systemUUID": f"EC2{name.upper()}"}}


def _settings(url: str, folder: Path) -> dict[str, Any]:
    return {
        "url": url,
        "cluster": "prod",
        "token_file": secret_file(folder, "kubernetes.token", TOKEN),
        "owner_labels": ["team"],
        "environment_labels": ["env"],
        "criticality_labels": ["tier"],
    }


SIMULATOR = Simulator(kind="kubernetes", title="Kubernetes", build=KubernetesSystem, source_settings=_settings)
