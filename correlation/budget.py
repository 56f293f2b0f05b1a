"""What rules may cost: counted in steps, never in time, so that live work and replay suspend the same rule at the same
alert."""

from collections.abc import Mapping

PAIR = 1
"""Steps of looking at an open alert."""
CONDITION = 50
"""Steps of asking a condition about two alerts, besides those of the condition: both have to be read."""
PATIENCE = 200
"""A rule is suspended once it is so many alerts' worth of budget ahead: a hard moment passes, a hard rule does not."""


class Budget:
    """Steps that rules took beyond their budget, by tag; part of the engine's state.

    ``ahead`` rises by what a rule took for a new alert beyond ``per_alert``, and falls by what it left. ``suspended``
    has the tags of rules that may not be asked any more, with the reason.
    """

    def __init__(self) -> None:
        self.ahead: dict[str, int] = {}
        self.suspended: dict[str, str] = {}

    def charge(self, spent: Mapping[str, int], per_alert: int) -> list[str]:
        """Account for one new alert; the rules to suspend for it."""
        if not self.ahead and all(steps <= per_alert for steps in spent.values()):
            return []
        over = []
        for tag in sorted(spent.keys() | self.ahead.keys()):
            ahead = self.ahead.get(tag, 0) + spent.get(tag, 0) - per_alert
            if ahead > 0:
                self.ahead[tag] = ahead
            else:
                self.ahead.pop(tag, None)
            if ahead > PATIENCE * per_alert and tag not in self.suspended:
                over.append(tag)
        for tag in over:
            self.suspended[tag] = (
                f"it took {self.ahead.pop(tag)} steps more than its budget of {per_alert} for each new alert"
            )
        return over

    def reset(self) -> list[str]:
        """Every rule may be asked again; those that were suspended."""
        were = sorted(self.suspended)
        self.ahead, self.suspended = {}, {}
        return were
