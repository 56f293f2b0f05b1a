"""What every broker's collector promises, with the brokers themselves."""

import asyncio
import gc
import json
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

import collectors
from collectors import nats
from foreshock.connect import brokers
from foreshock.core.contracts import Collector, Listener, Outcome, as_posted
from foreshock.core.errors import Denied, Unavailable
from foreshock.core.model import Event, read_labels
from foreshock.core.registry import kinds
from foreshock.testing import dying_listener
from foreshock.testing.brokers import BROKERS, GUARDED, Broker, Guard
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


@pytest.fixture(scope="module", params=BROKERS, ids=lambda broker: broker.__name__)
def broker(request: pytest.FixtureRequest, require: Callable[..., None]) -> Iterator[Broker]:
    require(*request.param.needs)
    if request.param.away:
        pytest.skip(request.param.away)
    with request.param() as running:
        yield running


@pytest.fixture(scope="module", params=GUARDED, ids=lambda broker: broker.__name__)
def guarded(request: pytest.FixtureRequest, require: Callable[..., None], certificate: Path) -> Iterator[Broker]:
    require(*request.param.needs)
    with request.param(Guard(certificate)) as running:
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
        running.cancel()
        await asyncio.wait({running}, timeout=WITHIN_S)
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
        await until(lambda: len(taken.payloads) >= 2)
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


def test_a_kill_between_keeping_and_acknowledging_loses_nothing_overtakes_nothing_and_makes_no_second_alert(
    broker: Broker, tmp_path: Path
):
    file = tmp_path / "kept"
    listening(broker, until_connected)
    asyncio.run(broker.publish([FIRING]))

    died = subprocess.run(
        [sys.executable, dying_listener.__file__, broker.kind, json.dumps(broker.settings()), str(file)],
        timeout=WITHIN_S,
        check=False,
    )
    asyncio.run(broker.publish([RESOLVED]))

    async def the_rest(taken: Taken) -> None:
        await until(lambda: len(taken.payloads) >= 2)

    again = listening(broker, the_rest)
    assert died.returncode == -signal.SIGKILL
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
        await until(lambda: len(taken.payloads) >= 2)
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
    labels = "alertname: what, host: where, topic: _head.topic, team: '_head.headers.\"x-team\"'"
    file.write_text(f"labels: {{{labels}}}\nresolved: state == 'ok'\nheaders: [X-Team]\n")

    async def two(taken: Taken) -> None:
        await until_connected(taken)
        states = [b'{"what": "Hot", "where": "pump-1", "state": "' + state + b'"}' for state in (b"hot", b"ok")]
        await broker.publish(states, {"X-Team": "pumps", "X-Other": "left out"})
        await until(lambda: len(taken.payloads) >= 2)
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
    found = read_labels(event.labels)
    assert found["team"] == "pumps"
    assert found["topic"] in ("alerts.lab", "alerts", "foreshock", "lab/alarms") or found["topic"].startswith(
        "foreshock-test"
    )
    assert b"left out" not in taken.payloads[0][1]


def test_an_event_with_its_attributes_in_headers_is_read_as_its_binding_has_them(broker: Broker):
    attributes = {"specversion": "1.0", "type": "Höt", "source": "/hall/1", "id": "1", "subject": "pump-1"}
    http = broker.prefix == "ce-"  # NATS has them as HTTP does
    headers = {broker.prefix + name: quote(value) if http else value for name, value in attributes.items()}

    async def three(taken: Taken) -> None:
        await until_connected(taken)
        await broker.publish([b'{"status": "firing"}', b'{"status": "resolved"}', b""], headers)
        await until(lambda: len(taken.payloads) >= 3)
        await asyncio.sleep(0.2)

    taken = listening(broker, three, reads="cloudevents")

    read = KINDS["cloudevents"]
    events = []
    for (collector, payload), beside in zip(taken.payloads, taken.headers, strict=True):
        assert (collector, beside is None) == ("cloudevents", False)
        kept = as_posted(read, beside or {}, payload)
        assert kept is not None
        (item,) = read.decode(kept)
        event = read.translate(item, Story().now)
        assert isinstance(event, Event)
        events.append(event)
    firing, resolved, bare = events
    assert read_labels(firing.labels) == {"alertname": "Höt", "ci": "pump-1", "source": "/hall/1"}
    assert firing.labels == resolved.labels == bare.labels
    assert (firing.ends_at is None, resolved.ends_at is None) == (True, False)


