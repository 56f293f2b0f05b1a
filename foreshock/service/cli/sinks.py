"""Commands about the systems that keep our tickets."""

import os
from collections.abc import Iterable
from typing import Annotated, Any, cast

import typer

from foreshock.core.errors import ConfigError, Problem
from foreshock.service.cli.options import DEFAULT_SERVER, Config, Format, Server, TokenFile, client
from foreshock.service.cli.terminal import FAILED, Output, counted, leave, minute, print_lines, tell_rows, told, warn

commands = typer.Typer(
    help="The systems that keep our tickets: how they are set up, what they will hear, what they refused.",
    no_args_is_help=True,
)
dead_letters = typer.Typer(help="Ticket writes that a sink refused for good.", no_args_is_help=True)
commands.add_typer(dead_letters, name="dead-letters")

_TO_CHANGE = 4
_SAYS_CHARS = 200

SinkName = Annotated[str, typer.Argument(help="Name of the sink in the configuration.")]


@commands.command("test")
@told
def try_sink(
    name: Annotated[str, typer.Argument(help="Name of the sink in the configuration.")],
    config: Config = None,
    create: Annotated[
        bool, typer.Option("--create", help="Open, change and resolve one ticket as well; it stays there, resolved.")
    ] = False,
    output: Format = Output.TABLE,
) -> None:
    """Ask a system whether Foreshock can work with it: credentials, permissions, key field, mandatory fields, states.

    Nothing is written there without --create. Exit code 4: something must be changed, and the last column says what.

    foreshock sink test servicenow --config foreshock.yaml

    foreshock sink test servicenow --create -o json
    """
    import secrets
    from datetime import UTC, datetime

    import msgspec

    from foreshock.service.settings import load_settings
    from foreshock.service.sink_test import live_once, look
    from foreshock.service.sinks import build_sink, who_hears

    settings = load_settings(config, os.environ, {})
    found = next((instance for instance in settings.sinks if instance.name == name), None)
    if found is None:
        known = ", ".join(instance.name for instance in settings.sinks) or "none"
        problem = Problem(
            file=str(config or "the configuration"),
            line=None,
            path="sinks",
            message=f"no sink is called {name!r}",
            hint=f"there are: {known}",
        )
        raise ConfigError([problem])
    if found.kind == "desk":
        print_lines("the desk keeps its records in Foreshock's own store: there is nothing to set up")
        return
    sink = build_sink(found, settings.url, cast(Any, None))  # only the desk has a book
    rows = [msgspec.to_builtins(finding) for finding in look(sink, problems=name in who_hears(settings.sinks)[1])]
    if create:
        run = secrets.token_hex(4)
        rows += [msgspec.to_builtins(finding) for finding in live_once(sink, name, run, lambda: datetime.now(UTC))]
    tell_rows(rows, output, ("looked at", "seen", "to change"), dict.values)
    if any(row["remedy"] for row in rows):
        leave(_TO_CHANGE)


# ---- what will be sent ----------------------------------------------------------------------------------------------


@commands.command("plan")
@told
def plan(
    name: Annotated[str, typer.Argument(help="Name of a sink; all of them where it is left out.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many lines of each sort for a sink.")] = 200,
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
    output: Format = Output.TABLE,
) -> None:
    """What the sinks will hear: orders that wait, and tickets that are held back. The last column says why not now.

    Nothing is sent by asking. Exit code 4: something waits or is held back.

    foreshock sink plan

    foreshock sink plan servicenow -o json
    """
    found = client(server, token_file).answer("/api/v1/sinks/plan", sink=name, limit=limit)
    if output is Output.TABLE:
        for each in found:
            _tell_lane(each)
    rows = [(each["lane"]["sink"], *cells) for each in found for cells in _planned(each)]
    columns = ("sink", "incident", "what", "record", "at", "says", "why not now")
    if output is Output.JSON or rows:
        tell_rows(found if output is Output.JSON else rows, output, columns, tuple)
    if rows:
        leave(_TO_CHANGE)


