"""Change requests of the systems: evidence once they begin, quiet while they last where that is wanted."""

from datetime import timedelta
from types import SimpleNamespace

import msgspec
import pytest

from collectors.changes import COLLECTOR as CHANGES
from foreshock.core.cmdb import PlannedWork, WorkConfig, WorkState, WorkUse
from foreshock.core.errors import Unavailable
from foreshock.service.cmdb.work import MAX_WORK, AllPlans, Plans, changes, windows
from foreshock.testing.tickets import NOON

HOUR = timedelta(hours=1)


def planned(id="CHG1", state=WorkState.PLANNED, starts=1, ends=3, **more):
    return PlannedWork(
        id=id,
        state=state,
        starts_at=NOON + starts * HOUR,
        ends_at=NOON + ends * HOUR,
        **{"title": "Replace the core switch", "cis": ("sw-1",), "owner": "Network", **more},
    )


class Source:
    def __init__(self, *work):
        self.work_held, self.asked = list(work), []

    def work(self, start, end):
        self.asked.append((start, end))
        if self.work_held == ["down"]:
            raise Unavailable("prod: no answer")
        return self.work_held


class Windows:
    def __init__(self):
        self.kept = {}

    def keep(self, wanted, *, actor, origin="configuration"):
        self.kept[origin] = list(wanted)
        return True


class World:
    def __init__(self, *work, use=WorkUse.QUIET):
        self.now, self.records, self.windows, self.source = NOON, [], Windows(), Source(*work)
        self.plans = Plans(
            "snow", self.source, use, windows=self.windows, append=self.records.append, clock=lambda: self.now
        )

    def told(self):
        """Changes as the collector reads them from the records, by record."""
        return [[CHANGES.translate(item, self.now) for item in CHANGES.decode(record.body)] for record in self.records]


def test_work_that_has_begun_is_evidence_with_its_true_beginning():
    running = planned(state=WorkState.RUNNING, starts=-1, began_at=NOON - HOUR / 2)
    world = World(planned("CHG2"), running, use=WorkUse.EVIDENCE)
    world.plans.run()

    ((change,),) = world.told()
    assert (change.id, change.at, change.cis, change.actor) == ("snow/CHG1", NOON - HOUR / 2, ("sw-1",), "Network")
    assert change.title == "CHG1 Replace the core switch"
    assert world.windows.kept == {"source snow": []}


def test_a_change_is_told_once_and_again_when_it_reads_otherwise():
    world = World(planned(state=WorkState.RUNNING, starts=-1))
    world.plans.run()
    world.plans.run()
    before = len(world.records)
    world.source.work_held = [planned(state=WorkState.DONE, starts=-1, cis=("sw-1", "sw-2"))]
    world.plans.run()

    assert (before, len(world.records)) == (1, 2)
    assert world.told()[1][0].cis == ("sw-1", "sw-2")


@pytest.mark.parametrize(
    ("work", "spans"),
    [
        (planned(), [(1, 3)]),
        (planned(state=WorkState.RUNNING, starts=-1), [(-1, 3)]),
        (planned(state=WorkState.RUNNING, starts=-1, ended_at=NOON + 2 * HOUR), [(-1, 2)]),
        (planned(state=WorkState.RUNNING, starts=-3, ends=-1), []),
        (planned(state=WorkState.DONE, starts=-1), []),
        (planned(state=WorkState.CANCELLED), []),
        (planned(cis=(), services=("shop",)), [(1, 3)]),
        (planned(cis=()), []),
        (planned(starts=3, ends=1), []),
    ],
)
def test_quiet_is_what_is_planned_and_not_over(work, spans):
    found = windows("snow", [work], NOON)

    assert [
        ((span.starts_at - NOON) / HOUR, (span.ends_at - NOON) / HOUR) for one in found for span in one.spans
    ] == spans
    assert {(one.id, one.origin, one.owner) for one in found} <= {("snow-CHG1", "source snow", "Network")}


def test_cancelled_and_planned_work_is_no_evidence():
    assert changes("snow", [planned(), planned("CHG2", WorkState.CANCELLED, starts=-1)], NOON) == {}


def test_a_source_that_is_down_leaves_its_windows_as_they_are():
    world = World(planned())
    world.plans.run()
    before = world.windows.kept["source snow"]
    world.source.work_held = ["down"]
    with pytest.raises(Unavailable):
        world.plans.run()

    assert world.windows.kept["source snow"] == before
    assert len(before) == 1


def test_more_work_than_can_be_taken_is_cut_at_what_lies_furthest_ahead():
    world = World(*(planned(f"CHG{n}", starts=n, ends=n + 1) for n in reversed(range(MAX_WORK + 5))))
    world.plans.run()

    kept = world.windows.kept["source snow"]
    assert len(kept) == MAX_WORK
    assert max(one.spans[0].starts_at for one in kept) == NOON + (MAX_WORK - 1) * HOUR


def test_each_source_is_asked_as_often_as_its_settings_say_and_one_that_fails_holds_up_no_other():
    worlds = {"a": World("down"), "b": World(planned())}
    now = NOON
    plans = AllPlans(lambda instance: worlds[instance.name].plans, lambda: now)
    off = SimpleNamespace(name="c", config=WorkConfig(changes="off"))
    instances = [SimpleNamespace(name=name, config=WorkConfig(every="5m")) for name in worlds] + [off]

    with pytest.raises(Unavailable, match="a: prod: no answer"):
        plans.run(instances)
    plans.run(instances)
    asked = [len(world.source.asked) for world in worlds.values()]
    now = NOON + timedelta(minutes=5)
    with pytest.raises(Unavailable):
        plans.run(instances)

    assert asked == [1, 1]
    assert [len(world.source.asked) for world in worlds.values()] == [2, 2]


def test_what_is_told_is_what_the_collector_of_changes_takes():
    hostile = planned(
        id="C" * 500, state=WorkState.RUNNING, starts=-1, title="x" * 5000, cis=tuple(map(str, range(500)))
    )
    world = World(msgspec.structs.replace(hostile, url="u" * 9000, owner="o" * 900))
    world.plans.run()

    assert [len(one.cis) for one in world.told()[0]] == [100]
