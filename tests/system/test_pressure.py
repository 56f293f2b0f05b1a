"""More comes in than is worked on: senders hear it in time, and nothing that was acknowledged is lost."""

import os
import signal
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from foreshock.testing.servers import ForeshockServer, eventually

LAG = 200
MOST_PER_SENDER = 5000
SENDERS = 4
ENOUGH_REFUSALS = 5
MOST_MORE_BYTES = 64 * 1024 * 1024


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ForeshockServer]:
    config = {"limits": {"lag": LAG, "shed": {"sources": ["chatter"]}}}
    with ForeshockServer(config=config) as server:
        yield server


def resident_bytes(pid: int) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith("VmRSS:")).split()[1])


def front_of(server: ForeshockServer) -> int:
    """The process that takes events in; the other is its parent."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    return next(int(child) for child in children if b"foreshock" in Path(f"/proc/{child}/cmdline").read_bytes())


def flood(server: ForeshockServer, sender: int) -> tuple[list[str], Counter[int]]:
    """Names of what was acknowledged, and statuses. It goes on until it was refused some times."""
    taken: list[str] = []
    statuses: Counter[int] = Counter()
    for number in range(MOST_PER_SENDER):
        name = f"flood-{sender}-{number}"
        status = server.post("/api/v1/events", [{"labels": {"alertname": name}}]).status
        statuses[status] += 1
        if status == 202:
            taken.append(name)
        if statuses[429] >= ENOUGH_REFUSALS:
            break
    return taken, statuses


def known(server: ForeshockServer) -> set[str]:
    return {alert["labels"]["alertname"] for alert in server.ask("GET", "/api/v2/alerts").json()}


def test_an_engine_that_stands_still_shows_sheds_and_refuses_and_nothing_acknowledged_is_lost(server: ForeshockServer):
    assert server.post("/api/v1/events", [{"labels": {"alertname": "first"}}]).status == 202
    eventually(lambda: "first" in known(server))
    front = front_of(server)
    before = resident_bytes(front)

    os.kill(server.pid, signal.SIGSTOP)
    try:
        with ThreadPoolExecutor(SENDERS) as pool:
            floods = list(pool.map(lambda sender: flood(server, sender), range(SENDERS)))
        chatter = server.post("/s/chatter/api/v1/events", [{"labels": {"alertname": "chatter"}}])
        refused = server.post("/api/v2/alerts", [{"labels": {"alertname": "late"}}])
        more = resident_bytes(front) - before
    finally:
        os.kill(server.pid, signal.SIGCONT)

    taken = {name for names, _ in floods for name in names}
    statuses = sum((each for _, each in floods), Counter())
    assert set(statuses) == {202, 429}
    assert len(taken) >= LAG
    assert chatter.status == refused.status == 429, "shedding comes before, not after"
    assert refused.headers["Retry-After"] == "2"
    assert more < MOST_MORE_BYTES
    eventually(lambda: taken <= known(server), within_s=60)
    assert "late" not in known(server)
    eventually(lambda: server.post("/api/v1/events", [{"labels": {"alertname": "after"}}]).status == 202)
    metrics = server.ask("GET", "/metrics").body.decode()
    assert 'foreshock_intake_refused_total{reason="busy",source="events"}' in metrics
