"""A CMDB source before its stand-in: real sockets, a clock that only tests move, and what a sync keeps of readings."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import Struct, field

from foreshock.connect.http import Http
from foreshock.core.cmdb import CmdbPage, CmdbParts, CmdbSource, Flaw, IdType, Item, SourceKind, Tie
from foreshock.sandbox.cmdb import Cmdb, CmdbSystem, Relation, Trait
from foreshock.sandbox.faults import Faults
from foreshock.sandbox.server import SandboxServer
from foreshock.sandbox.system import Reply, Request, simulators
from foreshock.service.settings import source_kinds
from foreshock.testing.tickets import SteppedClock

SOURCES = source_kinds()
SOURCE_SIMULATORS = {
    kind: simulator for kind, simulator in simulators().items() if simulator.source_settings is not None
}
READ_TIMEOUT_S = 30.0
"""No fault takes so long; a machine that is busy with other things may need seconds for an answer of 1,000 objects."""
MAX_PAGES = 5000
"""More than any reading of a test has."""


class Reading(Struct, kw_only=True):
    """All pages of one reading, put together. cursors: ``next`` of each page but the last."""

    items: dict[str, Item] = field(default_factory=dict)
    ties: dict[str, Tie] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    gone_ties: set[str] = field(default_factory=set)
    flaws: list[Flaw] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    cursors: list[str] = field(default_factory=list)
    mark: str = ""
    whole: bool = False

    def add(self, page: CmdbPage) -> None:
        """A page deletes first, then it puts, so what it does both to is there."""
        for id in page.gone:
            self.items.pop(id, None)
        for key in page.gone_ties:
            self.ties.pop(key, None)
        self.items.update((item.id, item) for item in page.items)
        self.ties.update((tie.key, tie) for tie in page.ties)
        self.gone = (self.gone | set(page.gone)) - {item.id for item in page.items}
        self.gone_ties = (self.gone_ties | set(page.gone_ties)) - {tie.key for tie in page.ties}
        self.flaws += page.flaws
        self.problems += page.problems
        if page.next:
            self.cursors.append(page.next)
        self.mark, self.whole = page.mark, page.whole

    def named(self, name: str) -> Item:
        """The one item of this name."""
        (item,) = (item for item in self.items.values() if item.name == name)
        return item


class Copy:
    """What a sync keeps of the readings of one source, as simply as it can be said."""

    def __init__(self) -> None:
        self.items: dict[str, Item] = {}
        self.all_ties: dict[str, Tie] = {}
        self.mark = ""

    def apply(self, reading: Reading) -> None:
        if reading.whole:
            unread = {flaw.id for flaw in reading.flaws}
            self.items = {id: item for id, item in self.items.items() if id in unread}
            self.all_ties = {key: tie for key, tie in self.all_ties.items() if key in unread}
        for id in reading.gone:
            self.items.pop(id, None)
        for key in reading.gone_ties:
            self.all_ties.pop(key, None)
        self.items |= reading.items
        self.all_ties |= reading.ties
        self.mark = reading.mark

    @property
    def ties(self) -> set[tuple[str, str, str]]:
        """Between items that are there, none of them with itself."""
        return {
            (tie.source, tie.type, tie.target)
            for tie in self.all_ties.values()
            if tie.source != tie.target and tie.source in self.items and tie.target in self.items
        }


def shown(item: Item, name: str) -> Any:
    """What an item says under a name of ``Cmdb.shows``."""
    if name in set(IdType):
        return next((each.value for each in item.identifiers if each.type == name), "")
    return getattr(item, name)


class Bench:
    """One kind of source, what it reads, and what lies between.

    Attributes:
        world: the stand-in, to change it; ``can`` says what of.
        clock: the stand-in's; ``faults`` and ``server`` only where it is asked by HTTP.
    """

    def __init__(self, kind: SourceKind, folder: Path, *, seed: int = 1, config: Mapping[str, Any] = {}) -> None:
        self.kind = kind
        self.clock = SteppedClock()
        self.faults = Faults(seed=seed)
        self.server: SandboxServer | None = None
        self.world: Any
        settings: Mapping[str, Any]
        if kind.local:
            self.world, settings = LOCAL[kind.kind](folder)
        else:
            simulator = SOURCE_SIMULATORS[kind.kind]
            assert simulator.source_settings is not None
            self.world = simulator.build(self.clock, seed)
            self.server = SandboxServer(self.world, faults=self.faults, clock=self.clock, delays=(0.05, 0.05)).start()
            settings = simulator.source_settings(self.server.url, folder)
        self.settings = {**settings, **config}
        self.can: Cmdb = self.world.cmdb

    def source(self, **config: Any) -> CmdbSource:
        """A new instance, as after a restart of the process."""
        if self.server is None:
            self.world.write()
        http = partial(Http, connect_timeout_s=READ_TIMEOUT_S, read_timeout_s=READ_TIMEOUT_S)
        read = self.kind.config.model_validate({**self.settings, **config})
        return self.kind.build("prod", read, CmdbParts(http=http))

    def read(self, mark: str = "", *, between: Callable[[int], None] = lambda page: None, **config: Any) -> Reading:
        """All pages, each by another instance. between: called after each page that is not the last, with its number
        from 1 on."""
        reading = Reading()
        cursor = ""
        for number in range(1, MAX_PAGES):
            page = self.source(**config).page(cursor, mark)
            reading.add(page)
            if not page.next:
                return reading
            cursor = page.next
            between(number)
        raise AssertionError(f"the reading has not ended after {MAX_PAGES} pages")

    def put(self, *names: str, **shown: Any) -> list[str]:
        """CIs of these names; their ids."""
        return [self.world.put_ci(name, **shown) for name in names]

    def related(self, *pairs: tuple[str, str], relation: Relation | None = None) -> list[tuple[str, str, str]]:
        """Two new CIs by name for each pair, and the relation between them; ids of both, and the key."""
        chosen = relation or self.can.relation
        made = []
        for source, target in pairs:
            ends = self.world.put_ci(source, chosen.source), self.world.put_ci(target, chosen.target)
            made.append((*ends, self.world.relate(*ends, chosen.word)))
        return made

    def read_repeated(self, times: int) -> Reading:
        """A reading whose second page is answered with the first one once more, as by a cache between, so many times;
        0: for ever."""
        handle = self.world.handle
        said: dict[str, Reply] = {}
        left = 0

        def again(request: Request) -> Reply:
            nonlocal left
            if left and request.path in said:
                left -= 1
                return said[request.path]
            reply: Reply = handle(request)
            said[request.path] = reply
            return reply

        def begin(page: int) -> None:
            nonlocal left
            left = (times or -1) if page == 1 else left

        self.world.handle = again
        try:
            return self.read(between=begin)
        finally:
            self.world.handle = handle

    def close(self) -> None:
        if self.server is not None:
            self.server.stop()
            assert self.server.failures == [], "\n".join(self.server.failures)


@contextmanager
def benched(kind: SourceKind, folder: Path, **options: Any) -> Iterator[Bench]:
    bench = Bench(kind, folder, **options)
    try:
        yield bench
    finally:
        bench.close()


class Folder:
    """What people do in a topology file, as far as they can."""

    cmdb = Cmdb(
        class_name="server",
        kind="server",
        relation=Relation("runs_on", "application", "server", "runs_on"),
        shows={"owner": ("Database", "Network"), "environment": ("production", "test"), "criticality": (1, 3)},
        lacks={
            Trait.DELTA: "a file is read whole",
            Trait.TOMBSTONES: "a file is read whole",
            Trait.PAGES: "a file is one page",
            Trait.EXPIRY: "there are no cursors",
            Trait.FLAWS: "a file with problems is refused as a whole, with all of them",
            Trait.FREE_NAMES: "a file with control characters or very long text is refused, with the line",
            Trait.TWINS: "ids that differ only by case are refused, with the lines",
            Trait.CLASSES: "kinds of a file are the person's own words",
            Trait.RELATIONS: "a word that is unknown is refused, with the line and what is like it",
            Trait.PERMISSIONS: "a file can be read or not",
        },
    )

    def __init__(self, folder: Path) -> None:
        self.path = folder / "topology.json"
        self.page_rows = 0
        self._cis: dict[str, dict[str, Any]] = {}
        self._ties: dict[str, dict[str, str]] = {}
        self.put_ci("there from the start")

    def put_ci(self, name: str, class_name: str = "", **shown: Any) -> str:
        id = f"ci-{len(self._cis) + 1}"
        self._cis[id] = {"id": id, "name": name, "kind": class_name or self.cmdb.class_name, **shown}
        return id

    def change_ci(self, id: str, **shown: Any) -> None:
        self._cis[id] |= shown

    def delete_ci(self, id: str, *, trace: bool = True) -> None:
        del self._cis[id]
        self._ties = {key: tie for key, tie in self._ties.items() if id not in (tie["source"], tie["target"])}

    def relate(self, source: str, target: str, word: str = "") -> str:
        type_ = word or self.cmdb.relation.word
        key = Tie(source=source, type=type_, target=target).key
        self._ties[key] = {"source": source, "type": type_, "target": target}
        return key

    def unrelate(self, key: str) -> None:
        del self._ties[key]

    def write(self) -> None:
        """Save what was done."""
        content = {"cis": list(self._cis.values()), "relationships": list(self._ties.values())}
        self.path.write_text(json.dumps(content), encoding="utf-8")


def _folder(folder: Path) -> tuple[Folder, dict[str, Any]]:
    made = Folder(folder)
    return made, {"path": str(made.path)}


LOCAL: Mapping[str, Callable[[Path], tuple[CmdbSystem | Folder, dict[str, Any]]]] = {"file": _folder}
"""What the sources of this machine read."""
