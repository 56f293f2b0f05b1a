"""What history suggests to change in rules, settings and topology."""

import pkgutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from foreshock.service.cli import applying
from foreshock.service.cli.options import DEFAULT_SERVER, Mapped, Server, TokenFile, client, duration
from foreshock.service.cli.rules import DIFFERENT, KnownTruth
from foreshock.service.cli.terminal import leave, print_lines, told, warn, writing
from foreshock.service.suggest import kinds

if TYPE_CHECKING:
    from foreshock.service.recorded import Input

commands = typer.Typer()

_KINDS = [module.name for module in pkgutil.iter_modules(kinds.__path__)]
_PART = 200
"""Records between two looks at the clock."""


class Told(StrEnum):
    TEXT = "text"
    JSON = "json"


@commands.command("suggest")
@told
def suggest_rules(
    input: Annotated[
        Path | None,
        typer.Argument(
            metavar="[HISTORY]",
            help="A capture, an Alertmanager stream, or CSV/JSONL with --mapping; without, the inbox of the "
            "running Foreshock.",
        ),
    ] = None,
    since: Annotated[
        timedelta | None, typer.Option("--since", parser=duration, help="Only the last 30d, 12h, … of it.")
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", help=f"Only suggestions of this kind; may be given several times: {', '.join(_KINDS)}."),
    ] = None,
    top: Annotated[int, typer.Option("--top", help="Suggest so many at most.", min=1, max=20)] = 5,
    base_topology: Annotated[
        Path | None, typer.Option("--base-topology", help="Topology, for input that holds none.")
    ] = None,
    mapping: Mapped = None,
    truth: KnownTruth = None,
    output: Annotated[Told, typer.Option("--output", "-o", help="How to tell it.")] = Told.TEXT,
    to: Annotated[
        Path | None,
        typer.Option("--out", help="Folder for each as files: YAML, plan, and what `rules apply` takes."),
    ] = None,
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
) -> None:
    """Mine history and feedback for changes worth having, each with what it would have made of the later part.

    Nothing is applied. Two thirds of history are mined; what is found there is tried on the last third, and suggested
    only if that was better for it: fewer tickets, fewer corrections by hand, no urgent incident lost.

    Ends with 0 where nothing is suggested, 4 where something is.

    Examples: `foreshock rules suggest --since 30d`, `foreshock rules suggest last.jsonl --kind merges --out patches/`
    """
    import msgspec

    from foreshock.connect.config import did_you_mean, load
    from foreshock.service.past import of_file, of_running
    from foreshock.service.recorded import ReplayMapping, read_topology
    from foreshock.service.settings import collector_kinds, rule_kinds
    from foreshock.service.suggest import report
    from foreshock.service.suggest.recall import recall
    from foreshock.service.suggest.trial import History, suggest
    from foreshock.service.truth import read_truth

    for name in kind or ():
        if name not in _KINDS:
            hint = did_you_mean(name, _KINDS) or f"there are {', '.join(_KINDS)}"
            raise typer.BadParameter(f"{name!r} is no kind of suggestion; {hint}")
    columns, collectors = load(mapping, ReplayMapping) if mapping else None, collector_kinds()
    topology = read_topology(base_topology, columns) if base_topology else None
    labels = read_truth(truth, columns.tickets if columns else None) if truth else None
    past = (
        of_running(client(server, token_file), collectors, since)
        if input is None
        else of_file(input, columns, collectors, since, warn)
    )
    for note in past.notes:
        warn(note)
    with _progress() as watched:
        recalled = recall(watched("reading history", past.read()), collectors, rule_kinds(), topology, past.said())
        if input is None:
            now = applying.as_running(client(server, token_file), past.present)
            recalled = msgspec.structs.replace(recalled, settings=now.settings, rules=now.rules)
        history = History(
            read=lambda: watched("trying", past.read()),
            collectors=collectors,
            rules=rule_kinds(),
            topology=topology,
            truth=labels,
        )
        found = suggest(history, recalled, kind or _KINDS, top, past.since)
    if output is Told.JSON:
        typer.echo(report.as_json(found).decode())
    else:
        print_lines(*report.text(found))
    if to is not None:
        with writing(to):
            written = report.write(found, recalled, to)
        if output is Told.TEXT:
            print_lines(f"wrote {len(written)} files to {to}")
    if found.best:
        leave(DIFFERENT)


Watched = Callable[[str, "Iterable[Input]"], "Iterator[Input]"]


@contextmanager
def _progress() -> Iterator[Watched]:
    """Shows on a terminal how far reading has come; the second reading knows how much there is."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    total: int | None = None
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:

        def watched(what: str, inputs: "Iterable[Input]") -> "Iterator[Input]":
            nonlocal total
            count, task = 0, progress.add_task(what, total=total)
            for count, given in enumerate(inputs, 1):
                if count % _PART == 0:
                    progress.update(task, completed=count)
                yield given
            progress.update(task, completed=count)
            total = count

        yield watched
