"""Machines, applications and services that a Prometheus server scrapes, by their labels and those of service discovery.

Facts:    https://prometheus.io/docs/prometheus/latest/querying/api/#targets and "Configuration" (labels of service
          discovery), read 2026-11-22; answers of Prometheus 2.42.
Delivery: the whole each time, in one page, asked by scrape pool; Prometheus does not say what changed.
Recovery: what is no longer a target is missing from the next whole reading; a target that is down stays. A server that
          knows no target at all, as for seconds after its start, counts as not available.
Limits:   64 MiB for a scrape pool, about 30,000 targets. Targets that were dropped by relabelling are not read. Names
          of machines and applications are taken without regard to case.
Needs:    the address; where asked for, a token, or a user with a password, that may read /api/v1/targets.
"""

import ipaddress
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import msgspec
from msgspec import Struct, structs
from pydantic import Field

from foreshock.connect.cmdb import criticality, flaw, identity, text
from foreshock.connect.vendors.prometheus import PrometheusAccount, connect
from foreshock.core.cmdb import CmdbConfig, CmdbPage, CmdbParts, Flaw, Identifier, IdType, Item, Kind, SourceKind, Tie
from foreshock.core.contracts import Finding
from foreshock.core.errors import Malformed, Rejected, Unavailable

if TYPE_CHECKING:
    from foreshock.connect.http import Http  # importing it takes a tenth of a second of each start

_META = "__meta_"
_KUBERNETES = f"{_META}kubernetes_"
_NOT_YET_S = 15.0
_NOT_HOSTS = frozenset(("", "localhost", "0.0.0.0", "::"))  # noqa: S104
# What a cloud calls a machine, by the labels of its service discovery; several labels are one path, as in a
# Kubernetes node's providerID. prometheus.io "Configuration", ec2_sd_config and the others.
PROVIDERS: tuple[tuple[str, ...], ...] = (
    (f"{_META}ec2_instance_id",),
    (f"{_META}gce_project", f"{_META}gce_zone", f"{_META}gce_instance_name"),
    (f"{_META}azure_machine_id",),
    (f"{_META}openstack_instance_id",),
    (f"{_META}digitalocean_droplet_id",),
    (f"{_META}hetzner_server_id",),
)
IDENTIFIERS: Mapping[str, IdType] = {
    f"{_META}ec2_private_ip": IdType.IP,
    f"{_META}ec2_private_dns_name": IdType.FQDN,
    f"{_META}gce_private_ip": IdType.IP,
    f"{_META}azure_machine_private_ip": IdType.IP,
    f"{_META}openstack_private_ip": IdType.IP,
    f"{_META}consul_address": IdType.IP,
    f"{_META}consul_node": IdType.HOSTNAME,
}
_PLACES = ("ec2_availability_zone", "gce_zone", "azure_machine_location", "hetzner_datacenter", "consul_dc")


class PrometheusConfig(CmdbConfig, PrometheusAccount):
    host_labels: tuple[str, ...] = Field(
        default=(f"{_KUBERNETES}node_name", "instance"),
        min_length=1,
        description="labels, those of service discovery (__meta_…) too, that name the machine; the first that is "
        "there, without port and path",
    )
    application_labels: tuple[str, ...] = Field(
        default=("job",), description="labels that name the application which runs there; empty: machines only"
    )
    machine_jobs: tuple[str, ...] = Field(
        default=(
            *("node", "node-exporter", "node_exporter", "windows", "windows-exporter", "windows_exporter"),
            *("snmp", "ipmi", "icmp", "ping", "cadvisor", "kubelet"),
        ),
        description="applications that only tell of the machine: they are none",
    )
    service_labels: tuple[str, ...] = Field(
        default=(),
        description="labels that name the business service which needs the application",
        examples=[["service"]],
    )
    environment_labels: tuple[str, ...] = Field(
        default=("environment", "env"), description="labels that name the environment"
    )
    owner_labels: tuple[str, ...] = Field(default=("team", "owner"), description="labels that name the team")
    criticality_labels: tuple[str, ...] = Field(
        default=("criticality", "tier"), description="labels that say 1 (most) to 4, or critical, high, medium, low"
    )
    cluster: str = Field(
        default="",
        description="Kubernetes cluster that its service discovery asks, as a source of kind kubernetes calls it: so "
        "that both know the same things",
    )


class _Target(Struct, frozen=True, rename="camel"):
    """labels: as on its samples. discovered_labels: before relabelling."""

    labels: dict[str, str]
    discovered_labels: dict[str, str] = {}

    def said(self, names: Sequence[str]) -> str:
        """By the first label that is there."""
        for name in names:
            if value := self.labels.get(name) or self.discovered_labels.get(name):
                return text(value, name)
        return ""


