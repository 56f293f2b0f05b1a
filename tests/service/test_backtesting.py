"""Backtests from and to folders, as a person runs them."""

import csv
import json
from datetime import date, timedelta

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


def answers(folder):
    with (folder / "predictions.csv").open() as file:
        return {(row["entity"], int(row["time"])): (row["score"], row["alarm"]) for row in csv.DictReader(file)}


def test_what_comes_later_changes_no_answer(estate):
    model("backtest", "--spec", estate / "flaky.yaml", "--out", estate / "answer")
    later = [(f"n{node}", step) for node in range(10) for step in range(251 + node, 299, 11)]
    for file, made in (("events.csv", ("x", "power")), ("incidents.csv", ())):
        with (estate / file).open() as read:
            rows = list(csv.reader(read))
        kept = [row for row in rows[1:] if int(row[1]) <= 250]
        write(estate / file, " ".join(rows[0]), [*kept, *((*one, one[1], *made[1:]) for one in later)])

    model("backtest", "--spec", estate / "flaky.yaml", "--out", estate / "other")

    ours, theirs = answers(estate / "answer"), answers(estate / "other")
    assert {row: told for row, told in ours.items() if row[1] <= 250} == {
        row: told for row, told in theirs.items() if row[1] <= 250
    }
    assert ours != theirs


def test_the_card_says_what_was_learned_and_how_good_it_was_later(estate):
    ended = model("backtest", "--spec", estate / "flaky.yaml", "--out", estate / "answer", "-o", "json")

    card = json.loads(ended.stdout)
    assert card["labels"]["incidents_to_learn_from"] == 47
    assert card["judged"]["average_precision"] > 3 * card["judged"]["average_precision_by_chance"]
    assert set(card["model"]["trust"]) == {"rate", "linear", "trees"}
    assert (estate / "answer/card.md").read_text().startswith("# flaky nodes")


def test_the_model_that_is_written_gives_the_scores_that_were_written(estate):
    from predictor.model import Model

    model("backtest", "--spec", estate / "flaky.yaml", "--out", estate / "answer")

    written = Model.from_bytes((estate / "answer/model.npz").read_bytes())
    assert "mixed:any" in written.names
    with (estate / "answer/reasons.csv").open() as file:
        reasons = list(csv.DictReader(file))
    assert max(reasons, key=lambda row: float(row["score"]))["entity"] in ("n0", "n1")
    assert {row["feature"] for row in reasons} <= set(written.names)


def test_a_group_that_is_left_out_is_answered_by_the_others(estate):
    write(
        estate / "entities.csv",
        "entity system cutoff",
        [(f"n{node}", "ab"[node % 2], 199) for node in range(10)],
    )

    ended = model("backtest", "--spec", estate / "flaky.yaml", "--out", estate / "answer", "--leave-groups-out")

    assert ended.exit_code == 0, ended.output
    with (estate / "answer/predictions.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 10 * 100
    assert {row["cutoff"] for row in rows} == {"-1"}
    assert {path.name for path in (estate / "answer").glob("*.npz")} == {"model-a.npz", "model-b.npz"}


MEASURED = """
name: worn disks
step: 7d
horizon: 4
entities: {kinds: [maker]}
frame: {date: date, columns: [errors, never]}
fit: {column: role, value: fit, before: "2020-12-30"}
budget: 0.01
"""


def test_disks_are_foreseen_from_what_is_measured_and_a_column_without_values_does_no_harm(tmp_path):
    day0, disks, rows, spans, dead = date(2020, 1, 1), range(220), [], [], []
    for disk in disks:
        fails = 20 + disk % 50 if disk % 3 == 0 else None
        for week in range(fails or 80):
            errors = max(0, 6 - (fails - week)) * 3 if fails else int((disk * week) % 41 == 3)
            rows.append((f"d{disk}", week, day0 + timedelta(weeks=week), errors, ""))
        if fails:
            dead.append((f"d{disk}", fails, fails))
        if disk % 2:
            spans.append((f"d{disk}", min(52, (fails or 80) - 1), (fails or 80) - 1))
    write(tmp_path / "frames.csv", "entity step date errors never", rows)
    write(tmp_path / "incidents.csv", "entity start end", dead)
    write(tmp_path / "spans.csv", "entity first last", spans)
    write(
        tmp_path / "entities.csv",
        "entity maker role",
        [(f"d{disk}", "xy"[disk % 2], ("fit", "score")[disk % 2]) for disk in disks],
    )
    (tmp_path / "worn.yaml").write_text(MEASURED.replace("frame: {", "frame: {file: frames.csv, "))

    ended = model("backtest", "--spec", tmp_path / "worn.yaml", "--out", tmp_path / "answer")

    assert ended.exit_code == 0, ended.output
    assert "never was measured in 0% of the rows only" in ended.output
    score = {row: float(told[0]) for row, told in answers(tmp_path / "answer").items()}
    failing = [
        p for (disk, week), p in score.items() for name, end, _ in dead if disk == name and end - 3 <= week < end
    ]
    assert failing
    assert min(failing) > 3 * sorted(score.values())[len(score) // 2]


def test_too_few_incidents_are_told_with_their_number(estate):
    write(estate / "incidents.csv", "entity start end", [("n0", 20, 20), ("n1", 30, 31), ("n1", 250, 250)])

    ended = model("backtest", "--spec", estate / "flaky.yaml", "--out", estate / "answer")

    assert ended.exit_code == 1
    assert "not enough incidents yet: 2 of 20 in 2 of 10 entities" in ended.stderr


def test_incidents_of_one_day_only_are_told_instead_of_learned_from(estate):
    write(
        estate / "incidents.csv",
        "entity start end",
        [(f"n{node}", 100 + 3 * k, 100 + 3 * k) for node in range(10) for k in (0, 1)],
    )

    ended = model("backtest", "--spec", estate / "flaky.yaml", "--out", estate / "answer")

    assert ended.exit_code == 1
    assert "incidents lie too close together in time" in ended.stderr


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
