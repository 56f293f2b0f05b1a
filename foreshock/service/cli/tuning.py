"""Tuning: which numbers would have fitted better what is known of history."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foreshock.service.cli.options import Mapped, OwnTopology, duration
from foreshock.service.cli.recorded import OwnLearned, OwnRules, OwnSettings, Recorded
from foreshock.service.cli.terminal import leave, print_lines, told, warn, writing

if TYPE_CHECKING:
    from foreshock.service.truth import Truth
    from foreshock.service.tune.known import Reading

commands = typer.Typer()

DIFFERENT = 4
"""Exit code where other settings are recommended."""


class Report(StrEnum):
    TEXT = "text"
    JSON = "json"


@commands.command()
@told
def tune(
    input: Recorded,
    truth: Annotated[
        Path | None,
        typer.Option(
            "--truth",
            help="What belongs together: alert_id,issue_id (CSV), `foreshock feedback export`, or tickets exported "
            "from an ITSM tool; without, what people said while history was recorded.",
        ),
    ] = None,
    only: Annotated[
        str, typer.Option("--only", help="Numbers to tune, as patterns with commas: 'relate.*,group.threshold'.")
    ] = "",
    trials: Annotated[int, typer.Option("--trials", help="Settings to try, with those in force.", min=2)] = 100,
    folds: Annotated[int, typer.Option("--folds", help="Parts that history is cut into.", min=2, max=20)] = 5,
    hold_out: Annotated[
        float,
        typer.Option("--hold-out", help="Share of the incidents, the latest, not looked at.", min=0.1, max=0.8),
    ] = 0.3,
    gap: Annotated[
        timedelta | None,
        typer.Option(
            "--gap",
            parser=duration,
            metavar="DURATION",
            help="Left out between parts; by default the longest time in which one alert may join another.",
        ),
    ] = None,
    state: Annotated[
        Path | None, typer.Option("--state", help="File with the trials so far: goes on there when started again.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Another seed tries other settings.", min=0)] = 1,
    jobs: Annotated[int, typer.Option("--jobs", "-j", help="Trials at the same time.", min=1)] = 1,
    to: Annotated[
        Path | None,
        typer.Option("--out", help="File for the settings, if worth having; for `rules plan --settings`."),
    ] = None,
    topology: OwnTopology = None,
    rules: OwnRules = None,
    settings: OwnSettings = None,
    learned: OwnLearned = None,
    mapping: Mapped = None,
    output: Annotated[Report, typer.Option("--output", "-o", help="How to tell it.")] = Report.TEXT,
) -> None:
    """Search the numbers of the correlation settings for those that fit what is known of history, and say honestly
    whether that would last: choices are scored on later history, and at last on a part that was never looked at.

    foreshock tune alerts.csv --mapping mapping.yaml --topology cmdb/ --truth truth.csv --state tune.state

    Ends with 4 where other settings are recommended, 0 where those in force are.
    """
    from foreshock.service.tune import report
    from foreshock.service.tune.known import known
    from foreshock.service.tune.run import Options, digest_of
    from foreshock.service.tune.run import tune as work
    from foreshock.service.tune.space import parameters
    from foreshock.service.tune.state import State

    options = Options(
        trials=trials,
        folds=folds,
        held_out=hold_out,
        gap_s=None if gap is None else gap.total_seconds(),
        seed=seed,
        jobs=jobs,
    )
    patterns = [one.strip() for one in only.split(",") if one.strip()]
    with _progress(trials) as tell:
        reading, labels = _read(input, truth, topology, rules, settings, learned, mapping)
        space = parameters(reading.settings, reading.relationships, patterns)
        found, digest = known(reading, labels), digest_of(labels)
        tuned = work(reading, found, digest, space, options, lambda asked: State(state, asked), tell)
    if output is Report.JSON:
        print_lines(*report.as_json(tuned, space).decode().splitlines())
    else:
        print_lines(*report.text(tuned, space))
    if not tuned.recommended:
        return
    if to is not None:
        with writing(to):
            to.write_text(report.settings_file(reading.settings, space, tuned.values), encoding="utf-8")
        if output is Report.TEXT:
            print_lines(f"wrote {to}")
    leave(DIFFERENT)


def _read(
    input: Path,
    truth: Path | None,
    topology: Path | None,
    rules: Path | None,
    settings: Path | None,
    learned: Path | None,
    mapping: Path | None,
) -> "tuple[Reading, Truth]":
    import msgspec

    from correlation.settings import CorrelationSettings
    from foreshock.connect.config import load
    from foreshock.core.errors import Malformed
    from foreshock.service.front import collector_kinds
    from foreshock.service.learning import read_learned
    from foreshock.service.plan.run import survey
    from foreshock.service.recorded import ReplayMapping, read_input, read_topology
    from foreshock.service.rule_files import load_rules
    from foreshock.service.settings import rule_kinds
    from foreshock.service.truth import Truth, read_truth
    from foreshock.service.tune.known import read, said_in

    columns, collectors = load(mapping, ReplayMapping) if mapping else None, collector_kinds()
    labels = read_truth(truth, columns.tickets if columns else None) if truth else None
    present = survey(read_input(input, columns, collectors, warn)).present
    version = msgspec.structs.replace(
        present,
        settings=load(settings, CorrelationSettings) if settings else present.settings,
        rules=load_rules(rules) if rules else present.rules,
        topology=read_topology(topology, columns) if topology else None,
        learned=read_learned(learned) if learned else None,
    )
    if labels is None:
        labels = Truth(said=tuple(said_in(read_input(input, columns, collectors), collectors, rule_kinds())))
        if not labels.said:
            raise Malformed("nobody said anything in this history", hint="give what belongs together with --truth")
    return read(read_input(input, columns, collectors), collectors, rule_kinds(), version), labels


@contextmanager
def _progress(trials: int) -> Iterator[Callable[[int, float], None]]:
    """A bar on standard error, where that is a terminal."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(),
        TextColumn("best {task.fields[best]:+.4f} in sample"), TimeElapsedColumn(), TimeRemainingColumn(),
    )  # fmt: skip
    console = Console(stderr=True)
    # Without a thread that draws: trials are forked.
    with Progress(
        *columns, console=console, auto_refresh=False, disable=not console.is_terminal, transient=True
    ) as bar:
        task = bar.add_task("reading", total=trials, best=0.0)

        def tell(done: int, best: float) -> None:
            bar.update(task, description="tuning ", completed=done, best=best, refresh=True)

        yield tell
