"""Thresholds: some alerts matter only when there are enough of them within a time.

What is counted are the alerts of the situation, so that the same rule does not open ten tickets for ten problems that
have nothing to do with each other. A threshold that was reached once stays reached.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime

from correlation.settings import ThresholdRule, read_matchers
from correlation.suppression.suppressor import Case
from foreshock.core.matchers import matches_all
from foreshock.core.model import Alert, Held, HeldKind
from foreshock.core.quantities import format_duration


class Thresholds:
    kind = HeldKind.THRESHOLD

    def __init__(self, rules: Sequence[ThresholdRule] = ()) -> None:
        self._rules = [(rule, read_matchers(rule.matchers)) for rule in rules]
        self._rule_of: dict[str, ThresholdRule | None] = {}
        self._case: Case | None = None
        self._answers: dict[str, tuple[Held, ...]] = {}

    def held(self, alert: Alert, case: Case) -> tuple[Held, ...]:
        """The first rule that it matches counts."""
        if not self._rules:
            return ()
        rule = self._rule(alert)
        if rule is None:
            return ()
        if self._case is not case:  # one answer for all alerts of a rule
            self._case, self._answers = case, {}
        if rule.name not in self._answers:
            self._answers[rule.name] = self._count(rule, case)
        return self._answers[rule.name]

    def forget(self, fingerprint: str) -> None:
        self._rule_of.pop(fingerprint, None)

    def _rule(self, alert: Alert) -> ThresholdRule | None:
        if alert.fingerprint not in self._rule_of:
            labels = alert.read_labels()
            found = next((rule for rule, matchers in self._rules if matches_all(matchers, labels)), None)
            self._rule_of[alert.fingerprint] = found
        return self._rule_of[alert.fingerprint]

    def _count(self, rule: ThresholdRule, case: Case) -> tuple[Held, ...]:
        members: Mapping[str, object] = case.situation.members
        seen = sorted(
            (case.situation.members[alert.fingerprint].joined_at, alert.fingerprint, alert.ci)
            for alert in case.members
            if alert.fingerprint in members and self._rule(alert) is rule
        )
        alerts, cis = most_within(rule, [(at, ci) for at, _, ci in seen])
        if (rule.alerts and alerts >= rule.alerts) or (rule.cis and cis >= rule.cis):
            return ()
        parts = [
            f"{seen_} of {wanted} {what}"
            for seen_, wanted, what in ((alerts, rule.alerts, "alerts"), (cis, rule.cis, "CIs"))
            if wanted
        ]
        reason = f"rule “{rule.name}” waits for more: {' and '.join(parts)} within {format_duration(rule.within)}"
        return (Held(kind=HeldKind.THRESHOLD, id=rule.name, reason=reason),)


def most_within(rule: ThresholdRule, seen: Sequence[tuple[datetime, str]]) -> tuple[int, int]:
    """The most alerts, and the most CIs, that came within the rule's time. ``seen``: (moment, CI), ascending."""
    most_alerts = most_cis = first = 0
    cis: Counter[str] = Counter()
    for last, (at, ci) in enumerate(seen):
        cis[ci] += 1
        while at - seen[first][0] > rule.within:
            gone = seen[first][1]
            cis[gone] -= 1
            if not cis[gone]:
                del cis[gone]
            first += 1
        most_alerts = max(most_alerts, last - first + 1)
        most_cis = max(most_cis, len(cis) - ("" in cis))
    return most_alerts, most_cis
