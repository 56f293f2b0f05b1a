"""Plays trials, several at a time where there are processors for them. All share one reading: a process is forked for
each, so nothing is read, decoded or sent twice."""

import gc
import warnings
from collections.abc import Iterator, Mapping, Sequence
from multiprocessing import get_context
from multiprocessing.connection import Connection, wait
from multiprocessing.process import BaseProcess

import msgspec

from foreshock.core.errors import ForeshockError
from foreshock.service.tune import score
from foreshock.service.tune.folds import Fold
from foreshock.service.tune.known import Known, Reading
from foreshock.service.tune.space import Parameter, changed
from foreshock.service.tune.trial import FoldScore, Standing, compared, play

_HOPELESS = 0.05
"""A trial that is so much worse than what is in force after some folds is not played on: that would have to be made up
by the rest, and then be a gain."""

Values = Mapping[str, float]


class Bench:
    """``present`` comes before ``run``: what is in force is what trials are held against."""

    def __init__(
        self, reading: Reading, known: Known, space: Sequence[Parameter], folds: Sequence[Fold], jobs: int
    ) -> None:
        self._reading, self._known, self._space, self._jobs = reading, known, space, jobs
        self._folds, self._shares = tuple(folds), known.in_folds(folds)
        self._standings: list[Standing] = []

    def present(self) -> list[FoldScore]:
        """What is in force, beside itself."""
        self._standings = list(self._play({}, self._folds[:-1]))
        places = zip(self._folds, self._shares, self._standings, strict=False)
        return [compared(fold, share, one, one) for fold, share, one in places]

    def run(self, wanted: Sequence[Values]) -> Iterator[tuple[Values, list[FoldScore]]]:
        """Scores on the folds that are not held out, in the order in which trials end."""
        if self._jobs == 1 or len(wanted) < 2:
            for values in wanted:
                yield values, self._trial(values)
            return
        # What is there stays there: a look for garbage in a child would copy it all.
        gc.freeze()
        try:
            yield from self._side_by_side(list(reversed(wanted)))
        finally:
            gc.unfreeze()

    def _side_by_side(self, left: list[Values]) -> Iterator[tuple[Values, list[FoldScore]]]:
        running: dict[Connection, tuple[Values, BaseProcess]] = {}
        try:
            while left or running:
                while left and len(running) < self._jobs:
                    values = left.pop()
                    end, process = self._forked(values)
                    running[end] = values, process
                for end in [one for one in wait(list(running)) if isinstance(one, Connection)]:
                    values, process = running.pop(end)
                    yield values, _answer(end, process)
        finally:
            for _, process in running.values():
                process.kill()
                process.join()

    def _forked(self, values: Values) -> tuple[Connection, BaseProcess]:
        context = get_context("fork")
        here, there = context.Pipe(duplex=False)
        process = context.Process(target=self._child, args=(values, there), daemon=True)
        with warnings.catch_warnings():
            # Threads of numpy's libraries are idle, and the child computes without them.
            warnings.simplefilter("ignore", DeprecationWarning)
            process.start()
        there.close()
        return here, process

    def _child(self, values: Values, there: Connection) -> None:
        try:
            there.send_bytes(msgspec.json.encode(self._trial(values)))
        except BrokenPipeError:
            pass  # nobody waits for it any more
        except KeyboardInterrupt:
            pass

    def _trial(self, values: Values) -> list[FoldScore]:
        found: list[FoldScore] = []
        places = zip(self._folds, self._shares, self._standings, strict=False)
        for (fold, share, before), after in zip(places, self._play(values, self._folds[:-1]), strict=True):
            found.append(compared(fold, share, before, after))
            if score.gain([one.parts for one in found]) < -_HOPELESS:
                break
        return found

    def held_out(self, values: Values) -> FoldScore:
        """On the part that is held out, beside what is in force, both with all that came before."""
        (*_, before) = self._play({}, self._folds)
        (*_, after) = self._play(values, self._folds) if values else (before,)
        return compared(self._folds[-1], self._shares[-1], before, after)

    def _play(self, values: Values, folds: Sequence[Fold]) -> Iterator[Standing]:
        return play(self._reading, changed(self._reading.settings, self._space, values), self._known, folds)


def _answer(end: Connection, process: BaseProcess) -> list[FoldScore]:
    try:
        answer = end.recv_bytes()
    except EOFError:
        process.join()
        raise ForeshockError(
            f"a trial has ended without a result (exit code {process.exitcode})",
            hint="there may be too little memory for --jobs; with --state the rest is kept",
        ) from None
    finally:
        end.close()
    process.join()
    return msgspec.json.decode(answer, type=list[FoldScore])
