"""Backtests from and to folders: the spec and its tables in, predictions and the model's card out."""

import json
from pathlib import Path
from typing import Any

from foreshock.connect.config import load
from foreshock.core.errors import ForeshockError
from foreshock.store.frames import read_columns, write_columns


def run_backtest(spec_file: Path, data: Path | None, out: Path) -> dict[str, Any]:
    """The card. Raises ConfigError for a wrong spec or table, ForeshockError where ``out`` cannot be written."""
    from predictor.backtest import backtest
    from predictor.spec import BacktestSpec

    spec = load(spec_file, BacktestSpec)
    folder = data or spec_file.parent
    _make(out)
    tables = {part: read_columns(folder / file, columns) for part, (file, columns) in spec.files().items()}
    found = backtest(spec, tables)
    write_columns(out / "predictions.csv", found.columns())
    write_text(out / "card.json", json.dumps(found.card, indent=1) + "\n")
    write_text(out / "card.md", found.markdown())
    return found.card


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ForeshockError(f"{folder} cannot be made: {error.strerror}", hint="name another folder") from None


def write_text(path: Path, text: str) -> None:
    try:
        path.write_text(text)
    except OSError as error:
        raise ForeshockError(f"{path} cannot be written: {error.strerror}", hint="name another folder") from None
