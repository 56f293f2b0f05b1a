"""The outage of the demo, as a capture of it would hold it."""

from datetime import UTC, datetime, timedelta
from itertools import groupby
from typing import Any

import msgspec

from foreshock.core.contracts import Record, RecordKind
from foreshock.service import demo
from foreshock.service.demo.run import SETTINGS
from foreshock.service.records import SettingsRecord, TopologyRecord


def recorded_outage() -> bytes:
    """What a capture of the demo holds."""
    start = datetime(2026, 1, 1, 12, tzinfo=UTC)
    sections: dict[str, dict[str, object]] = {}
    for name, value in SETTINGS.items():
        first, section, *key = name.split(".")
        if first == "correlation":
            sections.setdefault(section, {})[".".join(key)] = value
    topology = demo.topology()
    cis, ties = tuple(topology.cis.values()), tuple(topology.relationships)
    bodies: list[tuple[RecordKind, float, Any]] = [
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
