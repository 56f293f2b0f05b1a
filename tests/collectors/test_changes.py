"""Changes in our own format: what was changed, when it began and ended, and what people read of it."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from collectors.changes import decode, translate
from foreshock.core.contracts import Ignored
from foreshock.core.errors import Malformed
from foreshock.core.model import Change

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)


def read(**fields: Any) -> list[Change | Ignored]:
    items = decode(json.dumps({"id": "CHG1", **fields}).encode())
    assert not [item for item in items if isinstance(item, Malformed)]
    return [translate(item, NOON) for item in items if not isinstance(item, Malformed)]


def changes(**fields: Any) -> list[Change]:
    return [one for one in read(**fields) if isinstance(one, Change)]


def test_a_change_without_a_time_is_made_now():
    (found,) = changes(cis=["db1"], title="firmware")

    assert (found.at, found.title, found.cis) == (NOON, "firmware", ("db1",))


def test_a_service_is_what_was_changed_like_any_ci():
    assert [one.cis for one in changes(service="shop")] == [("shop",)]
    assert [one.cis for one in changes(service="shop", cis=["db1", "shop"])] == [("db1", "shop")]


def test_a_change_of_nothing_is_refused():
    with pytest.raises(Malformed, match="neither"):
        read(title="firmware")


def test_what_is_known_of_it_stands_in_its_title():
    (found,) = changes(service="shop", title="v4.2", environment="production", risk="high", rollback=True)

    assert found.title == "v4.2 (rolled back, in production, risk high)"


def test_a_change_that_took_its_time_counts_when_it_began_and_when_it_ended():
    begun, ended = changes(cis=["db1"], title="firmware", at="2026-11-22T10:00:00Z", ended_at="2026-11-22T11:00:00Z")

    assert (begun.at, ended.at) == (NOON - timedelta(hours=2), NOON - timedelta(hours=1))
    assert ended.title == "the end of firmware"
    assert begun.id != ended.id


def test_an_end_to_come_has_not_come():
    begun, ended = read(cis=["db1"], at="2026-11-22T10:00:00Z", ended_at="2026-11-22T13:00:00Z")

    assert isinstance(begun, Change)
    assert isinstance(ended, Ignored)
