"""What a CMDB source says, in words that all sources share, before several of them become one topology.

A source is one file in ``cmdb_sync/``, named after the product it asks; it ends with ``SOURCE``. It reads objects page
by page and says what each is; which objects of several sources are one thing is decided in ``core.reconcile``.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

from msgspec import Struct
from pydantic import Field

from foreshock.core.contracts import ConnectorConfig, Finding
from foreshock.core.errors import ForeshockError
from foreshock.core.model import Moment
from foreshock.core.quantities import Duration

GENERIC = "generic"
"""Kind of a CI whose class no map names."""
RELATED = "related_to"
"""Type of a relationship that no map names: kept and counted, but no failure is known to spread along it."""


class Kind(StrEnum):
    """What a CI is, in our words. SERVICE: what the business uses; its criticality feeds impact."""

    SERVICE = "service"
    APPLICATION = "application"
    API = "api"
    DATABASE = "database"
    QUEUE = "queue"
    SERVER = "server"
    VM = "vm"
    CONTAINER = "container"
    CLUSTER = "cluster"
    NAMESPACE = "namespace"
    NETWORK = "network"
    INTERFACE = "interface"
    CIRCUIT = "circuit"
    STORAGE = "storage"
    POWER = "power"
    RACK = "rack"
    LOCATION = "location"
    OTHER = GENERIC


class IdType(StrEnum):
    """By what a thing is known beyond its name.

    SERIAL, ASSET_TAG, UUID, MAC: of the hardware. PROVIDER: the id a cloud or hypervisor gave it, in scope of the
    account. FQDN, HOSTNAME, IP: IP in scope of the namespace or VRF. KUBERNETES: ``namespace/kind/name`` in lower case,
    in scope of the cluster. RECORD: the id that another system has for it, in scope of that source's kind
    (``servicenow``); each object has one for itself already.
    """

    SERIAL = "serial"
    ASSET_TAG = "asset_tag"
    UUID = "uuid"
    PROVIDER = "provider"
    FQDN = "fqdn"
    HOSTNAME = "hostname"
    IP = "ip"
    MAC = "mac"
    KUBERNETES = "kubernetes"
    RECORD = "record"


class Identifier(Struct, frozen=True, gc=False, array_like=True):
    """value: as the source writes it. scope: within which it is unique; empty: everywhere."""

    type: IdType
    value: str
    scope: str = ""


class Item(Struct, frozen=True, kw_only=True, gc=False):
    """One object of one source.

    Attributes:
        id: unique in the source, and the same when the object is renamed.
        kind: a ``Kind``, or a word of the user's own by the source's settings.
        class_name: the source's own word for what it is.
        handle: what people call it where its name is not unique by nature (``shop/deployment/cart``); empty: the name.
        aliases: other names without a type.
        owner: the support group. contact: who else answers for it. environment: "production", "test", …
        criticality: 1 (most) .. 4; 0 where the source does not say.
        location: where it stands, for people.
        retired: it is known but out of use: no part of the topology.
        url: its page there. updated_at: when it last changed there.
    """

    id: str
    name: str
    kind: str = GENERIC
    class_name: str = ""
    handle: str = ""
    identifiers: tuple[Identifier, ...] = ()
    aliases: tuple[str, ...] = ()
    owner: str = ""
    contact: str = ""
    environment: str = ""
    criticality: int = 0
    location: str = ""
    retired: bool = False
    url: str = ""
    updated_at: Moment | None = None


class Tie(Struct, frozen=True, kw_only=True, gc=False):
    """One relationship of one source: ``source`` <type> ``target``, both ids of its items.

    Attributes:
        id: unique in the source; empty where it has none: then the three are its identity. Where a field of an object
            says it, name both (``device:12/rack``): then another value replaces it, and none is said by ``gone_ties``.
        type: one of ``core.topology.DIRECTIONS``. class_name: the source's own word.
    """

    source: str
    type: str
    target: str
    id: str = ""
    class_name: str = ""

    @property
    def key(self) -> str:
        return self.id or f"{self.source} {self.type} {self.target}"


class Flaw(Struct, frozen=True, kw_only=True):
    """An object that could not be read; the others are. payload: as it came, shortened."""

    id: str
    error: str
    payload: str = ""


class CmdbPage(Struct, frozen=True, kw_only=True):
    """One page of a reading.

    Attributes:
        items, ties: new or changed; of one that comes twice in a reading the later counts.
        gone: ids of items that are no more. gone_ties: keys of ties. A page deletes first, then it puts.
        flaws: what could not be read. It counts as named, so it is not gone.
        next: cursor of the next page, in the source's own words; empty: this is the last.
        mark: with the last page: where the next reading goes on; empty where the source cannot tell what changed, so
            that each reading is whole.
        whole: with the last page: all there is was read, so that what no page named is gone.
        expected: about how many items and ties the reading brings in all; 0 where that is not known.
        problems: what a person should know although all went well, for example a bound that was hit.
    """

    items: Sequence[Item] = ()
    ties: Sequence[Tie] = ()
    gone: Sequence[str] = ()
    gone_ties: Sequence[str] = ()
    flaws: Sequence[Flaw] = ()
    next: str = ""
    mark: str = ""
    whole: bool = False
    expected: int = 0
    problems: tuple[str, ...] = ()


class Expired(ForeshockError):
    """A cursor or mark means nothing to the system any more: the reading begins anew, and whole."""


class CmdbSource(Protocol):
    """One instance of a CMDB source."""

    def page(self, cursor: str, mark: str) -> CmdbPage:
        """One page, bounded: a thousand objects or so.

        Args:
            cursor: empty for the first page of a reading, then ``next`` of the page before. After a crash the same
                cursor is asked again, perhaps by another process: a source keeps nothing in memory that it needs.
            mark: empty for a whole reading; otherwise of the last reading that ended, to read what changed since. The
                answer may be a whole reading all the same. It is the same for all pages of a reading.

        Nothing that stayed as it was while a whole reading went on may be missing from it, even where pages shift
        because something else was deleted meanwhile.
        Raises Unavailable (with ``retry_after_s`` where the system asks for a rest), Denied, Rejected, Expired, and
        ConfigError where a person must edit a file.
        """

    def check(self) -> Sequence[Finding]:
        """Credentials, and for each kind of object whether this account may read it, without changing anything. Raises
        Unavailable where nothing can be asked."""


class WorkState(StrEnum):
    """How far planned work has come. PLANNED: it will take place, as far as is known; what still waits to be allowed is
    not listed at all."""

    PLANNED = "planned"
    RUNNING = "running"
    DONE = "done"
    CANCELLED = "cancelled"


class PlannedWork(Struct, frozen=True, kw_only=True):
    """A change request or a maintenance window, as a system holds it.

    Attributes:
        id: its number there, for people; unique in the source.
        starts_at, ends_at: as planned. began_at, ended_at: as it happened, where the system says so.
        cis: ids of items of the same source, or names. services: business services, the same way.
        owner: the person or group that does it.
    """

    id: str
    title: str
    state: WorkState
    starts_at: Moment
    ends_at: Moment
    began_at: Moment | None = None
    ended_at: Moment | None = None
    cis: tuple[str, ...] = ()
    services: tuple[str, ...] = ()
    owner: str = ""
    url: str = ""


class WorkSource(CmdbSource, Protocol):
    """A source whose system plans work, too (``SourceKind.plans_work``)."""

    def work(self, start: datetime, end: datetime) -> Sequence[PlannedWork]:
        """What was allowed and touches start..end by its plan or in fact, and what was called off of it; bounded.
        Raises Unavailable, Denied, Rejected."""


class CmdbConfig(ConnectorConfig):
    """What every source lets a person set."""

    every: Duration = Field(
        default=timedelta(minutes=5),
        ge=timedelta(seconds=1),
        le=timedelta(days=7),
        description="how often is read what changed",
    )
    full_every: Duration = Field(
        default=timedelta(days=1),
        ge=timedelta(minutes=1),
        le=timedelta(days=31),
        description="how often is everything read, so that what was deleted without a trace is noticed",
    )
    max_retire: float = Field(
        default=0.1,
        ge=0,
        le=1,
        description="a reading that would retire a larger share of this source's CIs is refused until a person allows "
        "it: `foreshock cmdb sync NAME --accept-retire N`",
    )


class WorkUse(StrEnum):
    """What is made of planned work. EVIDENCE: once it begins, a candidate for the cause of what follows. QUIET: what it
    touches, besides, opens no tickets in the time that was planned."""

    OFF = "off"
    EVIDENCE = "evidence"
    QUIET = "quiet"


class WorkConfig(CmdbConfig):
    """What sources that plan work let a person set besides."""

    changes: WorkUse = Field(
        default=WorkUse.EVIDENCE,
        description="what is made of change requests there: evidence (candidates for causes once they begin), quiet "
        "(besides, alerts in their planned time on what they touch open no tickets) or off",
    )


class CmdbParts(Struct, frozen=True, kw_only=True):
    """What a source may need of the rest. http: a ``connect.http.Http`` factory."""

    http: Callable[..., Any]


class SourceKind(Struct, frozen=True, kw_only=True):
    """Declaration of a CMDB source. ``build`` gets the instance's name, its configuration and what it may need.

    Attributes:
        title, facts: one line for people; sources of the API facts with their dates.
        local: reads files of this machine, so a mistake there is the person's who starts Foreshock.
        plans_work: its sources are a ``WorkSource``, and ``config`` is a ``WorkConfig``.
    """

    kind: str
    title: str
    facts: str
    config: type[CmdbConfig]
    build: Callable[[str, Any, CmdbParts], CmdbSource]
    local: bool = False
    plans_work: bool = False
