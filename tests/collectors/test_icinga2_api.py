"""The stream of Icinga's events, and the states that it missed; the real one is listened to in tests/system."""

import asyncio
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from collectors.icinga2 import COLLECTOR, Icinga2, Icinga2Config, decode, translate
from foreshock.connect.config import strictly
from foreshock.core.contracts import Outcome
from foreshock.core.errors import ConfigError, Denied, ForeshockError, Unavailable
from foreshock.core.model import Event, read_labels
from foreshock.testing.fakes import Taken

NOW = datetime(2026, 11, 22, 4, 0, tzinfo=UTC)
RECORDED = Path(__file__).resolve().parents[1] / "samples/icinga2-event-stream.txt"


class Stream:
    """Lines as they are put in; ``None`` breaks it."""

    def __init__(self, lines: list[bytes | None]) -> None:
        self.lines, self.closed = lines, False

    def read(self) -> list[bytes]:
        while not self.lines:
            if self.closed:
                raise Unavailable("closed")
        line = self.lines.pop(0)
        if line is None:
            raise Unavailable("the stream broke")
        return [line]

    def close(self) -> None:
        self.closed = True


class Server:
    """Answers with these objects; each connection gets the next lines."""

    def __init__(self, *streams: list[bytes | None]) -> None:
        self.streams = [*streams]
        self.hosts: list[dict[str, Any]] = []
        self.services: list[dict[str, Any]] = []
        self.refuse: ForeshockError | None = None
        self.connections = 0

    def stream(self, types: Any) -> Stream:
        assert types == ["StateChange"]
        if self.refuse is not None:
            raise self.refuse
        self.connections += 1
        return Stream(self.streams.pop(0) if self.streams else [])

    def objects(self, kind: str, attributes: Any, expression: str) -> list[dict[str, Any]]:
        assert "last_state_change" in attributes
        return {"hosts": self.hosts, "services": self.services}[kind]  # whatever the expression says


def service(state: int, changed: float = 1795317350.6, **more: Any) -> dict[str, Any]:
    given = {"name": "disk", "host_name": "host-a", "state": float(state), "state_type": 1.0, "downtime_depth": 0.0}
    return {**given, "last_state_change": changed, "last_check_result": {"output": "said"}, **more}


def host(state: int, name: str = "host-a", **more: Any) -> dict[str, Any]:
    found = service(state, **more)
    del found["host_name"]
    return {**found, "name": name}


def line(**changed: Any) -> bytes:
    given = {"type": "StateChange", "host": "host-a", "service": "disk", "state": 2, "state_type": 1}
    return json.dumps({**given, "timestamp": 1795317350.64, "downtime_depth": 0, **changed}).encode()


@pytest.fixture
def config(tmp_path) -> Icinga2Config:
    return strictly({"url": "https://icinga:5665", "user": "u", "password_file": str(tmp_path / "p")}, Icinga2Config)


def listen(server: Server, config: Icinga2Config, until: Callable[[Taken], object]) -> Taken:
    """What it hands over until then."""
    taken = Taken()

    async def run() -> None:
        listener = Icinga2(config, server)  # type: ignore[arg-type]
        listener._pause_s = 0.01
        task = asyncio.create_task(listener.run(taken))
        async with asyncio.timeout(20):
            while not until(taken) and not task.done():  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        if task.done():
            await task
        task.cancel()

    asyncio.run(run())
    return taken


def told(taken: Taken) -> list[tuple[str, bool]]:
    """The name of each alert, and whether it is over."""
    events = [translate(item, NOW) for _, payload in taken.payloads for item in decode(payload)]  # type: ignore[arg-type]
    assert all(isinstance(event, Event) for event in events)
    return [(read_labels(event.labels)["alertname"], event.ends_at is not None) for event in events]


