"""How well the situations of one or several engines fit what is known to belong together, on one reading of input.

The first engine says what an item is about (its CI, its occurrence), so that the truth is the same for all.
"""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

from msgspec import Struct

from correlation.bind import named
from foreshock.core.contracts import Items
from foreshock.core.model import Alert, Label
from foreshock.core.topology import Topology
from foreshock.service.engine import Effects, Engine
from foreshock.service.recorded import Input
from foreshock.service.replay import Places, fingerprints
from foreshock.service.tickets import BEFORE, WITHIN, Ticket
from foreshock.service.truth import Pairs, Truth, count_pairs

_SAME_OCCURRENCE = timedelta(minutes=5)
"""Onsets of an alert that are at most so far apart are one occurrence: its source may have dated it anew."""


class Fit(Struct, frozen=True, kw_only=True):
    """How well groups fit the truth.

    Attributes:
        items: of input, that truth knows of. precision, recall, f1: 0..1, over pairs of them.
    """

    items: int
    precision: float
    recall: float
    f1: float


Tags = tuple[str | None, ...]
"""What each kind of truth calls an item; None where it knows nothing of it."""


class Tagger:
    """Finds out what truth knows of each item. ``engine`` says what it is about, and has read what is asked about.

    Attributes:
        kinds: of truth, in the order of tags.
    """

    def __init__(self, truth: Truth, engine: Engine) -> None:
        self.kinds: tuple[Kind, ...] = tuple(
            kind
            for kind, known in (
                (Incidents(truth.incidents), truth.incidents),
                (Said(truth.said), truth.said),
                (Tickets(truth.tickets), truth.tickets),
            )
            if known
        )
        self._engine = engine
        self._occurrences: dict[str, tuple[datetime, int]] = {}

    def tag(self, id: str, key: str) -> Tags | None:
        """Of the item ``id`` of the alert ``key``; None where nothing is known. Asked once for each item, in order."""
        alert = self._engine.alerts.get(key)
        # An alert that was forgotten since then counts its occurrences anew.
        occurrence = (alert.first_seen, alert.occurrences) if alert is not None else None
        begins = alert is not None and alert.firing and self._occurrences.get(key) != occurrence
        if occurrence is not None and begins:
            self._occurrences[key] = occurrence
        seen = Seen(id=id, alert=alert, begins=begins, engine=self._engine)
        tags = tuple(kind.tag(seen) for kind in self.kinds)
        return tags if any(tag is not None for tag in tags) else None


class Scorer:
    """``hear`` comes after each step of an engine, ``place`` once all have read a record of events."""

    def __init__(self, truth: Truth, engines: Sequence[Engine]) -> None:
        self._engines = engines
        self._tagger = Tagger(truth, engines[0])
        self._places = tuple(Places() for _ in engines)
        self._tags: list[tuple[datetime, Tags]] = []

    def hear(self, side: int, effects: Effects) -> None:
        """side: the place of the engine among those that were given."""
        self._places[side].hear(self._engines[side], effects)

    def place(self, given: Input, items: Items | None) -> None:
        """items: of the record, taken apart; None where it is none of events."""
        if items is None:
            return
        record = given.record
        of_each = zip(*(fingerprints(engine, record, items) for engine in self._engines), strict=True)
        for id, keys in zip(given.ids, of_each, strict=True):
            tags = self._tagger.tag(id, keys[0])
            for engine, places, key in zip(self._engines, self._places, keys, strict=True):
                if tags is not None:
                    places.put(engine, id, key, record.at)
                else:
                    places.pass_by(engine, key)
            if tags is not None:
                self._tags.append((record.at, tags))

    def pairs(self, since: datetime | None = None, until: datetime | None = None) -> tuple[Pairs, ...]:
        """Of each engine, over the items that came in since <= t < until; counts of parts of the truth add up."""
        return tuple(found for _, found in self._counted(since, until))

    def fits(self, since: datetime | None = None, until: datetime | None = None) -> tuple[Fit, ...]:
        return tuple(
            Fit(items=items, precision=found.precision, recall=found.recall, f1=found.f1)
            for items, found in self._counted(since, until)
        )

    def _counted(self, since: datetime | None, until: datetime | None) -> Iterator[tuple[int, Pairs]]:
        for places in self._places:
            placed = [
                (tags, group)
                for (at, tags), (_, group) in zip(self._tags, places.groups(), strict=True)
                if (since is None or since <= at) and (until is None or at < until)
            ]
            counted = Pairs()
            for index, kind in enumerate(self._tagger.kinds):
                counted += kind.count((tag, group) for tags, group in placed if (tag := tags[index]) is not None)
            yield len(placed), counted


# ---- which item is what ---------------------------------------------------------------------------------------------


class Seen(Struct, frozen=True, kw_only=True):
    """An item of input, as the first engine has just read it.

    Attributes:
        alert: what it belongs to; None where it is no alert. begins: it is the first of an occurrence.
    """

    id: str
    alert: Alert | None
    begins: bool
    engine: Engine


