"""What every broker's collector promises, with the brokers themselves."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

import collectors
from collectors import nats
from foreshock.connect import brokers
from foreshock.core.contracts import Collector, Listener, Outcome
from foreshock.core.errors import Unavailable
from foreshock.core.model import Event, read_labels
from foreshock.core.registry import kinds
from foreshock.testing import dying_listener
from foreshock.testing.brokers import BROKERS, Broker
from foreshock.testing.fakes import Taken
from foreshock.testing.records import Story

KINDS = kinds(collectors, "COLLECTOR", Collector)
FIRING, RESOLVED = (
    json.dumps(
        {"labels": {"alertname": "Down", "host": "pump-1"}, "status": status, "starts_at": "2026-11-22T03:00:00Z"}
    ).encode()
    for status in ("firing", "resolved")
)
WITHIN_S = 60.0


@pytest.fixture(scope="module", params=BROKERS, ids=lambda broker: broker.kind)
def broker(request: pytest.FixtureRequest, require: Callable[..., None]) -> Iterator[Broker]:
    require(*request.param.needs)
    with request.param() as running:
        yield running


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nats, "_ACK_WAIT_S", 1.0)
    monkeypatch.setattr(brokers, "_PAUSES_S", (0.1,))
    monkeypatch.setattr(brokers, "_TAKE_PAUSES_S", (0.1,))


def listener(broker: Broker, **settings: Any) -> Listener:
    declared = KINDS[broker.kind].listen
    assert declared is not None
    built = declared.build("lab", declared.config.model_validate({**broker.settings(), **settings}))
    assert built is not None
    return built


def listening(broker: Broker, test: Callable[[Taken], Awaitable[None]], **settings: Any) -> Taken:
    """What an instance handed over while ``test`` ran beside it."""

    async def both() -> Taken:
        taken = Taken()
        running = asyncio.create_task(listener(broker, **settings).run(taken))
        beside = asyncio.create_task(asyncio.wait_for(test(taken), WITHIN_S))
        await asyncio.wait({running, beside}, return_when=asyncio.FIRST_COMPLETED)
        beside.cancel()
        for _ in range(5):  # a library may lose a cancellation; who stops listeners for real ends their process
            running.cancel()
            if (await asyncio.wait({running}, timeout=5))[0]:
                break
        assert running.done(), f"the listener goes on although it was cancelled: {running.get_stack()}"
        with suppress(asyncio.CancelledError):
            await running
        await beside
        return taken

    return asyncio.run(both())


async def until(look: Callable[[], object]) -> None:
    async with asyncio.timeout(WITHIN_S):
        while not look():  # noqa: ASYNC110 - it may be anything
            await asyncio.sleep(0.02)


async def until_connected(taken: Taken) -> None:
    await until(lambda: taken.addresses)


def test_messages_are_handed_over_in_order_and_do_not_come_again_once_they_are_kept(broker: Broker):
    async def two(taken: Taken) -> None:
        await until_connected(taken)
        await broker.publish([FIRING, RESOLVED])
        await until(lambda: len(taken.payloads) == 2)
        await asyncio.sleep(0.2)  # for the acknowledgement to be on its way

    async def another(taken: Taken) -> None:
        await until_connected(taken)
        await broker.publish([b"[]"])
        await until(lambda: taken.payloads)

    first, second = listening(broker, two), listening(broker, another)

    assert first.payloads == [("events", FIRING), ("events", RESOLVED)]
    assert second.payloads == [("events", b"[]")]
    assert first.problems == second.problems == []


def test_what_comes_while_nobody_listens_waits_at_the_broker(broker: Broker):
    async def what_waits(taken: Taken) -> None:
        await until(lambda: taken.payloads)

    listening(broker, until_connected)
    asyncio.run(broker.publish([FIRING]))

    assert listening(broker, what_waits).payloads == [("events", FIRING)]


def test_a_kill_between_keeping_and_acknowledging_loses_nothing_and_makes_no_second_alert(
    broker: Broker, tmp_path: Path
):
    file = tmp_path / "kept"
    listening(broker, until_connected)
    asyncio.run(broker.publish([FIRING, RESOLVED]))

    died = subprocess.run(
        [sys.executable, dying_listener.__file__, broker.kind, json.dumps(broker.settings()), str(file)],
        timeout=WITHIN_S,
        check=False,
    )

    async def the_rest(taken: Taken) -> None:
        await until(lambda: len(taken.payloads) >= 2)

    again = listening(broker, the_rest)
    assert died.returncode == -9
    assert dying_listener.kept_in(file) == [("events", FIRING)]
    assert again.payloads == [("events", FIRING), ("events", RESOLVED)]
    story = Story().at(60)
    for collector, payload in [*dying_listener.kept_in(file), *again.payloads]:
        story.after(1).body(payload, collector=collector, source="lab")
    assert len(story.engine.alerts) == 1
    assert len(story.engine.situations) == 1
    (alert,) = story.engine.alerts.values()
    assert alert.ends_at is not None


def test_while_nothing_can_be_kept_messages_wait_and_keep_their_order(broker: Broker):
    async def full_for_a_while(taken: Taken) -> None:
        await until_connected(taken)
        taken.refuse = Unavailable("the disk is full")
        await broker.publish([FIRING, RESOLVED])
        await until(lambda: any("the disk is full" in problem for problem in taken.problems))
        taken.refuse = None
        await until(lambda: len(taken.payloads) >= 2)
        await until(lambda: taken.problems[-1] == "")

    taken = listening(broker, full_for_a_while)

    assert taken.payloads == [("events", FIRING), ("events", RESOLVED)]


def test_a_message_that_cannot_be_read_is_kept_once_as_a_dead_letter(broker: Broker):
    async def poison(taken: Taken) -> None:
        await until_connected(taken)
        await broker.publish([b"\xff no JSON", FIRING])
        await until(lambda: len(taken.payloads) == 2)
        await asyncio.sleep(0.2)

    taken = listening(broker, poison)

    story = Story()
    for collector, payload in taken.payloads:
        story.after(1).body(payload, collector=collector, source="lab")
    (letter,) = story.told.dead_letters
    assert (letter.source, letter.payload) == ("lab", b"\xff no JSON")
    assert len(story.engine.alerts) == 1


def test_messages_are_read_as_another_kind_where_the_settings_say_so(broker: Broker):
    async def one(taken: Taken) -> None:
        await until_connected(taken)
        await broker.publish([b'{"alerts": []}'])
        await until(lambda: taken.payloads)
        await asyncio.sleep(0.2)

    assert listening(broker, one, reads="alertmanager_webhook").payloads == [
        ("alertmanager_webhook", b'{"alerts": []}')
    ]


def test_messages_are_read_by_a_mapping_that_goes_with_them(broker: Broker, tmp_path: Path):
    file = tmp_path / "mapping.yaml"
    file.write_text("labels: {alertname: what, host: where, topic: _head.topic}\nresolved: state == 'ok'\n")

    async def two(taken: Taken) -> None:
        await until_connected(taken)
        await broker.publish(
            [b'{"what": "Hot", "where": "pump-1", "state": "' + state + b'"}' for state in (b"hot", b"ok")]
        )
        await until(lambda: len(taken.payloads) == 2)
        await asyncio.sleep(0.2)

    taken = listening(broker, two, mapping=str(file))

    story = Story()
    for collector, payload in taken.payloads:
        story.after(1).body(payload, collector=collector, source="lab")
    assert {collector for collector, _ in taken.payloads} == {"webhook"}
    (alert,) = story.engine.alerts.values()
    assert alert.ends_at is not None
    event = KINDS["webhook"].translate(KINDS["webhook"].decode(taken.payloads[0][1])[0], story.now)
    assert isinstance(event, Event)
    assert read_labels(event.labels)["topic"] in ("alerts.lab", "alerts", "foreshock", "lab/alarms")


def test_what_is_no_message_is_counted_and_what_is_too_large_is_kept_cut(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(brokers, "MAX_MESSAGE_BYTES", 300)
    monkeypatch.setattr(brokers, "_CUT_BYTES", 20)

    async def odd(taken: Taken) -> None:
        await until_connected(taken)
        await broker.publish([b"", b"[" + b" " * 400 + b"]", FIRING])
        await until(lambda: len(taken.payloads) == 2)
        await asyncio.sleep(0.2)

    taken = listening(broker, odd)

    assert taken.payloads == [("events", b"[" + b" " * 19), ("events", FIRING)]
    assert taken.counts == {Outcome.IGNORED: 1}


def test_a_broker_that_was_away_is_connected_with_again_and_that_is_said(broker: Broker):
    if broker.server is None:
        pytest.skip("this broker lives in the test's own process")
    server = broker.server

    async def restart(taken: Taken) -> None:
        await until_connected(taken)
        await asyncio.to_thread(server.kill)
        await until(lambda: any("connecting again" in problem for problem in taken.problems))
        await asyncio.to_thread(server.start)
        await until(lambda: len(taken.addresses) == 2)
        await broker.publish([FIRING])
        await until(lambda: taken.payloads)
        await asyncio.sleep(0.2)

    taken = listening(broker, restart)

    assert taken.payloads == [("events", FIRING)]
    assert taken.problems[-1] == ""
