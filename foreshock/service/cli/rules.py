"""Rules as code: check them, and see what they would have made of history before anyone is paged."""

import os
import re
from collections.abc import Callable
from dataclasses import asdict
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import msgspec
import typer

from foreshock.core.errors import ConfigError, Problem
from foreshock.service.cli import applying, cmdb
from foreshock.service.cli.options import (
    DEFAULT_SERVER,
    Config,
    Format,
    Mapped,
    Server,
    TokenFile,
    client,
    duration,
    moment,
)
from foreshock.service.cli.terminal import (
    CONFIG,
    FAILED,
    Output,
    complain,
    counted,
    leave,
    print_json,
    print_lines,
    told,
    warn,
    writing,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from correlation.rule import RuleInstance
    from correlation.settings import CorrelationSettings
    from foreshock.connect.config import Origin
    from foreshock.core.contracts import Snapshot
    from foreshock.service.plan.compare import Plan
    from foreshock.service.recorded import ReplayMapping
    from foreshock.service.rule_lints import Lint

commands = typer.Typer(
    help="Rules: checked, compared with those in force over history, put into force and taken back.",
    no_args_is_help=True,
)
commands.add_typer(applying.commands)

T = TypeVar("T")

DIFFERENT = 4
"""Exit code of a plan that would change something."""


KnownTruth = Annotated[
    Path | None,
    typer.Option(
        "--truth",
        help="What belongs together, to count pairs against: alert_id,issue_id (CSV), `foreshock feedback export`, "
        "or tickets exported from an ITSM tool.",
    ),
]


class Report(StrEnum):
    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"
    HTML = "html"


@commands.command("plan")
@told
def plan_rules(
    input: Annotated[
        Path | None,
        typer.Argument(
            help="A capture, an Alertmanager stream, or CSV/JSONL with --mapping; without, the inbox of the "
            "running Foreshock."
        ),
    ] = None,
    rules: Annotated[Path | None, typer.Option("--rules", help="File or folder with the rules to try.")] = None,
    settings: Annotated[
        Path | None, typer.Option("--settings", help="YAML with the `correlation` settings to try.")
    ] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="One setting to try, on top of the others: 'group.threshold=0.5'."),
    ] = None,
    topology: Annotated[
        str | None,
        typer.Option(
            "--topology",
            help="Topology to try: a file or folder; a version of `foreshock cmdb versions`; 'as-of TIME'; or pending, "
            "what the next sync would make of it.",
        ),
    ] = None,
    learned: Annotated[
        Path | None, typer.Option("--learned", help="What was learned to try, from `foreshock learn --out`.")
    ] = None,
    base_topology: Annotated[
        str | None,
        typer.Option("--base-topology", help="Topology of both sides, for input that holds none; as for --topology."),
    ] = None,
    since: Annotated[
        timedelta | None,
        typer.Option("--since", parser=duration, help="Tell only what began in the last 7d, 12h, … of it."),
    ] = None,
    mapping: Mapped = None,
    truth: KnownTruth = None,
    fail_if: Annotated[
        list[str] | None, typer.Option("--fail-if", help="End with 1 where this holds: 'vanished_p1 > 0'.")
    ] = None,
    output: Annotated[Report, typer.Option("--output", "-o", help="How to tell it.")] = Report.TEXT,
    to: Annotated[Path | None, typer.Option("--out", help="File to write to, in place of the terminal.")] = None,
    show: Annotated[int, typer.Option("--show", help="Differences to show; JSON and HTML have all.", min=0)] = 20,
    save: Annotated[
        Path | None,
        typer.Option("--save", help="File for what is proposed, to put it into force with `foreshock rules apply`."),
    ] = None,
    config: Config = None,
    state: cmdb.State = None,
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
) -> None:
    """What other rules, settings or topology would have made of history, incident by incident.

    Ends with 0 where nothing would be different, 4 where something would, 1 where a threshold is crossed. Versions of
    the topology are looked up in the CMDB store of --config and --state.

    foreshock rules plan last-week.jsonl --rules rules/ --set group.threshold=0.5

    foreshock rules plan --since 7d --topology pending --fail-if 'vanished_p1 > 0'

    foreshock rules plan --since 7d --topology 'as-of 2026-03-01T12:00Z'
    """
    from foreshock.connect.config import load
    from foreshock.service.learning import read_learned
    from foreshock.service.past import of_file, of_running
    from foreshock.service.plan.compare import FIT_VALUES, VALUES
    from foreshock.service.plan.run import plan
    from foreshock.service.plan.thresholds import parse_threshold
    from foreshock.service.recorded import ReplayMapping
    from foreshock.service.settings import collector_kinds, rule_kinds
    from foreshock.service.truth import as_truth, read_truth

    if not (rules or settings or set_ or topology or learned):
        raise typer.BadParameter("nothing is to change: give --rules, --settings, --set, --topology or --learned")
    if save and (topology or learned):
        raise typer.BadParameter(
            "--save keeps settings and rules; a topology comes into force through its source, "
            "and what was learned with `foreshock learn`"
        )
    thresholds = {text: parse_threshold(text, VALUES) for text in fail_if or ()}
    columns, collectors = load(mapping, ReplayMapping) if mapping else None, collector_kinds()
    history = (
        of_running(client(server, token_file), collectors, since)
        if input is None
        else of_file(input, columns, collectors, since, warn)
    )
    for note in history.notes:
        warn(note)
    labels = read_truth(truth, columns.tickets if columns else None) if truth else as_truth(history.said())
    if labels is None and any(threshold.name in FIT_VALUES for threshold in thresholds.values()):
        raise typer.BadParameter(f"{', '.join(FIT_VALUES)} need labelled truth: give it with --truth")
    before = history.present if input is not None else applying.as_running(client(server, token_file), history.present)
    if base_topology is not None:
        before = msgspec.structs.replace(before, topology=_topology(base_topology, columns, config, state))
    after = msgspec.structs.replace(
        applying.changed(before, rules, settings, set_ or ()),
        topology=_topology(topology, columns, config, state) if topology else before.topology,
        learned=read_learned(learned) if learned else None,
    )
    found = plan(
        history.read(), collectors, rule_kinds(), before=before, after=after, since=history.since, truth=labels
    )
    if truth and found.before.fit is not None and not found.before.fit.items:
        complain(f"{truth} knows of nothing that was read; alerts have the ids of `foreshock replay`", color="yellow")
    _tell(found, output, to, show)
    values = found.values()
    crossed = [text for text, threshold in thresholds.items() if threshold.crossed(values)]
    for text in crossed:
        complain(f"{text}: it is {values[thresholds[text].name]:g}")
    if crossed:
        leave(FAILED)
    if save is not None:
        applying.save(save, before, after, found)
    if found.differences:
        leave(DIFFERENT)


