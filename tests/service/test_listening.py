"""Listeners in processes of their own: real processes and a kind that acknowledges each line once it is on disk."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from foreshock.core.contracts import NewRecord
from foreshock.core.errors import Unavailable
from foreshock.service import listening as module
from foreshock.service.clock import utc_now
from foreshock.service.front import Front
from foreshock.service.listening import Listened, Listening
from foreshock.service.listening_outlet import MAX_BYTES, BatchOutlet
from foreshock.service.metric_process import Append
from foreshock.service.runner import Runner
from foreshock.service.settings import CollectorInstance, LogSettings, load_settings
from foreshock.service.wiring import Foreshock
from foreshock.testing.listeners import LINES, LinesConfig
from foreshock.testing.servers import free_port


class Kept:
    """What was handed over. refuse: raised instead of keeping it. pause_s: how long each group takes."""

    def __init__(self) -> None:
        self.records: list[NewRecord] = []
        self.groups = 0
        self.measured: list[Append] = []
        self.closed: tuple[str, int] | None = None
        self.pause_s = 0.0

    async def append(self, records: Sequence[NewRecord]) -> None:
        await asyncio.sleep(self.pause_s)
        self.records += records
        self.groups += 1

    def measure(self, body: bytes) -> None:
        self.measured.append(msgspec.msgpack.decode(body, type=Append))

    @property
    def bodies(self) -> list[bytes]:
        return [record.body for record in self.records]


def instance(name: str, port: int) -> CollectorInstance:
    return CollectorInstance.model_construct(name=name, kind="lines", config=LinesConfig(port=port))


def made(kept: Kept, state: Path, *instances: CollectorInstance) -> Listening:
    return Listening(
        instances,
        {"lines": LINES},
        state=state,
        log=LogSettings(),
        append=kept.append,
        measure=kept.measure,
        closed=lambda: kept.closed,
        clock=utc_now,
    )


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture(autouse=True)
def _no_long_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSES_S", (0.05,))


@contextmanager
def running(listening: Listening) -> Iterator[Listening]:
    listening.start()
    try:
        for each in listening.listened():
            until(lambda each=each: each.address)
        yield listening
    finally:
        listening.stop()


def until(holds: Callable[[], object], within_s: float = 30.0) -> None:
    deadline = time.monotonic() + within_s
    while not holds():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)


@contextmanager
def connected(port: int) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as sock:
        yield sock


def say(port: int, *lines: bytes) -> list[bytes]:
    """Answers, in the order in which they came; fewer where the other side hung up."""
    with connected(port) as sock:
        sock.sendall(b"".join(line + b"\n" for line in lines))
        return answers(sock, len(lines))


def answers(sock: socket.socket, number: int) -> list[bytes]:
    got = b""
    try:
        while got.count(b"\n") < number and (more := sock.recv(65536)):
            got += more
    except ConnectionError:
        pass
    return got.splitlines()


def only(listening: Listening) -> Listened:
    (listened,) = listening.listened()
    return listened


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return b") Z " not in Path(f"/proc/{pid}/stat").read_bytes()


# ---- handing over ---------------------------------------------------------------------------------------------------


def test_what_is_acknowledged_has_been_kept_and_many_share_one_group(kept, tmp_path):
    port = free_port()
    kept.pause_s = 0.02
    lines = [b"line %d" % number for number in range(300)]

    with running(made(kept, tmp_path, instance("one", port))) as listening:
        acknowledged = say(port, *lines)

        assert sorted(acknowledged) == sorted(b"ok " + line for line in lines)
        assert set(kept.bodies) == set(lines)
        assert kept.groups < 30
        assert {(record.collector, record.source) for record in kept.records} == {("lines", "one")}
        assert only(listening).counts["received"] == 300


def test_what_is_counted_measured_and_shown_reaches_people_and_the_metric_history(kept, tmp_path):
    port = free_port()
    with running(made(kept, tmp_path, instance("one", port))) as listening:
        say(port, b"skip", b"skip", b"m 2.5")
        until(lambda: only(listening).counts["ignored"] == 2 and only(listening).tops)

        [append] = kept.measured
        view = listening.views()["one"]

    assert (append.source, append.points[0].series.ci) == ("one", "db1")
    assert (view.address, view.points, view.running) == (f"tcp 127.0.0.1:{port}", 1, True)
    assert [(top.of, top.text, top.count) for top in view.tops] == [("lines", "m", 1)]
    assert "foreshock_source_items" in [family.name for family in listening.families()]


def test_nothing_is_acknowledged_while_nothing_can_be_kept(kept, tmp_path):
    port = free_port()
    with running(made(kept, tmp_path, instance("one", port))) as listening:
        kept.closed = "the disk is full", 30
        assert say(port, b"a") == [b"no a"]
        until(lambda: "the disk is full" in listening.views()["one"].problem)

        kept.closed = None
        assert say(port, b"b") == [b"ok b"]

    assert b"a" not in kept.bodies


def test_at_a_stop_a_listener_hands_over_what_it_holds_even_where_the_door_is_closed(kept, tmp_path):
    with running(made(kept, tmp_path, instance("one", free_port()))) as listening:
        pid = only(listening).pid
        kept.closed = "Foreshock is stopping", 5

    assert kept.bodies == [b"the last"]
    assert not is_alive(pid)


def test_an_instance_that_listens_to_nothing_has_no_process(kept, tmp_path):
    assert not made(kept, tmp_path, instance("one", 0))


# ---- processes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "why"),
    [
        pytest.param(b"crash", "ended with code 3", id="it crashed"),
        pytest.param(b"wrong", "wrong", id="it gave up"),
    ],
)
def test_a_listener_that_ends_is_started_again_and_another_one_notices_nothing(kept, tmp_path, line, why):
    ports = free_port(), free_port()
    listening = made(kept, tmp_path, instance("one", ports[0]), instance("two", ports[1]))
    with running(listening):
        one, two = listening.listened()
        before, other = one.pid, two.pid
        with connected(ports[0]) as sock:
            sock.sendall(line + b"\n")
            until(lambda: one.restarts)
        until(lambda: one.address and one.pid != before)

        assert say(ports[0], b"again") == [b"ok again"]
        assert (two.pid, two.restarts) == (other, 0)
        assert not is_alive(before)


def test_credentials_that_were_refused_are_not_tried_again_soon_and_it_is_told_why(kept, tmp_path):
    port = free_port()
    with running(made(kept, tmp_path, instance("one", port))) as listening:
        say(port, b"denied")
        until(lambda: only(listening).restarts)

        assert listening.views()["one"].problem == "no"
        assert not listening.views()["one"].running


def test_a_listener_that_is_killed_loses_nothing_it_had_acknowledged(kept, tmp_path):
    port = free_port()
    kept.pause_s = 0.001
    acknowledged: list[bytes] = []
    with running(made(kept, tmp_path, instance("one", port))) as listening:
        for number in range(3):
            pid = only(listening).pid
            with connected(port) as sock:
                sock.sendall(b"".join(b"%d-%d\n" % (number, line) for line in range(2000)))
                acknowledged += answers(sock, 50)
                os.kill(pid, signal.SIGKILL)
                acknowledged += answers(sock, 10**6)
            until(lambda pid=pid: only(listening).address and only(listening).pid != pid)

    whole = [line.removeprefix(b"ok ") for line in acknowledged if line.startswith(b"ok ")]
    assert len(whole) >= 150
    # The last line of each connection may have been cut.
    assert len(set(whole) - set(kept.bodies)) <= 3


PARENT = """
import asyncio, sys
from pathlib import Path
from typing import Any
from foreshock.testing.listeners import LINES, LinesConfig
from foreshock.service.listening import Listening
from foreshock.service.runner import Runner
from foreshock.service.settings import CollectorInstance, LogSettings, load_settings
from foreshock.service.wiring import Foreshock
from foreshock.service.clock import utc_now
from foreshock.service.front import Front

