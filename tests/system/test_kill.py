"""Power cuts: Foreshock is killed at random points under load, again and again, and nothing acknowledged may be missing
and nothing visible may be there twice.

FORESHOCK_KILLS sets how many times (``make soak``), FORESHOCK_KILL_SEED which points.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import zstandard

from foreshock.core.contracts import Record
from foreshock.service.engine import Engine
from foreshock.service.settings import collector_kinds, rule_kinds
from foreshock.store.capture import read_capture
from foreshock.testing.servers import (
    ForeshockServer,
    eventually,
    foreshock_environment,
    foreshock_script,
    free_port,
    run_foreshock,
)
from foreshock.testing.warm import WarmForeshock

KILLS = int(os.environ.get("FORESHOCK_KILLS", "100"))
SEED = int(os.environ.get("FORESHOCK_KILL_SEED", "20261122"))

SENDERS = 3
CHAINS = 30
NAMES = ("Down", "Slow")

# All that takes minutes in production takes a moment here, so that every kind of step lies near some kill.
QUICK = {
    "correlation": {
        "ticket": {"delay": "200ms", "delay_by_priority": {1: "100ms"}, "update_every": "150ms"},
        "group": {"quiet": "100ms", "reopen": "600ms", "join": "1s"},
        "fold": {"flap_hold": "200ms", "flap_changes": 6},
    }
}

# Chains of one CI for each sender, so that one situation holds alerts of all of them.
TOPOLOGY = json.dumps(
    {
        "version": 1,
        "cis": [
            {"id": f"ci-{chain}-{link}", "kind": "service", "owner": f"team-{link}"}
            for chain in range(CHAINS)
            for link in range(SENDERS)
        ],
        "relationships": [
            {"source": f"ci-{chain}-{link}", "type": "depends_on", "target": f"ci-{chain}-{link + 1}"}
            for chain in range(CHAINS)
            for link in range(SENDERS - 1)
        ],
    }
)


class Sender(threading.Thread):
    """Posts batches of its own alerts, new ones, repeats and resolves, each until it is acknowledged.

    Attributes:
        acknowledged: ids of the batches answered with 2xx.
        firing: (alertname, ci) of what was reported firing last, and since when.
        again: how often a batch was sent once more.
        abandoned: set it to give up.
    """

    def __init__(self, number: int, port: int) -> None:
        super().__init__(name=f"sender-{number}")
        self.acknowledged: set[str] = set()
        self.firing: dict[tuple[str, str], str] = {}
        self.again = 0
        self.abandoned = False
        self.failure: BaseException | None = None
        self._number, self._port = number, port
        self._random = random.Random(SEED * 10 + number)
        self._idle = [(name, f"ci-{chain}-{number}") for name in NAMES for chain in range(CHAINS)]
        self._stopping = threading.Event()
        self._connection: http.client.HTTPConnection | None = None

    def finish(self) -> None:
        """Send the present batch to its end, and no other."""
        self._stopping.set()

    def run(self) -> None:
        try:
            batch = 0
            while not self._stopping.is_set():
                batch += 1
                self._send(f"b{self._number}-{batch}")
                time.sleep(self._random.uniform(0.001, 0.008))
        except BaseException as error:
            self.failure = error
        finally:
            self._close()

    def _send(self, batch: str) -> None:
        body = json.dumps([self._heartbeat(batch), *(self._alert() for _ in range(self._random.randint(1, 6)))])
        deadline = time.monotonic() + 60
        while not self._post(body):
            if self.abandoned:
                return
            assert time.monotonic() < deadline, f"batch {batch} was not taken within 60 s"
            self.again += 1
            time.sleep(0.03)
        self.acknowledged.add(batch)

    def _post(self, body: str) -> bool:
        """True once it is acknowledged. A lost answer, a refusal and nobody there are all the same: once more."""
        try:
            if self._connection is None:
                self._connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=20)
            self._connection.request("POST", "/api/v2/alerts", body, {"Content-Type": "application/json"})
            answer = self._connection.getresponse()
            said = answer.read()
        except (OSError, http.client.HTTPException):
            self._close()
            return False
        assert answer.status in (200, 503), said
        return answer.status == 200

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _heartbeat(self, batch: str) -> dict[str, object]:
        """Carries the id of the batch."""
        alert = self._event("Heartbeat", f"sender-{self._number}", started=_moment(-60))
        return {**alert, "annotations": {"batch": batch}}

    def _alert(self) -> dict[str, object]:
        """A new one, an end or a repeat; about a fifth fires at any time, so that situations do end."""
        share = len(self.firing) / (len(self.firing) + len(self._idle))
        drawn = self._random.random()
        if drawn < 0.4 - 0.3 * share or not self.firing:
            key = self._idle.pop(self._random.randrange(len(self._idle)))
            started = self.firing[key] = _moment()
            return self._event(*key, started=started)
        key = self._random.choice(list(self.firing))
        if drawn > 0.7 - 0.3 * share:
            self._idle.append(key)
            return {**self._event(*key, started=self.firing.pop(key)), "endsAt": _moment()}
        return self._event(*key, started=self.firing[key])

    def _event(self, name: str, ci: str, *, started: str) -> dict[str, object]:
        severity = "critical" if name.startswith("Down") else "warning"
        return {
            "labels": {"alertname": name, "ci": ci, "severity": severity},
            "startsAt": started,
            "endsAt": _moment(3600),
        }


def _moment(offset_s: float = 0) -> str:
    return (datetime.now(UTC) + timedelta(seconds=offset_s)).isoformat()


@pytest.mark.timeout(120 + 6 * KILLS)
def test_killed_at_random_points_under_load_it_loses_nothing_and_repeats_nothing(tmp_path, capsys):
    chance = random.Random(SEED)
    waited_s = []
    with (
        closing(WarmForeshock(foreshock_environment({}))) as warm,
        ForeshockServer(config=QUICK, topology=TOPOLOGY, warm=warm) as foreshock,
    ):
        senders = [Sender(number, foreshock.port) for number in range(SENDERS)]
        for sender in senders:
            sender.start()
        try:
            for _ in range(KILLS):
                time.sleep(chance.uniform(0.005, 0.3))
                foreshock.kill()
                began = time.monotonic()
                foreshock.start()
                waited_s.append(time.monotonic() - began)
        except BaseException:
            for sender in senders:
                sender.abandoned = True
            raise
        finally:
            for sender in senders:
                sender.finish()
            for sender in senders:
                sender.join(timeout=90)
        assert [sender.failure for sender in senders if sender.failure] == []
        foreshock.kill()
        foreshock.warm = None  # the last start is that of a person
        foreshock.start()
        settle(foreshock)

        firing = {key for sender in senders for key in sender.firing}
        shown = {(alert["labels"]["alertname"], alert["labels"]["ci"]) for alert in foreshock.get("/api/v2/alerts")}
        assert firing <= shown, "an acknowledged alert is missing"
        assert shown - firing == {("Heartbeat", f"sender-{n}") for n in range(SENDERS)}, "a resolve was lost"

        capture, replayed = tmp_path / "capture.jsonl", tmp_path / "replayed"
        done = run_foreshock("capture", "--out", str(capture), "--server", foreshock.url, timeout_s=120)
        assert done.returncode == 0, done.stderr
        assert foreshock.terminate() == 0
        done = run_foreshock("replay", str(capture), "--out", str(replayed), timeout_s=120)
        assert done.returncode == 0, done.stderr

        with closing(sqlite3.connect(f"file:{foreshock.database}?mode=ro", uri=True)) as store:
            records = [entry for _, entry in read_capture(capture) if isinstance(entry, Record)]
            batches = sum(len(sender.acknowledged) for sender in senders)
            assert batches > KILLS
            nothing_is_lost(store, senders)
            the_capture_is_the_inbox(store, records)
            nothing_is_there_twice(store)
            effects_are_those_of_one_undisturbed_run(store, records)
            compared = endings_are_those_of_replay(store, replayed / "situations.jsonl")
            assert compared
            tally = {
                table: store.execute(f"select count(*) from {table}").fetchone()[0]
                for table in ("inbox", "situation", "outbox", "desk_record", "desk_note", "audit")
            }
    with capsys.disabled():
        print(
            f"\n  {KILLS} kills: {batches} batches acknowledged, {sum(s.again for s in senders)} sent again, {tally}, "
            f"{compared} endings compared; ready after {min(waited_s):.1f} to {max(waited_s):.1f} s"
        )


def settle(foreshock: ForeshockServer) -> None:
    """Wait until nothing is left to do: no ticket to write, no timer that still appends a record."""
    positions: list[int] = []

    def quiet() -> bool:
        status = foreshock.get("/api/v1/status")
        positions.append(status["position"])
        lately = positions[-30:]  # asked ten times a second
        return not status["outbox_pending"] and not status["lag_records"] and lately.count(lately[-1]) == 30

    eventually(quiet, within_s=90, what="quiet")


def nothing_is_lost(store: sqlite3.Connection, senders: list[Sender]) -> None:
    unpack = zstandard.ZstdDecompressor().decompress
    stored = Counter(
        batch.decode()
        for (body,) in store.execute("select body from inbox where kind = 'events'")
        for batch in re.findall(rb'"batch": "(b\d+-\d+)"', unpack(body))
    )
    assert set().union(*(sender.acknowledged for sender in senders)) <= stored.keys()
    # Once for each time it was sent: what is there twice was stored before its answer was lost.
    assert sum(stored.values()) - len(stored) <= sum(sender.again for sender in senders)


def the_capture_is_the_inbox(store: sqlite3.Connection, records: list[Record]) -> None:
    numbers = [record.number for record in records]
    assert numbers == [number for (number,) in store.execute("select number from inbox order by number")]
    assert numbers == list(range(1, len(numbers) + 1)), "a number is missing"
    assert [record.at for record in records] == sorted(record.at for record in records)
    assert store.execute("select position, checkpoint from engine").fetchall() == [(numbers[-1], numbers[-1])]


def nothing_is_there_twice(store: sqlite3.Connection) -> None:
    def more_than_one(table: str, columns: str, where: str = "true") -> str:
        return f"select {columns} from {table} where {where} group by {columns} having count(*) > 1"

    wrong = {
        "incidents of a situation": more_than_one("desk_record", "key", "type = 'incident'"),
        "incidents without a situation": "select number from desk_record where key is null or key = ''",
        "orders": more_than_one("outbox", "id"),
        "opening orders of a situation": more_than_one("outbox", "situation", "verb = 'open'"),
        "openings of a situation": more_than_one("audit", "subject", "kind = 'situation' and action = 'opened'"),
        "notes of an order": more_than_one("desk_note", "number, at, text"),
        "opening notes": more_than_one("desk_note", "number", "text like 'Opened by%'"),
        "more notes than orders": "select number from desk_note n where text not like 'linked to PRB%' group by number"
        " having count(*) > (select count(*) from desk_order o where o.number = n.number)",
        "dead letters": "select id from dead_letter",
        "orders left": "select id from outbox where state not in ('done', 'superseded')",
    }
    assert {what: rows for what, query in wrong.items() if (rows := store.execute(query).fetchall())} == {}


def effects_are_those_of_one_undisturbed_run(store: sqlite3.Connection, records: list[Record]) -> None:
    """Every order and every audit row once, in order, in the same words: recovery skipped none and repeated none."""
    engine = Engine(collector_kinds(), rule_kinds())
    effects = engine.step((record, None) for record in records)

    for what, orders in (("S-%", effects.orders), ("P-%", effects.problem_orders)):
        found = store.execute("select id from outbox where situation like ? order by sequence", (what,))
        assert [row for (row,) in found] == [order.id for order in orders]
    written = store.execute("select record, actor, kind, subject, action, detail from audit order by id").fetchall()
    assert written == [(a.record, a.actor, a.kind, a.subject, a.action, a.detail) for a in effects.audit]


def endings_are_those_of_replay(store: sqlite3.Connection, replayed: Path) -> int:
    """Byte for byte; how many were compared. Merged situations are no endings in a replay."""
    ended = {key: bytes(body) for key, body in store.execute("select id, body from situation where state = 'resolved'")}
    found = {
        json.loads(line)["situation"]["id"]: line
        for line in replayed.read_bytes().splitlines()
        if json.loads(line)["situation"]["state"] == "resolved"
    }
    assert found.keys() == ended.keys()
    assert [key for key, body in ended.items() if found[key] != body] == []
    return len(ended)


@pytest.mark.parametrize("after_s", [0.9, 1.2, 1.5, 1.8])
def test_killed_during_its_first_start_the_next_start_completes_the_store(tmp_path, after_s):
    config = tmp_path / "foreshock.yaml"
    config.write_text(f"{{listen: '127.0.0.1:{free_port()}', state: state}}")
    process = subprocess.Popen(
        [str(foreshock_script()), "run", "--config", str(config)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env=foreshock_environment({}),
    )
    time.sleep(after_s)
    process.kill()
    process.wait()

    with ForeshockServer(state=tmp_path / "state") as foreshock:
        assert foreshock.post("/api/v2/alerts", [{"labels": {"alertname": "First"}}]).status == 200
        assert [row["id"] for row in foreshock.incidents()] == ["S-1"]
