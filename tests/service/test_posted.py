"""Points that are posted, on their way from the process in front to the metric history."""

import asyncio
from datetime import UTC, datetime

import msgspec
import pytest

from foreshock.connect.selecting import Meter, Metered, Selected
from foreshock.core.contracts import Measured
from foreshock.core.errors import Unavailable
from foreshock.service.metric_process import Append
from foreshock.service.posted import Posting, outcomes

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)


def metered(*values: float) -> Metered:
    meter = Meter([Selected(match="load")])
    labels = {"__name__": "load", "instance": "web1"}
    at = NOW.timestamp()
    return meter.read([Measured(labels=labels, at_s=at + n, value=value) for n, value in enumerate(values)], at)


class History:
    """Keeps what it is given once ``room`` is set."""

    def __init__(self) -> None:
        self.appends: list[Append] = []
        self.room = asyncio.Event()

    async def append(self, body: bytes) -> None:
        await self.room.wait()
        self.appends.append(msgspec.msgpack.decode(body, type=Append))


def test_what_comes_while_a_batch_is_on_its_way_shares_the_next_one():
    async def run() -> History:
        history, posting = History(), Posting(lambda: NOW)
        posting.append = history.append
        posts = [asyncio.create_task(posting.measure("collectd", "collectd", metered(n))) for n in range(5)]
        await asyncio.sleep(0.01)
        posts += [asyncio.create_task(posting.measure("collectd", "collectd", metered(n))) for n in range(5, 50)]
        await asyncio.sleep(0.01)
        assert not any(post.done() for post in posts)  # nobody is answered before it is on disk
        history.room.set()
        await asyncio.gather(*posts)
        assert posting.counts["collectd"].kept == 50
        return history

    history = asyncio.run(run())

    assert [len(append.points) for append in history.appends] == [5, 45]
    assert {append.source for append in history.appends} == {"collectd"}


def test_before_the_history_is_there_points_are_to_be_sent_again_and_nothing_is_counted():
    posting = Posting(lambda: NOW)

    with pytest.raises(Unavailable, match="still being loaded"):
        asyncio.run(posting.measure("collectd", "collectd", metered(1.0)))

    assert posting.counts == {}


def test_points_that_are_not_kept_need_no_history():
    posting = Posting(lambda: NOW)
    none = Meter(()).read([Measured(labels={"__name__": "load", "instance": "web1"}, at_s=1.0, value=1.0)], 1.0)

    asyncio.run(posting.measure("collectd", "collectd", none))

    assert dict(outcomes(posting.counts))["collectd", "ignored"] == 1
