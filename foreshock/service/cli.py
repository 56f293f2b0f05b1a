"""The command line. What only reads reaches a running Foreshock through its API; nothing else opens a store that is in
use.

Exit codes: 0 done; 1 failed; 2 wrong usage; 5 no Foreshock answers; 75 the store is in use, try again; 78 wrong
configuration.
"""

import csv
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Annotated, Any, NoReturn, ParamSpec
from urllib.parse import urlencode

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from foreshock import __version__
from foreshock.core.errors import ConfigError, Denied, ForeshockError, Held, Problem, Unavailable

FAILED, USAGE, UNREACHABLE, TEMPORARY, CONFIG = 1, 2, 5, 75, 78

app = typer.Typer(
    name="foreshock",
    help="Monitoring noise in; few, explained, correctly prioritised incidents out.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
incidents = typer.Typer(help="Incidents of a running Foreshock.", no_args_is_help=True)
feedback = typer.Typer(help="Say what belongs together, and export what was said.", no_args_is_help=True)
db = typer.Typer(help="The store's schema.", no_args_is_help=True)
app.add_typer(incidents, name="incidents")
app.add_typer(feedback, name="feedback")
app.add_typer(db, name="db")
learn = typer.Typer(help="What is learned from history.", invoke_without_command=True)
app.add_typer(learn, name="learn")
silence = typer.Typer(help="Silences: who asked for quiet, and until when.", no_args_is_help=True)
app.add_typer(silence, name="silence")
maintenance = typer.Typer(help="Maintenance windows: planned work that opens no ticket.", no_args_is_help=True)
app.add_typer(maintenance, name="maintenance")
P = ParamSpec("P")
out, err = Console(), Console(stderr=True)


class Output(StrEnum):
    TABLE = "table"
    JSON = "json"


Config = Annotated[
    Path | None,
    typer.Option("--config", envvar="FORESHOCK_CONFIG", help="Configuration file; embedded defaults without one."),
]
Server = Annotated[str, typer.Option("--server", envvar="FORESHOCK_SERVER", help="Address of the running Foreshock.")]
TokenFile = Annotated[
    Path | None, typer.Option("--token-file", envvar="FORESHOCK_TOKEN_FILE", help="File that holds your token.")
]
Format = Annotated[Output, typer.Option("--output", "-o", help="A table for people, or JSON for programs.")]
_DEFAULT_SERVER = "http://127.0.0.1:8420"


def main() -> None:
    """Entry point."""
    app()


def told(command: Callable[P, None]) -> Callable[P, None]:
    """Turn our errors into one message on stderr and the documented exit code."""

    @wraps(command)
    def run(*args: P.args, **options: P.kwargs) -> None:
        try:
            command(*args, **options)
        except ConfigError as error:
            for problem in error.problems:
                err.print(str(problem), style="red", highlight=False, markup=False, soft_wrap=True)
            _leave(CONFIG)
        except Held as error:
            _say(error, TEMPORARY)
        except (Unavailable, Denied) as error:
            _say(error, UNREACHABLE)
        except ForeshockError as error:
            _say(error, FAILED)

    return run


def _say(error: Exception, code: int) -> NoReturn:
    err.print(str(error), style="red", highlight=False, markup=False, soft_wrap=True)
    _leave(code)


def _leave(code: int) -> NoReturn:
    raise typer.Exit(code)


def _version(wanted: bool) -> None:
    if wanted:
        out.print(f"foreshock {__version__}")
        _leave(0)


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    pass


# ---- running --------------------------------------------------------------------------------------------------------


@app.command()
@told
def run(
    config: Config = None,
    listen: Annotated[str | None, typer.Option(help="HOST:PORT to listen on.")] = None,
    state: Annotated[Path | None, typer.Option(help="Folder for everything Foreshock keeps.")] = None,
) -> None:
    """Start Foreshock; Ctrl-C or SIGTERM stops it after it has finished what it took in."""
    from foreshock.service import logs
    from foreshock.service.server import serve
    from foreshock.service.settings import SettingsSource

    source = SettingsSource(config, os.environ, {"listen": listen, "state": state})
    settings = source.load()
    logs.configure(settings.log.level, settings.log.format)
    _leave(serve(settings, source=source, ready=lambda _, url: _welcome(url)))


def _welcome(url: str) -> None:
    target = url.partition("://")[2]
    out.print(
        f"""
Foreshock {__version__} is ready.

  Console       {url}
  API           {url}/api/openapi.json

Send it your alerts, as if it were an Alertmanager (prometheus.yml):

  alerting:
    alertmanagers:
      - static_configs:
          - targets: ['{target}']

or from an Alertmanager you keep (alertmanager.yml):

  receivers:
    - name: foreshock
      webhook_configs:
        - url: {url}/api/v1/collect/alertmanager

See it work now, with a recorded outage:  foreshock demo    (.venv/bin/foreshock demo)
""",
        highlight=False,
        markup=False,
        soft_wrap=True,
    )


@app.command()
@told
def reload(server: Server = _DEFAULT_SERVER, token_file: TokenFile = None) -> None:
    """Let a running Foreshock read its settings and rules again; it goes on with the old ones if anything is wrong."""
    changed = _client(server, token_file).post("/-/reload", None)["changed"]
    out.print("The new settings and rules are in force." if changed else "Nothing has changed.")


@app.command()
@told
def demo(
    listen: Annotated[str, typer.Option(help="HOST:PORT to listen on.")] = "127.0.0.1:8421",
    speed: Annotated[float, typer.Option(min=1, max=600, help="Times as fast as it happened.")] = 60.0,
) -> None:
    """Replay a recorded outage of a real application at accelerated time, on a state of its own."""
    from foreshock.service import logs
    from foreshock.service.demo.run import run_demo

    logs.configure("warning", "auto")
    _leave(run_demo(listen, speed, out))


@app.command()
@told
def init(folder: Annotated[Path, typer.Argument(help="Where to write the files.")] = Path()) -> None:
    """Write a commented configuration file, and examples of a topology and of rules."""
    from foreshock.service.settings_files import bundled, example

    folder.mkdir(parents=True, exist_ok=True)
    for name, text in {
        "foreshock.yaml": example(),
        "foreshock.schema.json": bundled("foreshock.schema.json"),
        "topology.example.yaml": bundled("topology.example.yaml"),
        "rules.example.yaml": bundled("rules.example.yaml"),
        "rules.schema.json": bundled("rules.schema.json"),
    }.items():
        path = folder / name
        if path.exists():
            err.print(f"{path} exists and stays as it is", markup=False)
        else:
            path.write_text(text)
            out.print(f"wrote {path}", markup=False, highlight=False)
    out.print(f"Start with: foreshock run --config {folder / 'foreshock.yaml'}", markup=False, highlight=False)


@app.command()
@told
def check(config: Config = None) -> None:
    """Read the configuration, the rules and the topology as a start would, and list every problem."""
    from foreshock.service.rule_files import load_rules
    from foreshock.service.settings import load_settings, polled_kinds, source_kinds

    settings = load_settings(config, os.environ, {})
    problems: list[Problem] = []
    try:
        in_force = [rule for rule in load_rules(settings.rules) if rule.enabled]
        out.print(f"rules: {', '.join(rule.name for rule in in_force)}", markup=False, highlight=False, soft_wrap=True)
    except ConfigError as error:
        problems += error.problems
    for collector in settings.collectors:
        try:
            poll = polled_kinds()[collector.kind].poll
            assert poll is not None
            poll.build(collector.name, collector.config)
        except ConfigError as error:
            problems += error.problems
    for instance in settings.topology:
        try:
            snapshot = source_kinds()[instance.kind].build(instance.name, instance.config).fetch()
        except ConfigError as error:
            problems += error.problems
            continue
        for warning in snapshot.warnings:
            err.print(warning, style="yellow", markup=False, highlight=False, soft_wrap=True)
        out.print(f"topology {instance.name}: {len(snapshot.cis)} CIs, {len(snapshot.relationships)} relationships")
    if problems:
        raise ConfigError(problems)
    out.print("The configuration is sound.")


@app.command()
@told
def kinds(
    stage: Annotated[str, typer.Argument(help="collectors, detectors, rules, sinks, sources or all.")] = "all",
    output: Format = Output.TABLE,
) -> None:
    """List the kinds of connectors, detectors and rules this Foreshock has."""
    from foreshock.service.front import collector_kinds
    from foreshock.service.metric_work import detector_kinds
    from foreshock.service.settings import rule_kinds, sink_kinds, source_kinds

    stages: dict[str, Callable[[], Any]] = {
        "collectors": collector_kinds, "detectors": detector_kinds, "rules": rule_kinds, "sinks": sink_kinds,
        "sources": source_kinds,
    }  # fmt: skip
    if stage != "all" and stage not in stages:
        raise typer.BadParameter(f"{stage!r} is none of {', '.join(stages)} and all")
    rows = []
    for name, find in stages.items():
        if stage in (name, "all"):
            for kind, declared in find().items():
                rows.append(
                    {
                        "stage": name,
                        "kind": kind,
                        "title": declared.title,
                        "path": declared.receive.path if name == "collectors" and declared.receive else "",
                    }
                )
    _list(rows, output)


# ---- looking --------------------------------------------------------------------------------------------------------


@incidents.command("list")
@told
def list_incidents(
    state: Annotated[str, typer.Option(help="open, resolved, merged or all.")] = "open",
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    server: Server = _DEFAULT_SERVER,
    token_file: TokenFile = None,
    output: Format = Output.TABLE,
) -> None:
    """The open incidents, the most urgent first."""
    found = _client(server, token_file).get("/api/v1/incidents", state=state, limit=limit)
    if output is Output.JSON:
        _print_json(found)
        return
    _table(
        ("", "incident", "state", "age", "alerts", "CIs", "probable cause", "ticket", "title"),
        (
            (
                f"P{row['priority']}",
                row["id"],
                row["state"],
                _age(row["age_s"]),
                f"{row['active']}/{row['alerts']}",
                row["ci_count"],
                row["cause"],
                ", ".join(ticket["number"] for ticket in row["tickets"] if ticket["number"]) or row["held_by"] or "-",
                row["title"],
            )
            for row in found
        ),
    )


@incidents.command("show")
@told
def show_incident(
    id: Annotated[str, typer.Argument(help="Situation id or ticket number, S-1 or INC0000001.")],
    server: Server = _DEFAULT_SERVER,
    token_file: TokenFile = None,
    output: Format = Output.TABLE,
) -> None:
    """One incident: causes, alerts, timeline."""
    view = _incident(server, token_file, id)
    if output is Output.JSON:
        _print_json(view)
        return
    row = view["row"]
    _lines(
        f"{row['id']}  P{row['priority']}  {row['state']}  {row['title']}",
        f"priority: {view['priority_reason']}",
        f"next: {view['next_step']}",
        *([f"held: {row['held_by']}"] if row["held_by"] else []),
        "",
        f"candidates: {view['cause_doubt']}" if view["cause_doubt"] else "probable causes",
        *(
            f"  {c['score']:.2f}  {c['ci']}: {'; '.join(p['evidence'] for p in c['contributions'])}"
            for c in view["causes"]
        ),
        "",
        "timeline",
        *(f"  {e['at']}  {e['lane']:8}  {e['actor']}: {e['action']} {e['text']}" for e in view["timeline"]),
    )


@app.command()
@told
def explain(
    id: Annotated[str, typer.Argument(help="Situation id, ticket number, or the fingerprint of an alert.")],
    against: Annotated[str, typer.Option(help="An incident: why is it, or each of its alerts, not in there?")] = "",
    server: Server = _DEFAULT_SERVER,
    token_file: TokenFile = None,
    output: Format = Output.TABLE,
) -> None:
    """Why alerts are together or are not, what caused it, and why there is a ticket or none."""
    client = _client(server, token_file)
    view = client.get(f"/api/v1/explain/{id}" + (f"/against/{against}" if against else ""))
    if view is None:
        hint = "see `foreshock incidents list --state all`"
        _say(ForeshockError(f"there is no incident and no alert {id!r}", hint=hint), FAILED)
    if output is Output.JSON:
        _print_json(view)
        return
    if against:
        _lines(*(line for each in view for line in _told_apart(each)))
        return
    _lines(
        *(_headed(view) if view["situation"] else ["in no situation"]),
        *(f"held ({held['kind']}, {_alerts(held['alerts'])}): {held['reason']}" for held in view["held"]),
        *(f"  {_decided(each)}" for each in view["decisions"]),
        *([f"no cause is named: {view['cause_doubt']}"] if view["cause_doubt"] else []),
        *(f"cause {_caused(cause)}" for cause in view["causes"][:3]),
        *(f"metric {_measured(each)}" for each in view["evidence"][:5]),
        *(f"{j['at'][:19]} {j['actor']} said {j['kind']}: {j['outcome']}" for j in reversed(view["judgements"])),
        *_versions("decided by", view["now"]),
        "",
        *(line for alert in view["alerts"] for line in _explained(alert)),
    )


def _alerts(count: int) -> str:
    return f"{count} alert" + ("" if count == 1 else "s")


def _headed(view: dict[str, Any]) -> list[str]:
    return [
        f"{view['situation']}: {view['title']}",
        f"priority {view['priority']}: {view['priority_reason']}",
        f"ticket: {view['next_step'] or 'no sink is configured'}",
    ]


def _decided(each: dict[str, Any]) -> str:
    until = f", until {each['until'][11:19]}" if each["until"] else ""
    return f"{each['at'][:19].replace('T', ' ')} {each['sink']}: {each['step']}: {each['reason']}{until}"


def _measured(evidence: dict[str, Any]) -> str:
    odd = evidence["anomaly"]
    which = f" ({odd['dimension']})" if odd.get("dimension") else ""
    unit = f" {odd['unit']}" if odd.get("unit") else ""
    return (
        f"{odd['metric']}{which} of {odd['ci']}: {odd['direction']} to {odd['observed']:.4g}{unit} "
        f"where {odd['expected']:.4g}{unit} is usual, {odd['score']:.0f} spreads off since {odd['onset'][11:16]} UTC; "
        f"{' needs '.join(evidence['path'])}"
    )


def _caused(cause: dict[str, Any]) -> str:
    parts = "; ".join(f"{part['evidence']} ({part['points']:+.2f})" for part in cause["contributions"])
    return f"{cause['ci']} ({cause['score']:.2f}): {parts}"


def _versions(what: str, versions: dict[str, Any] | None) -> list[str]:
    if versions is None:
        return []
    named = [f"topology {versions['topology'] or 'none'}", f"settings {versions['settings']}"]
    named += [f"learned {versions['learned']}"] if versions["learned"] else []
    return [f"{what}: rules {', '.join(versions['rules'])}; {'; '.join(named)}"]


def _told_apart(each: dict[str, Any]) -> list[str]:
    lines = [each["sentence"]]
    if link := each["link"]:
        strength = f"strength {link['strength']:.2f} against {link['threshold']:.2f}"
        lines.append(f"  {link['rule']}: {' -> '.join(link['path'])}, {link['gap_s']:.0f} s apart, {strength}")
        lines.append(f"    {link['sentence']}")
    lines += [f"  {reason}" for reason in each["obstacles"] if reason not in each["sentence"]]
    for past in each["decided"]:
        lines.append(f"  {past['at'][:19].replace('T', ' ')} {_considered(past)}")
        lines += _versions("    decided by", past["versions"])
    return lines + _versions("  asked of", each["now"])


def _considered(past: dict[str, Any]) -> str:
    return f"not {past['situation']} ({past['rule']}, strength {past['strength']:.2f}): {past['why']}"


def _explained(alert: dict[str, Any]) -> list[str]:
    why = alert["why"] or {}
    events = f"{alert['count']} event" + ("" if alert["count"] == 1 else "s")
    what = f"{alert['name']} on {alert['ci'] or 'no CI'} ({alert['state']}, {events}, {alert['fingerprint'][:8]})"
    lines = [f"{what}: {why.get('sentence', 'it is in no situation')}", f"  bound by {alert['bound_by']}"]
    if why.get("rule"):
        strength = f"strength {why['strength']:.2f} against {why['threshold']:.2f}"
        lines.append(f"  {why['rule']}: {' -> '.join(why['path'])}, {why['gap_s']:.0f} s apart, {strength}")
    if why.get("moved"):
        lines.append(f"  {why['moved']}")
    lines += [f"  {_considered(past)}" for past in why.get("considered", ())]
    lines += [f"  {held['kind']}: {held['reason']}" for held in alert["held"]]
    return lines


@app.command()
@told
def capture(
    to: Annotated[Path, typer.Option("--out", help="File to write, one record a line.")],
    after: Annotated[int, typer.Option(help="Begin after this record.")] = 0,
    server: Server = _DEFAULT_SERVER,
    token_file: TokenFile = None,
) -> None:
    """Write the records of a running Foreshock to a file that `foreshock replay` reads."""
    client, written = _client(server, token_file), 0
    with to.open("wb") as file:
        while lines := client.lines("/api/v1/records", after=after, limit=500):
            file.write(lines)
            rows = lines.splitlines()
            after = json.loads(rows[-1])["number"]
            written += len(rows)
    out.print(f"wrote {written} records to {to}", markup=False, highlight=False)


Recorded = Annotated[
    Path, typer.Argument(help="A capture, an Alertmanager stream (JSONL), or CSV/JSONL with --mapping.")
]
OwnTopology = Annotated[
    Path | None, typer.Option("--topology", help="Topology file or folder, in place of the input's own.")
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
Mapped = Annotated[Path | None, typer.Option("--mapping", help="YAML that says which column is what.")]


@app.command()
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

    result = _recorded(work.replay, input, topology, rules, settings, mapping, learned)
    work.write(result, to)
    if output is Output.JSON:
        _print_json(result.summary())
    else:
        _table(("", ""), result.summary().items())


@app.command()
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
    _table(
        ("at (UTC)", "situation", "sink", "", "until", "why"),
        (
            (
                f"{row.at:%Y-%m-%d %H:%M:%S}",
                row.situation,
                row.sink,
                row.verb,
                f"{row.until:%H:%M:%S}" if row.until else "",
                row.reason,
            )
            for row in rows
        ),
    )


@app.command("rank")
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
    issues, named = work.write(work.rank(load(spec, work.RankSpec), data, chosen), to)
    out.print(
        f"wrote {to}: {issues} incidents, for {issues - named} of them not enough evidence to name a cause",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )


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
    from cmdb_sync.file import FileConfig, FileSource
    from correlation.settings import CorrelationSettings
    from foreshock.connect.config import load
    from foreshock.service.front import collector_kinds
    from foreshock.service.learning import read_learned
    from foreshock.service.replay import ReplayMapping, TopologyWords, read_input
    from foreshock.service.rule_files import load_rules
    from foreshock.service.settings import rule_kinds

    columns = load(mapping, ReplayMapping) if mapping else None
    words = columns.topology if columns else TopologyWords()
    source = FileConfig(path=topology, **words.model_dump()) if topology else None
    collectors = collector_kinds()
    return work(
        read_input(input, columns, collectors),
        collectors,
        rule_kinds(),
        topology=FileSource("replay", source).fetch() if source else None,
        settings=load(settings, CorrelationSettings) if settings else None,
        in_force=load_rules(rules) if rules else None,
        learned=read_learned(learned) if learned else None,
    )


# ---- silences and maintenance ---------------------------------------------------------------------------------------

Matching = Annotated[list[str], typer.Argument(help='Matchers, as in Alertmanager: alertname=DiskFull, job=~"db.*".')]
Cis = Annotated[list[str], typer.Option("--ci", help="Id or name of a CI; may be given several times.")]
Services = Annotated[
    list[str], typer.Option("--service", help="Business service: it, and what only services named here need.")
]
Matchers = Annotated[list[str], typer.Option("--matcher", help='Label: alertname=DiskFull, job=~"db.*".')]
Descendants = Annotated[bool, typer.Option(help="Whether what depends on the CIs is covered too.")]


@silence.command("list")
@told
def list_silences(
    server: Server = _DEFAULT_SERVER, token_file: TokenFile = None, output: Format = Output.TABLE
) -> None:
    """Silences, active ones first; ended ones for a day."""
    found = _client(server, token_file).get("/api/v1/silences")
    if output is Output.JSON:
        _print_json(found)
        return
    _table(
        ("silence", "state", "matchers", "until", "by", "holds", "comment"),
        (
            (
                row["id"],
                row["state"],
                ", ".join(row["matchers"]),
                _minute(row["ends_at"]),
                row["created_by"],
                f"{row['held']} incident{'s' if row['held'] != 1 else ''}",
                row["comment"],
            )
            for row in found
        ),
    )


@silence.command("preview")
@told
def preview_silence(
    matchers: Matching, server: Server = _DEFAULT_SERVER, token_file: TokenFile = None, output: Format = Output.TABLE
) -> None:
    """What a silence would cover, of what is active now. Nothing is set."""
    _preview(server, token_file, output, matchers=matchers)


@silence.command("add")
@told
def add_silence(
    matchers: Matching,
    comment: Annotated[str, typer.Option(help="Why; somebody will ask.")],
    length: Annotated[str, typer.Option("--for", help="How long: 30m, 2h, 1d.")] = "1h",
    server: Server = _DEFAULT_SERVER,
    token_file: TokenFile = None,
) -> None:
    """Set a silence from now on."""
    said = {"matchers": matchers, "length": length, "comment": comment}
    made = _client(server, token_file).post("/api/v1/silences", said)
    _lines(f"silence {made['id']} until {_minute(made['ends_at'])} UTC")


@silence.command("expire")
@told
def expire_silence(
    id: Annotated[str, typer.Argument(help="Id of the silence.")],
    server: Server = _DEFAULT_SERVER,
    token_file: TokenFile = None,
) -> None:
    """End a silence now; what still fires is looked at at once."""
    made = _client(server, token_file).post(f"/api/v1/silences/{id}/expire", {})
    _lines(f"silence {made['id']} is {made['state']}")


@maintenance.command("list")
@told
def list_windows(server: Server = _DEFAULT_SERVER, token_file: TokenFile = None, output: Format = Output.TABLE) -> None:
    """Maintenance windows, those that run first."""
    _windows(_client(server, token_file).get("/api/v1/maintenance"), output)


@maintenance.command("preview")
@told
def preview_window(
    ci: Cis = [],  # noqa: B006 (typer reads defaults this way)
    service: Services = [],  # noqa: B006
    matcher: Matchers = [],  # noqa: B006
    descendants: Descendants = True,
    server: Server = _DEFAULT_SERVER,
    token_file: TokenFile = None,
    output: Format = Output.TABLE,
) -> None:
    """What a window would cover, of what is active now. Nothing is set."""
    _preview(server, token_file, output, cis=ci, services=service, matchers=matcher, descendants=descendants)


@maintenance.command("add")
@told
def add_window(
    title: Annotated[str, typer.Argument(help="What is done.")],
    comment: Annotated[str, typer.Option(help="Why; somebody will ask.")],
    starts: Annotated[str, typer.Option(help="Beginning: 2026-12-01 22:00.")],
    ends: Annotated[str, typer.Option(help="End; or give --for.")] = "",
    length: Annotated[str, typer.Option("--for", help="How long: 2h; or give --ends.")] = "",
    rrule: Annotated[str, typer.Option(help="How it recurs, as in iCalendar: FREQ=WEEKLY;BYDAY=SU.")] = "",
    time_zone: Annotated[str, typer.Option(help="IANA time zone of the times: Europe/Berlin.")] = "UTC",
    owner: Annotated[str, typer.Option(help="Person or team that asked for it; you, if left out.")] = "",
    ci: Cis = [],  # noqa: B006
    service: Services = [],  # noqa: B006
    matcher: Matchers = [],  # noqa: B006
    descendants: Descendants = True,
    id: Annotated[str, typer.Option(help="Window to put this one in the place of.")] = "",
    server: Server = _DEFAULT_SERVER,
    token_file: TokenFile = None,
) -> None:
    """Plan a maintenance window, once or recurring."""
    said = {
        "id": id, "title": title, "comment": comment, "owner": owner, "starts": starts, "ends": ends,
        "length": length or None, "rrule": rrule, "time_zone": time_zone, "cis": ci, "services": service,
        "matchers": matcher, "descendants": descendants,
    }  # fmt: skip
    _windows([_client(server, token_file).post("/api/v1/maintenance", said)], Output.TABLE)


@maintenance.command("import")
@told
def import_windows(
    file: Annotated[Path, typer.Argument(help="iCalendar file (.ics).")],
    ci: Cis = [],  # noqa: B006
    service: Services = [],  # noqa: B006
    matcher: Matchers = [],  # noqa: B006
    descendants: Descendants = True,
    time_zone: Annotated[str, typer.Option(help="IANA time zone of times that name none.")] = "UTC",
    server: Server = _DEFAULT_SERVER,
    token_file: TokenFile = None,
    output: Format = Output.TABLE,
) -> None:
    """Take the windows of an iCalendar file; the same file again changes nothing.

    --ci, --service and --matcher are for events that have no property X-FORESHOCK-CI, -SERVICE or -MATCHER.
    """
    try:
        body = file.read_bytes()
    except OSError as error:
        _say(ForeshockError(f"{file} cannot be read: {error.strerror}", hint="name an .ics file"), FAILED)
    scope = {"ci": ci, "service": service, "matcher": matcher, "descendants": descendants, "time_zone": time_zone}
    _windows(
        _client(server, token_file).post(f"/api/v1/maintenance/import?{urlencode(scope, doseq=True)}", body), output
    )


@maintenance.command("end")
@told
def end_window(
    id: Annotated[str, typer.Argument(help="Id of the window.")],
    this_once: Annotated[bool, typer.Option("--this-once", help="Only the span that runs now.")] = False,
    server: Server = _DEFAULT_SERVER,
    token_file: TokenFile = None,
) -> None:
    """End a window now; what still fires is looked at at once."""
    path = f"/api/v1/maintenance/{id}/end" + ("?only_running=true" if this_once else "")
    _windows([_client(server, token_file).post(path, {})], Output.TABLE)


def _preview(server: str, token_file: Path | None, output: Output, **scope: Any) -> None:
    found = _client(server, token_file).post("/api/v1/preview", scope)
    if output is Output.JSON:
        _print_json(found)
        return
    if found["unknown"]:
        _lines(f"not in the topology: {', '.join(found['unknown'])}")
    among = f" on {found['scope']}{'+' if found['cut'] else ''} CIs in scope" if found["scope"] else ""
    _lines(f"covers {found['matched']} of {_alerts(found['active'])} that are active now{among}")
    _table(
        ("", "incident", "covered", "then", "ticket", "title"),
        (
            (
                f"P{row['priority']}",
                row["id"],
                f"{row['covered']}/{row['active']}",
                "held" if row["whole"] else "told as before",
                ", ".join(row["tickets"]) or "-",
                row["title"],
            )
            for row in found["incidents"]
        ),
    )


def _windows(found: list[dict[str, Any]], output: Output) -> None:
    if output is Output.JSON:
        _print_json(found)
        return
    _table(
        ("window", "state", "from", "until", "recurs", "scope", "owner", "title"),
        (
            (
                row["id"],
                row["state"],
                *(
                    [_minute(row["spans"][0]["starts_at"]), _minute(row["spans"][0]["ends_at"])]
                    if row["spans"]
                    else "--"
                ),
                row["schedule"] or "-",
                ", ".join((*row["cis"], *row["services"], *row["matchers"])),
                row["owner"],
                row["title"],
            )
            for row in found
        ),
    )


def _minute(moment: str) -> str:
    return moment[:16].replace("T", " ")


# ---- the store ------------------------------------------------------------------------------------------------------


# ---- learning -------------------------------------------------------------------------------------------------------


@learn.callback()
@told
def learn_now(
    context: typer.Context,
    since: Annotated[str, typer.Option(help="History that counts, as 30d; by default the setting `learn.since`.")] = "",
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
    server: Server = _DEFAULT_SERVER,
    token_file: TokenFile = None,
    output: Format = Output.TABLE,
) -> None:
    """Learn from history which alerts begin together, and use it.

    Without --history a running Foreshock learns from its own.
    """
    if context.invoked_subcommand is not None:
        return
    if not history:
        wanted = {"dry_run": dry_run, **({"since": since} if since else {})}
        _tell_version(_client(server, token_file).post("/api/v1/learned/train", wanted, timeout_s=_TRAINING_S), output)
        return
    import msgspec

    from foreshock.service.learning import card

    learned = _learned_from(history, topology, mapping, config, since)
    body = msgspec.json.encode(learned)
    if to is not None:
        to.write_bytes(body)
    elif not dry_run and learned.version:
        _client(server, token_file).post("/api/v1/learned", body)
    if output is Output.JSON:
        _print_json(json.loads(body))
    else:
        _lines(*card(learned))


_TRAINING_S = 3700.0  # a little longer than the server gives a training


def _learned_from(
    files: Sequence[Path], topology: Path | None, mapping: Path | None, config: Path | None, since: str
) -> Any:
    from datetime import timedelta
    from itertools import chain

    from cmdb_sync.file import FileConfig, FileSource
    from foreshock.connect.config import load
    from foreshock.core.quantities import parse_duration
    from foreshock.service.front import collector_kinds
    from foreshock.service.history import Recorded as RecordedHistory
    from foreshock.service.replay import ReplayMapping, TopologyWords, read_input
    from foreshock.service.settings import load_settings
    from predictor.train import train

    settings = load_settings(config, os.environ, {})
    columns = load(mapping, ReplayMapping) if mapping else None
    words = columns.topology if columns else TopologyWords()
    known = FileSource("learn", FileConfig(path=topology, **words.model_dump())).fetch() if topology else None
    collectors = collector_kinds()
    recorded = RecordedHistory(collectors, settings.correlation.bind, known)
    inputs = chain.from_iterable(read_input(path, columns, collectors) for path in files)
    occurrences = list(recorded.occurrences(inputs))
    span = parse_duration(since) if since else timedelta.max
    newest_s = max((one.at_s for one in occurrences), default=0.0)
    young = [one for one in occurrences if newest_s - one.at_s <= span.total_seconds()]
    return train(young, recorded.topology, settings.learn)


@learn.command("list")
@told
def list_learned(server: Server = _DEFAULT_SERVER, token_file: TokenFile = None, output: Format = Output.TABLE) -> None:
    """Versions, newest first."""
    found = _client(server, token_file).get("/api/v1/learned")
    if output is Output.JSON:
        _print_json(found)
        return
    _table(
        ("version", "", "history until", "onsets", "pairs", "calibrated rules"),
        (
            (
                row["version"],
                "in force, pinned" if row["pinned"] else "in force" if row["in_force"] else "",
                row["until"] or "-",
                row["occurrences"],
                row["pairs"],
                ", ".join(row["calibrated"]),
            )
            for row in found
        ),
    )


@learn.command("use")
@told
def use_learned(
    version: Annotated[str, typer.Argument(help="A version of the list, `latest`, or `nothing`.")],
    server: Server = _DEFAULT_SERVER,
    token_file: TokenFile = None,
    output: Format = Output.TABLE,
) -> None:
    """Put a version into force. It stays until somebody says `latest`; training goes on beside it."""
    _tell_version(_client(server, token_file).post("/api/v1/learned/use", {"version": version}), output)


@learn.command("rollback")
@told
def roll_back_learned(
    server: Server = _DEFAULT_SERVER, token_file: TokenFile = None, output: Format = Output.TABLE
) -> None:
    """Go back to the version before the one in force."""
    _tell_version(_client(server, token_file).post("/api/v1/learned/use", {"version": "previous"}), output)


def _tell_version(row: dict[str, Any], output: Output) -> None:
    if output is Output.JSON:
        _print_json(row)
    else:
        _lines(*row["card"], *(["in force" + (", pinned" if row["pinned"] else "")] if row["in_force"] else []))


# ---- feedback -------------------------------------------------------------------------------------------------------

Comment = Annotated[str, typer.Option("--comment", "-m", help="Why, for the audit and for whoever comes next.")]


@feedback.command("merge")
@told
def merge_incidents(
    stays: Annotated[str, typer.Argument(help="Situation id or ticket number of the one that stays.")],
    goes: Annotated[str, typer.Argument(help="The one whose alerts go over; its ticket is resolved.")],
    comment: Comment = "",
    server: Server = _DEFAULT_SERVER,
    token_file: TokenFile = None,
) -> None:
    """Two incidents are one problem."""
    _judge(server, token_file, kind="merge", situation=stays, other=goes, comment=comment)


@feedback.command("split")
@told
def split_incident(
    incident: Annotated[str, typer.Argument(help="Situation id or ticket number.")],
    alerts: Annotated[list[str], typer.Argument(help="Fingerprints of the alerts that leave, or how each begins.")],
    comment: Comment = "",
    server: Server = _DEFAULT_SERVER,
    token_file: TokenFile = None,
) -> None:
    """Some alerts of an incident are a problem of their own."""
    _judge(server, token_file, kind="split", situation=incident, alerts=alerts, comment=comment)


@feedback.command("move")
@told
def move_alerts(
    alerts: Annotated[list[str], typer.Argument(help="Fingerprints of the alerts, or how each begins.")],
    to: Annotated[str, typer.Option("--to", help="The incident they belong to.")],
    comment: Comment = "",
    server: Server = _DEFAULT_SERVER,
    token_file: TokenFile = None,
) -> None:
    """Alerts of one incident belong to another."""
    _judge(server, token_file, kind="move", other=to, alerts=alerts, comment=comment)


class Thing(StrEnum):
    INCIDENTS = "incidents"
    ALERTS = "alerts"
    CIS = "cis"


@feedback.command("not-related")
@told
def not_related(
    one: Annotated[str, typer.Argument(help="An incident, an alert or a CI.")],
    other: Annotated[str, typer.Argument(help="Another one.")],
    of: Annotated[Thing, typer.Option("--of", help="What the two are.")] = Thing.INCIDENTS,
    comment: Comment = "",
    server: Server = _DEFAULT_SERVER,
    token_file: TokenFile = None,
) -> None:
    """Two things have nothing to do with each other; correlation keeps them apart from now on."""
    said: dict[str, Any] = {"situation": one, "other": other} if of is Thing.INCIDENTS else {of.value: [one, other]}
    _judge(server, token_file, kind="not_related", comment=comment, **said)


@feedback.command("cause")
@told
def name_cause(
    incident: Annotated[str, typer.Argument(help="Situation id or ticket number; one that is over is welcome too.")],
    ci: Annotated[str, typer.Argument(help="The CI that was the cause.")],
    comment: Comment = "",
    server: Server = _DEFAULT_SERVER,
    token_file: TokenFile = None,
) -> None:
    """This was the cause."""
    _judge(server, token_file, kind="cause", situation=incident, cis=[ci], comment=comment)


@feedback.command("list")
@told
def list_feedback(
    incident: Annotated[str, typer.Option(help="Only what was said of this situation.")] = "",
    limit: Annotated[int, typer.Option(min=1, max=1000)] = 50,
    server: Server = _DEFAULT_SERVER,
    token_file: TokenFile = None,
    output: Format = Output.TABLE,
) -> None:
    """What people said, newest first."""
    found = _client(server, token_file).get("/api/v1/feedback", incident=incident, limit=limit)
    if output is Output.JSON:
        _print_json(found)
        return
    _table(
        ("", "at", "by", "said", "of", "what it did", "comment"),
        ((j["id"], j["at"], j["actor"], j["kind"], j["situation"], j["outcome"], j["comment"]) for j in found),
    )


class Labels(StrEnum):
    JSONL = "jsonl"
    CSV = "csv"


@feedback.command("export")
@told
def export_feedback(
    format: Annotated[Labels, typer.Option("--format", help="JSON lines, or a table.")] = Labels.JSONL,
    server: Server = _DEFAULT_SERVER,
    token_file: TokenFile = None,
) -> None:
    """What people said as labelled truth, on standard output: pairs of alerts that are one problem ("same") or are not
    ("apart"), and what a CI caused ("cause"), oldest first."""
    lines = _client(server, token_file).lines("/api/v1/feedback/labels")
    if format is Labels.JSONL:
        sys.stdout.buffer.write(lines)
        return
    sides = [f"{side}_{name}" for side in ("alert", "other") for name in ("fingerprint", "name", "ci", "onset")]
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(("says", *sides, "ci", "by", "at", "judgement"))
    for line in lines.splitlines():
        row = json.loads(line)
        cells = [
            (row[side] or {}).get(name, "")
            for side in ("alert", "other")
            for name in ("fingerprint", "name", "ci", "onset")
        ]
        writer.writerow((row["says"], *cells, row["ci"], row["by"], row["at"], row["judgement"]))


def _judge(server: str, token_file: Path | None, **said: Any) -> None:
    judged = _client(server, token_file).post("/api/v1/feedback", said)
    kept = f"; kept apart until {judged['until'][:16].replace('T', ' ')} UTC" if judged["until"] else ""
    _lines(f"{judged['id']}: {judged['outcome']}{kept}")
    if not judged["applied"]:
        _lines("nothing was changed; what you said is kept as truth")


@db.command("upgrade")
@told
def db_upgrade(config: Config = None) -> None:
    """Bring the schema to this program's version; a start does the same. Refused while a Foreshock owns the store."""
    from foreshock.service.front import own
    from foreshock.service.settings import load_settings
    from foreshock.store import migrations
    from foreshock.store.store import Store

    settings = load_settings(config, os.environ, {})
    own(settings.state)
    store = Store(settings.store_url)
    store.journal.claim()
    done = migrations.upgrade(store.migration_engine)
    store.close()
    out.print(f"upgraded to {migrations.HEAD}" if done else f"the schema is at {migrations.HEAD} already")


@db.command("check")
@told
def db_check(config: Config = None) -> None:
    """Whether the schema is what this program needs; exit code 1 if not. It only looks."""
    from foreshock.service.settings import load_settings
    from foreshock.store import migrations
    from foreshock.store.store import Store

    settings = load_settings(config, os.environ, {})
    if settings.store_url.startswith("sqlite") and not (settings.state / "foreshock.db").exists():
        _say(ForeshockError(f"there is no store in {settings.state} yet", hint="`foreshock run` makes one"), FAILED)
    store = Store(settings.store_url)
    found = migrations.current(store.migration_engine)
    differences = migrations.differences(store.migration_engine) if found == migrations.HEAD else []
    if found != migrations.HEAD or differences:
        _lines(
            f"the schema is at {found or 'nothing'}, this program needs {migrations.HEAD}; run `foreshock db upgrade`",
            *differences,
        )
        _leave(FAILED)
    out.print(f"the schema is at {found}, as it should be")


# ---- printing -------------------------------------------------------------------------------------------------------


def _client(server: str, token_file: Path | None) -> Any:
    from foreshock.service.client import Client

    return Client(server, token_file)


def _incident(server: str, token_file: Path | None, id: str) -> dict[str, Any]:
    view: dict[str, Any] | None = _client(server, token_file).get(f"/api/v1/incidents/{id}")
    if view is None:
        _say(ForeshockError(f"there is no incident {id!r}", hint="see `foreshock incidents list --state all`"), FAILED)
    return view


def _list(rows: Sequence[dict[str, Any]], output: Output) -> None:
    if output is Output.JSON:
        _print_json(rows)
    elif rows:
        _table(tuple(rows[0]), (row.values() for row in rows))


def _table(columns: Iterable[str], rows: Iterable[Iterable[Any]]) -> None:
    table = Table(*columns, box=None, pad_edge=False)
    for row in rows:
        table.add_row(*(Text(_shown(cell)) for cell in row))
    out.print(table)


def _lines(*lines: str) -> None:
    for line in lines:
        out.print(_shown(line), markup=False, highlight=False, soft_wrap=True)


def _shown(value: Any) -> str:
    """Text of a stranger on a terminal: control characters are shown, never obeyed."""
    return "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in str(value))


def _print_json(value: Any) -> None:
    sys.stdout.write(json.dumps(value, indent=1) + "\n")


def _age(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"
