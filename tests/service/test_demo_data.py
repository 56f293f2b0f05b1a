"""The recorded outage of ``foreshock demo``."""

import csv
import importlib.util
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from types import ModuleType

import pytest

from foreshock.service import demo
from foreshock.service.demo import source

ROOT = Path(__file__).resolve().parents[2]
FOLDER = demo.TOPOLOGY_FILE.parent
DATA = ROOT.parent / "shared" / "data" / "petshop"
NOON = datetime(2026, 1, 1, 12, 0, tzinfo=UTC)

needs_data = pytest.mark.skipif(not DATA.is_dir(), reason="no public PetShop data beside this checkout")


def identity(alert: demo.DemoAlert) -> tuple[tuple[str, str], ...]:
    return tuple(sorted(alert.labels.items()))


def rows(name: str) -> list[dict[str, str]]:
    with (FOLDER / name).open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def build_script() -> ModuleType:
    pytest.importorskip("pyarrow", reason="pyarrow, which the build script needs, is not installed")
    path = ROOT / "benchmarks" / "make_demo_data.py"
    spec = importlib.util.spec_from_file_location("make_demo_data", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_same_recording_gives_the_same_alerts():
    first = demo.alerts()
    source._alerts.cache_clear()

    assert demo.alerts() == first


def test_the_authors_and_the_licence_are_named():
    text = (FOLDER / "README.md").read_text(encoding="utf-8")

    for name in ("Michaela Hardt", "Orchard", "Blöbaum", "Kasiviswanathan", "Kirschbaum", "CLeaR 2024"):
        assert name in text
    assert "https://creativecommons.org/licenses/by/4.0/" in text
    assert "What was changed" in text


def test_every_node_of_the_recording_is_exactly_one_ci():
    found = {row["node"]: demo.topology().named(row["node"]) for row in rows("metrics.csv")}

    assert {node: cis for node, cis in found.items() if len(cis) != 1} == {}


def test_every_relationship_ties_two_cis_of_the_file():
    graph = demo.topology()

    ends = {end for relation in graph.relationships for end in (relation.source, relation.target)}
    assert ends - set(graph.cis) == set()
    assert [ci.id for ci in graph.cis.values() if not ci.owner] == []


def test_every_alert_names_a_ci_that_the_front_page_depends_on_or_a_caller_of_one():
    graph = demo.topology()

    for alert in demo.alerts():
        (ci,) = graph.named(alert.labels["service"])
        assert "shop-front" in graph.services(ci) or graph.cis[ci].kind == "client"


def test_a_newcomer_sees_between_six_and_sixty_alerts_on_several_cis_in_half_an_hour():
    alerts = demo.alerts()

    assert 6 <= len({identity(alert) for alert in alerts}) <= 60
    assert len({demo.topology().named(alert.labels["service"]) for alert in alerts}) >= 5
    assert demo.recorded_span_s() == 1800.0


def test_alerts_come_in_the_order_of_sending_within_the_recording():
    offsets = [alert.offset_s for alert in demo.alerts()]

    assert offsets == sorted(offsets)
    assert offsets[0] > 0
    assert offsets[-1] <= demo.recorded_span_s()


def test_every_alert_that_fires_is_sent_once_a_minute_until_it_resolves_once():
    sendings: dict[tuple[object, ...], list[demo.DemoAlert]] = {}
    for alert in demo.alerts():
        sendings.setdefault((identity(alert), alert.starts_s), []).append(alert)

    for sent in sendings.values():
        *firing, last = sent
        assert [alert.firing for alert in sent] == [True] * len(firing) + [False]
        assert [alert.repeat for alert in sent] == [False] + [True] * (len(firing) - 1) + [False]
        assert last.offset_s == last.starts_s + last.duration_s
        gaps_s = [later.offset_s - earlier.offset_s for earlier, later in pairwise(sent)]
        assert set(gaps_s) == {60.0}


def test_the_cause_alerts_although_it_is_not_the_first_to_alert():
    first, *_ = alerts = demo.alerts()
    cause = [alert for alert in alerts if demo.topology().named(alert.labels["service"]) == ("pet-info",)]

    assert demo.topology().named(first.labels["service"]) != ("pet-info",)
    assert cause[0].offset_s > first.offset_s
    assert "176 ms, normally 13 ms" in cause[0].annotations["summary"]


def test_the_cause_is_not_written_in_what_the_alerts_are_derived_from():
    assert "cause" not in rows("metrics.csv")[0].keys() | rows("normal.csv")[0].keys()
    assert "petInfo" not in (FOLDER / "thresholds.yaml").read_text(encoding="utf-8")


def test_a_sending_is_a_postable_alert_that_expires_unless_sent_again():
    alert = demo.alerts()[0]

    body = demo.postable(alert, NOON)

    assert body.keys() == {"labels", "annotations", "startsAt", "endsAt", "generatorURL"}
    assert body["startsAt"] == "2026-01-01T12:05:00.000Z"
    assert body["endsAt"] == "2026-01-01T12:09:00.000Z"
    assert body["generatorURL"] == ""


def test_a_resolve_says_when_the_condition_ended_and_keeps_the_onset():
    alert = next(alert for alert in demo.alerts() if not alert.firing)

    body = demo.postable(alert, NOON)

    assert datetime.fromisoformat(body["endsAt"]) == NOON + timedelta(seconds=alert.offset_s)
    assert datetime.fromisoformat(body["startsAt"]) == NOON + timedelta(seconds=alert.starts_s)


def test_the_recording_is_small():
    assert sum((FOLDER / name).stat().st_size for name in ("metrics.csv", "normal.csv")) < 200_000


@needs_data
def test_the_recording_is_what_the_build_script_makes_of_the_public_data(tmp_path: Path):
    build_script().make(DATA, tmp_path)

    for name in ("metrics.csv", "normal.csv"):
        assert (tmp_path / name).read_bytes() == (FOLDER / name).read_bytes()


@needs_data
def test_the_topology_holds_exactly_the_recorded_calls_besides_the_two_behind_load_balancers():
    graph = demo.topology()
    recorded = set()
    with (DATA / "topology.csv").open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            if row["scenario"] == "low_traffic":
                (caller,), (callee,) = graph.named(row["caller"]), graph.named(row["callee"])
                recorded.add((caller, callee))
    recorded = {(caller, callee) for caller, callee in recorded if caller != callee}

    calls = {(call.source, call.target) for call in graph.relationships if call.type == "calls"}
    assert calls - recorded == {("search-lb", "pet-search"), ("list-lb", "list-adoptions")}
    assert recorded - calls == set()
