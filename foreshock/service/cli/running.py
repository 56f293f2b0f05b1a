"""Starting a Foreshock, and what helps before that: settings, a demonstration, what kinds there are."""

import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from foreshock import __version__
from foreshock.core.errors import ConfigError, Problem
from foreshock.service.cli.options import DEFAULT_SERVER, Config, Format, Server, TokenFile, client
from foreshock.service.cli.terminal import Output, complain, leave, print_lines, tell_rows, told, writing

commands = typer.Typer()

_SCHEMAS = ("foreshock", "rules", "cases", "topology", "mapping")
"""Of what files: editors read them."""


@commands.command()
@told
def run(
    config: Config = None,
    listen: Annotated[str | None, typer.Option(help="HOST:PORT to listen on.")] = None,
    state: Annotated[Path | None, typer.Option(help="Folder for everything Foreshock keeps.")] = None,
    watch_host: Annotated[
        bool, typer.Option("--watch-host", help="Watch this machine, unless --config says what to watch.")
    ] = False,
) -> None:
    """Start Foreshock; Ctrl-C or SIGTERM stops it after it has finished what it took in."""
    from foreshock.service import logs
    from foreshock.service.server import serve
    from foreshock.service.settings import SettingsSource

    flags = {"listen": listen, "state": state, **(_host(config, os.environ) if watch_host else {})}
    source = SettingsSource(config, os.environ, flags)
    settings = source.load()
    logs.configure(settings.log.level, settings.log.format)
    leave(serve(settings, source=source, ready=lambda _, url: _welcome(url)))


def _host(config: Path | None, environment: Mapping[str, str]) -> dict[str, object]:
    """This machine as the one thing to watch, where no configuration says what is."""
    if config is not None or {"FORESHOCK_CONFIG", "FORESHOCK_COLLECTORS"} & set(environment):
        return {}
    return {"collectors": [{"name": "this-host", "kind": "host"}]}


def _welcome(url: str) -> None:
    target = url.partition("://")[2]
    print_lines(
        *f"""
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
""".split("\n")
    )


@commands.command()
@told
def reload(server: Server = DEFAULT_SERVER, token_file: TokenFile = None) -> None:
    """Let a running Foreshock read its settings and rules again; it goes on with the old ones if anything is wrong."""
    changed = client(server, token_file).post("/-/reload", None)["changed"]
    print_lines("The new settings and rules are in force." if changed else "Nothing has changed.")


@commands.command()
@told
def demo(
    listen: Annotated[str, typer.Option(help="HOST:PORT to listen on.")] = "127.0.0.1:8421",
    speed: Annotated[float, typer.Option(min=1, max=600, help="Times as fast as it happened.")] = 60.0,
    config: Annotated[
        Path | None,
        typer.Option(help="Further settings, such as the sinks that `foreshock sandbox` prints.", show_default="none"),
    ] = None,
) -> None:
    """Replay a recorded outage of a real application at accelerated time, on a state of its own.

    Its tickets are on the desk. To see them in an ITSM system, without having one:

    foreshock sandbox servicenow > sinks.yaml &

    foreshock demo --config sinks.yaml
    """
    from foreshock.service import logs
    from foreshock.service.demo.run import run_demo

    logs.configure("warning", "auto")
    leave(run_demo(listen, speed, print_lines, config))


@commands.command()
@told
def init(folder: Annotated[Path, typer.Argument(help="Where to write the files.")] = Path()) -> None:
    """Write a commented configuration file, and examples of a topology and of rules."""
    from foreshock.service.settings_files import bundled, example

    beside = ("topology.example.yaml", "rules.example.yaml", *(f"{name}.schema.json" for name in _SCHEMAS))
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in {"foreshock.yaml": example(), **{name: bundled(name) for name in beside}}.items():
            path = folder / name
            if path.exists():
                complain(f"{path} exists and stays as it is", color="yellow")
            else:
                path.write_text(text)
                print_lines(f"wrote {path}")
    print_lines(f"Start with: foreshock run --config {folder / 'foreshock.yaml'}")


@commands.command()
@told
def check(config: Config = None) -> None:
    """Read the configuration, rules, topology and calendars as a start would, and list every problem."""
    from foreshock.service.cmdb.run import build
    from foreshock.service.gates import Gates, fetch
    from foreshock.service.maintenance import planned
    from foreshock.service.rule_files import load_rules
    from foreshock.service.settings import collector_kinds, load_settings, source_kinds

    settings = load_settings(config, os.environ, {})
    problems: list[Problem] = []
    try:
        in_force = [rule for rule in load_rules(settings.rules) if rule.enabled]
        print_lines(f"rules: {', '.join(rule.name for rule in in_force)}")
    except ConfigError as error:
        problems += error.problems
    try:
        Gates(settings.collectors, collector_kinds(), fetch)
    except ConfigError as error:
        problems += error.problems
    for collector in settings.collectors:
        try:
            kind = collector_kinds()[collector.kind]
            if kind.poll is not None:
                kind.poll.build(collector.name, collector.config)
            if kind.listen is not None and kind.listen.build(collector.name, collector.config) is not None:
                print_lines(f"collector {collector.name}: listens, in a process of its own")
        except ConfigError as error:
            problems += error.problems
    for instance in settings.topology:
        try:
            source = build(instance)
            page = source.page("", "") if source_kinds()[instance.kind].local else None
        except ConfigError as error:
            problems += error.problems
            continue
        if page is None:
            print_lines(f"topology {instance.name}: not asked")
            continue
        for warning in page.problems:
            complain(warning, color="yellow")
        print_lines(f"topology {instance.name}: {len(page.items)} CIs, {len(page.ties)} relationships")
    try:
        planned(settings.maintenance, datetime.now(UTC))
    except ConfigError as error:
        problems += error.problems
    if problems:
        raise ConfigError(problems)
    print_lines("The configuration is sound.")


@commands.command()
@told
def kinds(
    stage: Annotated[str, typer.Argument(help="collectors, detectors, rules, sinks, sources or all.")] = "all",
    output: Format = Output.TABLE,
) -> None:
    """List the kinds of connectors, detectors and rules this Foreshock has."""
    from foreshock.service.collector_test import modes_of
    from foreshock.service.metric_work import detector_kinds
    from foreshock.service.settings import collector_kinds, rule_kinds, sink_kinds, source_kinds

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
                        "mode": modes_of(declared) if name == "collectors" else "",
                        "path": declared.receive.path if name == "collectors" and declared.receive else "",
                    }
                )
    tell_rows(rows, output, ("stage", "kind", "title", "mode", "path"), dict.values)
