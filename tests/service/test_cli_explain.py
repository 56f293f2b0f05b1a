"""`foreshock explain` of recorded input as a person uses it: what it prints, and how it ends."""

import json
import re
import shlex
from collections.abc import Sequence
from pathlib import Path

import pytest

from foreshock.testing.commands import run

ROOT = Path(__file__).parents[2]

ALERT = '{{"labels":{{"alertname":"Down","ci":"{ci}"}},"startsAt":"{at}","endsAt":"2026-01-01T01:00:00Z"}}\n'
FILES = {
    "alerts.jsonl": ALERT.format(ci="db", at="2026-01-01T00:00:00Z")
    + ALERT.format(ci="web", at="2026-01-01T00:00:20Z"),
    "topology/nodes.csv": "node,type\nweb,host\ndb,host\n",
    "topology/topology.csv": "source,target,relation\nweb,db,depends_on\n",
}
EXPLAIN = ("explain", "--history", "alerts.jsonl", "--topology", "topology")

pytestmark = pytest.mark.usefixtures("here")


def test_a_recorded_alert_is_explained_as_a_running_foreshock_would():
    found = run((*EXPLAIN, "Down on web", "-o", "json"))

    assert found.exit_code == 0
    told = json.loads(found.stdout)
    assert (told["situation"], [alert["name"] for alert in told["alerts"]]) == ("S-1", ["Down"])
    assert run((*EXPLAIN, "Down on web")).stdout.startswith("S-1: Down on db\n")
    assert "as of 2026-01-01 00:00:20 UTC" in found.stderr


def test_why_a_recorded_alert_would_be_elsewhere_with_another_setting():
    found = run((*EXPLAIN, "Down on web", "--why-not", "Down on db", "--set", "group.threshold=0.9"))

    assert "Down on web is not in S-1: " in found.stdout
    assert "the link is weaker than 0.90" in found.stdout


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        ((*EXPLAIN, "Down on mail"), 1, "there is no incident and no alert 'Down on mail'; Down is on db, web"),
        ((*EXPLAIN, "S-1", "--at", "2025-01-01"), 1, "the history begins at 2026-01-01 00:00:00 UTC"),
        ((*EXPLAIN, "S-1", "--at", "noon"), 2, "'noon' is no time"),
        (("explain", "S-1", "--mapping", "m.yaml"), 2, "--mapping goes with --history"),
        (("explain", "S-1", "--at", "2026-01-01", "--server", "http://127.0.0.1:1"), 5, "no Foreshock answers"),
        ((*EXPLAIN, "S-9"), 1, "open are S-1 (Down on db); situations are numbered from the beginning of what"),
        (("explain", "S-1", "--server", "http://127.0.0.1:1"), 5, "no Foreshock answers"),
    ],
)
def test_what_cannot_be_explained_is_said_in_one_message(words: Sequence[str], code: int, said: str):
    found = run(words)

    assert found.exit_code == code
    assert said in " ".join(found.output.replace("│", " ").split())


def test_the_reason_that_the_docs_give_of_the_recorded_outage_is_true(here: Path, recorded_outage: bytes):
    (here / "outage.jsonl").write_bytes(recorded_outage)
    text = (ROOT / "docs" / "tuning.md").read_text(encoding="utf-8").partition("### Why, of what was recorded")[2]
    at, why_not = re.findall(r"^foreshock (explain .*)$", text, re.MULTILINE)
    said = text.split("```\n")[2].partition("\n```")[0]

    assert run(shlex.split(at)).stdout.startswith("S-1: ResponseTimeHigh on search-lb\n")
    assert run(shlex.split(why_not)).stdout.startswith(said)
