"""What an ITSM system says at once: believed only where it is proven and new, and never taken for the truth itself."""

import json
import threading
import time
from datetime import timedelta

import pytest
import uvicorn
from starlette.testclient import TestClient

from foreshock.core.contracts import SHARED_TOKEN, Verb
from foreshock.sandbox.faults import Fault
from foreshock.sandbox.server import Webhook
from foreshock.sandbox.system import secret_file
from foreshock.service.delivery import Lane
from foreshock.service.front import Front
from foreshock.service.hooks import MAX_BODY_BYTES, Door, Hooks, Seen
from foreshock.service.settings import load_settings
from foreshock.service.wiring import Foreshock
from foreshock.store.store import Store
from foreshock.store.tables import metadata
from foreshock.testing.sinks import SIMULATED, SINKS, Bench, staged
from foreshock.testing.tickets import NOON, SteppedClock

SECRET = "dGhpc19zZWNyZXRfaXNfZm9yX3Rlc3Rpbmdfb25seQ=="
SIGNED = [kind for kind in SIMULATED if SINKS[kind].hook is not SHARED_TOKEN]


async def behind(scope, receive, send):
    await send({"type": "http.response.start", "status": 418, "headers": []})
    await send({"type": "http.response.body", "body": b""})


class At:
    """One door, as a system reaches it. heard: how often the sink's lane was told."""

    def __init__(self, kind):
        self.clock = SteppedClock()
        self.heard = 0
        self.closed = None
        self.simulator = SIMULATED[kind]
        door = Door(SINKS[kind].hook, SECRET, self._hear)
        self.app = Hooks(behind, {"prod": door}, clock=self.clock, closed=lambda: self.closed)
        self.client = TestClient(self.app, base_url="http://127.0.0.1")

    def _hear(self):
        self.heard += 1

    def call(self, number="7", secret=SECRET):
        return self.simulator.call(number, self.clock(), secret)

    def post(self, call, sink="prod", **changed):
        body = changed.pop("body", call.body)
        return self.client.post(f"/hooks/{sink}", content=body, headers={**call.headers, **changed})


@pytest.fixture(params=SIMULATED)
def at(request):
    return At(request.param)


@pytest.fixture(params=SIGNED)
def at_signed(request):
    return At(request.param)


# ---- what is believed -----------------------------------------------------------------------------------------------


def test_what_the_system_sends_has_the_sink_looked_at(at):
    answer = at.post(at.call())

    assert (answer.status_code, answer.json(), at.heard) == (202, {"status": "accepted"}, 1)


def test_what_another_secret_made_is_refused_without_a_look(at):
    answer = at.post(at.call(secret="another"))

    assert (answer.status_code, at.heard) == (401, 0)
    assert "check the secret on both sides (here: webhook_secret_file)" in answer.json()["error"]
    assert SECRET not in answer.text


def test_a_call_without_its_proof_is_refused_naming_the_header(at):
    answer = at.client.post("/hooks/prod", content=at.call().body)

    assert (answer.status_code, at.heard) == (401, 0)
    assert SINKS[at.simulator.kind].hook.header in answer.json()["error"]


def test_a_body_that_was_changed_on_the_way_is_refused(at_signed):
    call = at_signed.call()

    assert at_signed.post(call, body=call.body.replace(b"7", b"8")).status_code == 401
    assert at_signed.heard == 0


def test_a_call_that_comes_again_is_answered_well_and_changes_nothing(at_signed):
    call = at_signed.call()
    answers = [at_signed.post(call) for _ in range(3)]

    assert [(answer.status_code, answer.json()["status"]) for answer in answers] == [
        (202, "accepted"),
        (200, "repeated"),
        (200, "repeated"),
    ]
    assert at_signed.heard == 1


@pytest.mark.parametrize("seconds", [3601, -301])
def test_an_old_call_or_one_from_the_future_is_refused_with_both_times(at_signed, seconds):
    call = at_signed.call()
    at_signed.clock.move(seconds)
    answer = at_signed.post(call)

    assert (answer.status_code, at_signed.heard) == (401, 0)
    assert "it was sent at 2026-11-22 12:00:00 UTC, here it is" in answer.json()["error"]


