"""Causes of recorded incidents whose windows are known."""

import csv
from pathlib import Path

import pytest
from typer.testing import CliRunner

from foreshock.connect.config import load
from foreshock.core.errors import ConfigError
from foreshock.service.cli import app
from foreshock.service.rank import RankSpec, rank

ALERTS_SPEC = """
version: 1
issues: {file: issues.csv, id: issue_id, scope: system, start: start, end: end}
alerts:
  file: alerts.csv
  scope: system
  columns: {time: time, node: node, name: name, labels: {peer: peer}}
topology:
  nodes: {file: nodes.csv, scope: system, node: node, type: type}
  relationships: {file: topology.csv, scope: system, relation: relation}
  relations: {has_instance: depends_on}
"""
EARLIER = [(f"e{n}", 100_000 + n * 1000) for n in range(8)]  # when only what is noisy as ever was heard
ALERTS = {
    "issues.csv": "issue_id,system,start,end\ni1,shop,1000,1600\ni2,shop,5000,5600\nquiet,shop,9000,9600\n"
    + "".join(f"{id},shop,{start},{start + 600}\n" for id, start in EARLIER),
    "nodes.csv": "system,node,type\nshop,cart,Service\nshop,cart-1,Pod\nshop,cart-2,Pod\nshop,pay-1,Pod\n",
    "topology.csv": "system,source,target,relation\nshop,cart,cart-1,has_instance\nshop,cart,cart-2,has_instance\n"
    "shop,cart-1,cart,depends_on\nshop,cart-2,cart,depends_on\nother,cart,pay-1,depends_on\n",
    "alerts.csv": "system,time,node,name,peer\n"
    # i1: both pods of cart lose packets; pay-1 is noisy as ever
    "shop,1010,cart-1,PacketLoss,\nshop,1012,cart-2,PacketLoss,\nshop,1000,pay-1,CpuHigh,\n"
    "shop,1070,cart-1,PacketLoss,\n"
    # i2: pay-1 alone, with something new
    "shop,5000,pay-1,CpuHigh,\nshop,5001,pay-1,DiskFailed,\nshop,5002,cart-1,CpuHigh,\n"
    "other,5002,cart-2,PacketLoss,\nshop,99,cart-2,PacketLoss,\n"
    + "".join(f"shop,{start},{pod},CpuHigh,\n" for _, start in EARLIER for pod in ("pay-1", "cart-1")),
}
METRICS_SPEC = """
version: 1
issues: {file: issues.csv, id: issue_id, scope: load, time: time, node: node, metric: metric, dimension: stat}
topology:
  relationships: {file: calls.csv, scope: load, source: caller, target: callee, type: calls}
  implied: ["*_remote"]
metrics:
  windows: {file: window.csv, issue: issue_id, dimension: stat}
  normal: {file: normal.csv, scope: load, dimension: stat}
  worse: {latency: up}
"""


def written(folder: Path, files: dict[str, str], spec: str) -> RankSpec:
    for name, text in files.items():
        (folder / name).write_text(text)
    (folder / "spec.yaml").write_text(spec)
    return load(folder / "spec.yaml", RankSpec)


def first(folder: Path, files: dict[str, str], spec: str) -> dict[str, str]:
    found = rank(written(folder, files, spec), folder)
    return {each.issue: each.causes[0].ci if each.causes else "" for each in found}


def test_alerts_of_each_window_are_ranked_with_what_is_rare_among_all_windows(tmp_path: Path):
    found = first(tmp_path, ALERTS, ALERTS_SPEC)

    assert {issue: found[issue] for issue in ("i1", "i2", "quiet")} == {"i1": "cart", "i2": "pay-1", "quiet": ""}


def metrics(**series: list[float]) -> dict[str, str]:
    """Five steps for each node from 0 s; it broke at 600 s. Normal is quiet."""
    window = "".join(
        f"i1,{step * 300},{node},latency,avg,{value}\n"
        for node, values in series.items()
        for step, value in enumerate(values)
    )
    normal = "".join(
        f"low,{step * 300},{node},latency,avg,{1.0 + 0.01 * (step % 3)}\n" for node in series for step in range(30)
    )
    return {
        "issues.csv": "issue_id,load,time,node,metric,stat\ni1,low,600,site,latency,avg\n",
        "calls.csv": "load,caller,callee\nlow,site,api\nlow,api,db\nlow,site,cdn\nlow,site,lb_remote\n",
        "window.csv": "issue_id,time,node,metric,stat,value\n" + window,
        "normal.csv": "load,time,node,metric,stat,value\n" + normal,
    }


def test_metrics_point_to_the_last_of_a_chain_of_calls_that_moved(tmp_path: Path):
    moved, calm = [1.0, 1.0, 3.0, 3.0, 3.0], [1.0, 1.0, 1.01, 1.0, 1.0]

    files = metrics(site=moved, api=moved, db=moved, cdn=calm, elsewhere=[1.0, 1.0, 9.0, 9.0, 9.0])

    assert first(tmp_path, files, METRICS_SPEC) == {"i1": "db"}


def test_what_is_known_only_by_what_others_say_of_it_comes_after_what_moved_as_much(tmp_path: Path):
    moved, calm = [1.0, 1.0, 3.0, 3.0, 3.0], [1.0, 1.0, 1.01, 1.0, 1.0]

    assert first(tmp_path, metrics(site=moved, api=moved, db=calm, lb_remote=moved), METRICS_SPEC) == {"i1": "api"}


def test_the_command_writes_a_ranking_and_says_where_no_cause_is_named(tmp_path: Path):
    written(tmp_path, ALERTS, ALERTS_SPEC)
    out = tmp_path / "causes.csv"

    done = CliRunner().invoke(
        app, ["rank", "--spec", str(tmp_path / "spec.yaml"), "--data", str(tmp_path), "--out", str(out)]
    )

    assert done.exit_code == 0, done.output
    assert "11 incidents, for 1 of them not enough evidence to name a cause" in " ".join(done.output.split())
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert tuple(rows[0][name] for name in ("issue_id", "rank", "node")) == ("i1", "1", "cart")
    assert "quiet" not in {row["issue_id"] for row in rows}


def test_a_relationship_type_nobody_explained_is_refused_with_a_remedy(tmp_path: Path):
    files = ALERTS | {"topology.csv": "system,source,target,relation\nshop,cart,cart-1,hugs\n"}

    with pytest.raises(ConfigError, match="'hugs' is not a relationship type"):
        list(rank(written(tmp_path, files, ALERTS_SPEC), tmp_path))


def test_the_specs_that_come_with_the_benchmarks_are_sound():
    for spec in sorted((Path(__file__).parents[2] / "benchmarks").glob("*.rank.yaml")):
        assert load(spec, RankSpec).version == 1
