from datetime import timedelta

import pytest

from foreshock.core.contracts import DeskAction, Receipt, SinkParts, Verb
from foreshock.store.desk import Desk
from foreshock.store.store import Store
from foreshock.store.tables import metadata
from foreshock.testing.tickets import NOON, make_order
from incident_sink.desk import SINK


@pytest.fixture
def desk(tmp_path):
    opened = Store(f"sqlite:///{tmp_path}/foreshock.db")
    metadata.create_all(opened.migration_engine)
    yield Desk(opened)
    opened.close()


@pytest.fixture
def sink(desk):
    return SINK.build("main", SINK.config(), SinkParts(http=None, book=desk))


def test_an_incident_on_the_desk_is_found_by_its_key_at_once(sink, desk):
    receipt = sink.deliver(make_order(), None)

    assert receipt == Receipt(number="INC0000001", url="/incidents/S-1")
    assert sink.find("S-1") == Receipt(number="INC0000001", url="/incidents/S-1", state="open")


def test_what_people_do_is_read_back_under_the_instances_name(sink, desk):
    number = sink.deliver(make_order(), None).number
    desk.act(number, DeskAction.RESOLVE, actor="ada", at=NOON + timedelta(minutes=1), text="new disk")

    (change,) = sink.changes(0)

    assert (change.sink, change.situation, change.number, change.state, change.actor, change.comment) == (
        "main",
        "S-1",
        number,
        "resolved",
        "ada",
        "new disk",
    )
    assert list(sink.changes(change.sequence)) == []


def test_a_persons_end_is_not_undone_by_what_foreshock_orders_later(sink, desk):
    number = sink.deliver(make_order(), None).number
    desk.act(number, DeskAction.RESOLVE, actor="ada", at=NOON, code="no_fault_found")

    sink.deliver(make_order(Verb.REOPEN, version=2), Receipt(number=number))

    assert desk.get(number).resolution_code == "no_fault_found"
