"""What NetBox and Nautobot, its fork, have in common: how their words become ours, and what a page of theirs gathers.

Facts: the default roles, statuses and address roles of NetBox 4.2 (its OpenAPI document) and Nautobot 3.2.7 (a real
    one), read 2026-11-22. Roles of devices are the user's own words; the table below knows those that are common.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from ipaddress import ip_address, ip_interface
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from pydantic import Field, field_validator

from foreshock.connect.auth import CaFile, Proxy, web_address
from foreshock.connect.cmdb import flaw, text
from foreshock.connect.config import did_you_mean
from foreshock.core.cmdb import CmdbConfig, CmdbPage, Flaw, Identifier, IdType, Item, Kind, Tie
from foreshock.core.errors import Denied, ForeshockError, Invalid, Malformed, Missing
from foreshock.core.topology import DIRECTIONS

if TYPE_CHECKING:
    from foreshock.connect.http import Refusal  # importing it takes a tenth of a second of each start

Row = Mapping[str, Any]
_MAX_IDENTIFIERS = 256
OVERLAP_S = 300.0
"""A change is dated when it is made and seen when its transaction ends: so far back is looked again."""

ROLES: Mapping[str, Kind] = {
    **dict.fromkeys(("server", "host", "hypervisor", "hv", "esx", "esxi", "kvm", "compute", "node"), Kind.SERVER),
    **dict.fromkeys(("appliance", "blade", "controller", "console", "oob"), Kind.SERVER),
    **dict.fromkeys(("switch", "router", "firewall", "leaf", "spine", "tor", "gateway", "ap", "wlc"), Kind.NETWORK),
    **dict.fromkeys(("access", "core", "distribution", "aggregation", "edge", "border", "cpe", "wan"), Kind.NETWORK),
    **dict.fromkeys(("loadbalancer", "balancer", "lb", "adc", "proxy", "network", "modem", "olt"), Kind.NETWORK),
    **dict.fromkeys(("storage", "san", "nas", "array", "filer", "disk", "tape", "jbod"), Kind.STORAGE),
    **dict.fromkeys(("pdu", "ups", "power", "rectifier", "generator"), Kind.POWER),
    **dict.fromkeys(("database", "db"), Kind.DATABASE),
    **dict.fromkeys(("vm", "virtual"), Kind.VM),
}  # fmt: skip
"""Words in the names of roles; of several in one name the last counts: a storage switch is a switch."""
RETIRED = ("decommissioned", "deprecated", "end-of-life", "inventory", "planned", "retired")
"""Statuses of what is no part of the topology: not there yet, or no more. Read without regard to case."""
SHARED_ROLES = frozenset({"anycast", "carp", "glbp", "hsrp", "vip", "vrrp", "secondary vip"})
"""Roles of addresses that several machines answer to, so that they identify none."""
OWNER_ROLES = ("support", "owner", "on-call")
TRAITS = ("owner", "contact", "environment", "criticality", "alias")
"""What a custom field can say of a CI."""


class DcimConfig(CmdbConfig):
    """What both let a person set."""

    url: str = Field(description="address of the server, without /api", examples=["https://cmdb.example.com"])
    token_file: Path = Field(
        description="file with the API token of a read-only account, mode 0600", examples=["cmdb.token"]
    )
    roles: dict[str, str] = Field(
        default_factory=dict,
        description="kind of CI for a role of devices or virtual machines, for example {gizmo: network}; common words "
        "(switch, server, pdu, storage …) are known",
    )
    retired: list[str] = Field(
        default=list(RETIRED), description="names of statuses of what is out of use, and so no part of the topology"
    )
    owner_roles: list[str] = Field(
        default=list(OWNER_ROLES),
        description="roles of contacts that name the support group of a thing; without such a contact its tenant is the"
        " owner",
    )
    fields: dict[str, str] = Field(
        default_factory=dict,
        description="custom fields that say more of a CI, ours first: {environment: env, criticality: tier, "
        "owner: support_group}; also contact and alias",
    )
    records: dict[str, str] = Field(
        default_factory=dict,
        description="custom fields that hold the id another system has for the same thing, and that system's kind: "
        "{snow_sys_id: servicenow}",
    )
    interfaces: bool = Field(
        default=False, description="make CIs of interfaces, too; devices are connected by their cables without that"
    )
    page_size: int = Field(default=200, ge=10, le=1000, description="devices a page; less for a slow server")
    ca_file: CaFile = None
    proxy: Proxy = ""

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        return web_address(url, like="https://cmdb.example.com", instead="token_file").removesuffix("/api")

    @field_validator("fields")
    @classmethod
    def _are_traits(cls, fields: dict[str, str]) -> dict[str, str]:
        for ours in fields:
            if ours not in TRAITS:
                raise Invalid(f"{ours!r} is nothing a custom field can say", hint=did_you_mean(ours, TRAITS))
        return fields


class Unseen(Denied):
    """The token is good, but may not view something."""


def read_refusal(refusal: "Refusal") -> ForeshockError | None:
    """A wrong token is 403, too."""
    said = refusal.json()
    detail = str(said.get("detail", "")) if isinstance(said, dict) else ""
    if refusal.status in (401, 403):
        if "permission" in detail.lower():
            return Unseen(refusal.message, hint="let the account view it")
        return Denied(refusal.message, hint="write the token of an enabled account into token_file")
    if refusal.status == 404:
        return Missing(refusal.message, hint="this version does not have it, or it was deleted")
    return None


def relationship_types(types: Mapping[str, str]) -> None:
    """Raises Invalid where one of the values is none."""
    for theirs, ours in types.items():
        if ours not in DIRECTIONS:
            raise Invalid(
                f"{ours!r} is not a relationship type", hint=f"known: {', '.join(DIRECTIONS)}", path=(theirs,)
            )


# ---- words ----------------------------------------------------------------------------------------------------------


class Words(Struct, frozen=True):
    """The maps of one instance."""

    roles: Mapping[str, str]
    retired: frozenset[str]
    owner_roles: frozenset[str]
    fields: Mapping[str, str]
    records: Mapping[str, str]

    @classmethod
    def of(cls, config: DcimConfig) -> "Words":
        return cls(
            roles={role.casefold(): kind for role, kind in config.roles.items()},
            retired=frozenset(word.casefold() for word in config.retired),
            owner_roles=frozenset(role.casefold() for role in config.owner_roles),
            fields=config.fields,
            records=config.records,
        )

    def mapped(self, role: str, otherwise: str) -> str:
        """Kind of CI, by what the settings say of a role."""
        return self.roles.get(role.casefold()) or otherwise

    def kind(self, role: str, otherwise: str) -> str:
        """The same, and by common words in the role's name."""
        if mapped := self.mapped(role, ""):
            return mapped
        found = [ROLES[word] for word in re.split(r"[^a-z]+", role.casefold()) if word in ROLES]
        return found[-1] if found else otherwise

    def is_retired(self, *statuses: str) -> bool:
        """By the name or the value of a status."""
        return any(status.casefold() in self.retired for status in statuses if status)

    def traits(self, custom: Any) -> dict[str, str]:
        """What custom fields say; only what is there."""
        custom = custom if isinstance(custom, Mapping) else {}
        found = {ours: _said(custom.get(theirs)) for ours, theirs in self.fields.items()}
        return {ours: text for ours, text in found.items() if text}

    def record_ids(self, custom: Any) -> list[Identifier]:
        custom = custom if isinstance(custom, Mapping) else {}
        found = ((kind, _said(custom.get(field))) for field, kind in self.records.items())
        return [Identifier(IdType.RECORD, value, kind) for kind, value in found if value]

    def people(self, contacts: Iterable[tuple[str, str]], tenant: str) -> tuple[str, str]:
        """Owner and contact, by (role, name) of each contact in the order of their weight."""
        known = [(role.casefold(), name) for role, name in contacts if name]
        groups = [name for role, name in known if role in self.owner_roles]
        others = [name for role, name in known if role not in self.owner_roles]
        owner = groups[0] if groups else tenant
        return owner, next((name for name in (*groups[1:], *others) if name != owner), "")