def test_the_time_of_a_call_cannot_be_changed(at_signed):
    call = at_signed.call()
    at_signed.clock.move(4000)
    later = at_signed.call()
    stamps = {name: value for name, value in later.headers.items() if "timestamp" in name.lower()}

    assert at_signed.post(call, **stamps).status_code == 401
    assert at_signed.post(call, body=later.body).status_code == 401


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b'{"timestamp": "soon"}', b"\xff", b'{"timestamp": 1e400}'])
def test_a_signed_call_that_says_no_time_could_be_sent_for_ever_and_is_refused(body):
    at = At("jira_sm")
    proof = SINKS["jira_sm"].hook.proof(SECRET, {}, body)

    answer = at.client.post("/hooks/prod", content=body, headers={"X-Hub-Signature": proof})

    assert (answer.status_code, at.heard) == (401, 0)


def test_what_was_taken_is_forgotten_when_it_is_too_old_to_be_taken_again():
    seen = Seen(timedelta(minutes=10))

    assert seen.add("a", NOON)
    assert not seen.add("a", NOON + timedelta(minutes=10))
    assert seen.add("b", NOON + timedelta(minutes=11))
    assert seen.add("a", NOON + timedelta(minutes=11))


# ---- the way in -----------------------------------------------------------------------------------------------------