def _tell_lane(plan: dict[str, Any]) -> None:
    lane, name = plan["lane"], plan["lane"]["sink"]
    if lane["hold"]:
        until = f" until {_second(lane['resume_at'])}" if lane["resume_at"] else ""
        warn(f"{name}: no calls{until} ({lane['hold']}): {lane['error']}")
    if lane["unread"]:
        warn(f"{name}: what people do there cannot be read: {lane['unread']}")
    if plan["dead_letters"]:
        warn(f"{name}: {counted(plan['dead_letters'], 'dead letter')}: foreshock sink dead-letters list {name}")
    if not plan["orders"] and not plan["tickets"]:
        print_lines(f"{name}: nothing waits")
    elif plan["pending"] > len(plan["orders"]):
        warn(f"{name}: {plan['pending']} orders wait; the first {len(plan['orders'])} are shown")


def _planned(plan: dict[str, Any]) -> Iterable[tuple[Any, ...]]:
    for order in plan["orders"]:
        says = ", ".join(f"{field}: {value}" for field, value in order["fields"].items() if value not in ("", [], None))
        says = " ".join((f"{order['note']} | {says}" if order["note"] else says).split())
        yield (
            order["situation"],
            order["verb"],
            order["number"] or "-",
            _second(order["due_at"]),
            says[:_SAYS_CHARS],
            order["why_not"] or "goes now",
        )
    for ticket in plan["tickets"]:
        due = _second(ticket["due_at"]) if ticket["due_at"] else "-"
        yield ticket["situation"], ticket["step"], ticket["number"] or "-", due, ticket["title"], ticket["why"]


def _second(moment: str) -> str:
    return moment[:19].replace("T", " ")


# ---- what was refused -----------------------------------------------------------------------------------------------


@dead_letters.command("list")
@told
def list_dead(
    name: SinkName,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many, the oldest.")] = 200,
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
    output: Format = Output.TABLE,
) -> None:
    """What a sink refused for good, with the reason, oldest first; -o json shows the whole order. Exit code 4: some.

    foreshock sink dead-letters list servicenow
    """
    found = client(server, token_file).answer(f"/api/v1/sinks/{name}/dead-letters", limit=limit)
    tell_rows(found, output, ("id", "since", "incident", "what", "error"), _dead_cells)
    if found:
        leave(_TO_CHANGE)


@dead_letters.command("retry")
@told
def retry_dead(
    name: SinkName,
    ids: Annotated[list[int] | None, typer.Argument(help="Ids from the list; all of them where none is named.")] = None,
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
    output: Format = Output.TABLE,
) -> None:
    """Send again what was refused, once its reason is gone, in order and without undoing what was said since.

    Exit code 1: some make no sense any more; the table says why.

    foreshock sink dead-letters retry servicenow

    foreshock sink dead-letters retry servicenow 17 18
    """
    path = f"/api/v1/sinks/{name}/dead-letters/retry"
    _tell_tried(client(server, token_file).post(path, {"ids": ids or []}), output, "sent again")


@dead_letters.command("drop")
@told
def drop_dead(
    name: SinkName,
    ids: Annotated[list[int], typer.Argument(help="Ids from the list.")],
    reason: Annotated[str, typer.Option(help="Why nothing is lost by it; it stands in the audit with your name.")],
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
    output: Format = Output.TABLE,
) -> None:
    """Give dead letters up for good.

    foreshock sink dead-letters drop servicenow 17 --reason "opened by hand as INC0012345"
    """
    path = f"/api/v1/sinks/{name}/dead-letters/drop"
    _tell_tried(client(server, token_file).post(path, {"ids": ids, "reason": reason}), output, "dropped")


def _dead_cells(row: dict[str, Any]) -> Iterable[Any]:
    order = row["order"] or {"situation": "-", "verb": "-"}
    return row["id"], minute(row["at"]), order["situation"], order["verb"], row["error"]


def _tell_tried(tried: list[dict[str, Any]], output: Output, word: str) -> None:
    def cells(row: dict[str, Any]) -> Iterable[Any]:
        went = f"{word} with {row['orders'] - 1} that waited for it" if row["orders"] > 1 else word
        return row["id"], row["refused"] or went

    tell_rows(tried, output, ("id", "outcome"), cells)
    if any(row["refused"] for row in tried):
        leave(FAILED)
