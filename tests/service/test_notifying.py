"""Who is told at this hour, by which sinks, and that each is told although Foreshock dies."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

import pytest

from foreshock.core.contracts import Notice, NoticeKind, Step
from foreshock.core.errors import Unavailable
from foreshock.service.notifying import STALE, Directory, Notifier, order
from foreshock.store.outbox import Outbox
from foreshock.store.store import Store
from foreshock.store.tables import metadata
from foreshock.testing.tickets import NOON, SteppedClock


class Duty:
    """A roster that says what it is told to say."""

    def __init__(self, *people: str, error: str = "") -> None:
        self.people, self.error = people, error

    def who(self, at: datetime) -> tuple[str, ...]:
        if self.error:
            raise Unavailable(self.error)
        return self.people


CONTACTS = {"ann": ("ann-phone", "ann-mail"), "Bob": ("bob-phone",), "database": ("db-channel",)}


def reach(*audience: str, fallback: Sequence[str] = (), rosters: Mapping[str, Duty] = {}) -> dict[str, str]:
    return Directory(CONTACTS, fallback, rosters).reach(audience, NOON)


def test_a_person_is_reached_by_all_their_sinks():
    assert reach("ann") == {"ann-phone": "ann", "ann-mail": "ann"}


def test_names_compare_without_case():
    assert reach("BOB") == {"bob-phone": "BOB"}


def test_a_group_stands_for_whoever_is_on_duty():
    assert reach("database", rosters={"Database": Duty("bob")}) == {"bob-phone": "bob"}


@pytest.mark.parametrize("duty", [Duty(), Duty(error="no answer")], ids=["nobody is on duty", "the roster is silent"])
def test_a_group_itself_is_told_where_nobody_can_say_who_is_on_duty(duty: Duty):
    assert reach("database", rosters={"database": duty}) == {"db-channel": "database"}


def test_the_first_who_can_be_reached_is_told():
    assert reach("nobody", "Bob", "ann") == {"bob-phone": "Bob"}


def test_the_fallback_hears_what_is_for_nobody_known():
    assert reach("nobody", fallback=("noc",)) == {"noc": "nobody"}
    assert reach(fallback=("noc",)) == {"noc": ""}


@pytest.fixture
def store(tmp_path):
    opened = Store(f"sqlite:///{tmp_path}/foreshock.db")
    metadata.create_all(opened.migration_engine)
    yield opened
    opened.close()


# ---- notices become orders ------------------------------------------------------------------------------------------


def notice(number: int, at: datetime = NOON, audience: tuple[str, ...] = ("ann",)) -> Notice:
    return Notice(
        id=f"S-1/sla/{number}", situation="S-1", at=at, kind=NoticeKind.SLA, level=75, title="Down on db1",
        text="75 % of 15m are gone.", priority=2, audience=audience, url="/incidents/S-1",
    )  # fmt: skip


def given(store: Store, *notices: Notice) -> Notifier:
    position = store.journal.position()[0]
    store.journal.commit(Step(read_from=position, position=position + 1, notices=notices))
    return Notifier(store, Outbox(store), Directory(CONTACTS, (), {}), SteppedClock())


def test_a_notice_becomes_one_message_for_each_sink_that_reaches_the_person(store):
    assert given(store, notice(1)).run() == 2

    waiting = {sink: Outbox(store).pending(sink, NOON) for sink in ("ann-phone", "ann-mail")}

    ((head,), (other,)) = waiting.values()
    assert (head.order.id, head.order.key) == ("S-1/sla/1/ann-phone", "S-1/sla/1")
    assert head.order.fields == {
        "notice": "sla", "level": 75, "title": "Down on db1 (P2)", "text": "75 % of 15m are gone.", "priority": 2,
        "for": "ann",
    }  # fmt: skip
    assert other.order.sink == "ann-mail"


def test_nobody_is_told_twice(store):
    notifier = given(store, notice(1))
    notifier.run()

    assert notifier.run() == 0
    assert Notifier(store, Outbox(store), Directory(CONTACTS, (), {}), SteppedClock()).run() == 0


def test_an_order_that_is_there_is_not_added_again_although_the_place_was_lost(store):
    notifier = given(store, notice(1))
    notifier.run()
    ((_, first),) = store.notices(0, limit=1)
    Outbox(store).add([order(first, "ann-phone", "ann")], cursor_name="notices", value=1)

    assert len(Outbox(store).pending("ann-phone", NOON)) == 1


def test_what_is_old_wakes_nobody_and_holds_nothing_up(store):
    notifier = given(store, notice(1, at=NOON - STALE - timedelta(seconds=1)), notice(2))

    assert notifier.run() == 2
    assert notifier.run() == 0


def test_a_notice_for_nobody_who_can_be_reached_holds_nothing_up(store):
    assert given(store, notice(1, audience=()), notice(2)).run() == 2
