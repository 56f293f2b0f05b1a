"""Models that foresee incidents."""

from pathlib import Path
from typing import Annotated

import typer

from foreshock.service.cli.options import Format
from foreshock.service.cli.terminal import Output, tell_lines, told

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