class PrometheusSource:
    def __init__(self, config: PrometheusConfig, http: "Http") -> None:
        self._config = config
        self._http = http
        self._machine_jobs = frozenset(job.lower() for job in config.machine_jobs)

    def page(self, cursor: str, mark: str) -> CmdbPage:
        said = _Said()
        for raw in self._targets():
            try:
                self._read(msgspec.convert(raw, _Target), said)
            except (msgspec.ValidationError, Malformed) as error:
                said.flaws.append(flaw("", error, raw))
        if not said.items and not said.flaws:
            raise Unavailable(
                f"{self._http.instance} tells of no target",
                hint="it may have started just now; else look at its page of targets, and at host_labels",
                retry_after_s=_NOT_YET_S,
            )
        problems = (f"{said.local} targets are at localhost: set their label instance",) if said.local else ()
        return CmdbPage(
            items=list(said.items.values()),
            ties=list(said.ties.values()),
            flaws=said.flaws,
            whole=True,
            problems=problems,
        )

    def check(self) -> Sequence[Finding]:
        said, count = Counter[str](), 0
        for raw in self._targets():
            count += 1
            discovered = raw.get("discoveredLabels") if isinstance(raw, dict) else None
            said.update(
                name.split("_")[3] for name in discovered or () if name.startswith(_META) and name.count("_") > 3
            )
        if not count:
            return [Finding(subject="targets", observed="there are none", remedy="look at its page of targets")]
        ways = ", ".join(sorted(said)) or "files and the configuration"
        return [Finding(subject="targets", observed=f"{count} active, found by {ways}")]

    def _targets(self) -> Iterator[Any]:
        """By scrape pool, so that no answer is as long as all of them; where those cannot be listed, all at once."""
        try:
            pools = self._ask("/api/v1/scrape_pools", {}).get("scrapePools")
        except Rejected:  # before Prometheus 2.42, and elsewhere
            pools = None
        for pool in sorted(map(str, pools)) if isinstance(pools, list) else (None,):
            params: dict[str, str | int] = {"state": "active", **({"scrapePool": pool} if pool is not None else {})}
            targets = self._ask("/api/v1/targets", params).get("activeTargets")
            if not isinstance(targets, list):
                raise Unavailable(f"{self._http.instance} answered no targets")
            yield from sorted(targets, key=lambda one: str(one.get("scrapeUrl")) if isinstance(one, dict) else "")

    def _ask(self, path: str, params: Mapping[str, str | int]) -> Mapping[str, Any]:
        answer = self._http.get(path, params=params, headers=self._config.headers)
        found: dict[str, Any] = answer.part("data", dict)
        if answer.json().get("status") != "success":
            raise Unavailable(f"{answer.place} answered {answer.json().get('status')!r}")
        return found

    # ---- a target as items and ties ----

    def _read(self, target: _Target, said: "_Said") -> None:
        about: dict[str, Any] = {
            "owner": target.said(self._config.owner_labels),
            "environment": target.said(self._config.environment_labels),
            "criticality": criticality(target.said(self._config.criticality_labels)),
        }
        host = self._host(target, about, said)
        application = self._application(target, about, said)
        if application and host:
            said.tie(application, "runs_on", host)
        service = target.said(self._config.service_labels)
        if service:
            id = f"service/{identity(service, 'service').lower()}"
            said.add(Item(id=id, name=service, kind=Kind.SERVICE, class_name="service", handle=service, **about))
            if needed := application or host:
                said.tie(id, "depends_on", needed)

    def _host(self, target: _Target, about: Mapping[str, Any], said: "_Said") -> str:
        """The id of the machine; empty where no label names one."""
        name = _machine(target.said(self._config.host_labels))
        if name in _NOT_HOSTS or name.startswith("127."):
            said.local += bool(name)
            return ""
        discovered = target.discovered_labels
        provider = next(filter(None, (_joined(discovered, names) for names in PROVIDERS)), "")
        identifiers = [Identifier(IdType.PROVIDER, provider)] if provider else []
        identifiers += [
            Identifier(type_, text(discovered[label], label))
            for label, type_ in IDENTIFIERS.items()
            if discovered.get(label)
        ]
        node = discovered.get(f"{_KUBERNETES}node_name", "")
        if node and self._config.cluster:
            identifiers.append(Identifier(IdType.KUBERNETES, f"node/{node}".lower(), self._config.cluster))
        elif not discovered.get(f"{_KUBERNETES}namespace"):  # that of a pod is not the machine's
            identifiers += map(_address, filter(_is_elsewhere, (name, _machine(discovered.get("__address__", "")))))
        id = f"host/{identity(name, 'host')}"
        places = (discovered.get(f"{_META}{place}", "").rpartition("/")[2] for place in _PLACES)
        item = Item(
            id=id,
            name=name,
            kind=Kind.VM if provider else Kind.SERVER,
            class_name="host",
            handle=name,
            identifiers=tuple(dict.fromkeys(identifiers)),
            location=text(next(filter(None, places), ""), "location"),
            **about,
        )
        said.add(item)
        return id

    def _application(self, target: _Target, about: Mapping[str, Any], said: "_Said") -> str:
        """The id of what runs there; empty where it is only an exporter."""
        name = target.said(self._config.application_labels)
        if not name or name.lower() in self._machine_jobs:
            return ""
        id = f"application/{identity(name, 'application').lower()}"
        identifiers: tuple[Identifier, ...] = ()
        workload = _workload(target.discovered_labels)
        if workload:
            id = f"application/{workload}"
            name = workload.rpartition("/")[2]
            if self._config.cluster:
                identifiers = (Identifier(IdType.KUBERNETES, workload, self._config.cluster),)
        item = Item(
            id=id,
            name=name,
            kind=Kind.APPLICATION,
            class_name="application",
            handle=workload or name,
            identifiers=identifiers,
            **about,
        )
        said.add(item)
        return id


