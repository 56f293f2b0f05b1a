"""Commands about what comes in."""

import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from foreshock.core.errors import ForeshockError
from foreshock.service.cli.options import DEFAULT_SERVER, Format, Server, TokenFile, client
from foreshock.service.cli.terminal import (
    Output,
    complain,
    leave,
    minute,
    print_lines,
    tell_lines,
    tell_rows,
    told,
)

commands = typer.Typer(help="What comes in: how a payload is read, and who reports.", no_args_is_help=True)

_FINDINGS = 4


@commands.command("test")
@told
def try_payload(
    mapping: Annotated[str, typer.Argument(help="A mapping file, or a kind of collector (see `foreshock kinds`).")],
    payload: Annotated[str, typer.Argument(help="File with a payload as the product sends it; - for standard input.")],
    header: Annotated[
        list[str] | None, typer.Option("--header", "-H", help="A header that comes with it, as Name: value.")
    ] = None,
    expect: Annotated[
        Path | None, typer.Option("--expect", help="File with what -o json printed when it was right.")
    ] = None,
    output: Format = Output.TABLE,
) -> None:
    """Show what a payload becomes, item by item: an alert, its end, a change; what is missing, and what is ignored or
    refused and why. Nothing is sent or configured.

    Exit code 4: an item is refused, or lacks something the mapping looks for; with --expect: it is not as expected.

    foreshock collectors test mapping.yaml payload.json

    foreshock collectors test mapping.yaml payload.json -o json > expected.json

    foreshock collectors test mapping.yaml payload.json --expect expected.json

    curl -s https://tool.example/api/last | foreshock collectors test mapping.yaml -
    """
    from foreshock.service.collector_test import compared, differences, lines_of, try_kind, try_mapping
    from foreshock.service.settings import collector_kinds

    body, now = _read(payload), datetime.now(UTC)
    headers = {name.strip().lower(): value.strip() for name, _, value in (one.partition(":") for one in header or ())}
    if mapping in collector_kinds():
        found = try_kind(collector_kinds()[mapping], body, headers, now)
    else:
        found = try_mapping(Path(mapping), body, headers, now)
    tell_lines([compared(one) for one in found], output, lambda _: (line for one in found for line in lines_of(one)))
    if expect is not None:
        for difference in (told := differences(found, _read(str(expect)))):
            complain(difference, color="yellow")
        leave(_FINDINGS if told else 0)
    if not found:
        print_lines("the payload holds no items")
    if any(one.becomes == "refused" or one.notes for one in found):
        leave(_FINDINGS)


def _read(place: str) -> bytes:
    if place == "-":
        return sys.stdin.buffer.read()
    try:
        return Path(place).read_bytes()
    except OSError as error:
        raise ForeshockError(f"{place} cannot be read: {error.strerror}", hint="check the path") from None


# ---- a running Foreshock --------------------------------------------------------------------------------------------


@commands.command("status")
@told
def show_status(server: Server = DEFAULT_SERVER, token_file: TokenFile = None, output: Format = Output.TABLE) -> None:
    """Who reports to a running Foreshock, or is configured to: when it was last heard, what became of what it sent, and
    what is wrong.

    Exit code 4: there is something wrong with one.

    foreshock collectors status
    """
    listed = client(server, token_file).get("/api/v1/sources")
    used = [each for each in listed if any(each[by] for by in ("configured", "last_seen", "rejected", "last_error"))]
    tell_rows(used, output, ("name", "kind", "at", "last heard", "what came", "what is wrong"), _cells)
    if any(_wrong(each) for each in used):
        leave(_FINDINGS)


@commands.command("templates")
@told
def show_templates(
    name: Annotated[str, typer.Argument(help="Of a collector that takes lines, such as syslog.")],
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
    output: Format = Output.TABLE,
) -> None:
    """What the lines say that come most and are no events: each counted under its template, which has * for values.

    A line that should be an event: put matchers on it into `lines.events` of the collector, such as text=~"link is.*".
    One that should not even be counted: into `lines.drop`.

    foreshock collectors templates network
    """
    sources = client(server, token_file).get("/api/v1/sources")
    found = next((each for each in sources if each["name"] == name and _listens(each)), None)
    if found is None:
        known = ", ".join(each["name"] for each in sources if _listens(each)) or "none"
        raise ForeshockError(f"nothing is listened to that is called {name!r}", hint=f"there are: {known}")
    rows = found["listening"]["tops"]
    tell_rows(rows, output, ("lines", "program", "template"), lambda top: (f"{top['count']:,}", top["of"], top["text"]))


def _listens(source: dict[str, Any]) -> bool:
    return source["listening"] is not None


def _cells(source: dict[str, Any]) -> tuple[str, ...]:
    listening = source["listening"] or {}
    counts = listening.get("counts") or {"events": source["events"], "rejected": source["rejected"]}
    return (
        source["name"],
        source["collector"],
        listening.get("address") or source["path"],
        minute(source["last_seen"]) if source["last_seen"] else "never",
        ", ".join(f"{count:,} {outcome}" for outcome, count in sorted(counts.items()) if count),
        _wrong(source),
    )


def _wrong(source: dict[str, Any]) -> str:
    listening = source["listening"]
    if listening is not None and not listening["running"]:
        return str(listening["problem"] or "its process does not run")
    silent = source["silent_since"]
    return str(source["last_error"] or (f"silent since {minute(silent)} UTC" if silent else ""))
