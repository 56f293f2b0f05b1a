"""Fixtures that several tests of the service use."""

from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path

import msgspec
import pytest

from foreshock.core.contracts import Record, RecordKind
from foreshock.service import demo
from foreshock.service.demo.run import SETTINGS
from foreshock.service.records import SettingsRecord, TopologyRecord


@pytest.fixture
def here(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory: a folder of its own with the ``FILES`` of the test's module, and no configuration."""
    for name, text in request.module.FILES.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FORESHOCK_CONFIG", raising=False)
    return tmp_path


@pytest.fixture(scope="session")
def recorded_outage() -> bytes:
    """What a capture of the demo holds."""
    start = datetime(2026, 1, 1, 12, tzinfo=UTC)
    sections: dict[str, dict[str, object]] = {}
    for name, value in SETTINGS.items():
        first, section, *key = name.split(".")
        if first == "correlation":
            sections.setdefault(section, {})[".".join(key)] = value
    topology = demo.topology()
    cis, ties = tuple(topology.cis.values()), topology.relationships
    bodies = [
        (RecordKind.SETTINGS, 0.0, SettingsRecord(correlation=sections, sinks=("desk",))),
        (RecordKind.TOPOLOGY, 0.0, TopologyRecord(version="demo", cis=cis, relationships=ties)),
    ]
    sent = groupby(demo.alerts(), key=lambda alert: alert.offset_s)
    bodies += [(RecordKind.EVENTS, at, [demo.postable(one, start) for one in alerts]) for at, alerts in sent]
    return b"".join(
        msgspec.json.encode(
            Record(
                number=number,
                at=start + timedelta(seconds=at),
                kind=kind,
                collector="alertmanager" if kind is RecordKind.EVENTS else "",
                source="petshop",
                body=msgspec.json.encode(body),
            )
        )
        + b"\n"
        for number, (kind, at, body) in enumerate(bodies, 1)
    )