async def append(records):
    await asyncio.sleep(3600)

instance = CollectorInstance.model_construct(name="one", kind="lines", config=LinesConfig(port=int(sys.argv[1])))
listening = Listening(
    [instance], {"lines": LINES}, state=Path(sys.argv[2]), log=LogSettings(), append=append,
    measure=print, closed=lambda: None, clock=utc_now,
)
listening.start()
while not listening.listened()[0].address:
    pass
print(listening.listened()[0].pid, flush=True)
listening._thread.join()
"""


@pytest.mark.parametrize("line", [b"unanswered", b"hang"])
def test_a_listener_ends_with_its_parent_and_acknowledges_nothing_more(kept, tmp_path, line):
    port = free_port()
    command = [sys.executable, "-c", PARENT, str(port), str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        with connected(port) as sock:
            sock.sendall(line + b"\n")
            time.sleep(0.2)
            parent.kill()
            parent.wait()
            # Meanwhile the next one starts, waits for the first to end, and takes over.
            with running(made(kept, tmp_path, instance("one", port))):
                assert answers(sock, 1) in ([], [b"no unanswered"])
                assert not is_alive(pid)
                assert say(port, b"to the next") == [b"ok to the next"]


# ---- the outlet -----------------------------------------------------------------------------------------------------


def test_who_hands_over_more_than_can_be_kept_waits():
    held: list[asyncio.Future[None]] = []
    asked: list[int] = []

    async def call(what: str, batch: Sequence[tuple[Any, ...]]) -> None:
        asked.append(sum(len(payload) for payload, *_ in batch))
        held.append(asyncio.get_running_loop().create_future())
        await held[-1]

    async def run() -> None:
        outlet = BatchOutlet("one", call)
        piece = b"x" * (MAX_BYTES // 4)
        tasks = [asyncio.create_task(outlet.take(piece)) for _ in range(8)]
        await asyncio.sleep(0.05)
        assert sum(asked) <= MAX_BYTES
        assert outlet._bytes <= MAX_BYTES
        while not all(task.done() for task in tasks):
            for future in held:
                if not future.done():
                    future.set_result(None)
            await asyncio.sleep(0)
        assert sum(asked) == 8 * len(piece)

    asyncio.run(asyncio.wait_for(run(), 20))


def test_a_batch_that_is_refused_is_refused_to_each_who_waits_and_the_next_is_not():
    refuse = True

    async def call(what: str, batch: object) -> None:
        await asyncio.sleep(0)
        if refuse:
            raise Unavailable("full")

    async def run() -> None:
        nonlocal refuse
        outlet = BatchOutlet("one", call)
        told = await asyncio.gather(*(outlet.take(b"x") for _ in range(3)), return_exceptions=True)
        assert [str(each) for each in told] == ["full"] * 3
        refuse = False
        await outlet.take(b"y")

    asyncio.run(asyncio.wait_for(run(), 20))


# ---- in a Foreshock -------------------------------------------------------------------------------------------------


def test_listeners_hear_while_the_state_is_still_being_loaded(tmp_path, monkeypatch):
    port = free_port()
    config = tmp_path / "foreshock.yaml"
    config.write_text(f"collectors:\n- {{name: net, kind: syslog, tcp: '127.0.0.1:{port}'}}\n")
    settings = load_settings(config, {}, {"state": str(tmp_path / "state"), "disk_guard.min_free": "1MiB"})

    def start() -> Foreshock:
        front = Front(settings)
        front.start()
        foreshock = Foreshock(front)
        foreshock.start()
        return foreshock

    start().stop()
    restore, heard = Runner.restore, []

    def slow_restore(runner: Runner) -> int:
        before = runner._journal.last_record()[0]
        until(lambda: sent(port, b"<11>app: early\n"))
        until(lambda: runner._journal.last_record()[0] > before)
        heard.append(before)
        return restore(runner)

    monkeypatch.setattr(Runner, "restore", slow_restore)
    foreshock = start()
    try:
        assert heard
        until(lambda: any(alert.label("alertname") == "early" for alert in foreshock.engine.alerts.values()))
    finally:
        foreshock.stop()


def sent(port: int, data: bytes) -> bool:
    try:
        with connected(port) as sock:
            sock.sendall(data)
    except ConnectionError:
        return False
    return True
