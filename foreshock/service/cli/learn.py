"""What is learned from history."""

import json
import os
from collections.abc import Iterable, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foreshock.core.quantities import format_duration
from foreshock.service.cli.options import (
    DEFAULT_SERVER,
    Config,
    Format,
    Mapped,
    OwnTopology,
    Server,
    TokenFile,
    client,
    duration,
)
from foreshock.service.cli.terminal import Output, tell_lines, tell_rows, told, warn, writing

if TYPE_CHECKING:
    from foreshock.service.client import Client

commands = typer.Typer(invoke_without_command=True)


@commands.callback()
@told
def learn_now(
    context: typer.Context,
    since: Annotated[
        timedelta | None,
        typer.Option(
            parser=duration,
            metavar="DURATION",
            help="History that counts, as 30d; by default the setting `learn.since`, with --history all of it.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be learned, and use nothing.")] = False,
    history: Annotated[
        list[Path] | None,
        typer.Option(help="Learn from a file as `replay` reads it, here and now; may be given several times."),
    ] = None,
    topology: OwnTopology = None,
    mapping: Mapped = None,
    config: Config = None,
    to: Annotated[
        Path | None, typer.Option("--out", help="With --history: file for the result; nothing is used.")
    ] = None,
    anyway: Annotated[
        bool, typer.Option("--anyway", help="Use the result although hardly any CI that it names is known there.")
    ] = False,
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
    output: Format = Output.TABLE,
) -> None:
    """Learn from history which alerts begin together, and use it.

    Without --history a running Foreshock learns from its own.
    """
    if context.invoked_subcommand is not None:
        return
    if not history:
        if to is not None:
            raise typer.BadParameter("--out goes with --history; a running Foreshock keeps its versions itself")
        wanted = {"dry_run": dry_run, "since": format_duration(since) if since else None}
        trained = client(server, token_file).post("/api/v1/learned/train", wanted, timeout_s=_TRAINING_S)
        tell_lines(trained, output, _lines)
        return
    import msgspec

    from foreshock.service.learning import card

    learned = _learned_from(history, topology, mapping, config, since)
    body = msgspec.json.encode(learned)
    if to is not None:
        with writing(to):
            to.write_bytes(body)
    elif not dry_run and learned.version:
        client(server, token_file).post("/api/v1/learned" + ("?anyway=true" if anyway else ""), body)
    tell_lines(json.loads(body), output, lambda _: card(learned))


_TRAINING_S = 3700.0  # a little longer than the server gives a training


def _learned_from(
    files: Sequence[Path], topology: Path | None, mapping: Path | None, config: Path | None, since: timedelta | None
) -> Any:
    from itertools import chain

    from foreshock.connect.config import load
    from foreshock.service.history import Recorded as RecordedHistory
    from foreshock.service.recorded import ReplayMapping, read_input, read_topology
    from foreshock.service.settings import collector_kinds, load_settings
    from predictor.train import train

    settings = load_settings(config, os.environ, {})
    columns = load(mapping, ReplayMapping) if mapping else None
    known = read_topology(topology, columns) if topology else None
    collectors = collector_kinds()
    recorded = RecordedHistory(collectors, settings.correlation.bind, known)
    inputs = chain.from_iterable(read_input(path, columns, collectors, warn) for path in files)
    occurrences = list(recorded.occurrences(inputs))
    span = since or timedelta.max
    newest_s = max((one.at_s for one in occurrences), default=0.0)
    young = [one for one in occurrences if newest_s - one.at_s <= span.total_seconds()]
    return train(young, recorded.topology, settings.learn)


@commands.command("list")
@told
def list_learned(server: Server = DEFAULT_SERVER, token_file: TokenFile = None, output: Format = Output.TABLE) -> None:
    """Versions, newest first."""
    found = client(server, token_file).get("/api/v1/learned")
    tell_rows(found, output, ("version", "", "history until", "onsets", "pairs", "calibrated rules"), _cells)


def _cells(row: dict[str, Any]) -> Iterable[Any]:
    return (
        row["version"],
        "in force, pinned" if row["pinned"] else "in force" if row["in_force"] else "",
        row["until"] or "-",
        row["occurrences"],
        row["pairs"],
        ", ".join(row["calibrated"]),
    )


@commands.command("use")
@told
def use_learned(
    version: Annotated[str, typer.Argument(help="A version of the list, `latest`, or `nothing`.")],
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
    output: Format = Output.TABLE,
) -> None:
    """Put a version into force. It stays until somebody says `latest`; training goes on beside it."""
    _use(client(server, token_file), version, output)


@commands.command("rollback")
@told
def roll_back_learned(
    server: Server = DEFAULT_SERVER, token_file: TokenFile = None, output: Format = Output.TABLE
) -> None:
    """Go back to the version before the one in force."""
    _use(client(server, token_file), "previous", output)


def _use(running: "Client", version: str, output: Output) -> None:
    tell_lines(running.post("/api/v1/learned/use", {"version": version}), output, _lines)


def _lines(row: dict[str, Any]) -> Iterable[str]:
    return (*row["card"], *(["in force" + (", pinned" if row["pinned"] else "")] if row["in_force"] else []))
