"""Tuning: which numbers would have fitted better what is known of history."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from foreshock.service.cli import applying
from foreshock.service.cli.options import DEFAULT_SERVER, Mapped, OwnTopology, Server, TokenFile, client, duration
from foreshock.service.cli.recorded import OwnLearned, OwnRules, OwnSettings
from foreshock.service.cli.rules import DIFFERENT, KnownTruth
from foreshock.service.cli.terminal import leave, print_lines, told, warn, writing

commands = typer.Typer()


class Report(StrEnum):
    TEXT = "text"
    JSON = "json"


@commands.command()
@told
def tune(
    input: Annotated[
        Path | None,
        typer.Argument(
            metavar="[HISTORY]",
            help="A capture, an Alertmanager stream, or CSV/JSONL/Parquet with --mapping; without, the inbox of the "
            "running Foreshock.",
        ),
    ] = None,
    truth: KnownTruth = None,
    since: Annotated[
        timedelta | None, typer.Option("--since", parser=duration, help="Only the last 30d, 12h, … of it.")
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
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
) -> None:
    """Search the numbers of the correlation settings for those that fit what is known of history, and say honestly
    whether that would last: choices are scored on later history, and at last on a part that was never looked at.

    Without --truth, it is what people said while history was recorded.

    Ends with 4 where other settings are recommended, 0 where those in force are.

    Examples: `foreshock tune --since 30d --truth tickets.csv --state tune.state`,
    `foreshock tune alerts.csv --mapping mapping.yaml --topology cmdb/ --truth truth.csv --out tuned.yaml`
    """
    from foreshock.connect.config import load
    from foreshock.service.learning import read_learned
    from foreshock.service.past import of_file, of_running
    from foreshock.service.recorded import ReplayMapping, read_topology
    from foreshock.service.settings import collector_kinds, rule_kinds
    from foreshock.service.truth import read_truth
    from foreshock.service.tune import report
    from foreshock.service.tune.known import known, read, said_in
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
    columns, collectors = load(mapping, ReplayMapping) if mapping else None, collector_kinds()
    labels = read_truth(truth, columns.tickets if columns else None) if truth else None
    past = (
        of_running(client(server, token_file), collectors, since)
        if input is None
        else of_file(input, columns, collectors, since, warn)
    )
    for note in past.notes:
        warn(note)
    present = past.present if input is not None else applying.as_running(client(server, token_file), past.present)
    present = msgspec.structs.replace(
        applying.changed(present, rules, settings, ()),
        topology=read_topology(topology, columns) if topology else None,
        learned=read_learned(learned) if learned else None,
    )
    with _progress(trials) as tell:
        if labels is None:
            labels = said_in(past, collectors, rule_kinds())
        reading = read(past.read(), collectors, rule_kinds(), present)
        space = parameters(reading.settings, reading.relationships, patterns)
        found, digest = known(reading, labels, past.since), digest_of(labels)
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
