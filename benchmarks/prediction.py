"""Incidents foreseen on recorded outages and disk failures, judged by scorers that know what came, and what it costs.

    make bench-prediction       or    python benchmarks/prediction.py [--only hpc_failures,disk_smart,left_out,speed]

``left_out`` answers each system with a model of the others, one fit for each system: it takes the longest. ``speed``
trains on --rows rows (default 1,000,000; the promise is for 5,000,000) and scores 10,000 entities.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import product

DATA = product.EVAL.parent / "data"
_BUDGETS = {"hpc_failures": ("0.01", "0.03", "0.1"), "disk_smart": ("0.0003", "0.001", "0.003")}
_QUESTIONS = {
    "hpc_failures": ("hpc", ("--lead", "1", "--horizon", "7"), ("--merge", "1", "--guard", "0"), "1440"),
    "disk_smart": ("disk", ("--lead", "1", "--horizon", "4"), ("--merge", "0", "--guard", "0"), "10080"),
}
_OTHERS = {
    "hpc_failures": (
        ("gradient boosting", ".178", ".17 / .30 / .49", "", "", "", ""),
        ("outages of the last year", ".167", ".17 / .29 / .48", ".074", "", "", ""),
        ("chance", ".028", ".01 / .03 / .09", "0", "", "", ""),
    ),
    "left_out": (("gradient boosting", ".158", ".14 / .30 / .49", "", "", "", ""),),
    "disk_smart": (
        ("gradient boosting", ".041", ".08 / .21 / .33", "", "", "", ""),
        ("chance", ".0018", "", "0", "", "", ""),
    ),
}
_COLUMNS = (
    "who", "average precision", "recall within budgets", "Brier skill (95 %)", "expected/observed, top 5 / 1 / 0.1 %",
    "own alarms: false a week (budget)", "own recall",
)  # fmt: skip


# ---- foresight ------------------------------------------------------------------------------------------------------


def foresight(name: str, work: Path, *, left_out: bool = False) -> list[tuple[str, ...]]:
    task, question, merging, minutes = _QUESTIONS[name]
    prepared, out = work / task, work / f"{task}-{'left-out' if left_out else 'answer'}"
    if not prepared.is_dir():
        _run(product.EVAL / "prepare.py", task, DATA / name, prepared)
    spec = product.ROOT / "benchmarks" / f"prediction_{name}.yaml"
    options = ["--leave-groups-out"] if left_out else []
    command = ("-m", "foreshock.service.cli", "model", "backtest", "--spec", spec, "--data", prepared, "--out", out)
    began = time.monotonic()
    _run(*command, *options)
    took_s = time.monotonic() - began
    files = (
        *("--pred", out / "predictions.csv", "--incidents", prepared / "incidents.csv"),
        *("--spans", prepared / "spans.csv"),
    )
    warning = ("--mode", "predict", "--budgets", *_BUDGETS[name], "--step-minutes", minutes)
    ahead = json.loads(_run(product.EVAL / "early_warning.py", *files, *question, *merging, *warning))[0]
    sure = json.loads(_run(product.EVAL / "calibration.py", *files, *question, *merging))
    card = json.loads((out / "card.json").read_text())
    print(f"{name}{' without its own system' if left_out else ''}: {took_s:.0f} s")
    print(*(f"  {limit}" for limit in card["limits"]), sep="\n")
    return [_row(ahead, sure, name), *_OTHERS["left_out" if left_out else name]]


def _row(ahead: dict[str, Any], sure: dict[str, Any], name: str) -> tuple[str, ...]:
    recalls = " / ".join(f"{ahead['at_budget'][str(float(b))]['recall']:.2f}".lstrip("0") for b in _BUDGETS[name])
    own = ahead["own_alarms"]
    low, high = sure["brier_skill_95"]
    return (
        "Foreshock",
        f"{ahead['average_precision']:.3f}",
        recalls,
        f"{sure['brier_skill']:.3f} ({low:.3f} to {high:.3f})",
        " / ".join(f"{sure[f'expected_over_observed_top_{top}']:.2f}" for top in ("0.05", "0.01", "0.001")),
        f"{own['false_alarms_per_entity_week']} ({_BUDGETS[name][1]})",
        f"{own['recall']:.3f}",
    )


def _run(*command: object) -> str:
    environment = {**os.environ, "PYTHONPATH": str(product.ROOT)}
    return subprocess.run(
        [sys.executable, *map(str, command)], check=True, stdout=subprocess.PIPE, text=True, env=environment
    ).stdout


# ---- speed ----------------------------------------------------------------------------------------------------------


def speed(rows: int) -> list[tuple[str, ...]]:
    """In a process of its own each, so that memory is its own."""
    return [tuple(json.loads(_run(__file__, "--measure", what, "--rows", rows))) for what in ("train", "score")]


def measure(what: str, rows: int) -> tuple[str, ...]:
    import numpy as np

    from predictor.budget import Watch
    from predictor.history import merged
    from predictor.outcomes import outcomes
    from predictor.training import Learnable, fit_experts, train

    names = tuple(f"level:{place}" for place in range(100))
    rng = np.random.default_rng(0)

    def features(entity: Any, step: Any) -> Any:
        """Made where they are asked for, as a backtest does: never all at once."""
        x = np.random.default_rng(1).standard_normal((len(entity), len(names)), dtype=np.float32)
        x[:, 0] += 2 * ((entity * 7919 + step) % 997 < 8)
        return x

    if what == "train":
        steps = 500
        entity, step = np.repeat(np.arange(rows // steps), steps), np.tile(np.arange(steps), rows // steps)
        begun = rng.choice(len(entity), rows // 500, replace=False)
        incidents = merged(entity[begun], step[begun], step[begun], 0)

        def watching(entity: Any, step: Any) -> Watch:
            return Watch(entity, step, outcomes(incidents, entity, step), 1, 7, 7.0)

        found = outcomes(incidents, entity, step)
        keep = ~found.inside
        began = found.ahead(step, 1, 7)[keep]
        rows_ = Learnable(entity[keep], step[keep], began, step[keep].astype(float), step[keep] + 7.0, keep[keep])
        start, worked = time.monotonic(), time.process_time()
        train(names, rows_, features, watching, budget=0.05, seed=0)
        took = f"{time.monotonic() - start:.0f} s, {time.process_time() - worked:.0f} s of CPU"
        return (f"training on {len(began):,} rows × {len(names)}", took, _memory())
    from predictor.model import LogOddsCurve, Model

    x = features(np.arange(20_000), np.zeros(20_000, np.int64))
    began = rng.random(len(x)) < 0.02 + 0.3 * (x[:, 0] > 2)
    experts = fit_experts(names, x, began, np.ones(len(x)), 0)
    curve = LogOddsCurve(np.array([-9.0, 9.0]), np.array([-9.0, 9.0]))
    trust = (1 / len(experts),) * len(experts)
    model = Model(names=names, experts=experts, trust=trust, base=0.0, curve=curve, threshold=0.5, factor=1.0)
    start = time.process_time()
    model.probability(x[:10_000])
    scored = time.process_time() - start
    start = time.process_time()
    for row in x[:20]:
        model.contributions(row)
    explained = 1000 * (time.process_time() - start) / 20
    took = f"{scored:.2f} s; {explained:.1f} ms of CPU"
    return ("scoring 10,000 entities × 100; one explanation", took, _memory())


def _memory() -> str:
    return f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MiB"


def sections(wanted: Sequence[str], work: Path, rows: int) -> Iterator[tuple[tuple[str, ...], list[tuple[str, ...]]]]:
    for name in ("hpc_failures", "disk_smart"):
        if name in wanted:
            yield (name, *_COLUMNS[1:]), foresight(name, work)
    if "left_out" in wanted:
        yield ("hpc_failures, system unseen", *_COLUMNS[1:]), foresight("hpc_failures", work, left_out=True)
    if "speed" in wanted:
        yield ("work", "took", "peak memory"), speed(rows)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", default="hpc_failures,disk_smart,left_out,speed")
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--measure", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.measure:
        print(json.dumps(measure(options.measure, options.rows)))
        return 0
    if not (product.EVAL / "early_warning.py").is_file() or not DATA.is_dir():
        product.skip(f"there are no scorers in {product.EVAL}, or no data in {DATA}")
    with product.scratch() as work:
        product.about({})
        for columns, rows in sections(options.only.split(","), work, options.rows):
            product.table(columns, rows)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
