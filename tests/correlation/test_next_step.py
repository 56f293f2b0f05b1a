"""What a sink should hear now of a situation."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from correlation.next_step import Step, hold_back, next_step
from correlation.settings import TicketSettings
from foreshock.core.model import Held, HeldKind, Situation, SituationState, Ticket
from foreshock.testing.records import NOON, seconds

SETTINGS = TicketSettings()


def situation(**fields: Any) -> Situation:
    defaults: dict[str, Any] = {
        "opened_at": NOON, "onset": NOON, "updated_at": NOON, "last_joined_at": NOON, "priority": 3, "version": 5,
    }  # fmt: skip
    return Situation(id="S-1", **{**defaults, **fields})


def ticket(**fields: Any) -> Ticket:
    return Ticket(sink="desk", **{"priority": 3, "version": 5, "written_at": NOON, **fields})


OVER = {"state": SituationState.RESOLVED}
MERGED = {"state": SituationState.MERGED, "merged_into": "S-2"}

CASES = [
    pytest.param({}, None, 0, Step.WAIT, "young", 30, id="it may gather or recover"),
    pytest.param({}, None, 29.9, Step.WAIT, "young", 30, id="a moment before the delay ends"),
    pytest.param({}, None, 30, Step.OPEN, "it did not recover", None, id="it did not recover by itself"),
    pytest.param({"priority": 1}, None, 5, Step.OPEN, "it did not", None, id="the highest priority waits less"),
    pytest.param({"priority": 1}, None, 4, Step.WAIT, "young", 5, id="but it waits"),
    pytest.param({"cleared_at": NOON}, None, 90, Step.WAIT, "no alert is active", None, id="nothing is active"),
    pytest.param(OVER, None, 90, Step.NOTHING, "recovered before", None, id="over before a ticket was due"),
    pytest.param(MERGED, None, 90, Step.NOTHING, "merged into S-2", None, id="merged before a ticket was due"),
    pytest.param({}, {}, 90, Step.NOTHING, "up to date", None, id="nothing new"),
    pytest.param({"version": 6}, {}, 59, Step.WAIT, "gathered", 60, id="changes are gathered"),
    pytest.param({"version": 6}, {}, 60, Step.UPDATE, "changed", None, id="changes are told"),
    pytest.param({"version": 6}, {"written_at": None}, 0, Step.UPDATE, "changed", None, id="never written by us"),
    pytest.param({"version": 6, "priority": 2}, {}, 1, Step.UPDATE, "from 3 to 2", None, id="a rise is told at once"),
    pytest.param(OVER, {}, 1, Step.RESOLVE, "every alert has recovered", None, id="over"),
    pytest.param(MERGED, {}, 1, Step.RESOLVE, "merged into S-2", None, id="merged"),
    pytest.param(OVER, {"open": False}, 1, Step.NOTHING, "is resolved", None, id="over and told"),
    pytest.param({}, {"open": False}, 1, Step.REOPEN, "fired again", None, id="it is back"),
    pytest.param({}, {"open": False, "closed_by": "mira"}, 1, Step.NOTHING, "mira", None, id="a person closed it"),
    pytest.param(OVER, {"closed_by": "mira"}, 1, Step.NOTHING, "mira", None, id="closed by a person, and over"),
    pytest.param(OVER, {"kept_open_by": "mira"}, 1, Step.NOTHING, "mira reopened", None, id="a person keeps it open"),
]  # fmt: skip


@pytest.mark.parametrize(("of", "known", "at_s", "step", "reason", "again_s"), CASES)
def test_the_next_step(of: Any, known: Any, at_s: float, step: Step, reason: str, again_s: float | None):
    decision = next_step(situation(**of), None if known is None else ticket(**known), NOON + seconds(at_s), SETTINGS)

    assert decision.step is step
    assert reason in decision.reason
    assert decision.again_at == (None if again_s is None else NOON + seconds(again_s))


@pytest.mark.parametrize(("priority", "step"), [(3, Step.OPEN), (4, Step.NOTHING)])
def test_what_is_below_the_least_priority_opens_nothing(priority: int, step: Step):
    assert (
        next_step(situation(priority=priority), None, NOON + seconds(90), TicketSettings(min_priority=3)).step is step
    )


SILENCED = Held(kind=HeldKind.SILENCE, id="q", reason="silenced by mira", until=NOON + seconds(600))
TOO_FEW = Held(kind=HeldKind.THRESHOLD, id="few", reason="it waits for more")
RAISED = {"priority": 2, "version": 6}

HOLDS = [
    pytest.param({}, None, [SILENCED], Step.HOLD, 600, id="a ticket that is due is not opened"),
    pytest.param({}, {"open": False}, [SILENCED], Step.HOLD, 600, id="nor reopened"),
    pytest.param(RAISED, {}, [SILENCED], Step.HOLD, 600, id="nor escalated"),
    pytest.param({}, None, [TOO_FEW], Step.HOLD, None, id="too few to open one"),
    pytest.param(RAISED, {}, [TOO_FEW], Step.UPDATE, None, id="an open ticket is escalated though they are few"),
    pytest.param(RAISED, {}, [SILENCED, TOO_FEW], Step.UPDATE, None, id="one reason to escalate is enough"),
    pytest.param({"version": 6}, {}, [SILENCED], Step.UPDATE, None, id="news goes into an open ticket"),
    pytest.param(OVER, {}, [SILENCED], Step.RESOLVE, None, id="what is over is resolved"),
    pytest.param(MERGED, {}, [SILENCED], Step.RESOLVE, None, id="so is what was merged"),
    pytest.param({}, None, [], Step.OPEN, None, id="without a reason nothing is held"),
]


@pytest.mark.parametrize(("of", "known", "held", "step", "again_s"), HOLDS)
def test_what_suppression_holds_back(of: Any, known: Any, held: list[Held], step: Step, again_s: float | None):
    what, sinks = situation(**of), None if known is None else ticket(**known)

    decision = hold_back(next_step(what, sinks, NOON + seconds(90), SETTINGS), what, sinks, held)

    assert decision.step is step
    assert decision.again_at == (None if again_s is None else NOON + seconds(again_s))
    assert step is not Step.HOLD or decision.reason == "; ".join(one.reason for one in held)


@given(
    st.sampled_from(SituationState),
    st.booleans(),
    st.booleans(),
    st.integers(1, 5),
    st.integers(0, 9),
    st.integers(0, 200),
    st.lists(st.sampled_from(HeldKind), max_size=3),
)
def test_suppression_never_holds_back_a_resolution(
    state: Any, cleared: bool, open_: bool, priority: int, version: int, at_s: int, kinds: list[HeldKind]
):
    fields = {"state": state, "priority": priority, "version": version, "cleared_at": NOON if cleared else None}
    what, known = situation(**fields), ticket(open=open_)
    held = [Held(kind=kind, id="x", reason="why") for kind in kinds]

    free = next_step(what, known, NOON + seconds(at_s), SETTINGS)
    kept = hold_back(free, what, known, held)

    assert (free.step is Step.RESOLVE) is (kept.step is Step.RESOLVE)
    assert not held or kept.step not in (Step.OPEN, Step.REOPEN)
