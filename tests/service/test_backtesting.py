"""Backtests from and to folders, as a person runs them."""

import csv
import json

import pytest
from typer.testing import CliRunner

from foreshock.service.cli import app

SPEC = """
name: flaky nodes
step: 1d
horizon: 7
entities: {group: system, clock: system, cutoff: cutoff}
events: {known_from: fixed, kinds: [cause]}
budget: 0.5
"""


@pytest.fixture
def estate(tmp_path):
    """Ten nodes watched for 300 days; the first two fail every ninth day, the others hardly ever."""
    steps, cut = 300, 199
    failures = [(node, step) for node in range(2) for step in range(5 + node, steps, 9)]
    failures += [(node, 40 * node) for node in range(2, 7)]
    write(tmp_path / "entities.csv", "entity system cutoff", [(f"n{node}", "a", cut) for node in range(10)])
    write(tmp_path / "spans.csv", "entity first last", [(f"n{node}", cut + 1, steps - 1) for node in range(10)])
    write(tmp_path / "incidents.csv", "entity start end", [(f"n{node}", step, step) for node, step in failures])
    write(
        tmp_path / "events.csv",
        "entity step fixed cause",
        [(f"n{node}", step, step + 1, "hardware") for node, step in failures],
    )
    (tmp_path / "flaky.yaml").write_text(SPEC)
    return tmp_path


def write(path, columns, rows):
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns.split(), *rows])


def model(*arguments):
    return CliRunner().invoke(app, ["model", *(str(one) for one in arguments)])


def test_a_backtest_answers_every_asked_row_and_finds_the_flaky_nodes(estate):
    ended = model("backtest", "--spec", estate / "flaky.yaml", "--out", estate / "answer")

    assert ended.exit_code == 0, ended.output
    with (estate / "answer/predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10 * 100
    assert {int(row["cutoff"]) for row in rows} == {199}
    of = {name: [float(row["score"]) for row in rows if row["entity"] == name] for name in ("n0", "n9")}
    assert sum(of["n0"]) > 10 * sum(of["n9"])
    assert json.loads((estate / "answer/card.json").read_text())["name"] == "flaky nodes"


def test_too_few_incidents_are_told_with_their_number(estate):
    write(estate / "incidents.csv", "entity start end", [("n0", 20, 20), ("n1", 30, 31), ("n1", 250, 250)])

    ended = model("backtest", "--spec", estate / "flaky.yaml", "--out", estate / "answer")

    assert ended.exit_code == 1
    assert "not enough incidents yet: 2 of 20 in 2 of 10 entities" in ended.stderr


def test_a_file_without_a_column_is_told_with_the_columns_it_has(estate):
    write(estate / "incidents.csv", "entity begin end", [("n0", 20, 20)])

    ended = model("backtest", "--spec", estate / "flaky.yaml", "--out", estate / "answer")

    assert ended.exit_code == 78
    assert "incidents.csv: has no column 'start'; its columns are entity, begin, end" in ended.stderr


def test_another_folder_stands_in_for_the_one_of_the_spec(estate, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("specs") / "flaky.yaml"
    (estate / "flaky.yaml").rename(elsewhere)

    ended = model("backtest", "--spec", elsewhere, "--data", estate, "--out", estate / "answer")

    assert ended.exit_code == 0, ended.output
