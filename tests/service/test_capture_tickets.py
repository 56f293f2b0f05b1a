"""What became of tickets is in a capture, so that a replay of it decides the same."""

from pathlib import Path
from typing import Any

import msgspec
import pytest

from foreshock.core.contracts import ProblemReading, Record, RecordKind, TicketChange
from foreshock.service.anonymise import anonymised
from foreshock.service.recorded import inputs_of
from foreshock.service.replay import AS_RECORDED, prepared
from foreshock.service.settings import collector_kinds
from foreshock.store.capture import Head, read_capture, write_capture
from foreshock.testing.records import Story, Told, new_engine

STEPS = [{"after": "5m", "tell": ["{group}"]}, {"after": "15m", "tell": ["{group}", "boss of storage"]}]
SETTINGS = {
    "escalation": [{"name": "storage", "priorities": [1, 2, 3, 4, 5], "groups": ["storage team"], "steps": STEPS}],
    "sla": {"targets": [{"priority": 3, "resolve": "30m"}], "warn_at": [50, 100]},
    "ticket": {"close_codes": {"was us": "no_fault"}, "text": {"title": "{{ cause.ci }}, ask mira"}},
    "problem": {"occurrences": 2},
}


def outages() -> Story:
    """Of one database: people close the first as no fault, take the second, resolve the third and write on it."""
    story = Story("shop depends_on db", owners={"db": "storage team"}, settings=SETTINGS, sinks=("desk",))
    for number, does in enumerate(("closed", "taken", "resolved", "nothing"), 1):
        story.fire("db", holds_s=7200).after(40).tick()
        story.sink_says("confirmed", f"S-{number}", sequence=number, number=f"INC{number}")
        story.after(600).tick()
        if does != "nothing":
            story.person(does, f"S-{number}", code="was us" if does == "closed" else "", comment="see mira")
        story.after(1200).resolve("db").after(9000).tick()
    return story


def replayed(records: list[Record]) -> Told:
    engine, told = new_engine(), Told()
    for record, _ in prepared(inputs_of(enumerate(records), "capture", collector_kinds()), AS_RECORDED):
        told.hear(engine.step([(record, None)]))
    return told


def decided(told: Told) -> list[Any]:
    orders = [(one.at, one.sink, one.situation, one.verb, one.note, one.fields) for one in told.orders]
    problems = [(one.at, one.key, one.verb, one.incidents, one.fields) for one in told.problem_orders]
    return [orders, problems, [(one.at, one.kind, one.level, one.audience, one.text) for one in told.notices]]


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_a_replay_of_a_capture_decides_the_same_of_tickets_notices_and_problems(tmp_path: Path, form: str):
    story = outages()
    read = TicketChange(
        sink="desk", situation="P-1", sequence=99, state="read",
        problem=ProblemReading(ended="closed", by="mira", known_error="restart it"),
    )  # fmt: skip
    story._add(RecordKind.TICKET, msgspec.json.encode(read))
    story.incident("db")
    path = tmp_path / f"capture.{form}"
    write_capture(path, Head(), story.records)
    told = replayed([entry for _, entry in read_capture(path) if isinstance(entry, Record)])

    assert decided(told) == decided(story.told)
    assert all(decided(told))


def test_without_names_a_replay_still_decides_the_same_at_the_same_times():
    story = outages()
    choice, key = {"annotations": "words"}, b"a secret of the people who export"
    without = [
        one
        for one in anonymised(lambda: iter(story.records), choice, key, collector_kinds())
        if isinstance(one, Record)
    ]
    told = replayed(without)

    def shape(of: Told) -> list[Any]:
        orders = [(one.at, one.sink, one.situation, one.verb, one.fields["priority"]) for one in of.orders]
        problems = [(one.at, one.key, one.verb) for one in of.problem_orders]
        return [orders, problems, [(one.at, one.kind, one.level, len(one.audience)) for one in of.notices]]

    assert shape(told) == shape(story.told)
    (owner,) = {one.fields["assignment_group"] for one in told.orders}
    assert (owner,) in {one.audience for one in told.notices}
    said = b"".join(one.body + one.actor.encode() for one in without).decode()
    assert [name for name in ("mira", "storage", "boss", "INC1", "INC2") if name in said] == []
    assert "was us" in said  # what it means to close a ticket so is of the settings
