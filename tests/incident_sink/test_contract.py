"""What every sink promises; a new file in incident_sink is found and held to it by being there."""

import inspect
from functools import cache
from importlib import import_module

import pytest
from pydantic import ValidationError

from foreshock.core.contracts import ConnectorConfig, Finding, Receipt, SinkParts, Verb
from foreshock.sandbox.system import secret_file
from foreshock.store.desk import Desk
from foreshock.testing.receiver import Receiver
from foreshock.testing.sinks import SIMULATED, SINKS
from foreshock.testing.ticket_servers import TICKET_SERVERS
from foreshock.testing.tickets import make_order

HOSTILE = [
    "'; DROP TABLE incident; --",
    "<script>alert(1)</script>",
    "{{7*7}} ${7*7} %(x)s {0}",
    "line\r\nInjected-Header: yes",
    "nul\x00 bell\x07 escape\x1b[31m",
    "right\u202eto left, \ud83d\ude00 as half pairs, \udc00 alone",
    "☠️" * 3000,
    "",
]


class RecordingHttp:
    """Takes every call and remembers it: a receiver that answers 200 and keeps one entry per idempotency header."""

    def __init__(self, instance, base_url, **settings):
        self.instance, self.base_url, self.settings = instance, base_url, settings
        self.entries = {}

    def post(self, path, *, body=b"", headers=None, json=None, params=None):
        self.entries[headers["webhook-id"]] = (path, body)
        return


def configure_webhook(tmp_path):
    secret = secret_file(tmp_path, "webhook.secret", "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSwMfKQ")
    return {"url": "https://receiver.example/hook", "secret_file": secret}


@cache
def receiver_of_messages():
    """One for all tests; its threads end with the process."""
    return Receiver(status=200).__enter__()


def configure_notify(tmp_path):
    address = f"json://127.0.0.1:{receiver_of_messages().server_port}/"
    return {"url_file": secret_file(tmp_path, "receiver", address)}


CONFIGS = {"notify": configure_notify, "webhook": configure_webhook}
"""The least configuration of a kind without a stand-in; a kind that is missing here needs none."""


@pytest.fixture(params=SINKS)
def kind(request):
    return SINKS[request.param]


@pytest.fixture
def stage(kind, staged_kind):
    """The kind before its stand-in, or the real system, where it has one."""
    if kind.kind not in (*SIMULATED, *TICKET_SERVERS):
        yield None
        return
    with staged_kind(kind.kind) as made:
        yield made


@pytest.fixture
def settings(kind, tmp_path, stage):
    return stage.settings if stage is not None else CONFIGS.get(kind.kind, lambda _: {})(tmp_path)


@pytest.fixture
def world(kind, settings, store, stage):
    """(sink, everything that changed in the world because of it)"""
    if stage is not None:
        return stage.sink, lambda: (stage.held(), stage.server.ledger.effects())
    made = []

    def http(*arguments, **options):
        made.append(RecordingHttp(*arguments, **options))
        return made[-1]

    desk = Desk(store)
    sink = kind.build("prod", kind.config(**settings), SinkParts(http=http, book=desk))

    def state():
        records = list(desk.list())
        return records, [desk.notes(record.number) for record in records], [each.entries for each in made]

    return sink, state


@pytest.fixture
def sink(world):
    return world[0]


def named(receipt):
    """A receipt without what the sink keeps for itself."""
    return receipt.number, receipt.url


def test_the_file_tells_people_its_facts_its_delivery_and_its_needs(kind):
    text = inspect.getdoc(import_module(f"incident_sink.{kind.kind}"))

    assert [word for word in ("Facts:", "Delivery:", "Needs:") if f"\n{word}" not in text] == []
    assert kind.title
    assert kind.facts


def test_every_setting_is_described_and_an_unknown_one_is_refused(kind, settings):
    assert issubclass(kind.config, ConnectorConfig)
    assert [name for name, field in kind.config.model_fields.items() if not field.description] == []
    kind.config.model_validate(settings)
    with pytest.raises(ValidationError, match="no_such_setting"):
        kind.config.model_validate({**settings, "no_such_setting": 1})


def test_a_repeated_order_changes_nothing_and_gives_the_same_receipt(world):
    sink, state = world
    receipt = None
    for version, verb in enumerate((Verb.OPEN, Verb.UPDATE, Verb.RESOLVE, Verb.REOPEN), 1):
        order = make_order(verb, sink="prod", version=version, note=f"note {version}")
        first = sink.deliver(order, receipt)
        after_once = state()

        assert named(sink.deliver(order, receipt)) == named(first)
        assert named(sink.deliver(order, first)) == named(first)
        assert state() == after_once
        receipt = first
    assert receipt.number


def test_a_receipt_names_the_record_of_its_key_and_no_other(sink):
    first = sink.deliver(make_order(situation="S-1"), None)
    second = sink.deliver(make_order(situation="S-2"), None)

    assert first.number != second.number


def test_a_search_finds_the_record_or_says_none(sink):
    assert sink.find("S-404") is None
    receipt = sink.deliver(make_order(), None)

    found = sink.find("S-1")
    assert found is None or named(found) == named(receipt)


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_is_delivered_as_text(sink, text):
    order = make_order(title=text, description=text, assignment_group=text, ci=text, severity=text, note=text)

    receipt = sink.deliver(order, None)

    assert isinstance(receipt, Receipt)
    assert receipt.number
    assert "\n" not in receipt.number


def test_nothing_is_read_back_before_anybody_did_something(sink):
    sink.deliver(make_order(), None)

    assert list(sink.changes(0)) == []
    assert list(sink.changes(10**12)) == []


def test_a_check_tells_what_it_saw_and_changes_nothing(world):
    sink, state = world
    before = state()

    findings = list(sink.check())

    assert findings
    assert all(isinstance(finding, Finding) and finding.subject and finding.observed for finding in findings)
    assert [finding for finding in findings if finding.remedy] == []
    assert state() == before


def test_the_indexing_delay_is_stated_in_sane_seconds(kind):
    assert 0 <= kind.index_delay_s <= 600
