"""Anomaly scores from and to folders, as a person runs them."""

import csv
import gzip
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from foreshock.service.cli import app

JOINT = """
name: machines
method: joint
step: 5m
files: {history: _train.parquet}
"""
ALARMS = """
name: streams
method: alarms
table: {file: streams.csv.gz, entity: file}
time: timestamp
columns: [value]
answer: {entity: file, time: timestamp, score: anomaly_score}
"""


@pytest.fixture
def machines(tmp_path):
    """Two machines with three metrics; ``shop/b`` goes wrong in row 30."""
    random = np.random.default_rng(0)
    (tmp_path / "frames").mkdir()
    for name in ("a", "shop__b"):
        rows = random.normal(size=(340, 3))
        if name == "shop__b":
            rows[330:] += 20
        for part, some in (("train", rows[:300]), ("test", rows[300:])):
            columns = dict(zip("xyz", some.T, strict=True))
            pq.write_table(pa.table(columns), tmp_path / f"frames/{name}_{part}.parquet")
    (tmp_path / "spec.yaml").write_text(JOINT)
    return tmp_path


def detect(*arguments):
    return CliRunner().invoke(app, ["model", "detect", *(str(one) for one in arguments)])


def rows_of(file):
    with file.open() as opened:
        return list(csv.DictReader(opened))


def test_each_row_of_each_machine_is_scored_under_its_number(machines):
    ended = detect("--spec", machines / "spec.yaml", "--out", machines / "answer")

    assert ended.exit_code == 0, ended.output
    assert "80 rows of 2 entities" in ended.output
    rows = rows_of(machines / "answer/scores.csv")
    assert [(row["entity"], int(row["time"])) for row in rows] == [(n, t) for n in ("a", "shop/b") for t in range(40)]
    strange = [row for row in rows if float(row["score"]) > 0.5]
    assert {row["entity"] for row in strange if int(row["time"]) >= 30} == {"shop/b"}


def test_the_streams_of_one_file_are_scored_apart_and_their_moments_come_back(tmp_path):
    with gzip.open(tmp_path / "streams.csv.gz", "wt") as file:
        file.write("file,timestamp,value\n")
        for name in ("one", "two"):
            for hour in range(240):
                value = 900 if (name, hour) == ("two", 200) else 10 + hour % 24
                file.write(f"{name},2026-01-{hour // 24 + 1:02} {hour % 24:02}:00:00,{value}\n")
    (tmp_path / "spec.yaml").write_text(ALARMS)

    ended = detect("--spec", tmp_path / "spec.yaml", "--out", tmp_path, "-o", "json")

    assert json.loads(ended.stdout) == {"name": "streams", "method": "alarms", "entities": 2, "rows": 480}
    rows = rows_of(tmp_path / "scores.csv")
    assert list(rows[0]) == ["file", "timestamp", "anomaly_score"]
    worst = max(rows, key=lambda row: float(row["anomaly_score"]))
    assert (worst["file"], worst["timestamp"]) == ("two", "2026-01-09 08:00:00")


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ("name: x\nmethod: joint\nstep: 5m\nfiles: {}\n", "learns from a history"),
        ("name: x\nmethod: alone\nstep: 5m\n", "`files` or from a `table`"),
        ("name: x\nmethod: alone\nfiles: {}\n", "how far rows are apart"),
        ("name: x\nmethod: alone\nstep: 5m\nfiles: {}\n", "scores one column, not 3"),
        ("name: x\nmethod: joint\nstep: 5m\nfiles: {history: _old.parquet}\n", "a_old.parquet"),
        ("name: x\nmethod: alone\nstep: 5m\nfiles: {scored: .json}\n", "has no file *.json"),
        ("name: x\nmethod: alone\nstep: 5m\nfiles: {}\ncolumns: [w]\n", "column 'w'"),
    ],
)
def test_a_spec_that_does_not_fit_says_what_to_write(machines, spec, told):
    (machines / "spec.yaml").write_text(spec)

    ended = detect("--spec", machines / "spec.yaml", "--out", machines / "answer")

    assert ended.exit_code == 78
    assert told in ended.stderr
    assert not (machines / "answer/scores.csv").exists()


@pytest.mark.parametrize(
    ("column", "told"),
    [
        (["2026-01-01", "soon"], "'soon' in column 'at', row 2, is no moment"),
        ([1.0, None], "None in column 'at', row 2"),
    ],
)
def test_a_row_without_a_moment_is_named(tmp_path, column, told):
    pq.write_table(pa.table({"at": column, "x": [1.0, 2.0]}), tmp_path / "a_test.parquet")
    (tmp_path / "spec.yaml").write_text("name: x\nmethod: alone\nfiles: {folder: .}\ntime: at\n")

    ended = detect("--spec", tmp_path / "spec.yaml", "--out", tmp_path)

    assert ended.exit_code == 78
    assert told in ended.stderr


def test_what_no_metric_can_have_counts_as_missing(tmp_path):
    values = [float(hour % 7) for hour in range(100)]
    for name, odd in (("a", None), ("b", 1e308), ("c", float("inf"))):
        columns = {"x": pa.array([*values[:50], odd, *values[51:]], pa.float64())}
        pq.write_table(pa.table(columns), tmp_path / f"{name}_test.parquet")
    (tmp_path / "spec.yaml").write_text("name: x\nmethod: alone\nfiles: {folder: .}\nstep: 1h\n")

    ended = detect("--spec", tmp_path / "spec.yaml", "--out", tmp_path)

    assert ended.exit_code == 0, ended.output
    rows = rows_of(tmp_path / "scores.csv")
    of = {name: [row["score"] for row in rows if row["entity"] == name] for name in "abc"}
    assert of["a"] == of["b"] == of["c"]
