"""What is known to belong together, read from files, and how well groups fit it."""

import csv
import itertools
from datetime import UTC, datetime
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from foreshock.core.errors import ConfigError
from foreshock.core.model import Label, Witness
from foreshock.service.truth import Pairs, count_pairs, read_truth

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def written(folder: Path, name: str, text: str) -> Path:
    path = folder / name
    path.write_text(text)
    return path


def said(says: str = "same") -> Label:
    one, other = (Witness(fingerprint=key, name="Down", ci=key, onset=NOON) for key in ("a", "b"))
    return Label(says=says, alert=one, other=other, by="anna", at=NOON, judgement="J-1")


def test_labels_are_read_and_an_empty_incident_is_noise(tmp_path: Path):
    truth = read_truth(written(tmp_path, "truth.csv", "alert_id,issue_id\n7,I1\n8,\n9,I1\n"))

    assert truth.incidents == {"7": "I1", "8": "", "9": "I1"}


def test_an_alert_with_two_incidents_is_refused_with_its_line(tmp_path: Path):
    with pytest.raises(ConfigError) as refused:
        read_truth(written(tmp_path, "truth.csv", "alert_id,issue_id\n7,I1\n7,I2\n"))

    assert "truth.csv:3: alert_id: 7 belongs to 'I1' already" in str(refused.value)


def test_what_people_said_is_read_as_it_is_exported(tmp_path: Path):
    lines = tmp_path / "said.jsonl"
    lines.write_bytes(msgspec.json.encode(said()) + b"\n")
    table = tmp_path / "said.csv"
    with table.open("w", newline="") as file:
        fields = ("fingerprint", "name", "ci", "onset")
        head = [f"{side}_{field}" for side in ("alert", "other") for field in fields]
        row = [str(msgspec.to_builtins(who)[field]) for who in (said().alert, said().other) for field in fields]
        csv.writer(file).writerows(
            [("says", *head, "ci", "by", "at", "judgement"), ("same", *row, "", "anna", "2026-01-01T12:00:00Z", "J-1")]
        )

    assert read_truth(lines).said == (said(),)
    assert read_truth(table).said == (said(),)


def test_tickets_are_read_under_the_names_of_an_export_and_those_below_one_parent_are_one_problem(tmp_path: Path):
    text = (
        "Number,Opened at,Resolved at,Cmdb ci,Parent incident\n"
        'INC2,2026-01-01 12:05:00,,"api; web",INC1\n'
        "INC1,2026-01-01 12:00:00,2026-01-01 13:00:00,db1,\n"
    )
    first, second = read_truth(written(tmp_path, "tickets.csv", text)).tickets

    assert (first.number, first.incident, first.opened_at, first.cis) == ("INC1", "INC1", NOON, ("db1",))
    assert (second.number, second.incident, second.resolved_at, second.cis) == ("INC2", "INC1", None, ("api", "web"))


def test_tickets_whose_parents_go_in_a_circle_are_read(tmp_path: Path):
    text = "number,opened_at,ci,parent\na,2026-01-01,x,b\nb,2026-01-02,x,a\n"

    assert len(read_truth(written(tmp_path, "tickets.csv", text)).tickets) == 2


def test_a_ticket_that_ends_before_it_begins_is_refused(tmp_path: Path):
    text = "number,opened_at,resolved_at,ci\na,2026-01-02T00:00:00Z,2026-01-01T00:00:00Z,x\n"
    with pytest.raises(ConfigError, match=r"tickets.csv:2: resolved_at: .* is before it was opened"):
        read_truth(written(tmp_path, "tickets.csv", text))


def test_a_table_of_something_else_is_refused_with_what_would_be_read(tmp_path: Path):
    with pytest.raises(ConfigError, match=r"its columns \(x, y\) are those of no truth .* alert_id and issue_id"):
        read_truth(written(tmp_path, "odd.csv", "x,y\n1,2\n"))


def test_pairs_are_counted_as_they_are_defined():
    pairs = count_pairs([("I1", "S-1"), ("I1", "S-1"), ("I1", "S-2"), ("", "S-2"), ("", "S-2"), ("I2", "")])

    assert pairs == Pairs(same=3, grouped=4, both=1)
    assert (pairs.precision, pairs.recall, round(pairs.f1, 4)) == (0.25, 1 / 3, round(2 / 7, 4))


@given(st.lists(st.tuples(st.sampled_from(["", "1", "2", "3"]), st.sampled_from(["", "a", "b", "c"]))))
def test_counting_cells_and_counting_pairs_one_by_one_agree(placed: list[tuple[str, str]]):
    couples = list(itertools.combinations(placed, 2))
    same = [one[0] == other[0] != "" for one, other in couples]
    grouped = [one[1] == other[1] != "" for one, other in couples]

    assert count_pairs(placed) == Pairs(sum(same), sum(grouped), sum(map(all, zip(same, grouped, strict=True))))


def test_nothing_to_find_and_nothing_found_is_right():
    assert count_pairs([("", "S-1")]).f1 == 1.0
