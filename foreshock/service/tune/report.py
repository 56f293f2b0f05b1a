"""What came of tuning, for people and for programs."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from io import StringIO
from typing import Any

import msgspec
from ruamel.yaml import YAML

from correlation.settings import CorrelationSettings, differing
from foreshock.core.quantities import format_duration
from foreshock.service.tune.run import Estimate, Side, Tuned
from foreshock.service.tune.space import Parameter, changed

_SHOWN = 8
_MATTERS = 0.0005


def text(tuned: Tuned, space: Sequence[Parameter]) -> Iterator[str]:
    by_path = {one.path: one for one in space}
    yield from _heading(tuned)
    yield ""
    yield f"  {'pairwise F1':<17}{'now':>8}{'tuned':>9}{'gain':>10}  95 %"
    yield _estimate("in sample", tuned.in_sample)
    yield _estimate("cross-validated", tuned.cross_validated)
    if tuned.held_out is not None:
        yield _estimate("held out", tuned.held_out)
    if tuned.before is not None and tuned.after is not None:
        yield ""
        yield f"  {'held out':<32}{'now':>8}{'tuned':>9}"
        yield from _sides(tuned.before, tuned.after)
    yield ""
    yield verdict(tuned)
    for path, value in tuned.values.items():
        parameter = by_path[path]
        yield f"  {path}: {parameter.text(value)} (now {parameter.text(parameter.base)})"
    if tuned.looks > 1:
        yield (
            f"What was held out has been shown {tuned.looks} settings by now; with each it tells less. Newer "
            "history tells more."
        )
    yield ""
    yield "What mattered, each number changed alone (gain in sample):"
    shown = [effect for effect in tuned.effects[:_SHOWN] if effect.size >= _MATTERS]
    for effect in shown:
        parameter = by_path[effect.path]
        tried = "   ".join(f"{parameter.text(value):>8} {gain:+.4f}" for value, gain in effect.tried)
        yield f"  {effect.path:<28} {parameter.text(effect.base):>8}   {tried}"
    if rest := [effect.path for effect in tuned.effects[len(shown) :]]:
        yield f"  {'less' if shown else 'hardly'}: {', '.join(rest)}"


def verdict(tuned: Tuned) -> str:
    if tuned.recommended:
        return f"Worth having: {tuned.why}."
    return f"Keep what is in force: {tuned.why}."


def _heading(tuned: Tuned) -> Iterator[str]:
    cut = tuned.cut
    span = format_duration(timedelta(seconds=60 * round(cut.span_s / 60)))
    gap = format_duration(timedelta(seconds=round(cut.gap_s)))
    yield f"{cut.events:,} events over {span}; {cut.items:,} are known, in {cut.incidents:,} incidents"
    yield (
        f"{len(cut.folds) - 1} folds, then {cut.held_out:,} incidents held out, gaps of {gap}; {tuned.trials} trials, "
        f"{tuned.stopped} of them stopped early"
    )


def _estimate(name: str, one: Estimate) -> str:
    spread = f"{one.low:+.4f} to {one.high:+.4f}"
    return f"  {name:<17}{one.before:>8.4f}{one.after:>9.4f}{one.gain:>+10.4f}  {spread}"


def _sides(before: Side, after: Side) -> Iterator[str]:
    rows = (
        ("tickets", f"{before.tickets:,}", f"{after.tickets:,}"),
        ("of them P1", f"{before.urgent:,}", f"{after.urgent:,}"),
        ("noise reduction", f"{before.noise_reduction:.2%}", f"{after.noise_reduction:.2%}"),
        ("first alert to ticket, median", _seconds(before.wait_s), _seconds(after.wait_s)),
    )
    for name, one, other in rows:
        yield f"  {name:<32}{one:>8}{other:>9}"


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f} s"


def as_json(tuned: Tuned, space: Sequence[Parameter]) -> bytes:
    by_path = {one.path: one for one in space}
    body: dict[str, Any] = msgspec.to_builtins(tuned)
    body["verdict"] = verdict(tuned)
    body["set"] = [f"{path}={by_path[path].text(value)}" for path, value in tuned.values.items()]
    body["cut"]["folds"] = [
        {name: None if abs(value) == float("inf") else value for name, value in fold.items()}
        for fold in body["cut"]["folds"]
    ]
    return msgspec.json.format(msgspec.json.encode(body), indent=1)


def settings_file(settings: CorrelationSettings, space: Sequence[Parameter], values: Mapping[str, float]) -> str:
    """All that is not as it ships, as ``--settings`` reads it, with what was tuned."""
    new = changed(settings, space, values)
    out = StringIO()
    yaml = YAML()
    yaml.dump(differing(new), out)
    said = "".join(
        f"# {one.path}: {one.text(values[one.path])}, was {one.text(one.base)}\n" for one in space if one.path in values
    )
    return f"# Written by `foreshock tune`; what is not here is as it ships.\n{said}{out.getvalue()}"
