import json
from contextlib import contextmanager
from types import SimpleNamespace

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from foreshock.core.contracts import Step, Verb
from foreshock.core.model import TicketState
from foreshock.service.cli import sinks as command
from foreshock.service.delivery import Lane, LaneStatus
from foreshock.service.delivery_api import delivery_api
from foreshock.service.outgoing import Outgoing, why_not
from foreshock.store.dead_orders import DeadOrders
from foreshock.store.outbox import Outbox, TicketRow, Waiting
from foreshock.store.store import Store
from foreshock.store.tables import metadata
from foreshock.testing.commands import run
from foreshock.testing.records import Story
from foreshock.testing.tickets import NOON, Fault, FaultyTool, SteppedClock, make_order

# ---- why not now ----


def lane(**changes):
    well = LaneStatus(
        sink="tool",
        running=True,
        connections=4,
        calls=0,
        hold="",
        error="",
        since=None,
        resume_at=None,
        failures=0,
        unread="",
    )
    return LaneStatus(**{name: getattr(well, name) for name in well.__struct_fields__} | changes)


def waiting(state=None, **changes):
    ticket = None
    if state is not None:
        ticket = TicketRow(situation="S-1", sink="tool", state=state, number="", url="", updated_at=NOON, error="")
    given = {"sequence": 7, "order": make_order(), "attempts": 0, "next_at": NOON, "error": "", "ticket": ticket}
    return Waiting(**given | changes)


def later(seconds):
    clock = SteppedClock()
    clock.move(seconds)
    return clock.at


@pytest.mark.parametrize(
    ("order", "before", "lane", "expected"),
    [
        (waiting(), None, lane(), ""),
        (
            waiting(),
            None,
            lane(hold="breaker", resume_at=later(9), error="HTTP 503"),
            "too many calls failed until 12:00:09 UTC: HTTP 503",
        ),
        (waiting(), None, lane(hold="fenced"), "another process delivers to it"),
        (waiting(), waiting(sequence=3), lane(), "waits for order 3 (open) of S-1"),
        (waiting(TicketState.SENDING, attempts=1), None, lane(), "is being sent"),
        (
            waiting(TicketState.PLANNED, attempts=4, next_at=later(60), error="HTTP 500"),
            None,
            lane(),
            "tried 4 times: HTTP 500",
        ),
        (waiting(TicketState.UNKNOWN), None, lane(), "its answer was lost, so the record is searched first"),
    ],
)
def test_why_an_order_is_not_sent_now(order, before, lane, expected):
    assert why_not(order, before, lane, NOON) == expected


# ---- asked through the API and the command ----


class Through:
    """The command's way to a running Foreshock, without a socket."""

    def __init__(self, client):
        self.client = client

    def answer(self, path, **query):
        return self._checked(self.client.get(path, params=query))

    def post(self, path, body):
        return self._checked(self.client.post(path, json=body))

    def _checked(self, response):
        assert response.status_code == 200, response.text
        return response.json()


class Running:
    def __init__(self, store, monkeypatch):
        self.store, self.clock = store, SteppedClock()
        self.tool, self.outbox = FaultyTool(self.clock), Outbox(store)
        self.lane = Lane("tool", self.tool, self.outbox, lambda change: None, now=self.clock, jitter=lambda: 1.0)
        self.engine = Story().engine
        outgoing = Outgoing(
            [self.lane],
            self.outbox,
            DeadOrders(store),
            SimpleNamespace(looking=self._looking),
            self.clock,
        )
        application = FastAPI()
        application.include_router(delivery_api(outgoing, actor=lambda request: "ada"))
        self.client = TestClient(application, base_url="http://foreshock.test")
        monkeypatch.setattr(command, "client", lambda server, token_file: Through(self.client))

    @contextmanager
    def _looking(self):
        yield self.engine

    def plan(self, *orders):
        position = self.store.journal.position()[0]
        self.store.journal.commit(Step(read_from=position, position=position + 1, orders=orders))

    def refuse(self, situation):
        self.plan(make_order(sink="tool", situation=situation))
        self.tool.faults = [Fault.REJECTED]
        self.lane.work()


@pytest.fixture
def running(tmp_path, monkeypatch):
    store = Store(f"sqlite:///{tmp_path}/foreshock.db")
    metadata.create_all(store.migration_engine)
    yield Running(store, monkeypatch)
    store.close()


def test_where_nothing_waits_the_plan_says_so(running):
    done = run(["sink", "plan"])

    assert (done.exit_code, done.stdout) == (0, "tool: nothing waits\n")


