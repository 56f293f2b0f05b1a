"""The child process that trains: ``python -m foreshock.service.training``.

It reads a ``Task`` on the first line of standard input, an ``Occurrence`` on each further line, and writes a
``Learned`` to standard output, all JSON.
"""

import os
import sys
from typing import IO, Any

import msgspec
from msgspec import Struct

from foreshock.core.learned import Occurrence
from foreshock.service.records import TopologyRecord

_NICE = 10


class Task(Struct, frozen=True, kw_only=True):
    """settings: of ``predictor.settings.LearnSettings``, as plain data."""

    settings: dict[str, Any]
    topology: TopologyRecord


def work(stdin: IO[bytes], stdout: IO[bytes]) -> None:
    from foreshock.core.topology import Topology
    from predictor.settings import LearnSettings
    from predictor.train import train

    task = msgspec.json.decode(stdin.readline(), type=Task)
    read = msgspec.json.Decoder(Occurrence).decode
    occurrences = [read(line) for line in stdin]
    topology = Topology(task.topology.cis, task.topology.relationships, version=task.topology.version)
    stdout.write(msgspec.json.encode(train(occurrences, topology, LearnSettings.model_validate(task.settings))))


if __name__ == "__main__":
    os.nice(_NICE)
    work(sys.stdin.buffer, sys.stdout.buffer)
