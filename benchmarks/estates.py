"""Made-up topologies, alerts about what stands in them, and an engine in this process that knows them."""

import sys
from collections.abc import Callable, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import product

from cmdb_sync.file import FileConfig, FileSource
from correlation.settings import CorrelationSettings
from foreshock.core.contracts import Record, RecordKind
from foreshock.service.engine import Engine
from foreshock.service.records import SettingsRecord, TopologyRecord
from foreshock.service.rule_files import load_rules
from foreshock.service.settings import collector_kinds, load_settings, rule_kinds

FAR = "2099-01-01T00:00:00Z"


def write_topology(folder: Path, kinds: Sequence[str], needs: Sequence[tuple[str, str]], names: Sequence[str]) -> Path:
    """CSV files of CIs and what each depends on; settings for a Foreshock beside them."""
    folder.mkdir(parents=True, exist_ok=True)
    nodes = "".join(f"{name},{kind}\n" for name, kind in zip(names, kinds, strict=True))
    (folder / "nodes.csv").write_text(f"node,type\n{nodes}")
    edges = "".join(f"{source},{target},depends_on\n" for source, target in needs)
    (folder / "topology.csv").write_text(f"source,target,relation\n{edges}")
    return product.write_settings(folder.parent, folder)


def alert(ci: str, name: str, started: str, *, ended: str = FAR) -> dict[str, Any]:
    labels = {"alertname": name, "instance": f"{ci}:9100", "ci": ci, "severity": "critical", "job": "bench"}
    summary = f"{name} on {ci}: the value has been above its threshold for five minutes"
    return {"labels": labels, "annotations": {"summary": summary}, "startsAt": started, "endsAt": ended}


def moment(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def new_engine(topology: Path, at: datetime) -> tuple[Engine, Any, Callable[[RecordKind, bytes, datetime], Record]]:
    """An engine with the default rules and a topology in force; Prometheus's collector; a maker of further records."""
    numbers = iter(range(1, sys.maxsize))

    def record(kind: RecordKind, body: bytes, at: datetime) -> Record:
        kinds = ("alertmanager", "bench") if kind is RecordKind.EVENTS else ("", "")
        return Record(number=next(numbers), at=at, kind=kind, body=body, collector=kinds[0], source=kinds[1], actor="")

    collectors = collector_kinds()
    engine = Engine(collectors, rule_kinds())
    rules = load_rules(load_settings(None, {}, {}).rules)
    wanted = SettingsRecord(correlation=CorrelationSettings().model_dump(mode="json"), sinks=("desk",), rules=rules)
    known = FileSource("bench", FileConfig(path=topology)).fetch()
    read = TopologyRecord(version=known.version, cis=known.cis, relationships=known.relationships)
    engine.step([(record(RecordKind.SETTINGS, msgspec.json.encode(wanted), at), None)])
    engine.step([(record(RecordKind.TOPOLOGY, msgspec.json.encode(read), at), None)])
    return engine, collectors["alertmanager"], record
