"""A sink before its stand-in: real sockets, a clock that only tests move, and a real delivery lane if wanted."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

from msgspec import structs

import incident_sink
from foreshock.connect.http import Http
from foreshock.core.contracts import Order, Receipt, Sink, SinkKind, SinkParts, Step, TicketChange, Verb
from foreshock.core.registry import kinds
from foreshock.sandbox.faults import Fault, Faults
from foreshock.sandbox.ledger import Entry
from foreshock.sandbox.server import SandboxServer
from foreshock.sandbox.system import Held, Reply, Request, Simulator, simulators
from foreshock.service.delivery import Lane
from foreshock.store.outbox import Outbox
from foreshock.store.store import Store
from foreshock.testing.tickets import SteppedClock, make_order

SINKS = kinds(incident_sink, "SINK", SinkKind)
SIMULATED = {kind: simulator for kind, simulator in simulators().items() if simulator.settings is not None}
STAGED = SIMULATED | {
    f"{kind}-{name}": structs.replace(simulator, settings=settings)
    for kind, simulator in SIMULATED.items()
    for name, settings in simulator.variants.items()
}
"""The stand-ins, each with every edition that it serves."""
READ_TIMEOUT_S = 5.0
CALLS = 12
"""More calls than any sink makes for one order."""


class Stage:
    """One sink kind, its stand-in and what lies between.

    Attributes:
        system: the stand-in itself, for what only it can do. server: with ``faults`` and ``ledger``.
        clock: the stand-in's and ours.
        sink: a fresh instance, and its config; ``restart`` makes another one, as after a restart of the process.
    """

    def __init__(self, simulator: Simulator, folder: Path, *, seed: int = 1, config: Mapping[str, Any] = {}) -> None:
        self.kind = SINKS[simulator.kind]
        self.clock = SteppedClock()
        self.faults = Faults(seed=seed)
        self.system: Any = simulator.build(self.clock, seed)
        self.server = SandboxServer(self.system, faults=self.faults, clock=self.clock, delays=(0.05, 0.05)).start()
        assert simulator.settings is not None, f"{simulator.kind} keeps no tickets"
        self.settings = {**simulator.settings(self.server.url, folder), **config}
        self.sink: Any = self.restart()

    def restart(self, **config: Any) -> Sink:
        http = partial(Http, connect_timeout_s=READ_TIMEOUT_S, read_timeout_s=READ_TIMEOUT_S)
        parts = SinkParts(http=http, book=None, console="https://noc.example")  # type: ignore[arg-type]
        self.config: Any = self.kind.config.model_validate({**self.settings, **config})
        made = self.kind.build("prod", self.config, parts)
        self.sink = made
        return made

    def held(self, key: str = "S-1", type: str = "incident") -> list[Held]:
        """The records with our key, oldest first."""
        with self.server.lock:
            return [record for record in self.system.held() if record.key == key and record.type == type]

    def one(self, key: str = "S-1") -> Held:
        (record,) = self.held(key)
        return record

    def person(self, number: str, action: str, **details: str) -> None:
        """Somebody does something there, a minute after everything before."""
        self.clock.move(60)
        with self.server.lock:
            self.system.edit(number, action, **details)

    def settle(self) -> None:
        """Time passes until what people did is old enough to be read, and any index has caught up."""
        self.clock.move(900)

    def news(self, cursor: int = 0) -> list[TicketChange]:
        """What people did, read once it is settled."""
        self.settle()
        return list(self.sink.changes(cursor))

    def overtake(self, number: str, action: str, **details: str) -> None:
        """Somebody does something there just before our next change of a record arrives."""
        handle = self.system.handle

        def overtaken(request: Request) -> Reply:
            if request.method in ("PUT", "PATCH"):
                self.system.handle = handle
                self.clock.move(5)
                self.system.edit(number, action, **details)
            reply: Reply = handle(request)
            return reply

        self.system.handle = overtaken

    def asked(self, method: str, part: str) -> list[Entry]:
        """Requests of this method whose path holds this part."""
        return [entry for entry in self.server.ledger.entries() if entry.method == method and part in entry.path]

    def wrong(self) -> list[tuple[str, str]]:
        """Subject and remedy of what a check found wanting."""
        return [(finding.subject, finding.remedy) for finding in self.sink.check() if finding.remedy]

    def deliver(self, verb: Verb, ticket: Receipt | None = None, **details: Any) -> Receipt:
        """One order through the sink, a minute after everything before."""
        self.clock.move(60)
        receipt: Receipt = self.sink.deliver(make_order(verb, sink="prod", **details), ticket)
        return receipt

    def close(self) -> None:
        self.server.stop()
        assert self.server.failures == [], "\n".join(self.server.failures)


@contextmanager
def staged(simulator: Simulator, folder: Path, **options: Any) -> Iterator[Stage]:
    stage = Stage(simulator, folder, **options)
    try:
        yield stage
    finally:
        stage.close()


class Bench:
    """A stage with a real outbox and lane in between. ``told``: what reached the inbox."""

    def __init__(self, stage: Stage, store: Store) -> None:
        self.stage = stage
        self.store = store
        self.outbox = Outbox(store)
        self.told: list[TicketChange] = []
        self.lane = self.new_lane()

    def new_lane(self) -> Lane:
        """As after a restart of the process."""
        self.lane = Lane(
            "prod",
            self.stage.restart(),
            self.outbox,
            self.told.append,
            now=self.stage.clock,
            index_delay=timedelta(seconds=self.stage.kind.index_delay_s),
            jitter=lambda: 0.0,
        )
        return self.lane

    def plan(self, *orders: Order) -> None:
        """As if the engine had decided them."""
        position = self.store.journal.position()[0]
        self.store.journal.commit(Step(read_from=position, position=position + 1, orders=orders))

    def run(self, passes: int = 40) -> None:
        """The lane works until nothing is pending; time moves between its looks. Fails where it never ends."""
        for _ in range(passes):
            self.lane.work()
            if not self.outbox.backlog("prod").pending:
                return
            self.stage.clock.move(400)
        raise AssertionError(f"orders are pending still: {self.lane.status()}")


def first_faults(fault: Fault, calls: int) -> tuple[Fault | None, ...]:
    """A script in which the last of so many calls meets a fault."""
    return (*[None] * (calls - 1), fault)