def _topology(text: str, columns: "ReplayMapping | None", config: Path | None, state: Path | None) -> "Snapshot":
    """Of files, or of the CMDB store."""
    from foreshock.service.clock import utc_now
    from foreshock.service.cmdb.chosen import PENDING, chosen, is_in_words, to_come, unknown
    from foreshock.service.recorded import read_topology

    path = Path(text)
    if not is_in_words(text) and (path.exists() or path.suffix or "/" in text):
        return read_topology(path, columns)

    settings = cmdb.settings_of(config, state)
    if not is_in_words(text) and not cmdb.is_there(settings):
        raise unknown(text)
    with cmdb.opened(settings, writing=text == PENDING) as store:
        return chosen(store, text, moment, lambda: to_come(store, settings, utc_now))


def _tell(found: "Plan", output: Report, to: Path | None, show: int) -> None:
    from foreshock.service.plan import report

    if output is Report.JSON:
        said = report.as_json(found).decode()
    elif output is Report.HTML:
        said = report.html(found)
    else:
        said = "\n".join((report.markdown if output is Report.MARKDOWN else report.text)(found, show))
    if to is None:
        print_lines(*said.splitlines())
        return
    with writing(to):
        to.write_text(said + "\n", encoding="utf-8")
    for note in found.notes:
        warn(note)
    print_lines(report.verdict(found), f"wrote {to}")


