"""Commands about CMDB sources and the topology that comes of them."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foreshock.service.cli.options import Config, Format, moment
from foreshock.service.cli.terminal import (
    FAILED,
    Output,
    age,
    complain,
    counted,
    leave,
    minute,
    print_json,
    print_lines,
    tell_lines,
    tell_rows,
    told,
    warn,
)

if TYPE_CHECKING:
    from foreshock.service.cmdb.run import Outcome, Progress
    from foreshock.service.settings import Settings
    from foreshock.store.cmdb import CmdbStore

commands = typer.Typer(
    help="CMDB sources, and the topology that comes of them: what it is, what it was, and who says so.",
    no_args_is_help=True,
)

_TO_CHANGE = 4

State = Annotated[Path | None, typer.Option("--state", help="State folder, in place of the configuration's.")]


# ---- reading --------------------------------------------------------------------------------------------------------


@commands.command("sync")
@told
def sync(
    names: Annotated[
        list[str] | None, typer.Argument(help="Sources of the configuration; all where none is named.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Read everything, not only what changed.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Read, tell what would change, and change nothing.")
    ] = False,
    accept_retire: Annotated[
        int, typer.Option(min=0, help="Let so many CIs of it go, this once, although they are more than allowed.")
    ] = 0,
    config: Config = None,
    state: State = None,
    tied: Annotated[bool, typer.Option("--tied", hidden=True, help="End when standard input does.")] = False,
    output: Format = Output.TABLE,
) -> None:
    """Read CMDB sources now. A running Foreshock does so by itself, and takes over what you read within a second.

    Nothing is visible until all of a source was read; what was interrupted is gone on with for an hour. A reading that
    would retire more CIs than `max_retire` allows is refused, and the topology stays as it is.

    Exit code 4: something was refused, or with --dry-run something would change; 75: another process reads that source.

    foreshock cmdb sync

    foreshock cmdb sync netbox --full

    foreshock cmdb sync servicenow --dry-run -o json

    foreshock cmdb sync servicenow --accept-retire 1200
    """
    from foreshock.core.errors import ConfigError, ForeshockError, Held
    from foreshock.service.clock import utc_now
    from foreshock.service.cmdb.run import REFUSED, Sync, Wanted, unread

    if tied:
        _end_with_input()
    settings = settings_of(config, state)
    wanted = Wanted(full=full, dry_run=dry_run, accept_retire=accept_retire)
    found: list[Outcome] = []
    failed = 0
    with opened(settings, writing=True) as store, bars() as progress:
        every = Sync(store, settings, clock=utc_now, progress=progress)
        for name in names or [*(one.name for one in settings.topology), *unread(store, settings.topology)]:
            try:
                found.append(every.run(name, wanted))
            except (Held, ConfigError):
                raise
            except ForeshockError as error:
                if names and len(names) == 1:
                    raise
                complain(str(error))
                failed += 1
    for one in found:
        for problem in one.counts.problems:
            warn(f"{one.source}: {problem}")
        if one.error:
            complain(one.error)
    _tell_outcomes(found, output, dry_run=dry_run)
    if failed:
        leave(FAILED)
    if any(one.outcome == REFUSED or (dry_run and one.delta) for one in found):
        leave(_TO_CHANGE)


def _tell_outcomes(found: "list[Outcome]", output: Output, *, dry_run: bool) -> None:
    if output is Output.JSON:
        print_json([_plain(one) for one in found])
        return
    columns = ("source", "outcome", "read", "new or changed", "gone", "flaws", "version")

    def cells(one: "Outcome") -> Iterable[Any]:
        counts = one.counts
        read = "everything" if one.full else "what changed"
        return (
            one.source,
            f"would be {one.outcome}" if dry_run else one.outcome,
            f"{read}: {counted(counts.items, 'CI')}, {counted(counts.ties, 'relationship')}",
            f"{counted(counts.put_cis, 'CI')}, {counted(counts.put_relationships, 'relationship')}",
            f"{counted(counts.gone_cis, 'CI')}, {counted(counts.gone_relationships, 'relationship')}",
            counts.flaws,
            one.version or "-",
        )

    tell_rows(found, output, columns, cells)


@commands.command("test")
@told
def try_source(
    name: Annotated[str, typer.Argument(help="Name of the source in the configuration.")],
    config: Config = None,
    output: Format = Output.TABLE,
) -> None:
    """Ask a CMDB source whether Foreshock can read it: credentials, and what this account may see. Nothing is changed.

    Exit code 4: something must be changed, and the last column says what.

    foreshock cmdb test netbox
    """
    import msgspec

    from foreshock.core.contracts import Finding
    from foreshock.core.errors import ForeshockError, Missing
    from foreshock.service.cmdb.run import build

    settings = settings_of(config, None)
    instance = next((one for one in settings.topology if one.name == name), None)
    if instance is None:
        known = ", ".join(one.name for one in settings.topology) or "none"
        raise Missing(f"no CMDB source is called {name!r}", hint=f"there are: {known}")
    source = build(instance)
    try:
        found = list(source.check())
    except ForeshockError as error:
        found = [Finding(subject="connection", observed=str(error), remedy=error.hint or "see what it says")]
    rows = [msgspec.to_builtins(finding) for finding in found]
    tell_rows(rows, output, ("looked at", "seen", "to change"), dict.values)
    if any(row["remedy"] for row in rows):
        leave(_TO_CHANGE)


# ---- what there is --------------------------------------------------------------------------------------------------


@commands.command("status")
@told
def status(config: Config = None, state: State = None, output: Format = Output.TABLE) -> None:
    """How old what each source says is, how its last sync went, and which version of the topology there is.

    Exit code 4: a source failed, was refused, or was not read for long.

    foreshock cmdb status
    """
    from foreshock.service.clock import utc_now
    from foreshock.service.cmdb.run import FAILED as SYNC_FAILED
    from foreshock.service.cmdb.run import REFUSED
    from foreshock.service.cmdb.status import status as status_of

    settings = settings_of(config, state)
    with opened(settings) as store:
        found = status_of(store, settings.topology, utc_now())
    if output is Output.JSON:
        print_json(_plain(found))
    else:
        rows = [_plain(one) for one in found.sources]
        columns = ("source", "kind", "last sync", "outcome", "read", "everything", "CIs", "relationships", "flaws")
        tell_rows(rows, output, columns, _source_cells)
        version = found.version
        if version is not None:
            print_lines(
                f"version {version.number} ({version.name}) of {minute(version.at.isoformat())} UTC: "
                f"{counted(version.cis, 'CI')}, {counted(version.relationships, 'relationship')}"
            )
        for one in found.sources:
            if one.error:
                complain(f"{one.name}: {one.error}")
            if one.stale:
                warn(f"{one.name}: was not read for {age(one.age_s or 0)}; its CIs are as they were then")
            if not one.in_settings and not one.error:
                warn(f"{one.name}: is no longer in the settings")
    if any(one.outcome in (REFUSED, SYNC_FAILED) or one.stale for one in found.sources):
        leave(_TO_CHANGE)


def _source_cells(row: dict[str, Any]) -> Iterable[Any]:
    ago = "never" if row["age_s"] is None else f"{age(row['age_s'])} ago"
    reading = f" (being read by {row['reading']}, {counted(row['pages'], 'page')})" if row["reading"] else ""
    in_a_row = f", {row['failures']} in a row" if row["failures"] > 1 else ""
    kind = row["kind"] if row["in_settings"] else f"{row['kind']} (removed)"
    return (
        row["name"],
        kind,
        minute(row["last_at"]) if row["last_at"] else "-",
        (row["outcome"] or "-") + in_a_row + reading,
        ago,
        minute(row["full_at"]) if row["full_at"] else "never",
        row["items"],
        row["ties"],
        row["flaws"],
    )


@commands.command("versions")
@told
def versions(
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many, the newest.")] = 20,
    config: Config = None,
    state: State = None,
    output: Format = Output.TABLE,
) -> None:
    """The versions of the topology, newest first, with what each changed and whose reading made it.

    foreshock cmdb versions --limit 5
    """
    with opened(settings_of(config, state)) as store:
        rows = [_plain(one) for one in store.versions(limit=limit)]

    def cells(row: dict[str, Any]) -> Iterable[Any]:
        cis = f"+{row['put_cis']} -{row['gone_cis']}"
        relationships = f"+{row['put_relationships']} -{row['gone_relationships']}"
        at = row["at"][:19].replace("T", " ")
        return row["number"], row["name"], at, row["source"], row["cis"], cis, row["relationships"], relationships

    columns = ("version", "name", "at", "source", "CIs", "put, gone", "relationships", "put, gone")
    tell_rows(rows, output, columns, cells)


@commands.command("as-of")
@told
def as_of(
    at: Annotated[datetime, typer.Argument(parser=moment, help="A time, RFC 3339: 2026-03-01T12:00Z.")],
    config: Config = None,
    state: State = None,
    output: Format = Output.TABLE,
) -> None:
    """The topology as it was at a moment: what the engine decided with then.

    foreshock cmdb as-of 2026-03-01T12:00Z

    foreshock cmdb as-of 2026-03-01T12:00Z -o json > then.json
    """
    with opened(settings_of(config, state)) as store:
        found = store.as_of(at)
    if output is Output.JSON:
        print_json(_plain(found))
        return
    kinds: dict[str, int] = {}
    for ci in found.cis:
        kinds[ci.kind] = kinds.get(ci.kind, 0) + 1
    if not found.version:
        print_lines("there was none yet")
        return
    size = f"{counted(len(found.cis), 'CI')}, {counted(len(found.relationships), 'relationship')}"
    print_lines(f"version {found.version}: {size}")
    tell_rows(sorted(kinds.items(), key=lambda one: (-one[1], one[0])), output, ("kind", "CIs"), tuple)


@commands.command("show")
@told
def show(
    ci: Annotated[str, typer.Argument(help="Id of a CI, or any name it goes by.")],
    config: Config = None,
    state: State = None,
    output: Format = Output.TABLE,
) -> None:
    """What is known of a CI: attributes, who says so since when, its relationships, and what it was before.

    foreshock cmdb show db-1
    """
    from foreshock.service.cmdb.shown import shown

    with opened(settings_of(config, state)) as store:
        found = shown(store, ci)
    tell_lines(_plain(found), output, _ci_lines)


def _ci_lines(found: dict[str, Any]) -> Iterator[str]:
    ci = found["ci"]
    yield f"{found['id']}" + ("" if ci else "  (no part of the topology now)")
    for name, value in (ci or {}).items():
        if value and name != "id":
            yield f"  {name}: {', '.join(value) if isinstance(value, list | tuple) else value}"
    for said in found["said"]:
        confirmed = f", read {minute(said['confirmed_at'])}" if said["confirmed_at"] else ""
        item = said["item"]
        what = f"{item.get('class_name') or item.get('kind')} {item['id']} {item.get('url', '')}".rstrip()
        yield f"  {said['source']} says so since {minute(said['since'])}{confirmed}: {what}"
    for one in found["relationships"]:
        who = ", ".join(f"{said['source']} since {minute(said['since'])}" for said in one["said"])
        yield f"  {one['source']} {one['type']} {one['target']}  ({who})"
    for conflict in found["conflicts"]:
        yield f"  conflict about {conflict['about']}: {conflict['detail']}"
    for old in found["history"]:
        until = f"version {old['end']}" if old["end"] is not None else "now"
        yield f"  from version {old['begin']} until {until}"


@commands.command("path")
@told
def path(
    one: Annotated[str, typer.Argument(help="A CI, by id or any name.")],
    other: Annotated[str, typer.Argument(help="Another CI.")],
    config: Config = None,
    state: State = None,
    output: Format = Output.TABLE,
) -> None:
    """A shortest way between two CIs, with the type, the sources and the age of each relationship on it.

    Exit code 4: there is none.

    foreshock cmdb path shop db-1
    """
    from foreshock.service.cmdb.shown import way

    with opened(settings_of(config, state)) as store:
        found = [_plain(step) for step in way(store, one, other)]

    def cells(row: dict[str, Any]) -> Iterable[Any]:
        who = "; ".join(
            f"{said['source']} ({said['class_name'] or row['type']}) since {minute(said['since'])}, read "
            f"{minute(said['confirmed_at']) if said['confirmed_at'] else 'never'}"
            for said in row["said"]
        )
        return row["source"], row["type"], row["target"], row["spreads"], who

    if not found and output is Output.TABLE:
        print_lines(f"no way is known between {one} and {other}")
    else:
        tell_rows(found, output, ("from", "type", "to", "a failure spreads", "who says so"), cells)
    if not found:
        leave(_TO_CHANGE)


# ---- parts ----------------------------------------------------------------------------------------------------------


def settings_of(config: Path | None, state: Path | None) -> "Settings":
    from foreshock.service.settings import load_settings

    return load_settings(config, os.environ, {} if state is None else {"state": str(state)})


def is_there(settings: "Settings") -> bool:
    """Whether there is a CMDB store; a database of a server is."""
    from foreshock.service.settings import CMDB_FILE

    return not settings.cmdb_url.startswith("sqlite") or (settings.state / CMDB_FILE).exists()


@contextmanager
def opened(settings: "Settings", *, writing: bool = False) -> "Iterator[CmdbStore]":
    from foreshock.core.errors import Missing
    from foreshock.service.cmdb.run import store_of

    if not writing and not is_there(settings):
        raise Missing(f"no CMDB source was ever read into {settings.state}", hint="read them: foreshock cmdb sync")
    store = store_of(settings, writing=writing)
    try:
        yield store
    finally:
        store.close()


@contextmanager
def bars() -> "Iterator[Progress]":
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = (
        SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
        TextColumn("{task.fields[waiting]}"),
    )  # fmt: skip
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bars:
        tasks: dict[str, Any] = {}

        def tell(source: str, done: int, expected: int, waiting: str) -> None:
            if source not in tasks:
                tasks[source] = bars.add_task(source, total=None, waiting="")
            bars.update(tasks[source], completed=done, total=max(done, expected) or None, waiting=waiting)

        yield tell


def _end_with_input() -> None:
    """The process that started this one holds the other end: when it is gone nobody wants the answer."""
    import threading

    def wait() -> None:
        os.read(0, 1)
        os._exit(FAILED)

    threading.Thread(target=wait, daemon=True).start()


def _plain(value: Any) -> Any:
    import msgspec

    return msgspec.to_builtins(value)