def test_what_is_no_message_is_counted_and_what_is_too_large_is_kept_cut(
    broker: Broker, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(brokers, "MAX_MESSAGE_BYTES", 300)
    monkeypatch.setattr(brokers, "_CUT_BYTES", 20)

    async def odd(taken: Taken) -> None:
        await until_connected(taken)
        await broker.publish([b"", b"[" + b" " * 400 + b"]", FIRING])
        await until(lambda: len(taken.payloads) >= 2)
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


# ---- who may read ---------------------------------------------------------------------------------------------------


def proof(broker: Broker, folder: Path, password: str) -> dict[str, Any]:
    assert broker.guard is not None
    file = folder / "password"
    file.touch(mode=0o600)
    file.write_text(password)
    return {"user": broker.guard.user, "password_file": str(file), "ca_file": str(broker.guard.certificate)}


def test_with_its_user_and_over_tls_messages_come_as_in_clear(guarded: Broker, tmp_path: Path):
    async def one(taken: Taken) -> None:
        await until_connected(taken)
        await guarded.publish([FIRING])
        await until(lambda: taken.payloads)
        await asyncio.sleep(0.2)

    assert guarded.guard is not None
    taken = listening(guarded, one, **proof(guarded, tmp_path, guarded.guard.password))

    assert taken.payloads == [("events", FIRING)]
    assert taken.problems == []


def test_a_wrong_password_ends_it_with_what_is_to_be_looked_at(guarded: Broker, tmp_path: Path):
    wrong = listener(guarded, **proof(guarded, tmp_path, "guessed"))

    async def run() -> None:
        try:
            await asyncio.wait_for(wrong.run(Taken()), WITHIN_S)
        finally:
            await asyncio.sleep(0.2)  # for the connection to be closed

    with pytest.raises(Denied, match=r"^lab: (tls://)?127\.0\.0\.1:\d+ refuses us: ") as refused:
        asyncio.run(run())

    assert "check user" in refused.value.hint
    assert "guessed" not in str(refused.value)


@pytest.mark.filterwarnings("ignore::ResourceWarning")  # paho leaves a socket whose handshake failed to the collector
def test_a_broker_that_nobody_vouches_for_is_shown_no_password(guarded: Broker, tmp_path: Path):
    async def told(taken: Taken) -> None:
        await until(lambda: taken.problems)
        await asyncio.sleep(0.2)  # for the connection to be closed

    assert guarded.guard is not None
    known = proof(guarded, tmp_path, guarded.guard.password)
    taken = listening(guarded, told, **{**known, "ca_file": None})
    gc.collect()

    assert "certificate" in taken.problems[0].casefold()
    assert taken.addresses == []


# ---- what all have in common ----------------------------------------------------------------------------------------


def test_a_session_that_loses_cancellations_is_cancelled_until_it_lets_go(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(brokers, "_LET_GO_S", 0.01)
    lost: list[int] = []

    async def hard_of_hearing(intake: brokers.Intake) -> None:
        for number in range(3):
            with suppress(asyncio.CancelledError):
                intake.connected("nowhere")
                await asyncio.sleep(3600)
            lost.append(number)
        await asyncio.sleep(3600)

    async def cancelled_once() -> None:
        taken = Taken()
        running = asyncio.create_task(brokers.stay_connected("lab", brokers.BrokerConfig(), taken, hard_of_hearing))
        await until(lambda: taken.addresses)
        running.cancel()
        await asyncio.wait({running}, timeout=WITHIN_S)
        assert running.cancelled()

    asyncio.run(cancelled_once())

    assert lost == [0, 1, 2]


def test_what_stands_beside_a_message_is_read_as_bounded_texts():
    when = datetime(2026, 11, 22, 3, tzinfo=UTC)
    odd = [("Name", b"pump \xff"), ("yes", True), ("n", 7), ("at", when), ("naive", when.replace(tzinfo=None))]

    found = brokers.headers_of(odd, [(b"NAME", "later"), ("deep", {"a": 1}), ("none", None), ("long", "x" * 10_000)])

    assert found == {
        "name": "later",
        "yes": "true",
        "n": "7",
        "at": "2026-11-22T03:00:00+00:00",
        "naive": "2026-11-22T03:00:00+00:00",
        "long": "x" * 8192,
    }
    assert len(brokers.headers_of((str(number), "x") for number in range(10_000))) == 100
    assert brokers.headers_of([("bytes", b"\xff")]) == {"bytes": "\ufffd"}


@pytest.mark.parametrize(
    ("kind", "headers", "body", "kept"),
    [
        ("events", {"a": "b"}, b"[]", b"[]"),
        ("events", {"a": "b"}, b"", None),
        ("cloudevents", {"a": "b"}, b"", None),
        ("cloudevents", {"ce_specversion": "1.0"}, b"", b'{"ce-specversion":"1.0"}\n'),
        ("github", {}, b"{}", b'{"environments":[]}\n{}'),
        ("github", {"a": "b"}, b"", None),
    ],
)
def test_a_message_is_kept_as_a_posted_one_would_be_and_one_that_says_nothing_is_not(
    kind: str, headers: dict[str, str], body: bytes, kept: bytes | None
):
    assert as_posted(KINDS[kind], headers, body) == kept
