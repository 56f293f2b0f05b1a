"""What a search has found so far, in a file: JSON lines, one trial each, so that it goes on where it was stopped."""

import fcntl
import os
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import msgspec
from msgspec import Struct

from foreshock.core.errors import ForeshockError, Held
from foreshock.service.tune.trial import FoldScore

FORMAT = 1

Key = tuple[tuple[str, float], ...]


class Search(Struct, frozen=True, kw_only=True):
    """What must be equal for a score to mean the same: digests, and how history was cut."""

    format: int = FORMAT
    history: str
    truth: str
    present: str
    folds: int
    held_out: float
    gap_s: float


class Trial(Struct, frozen=True, kw_only=True):
    """Scores of the folds that were played, in order: of all but the held out part, or of that alone."""

    values: dict[str, float]
    folds: list[FoldScore]
    held_out: bool = False


class State:
    """Args: path: None keeps everything in memory only."""

    def __init__(self, path: Path | None, search: Search) -> None:
        self._file: IO[bytes] | None = None
        self._trials: dict[Key, Trial] = {}
        self._held_out: dict[Key, Trial] = {}
        if path is not None:
            self._file = _opened(path)
            try:
                self._read(path, search)
            except BaseException:
                self._file.close()
                raise

    def find(self, values: Mapping[str, float], *, held_out: bool = False) -> Trial | None:
        return (self._held_out if held_out else self._trials).get(_key(values))

    def add(self, trial: Trial) -> None:
        (self._held_out if trial.held_out else self._trials)[_key(trial.values)] = trial
        self._write(msgspec.json.encode(trial))

    @property
    def looks(self) -> int:
        """How many settings were shown the part that is held out, without those in force."""
        return sum(bool(values) for values in self._held_out)

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _read(self, path: Path, search: Search) -> None:
        assert self._file is not None
        head, whole = msgspec.json.encode(search), 0
        for number, line in enumerate(self._file, 1):
            if not line.endswith(b"\n") and (number > 1 or head.startswith(line)):
                break  # it was being written when that run ended: the trial is made again
            if number == 1:
                _check(path, line, search)
            else:
                self._take(path, number, line)
            whole += len(line)
        self._file.truncate(whole)
        self._file.seek(whole)
        if not whole:
            self._write(head)

    def _take(self, path: Path, number: int, line: bytes) -> None:
        try:
            trial = msgspec.json.decode(line, type=Trial)
        except msgspec.DecodeError as error:
            raise ForeshockError(
                f"{path}:{number} is no trial: {error}", hint="name another file with --state, or delete this one"
            ) from None
        (self._held_out if trial.held_out else self._trials)[_key(trial.values)] = trial

    def _write(self, line: bytes) -> None:
        if self._file is not None:
            self._file.write(line + b"\n")
            self._file.flush()
            os.fsync(self._file.fileno())


def _key(values: Mapping[str, float]) -> Key:
    return tuple(sorted(values.items()))


def _opened(path: Path) -> IO[bytes]:
    try:
        file = path.open("a+b")
    except OSError as error:
        raise ForeshockError(f"{path} cannot be written: {error.strerror}", hint="name another --state") from None
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise Held(f"another `foreshock tune` works with {path}", hint="wait for it, or name another --state") from None
    file.seek(0)
    return file


def _check(path: Path, line: bytes, search: Search) -> None:
    try:
        there: dict[str, Any] = msgspec.json.decode(line, type=dict[str, Any])
    except msgspec.DecodeError:
        there = {}
    here = msgspec.to_builtins(search)
    if there.keys() != here.keys():
        raise ForeshockError(f"{path} is no state of `foreshock tune`", hint="name another file with --state")
    other = [_WORDS[name] for name in here if there[name] != here[name]]
    if other:
        raise ForeshockError(
            f"{path} is the state of another search: {', '.join(other)} differ{'s' if len(other) == 1 else ''}",
            hint="give what was given then, or name another file with --state",
        )


_WORDS = {
    "format": "the version of Foreshock", "history": "the history", "truth": "the truth",
    "present": "what is in force (settings, rules, topology or learned tables)", "folds": "the number of folds",
    "held_out": "the part held out", "gap_s": "the gap",
}  # fmt: skip
