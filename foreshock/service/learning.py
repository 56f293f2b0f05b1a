"""Versions of what was learned, as files and as text for people."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec

from foreshock.core.errors import ConfigError, Problem
from foreshock.core.learned import CoOccurrence, Learned, Standing, versioned

_SHOWN_PAIRS = 5


def read_learned(path: Path) -> Learned:
    """A version from its file. Raises ConfigError where it is none, or where it was changed since it was trained."""
    try:
        learned = msgspec.json.decode(path.read_bytes(), type=Learned)
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _refused(path, f"cannot be read: {error}", "write one with `foreshock learn --out`") from None
    if (sound := versioned(learned).version) != learned.version:
        raise _refused(path, f"says it is {learned.version or 'nothing'}, its content is {sound}", "train it again")
    return learned


def write_learned(learned: Learned, path: Path) -> None:
    path.write_bytes(msgspec.json.encode(learned))


def _refused(path: Path, message: str, hint: str) -> ConfigError:
    return ConfigError([Problem(file=str(path), line=None, path="", message=message, hint=hint)])


def card(learned: Learned) -> Iterator[str]:
    """What a person should know of a version before using it, line by line."""
    if not learned.version:
        yield "nothing was learned: there is no history yet"
        return
    yield f"version      {learned.version}"
    span = f"{learned.since:%Y-%m-%d %H:%M} to {learned.until:%Y-%m-%d %H:%M} UTC"
    yield f"history      {span}, {learned.occurrences} onsets"
    yield (
        f"pairs        {len(learned.pairs)} kept of {learned.tested} that could have been found, "
        f"at a false discovery rate of {learned.fdr:g}"
    )
    levels = Counter(level(pair) for pair in learned.pairs)
    for name, count in sorted(levels.items()):
        yield f"             {count} {name}"
    yield f"half-life    a meeting {learned.half_life_s / 86_400:g} days ago weighs half"
    for pair in learned.pairs[:_SHOWN_PAIRS]:
        yield f"strongest    {pair.a} and {pair.b}: {pair.together} of {pair.times} times, strength {pair.strength:.2f}"
    for rule, curve in sorted(learned.curves.items()):
        yield (
            f"calibration  {rule}: {curve.pairs} pairs, Brier score {curve.brier:.4f} (bare strength "
            f"{curve.brier_raw:.4f}), calibration error {curve.ece:.3f} (bare strength {curve.ece_raw:.3f})"
        )


def level(pair: CoOccurrence) -> str:
    """What kind of pair it is, in words."""
    if pair.standing is Standing.UNKNOWN:
        return "of classes"
    if pair.standing is not None:
        return f"of classes by standing: {pair.standing.value}"
    return "of alerts on their CIs" if pair.a.name else "of CIs"
