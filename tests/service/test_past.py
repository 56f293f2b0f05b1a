"""History read from a running Foreshock, page by page."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from foreshock.core.contracts import Record, RecordKind
from foreshock.core.errors import Rejected, Unavailable
from foreshock.service import past
from foreshock.service.client import Client
from foreshock.service.period import Period
from foreshock.service.records import SettingsRecord

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def record(number: int) -> Record:
    return Record(number=number, at=NOON, kind=RecordKind.TICK, body=b"")


class Canned(Client):
    """Answers with the records that are left."""

    def __init__(self, numbers: Sequence[int], *, page: int = 3) -> None:
        super().__init__("http://elsewhere", None)
        self._numbers, self._page = list(numbers), page

    def lines(self, path: str, **query: Any) -> bytes:
        if path != "/api/v1/records":
            return b""
        found = [number for number in self._numbers if query["after"] < number <= query["upto"]][: self._page]
        return b"".join(msgspec.json.encode(record(number)) + b"\n" for number in found)


def wanted(after: int, upto: int) -> Period:
    settings = SettingsRecord(correlation={}, sinks=())
    return Period(since=None, until=None, head=(record(0),), after=after, upto=upto, last_at=NOON, settings=settings)


def test_what_was_in_force_comes_first_and_then_page_after_page():
    found = past.records(Canned(range(1, 20)), wanted(4, 12))

    assert [one.number for one in found] == [0, *range(5, 13)]


@pytest.mark.parametrize("left", [range(7, 20), range(0)], ids=["the oldest", "all"])
def test_what_was_forgotten_meanwhile_is_told_and_not_passed_over(left: Sequence[int]):
    with pytest.raises(Unavailable, match="has forgotten record 5 while its history was read"):
        list(past.records(Canned(left), wanted(4, 12)))


def test_a_foreshock_that_is_too_old_to_say_is_named():
    with pytest.raises(Rejected, match="http://elsewhere cannot say what a period begins with"):
        past.ask(Canned([]), None, None)
