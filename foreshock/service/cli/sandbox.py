"""Local stand-ins of ITSM systems and CMDBs, for who has no tenant at hand."""

from pathlib import Path
from typing import Annotated

import typer

from foreshock.connect.auth import read_secret
from foreshock.core.errors import ForeshockError, Invalid
from foreshock.service.cli.terminal import print_lines, told, writing

commands = typer.Typer()


@commands.command()
@told
def sandbox(
    kind: Annotated[str, typer.Argument(help="System to stand in for, for example servicenow.")],
    port: Annotated[int, typer.Option(help="Port on this machine; 0: any free one.")] = 8430,
    faults: Annotated[
        str, typer.Option(help="Share of requests that each fault strikes: lost=0.1,limited=0.05,error=0.05.")
    ] = "",
    edition: Annotated[
        str, typer.Option(help="Edition of the system to print the settings of, where it has several: on_premises.")
    ] = "",
    seed: Annotated[int, typer.Option(help="The same seed gives the same faults and ids.")] = 1,
    folder: Annotated[
        Path, typer.Option(help="Where the ledger of all requests and the files with passwords are written.")
    ] = Path("sandbox"),
    hook: Annotated[
        str, typer.Option(help="Address that is told what people do, for example http://localhost:8420/hooks/NAME.")
    ] = "",
    hook_secret_file: Annotated[
        Path | None, typer.Option(help="File with the secret that proves it; the sink's webhook_secret_file.")
    ] = None,
) -> None:
    """Stand in for an ITSM system or a CMDB on this machine, to try Foreshock without a tenant. Ctrl-C ends it.

    It prints what to paste into the configuration. Everything it was asked, and what it did, is in FOLDER/KIND.jsonl.

    foreshock sandbox servicenow

    foreshock sandbox servicenow --faults lost=0.1,limited=0.05 --seed 7

    foreshock sandbox servicedesk_plus --edition on_premises

    People act through a side door:
    curl -d '{"number": "INC0010001", "action": "resolve"}' localhost:8430/_sim/edit

    curl -d '{"do": "put_ci", "name": "db7"}' localhost:8430/_sim/cmdb

    Foreshock hears of it at once:
    foreshock sandbox zendesk --hook http://localhost:8420/hooks/zendesk --hook-secret-file hook.secret
    """
    from foreshock.sandbox.faults import Faults, parse_rates
    from foreshock.sandbox.ledger import Ledger
    from foreshock.sandbox.server import SandboxServer, Webhook, settings_text
    from foreshock.sandbox.system import real_time, simulators

    known = simulators()
    if kind not in known:
        raise typer.BadParameter(f"{kind!r} is none of {', '.join(known)}")
    editions = known[kind].variants
    if edition and edition not in editions:
        told = f"one of {', '.join(editions)}" if editions else f"left out: {kind} has one edition"
        raise typer.BadParameter(f"{edition!r} is no edition of {kind}; it is to be {told}")
    try:
        rates = parse_rates(faults)
    except Invalid as error:
        raise typer.BadParameter(f"{error}; {error.hint}") from None
    if bool(hook) != (hook_secret_file is not None):
        raise typer.BadParameter("--hook and --hook-secret-file belong together")
    secret = read_secret(hook_secret_file, "--hook-secret-file") if hook_secret_file is not None else ""
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        ledger = Ledger(folder / f"{kind}.jsonl")
    try:
        server = SandboxServer(known[kind].build(real_time, seed), faults=Faults(rates, seed), ledger=ledger, port=port)
    except OSError as error:
        raise ForeshockError(f"port {port} cannot be used: {error.strerror}", hint="choose another --port") from None
    if hook:
        server.webhook = Webhook(hook, secret, known[kind].call)
    print_lines(f"# {known[kind].title} stands at {server.url}; put this into the configuration:")
    for part, settings in (
        ("sinks", editions.get(edition, known[kind].settings)),
        ("topology", known[kind].source_settings),
    ):
        if settings is not None:
            with writing(folder):
                entry = settings(server.url, folder.absolute())
            print_lines(*settings_text(part, kind, entry).splitlines())
    server.serve()
