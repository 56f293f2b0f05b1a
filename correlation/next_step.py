"""What a sink should hear now of a situation: one pure function owns every branch."""

from collections.abc import Sequence
from datetime import datetime
from enum import StrEnum

from msgspec import Struct

from correlation.settings import TicketSettings
from foreshock.core.model import Held, HeldKind, Situation, SituationState, Ticket


class Step(StrEnum):
    OPEN = "open"
    UPDATE = "update"
    RESOLVE = "resolve"
    REOPEN = "reopen"
    WAIT = "wait"
    HOLD = "hold"
    NOTHING = "nothing"


class Decision(Struct, frozen=True):
    """A step, why, and when to ask again (None: only when something changes)."""

    step: Step
    reason: str
    again_at: datetime | None = None


def next_step(situation: Situation, ticket: Ticket | None, now: datetime, settings: TicketSettings) -> Decision:
    """WAIT: too young, or updated a moment ago. A ticket that a person closed is theirs: it hears nothing more.

    What suppression says comes after it, in ``hold_back``.
    """
    ended = situation.state is not SituationState.OPEN
    if ticket is None:
        return _without_ticket(situation, now, settings, ended=ended)
    if ticket.closed_by:
        return Decision(Step.NOTHING, f"{ticket.closed_by} closed the ticket")
    if ended:
        if not ticket.open:
            return Decision(Step.NOTHING, "the ticket is resolved")
        if ticket.kept_open_by:
            return Decision(Step.NOTHING, f"{ticket.kept_open_by} reopened the ticket")
        return Decision(
            Step.RESOLVE,
            "merged into " + situation.merged_into if situation.merged_into else "every alert has recovered",
        )
    if not ticket.open:
        return Decision(Step.REOPEN, "an alert fired again")
    if situation.version <= ticket.version:
        return Decision(Step.NOTHING, "the ticket is up to date")
    if situation.priority < ticket.priority:  # 1 is the highest
        return Decision(Step.UPDATE, f"priority rose from {ticket.priority} to {situation.priority}")
    due = None if ticket.written_at is None else ticket.written_at + settings.update_every
    if due is not None and now < due:
        return Decision(Step.WAIT, "changes are gathered into one update", due)
    return Decision(Step.UPDATE, "the situation changed")


QUIET = (HeldKind.SILENCE, HeldKind.MAINTENANCE, HeldKind.INHIBITION)
"""Suppressors that also keep an open ticket from being escalated; the others only say "not yet" to a new one."""


def may_be_held(decision: Decision, situation: Situation, ticket: Ticket | None) -> bool:
    """Whether the step is a creation, a reopening or an escalation. Never a resolution, nor news in an open ticket."""
    if decision.step is Step.UPDATE:
        return ticket is not None and situation.priority < ticket.priority
    return decision.step in (Step.OPEN, Step.REOPEN)


def hold_back(decision: Decision, situation: Situation, ticket: Ticket | None, held: Sequence[Held]) -> Decision:
    """HOLD where suppression (``held``, the reasons) keeps the step back; else the decision as it is."""
    if not held or not may_be_held(decision, situation, ticket):
        return decision
    if decision.step is Step.UPDATE and not all(one.kind in QUIET for one in held):
        return decision
    again_at = min((one.until for one in held if one.until is not None), default=None)
    return Decision(Step.HOLD, "; ".join(one.reason for one in held), again_at)


def _without_ticket(situation: Situation, now: datetime, settings: TicketSettings, *, ended: bool) -> Decision:
    if ended:
        return Decision(
            Step.NOTHING,
            "it recovered before a ticket was due"
            if not situation.merged_into
            else f"merged into {situation.merged_into}",
        )
    if situation.priority > settings.min_priority:
        return Decision(
            Step.NOTHING, f"priority {situation.priority} is below {settings.min_priority}, where tickets begin"
        )
    since = situation.reopened_at if situation.was_under else None
    due = (since or situation.opened_at) + settings.delay_of(situation.priority)
    if situation.cleared_at is not None:
        return Decision(Step.WAIT, "no alert is active; it may have recovered")
    if situation.umbrella is not None and situation.umbrella.storm:
        return Decision(Step.OPEN, "tickets are due too fast: this one is for what follows, too")
    if situation.umbrella is not None:
        return Decision(Step.OPEN, "other situations came under it")
    if now < due:
        return Decision(Step.WAIT, "young; it may gather alerts or recover by itself", due)
    return Decision(Step.OPEN, "it did not recover by itself")
