"""Recorded input: writing it down, and the engine's work on it without a running Foreshock."""

import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from datetime import datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from foreshock.core.errors import Malformed
from foreshock.service.cli.options import (
    DEFAULT_SERVER,
    Format,
    Mapped,
    OwnTopology,
    Server,
    TokenFile,
    client,
    duration,
    moment,
    with_changes,
)
from foreshock.service.cli.terminal import (
    Output,
    complain,
    counted,
    print_json,
    print_lines,
    print_table,
    told,
    warn,
    writing,
)

if TYPE_CHECKING:
    from correlation.rule import RuleKind
    from foreshock.core.contracts import Collector
    from foreshock.service.client import Client
    from foreshock.service.recorded import Input
    from foreshock.service.replay import Version
    from foreshock.service.timeline import Row
    from foreshock.store.capture import Entry, Head

commands = typer.Typer()

Recorded = Annotated[
    Path,
    typer.Argument(help="A capture, Alertmanager alerts (JSONL), or a table (CSV, JSONL, Parquet) with --mapping."),
]
OwnRules = Annotated[
    Path | None, typer.Option("--rules", help="File or folder with the rules to use, in place of the input's own.")
]
OwnSettings = Annotated[
    Path | None,
    typer.Option("--settings", help="YAML with the `correlation` settings to use, in place of the input's own."),
]
OwnLearned = Annotated[
    Path | None,
    typer.Option("--learned", help="What was learned, from `foreshock learn --out`, in place of the input's own."),
]


@commands.command()
@told
def capture(
    to: Annotated[Path, typer.Option("--out", help="File to write: JSON lines, or Parquet where it ends so.")],
    since: Annotated[
        timedelta | None, typer.Option("--since", parser=duration, help="Only the last 7d, 12h, … of it.")
    ] = None,
    begin: Annotated[
        datetime | None, typer.Option("--from", parser=moment, help="Only from this time on: 2026-01-31T12:00Z.")
    ] = None,
    until: Annotated[datetime | None, typer.Option("--until", parser=moment, help="Only before this time.")] = None,
    anonymise: Annotated[
        list[str] | None,
        typer.Option(
            "--anonymise",
            help="Labels and annotations whose values become tokens: 'instance,host=hash'; of texts every word: "
            "'annotations=words'. Names of CIs, teams, people and tickets become tokens too, wherever they stand.",
        ),
    ] = None,
    key_file: Annotated[
        Path | None,
        typer.Option("--key-file", help="Secret for --anonymise: by the same one, the same names get the same tokens."),
    ] = None,
    input: Annotated[
        Path | None,
        typer.Option("--input", help="Another capture, to change its form or to anonymise it, in place of the inbox."),
    ] = None,
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
) -> None:
    """Write history from the inbox of a running Foreshock to a file: events, topology versions, settings and rules,
    silences and maintenance, what people did and what became of tickets.

    `foreshock replay`, `rules plan`, `explain --history` and `history import` read it. Of a part of history, what was
    open at its beginning comes along.

    Examples: `foreshock capture --since 7d --out last-week.parquet`,
    `foreshock capture --out shared.jsonl --anonymise instance,host=hash --key-file key`
    """
    from foreshock.service.anonymise import anonymised, read_choice, read_key
    from foreshock.service.settings import collector_kinds
    from foreshock.store.capture import read_capture, write_capture

    if since is not None and begin is not None:
        raise typer.BadParameter("--since and --from both say where to begin: give one of them")
    if input is not None and (since or begin or until):
        raise typer.BadParameter("--input is taken whole: --since, --from and --until choose from the inbox")
    if bool(anonymise) != (key_file is not None):
        raise typer.BadParameter("--anonymise and --key-file go together")
    choice = read_choice(anonymise or ())
    key = read_key(key_file) if key_file is not None else b""
    source = _file(input) if input is not None else _inbox(client(server, token_file), since, begin, until)
    with writing(to), ExitStack() as files:
        head, entries = source
        if choice:
            # A folder that nobody else may look into: the first reading is of names as they are.
            whole = input or Path(files.enter_context(TemporaryDirectory(dir=to.parent))) / "whole.jsonl"
            if input is None:
                write_capture(whole, head, entries)
            head = msgspec.structs.replace(head, anonymised=tuple(f"{name}={how}" for name, how in choice.items()))
            entries = anonymised(lambda: (entry for _, entry in read_capture(whole)), choice, key, collector_kinds())
        written = write_capture(to, head, entries)
    print_lines(f"wrote {counted(written, 'record')} to {to}")


def _file(path: Path) -> "tuple[Head, Iterator[Entry]]":
    from foreshock.store.capture import head_of, read_capture
    from foreshock.store.rows import check_file

    check_file(path)
    head = head_of(path)
    if head is None:
        raise Malformed(f"{path} is no capture", hint="give a file of `foreshock capture`")
    return head, (entry for _, entry in read_capture(path))


def _inbox(
    running: "Client", since: timedelta | None, begin: datetime | None, until: datetime | None
) -> "tuple[Head, Iterator[Entry]]":
    from foreshock.service import past
    from foreshock.store.capture import Head

    wanted = past.ask(running, begin, until)
    if since is not None and wanted.last_at is not None:
        wanted = past.ask(running, (until or wanted.last_at) - since, until)
    for note in past.notes(wanted):
        warn(note)
    return Head(since=wanted.since, until=until), _watched(past.entries(running, wanted), wanted.upto - wanted.after)


