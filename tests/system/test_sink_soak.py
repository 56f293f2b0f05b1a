"""Every ITSM system at once, three calls in ten going wrong, Foreshock killed again and again: each situation that
asked for a ticket has one in each system, in the state that it should have, and never had two.

What is checked is read from three witnesses only: the stand-ins' ledgers and records, the store's tables, the audit.
``make soak-sinks`` makes it longer: FORESHOCK_SOAK_ROUNDS, each of FORESHOCK_SOAK_SITUATIONS and FORESHOCK_SOAK_KILLS;
FORESHOCK_SOAK_SEED makes it another one.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import sqlite3
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from heapq import heappop, heappush
from pathlib import Path

import pytest

from correlation.rule import shipped
from foreshock.sandbox.ledger import read_ledger
from foreshock.service.settings import rule_kinds
from foreshock.testing.servers import ForeshockServer, Sandbox, ServerFailed, eventually, foreshock_environment
from foreshock.testing.sinks import SIMULATED
from foreshock.testing.warm import WarmForeshock

SITUATIONS = int(os.environ.get("FORESHOCK_SOAK_SITUATIONS", "60"))
KILLS = int(os.environ.get("FORESHOCK_SOAK_KILLS", "8"))
ROUNDS = int(os.environ.get("FORESHOCK_SOAK_ROUNDS", "1"))
SEED = int(os.environ.get("FORESHOCK_SOAK_SEED", "20261122"))

PATIENCE_S = 0.2
"""Longest wait for a system that failed, or that named a time."""
CONNECTIONS = 8
FAULTS = "lost=0.06,reset=0.06,error=0.07,limited=0.02,truncated=0.03,html=0.02,slow=0.01,delay=0.02,denied=0.01"
"""Three calls in ten."""
HABITS = {"servicedesk_plus": {"token_limit": 1_000_000}, "zendesk": {"export_limit": 1_000_000}}
"""Zoho gives ten tokens in ten minutes, Zendesk ten exports a minute: nobody starts, or reads, more often, but for a
test that kills."""
IN_FLIGHT = 200
"""Orders that may wait; more situations begin when there are fewer."""
CONVERGED_WITHIN_S = 240.0
"""How long is waited at all; how long it took is printed."""

SETTINGS = {
    "ticket": {"max_new_per_minute": 0, "delay": "200ms", "delay_by_priority": {1: "100ms"}, "update_every": "1s"},
    "group": {"quiet": "300ms", "reopen": "20s", "join": "5s"},
    "umbrella": {"situations": 0},
}


class Story(threading.Thread):
    """Alerts that have nothing to do with one another: each fires, some grow worse, most end, some come back.

    Attributes:
        sent: how many have begun. finished: set when all that was to be said is acknowledged.
    """

    def __init__(self, port: int, room: threading.Event, seed: int) -> None:
        super().__init__(name="story", daemon=True)
        self.sent = 0
        self.abandoned = False
        self.failure: BaseException | None = None
        self._port, self._room = port, room
        self._random = random.Random(seed)

    def run(self) -> None:
        try:
            self._tell()
        except BaseException as error:
            self.failure = error

    def _tell(self) -> None:
        later: list[tuple[float, int, dict[str, object]]] = []
        while (self.sent < SITUATIONS or later) and not self.abandoned:
            now = time.monotonic()
            due = []
            while later and later[0][0] <= now:
                due.append(heappop(later)[2])
            if self.sent < SITUATIONS and self._room.is_set():
                for _ in range(min(5, SITUATIONS - self.sent)):
                    self.sent += 1
                    for at, alert in self._life(self.sent, now):
                        heappush(later, (at, self._random.getrandbits(32), alert))
            if due:
                self._post(json.dumps(due))
            time.sleep(0.05)

    def _life(self, number: int, now: float) -> Iterator[tuple[float, dict[str, object]]]:
        chance = self._random
        started = datetime.now(UTC)
        yield now, _alert(number, "major", started)
        if chance.random() < 0.3:
            yield now + chance.uniform(0.5, 3), _alert(number, "critical", started)
        ends_s = chance.uniform(1, 8)
        if chance.random() < 0.85:
            yield now + ends_s, _alert(number, "major", started, started + timedelta(seconds=ends_s))
            if chance.random() < 0.2:
                back_s = ends_s + chance.uniform(1, 4)
                again = started + timedelta(seconds=back_s)
                yield now + back_s, _alert(number, "major", again)
                if chance.random() < 0.5:
                    yield now + back_s + 2, _alert(number, "major", again, again + timedelta(seconds=2))

    def _post(self, body: str) -> None:
        """Until it is acknowledged."""
        while not self.abandoned:
            try:
                connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
                with closing(connection):
                    connection.request("POST", "/api/v2/alerts", body, {"Content-Type": "application/json"})
                    if connection.getresponse().status == 200:
                        return
            except (OSError, http.client.HTTPException):
                pass
            time.sleep(0.05)


def _alert(number: int, severity: str, started: datetime, ended: datetime | None = None) -> dict[str, object]:
    ends_at = ended or started + timedelta(hours=1)
    labels = {"alertname": f"Fault{number}", "ci": f"n{number}", "severity": severity}
    return {"labels": labels, "startsAt": started.isoformat(), "endsAt": ends_at.isoformat()}


class People:
    """Somebody takes a ticket now and then, somebody resolves one: what they do there is theirs."""

    def __init__(self, sandboxes: Sequence[Sandbox], seed: int) -> None:
        self.did: Counter[str] = Counter()
        self.ended: set[tuple[str, str]] = set()
        self._sandboxes = sandboxes
        self._random = random.Random(seed + 1)

    def act(self) -> None:
        sandbox = self._random.choice(self._sandboxes)
        opened = [record for record in sandbox.held() if record["type"] == "incident" and record["state"] == "open"]
        if not opened:
            return
        record, action = self._random.choice(opened), self._random.choice(("take", "take", "comment", "resolve"))
        sandbox.edit(record["number"], action, text="looking into it")
        self.did[action] += 1
        if action == "resolve":
            self.ended.add((sandbox.kind, record["key"]))


@pytest.mark.parametrize("seed", range(SEED, SEED + ROUNDS))
@pytest.mark.timeout(300 + SITUATIONS + 20 * KILLS)
def test_each_situation_has_one_ticket_in_each_system_whatever_fails(
    seed: int, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    rules = tmp_path / "rules.yaml"
    off = [{"name": rule.name, "kind": rule.kind, "enabled": False} for rule in shipped(rule_kinds())]
    rules.write_text(json.dumps(off))
    with ExitStack() as stack:
        sandboxes = [stack.enter_context(Sandbox(kind, seed=seed)) for kind in SIMULATED]
        environment = foreshock_environment({"FORESHOCK_TEST_PATIENCE": str(PATIENCE_S)})
        warm = stack.enter_context(closing(WarmForeshock(environment)))
        sinks = [sandbox.entry(sandbox.kind, poll="10s", connections=CONNECTIONS) for sandbox in sandboxes]
        config = {"correlation": SETTINGS, "sinks": sinks, "rules": str(rules)}
        foreshock = stack.enter_context(ForeshockServer(config=config, warm=warm))
        people = People(sandboxes, seed)
        kills = _disturbed(foreshock, sandboxes, people, seed)
        began = time.monotonic()
        for sandbox in sandboxes:
            sandbox.set_faults("")
        _converge(foreshock)
        converged_s = time.monotonic() - began
        assert foreshock.terminate() == 0

        with closing(sqlite3.connect(f"file:{foreshock.database}?mode=ro", uri=True)) as store:
            checked = [Checker(store, sandbox, people).check() for sandbox in sandboxes]
    assert all(count == len(checked[0]) for count in map(len, checked))
    with capsys.disabled():
        print(
            f"\n  seed {seed}: {SITUATIONS} situations, {kills} kills, {len(sandboxes)} systems: "
            f"{sum(map(len, checked))} tickets checked, converged {converged_s:.0f} s after the faults; "
            f"people: {dict(people.did)}"
        )


def _disturbed(foreshock: ForeshockServer, sandboxes: Sequence[Sandbox], people: People, seed: int) -> int:
    """All situations begin and most end, while calls fail and Foreshock is killed; how often it was."""
    chance, room = random.Random(seed + 2), threading.Event()
    for sandbox in sandboxes:
        sandbox.set_habits(**HABITS.get(sandbox.kind, {}))
        sandbox.set_faults(FAULTS)
    story = Story(foreshock.port, room, seed)
    story.start()
    kills = 0
    try:
        killed_at = time.monotonic()
        while story.is_alive() or kills < KILLS:
            time.sleep(0.2)
            pending = foreshock.get("/api/v1/status")["outbox_pending"]
            room.set() if pending < IN_FLIGHT * len(sandboxes) else room.clear()
            if chance.random() < 50 / max(story.sent, 1000):  # each looks through all tickets
                people.act()
            wanted = KILLS * story.sent / SITUATIONS
            if kills < wanted and time.monotonic() - killed_at > chance.uniform(0.4, 4):
                foreshock.kill()
                foreshock.start()
                kills += 1
                killed_at = time.monotonic()
    finally:
        story.abandoned = True
        story.join(30)
    assert story.failure is None
    assert story.sent == SITUATIONS
    return kills


def _converge(foreshock: ForeshockServer) -> None:
    try:
        eventually(lambda: _settled(foreshock), within_s=CONVERGED_WITHIN_S, what="quiet")
    except ServerFailed:
        waiting = "select sink, situation, verb, attempts, error from outbox where state = 'pending' order by sequence"
        with closing(sqlite3.connect(f"file:{foreshock.database}?mode=ro", uri=True)) as store:
            left = [" ".join(map(str, row)) for row in store.execute(waiting)]
        pytest.fail(f"{len(left)} orders wait still:\n" + "\n".join(left[:20]), pytrace=False)


def _settled(foreshock: ForeshockServer) -> bool:
    for _ in range(10):
        status = foreshock.get("/api/v1/status")
        if status["outbox_pending"] or status["lag_records"]:
            return False
        time.sleep(0.1)
    return True


class Checker:
    """Compares one system with the store; it knows neither the engine nor the sinks."""

    def __init__(self, store: sqlite3.Connection, sandbox: Sandbox, people: People) -> None:
        self._kind = sandbox.kind
        self._ended_by_people = {key for kind, key in people.ended if kind == sandbox.kind}
        self._records = [record for record in sandbox.held() if record["type"] == "incident"]
        self._created = self._creations(sandbox.ledger)
        self._orders = self._of_store(store)
        self._numbers = dict(
            store.execute("select situation, number from ticket where sink = ?", (sandbox.kind,)).fetchall()
        )

    @staticmethod
    def _creations(ledger: Path) -> Mapping[str, list[str]]:
        """By key the numbers of its tickets, in the order in which they were created."""
        found: dict[str, list[str]] = defaultdict(list)
        for entry in read_ledger(ledger):
            for effect in entry.effects:
                type_, number, what, *key = effect.split()
                if what == "created" and type_ == "incident":
                    found["".join(key)].append(number)
        return found

    def _of_store(self, store: sqlite3.Connection) -> Mapping[str, str]:
        """By situation the last verb that was carried out, of those that asked for a ticket."""
        left = "select id, state, error from outbox where sink = ? and state not in ('done', 'superseded')"
        assert store.execute(left, (self._kind,)).fetchall() == [], "orders are left, or were given up"
        done = "select situation, verb from outbox where sink = ? and state = 'done' order by sequence"
        return dict(store.execute(done, (self._kind,)).fetchall())

    def check(self) -> Mapping[str, list[str]]:
        twice = {key: numbers for key, numbers in self._created.items() if len(numbers) > 1}
        assert {key: numbers for key, numbers in twice.items() if key not in self._ended_by_people} == {}, "two tickets"
        assert self._created.keys() - self._orders.keys() == set(), f"{self._kind}: tickets that nobody asked for"
        assert self._orders.keys() - self._created.keys() == set(), f"{self._kind}: tickets are missing"
        opened = Counter(record["key"] for record in self._records if record["state"] == "open")
        assert [key for key, count in opened.items() if count > 1] == [], f"{self._kind}: two are open"
        known = {record["number"] for record in self._records}
        assert {key: number for key, number in self._numbers.items() if number not in known} == {}
        wrong = {key: verb for key, verb in self._orders.items() if (key in opened) != (verb != "resolve")}
        assert wrong.keys() - self._ended_by_people == set(), f"{self._kind}: the state is another one"
        return self._created