class Kind(Protocol):
    """One kind of truth."""

    def tag(self, seen: Seen) -> str | None:
        """What it calls the item; None where it knows nothing of it. Asked once for each item, in order."""

    def count(self, placed: Iterable[tuple[str, str]]) -> Pairs:
        """placed: of each item that it knows of, what it called it, and its group."""


class Incidents:
    def __init__(self, incidents: Mapping[str, str]) -> None:
        self._incidents = incidents

    def tag(self, seen: Seen) -> str | None:
        return self._incidents.get(seen.id)

    def count(self, placed: Iterable[tuple[str, str]]) -> Pairs:
        return count_pairs(placed)


class Said:
    """Pairs of alerts that people spoke of; others count for nothing.

    Attributes:
        same: whether two occurrences are one problem, by what ``tag`` calls them.
    """

    def __init__(self, labels: Iterable[Label]) -> None:
        self.same: dict[tuple[str, str], bool] = {}
        self._onsets: dict[str, list[datetime]] = {}
        for label in labels:  # oldest first: the last word holds
            if label.other is not None and label.says in ("same", "apart"):
                one, other = sorted(self._occurrence(who.fingerprint, who.onset) for who in (label.alert, label.other))
                self.same[one, other] = label.says == "same"

    def _occurrence(self, fingerprint: str, onset: datetime) -> str:
        if (known := self._known(fingerprint, onset)) is not None:
            return known
        self._onsets.setdefault(fingerprint, []).append(onset)
        return f"{fingerprint}#{len(self._onsets[fingerprint]) - 1}"

    def _known(self, fingerprint: str, onset: datetime) -> str | None:
        for place, one in enumerate(self._onsets.get(fingerprint, ())):
            if abs(one - onset) <= _SAME_OCCURRENCE:
                return f"{fingerprint}#{place}"
        return None

    def tag(self, seen: Seen) -> str | None:
        return None if seen.alert is None else self._known(seen.alert.fingerprint, seen.alert.starts_at)

    def count(self, placed: Iterable[tuple[str, str]]) -> Pairs:
        group = dict(placed)  # the last item of an occurrence tells where it ended up
        known = [(pair, same) for pair, same in self.same.items() if pair[0] in group and pair[1] in group]
        grouped = [same for (one, other), same in known if group[one] == group[other]]
        return Pairs(same=sum(same for _, same in known), grouped=len(grouped), both=sum(grouped))


class Tickets:
    """An occurrence belongs to the ticket with its key, or else to one about its CI, that was open then or soon after;
    of several to the one opened nearest to its onset. A ticket that names no CI is about those in its text."""

    def __init__(self, tickets: Sequence[Ticket]) -> None:
        self._tickets = tickets
        self._by_key: dict[str, list[Ticket]] = {}
        for ticket in tickets:
            if ticket.key:
                self._by_key.setdefault(ticket.key, []).append(ticket)
        self._by_ci: dict[str, list[Ticket]] = {}
        self._topology: Topology | None = None

    def tag(self, seen: Seen) -> str | None:
        alert = seen.alert
        if alert is None or not seen.begins:
            return None
        if seen.engine.topology is not self._topology:
            self._index(seen.engine)
        by_key = self._with_its_key(alert) if self._by_key else None
        return _nearest(self._by_ci.get(alert.ci, []), alert.starts_at) if by_key is None else by_key

    def _with_its_key(self, alert: Alert) -> str | None:
        for key in (alert.fingerprint, *alert.read_labels().values()):
            if (found := _nearest(self._by_key.get(key, ()), alert.starts_at)) is not None:
                return found
        return None

    def _index(self, engine: Engine) -> None:
        self._topology, self._by_ci = engine.topology, {}
        for ticket in self._tickets:
            about = [named(name, engine.topology, engine.settings.bind) for name in ticket.cis]
            for ci in dict.fromkeys(about if ticket.cis else _in_text(ticket.text, engine.topology)):
                if ci:
                    self._by_ci.setdefault(ci, []).append(ticket)

    def count(self, placed: Iterable[tuple[str, str]]) -> Pairs:
        return count_pairs(placed)


_NAME_IN_TEXT = re.compile(r"[\w.-]*\w")


def _in_text(text: str, topology: Topology) -> Iterator[str]:
    """CIs that it names by a name that only one has."""
    for word in _NAME_IN_TEXT.findall(text):
        found = topology.named(word)
        if len(found) == 1:
            yield found[0]


def _nearest(tickets: Sequence[Ticket], onset: datetime) -> str | None:
    """tickets: in order of opening."""
    first = bisect_left(tickets, onset - WITHIN, key=_opened_at)
    near = [one for one in tickets[first : bisect_right(tickets, onset + BEFORE, key=_opened_at)] if _open(one, onset)]
    return min(near, key=lambda one: abs(one.opened_at - onset)).incident if near else None


def _open(ticket: Ticket, onset: datetime) -> bool:
    return ticket.resolved_at is None or onset <= ticket.resolved_at


def _opened_at(ticket: Ticket) -> datetime:
    return ticket.opened_at
