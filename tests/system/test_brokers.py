"""Publishers report by brokers to a Foreshock as it is installed; a kill between a message and its acknowledgement."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

from foreshock.testing.brokers import Broker, MqttBroker, NatsBroker, RabbitmqBroker, RedisBroker
from foreshock.testing.servers import ForeshockServer, eventually, run_foreshock

PAGES = Path(__file__).resolve().parents[2] / "docs/connect"
KINDS = (MqttBroker, NatsBroker, RabbitmqBroker, RedisBroker)
Brokers = Mapping[str, Broker]


@pytest.fixture(scope="module")
def brokers(require: Callable[..., None]) -> Iterator[Brokers]:
    require(*(name for kind in KINDS for name in kind.needs))
    with ExitStack() as stack:
        running = {kind.kind: stack.enter_context(kind()) for kind in KINDS}
        asyncio.run(deliver_again_soon(running["nats"]))
        yield running


async def deliver_again_soon(nats: Broker) -> None:
    """A consumer like the one that Foreshock makes, which waits for acknowledgements for a shorter time."""
    import nats as client
    from nats.js.api import AckPolicy, ConsumerConfig

    async with await client.connect(nats.settings()["servers"][0]) as connection:
        wanted = ConsumerConfig(durable_name="foreshock", ack_policy=AckPolicy.EXPLICIT, ack_wait=2)
        await connection.jetstream().add_consumer("ALERTS", wanted)


@pytest.fixture(scope="module")
def foreshock(brokers: Brokers) -> Iterator[ForeshockServer]:
    listened = [{"name": kind, "kind": kind, **each.settings()} for kind, each in brokers.items()]
    next(each for each in listened if each["name"] == "mqtt")["topics"] += ["alarms/#"]  # as the page has it
    with ForeshockServer(config={"collectors": [*listened, {"name": "quiet", "kind": "alertmanager"}]}) as server:
        until_all_listen(server)
        yield server


def sources(foreshock: ForeshockServer) -> dict[str, dict[str, Any]]:
    """What is known of each listener, by kind."""
    return {each["name"]: each["listening"] for each in foreshock.get("/api/v1/sources") if each.get("listening")}


def until_all_listen(foreshock: ForeshockServer) -> None:
    def all_listen() -> bool:
        return sum(bool(each["address"]) for each in sources(foreshock).values()) == len(KINDS)

    eventually(all_listen, what="all listeners")


def publish(brokers: Brokers, alertname: str, status: str) -> None:
    """One message to each broker, about a host of its name."""
    for kind, broker in brokers.items():
        message = {"labels": {"alertname": alertname, "host": f"{kind}-1"}, "status": status, "severity": "major"}
        asyncio.run(broker.publish([json.dumps(message).encode()]))


def states(foreshock: ForeshockServer, alertname: str) -> list[tuple[str, str]]:
    """Host and state of each alert of that name, of all incidents."""
    return sorted(
        (alert["labels"]["host"].removesuffix("-1"), alert["state"])
        for row in foreshock.incidents()
        for alert in foreshock.incident(row["id"])["alerts"]
        if alert["name"] == alertname
    )


def until(foreshock: ForeshockServer, alertname: str, state: str) -> None:
    wanted = sorted((kind.kind, state) for kind in KINDS)
    eventually(lambda: states(foreshock, alertname) == wanted, what=f"{alertname} {state} once by each broker")


def listeners_of(parent: int) -> list[int]:
    children = [
        int(child)
        for task in Path(f"/proc/{parent}/task").iterdir()
        for child in (task / "children").read_text().split()
    ]
    return [child for child in children if b"listening_work" in Path(f"/proc/{child}/cmdline").read_bytes()]


def test_what_is_published_to_each_broker_is_one_alert_that_opens_and_resolves(foreshock, brokers):
    publish(brokers, "Pump down", "firing")
    until(foreshock, "Pump down", "firing")

    publish(brokers, "Pump down", "resolved")
    until(foreshock, "Pump down", "resolved")

    counts = {kind: each["counts"] for kind, each in sources(foreshock).items()}
    assert counts == {kind: {"received": 2} for kind in brokers}
    status = run_foreshock("collectors", "status", "--server", foreshock.url, "-o", "json")
    assert status.returncode == 0
    assert {row["name"] for row in json.loads(status.stdout)} == {*brokers, "quiet"}


@pytest.mark.parametrize(
    ("kind", "place"), [("mqtt", "mqtt.example -p 1883"), ("redis_streams", "redis.example -p 6379")]
)
def test_the_commands_of_the_page_open_an_alert_and_end_it(foreshock, brokers, require, kind: str, place: str):
    require("mosquitto_pub" if kind == "mqtt" else "redis-cli")
    _, _, by_hand = (PAGES / f"{kind}.md").read_text(encoding="utf-8").partition("From here on written by hand")
    begins, ends, *_ = re.findall(r"^```sh\n(.*?)^```", by_hand, re.DOTALL | re.MULTILINE)
    ((alertname, host),) = set(re.findall(r'"alertname": "(.*?)", "host": "(.*?)-1"', begins + ends))

    for command, state in ((begins, "firing"), (ends, "resolved")):
        assert place in command
        here = command.replace(place, f"127.0.0.1 -p {brokers[kind].server.port}")
        subprocess.run(["sh", "-c", here], check=True, stdout=subprocess.DEVNULL)
        wanted = [(host, state)]
        eventually(lambda wanted=wanted: states(foreshock, alertname) == wanted, what=f"the alert, {state}")


def test_listeners_that_are_killed_before_they_acknowledge_lose_nothing_and_make_no_second_alert(foreshock, brokers):
    publish(brokers, "Valve stuck", "firing")
    until(foreshock, "Valve stuck", "firing")
    listeners = listeners_of(foreshock.pid)
    assert len(listeners) == len(KINDS)

    os.kill(foreshock.pid, signal.SIGSTOP)  # it says of nothing that it is kept, so nothing is acknowledged
    try:
        publish(brokers, "Valve stuck", "resolved")
        time.sleep(1)  # for the messages to be on their way; the outcome does not depend on it
        for each in listeners:
            os.kill(each, signal.SIGKILL)
    finally:
        os.kill(foreshock.pid, signal.SIGCONT)

    until(foreshock, "Valve stuck", "resolved")
    eventually(lambda: all(each["restarts"] for each in sources(foreshock).values()), what="the restarts")
    until_all_listen(foreshock)


def test_what_is_published_while_foreshock_is_dead_is_there_afterwards(foreshock, brokers):
    publish(brokers, "Tank empty", "firing")
    until(foreshock, "Tank empty", "firing")

    foreshock.kill()
    publish(brokers, "Tank empty", "resolved")
    foreshock.start()

    until(foreshock, "Tank empty", "resolved")
    assert all(state == "resolved" for name in ("Pump down", "Valve stuck") for _, state in states(foreshock, name))
