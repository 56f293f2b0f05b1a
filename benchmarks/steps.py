"""What each step of the way of an alert costs, in this process: the mixed stream through the same code, by CPU time."""

import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import product
from estates import new_engine

from foreshock.core.contracts import Items, NewRecord, Record, RecordKind, Step
from foreshock.core.model import Event, read_annotations, read_labels
from foreshock.service.engine import Engine
from foreshock.service.runner import _row
from foreshock.store.journal import Journal
from foreshock.store.migrations import upgrade_journal


class Stopwatch:
    """CPU seconds of this process, by what they went into."""

    def __init__(self) -> None:
        self.spent: dict[str, float] = {}

    def __call__(self, what: str, work: Callable[[], Any]) -> Any:
        began = time.process_time()
        result = work()
        self.spent[what] = self.spent.get(what, 0.0) + time.process_time() - began
        return result


def tell(work: Path, count: int) -> None:
    watch, engine, collector, records = Stopwatch(), *engine_and_records(work, count)
    journal = Journal(f"sqlite:///{work / 'steps.db'}")
    upgrade_journal(journal)
    try:
        walk(watch, journal, engine, collector, records)
        each = resend_s(engine, collector, records[-200:])
    finally:
        journal.close()
        for path in work.glob("steps.db*"):
            path.unlink()
    events = sum(len(collector.decode(record.body)) for record in records)
    print("### What each step costs (mixed stream, 64 a request, 16 requests a step, one process without HTTP)\n")
    rows = [(what, f"{used / events * 1e6:.1f}") for what, used in watch.spent.items()]
    rows.append(("sum", f"{sum(watch.spent.values()) / events * 1e6:.1f}"))
    rows.append(("of which the engine's look-up of a re-send, each", f"{each * 1e6:.1f}"))
    product.table(("step", "CPU µs per alert"), rows)


def walk(watch: Stopwatch, journal: Journal, engine: Engine, collector: Any, records: Sequence[Record]) -> None:
    """All records through every step, 16 of them at once."""
    position = 0
    for start in range(0, len(records), 16):
        given, rows = [], []
        for record in records[start : start + 16]:
            items = watch("decode", partial(collector.decode, record.body))
            given.append((record, Items(items, watch("check", partial(new_labels, engine, collector, items)))))
            new = NewRecord(kind=RecordKind.EVENTS, body=record.body, items=len(items))
            rows.append((record.number, record.at, new))
        watch("inbox: compress, write, sync", partial(journal.append, rows))
        effects = watch("engine", partial(engine.step, given))
        step = Step(
            read_from=position,
            position=position + len(rows),
            situations=[_row(situation, effects.ended.get(id)) for id, situation in effects.situations.items()],
            orders=effects.orders,
            audit=effects.audit,
        )
        watch("commit of the engine's step", partial(journal.commit, step))
        position += len(rows)


def new_labels(engine: Engine, collector: Any, items: Sequence[Any]) -> dict[int, dict[str, str]]:
    """The labels of those items that the engine has not seen, by index: what intake checks before it answers."""
    labels, known = {}, engine.known.setdefault(collector.namespace, {})
    for index, item in enumerate(items):
        event = collector.translate(item, engine.now)
        assert isinstance(event, Event)
        if known.get(bytes(event.labels)) is None:
            labels[index] = read_labels(event.labels)
            read_annotations(event.annotations)
    return labels


def resend_s(engine: Engine, collector: Any, records: Sequence[Record]) -> float:
    """CPU seconds for each alert of ``records`` that fires already and says nothing new."""
    known = engine.known[collector.namespace]
    given = []
    for record in records:
        items = [
            item for item in collector.decode(record.body) if (one := known.get(bytes(item.labels))) and one.firing
        ]
        given.append((record, Items(items, {})))
    engine.step(given)  # whatever else they were is over now
    repeats, began = engine.counts["repeat"], time.process_time()
    engine.step(given)
    return (time.process_time() - began) / max(1, engine.counts["repeat"] - repeats)


def engine_and_records(work: Path, events: int) -> tuple[Engine, Any, list[Record]]:
    """An engine with the default rules and the 10,000 CIs in force, its collector, and the mixed stream as records."""
    engine, collector, record = new_engine(work / "topology", datetime.now(UTC))
    lines = (work / "data" / f"stream-{events}.jsonl").read_bytes().splitlines()
    at = engine.now
    records = []
    for start in range(0, len(lines), 64):
        at += timedelta(milliseconds=1)
        body = b"[" + b",".join(lines[start : start + 64]) + b"]"
        records.append(record(RecordKind.EVENTS, body, at))
    return engine, collector, records
