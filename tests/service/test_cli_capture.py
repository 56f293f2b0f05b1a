"""`foreshock capture` as a person uses it, on a capture at hand."""

import re
from collections.abc import Sequence
from pathlib import Path

import msgspec
import pytest
from typer.testing import CliRunner, Result

from foreshock.core.contracts import Record
from foreshock.core.model import JudgementKind
from foreshock.service.cli import app
from foreshock.store.capture import Head, head_of, read_capture, write_capture
from foreshock.testing.records import Story


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    story = Story("shop depends_on db1").fire("db1").after(20).fire("shop").after(600).tick()
    Path("all.jsonl").write_bytes(b"".join(msgspec.json.encode(record) + b"\n" for record in story.records))
    Path("key").write_text("a secret of twenty bytes")
    Path("alerts.jsonl").write_text("{}\n")
    return tmp_path


def run(*words: str) -> Result:
    return CliRunner().invoke(app, ["capture", *words])


def bodies(path: str) -> bytes:
    return b"".join(entry.body for _, entry in read_capture(Path(path)) if isinstance(entry, Record))


def test_a_capture_changes_its_form():
    assert run("--input", "all.jsonl", "--out", "all.parquet").output == "wrote 5 records to all.parquet\n"
    assert bodies("all.parquet") == bodies("all.jsonl")


def test_a_capture_is_written_without_names_and_says_so():
    found = run("--input", "all.jsonl", "--out", "shared.jsonl", "--anonymise", "host=hash", "--key-file", "key")
    head = head_of(Path("shared.jsonl"))

    assert found.exit_code == 0
    assert head is not None
    assert head.anonymised == ("host=hash",)
    assert b"db1" in bodies("all.jsonl")
    assert b"db1" not in bodies("shared.jsonl")


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("--anonymise", "host=hash"), 2, "--anonymise and --key-file go together"),
        (("--key-file", "key"), 2, "--anonymise and --key-file go together"),
        (("--anonymise", "host", "--key-file", "key"), 1, "'host' does not say what is to be anonymised"),
        (("--anonymise", "host=hash", "--key-file", "none"), 78, "openssl rand"),
        (("--since", "1d"), 2, "--input is taken whole"),
        (("--input", "alerts.jsonl"), 1, "alerts.jsonl is no capture"),
        (("--input", "missing.jsonl"), 78, "missing.jsonl: does not exist"),
    ],
)
def test_what_cannot_be_done_is_said_in_one_message(words: Sequence[str], code: int, said: str):
    found = run("--input", "all.jsonl", "--out", "other.jsonl", *words)

    assert found.exit_code == code
    assert said in " ".join(found.output.replace("│", " ").split())
    assert "Traceback" not in found.output


def test_the_beginning_is_said_once():
    found = run("--since", "1d", "--from", "2026-01-01", "--out", "other.jsonl")

    assert found.exit_code == 2


def imported(*words: str) -> Result:
    return CliRunner().invoke(app, ["history", "import", *words, "--state", "state"])


def test_a_new_installation_begins_with_history_once():
    first, again = imported("all.jsonl"), imported("all.jsonl")

    assert first.exit_code == 0
    assert "imported 8 records up to 2026-03-02 14:10 UTC: 1 situation, all over, and 0 judgements" in first.output
    assert again.exit_code == 1
    assert "this store has records already" in " ".join(again.output.split())


def test_history_of_another_tool_begins_with_a_topology(here: Path):
    (here / "alerts.csv").write_text("time,node,name\n2026-01-01T12:00:00Z,db,Down\n2026-01-01T12:00:20Z,web,Down\n")
    (here / "mapping.yaml").write_text("alerts: {time: time}\n")
    (here / "cmdb").mkdir()
    (here / "cmdb/nodes.csv").write_text("node,type\nweb,host\ndb,host\n")
    (here / "cmdb/topology.csv").write_text("source,target,relation\nweb,db,depends_on\n")
    found = imported("alerts.csv", "--mapping", "mapping.yaml", "--topology", "cmdb")

    assert found.exit_code == 0, found.output
    assert ": 1 situation, all over" in found.output


def test_a_plan_holds_what_people_said_against_both_sides(here: Path):
    story = Story("shop depends_on db1").fire("db1").after(20).fire("shop").after(600).tick()
    story.judge(JudgementKind.SPLIT, situation="S-1", alerts=["shop"]).after(60).tick()
    write_capture(here / "said.jsonl", Head(), [*story.records, *story.told.judgements])
    plan = ("rules", "plan", "said.jsonl", "--set", "group.threshold=0.9")
    found = CliRunner().invoke(app, [*plan, "--fail-if", "precision < 1"])

    assert found.exit_code == 4
    assert re.search(r"alerts that truth knows +2 +2\n +pairwise F1 +0\.0000 +1\.0000", found.output)
