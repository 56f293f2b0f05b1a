"""Broken umbrellas, each caught by the check that is there for it; the same story passes with the engine as it is."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pytest

from correlation import umbrella as umbrellas
from correlation.next_step import Decision, Step, next_step
from correlation.settings import TicketSettings
from correlation.umbrella import Umbrellas
from foreshock.core.model import JudgementKind, Situation, Ticket
from foreshock.service import checkpoint, deciding, umbrella
from foreshock.service.engine import Engine
from foreshock.testing.records import (
    Story,
    check_forgotten,
    check_nothing_is_due,
    check_resolutions,
    check_same,
    check_umbrellas,
)

Planter = pytest.MonkeyPatch
SITE = (*(f"h{number} runs_on r{1 + number // 4}" for number in range(8)), "r1 depends_on site", "r2 depends_on site")
LATER = 366 * 86_400.0  # the longest that anything is remembered, a pattern


@dataclass(frozen=True)
class Bug:
    name: str
    plant: Callable[[Planter], None]
    tell: Callable[[], Story]
    check: Callable[[Story], None]


# ---- the stories ----------------------------------------------------------------------------------------------------


def site() -> Story:
    chosen = {
        "group": {"threshold": 1.0},
        "umbrella": {"situations": 3, "share": 0.2},
        "suppress": {"upstream": {"enabled": False}},
    }
    return Story(*SITE, settings=chosen)


def failed() -> Story:
    return site().fire("h0", "h1", "h2").after(40).tick()


def rack_then_site() -> Story:
    return site().fire("h0", "h1", "h2").after(60).fire("site").after(40).tick()


def rejected() -> Story:
    return failed().sink_says("rejected", number="").after(5)


def merged() -> Story:
    return failed().judge(JudgementKind.MERGE, situation="S-3", other="S-1")


def over() -> Story:
    return failed().resolve("h0", "h1", "h2").after(130).tick().after(130).tick()


def over_parent_first() -> Story:
    return failed().resolve("h0").after(130).tick()


def ticketed_and_over() -> Story:
    story = site().fire("h0").after(40).fire("h1").after(40).fire("h2").after(40).tick()
    return story.resolve("h1").after(130).tick()


def back_after_all_was_over() -> Story:
    return over().after(10).fire("h1").after(5).tick().after(5)


# ---- the checks -----------------------------------------------------------------------------------------------------


def flat_and_open(story: Story) -> None:
    check_umbrellas(story.engine)


def nothing_is_due(story: Story) -> None:
    check_nothing_is_due(story.engine)


def no_ticket_left(story: Story) -> None:
    check_resolutions(story.engine)


def forgotten(story: Story) -> None:
    check_forgotten(story.after(LATER).tick().engine)


def restarts_change_nothing(story: Story) -> None:
    check_same(story.after(60).tick().records, restarts=range(len(story.records)))


def one_ticket(story: Story) -> None:
    assert [order.situation for order in story.told.orders if order.verb == "open"] == ["S-1"]


# ---- the bugs -------------------------------------------------------------------------------------------------------


def keep_what_was_under_an_adopted_one(planter: Planter) -> None:
    planter.setattr(umbrella, "_hand_over", lambda engine, child, parent: None)


def forget_who_has_left(planter: Planter) -> None:
    real = Umbrellas.drop

    def careless(self: Umbrellas, situation: Situation) -> None:
        if not situation.parent:
            real(self, situation)

    planter.setattr(Umbrellas, "drop", careless)


def resolve_a_parent_before_its_children(planter: Planter) -> None:
    planter.setattr(Umbrellas, "count", lambda self, situation: 0)


def hold_what_a_rejected_ticket_was_for(planter: Planter) -> None:
    planter.setattr(umbrella, "watched", lambda engine, parent, sink: nullcontext())


def hold_back_resolutions(planter: Planter) -> None:
    def timid(situation: Situation, ticket: Ticket | None, now: datetime, settings: TicketSettings) -> Decision:
        decision = next_step(situation, ticket, now, settings)
        if decision.step is Step.RESOLVE and situation.parent:
            return Decision(Step.HOLD, f"{situation.parent} has the ticket")
        return decision

    planter.setattr(deciding, "next_step", timid)


def tell_the_children_first(planter: Planter) -> None:
    planter.setattr(deciding, "_parents_first", lambda engine, touched: list(reversed(touched.items())))
    planter.setattr(umbrella, "held", lambda engine, situation, sink: ())


def restart_without(field: str, default: Any) -> Callable[[Planter], None]:
    def plant(planter: Planter) -> None:
        real = umbrellas.Umbrellas.add

        def forgetful(self: Umbrellas, situation: Situation, now: datetime) -> None:
            setattr(situation, field, default)
            real(self, situation, now)

        restore = checkpoint.restore

        def restored(engine: Engine, items: Any) -> None:
            with pytest.MonkeyPatch.context() as inner:
                inner.setattr(umbrellas.Umbrellas, "add", forgetful)
                restore(engine, items)

        planter.setattr(checkpoint, "restore", restored)

    return plant


BUGS = [
    Bug("umbrellas under umbrellas", keep_what_was_under_an_adopted_one, rack_then_site, flat_and_open),
    Bug("what is merged leaves its children behind", keep_what_was_under_an_adopted_one, merged, flat_and_open),
    Bug("a child that is over is counted on", forget_who_has_left, over, forgotten),
    Bug("a parent is over before its children", resolve_a_parent_before_its_children, over_parent_first, flat_and_open),
    Bug("a rejected ticket goes on to hold", hold_what_a_rejected_ticket_was_for, rejected, nothing_is_due),
    Bug("an umbrella holds back a resolution", hold_back_resolutions, ticketed_and_over, no_ticket_left),
    Bug("each child has a ticket", tell_the_children_first, failed, one_ticket),
    Bug("a restart forgets who is under whom", restart_without("parent", ""), failed, restarts_change_nothing),
    Bug("a restart forgets the umbrella", restart_without("umbrella", None), failed, restarts_change_nothing),
    Bug(
        "a restart forgets when it was reopened",
        restart_without("reopened_at", None),
        back_after_all_was_over,
        restarts_change_nothing,
    ),
]
named = pytest.mark.parametrize("bug", BUGS, ids=lambda bug: bug.name.replace(" ", "-"))


@named
def test_the_check_catches_the_bug(bug: Bug, monkeypatch: pytest.MonkeyPatch):
    bug.plant(monkeypatch)

    with pytest.raises((AssertionError, KeyError)):
        bug.check(bug.tell())


@named
def test_the_engine_as_it_is_passes(bug: Bug):
    bug.check(bug.tell())
