"""What a stand-in was asked and what it did: append-only, so that a checker trusts neither Foreshock nor the stand-in's
present state."""

import json
import threading
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import TextIO

import msgspec
from msgspec import Struct

_BODY_CHARS = 20_000
_KEPT = 200_000


class Entry(Struct, frozen=True, kw_only=True):
    """One request.

    Attributes:
        status: of the answer that was made; whether it arrived, ``fault`` tells.
        effects: what it changed, for example ``incident INC0010001 created S-1``; empty for a read or a refusal.
        body: as received, cut.
    """

    number: int
    at: datetime
    method: str
    path: str
    query: str
    status: int
    fault: str = ""
    effects: tuple[str, ...] = ()
    body: str = ""


class Ledger:
    """Entries in the order of the requests, in memory and, with ``path``, a line of JSON each in a file."""

    def __init__(self, path: Path | None = None) -> None:
        self._entries: list[Entry] = []
        self._lock = threading.Lock()
        self._number = 0
        self._file: TextIO | None = None if path is None else path.open("a", encoding="utf-8")

    def add(
        self,
        *,
        at: datetime,
        method: str,
        path: str,
        query: str,
        status: int,
        fault: str,
        effects: tuple[str, ...],
        body: bytes,
    ) -> None:
        with self._lock:
            self._number += 1
            entry = Entry(
                number=self._number,
                at=at,
                method=method,
                path=path,
                query=query,
                status=status,
                fault=fault,
                effects=effects,
                body=body.decode("utf-8", "replace")[:_BODY_CHARS],
            )
            self._entries.append(entry)
            del self._entries[:-_KEPT]
            if self._file is not None:
                self._file.write(msgspec.json.encode(entry).decode() + "\n")
                self._file.flush()

    def entries(self) -> list[Entry]:
        with self._lock:
            return list(self._entries)

    def effects(self, containing: str = "") -> list[str]:
        """All effects that contain a text, in order."""
        return [effect for entry in self.entries() for effect in entry.effects if containing in effect]

    def close(self) -> None:
        if self._file is not None:
            self._file.close()


def read_ledger(path: Path) -> Iterator[Entry]:
    """The entries of a file; a last line that was cut off by a kill is left out."""
    with path.open(encoding="utf-8") as lines:
        for line in lines:
            try:
                yield msgspec.convert(json.loads(line), Entry)
            except ValueError:
                return
