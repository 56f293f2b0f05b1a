"""Who is told next when nobody takes an incident. Pure: a policy, since when it waits, a moment.

Times count from the first ticket on, or from when the incident came back.
"""

from datetime import datetime

from correlation.settings import EscalationPolicy
from foreshock.core.model import Situation


def policy_for(policies: tuple[EscalationPolicy, ...], situation: Situation) -> EscalationPolicy | None:
    """The first that fits its priority and its assignment group."""
    group = situation.assignment_group.casefold()
    for policy in policies:
        of_group = not policy.groups or group in {name.casefold() for name in policy.groups}
        if situation.priority in policy.priorities and of_group:
            return policy
    return None


def level_at(policy: EscalationPolicy, since: datetime, now: datetime) -> int:
    """How many of its steps are due; steps are in order of time."""
    return sum(since + step.after <= now for step in policy.steps)


def next_at(policy: EscalationPolicy, since: datetime, now: datetime) -> datetime | None:
    """When the next step is due; None after the last."""
    return min((at for step in policy.steps if (at := since + step.after) > now), default=None)
