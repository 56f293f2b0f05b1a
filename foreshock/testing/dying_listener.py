"""A listener that dies between having kept a message and acknowledging it: ``KIND SETTINGS FILE`` on the command line.

What it keeps goes to the file, a line of ``COLLECTOR BASE64`` each, on disk before it is killed by itself.
"""

import asyncio
import base64
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

import collectors
from foreshock.core.contracts import Collector, Outcome
from foreshock.core.model import Samples
from foreshock.core.registry import kinds


class Dying:
    """An ``Outlet`` after whose first record nothing more happens."""

    def __init__(self, file: Path) -> None:
        self._file = file

    async def take(
        self, payload: bytes, *, items: int = 1, collector: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        with self._file.open("a") as kept:
            kept.write(f"{collector} {base64.b64encode(payload).decode()}\n")
            kept.flush()
            os.fsync(kept.fileno())
        os.kill(os.getpid(), signal.SIGKILL)

    async def measure(self, samples: Sequence[Samples]) -> None:
        raise NotImplementedError

    def count(self, what: Outcome, by: int = 1) -> None: ...

    def say(self, problem: str) -> None: ...

    def listens(self, address: str) -> None: ...

    def show(self, tops: Sequence[tuple[str, str, int]]) -> None: ...


def kept_in(file: Path) -> list[tuple[str, bytes]]:
    """What it kept, as (collector, payload)."""
    lines = [line.split() for line in file.read_text().splitlines()]
    return [(collector, base64.b64decode(payload)) for collector, payload in lines]


def main() -> None:
    kind, settings, file = sys.argv[1:]
    declared = kinds(collectors, "COLLECTOR", Collector)[kind].listen
    assert declared is not None
    listener = declared.build("lab", declared.config.model_validate(msgspec.json.decode(settings)))
    assert listener is not None
    asyncio.run(listener.run(Dying(Path(file))))


if __name__ == "__main__":
    main()