def test_what_a_real_server_streamed_is_understood(config):
    lines: list[bytes | None] = [each for each in RECORDED.read_bytes().splitlines() if each.strip()]

    taken = listen(Server(lines), config, lambda taken: not lines)

    assert ("disk", False) in told(taken)
    assert ("disk", True) in told(taken)
    assert ("Host down", False) in told(taken)
    assert taken.counts[Outcome.REJECTED] == 0


def test_states_that_nobody_heard_of_are_asked_for_at_the_start(config):
    server = Server()
    server.hosts = [host(1), host(0, "host-b")]
    server.services = [service(2), service(0, name="load")]

    taken = listen(server, config, lambda taken: taken.payloads)

    assert told(taken) == [("Host down", False), ("Host down", True), ("disk", False), ("load", True)]


def test_what_was_never_checked_is_in_no_trouble(config):
    server = Server([line()])
    server.hosts = [host(1, last_check_result=None)]
    server.services = [service(3, name="load", last_check_result=None)]

    taken = listen(server, config, lambda taken: taken.payloads)

    assert told(taken) == [("disk", False)]


def test_what_is_soft_or_begins_in_a_downtime_is_left_out_and_its_end_is_not(config):
    lines: list[bytes | None] = [
        line(state_type=0),
        line(downtime_depth=1),
        line(state=0, downtime_depth=1),
        b"[",
        line(),
    ]

    taken = listen(Server(lines), config, lambda taken: len(taken.payloads) == 2)

    assert told(taken) == [("disk", True), ("disk", False)]
    assert taken.counts == {Outcome.IGNORED: 2, Outcome.REJECTED: 1}


def test_a_stream_that_breaks_is_said_and_opened_again_and_what_ended_meanwhile_is_told(config):
    server = Server([line(), None], [])

    def ended(taken: Taken) -> bool:
        if len(taken.payloads) == 1:
            server.services = [service(0, changed=1795317400.0)]
        return len(taken.payloads) == 2

    taken = listen(server, config, ended)

    assert told(taken)[-1] == ("disk", True)
    assert "the stream broke" in taken.problems
    assert taken.problems[-1] == ""


def test_what_is_not_configured_any_more_is_over(config):
    server = Server([None], [])
    server.hosts = [host(0)]
    server.services = [service(2), service(1, name="load")]

    def deleted(taken: Taken) -> bool:
        server.services = server.services[:1] if taken.payloads else server.services
        return len(taken.payloads) == 2

    taken = listen(server, config, deleted)

    assert told(taken)[-1] == ("load", True)


def test_troubles_are_not_over_because_no_host_can_be_seen_any_more(config):
    server = Server([None], [])
    server.hosts = [host(1)]

    def hidden(taken: Taken) -> bool:
        server.hosts = [] if taken.payloads else server.hosts
        return False

    with pytest.raises(Denied, match="shows no host any more, and 1 hosts and services"):
        listen(server, config, hidden)


def test_a_server_that_refuses_the_password_is_not_asked_again(config):
    server = Server()
    server.refuse = Denied("no")

    with pytest.raises(Denied):
        listen(server, config, lambda taken: False)


def test_a_notification_and_a_line_of_the_stream_are_the_same_alert(config):
    posted = json.loads((RECORDED.parent / "icinga2-firing.json").read_text(encoding="utf-8"))["body"]
    (item,) = decode(json.dumps(posted).encode())

    taken = listen(Server([line()]), config, lambda taken: taken.payloads)

    ((_, payload),) = taken.payloads
    (streamed,) = decode(payload)
    assert read_labels(translate(item, NOW).labels) == read_labels(translate(streamed, NOW).labels)  # type: ignore


def test_without_an_address_notifications_are_only_posted():
    assert COLLECTOR.listen is not None
    assert COLLECTOR.listen.build("i", strictly({}, Icinga2Config)) is None


@pytest.mark.parametrize("given", [{"url": "https://icinga:5665"}, {"user": "u"}, {"url": "icinga"}])
def test_half_an_account_is_refused(given: dict[str, Any]):
    with pytest.raises((ConfigError, ValueError)):
        strictly(given, Icinga2Config)
