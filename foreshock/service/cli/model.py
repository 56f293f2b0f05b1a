"""Models that foresee incidents."""

from collections.abc import Iterable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

import typer

from foreshock.service.cli.options import DEFAULT_SERVER, Format, Server, TokenFile, client, duration
from foreshock.service.cli.terminal import Output, minute, print_json, print_lines, tell_lines, tell_rows, told

commands = typer.Typer(no_args_is_help=True, help="Models that foresee incidents.")

Data = Annotated[
    Path | None, typer.Option("--data", help="Folder with the files; by default the one in which the spec stands.")
]
Out = Annotated[Path, typer.Option("--out", help="Folder for the answer; made where it is not there.")]


@commands.command("backtest")
@told
def backtest_model(
    spec: Annotated[Path, typer.Option("--spec", help="YAML that names the files, the question and the cut-offs.")],
    out: Out,
    data: Data = None,
    leave_out: Annotated[
        bool, typer.Option("--leave-groups-out", help="Answer each group with a model fitted on the other groups only.")
    ] = False,
    output: Format = Output.TABLE,
) -> None:
    """Ask a model about the past, each row answered from what was known by its step.

    Writes predictions.csv (entity, time, score, cutoff, alarm), the model with its card (model.npz, card.md,
    card.json), and what spoke for its surest alarms (reasons.csv).

    Example: foreshock model backtest --spec benchmarks/prediction_hpc_failures.yaml --data prepared/ --out answer/
    """
    from foreshock.service.backtesting import run_backtest

    tell_lines(run_backtest(spec, data, out, leave_out=leave_out), output, lambda card: card["summary"])


@commands.command("detect")
@told
def detect_anomalies(
    spec: Annotated[Path, typer.Option("--spec", help="YAML that names the files, the columns and the method.")],
    out: Out,
    data: Data = None,
    output: Format = Output.TABLE,
) -> None:
    """Score how strange each measured row is, from the rows before it only. No labels are needed.

    Writes scores.csv (entity, time, score from 0 to 1).

    Example: foreshock model detect --spec benchmarks/detection_smd.yaml --data prepared/ --out answer/
    """
    from foreshock.service.detecting import run_detect

    tell_lines(
        run_detect(spec, data, out),
        output,
        lambda done: [
            f"{done['rows']} rows of {done['entities']} entities scored ({done['method']}): {out}/scores.csv"
        ],
    )


# ---- the models of a running Foreshock ------------------------------------------------------------------------------

_TEACHING_S = 3700.0  # a little longer than the server gives it
Which = Annotated[str, typer.Argument(help="A version of the list; the one in use if left out.")]


@commands.command("list")
@told
def list_models(server: Server = DEFAULT_SERVER, token_file: TokenFile = None, output: Format = Output.TABLE) -> None:
    """Versions, newest first, and which is in use or tried beside it."""
    found = client(server, token_file).get("/api/v1/models")
    if output is Output.JSON:
        print_json(found)
        return
    print_lines(found["state"])
    tell_rows(found["models"], output, ("version", "", "made", "incidents", "CIs", "within"), _cells)


def _cells(row: dict[str, Any]) -> Iterable[Any]:
    about = row["about"]
    role = f"{row['role']}, pinned" if row["pinned"] else row["role"]
    return row["version"], role, minute(about["made_at"]), about["incidents"], about["cis"], ", ".join(about["judged"])


@commands.command("train")
@told
def train_model(server: Server = DEFAULT_SERVER, token_file: TokenFile = None, output: Format = Output.TABLE) -> None:
    """Teach a model from the history of the running Foreshock.

    Where one is in use, the new one is tried beside it, and takes over once it was better on what came after both;
    where one is tried already, the two are judged now.
    """
    found = client(server, token_file).post("/api/v1/models/train", {}, timeout_s=_TEACHING_S)
    tell_lines(found, output, _state)


@commands.command("evaluate")
@told
def evaluate_model(
    server: Server = DEFAULT_SERVER, token_file: TokenFile = None, output: Format = Output.TABLE
) -> None:
    """How the model in use does on what came since: drift, and the verdict on the one that is tried beside it."""
    tell_lines(client(server, token_file).get("/api/v1/models"), output, _state)


