"""What people can do in a stand-in that holds CIs, and what its system cannot do: words for the contract suite of
sources, the same for all systems."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any, Protocol

from msgspec import Struct

from foreshock.sandbox.system import Reply, Request


class Trait(StrEnum):
    """What most CMDBs can do. One that cannot says so in ``Cmdb.lacks``, with the reason.

    DELTA: it tells what changed since a mark. TOMBSTONES: and what was deleted. TRACELESS: something can be deleted
    without a tombstone. RENAMES: a CI keeps its id when it is renamed. PAGES: it answers by pages. EXPIRY: cursors or
    marks mean nothing any more after a while. FLAWS: one CI can be unreadable while others are not. FREE_NAMES: a name
    may hold any character, and a million of them. TWINS: two CIs may have names that differ only by case or Unicode
    form. LOOPS: a CI can be related to itself. CLASSES, RELATIONS: it has classes and relations that no map names.
    PERMISSIONS: an account may be allowed to read one kind of object and not another.
    """

    DELTA = "delta"
    TOMBSTONES = "tombstones"
    TRACELESS = "traceless"
    RENAMES = "renames"
    PAGES = "pages"
    EXPIRY = "expiry"
    FLAWS = "flaws"
    FREE_NAMES = "free_names"
    TWINS = "twins"
    LOOPS = "loops"
    CLASSES = "classes"
    RELATIONS = "relations"
    PERMISSIONS = "permissions"


class Relation(Struct, frozen=True):
    """One of its relations. word: its own. source, target: classes of the ends. type: what it is in our words, read
    from the source to the target."""

    word: str
    source: str
    target: str
    type: str


class Cmdb(Struct, frozen=True, kw_only=True):
    """What the suite uses of a system.

    Attributes:
        class_name, kind: one of its classes, and what that is in our words.
        relation: one of its relations, of which one target can have very many.
        unmapped_class, unmapped_relation: what no map names (type ``related_to``); with CLASSES and RELATIONS.
        shows: what ``put_ci`` and ``change_ci`` take, each with two values as the source is to show them: a field of
            ``core.cmdb.Item`` (``{"owner": ("Database", "Network")}``) or a type of identifier
            (``{"serial": ("SN-1", "SN-2")}``).
        hub: how many relations the hub of the suite has; fewer only where each of its neighbours costs a call.
        permissions: what can be taken away from the account by ``forbid``.
        lacks: what it cannot do, and why.
    """

    class_name: str
    kind: str
    relation: Relation
    unmapped_class: str = ""
    unmapped_relation: Relation | None = None
    shows: Mapping[str, tuple[Any, Any]] = {}
    hub: int = 100_000
    permissions: tuple[str, ...] = ()
    lacks: Mapping[Trait, str] = {}


class CmdbSystem(Protocol):
    """A stand-in that holds CIs. All that is done takes the time of its clock.

    Attributes:
        page_rows: it puts at most so many objects into one answer, whatever it is asked for; 0: as asked.
    """

    cmdb: Cmdb
    page_rows: int

    def handle(self, request: Request) -> Reply:
        """Answer one request."""

    def put_ci(self, name: str, class_name: str = "", **shown: Any) -> str:
        """A new CI; its id as the source says it. class_name: ``cmdb.class_name`` where it is empty."""

    def change_ci(self, id: str, **shown: Any) -> None:
        """Other values; ``name`` renames it."""

    def delete_ci(self, id: str, *, trace: bool = True) -> None:
        """With its relations. trace: whether the system can tell later that it was there."""

    def relate(self, source: str, target: str, word: str = "") -> str:
        """A new relation; its key as ``core.cmdb.Tie.key`` gives it. word: that of ``cmdb.relation`` if empty."""

    def unrelate(self, key: str) -> None:
        """The relation goes, with a trace where the system leaves any."""

    def spoil_ci(self, id: str) -> None:
        """From now on it is answered in a shape that cannot be read; with FLAWS."""

    def expire(self) -> None:
        """Cursors and marks that were given out mean nothing any more; with EXPIRY."""

    def forbid(self, permission: str) -> None:
        """The account may not read it any more; with PERMISSIONS."""
