"""Commands that say what a sync would change, and how far the topology can be trusted."""

from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from foreshock.service.cli.cmdb import State, bars, opened, settings_of
from foreshock.service.cli.options import DEFAULT_SERVER, Config, Format, Server, TokenFile, client, duration
from foreshock.service.cli.terminal import (
    Output,
    complain,
    counted,
    leave,
    minute,
    print_json,
    print_lines,
    print_table,
    told,
    warn,
)

if TYPE_CHECKING:
    from foreshock.core.contracts import Snapshot
    from foreshock.service.cmdb.diff import Diff
    from foreshock.service.cmdb.health import Health
    from foreshock.service.suggest.recall import Recalled
    from foreshock.store.cmdb import CmdbStore, Version

commands = typer.Typer()

_DIFFERENT = 4
_MOST = 20
_SINCE = timedelta(days=7)


@commands.command("diff")
@told
def diff_sources(
    names: Annotated[
        list[str] | None, typer.Argument(help="Sources of the configuration; all where none is named.")
    ] = None,
    full: Annotated[bool, typer.Option("--full", help="Read everything, not only what changed.")] = False,
    old: Annotated[
        str, typer.Option("--from", metavar="VERSION", help="Compare versions: a number, a name, or a time.")
    ] = "",
    new: Annotated[str, typer.Option("--to", metavar="VERSION", help="With --from; without it the newest.")] = "",
    most: Annotated[int, typer.Option("--most", min=1, help="Show so many of each sort.")] = _MOST,
    config: Config = None,
    state: State = None,
    output: Format = Output.TABLE,
) -> None:
    """What reading the CMDB sources now would change, without changing it; or what differs between two versions.

    CIs to create, update (with each attribute) and retire, and relationships. A reading that would be refused says so.

    Exit code 0: nothing would change; 4: something would, or would be refused.

    foreshock cmdb diff

    foreshock cmdb diff netbox --full -o json

    foreshock cmdb diff --from 12 --to 14

    foreshock cmdb diff --from 2026-03-01T12:00Z
    """
    if new and not old:
        raise typer.BadParameter("--to needs --from")
    if old and (names or full):
        raise typer.BadParameter("--from compares versions: name no source, and leave --full out")
    settings = settings_of(config, state)
    with opened(settings, writing=not old) as store:
        rows = [_of_versions(store, old, new)] if old else list(_of_sources(store, settings, names or [], full))
    if output is Output.JSON:
        print_json([{**row, "diff": _plain(row["diff"])} for row in rows])
    else:
        for row in rows:
            _print(row, most)
    if any(row["diff"] or row["refused"] for row in rows):
        leave(_DIFFERENT)


def _of_versions(store: "CmdbStore", old: str, new: str) -> dict[str, Any]:
    from foreshock.service.cmdb.diff import diff

    first, last = _version(store, old), _version(store, new)
    before = {ci.id: ci for ci in store.between(last.number, first.number).put_cis}
    found = diff(store.between(first.number, last.number), before.get)
    title = f"from version {first.number} ({_day(first)}) to version {last.number} ({_day(last)})"
    return {"of": title, "refused": "", "diff": found}


def _version(store: "CmdbStore", which: str) -> "Version":
    from foreshock.core.errors import Missing
    from foreshock.service.cli.options import moment

    if not which:
        found = store.newest()
    elif which.isdecimal():
        found = store.version(int(which))
    else:
        found = store.version(which) or store.version_at(moment(which))
    if found is None:
        raise Missing(f"there is no version {which!r} of the topology", hint="see `foreshock cmdb versions`")
    return found


def _day(version: "Version") -> str:
    return minute(version.at.isoformat())


def _of_sources(store: "CmdbStore", settings: Any, names: Sequence[str], full: bool) -> Iterator[dict[str, Any]]:
    from foreshock.core.topology import TopologyDelta
    from foreshock.service.clock import utc_now
    from foreshock.service.cmdb.diff import diff
    from foreshock.service.cmdb.run import REFUSED, Sync, Wanted, unread

    with bars() as progress:
        sync = Sync(store, settings, clock=utc_now, progress=progress)
        for name in names or [*(one.name for one in settings.topology), *unread(store, settings.topology)]:
            outcome = sync.run(name, Wanted(full=full, dry_run=True))
            refused = outcome.error if outcome.outcome == REFUSED else ""
            yield {"of": name, "refused": refused, "diff": diff(outcome.delta or TopologyDelta(), store.ci)}