def test_a_body_beyond_the_limit_is_refused_whether_it_says_its_length_or_not(at):
    def dripping():
        for _ in range(3):
            yield b"x" * (MAX_BODY_BYTES // 2)

    long = at.post(at.call(), body=b"x" * (MAX_BODY_BYTES + 1))
    endless = at.post(at.call(), body=dripping())

    assert (long.status_code, endless.status_code, at.heard) == (413, 413, 0)
    assert "1048577 bytes, 1048576 are allowed" in long.json()["error"]


def test_a_sink_that_takes_no_webhooks_is_not_there(at):
    answer = at.post(at.call(), sink="other")

    assert answer.status_code == 404
    assert "webhook_secret_file" in answer.json()["error"]
    assert at.app.counts == {}


def test_it_is_posted_and_nothing_else(at):
    answer = at.client.get("/hooks/prod")

    assert (answer.status_code, answer.headers["allow"]) == (405, "POST")


def test_while_foreshock_stops_the_system_is_asked_to_come_again(at):
    at.closed = ("Foreshock is stopping", 5)
    answer = at.post(at.call())

    assert (answer.status_code, answer.headers["retry-after"], at.heard) == (503, "5", 0)


def test_everything_else_goes_on_behind(at):
    assert at.client.get("/api/v1/status").status_code == 418


def test_calls_are_counted_by_outcome(at_signed):
    call = at_signed.call()
    for each in (call, call, at_signed.call(secret="another")):
        at_signed.post(each)

    assert at_signed.app.counts == {("prod", "accepted"): 1, ("prod", "repeated"): 1, ("prod", "refused"): 1}


# ---- from the system to the inbox -----------------------------------------------------------------------------------


class Listening:
    """An application on a real socket."""

    def __init__(self, app):
        self._server = uvicorn.Server(
            uvicorn.Config(app, port=0, lifespan="off", ws="none", log_config=None, access_log=False)
        )
        self._thread = threading.Thread(target=self._server.run, daemon=True)
        self._thread.start()
        while not self._server.started:
            time.sleep(0.01)
        port = self._server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"

    def stop(self):
        self._server.should_exit = True
        self._thread.join(10)


@pytest.fixture(params=SIMULATED)
def bench(request, tmp_path):
    store = Store(f"sqlite:///{tmp_path}/foreshock.db")
    metadata.create_all(store.migration_engine)
    with staged(SIMULATED[request.param], tmp_path) as stage:
        bench = Bench(stage, store)
        settle = stage.config.settle
        bench.lane = Lane(
            "prod",
            stage.sink,
            bench.outbox,
            bench.told.append,
            now=stage.clock,
            poll=timedelta(days=1),
            look=timedelta(days=1),
            settle=settle,
            jitter=lambda: 0.0,
        )
        bench.settle_s = settle.total_seconds()
        door = Door(stage.kind.hook, SECRET, bench.lane.hear)
        listening = Listening(Hooks(behind, {"prod": door}, clock=stage.clock, closed=lambda: None))
        stage.server.webhook = Webhook(f"{listening.url}/hooks/prod", SECRET, SIMULATED[request.param].call)
        yield bench
        listening.stop()
    store.close()


def looks(bench, seconds):
    """The lane works as often as it wants to for so long."""
    until = bench.stage.clock() + timedelta(seconds=seconds)
    while bench.stage.clock() < until:
        bench.stage.clock.at = max(bench.lane.work(), bench.stage.clock() + timedelta(seconds=1))


def test_what_a_person_did_arrives_as_soon_as_it_has_settled_and_not_at_the_next_poll(bench):
    stage = bench.stage
    receipt = stage.deliver(Verb.OPEN)
    looks(bench, 120)
    stage.person(receipt.number, "resolve", actor="ada")

    statuses = stage.server.announce(receipt.number)
    looks(bench, bench.settle_s + 3)

    assert statuses == [202]
    assert [(change.state, change.number) for change in bench.told] == [("resolved", receipt.number)]


def test_a_call_while_the_sink_is_down_is_taken_and_the_change_read_when_it_is_back(bench):
    stage = bench.stage
    receipt = stage.deliver(Verb.OPEN)
    looks(bench, 120)
    stage.person(receipt.number, "resolve")
    stage.faults.set_rates({Fault.ERROR: 1.0})

    assert stage.server.announce(receipt.number) == [202]
    looks(bench, 300)
    assert bench.told == []
    stage.faults.set_rates({})
    looks(bench, 900)

    assert [change.state for change in bench.told] == ["resolved"]


def test_a_call_that_says_what_never_happened_has_no_effect(bench):
    receipt = bench.stage.deliver(Verb.OPEN)
    looks(bench, 120)

    assert bench.stage.server.announce(receipt.number) == [202]
    looks(bench, bench.settle_s + 3)

    assert bench.told == []


def test_what_people_did_before_the_call_arrived_is_told_once_however_often_it_calls(bench):
    stage = bench.stage
    receipt = stage.deliver(Verb.OPEN)
    looks(bench, 120)
    for action in ("take", "comment", "resolve"):
        stage.person(receipt.number, action, text="hm")
    stage.server.announce(receipt.number, times=3)
    looks(bench, 3 * bench.settle_s + 60)

    assert sorted(change.state for change in bench.told) == ["commented", "resolved", "taken"]


# ---- the whole ------------------------------------------------------------------------------------------------------


def test_a_system_needs_no_token_of_ours_and_gets_nowhere_else_without_one(tmp_path):
    tokens = secret_file(tmp_path, "tokens", f"ada {'s' * 40}")
    sink = {
        "name": "tickets",
        "kind": "zendesk",
        "url": "http://127.0.0.1:9",
        "user": "bot@example.com",
        "token_file": secret_file(tmp_path, "token", "x"),
        "webhook_secret_file": secret_file(tmp_path, "hook", SECRET),
    }
    config = tmp_path / "foreshock.yaml"
    config.write_text(json.dumps({"sinks": [sink], "tokens_file": tokens, "disk_guard": {"min_free": "1MiB"}}))
    settings = load_settings(config, {}, {"state": str(tmp_path / "state")})
    front = Front(settings)
    front.start()
    foreshock = Foreshock(front)
    foreshock.start()
    try:
        client = TestClient(front.app, base_url="http://127.0.0.1")
        call = SIMULATED["zendesk"].call("7", foreshock.clock(), SECRET)

        assert client.post("/hooks/tickets", content=call.body, headers=call.headers).status_code == 202
        assert client.post("/hooks/tickets", content=call.body).status_code == 401
        assert client.get("/api/v1/status").status_code == 401
        assert (
            'foreshock_hooks_total{outcome="accepted",sink="tickets"} 1.0' in foreshock.metrics.render("")[0].decode()
        )
    finally:
        foreshock.stop()