def text_of(value: Any) -> str:
    """A value as one line of bounded text; of an object its name. Empty where there is none. Raises Malformed."""
    if isinstance(value, Mapping):
        value = value.get("name") or value.get("label") or value.get("display") or value.get("value")
    return text(value, "a word")


def _said(value: Any) -> str:
    """Of a custom field; a list or a mark says nothing."""
    return "" if isinstance(value, list | bool) else text_of(value)


def moment_of(value: Any) -> datetime | None:
    if not isinstance(value, str):
        return None
    try:
        at = datetime.fromisoformat(value)
    except ValueError:
        return None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).astimezone(UTC)


# ---- what things are known by ---------------------------------------------------------------------------------------


class Address(Struct, frozen=True):
    """An IP address of a machine. scope: its namespace or VRF; empty for the global one."""

    host: str
    scope: str = ""
    role: str = ""
    dns_name: str = ""
    primary: bool = False


def identifiers(
    row: Row, addresses: Iterable[Address] = (), macs: Iterable[str] = (), records: Iterable[Identifier] = ()
) -> tuple[Identifier, ...]:
    """Of a machine, bounded: what it has itself first. Addresses that several machines may have are left out."""
    found = [
        Identifier(IdType.SERIAL, text_of(row.get("serial"))),
        Identifier(IdType.ASSET_TAG, text_of(row.get("asset_tag"))),
        *records,
    ]
    for address in sorted(addresses, key=lambda each: (not each.primary, each.scope, each.host)):
        host = _host(address.host)
        if not host or address.role.casefold() in SHARED_ROLES:
            continue
        found.append(Identifier(IdType.IP, host, address.scope))
        if address.primary and "." in address.dns_name:
            found.append(Identifier(IdType.FQDN, address.dns_name))
    found += [Identifier(IdType.MAC, mac) for mac in sorted({text_of(mac) for mac in macs})]
    return tuple(dict.fromkeys(each for each in found if each.value))[:_MAX_IDENTIFIERS]