def _print(row: dict[str, Any], most: int) -> None:
    from foreshock.service.cmdb.diff import lines

    found: Diff = row["diff"]
    print_lines(f"{row['of']}:" if found else f"{row['of']}: nothing {'is taken' if row['refused'] else 'changes'}")
    print_lines(*(f"  {line}" for line in lines(found, most)))
    if row["refused"]:
        complain(row["refused"])


@commands.command("health")
@told
def show_health(
    input: Annotated[
        Path | None,
        typer.Argument(
            metavar="[HISTORY]",
            help="A capture or alert stream to hold the topology against; without, the inbox of the running Foreshock.",
        ),
    ] = None,
    since: Annotated[
        timedelta | None,
        typer.Option("--since", parser=duration, help="Hold it against the last 12h, 30d, … of alerts; else 7d."),
    ] = None,
    alerts: Annotated[
        bool, typer.Option("--alerts/--no-alerts", help="Look also at what happened, or only at what is known.")
    ] = True,
    save: Annotated[bool, typer.Option("--save", help="Keep it as what console and API show.")] = False,
    config: Config = None,
    state: State = None,
    output: Format = Output.TABLE,
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
) -> None:
    """How far the topology can be trusted, and what to mend where.

    Looks for sources and relationships that are old, suspected duplicates and conflicts, circles, hubs, CIs without
    relationships, classes and relations without a map; and, in what happened, for alerts that are bound to no CI, for
    CIs that fail together without a way between them, and for relationships along which no failure ever spread.

    Exit code 0: nothing is doubtful; 4: something is.

    foreshock cmdb health

    foreshock cmdb health --no-alerts -o json

    foreshock cmdb health last.jsonl --since 30d
    """
    from foreshock.service.clock import utc_now
    from foreshock.service.cmdb.health import graph_of, health
    from foreshock.service.cmdb.trusted import intervals
    from foreshock.store.cmdb_trust import keep_health

    settings = settings_of(config, state)
    with opened(settings, writing=save) as store:
        graph = graph_of(store, intervals(settings.topology))
        past = _past(input, since or _SINCE, graph.snapshot, server, token_file) if alerts else None
        found = health(graph, past, utc_now())
        if save:
            keep_health(store, found)
    if output is Output.JSON:
        print_json(_plain(found))
    else:
        _tell(found)
    if found.found:
        leave(_DIFFERENT)


def _past(
    input: Path | None, since: timedelta, topology: "Snapshot", server: str, token_file: Path | None
) -> "Recalled | None":
    """topology: for a file that holds none."""
    from foreshock.core.errors import ForeshockError
    from foreshock.service.past import of_file, of_running
    from foreshock.service.settings import collector_kinds, rule_kinds
    from foreshock.service.suggest.recall import recall

    collectors = collector_kinds()
    try:
        past = (
            of_running(client(server, token_file), collectors, since)
            if input is None
            else of_file(input, None, collectors, since, warn)
        )
        for note in past.notes:
            warn(note)
        found = recall(past.read(), collectors, rule_kinds(), topology if input is not None else None, past.said())
    except ForeshockError as error:
        if input is not None:
            raise
        warn(f"what happened was not looked at: {error}; --no-alerts asks for no more than that")
        return None
    if past.since is not None and found.last_at is not None:
        return found.between(past.since, found.last_at + timedelta(seconds=1))
    return found


def _tell(found: "Health") -> None:
    from foreshock.service.cmdb.health import AGES

    size = f"{counted(found.cis, 'CI')}, {counted(found.relationships, 'relationship')}"
    print_lines(f"version {found.version}: {size}")
    columns = ("source", "read", "CIs", "relationships", *(f"< {name}" for _, name in AGES), "older")
    print_table(
        columns,
        (
            (
                one.source,
                minute(one.confirmed_at.isoformat()) if one.confirmed_at else "never",
                one.items,
                one.ties,
                *one.ages,
            )
            for one in found.sources
        ),
    )
    for doubt in dict.fromkeys(one.doubt for one in found.found):
        some = [one for one in found.found if one.doubt == doubt]
        count = found.counts[doubt]
        print_lines("", f"{doubt}, the first {len(some)} of {count}" if count > len(some) else str(doubt))
        for one in some:
            print_lines(f"  {one.seen}", f"    -> {one.remedy}")
    if not found.found:
        print_lines("nothing is doubtful" + ("" if found.alerts else ", as far as it can be told without alerts"))


def _plain(value: Any) -> Any:
    import msgspec

    return msgspec.to_builtins(value)
