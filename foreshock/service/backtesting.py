"""Backtests from and to folders: the spec and its tables in, predictions and the model's card out."""

import json
import re
from pathlib import Path
from typing import Any

from foreshock.connect.config import load
from foreshock.core.errors import ForeshockError
from foreshock.store.frames import read_columns, write_columns


def run_backtest(spec_file: Path, data: Path | None, out: Path, *, leave_out: bool = False) -> dict[str, Any]:
    """The card. Raises ConfigError for a wrong spec or table, ForeshockError where ``out`` cannot be written."""
    from predictor.backtest import backtest
    from predictor.card import markdown
    from predictor.spec import BacktestSpec

    spec = load(spec_file, BacktestSpec)
    folder = data or spec_file.parent
    make_folder(out)
    tables = {part: read_columns(folder / file, columns) for part, (file, columns) in spec.files().items()}
    found = backtest(spec, tables, leave_out=leave_out)
    write_columns(out / "predictions.csv", found.columns())
    write_columns(out / "reasons.csv", found.reasons)
    for group, model in found.models.items():
        write_bytes(out / f"model{'-' * bool(group)}{_FILE_NAME.sub('_', group)}.npz", model.to_bytes())
    write_text(out / "card.json", json.dumps(found.card, indent=1) + "\n")
    write_text(out / "card.md", markdown(found.card))
    return found.card


def make_folder(folder: Path) -> None:
    """Raises ForeshockError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ForeshockError(f"{folder} cannot be made: {error.strerror}", hint="name another folder") from None


_FILE_NAME = re.compile(r"[^\w.-]")


def write_text(path: Path, text: str) -> None:
    write_bytes(path, text.encode())


def write_bytes(path: Path, data: bytes) -> None:
    try:
        path.write_bytes(data)
    except OSError as error:
        raise ForeshockError(f"{path} cannot be written: {error.strerror}", hint="name another folder") from None