def _host(text: str) -> str:
    """The address without its mask; empty where it is none, or says nothing of the machine."""
    try:
        found = ip_interface(text).ip if "/" in text else ip_address(text)
    except ValueError:
        return ""
    return "" if found.is_loopback or found.is_link_local or found.is_unspecified or found.is_multicast else str(found)


# ---- a page ---------------------------------------------------------------------------------------------------------


class Gathered:
    """What a page brings. delta: of a reading of what changed, so that what is no more must be told."""

    MANY = 8
    """So many ties of one sort that one object or cable makes are told apart; of more a problem is told."""

    def __init__(self, *, delta: bool) -> None:
        self.items: dict[str, Item] = {}
        self.ties: dict[str, Tie] = {}
        self.gone: dict[str, None] = {}
        self.gone_ties: dict[str, None] = {}
        self.flaws: list[Flaw] = []
        self.problems: dict[str, None] = {}
        self.delta = delta

    def read(
        self, rows: Iterable[Any], translate: Callable[[Row], None], id_of: Callable[[Any], Any] = lambda id: id
    ) -> None:
        """Each row by itself: one that cannot be read costs a flaw and no neighbour. id_of: of the item, by the id of
        the row."""
        for row in rows:
            try:
                translate(row)
            except (Malformed, KeyError, TypeError, AttributeError, ValueError) as error:
                id = row.get("id") if isinstance(row, Mapping) else None
                self.flaws.append(flaw(id_of(id), error, row))

    def slot(
        self, owner: str, name: str, type: str, targets: Sequence[str], *, class_name: str = "", most: int = 1
    ) -> None:
        """Ties that ``owner`` holds under a name of ours, ``most`` at most: by such keys a later reading of the same
        object replaces them, though it does not know what they were."""
        wanted = sorted({(owner, target) for target in targets if target and target != owner})
        self._put(f"{owner}/{name}", wanted, type, class_name or name, most)

    def connect(self, cable: str, ends: Sequence[tuple[str, str]], type: str, *, class_name: str = "cable") -> None:
        """Ties that one cable makes: pairs of ids. None: it makes none any more."""
        pairs = sorted({(one, other) for one, other in ends if one and other and one != other})
        self._put(cable, pairs, type, class_name, self.MANY)

    def _put(self, key: str, pairs: Sequence[tuple[str, str]], type: str, class_name: str, most: int) -> None:
        if len(pairs) > most:
            self.problems[f"{class_name} {key}: {len(pairs)} relationships, only {most} are read"] = None
        for index in range(most):
            id = key if not index else f"{key}:{index}"
            if index < len(pairs):
                source, target = pairs[index]
                self.ties[id] = Tie(id=id, source=source, type=type, target=target, class_name=class_name)
            elif self.delta:
                self.gone_ties[id] = None

    def page(self, **more: Any) -> CmdbPage:
        return CmdbPage(
            items=list(self.items.values()),
            ties=list(self.ties.values()),
            gone=[id for id in self.gone if id not in self.items],
            gone_ties=[id for id in self.gone_ties if id not in self.ties],
            flaws=self.flaws,
            problems=tuple(self.problems),
            **more,
        )


# ---- cables ---------------------------------------------------------------------------------------------------------

_POWER_IN, _POWER_OUT = frozenset({"powerport"}), frozenset({"poweroutlet", "powerfeed"})
_CONSOLE = frozenset({"consoleport", "consoleserverport"})
END_MODELS = (
    "interface", "frontport", "rearport", "powerport", "poweroutlet", "powerfeed", "consoleport", "consoleserverport",
    "circuittermination",
)  # fmt: skip
"""Models that a cable can end at."""


class End(Struct, frozen=True):
    """One end of a cable. owner: id of the device, circuit or feed it belongs to. model: of ``END_MODELS``."""

    owner: str
    model: str


def cable_pairs(one: Sequence[End], other: Sequence[End]) -> tuple[list[tuple[str, str]], str]:
    """What a cable ties, and how: who gets power needs who gives it; a console needs nothing."""
    models = {end.model for end in (*one, *other)}
    if models & _CONSOLE:
        return [(a.owner, b.owner) for a in one for b in other], "related_to"
    if models & _POWER_IN and models & _POWER_OUT:
        takes, gives = (one, other) if {end.model for end in one} & _POWER_IN else (other, one)
        return [(a.owner, b.owner) for a in takes for b in gives], "powered_by"
    return [(a.owner, b.owner) for a in one for b in other], "connects_to"
