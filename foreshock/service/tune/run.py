"""Tunes: cuts history, searches on its first part, and tells what the last part, never looked at, says of it."""

from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from hashlib import blake2b
from typing import Any

import msgspec
from msgspec import Struct
from pydantic import BaseModel

from foreshock.core.errors import ForeshockError
from foreshock.service.plan.outcome import AFTER
from foreshock.service.tune import score
from foreshock.service.tune.bench import Bench
from foreshock.service.tune.folds import Fold, cut
from foreshock.service.tune.known import Known, Reading
from foreshock.service.tune.score import Part
from foreshock.service.tune.search import Tried, choose, gain_before, search
from foreshock.service.tune.space import Parameter
from foreshock.service.tune.state import Search, State, Trial
from foreshock.service.tune.trial import FoldScore


class Options(Struct, frozen=True, kw_only=True):
    """trials: with what is in force. held_out: share of the incidents. gap_s: None: as long as one alert may reach back
    to another. jobs: processes."""

    trials: int = 100
    folds: int = 5
    held_out: float = 0.3
    gap_s: float | None = None
    seed: int = 1
    jobs: int = 1


class Estimate(Struct, frozen=True, kw_only=True):
    """F1 of what is in force and of what was chosen, with the difference and the interval that holds 95 % of what it
    might be."""

    before: float
    after: float
    gain: float
    low: float
    high: float


class Effect(Struct, frozen=True, kw_only=True):
    """What changing one number alone did, on the folds: (value, gain) for each."""

    path: str
    base: float
    tried: tuple[tuple[float, float], ...]

    @property
    def size(self) -> float:
        return max((abs(gain) for _, gain in self.tried), default=0.0)


class Side(Struct, frozen=True, kw_only=True):
    """Of the part that was held out. urgent: tickets of priority 1."""

    tickets: int
    urgent: int
    noise_reduction: float
    wait_s: float | None


class Cut(Struct, frozen=True, kw_only=True):
    """How history was cut. items: something is known of them. incidents: all, and those held out; some may reach over a
    gap and count nowhere."""

    events: int
    items: int
    incidents: int
    held_out: int
    span_s: float
    gap_s: float
    folds: tuple[Fold, ...]


class Tuned(Struct, frozen=True, kw_only=True):
    """What came of it.

    Attributes:
        trials: made. stopped: of them, those that were not played to the end.
        values: chosen; empty: what is in force. recommended: whether they are better on what was held out, beyond what
            may be chance. why: in words.
        in_sample, cross_validated: means over folds; of the first on those that chose them. held_out: None where there
            was nothing to try on it; before, after: what there would have been there.
        lost: situations of priority 1 that would have no ticket there. looks: how many settings were shown to it yet.
    """

    cut: Cut
    trials: int
    stopped: int
    values: dict[str, float]
    recommended: bool
    why: str
    in_sample: Estimate
    cross_validated: Estimate
    held_out: Estimate | None
    before: Side | None
    after: Side | None
    lost: int
    looks: int
    effects: tuple[Effect, ...]


def tune(
    reading: Reading,
    found: Known,
    truth: str,
    space: Sequence[Parameter],
    options: Options,
    state: Callable[[Search], State],
    tell: Callable[[int, float], None] = lambda _, __: None,
) -> Tuned:
    """truth: its digest. tell: hears how many trials are done, and the best gain in sample. Raises Malformed where
    there is too little to tune on."""
    gap_s = longest(space, reading.settings) if options.gap_s is None else options.gap_s
    last = reading.inputs[-1].record.at + AFTER
    folds = cut(found.incidents.values(), options.folds, options.held_out, gap_s, last.timestamp())
    opened = state(
        Search(
            history=reading.digest,
            truth=truth,
            present=_present(reading),
            folds=options.folds,
            held_out=options.held_out,
            gap_s=gap_s,
        )
    )
    try:
        return _Tuning(reading, found, space, options, folds, gap_s, opened, tell).work()
    finally:
        opened.close()


_TIMERS = (
    "relate.window", "group.join", "group.join_by_priority", "group.quiet", "group.quiet_by_priority", "group.reopen",
    "fold.expire_after", "fold.flap_hold",
)  # fmt: skip


def longest(space: Sequence[Parameter], settings: BaseModel) -> float:
    """How long one alert may reach back to another, at most: the longest of the times that decide on it, with what is
    tried for it, in seconds."""
    tried = {one.path: one.high for one in space}
    return max(max(_times(path, settings), tried.get(path, 0.0)) for path in _TIMERS)


def _times(path: str, settings: BaseModel) -> float:
    value: Any = settings
    for step in path.split("."):
        value = getattr(value, step)
    times = value.values() if isinstance(value, dict) else (value,)
    return max((time.total_seconds() for time in times if isinstance(time, timedelta)), default=0.0)


def digest_of(value: Any) -> str:
    return blake2b(msgspec.json.encode(value), digest_size=8).hexdigest()


def _present(reading: Reading) -> str:
    version = reading.version
    topology = version.topology.version if version.topology is not None else ""
    return digest_of((reading.settings.model_dump(mode="json"), version.rules, topology, version.learned))