class _Said:
    """What all targets say together: of one thing the first that says something, and all that it is known by."""

    def __init__(self) -> None:
        self.items: dict[str, Item] = {}
        self.ties: dict[str, Tie] = {}
        self.flaws: list[Flaw] = []
        self.local = 0

    def add(self, item: Item) -> None:
        known = self.items.get(item.id)
        if known is not None and known != item:
            item = structs.replace(
                known,
                kind=Kind.VM if Kind.VM in (known.kind, item.kind) else known.kind,
                identifiers=tuple(dict.fromkeys((*known.identifiers, *item.identifiers))),
                owner=known.owner or item.owner,
                environment=known.environment or item.environment,
                criticality=known.criticality or item.criticality,
                location=known.location or item.location,
            )
        self.items[item.id] = item

    def tie(self, source: str, type_: str, target: str) -> None:
        tie = Tie(source=source, type=type_, target=target, class_name="target")
        self.ties[tie.key] = tie


def _machine(written: str) -> str:
    """The host in ``db1:9100``, ``[::1]:9100`` or ``https://db1/health``, in lower case without a dot at the end."""
    try:
        return (urlsplit(written if "://" in written else f"//{written}").hostname or "").rstrip(".")
    except ValueError:
        return ""


def _is_elsewhere(name: str) -> bool:
    return name not in _NOT_HOSTS and not name.startswith("127.")


def _address(name: str) -> Identifier:
    try:
        return Identifier(IdType.IP, str(ipaddress.ip_address(name)))
    except ValueError:
        return Identifier(IdType.FQDN if "." in name else IdType.HOSTNAME, name)


def _joined(discovered: Mapping[str, str], names: Sequence[str]) -> str:
    parts = [
        text(discovered.get(name), name).strip("/") if len(names) > 1 else text(discovered.get(name), name)
        for name in names
    ]
    if not all(parts):
        return ""
    # Google's zone comes as a whole address, Azure's ids in any case.
    return "/".join(part.rpartition("/")[2] for part in parts) if len(parts) > 1 else parts[0].lower()


def _workload(discovered: Mapping[str, str]) -> str:
    """``namespace/kind/name`` of what a target in Kubernetes belongs to; empty where its labels do not say."""
    namespace = discovered.get(f"{_KUBERNETES}namespace", "")
    kind = discovered.get(f"{_KUBERNETES}pod_controller_kind", "")
    name = discovered.get(f"{_KUBERNETES}pod_controller_name", "")
    revision = discovered.get(f"{_KUBERNETES}pod_label_pod_template_hash", "")
    if kind == "ReplicaSet" and revision and name.endswith(f"-{revision}"):
        kind, name = "Deployment", name.removesuffix(f"-{revision}")
    if not name:
        kind, name = "Service", discovered.get(f"{_KUBERNETES}service_name", "")
    return text(f"{namespace}/{kind}/{name}".lower(), "workload") if namespace and name else ""


def _build(name: str, config: PrometheusConfig, parts: CmdbParts) -> PrometheusSource:
    return PrometheusSource(config, connect(config, name, f"topology.{name}", parts.http))


SOURCE = SourceKind(
    kind="prometheus",
    title="Prometheus: machines, applications and services that are scraped",
    facts="Prometheus HTTP API v1, targets and scrape pools",
    config=PrometheusConfig,
    build=_build,
)