def _watched(entries: "Iterator[Entry]", total: int) -> "Iterator[Entry]":
    """Shows on a terminal how far it has come."""
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("reading the inbox", total=total)
        for entry in entries:
            progress.advance(task)
            yield entry


@commands.command()
@told
def replay(
    input: Recorded,
    to: Annotated[
        Path, typer.Option("--out", help="Folder for groups.csv, causes.csv, situations.jsonl and summary.json.")
    ],
    topology: OwnTopology = None,
    rules: OwnRules = None,
    settings: OwnSettings = None,
    mapping: Mapped = None,
    learned: OwnLearned = None,
    output: Format = Output.TABLE,
) -> None:
    """Run recorded input through the engine on virtual time."""
    from foreshock.service import replay as work

    with writing(to):
        to.mkdir(parents=True, exist_ok=True)
        result = _recorded(work.replay, input, topology, rules, settings, mapping, learned)
        work.write(result, to)
    if output is Output.JSON:
        print_json(result.summary())
    else:
        print_table(("", ""), result.summary().items())


@commands.command()
@told
def timeline(
    input: Recorded,
    topology: OwnTopology = None,
    rules: OwnRules = None,
    settings: OwnSettings = None,
    mapping: Mapped = None,
    learned: OwnLearned = None,
    as_json: Annotated[bool, typer.Option("--json", help="For programs.")] = False,
) -> None:
    """When each ticket write would happen for recorded input, and what it waits for: delay, join, quiet, silences."""
    import msgspec

    from foreshock.service import timeline as work

    rows = _recorded(work.timeline, input, topology, rules, settings, mapping, learned)
    if as_json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(rows), indent=1) + b"\n")
        return
    print_table(("at (UTC)", "situation", "sink", "", "until", "why"), map(_cells, rows))


def _cells(row: "Row") -> Iterable[Any]:
    return (
        f"{row.at:%Y-%m-%d %H:%M:%S}",
        row.situation,
        row.sink,
        row.verb,
        f"{row.until:%H:%M:%S}" if row.until else "",
        row.reason,
    )


@commands.command("rank")
@told
def rank_causes(
    spec: Annotated[Path, typer.Option("--spec", help="YAML that says which table and column is what.")],
    data: Annotated[Path, typer.Option("--data", help="Folder with the tables.")],
    to: Annotated[Path, typer.Option("--out", help="CSV to write: issue_id, rank, node, score, reason.")],
    settings: OwnSettings = None,
) -> None:
    """Rank the causes of recorded incidents whose windows are known, as the engine would."""
    from correlation.settings import CorrelationSettings
    from foreshock.connect.config import load
    from foreshock.service import rank as work

    chosen = load(settings, CorrelationSettings) if settings else None
    ranked = work.rank(load(spec, work.RankSpec), data, chosen)
    with writing(to):
        issues, named = work.write(ranked, to)
    print_lines(f"wrote {to}: {issues} incidents, for {issues - named} of them not enough evidence to name a cause")


def _recorded(
    work: Callable[..., Any],
    input: Path,
    topology: Path | None,
    rules: Path | None,
    settings: Path | None,
    mapping: Path | None,
    learned: Path | None,
) -> Any:
    """Read what ``replay`` and ``timeline`` are given, and do the work."""
    return work(*given(input, topology, rules, settings, mapping, learned))


def given(
    input: "Path | Client",
    topology: Path | None,
    rules: Path | None,
    settings: Path | None,
    mapping: Path | None,
    learned: Path | None,
    changes: Sequence[str] = (),
) -> "tuple[Iterator[Input], Mapping[str, Collector], Mapping[str, RuleKind], Version]":
    """Recorded input, or the inbox of a running Foreshock, and what it is to be read with. changes: of single settings,
    on top of ``settings``, or else of those that the input was decided with last."""
    from correlation.settings import CorrelationSettings
    from foreshock.connect.config import load
    from foreshock.core.learned import foreign
    from foreshock.service import memory
    from foreshock.service.learning import read_learned
    from foreshock.service.past import of_running
    from foreshock.service.plan.run import survey
    from foreshock.service.recorded import ReplayMapping, read_input, read_topology
    from foreshock.service.replay import Version
    from foreshock.service.rule_files import load_rules
    from foreshock.service.settings import collector_kinds, rule_kinds

    memory.look_rarely()
    columns = load(mapping, ReplayMapping) if mapping else None
    collectors = collector_kinds()
    known = read_topology(topology, columns) if topology else None
    history = read_learned(learned) if learned else None
    if known and history and (why := foreign(history, {ci.id for ci in known.cis})):
        complain(why, color="yellow")
    if isinstance(input, Path):
        inputs = read_input(input, columns, collectors, warn)
        present = survey(read_input(input, columns, collectors)).present if changes else Version()
    else:
        past = of_running(input, collectors, None)
        inputs, present = past.read(), past.present
    chosen = load(settings, CorrelationSettings) if settings else None
    if changes:
        chosen = with_changes(chosen or present.settings or CorrelationSettings(), changes)
    version = Version(settings=chosen, rules=load_rules(rules) if rules else None, topology=known, learned=history)
    return inputs, collectors, rule_kinds(), version
