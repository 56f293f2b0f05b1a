"""`foreshock tune` as a person uses it: what it prints, what it writes, and how it ends."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from foreshock.testing.commands import run

pytestmark = pytest.mark.usefixtures("here")

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def alerts(outages: int) -> str:
    """Every four hours a database, 20 s later what depends on it, or calls it."""
    rows = ["id,time,node,name"]
    for outage in range(outages):
        kind = ("db", "cache")[outage % 2]
        for late, node in ((0, kind), (20, f"web-{kind}")):
            at = BEGIN + timedelta(hours=4 * outage, seconds=late)
            rows.append(f"{outage}.{late},{at.isoformat()},{node},Down")
    return "\n".join(rows) + "\n"


FILES = {
    "alerts.csv": alerts(24),
    "mapping.yaml": "alerts: {id: id, time: time}\n",
    "topology/nodes.csv": "node,type\nweb-db,host\ndb,host\nweb-cache,host\ncache,host\n",
    "topology/topology.csv": "source,target,relation\nweb-db,db,depends_on\nweb-cache,cache,calls\n",
    "truth.csv": "alert_id,issue_id\n" + "".join(f"{n}.{late},I{n}\n" for n in range(24) for late in (0, 20)),
    "dear.yaml": "relate: {costs: {calls: 5}}\n",
}
TUNE = (
    "tune", "alerts.csv", "--mapping", "mapping.yaml", "--topology", "topology", "--truth", "truth.csv",
    "--only", "relate.costs.calls,group.quiet", "--trials", "12", "--folds", "2", "--hold-out", "0.4",
)  # fmt: skip


def test_what_is_worth_having_is_written_ends_with_4_and_a_plan_with_it_takes_the_incidents_together():
    found = run((*TUNE, "--settings", "dear.yaml", "--out", "tuned.yaml"))

    assert found.exit_code == 4, found.output
    assert "Worth having: " in found.output
    assert "relate.costs.calls: " in found.output
    plan = ("rules", "plan", "alerts.csv", "--mapping", "mapping.yaml", "--base-topology", "topology")
    assert run((*plan, "--settings", "dear.yaml", "--truth", "truth.csv")).exit_code == 4
    assert "No incident would be different" in run((*plan, "--settings", "tuned.yaml")).output


def test_where_what_is_in_force_is_kept_it_ends_with_0_and_writes_nothing(here: Path):
    found = run((*TUNE, "--out", "tuned.yaml"))

    assert found.exit_code == 0, found.output
    assert "Keep what is in force: nothing that was tried is better by more than chance." in found.output
    assert not (here / "tuned.yaml").exists()


def test_json_has_the_figures_and_what_to_give_to_set():
    found = run((*TUNE, "--settings", "dear.yaml", "-o", "json"))
    told = json.loads(found.stdout)

    assert told["recommended"]
    assert told["held_out"]["low"] > 0
    assert told["set"][0].startswith("relate.costs.calls=")
    assert told["cut"]["folds"][0]["begin"] is None


def test_it_goes_on_where_it_was_and_tells_the_same(here: Path):
    first = run((*TUNE, "--settings", "dear.yaml", "--state", "tune.state"))
    size = (here / "tune.state").stat().st_size

    assert run((*TUNE, "--settings", "dear.yaml", "--state", "tune.state")).output == first.output
    assert (here / "tune.state").stat().st_size == size


def test_a_second_look_at_what_was_held_out_is_told():
    run((*TUNE, "--settings", "dear.yaml", "--state", "tune.state", "--only", "relate.costs.calls"))
    found = run((*TUNE, "--settings", "dear.yaml", "--state", "tune.state", "--only", "group.threshold"))

    assert "What was held out has been shown 2 settings by now; with each it tells less." in found.output


WRONG = {
    "other settings, same state": (("--state", "tune.state"), "is the state of another search: what is in force"),
    "nothing of that name": (("--only", "group.treshold"), "did you mean"),
    "too many folds": (("--folds", "20"), "for 20 folds"),
    "a gap that is too long": (("--gap", "3d"), "shorter --gap"),
    "truth of another history": (("--truth", "mapping.csv"), "truth knows of nothing in this history"),
}


@pytest.mark.parametrize(("words", "said"), WRONG.values(), ids=list(WRONG))
def test_what_is_wrong_is_told_with_what_to_do(here: Path, words: Sequence[str], said: str):
    (here / "mapping.csv").write_text("alert_id,issue_id\nother,I1\n")
    if "tune.state" in words:
        run((*TUNE, "--settings", "dear.yaml", "--state", "tune.state"))

    found = run((*TUNE, *words))

    assert (found.exit_code, said in found.output) == (1, True), found.output


def test_without_truth_what_people_said_is_asked_for_and_may_be_missing():
    found = run([word for word in TUNE if word not in ("--truth", "truth.csv")])

    assert found.exit_code == 1
    assert "nobody said anything in this history; give what belongs together with --truth" in found.output
