"""Alerts about ourselves that follow from how something stands: told when it is so, when the words for it change, and
when it is over; what was told before a restart is not told again."""

from collections.abc import Collection, Iterable, Mapping

import msgspec

from foreshock.core.contracts import NewRecord, RecordKind
from foreshock.service.inbox import Inbox
from foreshock.service.ourselves import NAME
from foreshock.service.records import OperatorRecord, OwnAlert
from foreshock.service.runner import Runner

Labels = tuple[tuple[str, str], ...]
"""Of an alert about ourselves, sorted."""


def as_labels(labels: Mapping[str, str]) -> Labels:
    return tuple(sorted(labels.items()))


class Worries:
    """Args: names: of the alerts that are settled here and nowhere else."""

    def __init__(self, names: Collection[str], runner: Runner, inbox: Inbox, source: str) -> None:
        self._names, self._runner, self._inbox, self._source = frozenset(names), runner, inbox, source
        self._told: Mapping[Labels, str] = {}

    def firing(self) -> set[Labels]:
        with self._runner.looking() as engine:
            return {
                as_labels(labels)
                for alert in engine.alerts.values()
                if alert.firing
                and alert.source == NAME
                and (labels := alert.read_labels()).get("alertname") in self._names
            }

    def settle(self, wanted: Mapping[Labels, str], firing: Iterable[Labels] | None = None) -> None:
        """wanted: what must be told, with a summary each; what else of ours is ``firing`` is over."""
        firing = self.firing() if firing is None else set(firing)
        for labels, summary in wanted.items():
            if labels not in firing or self._told.get(labels, summary) != summary:
                self._tell(labels, summary)
        for labels in sorted(firing - wanted.keys()):
            self._tell(labels, "")
        self._told = wanted

    def _tell(self, labels: Labels, summary: str) -> None:
        body = msgspec.json.encode(OperatorRecord(notice=OwnAlert(labels=dict(labels), summary=summary)))
        record = NewRecord(kind=RecordKind.OPERATOR, body=body, source=self._source, actor=NAME)
        self._inbox.append_now(record)
