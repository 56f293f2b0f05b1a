"""What a new version of a large topology costs a running engine: a delta of one per cent, one of ten CIs, and the
whole, each with thousands of open alerts; what a checkpoint writes of it, and how long a start takes to read it back.

    python benchmarks/topology_versions.py --seed 1 --alerts 5000 --within 60
"""

import argparse
import random
import resource
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import estates
import landscape
import msgspec

from correlation.settings import CorrelationSettings
from foreshock.core.contracts import Record, RecordKind
from foreshock.service import memory
from foreshock.service.engine import Engine
from foreshock.service.records import SettingsRecord, TopologyRecord
from foreshock.service.rule_files import load_rules
from foreshock.service.settings import collector_kinds, load_settings, rule_kinds

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


@contextmanager
def timed(what: str) -> Iterator[None]:
    began, worked = time.perf_counter(), time.process_time()
    yield
    took, cpu = time.perf_counter() - began, time.process_time() - worked
    print(f"{what:<66} {took:7.3f} s, {cpu:7.3f} s of CPU", flush=True)


class Running:
    """An engine that hears one record after the other."""

    def __init__(self) -> None:
        self.engine = Engine(collector_kinds(), rule_kinds())
        self._number, self._at = 0, NOON
        rules = load_rules(load_settings(None, {}, {}).rules)
        wanted = SettingsRecord(correlation=CorrelationSettings().model_dump(mode="json"), sinks=("desk",), rules=rules)
        self.hear(RecordKind.SETTINGS, msgspec.json.encode(wanted))

    def hear(self, kind: RecordKind, body: bytes, *, after_s: float = 1.0) -> None:
        self._number, self._at = self._number + 1, self._at + timedelta(seconds=after_s)
        kinds = ("alertmanager", "bench") if kind is RecordKind.EVENTS else ("", "")
        record = Record(number=self._number, at=self._at, kind=kind, body=body, collector=kinds[0], source=kinds[1])
        self.engine.step([(record, None)])

    def alerts(self, cis: list[str], every_s: float = 0.5) -> None:
        """All firing, a hundred a record."""
        for first in range(0, len(cis), 100):
            started = estates.moment(self._at)
            items = [estates.alert(ci, f"Down{n % 7}", started) for n, ci in enumerate(cis[first : first + 100])]
            self.hear(RecordKind.EVENTS, msgspec.json.encode(items), after_s=every_s)

    def saved(self) -> dict[tuple[str, str], bytes | None]:
        found = {(kind, key): body for kind, key, body in self.engine.checkpoint()}
        self.engine.saved()
        return found


def megabytes(pieces: dict[tuple[str, str], bytes | None], kind: str = "topology") -> float:
    return sum(len(body or b"") for (of, _), body in pieces.items() if of == kind) / 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--cis", type=int, default=100_000)
    parser.add_argument("--relationships", type=int, default=400_000)
    parser.add_argument("--alerts", type=int, default=5_000)
    parser.add_argument("--within", type=float, default=7_200, help="seconds over which they began")
    given = parser.parse_args()
    memory.look_rarely()
    cis, ties = landscape.estate(given.seed, given.cis, given.relationships)
    body = msgspec.json.encode(TopologyRecord(version="0", cis=tuple(cis), relationships=tuple(ties)))
    running = Running()
    with timed(f"the first version: {len(cis)} CIs, {len(ties)} relationships"):
        running.hear(RecordKind.TOPOLOGY, body)
    draw = random.Random(given.seed)
    with timed(f"{given.alerts} alerts, which began within {given.within:.0f} s"):
        every_s = given.within * 100 / given.alerts
        running.alerts([draw.choice(cis).id for _ in range(given.alerts)], every_s)
    engine = running.engine
    print(f"{engine.active} alerts fire in {len(engine.situations)} situations")
    with timed("a checkpoint of everything"):
        state = running.saved()
    print(f"    of the topology {megabytes(state):.1f} MB")
    for number, share in enumerate((0.01, 0.01, 0.01, *[0.0001] * 7), 1):
        delta = landscape.churn(list(engine.topology.cis.values()), list(engine.topology.relationships), number, share)
        part = TopologyRecord(version=str(number), base=str(number - 1), delta=delta)
        body = msgspec.json.encode(part)
        with timed(f"a delta of {len(delta.put_cis)} + {len(delta.gone_cis)} CIs, "
                   f"{len(delta.put_relationships)} + {len(delta.gone_relationships)} relationships"):  # fmt: skip
            running.hear(RecordKind.TOPOLOGY, body)
        with timed("    its checkpoint"):
            changed = running.saved()
        state |= changed
        print(f"    of the topology {megabytes(changed):.2f} MB")
    with timed("a hundred alerts after it"):
        running.alerts([draw.choice(cis).id for _ in range(100)])
    whole = TopologyRecord(
        version="whole", cis=tuple(engine.topology.cis.values()), relationships=tuple(engine.topology.relationships)
    )
    body = msgspec.json.encode(whole)
    with timed("the same whole, for comparison"):
        running.hear(RecordKind.TOPOLOGY, body)
    restored = Engine(collector_kinds(), rule_kinds())
    graph = [(kind, key, body) for (kind, key), body in state.items() if body is not None]
    with timed("a start that reads all of it"):
        restored.restore(graph)
    restored = Engine(collector_kinds(), rule_kinds())
    with timed("a start that reads the topology only"):
        restored.restore(one for one in graph if one[0] == "topology")
    print(f"peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB, Python {sys.version[:6]}")


if __name__ == "__main__":
    main()
