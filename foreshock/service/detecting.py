"""Anomaly scores from and to folders: the spec and its rows in, a score for each row out."""

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from foreshock.connect.config import load
from foreshock.core.errors import ConfigError, Problem
from foreshock.service.backtesting import make_folder
from foreshock.store.frames import join_tables, read_columns, write_columns

if TYPE_CHECKING:
    from predictor.scoring.spec import DetectSpec
    from predictor.scoring.tables import Entity


def run_detect(spec_file: Path, data: Path | None, out: Path) -> dict[str, Any]:
    """What was scored, in figures. Raises ConfigError for a wrong spec or file, ForeshockError where ``out`` cannot be
    written."""
    from predictor.scoring.spec import DetectSpec
    from predictor.scoring.tables import score

    spec = load(spec_file, DetectSpec)
    make_folder(out)
    scored = [score(spec, entity) for entity in _entities(spec, data or spec_file.parent)]
    columns = join_tables(scored)
    write_columns(out / "scores.csv", columns)
    rows = len(columns[spec.answer.score])
    return {"name": spec.name, "method": spec.method.value, "entities": len(scored), "rows": rows}


def _entities(spec: "DetectSpec", data: Path) -> Iterator["Entity"]:
    from predictor.scoring.tables import Entity, split

    if spec.table is not None:
        file = data / spec.table.file
        yield from split(spec, read_columns(file), str(file))
    elif (files := spec.files) is not None:
        folder = data / files.folder
        found = sorted(folder.glob(f"*{files.scored}"))
        if not found:
            hint = "name the folder with --data, or its parts in `files`"
            raise ConfigError(
                [Problem(file=str(folder), line=None, path="", message=f"has no file *{files.scored}", hint=hint)]
            )
        for file in found:
            stem = file.name.removesuffix(files.scored)
            history = None if files.history is None else read_columns(folder / (stem + files.history))
            yield Entity(stem.replace(files.slash, "/"), read_columns(file), history, str(file))