def test_orders_that_wait_are_planned_with_what_they_say_and_why_they_wait(running):
    running.plan(make_order(sink="tool", note="opened\nfor you"), make_order(Verb.RESOLVE, sink="tool", version=2))

    done = run(["sink", "plan", "tool"])

    assert done.exit_code == 4
    _, first, second = done.stdout.splitlines()
    assert "S-1" in first
    assert "opened for you | title: db1 is down" in first
    assert "goes now" in first
    assert "resolve" in second
    assert "waits for order 1 (open) of S-1" in second


def test_a_sink_that_is_held_is_told_of(running):
    running.plan(make_order(sink="tool"))
    running.tool.faults = [Fault.DENIED]
    running.lane.work()

    done = run(["sink", "plan"])

    assert "tool: no calls until 2026-11-22 12:00:02 (denied): HTTP 401" in done.stderr
    assert "the sink refuses our credentials until 12:00:02 UTC: HTTP 401" in done.stdout


def test_what_is_held_back_is_planned_with_its_time_and_reason(running):
    slow = {"ticket": {"delay": "10m", "delay_by_priority": {}}}
    running.engine = Story(settings=slow, sinks=("tool",)).fire("db1").engine

    (plan,) = json.loads(run(["sink", "plan", "-o", "json"]).stdout)

    (ticket,) = plan["tickets"]
    assert (ticket["step"], ticket["why"]) == ("wait", "young; it may gather alerts or recover by itself")
    assert ticket["due_at"] is not None
    assert plan["orders"] == []


def test_dead_letters_are_listed_with_exit_code_4_and_their_whole_order_as_json(running):
    assert run(["sink", "dead-letters", "list", "tool"]).exit_code == 0
    running.refuse("S-1")

    shown = run(["sink", "dead-letters", "list", "tool"])
    (letter,) = json.loads(run(["sink", "dead-letters", "list", "tool", "-o", "json"]).stdout)

    assert shown.exit_code == 4
    assert "HTTP 400: the field u_site is mandatory" in shown.stdout
    assert letter["order"]["fields"]["title"] == "db1 is down"
    assert "1 dead letter: foreshock sink dead-letters list tool" in run(["sink", "plan"]).stderr


def test_all_dead_letters_or_one_of_them_are_sent_again(running):
    for situation in ("A", "B", "C"):
        running.refuse(situation)

    one = run(["sink", "dead-letters", "retry", "tool", "2"])
    running.lane.work()
    the_others = run(["sink", "dead-letters", "retry", "tool", "-o", "json"])
    running.lane.work()

    assert (one.exit_code, the_others.exit_code) == (0, 0)
    assert [tried["id"] for tried in json.loads(the_others.stdout)] == [1, 3]
    assert [order.situation for order in running.tool.delivered] == ["B", "A", "C"]


def test_one_that_is_not_there_does_not_keep_the_others_back(running):
    running.refuse("A")

    done = run(["sink", "dead-letters", "retry", "tool", "1", "99"])

    assert done.exit_code == 1
    assert "1   sent again" in done.stdout
    assert "99  tool has no dead letter 99; list them with `foreshock sink dead-letters list tool`" in done.stdout


def test_dropping_takes_a_reason_which_stands_in_the_audit(running):
    running.refuse("A")

    without = run(["sink", "dead-letters", "drop", "tool", "1"])
    done = run(["sink", "dead-letters", "drop", "tool", "1", "--reason", "opened by hand"])

    assert (without.exit_code, done.exit_code) == (2, 0)
    assert run(["sink", "dead-letters", "list", "tool"]).exit_code == 0
    (row,) = running.store.audit("A")
    assert (row.actor, row.action) == ("ada", "dropped")
    assert "opened by hand" in row.detail


@pytest.mark.parametrize(
    ("method", "path", "body", "status"),
    [
        ("GET", "plan?sink=nope", None, 404),
        ("GET", "nope/dead-letters", None, 404),
        ("POST", "nope/dead-letters/retry", {}, 404),
        ("POST", "tool/dead-letters/drop", {"ids": [], "reason": "x"}, 422),
        ("POST", "tool/dead-letters/drop", {"ids": [1], "reason": ""}, 422),
        ("POST", "tool/dead-letters/retry", {"ids": [0]}, 422),
        ("POST", "tool/dead-letters/retry", {"id": 1}, 422),
    ],
)
def test_a_request_that_makes_no_sense_is_refused_with_the_reason(running, method, path, body, status):
    response = running.client.request(method, f"/api/v1/sinks/{path}", json=body)

    assert response.status_code == status
    assert response.json()["error"]