class _Tuning:
    def __init__(
        self,
        reading: Reading,
        found: Known,
        space: Sequence[Parameter],
        options: Options,
        folds: Sequence[Fold],
        gap_s: float,
        state: State,
        tell: Callable[[int, float], None],
    ) -> None:
        self._reading, self._found, self._space, self._options = reading, found, space, options
        self._folds, self._gap_s, self._state, self._tell = tuple(folds), gap_s, state, tell
        self._bench = Bench(reading, found, space, folds, options.jobs)
        self._done, self._best = 0, 0.0

    def work(self) -> Tuned:
        options, count = self._options, self._options.folds
        tried = search(self._space, self._evaluate, folds=count, trials=options.trials, seed=options.seed)
        chosen = choose(tried, count, options.seed, must_have=count)
        steps = [choose(tried, stage, options.seed, must_have=stage + 1) for stage in range(1, count)]
        tests = [one.trial.folds[stage].parts for stage, one in enumerate(steps, 1)]
        held = self._held_out(chosen.trial.values) if chosen.trial.values else None
        before = self._held_out({}) if held is not None else None
        in_sample = self._estimate(chosen.parts(range(count)))
        cross = self._estimate(tests)
        last = self._estimate([held.parts]) if held is not None else None
        why = _why(last, held)
        return Tuned(
            cut=self._cut(),
            trials=len(tried),
            stopped=sum(len(one.trial.folds) < count for one in tried),
            values=chosen.trial.values,
            recommended=why == _BETTER,
            why=why,
            in_sample=in_sample,
            cross_validated=cross,
            held_out=last,
            before=_side(before),
            after=_side(held),
            lost=held.lost if held is not None else 0,
            looks=self._state.looks,
            effects=_effects(self._space, tried, count),
        )

    def _evaluate(self, wanted: Sequence[Mapping[str, float]]) -> list[Trial]:
        if {} in wanted:  # it is what all others are held against, so it is played each time
            self._present()
        missing = []
        for values in wanted:
            if (trial := self._state.find(values)) is None:
                missing.append(values)
            else:
                self._heard(trial.folds)
        for values, folds in self._bench.run(missing):
            self._state.add(Trial(values=dict(values), folds=folds))
            self._heard(folds)
        return [trial for values in wanted if (trial := self._state.find(values)) is not None]

    def _present(self) -> None:
        played = Trial(values={}, folds=self._bench.present())
        known = self._state.find({})
        if known is None:
            self._state.add(played)
        elif known != played:
            raise ForeshockError(
                "the state was written by another version of Foreshock: what is in force scores otherwise now",
                hint="name another file with --state",
            )

    def _heard(self, folds: Sequence[FoldScore]) -> None:
        self._done += 1
        if len(folds) == self._options.folds:
            self._best = max(self._best, score.gain([fold.parts for fold in folds]))
        self._tell(self._done, self._best)

    def _held_out(self, values: Mapping[str, float]) -> FoldScore:
        known = self._state.find(values, held_out=True)
        if known is None:
            known = Trial(values=dict(values), folds=[self._bench.held_out(values)], held_out=True)
            self._state.add(known)
        return known.folds[0]

    def _estimate(self, folds: Sequence[Sequence[Part]]) -> Estimate:
        low, high = score.interval(score.spread(folds, self._options.seed))
        before = sum(score.before(parts).f1 for parts in folds) / len(folds)
        after = sum(score.after(parts).f1 for parts in folds) / len(folds)
        return Estimate(before=before, after=after, gain=after - before, low=low, high=high)

    def _cut(self) -> Cut:
        first, last = (self._reading.inputs[place].record.at for place in (0, -1))
        begins = [one.first for one in self._found.incidents.values()]
        return Cut(
            events=sum(len(items.items) for items in self._reading.items if items is not None),
            items=len(self._found.items),
            incidents=len(begins),
            held_out=sum(begin >= self._folds[-1].begin for begin in begins),
            span_s=(last - first).total_seconds(),
            gap_s=self._gap_s,
            folds=self._folds,
        )


_BETTER = "what was held out says so too"


def _why(last: Estimate | None, held: FoldScore | None) -> str:
    if last is None or held is None:
        return "nothing that was tried is better by more than chance"
    if held.lost:
        return f"{held.lost} of priority 1 would have no ticket on what was held out"
    if last.low <= 0:
        return "on what was held out, the gain may be chance" if last.gain > 0 else "it is no gain on what was held out"
    return _BETTER


def _side(held: FoldScore | None) -> Side | None:
    if held is None:
        return None
    reduction = 1 - held.tickets / held.events if held.events else 0.0
    return Side(tickets=held.tickets, urgent=held.urgent, noise_reduction=round(reduction, 4), wait_s=held.wait_s)


def _effects(space: Sequence[Parameter], tried: Sequence[Tried], stage: int) -> tuple[Effect, ...]:
    """What matters most comes first."""
    found = []
    for parameter in space:
        alone = [one for one in tried if list(one.trial.values) == [parameter.path]]
        if alone:
            pairs = sorted((one.trial.values[parameter.path], round(gain_before(one, stage), 5)) for one in alone)
            found.append(Effect(path=parameter.path, base=parameter.base, tried=tuple(pairs)))
    return tuple(sorted(found, key=lambda effect: -effect.size))
