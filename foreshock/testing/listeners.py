"""A collector that listens, for tests of what all listeners have in common: lines over TCP, each one acknowledged."""

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime

import msgspec

from foreshock.core.contracts import Collector, Listen, ListenConfig, Outcome, Outlet
from foreshock.core.errors import Denied, ForeshockError, Unavailable
from foreshock.core.model import Event, Samples, Series

CRASH, DENIED, WRONG, HANG = b"crash", b"denied", b"wrong", b"hang"
"""Lines that do to it what they say."""


class LinesConfig(ListenConfig):
    port: int


class Lines:
    """Answers ``ok`` to a line that is on disk, ``no`` to one that is not; ``m 1.5`` is measured, ``skip`` counted."""

    def __init__(self, config: LinesConfig) -> None:
        self._config = config
        self._end: asyncio.Future[None]

    async def run(self, outlet: Outlet) -> None:
        self._end = asyncio.get_running_loop().create_future()

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            pending = set()
            with suppress(ConnectionError):
                while line := await reader.readline():
                    task = asyncio.create_task(self._answer(line.strip(), outlet, writer))
                    pending.add(task)
                    task.add_done_callback(pending.discard)
            writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", self._config.port)
        outlet.listens("tcp {}:{}".format(*server.sockets[0].getsockname()))
        outlet.say("")
        try:
            await self._end
        except asyncio.CancelledError:
            server.close()
            await outlet.take(b"the last")
            raise

    async def _answer(self, line: bytes, outlet: Outlet, writer: asyncio.StreamWriter) -> None:
        answer = b"ok"
        try:
            if line == CRASH:
                raise SystemExit(3)
            if line in (DENIED, WRONG):
                self._end.set_exception(Denied("no") if line == DENIED else ForeshockError("wrong"))
            elif line == HANG:
                while True:
                    pass
            elif line == b"skip":
                outlet.count(Outcome.IGNORED)
            elif line.startswith(b"m "):
                outlet.show([("lines", "m", 1)])
                await outlet.measure(
                    [Samples(series=Series(ci="db1", metric="m"), times=[1e9], values=[float(line[2:])])]
                )
            else:
                await outlet.take(line)
        except Unavailable as error:
            answer = b"no"
            outlet.say(str(error))
        writer.write(answer + b" " + line + b"\n")


def decode(payload: bytes) -> Sequence[bytes]:
    return [payload]


def translate(item: bytes, received_at: datetime) -> Event:
    labels = msgspec.Raw(msgspec.json.encode({"alertname": item.decode()}))
    return Event(labels=labels, annotations=msgspec.Raw(b"{}"), starts_at=received_at, ends_at=None)


def build(name: str, config: LinesConfig) -> Lines | None:
    return Lines(config) if config.port else None


LINES = Collector(
    kind="lines",
    title="Lines over TCP",
    facts="none",
    decode=decode,
    translate=translate,
    sample="",
    listen=Listen(config=LinesConfig, build=build),
)
