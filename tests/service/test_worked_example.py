"""The worked example of docs/how-foreshock-decides.md says what the demo's recording really leads to."""

import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cmdb_sync.file import FileConfig, FileSource
from foreshock.service import weighing
from foreshock.service.demo.run import SETTINGS
from foreshock.service.demo.source import TOPOLOGY_FILE, alerts, postable
from foreshock.service.engine import Engine
from foreshock.service.explain import counted
from foreshock.service.recorded import read_input
from foreshock.service.replay import Version, prepared
from foreshock.service.settings import collector_kinds, load_settings, rule_kinds

DOCS = Path(__file__).parents[2] / "docs" / "how-foreshock-decides.md"
BEGAN = datetime(2026, 11, 22, 9, tzinfo=UTC)
NINE_MINUTES, FIFTEEN_MINUTES = 540, 900


def documented() -> str:
    return DOCS.read_text().partition("## A worked example")[2]


def after(seconds: float, folder: Path) -> Engine:
    """The engine so long after the first alert of the recording."""
    stream = folder / "demo.jsonl"
    recorded = alerts()
    with stream.open("w") as file:
        for sent in recorded:
            if sent.offset_s <= recorded[0].offset_s + seconds:
                at = BEGAN + timedelta(seconds=sent.offset_s)
                file.write(json.dumps({"at": at.isoformat(), "alert": postable(sent, BEGAN)}) + "\n")
    collectors = collector_kinds()
    settings = load_settings(None, {}, SETTINGS)
    topology = FileSource("demo", FileConfig(path=TOPOLOGY_FILE)).fetch()
    version = Version(topology=topology, settings=settings.correlation)
    engine = Engine(collectors, rule_kinds())
    for record, _ in prepared(read_input(stream, None, collectors), version):
        engine.step([(record, None)])
    return engine


def told(engine: Engine) -> Iterator[str]:
    """The lines with figures of `explain`, for all situations."""
    threshold = engine.settings.group.threshold
    for situation in engine.situations.values():
        for cause in weighing.causes(engine, situation):
            parts = "; ".join(f"{part.evidence} ({part.points:+.2f})" for part in cause.contributions)
            yield f"cause {cause.ci} ({cause.score:.2f}): {parts}"
        for member in situation.members.values():
            if (why := member.link) is not None:
                apart = f"{why.gap_s:.0f} s apart, strength {why.strength:.2f} against {threshold:.2f}"
                yield f"  {why.rule}: {' -> '.join(why.path)}, {apart}"
            for other in member.considered:
                yield f"not {other.situation} ({other.rule}, strength {other.strength:.2f}): {other.why}"


def test_the_figures_of_the_first_nine_minutes_are_those_of_the_engine(tmp_path: Path):
    engine = after(NINE_MINUTES, tmp_path)
    first = documented().partition("$ foreshock explain S-3")[0]
    said = set(told(engine))

    shown = re.findall(r"^(?:cause .*|  \S+@\S+: .* strength .* against .*)$", first, re.MULTILINE)
    shown += re.findall(r"not S-\d+ \(.*$", first, re.MULTILINE)
    assert len(shown) >= 6
    assert [line for line in shown if line not in said] == []
    tags = sorted(rule.tag for rule in engine.rules)
    assert set(re.findall(r"decided by: rules (.*?);", first)) == {", ".join(tags)}


def test_an_alert_that_came_later_is_far_from_the_outage_as_a_whole(tmp_path: Path):
    engine = after(FIFTEEN_MINUTES, tmp_path)
    outage, stranger = engine.situations["S-1"], engine.situations["S-3"]
    (alert,) = engine.members(stranger)

    (shown,) = re.findall(r"all of S-1 then: ([0-9.]+) against 0.40", documented())[-1:]
    assert counted(engine, alert, outage, engine.members(outage)) == pytest.approx(float(shown), abs=0.005)
