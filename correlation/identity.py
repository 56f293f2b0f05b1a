"""Which labels identify an alert, by source: the rules of ``fold.identity`` made ready."""

from collections.abc import Iterable, Mapping

from correlation.settings import IdentityRule
from foreshock.core.identity import fingerprint
from foreshock.core.matchers import Matcher, matches_all, parse_matcher

_MAX_FAMILIES = 10_000


class _Ready:
    """One rule with its matchers compiled."""

    def __init__(self, number: int, rule: IdentityRule) -> None:
        self.number, self.rule = number, rule
        self._matchers: tuple[Matcher, ...] = tuple(parse_matcher(text) for text in rule.match)
        self._by, self._without = frozenset(rule.by), frozenset(rule.without)

    def fits(self, labels: Mapping[str, str]) -> bool:
        return matches_all(self._matchers, labels)

    def chosen(self, labels: Mapping[str, str]) -> Mapping[str, str]:
        """What identifies; ``labels`` itself where that is all of them, or where nothing would be left."""
        kept = {name: value for name, value in labels.items() if self._identifies(name)}
        return kept if kept and len(kept) < len(labels) else labels

    def _identifies(self, name: str) -> bool:
        return name in self._by if self._by else name not in self._without


class Family:
    """Sources whose equal labels mean the same alert: one namespace and the same identity rules.

    Attributes:
        name: differs between families. plain: all labels identify.
    """

    def __init__(self, namespace: str, rules: tuple[_Ready, ...]) -> None:
        self.namespace, self._rules = namespace, rules
        self.plain = not rules
        self.name = namespace if self.plain else f"{namespace} by {','.join(str(rule.number) for rule in rules)}"

    def identifying(self, labels: Mapping[str, str]) -> Mapping[str, str]:
        """The labels that identify; ``labels`` itself where all do."""
        rule = self._rule(labels)
        return labels if rule is None else rule.chosen(labels)

    def key(self, labels: Mapping[str, str]) -> str:
        """Fingerprint of the alert that carries ``labels``."""
        return fingerprint(labels if self.plain else self.identifying(labels), namespace=self.namespace)

    def because(self, labels: Mapping[str, str]) -> str:
        """Which rule says what identifies here, for people."""
        rule = self._rule(labels)
        return "" if rule is None else f"entry {rule.number} of correlation.fold.identity"

    def _rule(self, labels: Mapping[str, str]) -> _Ready | None:
        return next((rule for rule in self._rules if rule.fits(labels)), None)


class Scheme:
    """All identity rules in force. plain: there are none."""

    def __init__(self, rules: Iterable[IdentityRule] = ()) -> None:
        self._rules = tuple(_Ready(number, rule) for number, rule in enumerate(rules, 1))
        self.plain = not self._rules
        self._families: dict[tuple[str, ...], Family] = {}

    def family(self, namespace: str, collector: str, source: str) -> Family:
        """Of what the source named ``source`` sends by the collector of kind ``collector``."""
        if self.plain:
            collector = source = ""
        found = self._families.get((namespace, collector, source))
        if found is None:
            if len(self._families) >= _MAX_FAMILIES:  # names of sources are the senders' choice
                self._families.clear()
            rules = tuple(ready for ready in self._rules if ready.rule.about(collector, source))
            found = self._families[namespace, collector, source] = Family(namespace, rules)
        return found
