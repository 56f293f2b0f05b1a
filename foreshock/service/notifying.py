"""Has people told what the engine says they must be told: who that is at this hour, and by which sinks.

The engine names groups and people; a group that has a duty roster stands for whoever is on duty now. For each sink that
reaches them a notice becomes an order in the outbox, in the same transaction that moves the place up to which notices
are read: each is carried out, however often Foreshock dies in between.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta

import structlog

from foreshock.connect.on_call import Roster
from foreshock.core.contracts import Notice, Order, Verb
from foreshock.core.errors import ForeshockError
from foreshock.store.outbox import Outbox
from foreshock.store.store import Store

CURSOR = "notices"
STALE = timedelta(hours=1)
"""What nobody could be told for so long, because Foreshock was down, wakes nobody any more. It is in the timeline."""
_BATCH = 100

log = structlog.get_logger("notify")


class Directory:
    """Who is reached how.

    Args:
        contacts: by person or group, names of sinks. fallback: sinks for what is for nobody known.
        rosters: by group, who is on duty.
    """

    def __init__(
        self, contacts: Mapping[str, Sequence[str]], fallback: Sequence[str], rosters: Mapping[str, Roster]
    ) -> None:
        self._contacts = {name.casefold(): tuple(sinks) for name, sinks in contacts.items()}
        self._fallback = tuple(fallback)
        self._rosters = {name.casefold(): roster for name, roster in rosters.items()}

    def reach(self, audience: Sequence[str], at: datetime) -> dict[str, str]:
        """By sink whom it tells: the first of the audience who can be reached, else the fallback."""
        for name in audience:
            found = {
                sink: person for person in self.people(name, at) for sink in self._contacts.get(person.casefold(), ())
            }
            if found:
                return found
        return dict.fromkeys(self._fallback, audience[0] if audience else "")

    def people(self, name: str, at: datetime) -> tuple[str, ...]:
        """Who is on duty for a group now, and the group itself where nobody is, or nobody can tell."""
        roster = self._rosters.get(name.casefold())
        if roster is None:
            return (name,)
        try:
            return roster.who(at) or (name,)
        except ForeshockError as error:
            log.warning("nobody can tell who is on duty", group=name, error=str(error))
            return (name,)


class Notifier:
    """Reads notices in order and puts orders for them into the outbox."""

    def __init__(self, store: Store, outbox: Outbox, directory: Directory, now: Callable[[], datetime]) -> None:
        self._store = store
        self._outbox = outbox
        self._directory = directory
        self._now = now

    def run(self) -> int:
        """How many orders were added. Raises Unavailable as the store does."""
        added = 0
        place = self._outbox.cursor(CURSOR)
        for sequence, notice in self._store.notices(place, limit=_BATCH):
            orders = self._orders(notice)
            self._outbox.add(orders, cursor_name=CURSOR, value=sequence)
            added += len(orders)
        return added

    def _orders(self, notice: Notice) -> list[Order]:
        now = self._now()
        if now - notice.at > STALE:
            log.warning("too late to tell anybody", notice=notice.id, at=notice.at.isoformat())
            return []
        reached = self._directory.reach(notice.audience, now)
        if not reached:
            log.warning("nobody can be reached", notice=notice.id, audience=list(notice.audience))
        return [order(notice, sink, person) for sink, person in reached.items()]


def order(notice: Notice, sink: str, person: str) -> Order:
    """A notice for one sink. Its key is the notice's own, so one that was sent is not sent again."""
    return Order(
        id=f"{notice.id}/{sink}",
        sink=sink,
        situation=notice.id,
        key=notice.id,
        verb=Verb.OPEN,
        version=1,
        at=notice.at,
        fields={
            "notice": notice.kind.value,
            "level": notice.level,
            "title": f"{notice.title} (P{notice.priority})",
            "text": notice.text,
            "priority": notice.priority,
            "for": person,
        },
        url=notice.url,
    )