def _state(found: dict[str, Any]) -> Iterator[str]:
    yield found["state"]
    used = found["used"]
    yield from (f"  within {horizon}: {words}" for horizon, words in used["verdicts"].items())
    yield from (f"  within {horizon}: {words}" for horizon, words in used["problems"].items() if found["models"])
    if used["checked_at"]:
        yield f"  last judged {minute(used['checked_at'])}"


@commands.command("promote")
@told
def promote_model(
    version: Annotated[str, typer.Argument(help="A version of the list, `latest`, or `nothing`.")],
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
    output: Format = Output.TABLE,
) -> None:
    """Put a version in use. It is pinned: newer ones are not tried until `foreshock model promote latest`.

    Examples: `foreshock model promote 20261121-0aa31c52`, `foreshock model promote nothing` (foresee nothing)
    """
    tell_lines(client(server, token_file).post("/api/v1/models/use", {"version": version}), output, _state)


@commands.command("rollback")
@told
def roll_back(server: Server = DEFAULT_SERVER, token_file: TokenFile = None, output: Format = Output.TABLE) -> None:
    """Put the version that was in use before in use again, pinned."""
    tell_lines(client(server, token_file).post("/api/v1/models/use", {"version": "previous"}), output, _state)


@commands.command("card")
@told
def show_card(
    version: Which = "", server: Server = DEFAULT_SERVER, token_file: TokenFile = None, output: Format = Output.TABLE
) -> None:
    """What a version learned from, how good it was on later data, and what it has no model for: Markdown or JSON."""
    import json

    import msgspec

    from foreshock.core.errors import Rejected
    from foreshock.service.foreseeing import ModelRow, card

    found = client(server, token_file).get("/api/v1/models")
    wanted = version or found["used"]["version"]
    row = next((one for one in found["models"] if one["version"] == wanted), None)
    if row is None:
        raise Rejected(f"there is no model {wanted!r}" if wanted else found["state"], hint="see `foreshock model list`")
    tell_lines(row, output, lambda one: card(msgspec.json.decode(json.dumps(one), type=ModelRow)))


@commands.command("explain")
@told
def explain_forecasts(
    ci: Annotated[str, typer.Argument(help="Id of a CI.")],
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
    output: Format = Output.TABLE,
) -> None:
    """Why models expect an incident on a CI, or none: what each part adds to the log-odds; all parts add up."""
    found = client(server, token_file).get("/api/v1/forecasts", limit="5000")
    tell_lines([one for one in found if one["forecast"]["ci"] == ci], output, _explained)


def _explained(found: list[dict[str, Any]]) -> Iterator[str]:
    if not found:
        yield "Nothing is forecast for it: `foreshock model list` tells whether a model is in use."
    for one in found:
        forecast = one["forecast"]
        standing = one["problem"] or f"no problem: {one['reason']}"
        yield f"{forecast['probability']:.1%} within {forecast['horizon_h']:g} h, says {forecast['model']}; {standing}"
        for part in forecast["contributions"]:
            yield f"  {part['points']:+.2f}  {part['evidence'] or part['name']}"


@commands.command("labels")
@told
def show_labels(
    since: Annotated[
        timedelta | None,
        typer.Option(parser=duration, metavar="DURATION", help="As far back as this; by default the setting."),
    ] = None,
    server: Server = DEFAULT_SERVER,
    token_file: TokenFile = None,
    output: Format = Output.TABLE,
) -> None:
    """What there is to learn from: how many incidents, where and when, what is none and why, and the gaps.

    Example: `foreshock model labels --since 30d`
    """
    from foreshock.core.quantities import format_duration

    query = {"since": format_duration(since)} if since else {}
    tell_lines(client(server, token_file).get("/api/v1/models/labels", **query), output, _labels)


def _labels(found: dict[str, Any]) -> Iterator[str]:
    if found["since"] is None:
        yield "Nothing has happened on a known CI yet."
        return
    yield (
        f"{found['incidents']} incidents on {found['cis']} CIs among {found['happenings']} alerts, "
        f"{minute(found['since'])} to {minute(found['until'])}"
    )
    for title, counts in (
        ("most on", found["by_ci"]), ("services", found["by_service"]), ("months", found["by_month"]),
        ("no incident", found["left_out"]),
    ):  # fmt: skip
        if counts:
            yield f"  {title}: {', '.join(f'{name} {count}' for name, count in counts.items())}"
    for gap in found["gaps"]:
        yield f"  nothing from {minute(gap['since'])} to {minute(gap['until'])}"
