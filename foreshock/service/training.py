"""The child process that trains: ``python -m foreshock.service.training``.

It reads a ``Task`` on the first line of standard input and a ``Piece`` of the history on each further line, and writes
a ``Learned`` to standard output, all JSON.
"""

import os
import sys
from collections.abc import Iterable
from typing import IO, Any

import msgspec
from msgspec import Struct

from foreshock.core.contracts import Record
from foreshock.core.learned import Occurrence
from foreshock.core.model import Ended, Label
from foreshock.service.records import TopologyRecord

_NICE = 10


class Task(Struct, frozen=True, kw_only=True):
    """What to do.

    Attributes:
        settings: of ``predictor.settings.LearnSettings``, as plain data.
        head: records with the settings, rules and topology that were in force before the first record of the history.
        labels: what people said of what belongs together.
    """

    settings: dict[str, Any]
    topology: TopologyRecord
    head: tuple[Record, ...] = ()
    labels: tuple[Label, ...] = ()


class Piece(Struct, frozen=True, kw_only=True):
    """ended: a situation with its alerts, over or not. record: of the inbox, in order; only where there are labels."""

    ended: Ended | None = None
    record: Record | None = None


def work(stdin: IO[bytes], stdout: IO[bytes]) -> None:
    from foreshock.core.topology import Topology
    from foreshock.service import history, judged
    from foreshock.service.settings import collector_kinds, rule_kinds
    from predictor.settings import LearnSettings
    from predictor.train import train

    task = msgspec.json.decode(stdin.readline(), type=Task)
    read = msgspec.json.Decoder(Piece).decode
    listener = judged.Listener(collector_kinds(), rule_kinds())
    occurrences: list[Occurrence] = []
    for record in task.head:
        listener.read(record)
    for line in stdin:
        given = read(line)
        if given.ended is not None:
            occurrences += history.of_situation(given.ended)
        if given.record is not None:
            listener.read(given.record)
    known = judged.judged(listener.heard, judged.by_labels(task.labels, listener.engine.alerts), listener.tacitly)
    topology = Topology(task.topology.cis, task.topology.relationships, version=task.topology.version)
    learned = train(occurrences, topology, LearnSettings.model_validate(task.settings), known)
    stdout.write(msgspec.json.encode(learned))


# ---- the other end --------------------------------------------------------------------------------------------------


def piece(name: str, body: bytes) -> bytes:
    """A line with a ``Piece`` whose field ``name`` has this JSON, which need not be read for it."""
    return b'{"%s":%s}\n' % (name.encode(), body)


def feed(stdin: IO[bytes], task: Task, pieces: Iterable[bytes]) -> None:
    """Hand the work to a child's standard input, and close it."""
    try:
        with stdin:
            stdin.write(msgspec.json.encode(task) + b"\n")
            stdin.writelines(pieces)
    except BrokenPipeError:
        pass  # the child has ended early, and says why


if __name__ == "__main__":
    os.nice(_NICE)
    work(sys.stdin.buffer, sys.stdout.buffer)
