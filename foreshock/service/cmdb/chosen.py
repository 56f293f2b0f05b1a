"""A version of the topology as a person names it: one that was, the one of a moment, or the one to come."""

from collections.abc import Callable
from datetime import datetime

from foreshock.core.contracts import Snapshot
from foreshock.core.errors import Missing
from foreshock.service.cmdb.run import Sync, Wanted
from foreshock.service.settings import Settings
from foreshock.service.topologies import Fold
from foreshock.store.cmdb import CmdbStore

PENDING, AS_OF = "pending", "as-of "
_ALL = 10**9
_HINT = "see `foreshock cmdb versions`; or say pending, or 'as-of 2026-03-01T12:00Z'"


def is_in_words(text: str) -> bool:
    return text == PENDING or text.startswith(AS_OF)


def chosen(store: CmdbStore, text: str, moment: Callable[[str], datetime], pending: Callable[[], Snapshot]) -> Snapshot:
    """The topology that ``text`` names: ``pending``, ``as-of TIME``, or a version by name or number. Raises Missing."""
    if text == PENDING:
        return pending()
    if text.startswith(AS_OF):
        at = moment(text.removeprefix(AS_OF).strip())
        found = store.as_of(at)
        if not found.version:
            raise Missing(f"there was no topology yet at {at:%Y-%m-%d %H:%M:%S} UTC", hint=_HINT)
        return found
    version = store.version(text) or (store.version(int(text)) if text.isdigit() and len(text) < 9 else None)
    if version is None:
        raise unknown(text)
    return store.whole(version.number)


def unknown(text: str) -> Missing:
    return Missing(f"{text} is neither a file nor a version of the topology", hint=_HINT)


def to_come(store: CmdbStore, settings: Settings, clock: Callable[[], datetime]) -> Snapshot:
    """What the next sync of every source would make of it, where a person accepts whatever goes; nothing is kept.
    Raises what a sync raises."""
    newest, fold = store.newest(), Fold()
    if newest is not None:
        now = store.whole(newest.number)
        fold.add(now.cis, now.relationships)
    sync = Sync(store, settings, clock=clock)
    for instance in settings.topology:
        delta = sync.run(instance.name, Wanted(dry_run=True, accept_retire=_ALL)).delta
        if delta is not None:
            fold.put(delta)
    whole = fold.whole()
    return Snapshot(version=PENDING, cis=whole.cis, relationships=whole.relationships)