@commands.command("check")
@told
def check_rules(
    rules: Annotated[
        Path | None, typer.Argument(help="File or folder of rules; without, those that the configuration names.")
    ] = None,
    config: Config = None,
    strict: Annotated[bool, typer.Option("--strict", help="End with 1 where there are warnings.")] = False,
    history: Annotated[
        Path | None,
        typer.Option("--history", help="Recorded input: tell also of silences, windows and rules it had no use for."),
    ] = None,
    mapping: Mapped = None,
    server: Annotated[
        str | None, typer.Option("--server", help="The same for the inbox of the Foreshock that runs there.")
    ] = None,
    token_file: TokenFile = None,
    output: Format = Output.TABLE,
) -> None:
    """Every mistake in the rules at once, with file, line, column and remedy, and what is legal and hardly meant.

    foreshock rules check rules/ --strict

    foreshock rules check rules/ --history last.jsonl
    """
    from foreshock.service.rule_files import read_rules
    from foreshock.service.rule_lints import lint
    from foreshock.service.settings import load_settings

    problems: list[Problem] = []
    settings = _tried(lambda: load_settings(config, os.environ, {}), problems)
    if rules is None:
        rules = settings.rules if settings is not None else _named_in(config)
    read = _tried(lambda: read_rules(rules), problems)
    if settings is None or read is None:
        if output is Output.JSON:
            print_json({"rules": [], "problems": [asdict(problem) for problem in problems], "warnings": []})
            leave(CONFIG)
        raise ConfigError(problems)
    found, origins = read
    warnings = lint(found, settings.correlation, origins)
    if history is not None or server is not None:
        chosen = settings.correlation if config is not None else None
        warnings += _unused(found, origins, chosen, history, mapping, server, token_file)
    enabled = [rule.name for rule in found if rule.enabled]
    if output is Output.JSON:
        print_json({"rules": enabled, "problems": [], "warnings": msgspec.to_builtins(warnings)})
    else:
        for warning in warnings:
            complain(str(warning), color="yellow")
        print_lines(f"{counted(len(enabled), 'rule')}: {', '.join(enabled)}", "The rules are sound.")
    if warnings and strict:
        leave(FAILED)


def _tried(read: Callable[[], T], problems: list[Problem]) -> T | None:
    """None where it cannot be read: then ``problems`` has more."""
    try:
        return read()
    except ConfigError as error:
        problems += error.problems
        return None


def _named_in(config: Path | None) -> Path | None:
    """The rules that a configuration names which is wrong elsewhere."""
    from foreshock.connect.config import read_yaml

    document = _tried(lambda: read_yaml(config or ""), [])
    named = document.data.get("rules") if document is not None and isinstance(document.data, dict) else None
    return config.parent / named if config is not None and isinstance(named, str) else None


def _unused(
    rules: "tuple[RuleInstance, ...]",
    origins: "Mapping[str, Origin]",
    settings: "CorrelationSettings | None",
    history: Path | None,
    mapping: Path | None,
    server: str | None,
    token_file: Path | None,
) -> "list[Lint]":
    """settings: those of the history if None."""
    from foreshock.connect.config import load
    from foreshock.service.past import of_file, of_running
    from foreshock.service.recorded import ReplayMapping
    from foreshock.service.replay import Version
    from foreshock.service.settings import collector_kinds, rule_kinds
    from foreshock.service.unused import unused

    columns, collectors = load(mapping, ReplayMapping) if mapping else None, collector_kinds()
    past = (
        of_file(history, columns, collectors, None, warn)
        if history is not None
        else of_running(client(server or DEFAULT_SERVER, token_file), collectors, None)
    )
    version = Version(settings=settings or past.present.settings, rules=rules)
    return unused(past.read(), collectors, rule_kinds(), version, origins)


_COLORS = {"expected": "red", "observed": "green"}


@commands.command("test")
@told
def play_cases(
    cases: Annotated[list[Path], typer.Argument(help="Case files, or folders of them.")],
    rules: Annotated[
        Path | None, typer.Option("--rules", help="File or folder of rules in force where a case names none.")
    ] = None,
    only: Annotated[str, typer.Option("--run", help="Only the cases whose name this expression finds.")] = "",
    to: Annotated[Path | None, typer.Option("--junit", help="File for the results as JUnit XML.")] = None,
) -> None:
    """Play cases on a virtual clock and compare what comes of them with what they expect.

    Ends with 0 where all is as expected, 1 where something is not.

    foreshock rules test cases/ --rules rules/ --junit report.xml

    foreshock rules test cases/databases.yaml --run 'takes .* along'
    """
    from foreshock.service.cases import run

    try:
        re.compile(only)
    except re.error as error:
        raise typer.BadParameter(f"--run: {only!r} is no expression: {error}") from None
    results = list(run.run(cases, rules, only))
    for result in results:
        if result.failures:
            complain(f"{result.place}: {result.name}")
        for failure in result.failures:
            for what, line in run.told(failure):
                complain(f"  {line}", color=_COLORS.get(what, "reset"))
    failed = sum(bool(result.failures) for result in results)
    print_lines(
        f"{counted(len(results), 'case')}, {failed} failed" if failed else f"{counted(len(results), 'case')} passed"
    )
    if to is not None:
        with writing(to):
            to.write_bytes(run.junit(results))
    if failed:
        leave(FAILED)
