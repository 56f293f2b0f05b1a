"""History of before: for an installation that has none."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer

from foreshock.core.quantities import format_duration
from foreshock.service.cli.options import Config, Mapped
from foreshock.service.cli.terminal import counted, print_lines, told, warn

commands = typer.Typer(help="History that was recorded elsewhere.", no_args_is_help=True)


@commands.command("import")
@told
def import_history(
    input: Annotated[
        Path,
        typer.Argument(help="A capture, Alertmanager alerts (JSONL), or a table (CSV, JSONL, Parquet) with --mapping."),
    ],
    mapping: Mapped = None,
    topology: Annotated[
        Path | None,
        typer.Option(
            "--topology",
            help="Topology file or folder for the time of this history, in place of its own; without either, that of "
            "the configuration.",
        ),
    ] = None,
    state: Annotated[
        Path | None, typer.Option("--state", help="State folder to begin, in place of the configuration's.")
    ] = None,
    config: Config = None,
) -> None:
    """Begin a new installation with history, so that it learns and plans from the first day on.

    Situations of that time are there, with what people said and what is usual. No ticket is opened for them: no sink
    hears of it, and at its end everything that still fires is over. Refused where there are records already, or while a
    Foreshock runs.

    Examples: `foreshock history import last-year.parquet`,
    `foreshock history import alerts.csv --mapping mapping.yaml --topology cmdb/`
    """
    from foreshock.connect.config import load
    from foreshock.service.clock import utc_now
    from foreshock.service.cmdb.run import read_once
    from foreshock.service.engine import Engine
    from foreshock.service.front import own
    from foreshock.service.history_import import imported, read_in
    from foreshock.service.recorded import ReplayMapping, read_input, read_topology
    from foreshock.service.records import SettingsRecord, TopologyRecord
    from foreshock.service.rule_files import load_rules
    from foreshock.service.settings import collector_kinds, load_settings, rule_kinds
    from foreshock.store import capture, migrations
    from foreshock.store.journal import Journal

    settings = load_settings(config, os.environ, {"state": str(state)} if state is not None else {})
    columns, collectors = load(mapping, ReplayMapping) if mapping else None, collector_kinds()
    known = None
    if topology is not None:
        read = read_topology(topology, columns)
        known = TopologyRecord(version=read.version, cis=read.cis, relationships=read.relationships)
    elif settings.topology:
        found = read_once(settings, utc_now)
        known = TopologyRecord(version=found.version, cis=found.cis, relationships=found.relationships)
    is_capture = not (columns and columns.alerts) and input.is_file() and capture.head_of(input) is not None
    said = sorted(capture.judgements(input), key=lambda one: one.at) if is_capture else []
    record = SettingsRecord(
        correlation=settings.correlation.model_dump(mode="json"), sinks=(), rules=load_rules(settings.rules)
    )
    inputs = read_input(input, columns, collectors, warn)
    past = imported(inputs, said, settings=record, topology=known, only_this=topology is not None, now=utc_now())
    engine = Engine(collectors, rule_kinds())
    with ExitStack() as opened:
        opened.callback(os.close, own(settings.state))
        journal = Journal(settings.store_url)
        opened.callback(journal.close)
        journal.claim()
        migrations.upgrade_journal(journal)
        records = journal.fill(past)
        progress = opened.enter_context(_progress(records))
        read_in(journal, engine, records, progress)
    print_lines(
        f"imported {counted(records, 'record')} up to {engine.now:%Y-%m-%d %H:%M} UTC: "
        f"{counted(engine.last_situation, 'situation')}, all over, and {counted(engine.last_judgement, 'judgement')}",
        "No ticket was opened. `foreshock run` goes on from here; `foreshock learn` learns from it.",
    )
    kept = settings.retention.age
    if utc_now() - engine.now > kept:
        warn(
            f"retention.age is {format_duration(kept)}: what is older is forgotten soon after the start; set it higher "
            "before, where you want to keep this history"
        )


@commands.command("prometheus")
@told
def from_prometheus(
    url: Annotated[str, typer.Argument(help="Address of Prometheus, or of what speaks its API, without /api/v1.")],
    out: Annotated[Path, typer.Option("--out", help="File to write.")],
    since: Annotated[str, typer.Option("--since", help="How far back, as far as Prometheus keeps it.")] = "30d",
    step: Annotated[
        str, typer.Option("--step", help="How exact: no longer than the shortest alert that counts.")
    ] = "1m",
    label: Annotated[
        list[str] | None,
        typer.Option("--label", help="NAME=VALUE for all alerts: its external labels, which its own series lack."),
    ] = None,
    query: Annotated[str, typer.Option("--query", help="Which alerts, as PromQL.")] = "",
    token_file: Annotated[
        Path | None, typer.Option("--token-file", help="File with a bearer token, mode 0600.")
    ] = None,
    ca_file: Annotated[Path | None, typer.Option("--ca-file", help="Authorities to trust, PEM.")] = None,
    tenant: Annotated[str, typer.Option("--tenant", help="Sent as X-Scope-OrgID, which Mimir asks for.")] = "",
) -> None:
    """Write the alerts that Prometheus remembers (its series ALERTS), as history that can be imported and planned over.

    Examples: `foreshock history prometheus http://prometheus:9090 --since 30d --label cluster=eu --out alerts.jsonl`,
    then `foreshock rules plan alerts.jsonl`, or `foreshock history import alerts.jsonl`
    """
    from pydantic import ValidationError

    from foreshock.connect.config import strictly
    from foreshock.connect.http import Http
    from foreshock.connect.vendors.prometheus import PrometheusAccount, connect
    from foreshock.core.errors import Rejected
    from foreshock.core.quantities import parse_duration
    from foreshock.service import past_alerts
    from foreshock.service.clock import utc_now

    given = {"url": url, "token_file": token_file and str(token_file), "ca_file": ca_file and str(ca_file)}
    given["tenant"] = tenant
    try:
        account = strictly({name: value for name, value in given.items() if value}, PrometheusAccount)
    except ValidationError as error:
        raise typer.BadParameter(error.errors()[0]["msg"]) from None
    named = dict(each.partition("=")[::2] for each in label or [])
    each_s, now = parse_duration(step), utc_now()
    api = connect(account, "history", "", Http)
    start, asked = now - parse_duration(since), query or past_alerts.QUERY
    runs = sorted(past_alerts.read(api, start, now, each_s, asked, account.headers))
    if not runs:
        raise Rejected(f"{url} remembers no alerts of the last {since}", hint="try a longer --since, or see --query")
    out.write_bytes(b"".join(past_alerts.lines(runs, each_s, named)))
    kinds = {dict(run.labels).get("alertname", "") for run in runs}
    print_lines(f"wrote {counted(len(runs), 'alert')} of {counted(len(kinds), 'rule')} to {out}")


@contextmanager
def _progress(total: int) -> Iterator[Callable[[int], None]]:
    from rich.console import Console
    from rich.progress import Progress

    console = Console(stderr=True)
    with Progress(console=console, transient=True, disable=not console.is_terminal) as progress:
        task = progress.add_task("reading history", total=total)
        yield lambda done: progress.update(task, completed=done)
