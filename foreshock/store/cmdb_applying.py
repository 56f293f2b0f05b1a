"""What a reading makes of the CMDB store, in one transaction: what the source says now, which CIs come of it together
with what the others say, and the new version of the topology.

What a change does not touch is neither loaded nor worked out again: a hundredth of a large estate takes a hundredth.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from hashlib import blake2b
from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import (
    Column,
    Connection,
    Integer,
    MetaData,
    Table,
    bindparam,
    delete,
    func,
    insert,
    select,
    text,
    union,
    update,
)

from foreshock import __version__
from foreshock.core.cmdb import RELATED, CmdbPage, Flaw, Item, Tie
from foreshock.core.errors import ForeshockError
from foreshock.core.reconcile import Reconciled, Ref, Rules, Said, keys, reconcile
from foreshock.core.topology import DIRECTIONS, TopologyDelta
from foreshock.store import cmdb_tables as tables
from foreshock.store.cmdb import (
    CHUNK,
    GIVEN_UP,
    CmdbStore,
    Counts,
    Lease,
    Reading,
    chunks,
    delta_between,
    end_reading,
    forget_source,
    hold,
    newest_number,
    number64,
    pack_ci,
    packed,
    read_item,
    succeeded,
    version_name,
)
from foreshock.store.moments import to_micros
from foreshock.store.text import storable

MAX_CHARS = 1000
"""Of an id, a name or a handle; an object with a longer one is a flaw."""
_MOST_EXAMPLES = 5
_WHOLE_FROM = 0.2
"""Where a change touches more than this part of all items, working out all of them again is quicker than choosing."""
_FEW_TIES = 20
"""So many relationships may always go: in a small estate each is a large part."""
_MOST_WORDS = 30_000
_OTHER_WORD = "(other)"

_AT_ONCE = 10_000
"""Rows written by one statement."""
_RECONCILED_WITH = "reconciled with"


class Guard(Struct, frozen=True, kw_only=True):
    """What a reading may take out of the topology.

    Attributes:
        share: of the source's CIs, and of its relationships. accepted: so many may go whatever the share, because a
            person said so.
    """

    share: float
    accepted: int = 0


class Refused(ForeshockError):
    """A reading that would take too much out of the topology: everything stays as it was."""

    def __init__(self, message: str, *, hint: str, counts: Counts) -> None:
        super().__init__(message, hint=hint)
        self.counts = counts


class Applied(Struct, frozen=True, kw_only=True):
    """version: the new one; None where the topology is the same as before."""

    counts: Counts
    version: int | None


class Put(Struct, frozen=True, kw_only=True):
    """version: name of the new one; empty where the topology is as before. delta: what differs, where nothing was
    kept."""

    counts: Counts
    version: str = ""
    delta: TopologyDelta | None = None


class _NotKept(Exception):
    """Rolls back what was only tried."""


def put(
    store: CmdbStore,
    lease: Lease,
    reading: Reading,
    *,
    whole: bool,
    mark: str,
    rules: Rules,
    guard: Guard,
    now: datetime,
    keep: bool = True,
    removed: bool = False,
) -> Put:
    """Put what was staged of a reading into force, and end it: all in one transaction.

    Args:
        keep: False: say what would differ, and leave everything as it was; the reading ends all the same.
        removed: the source is no longer asked; nothing is staged, and nothing of it stays.
    Raises Refused, Fenced.
    """
    tried = Put(counts=reading.counts)
    with suppress(_NotKept), store.write() as connection:
        hold(connection, lease)
        before = newest_number(connection)
        applied = apply(
            connection,
            lease.source,
            lease.name,
            store.staged(connection, reading.number),
            whole=whole,
            rules=rules,
            guard=guard,
            now=now,
            removed=removed,
        )
        applied.counts.expected, applied.counts.problems = reading.counts.expected, reading.counts.problems
        if not keep:
            delta = TopologyDelta() if applied.version is None else delta_between(connection, before, applied.version)
            tried = Put(counts=applied.counts, delta=delta)
            raise _NotKept
        if removed:
            forget_source(connection, lease)
        else:
            outcome = "unchanged" if applied.version is None else "changed"
            succeeded(connection, lease, reading, mark=mark, whole=whole, now=now)
            end_reading(connection, reading.number, now, outcome, applied.counts, applied.version)
        name = "" if applied.version is None else version_name(connection, applied.version)
        return Put(counts=applied.counts, version=name)
    store.end(lease, reading.number, now, GIVEN_UP, counts=tried.counts)
    return tried


def apply(
    connection: Connection,
    source: int,
    name: str,
    pages: Iterable[CmdbPage],
    *,
    whole: bool,
    rules: Rules,
    guard: Guard,
    now: datetime,
    removed: bool = False,
) -> Applied:
    """Put a reading into the store. Raises Refused; the caller rolls back.

    Args:
        pages: clean ones. whole: what no page names is gone.
        removed: the source is no longer asked; that it says nothing is no wonder.
    """
    return _Applying(connection, source, name, rules, now).run(pages, whole=whole, guard=guard, removed=removed)


def follows(store: CmdbStore, rules: Rules) -> bool:
    """Whether the topology was worked out by these rules, in this version of the program; if not, the next reading of
    any source works out all of it."""
    with store.read() as connection:
        found = connection.execute(select(tables.meta.c.value).where(tables.meta.c.key == _RECONCILED_WITH)).scalar()
    return found in (None, _ruled(rules))


def _ruled(rules: Rules) -> str:
    return blake2b(msgspec.json.encode((__version__, rules)), digest_size=8).hexdigest()


class _Row(Struct, frozen=True, gc=False):
    """An item with what the store knows of it."""

    key: int
    source: int
    ci: int | None
    since: datetime
    item: Item


_scratch = MetaData()
_touched = Table(
    "cmdb_touched", _scratch, Column("ci", Integer, primary_key=True, autoincrement=False), prefixes=["TEMPORARY"]
)


class _Applying:
    def __init__(self, connection: Connection, source: int, name: str, rules: Rules, now: datetime) -> None:
        self._db, self._source, self._name, self._rules, self._now = connection, source, name, rules, now
        self._counts = Counts()
        self._texts = dict(self._rows(select(tables.word.c.number, tables.word.c.text)))
        self._words = {word: number for number, word in self._texts.items()}
        self._number = (self._db.execute(select(func.max(tables.version.c.number))).scalar() or 0) + 1
        self._changed: set[int] = set()
        """Items that are new or other than before."""
        self._shared: set[int] = set()
        """Keys by which they, or what they were, could be met."""
        self._mine: set[int] = set()
        """CIs that items which changed or went were held to be."""
        self._cis: set[int] = set()
        """They, and the other CIs that may be another now."""
        self._ends: set[int] = set()
        """Items at the ends of ties that came or went."""
        self._lost_ties = 0

    def run(self, pages: Iterable[CmdbPage], *, whole: bool, guard: Guard, removed: bool) -> Applied:
        self._counts.whole = whole
        items, ties = self._take(pages, whole=whole)
        if whole:
            if not self._counts.items and not removed:
                self._refuse_nothing(guard)
            self._drop_items(items)
            self._drop_ties(ties)
        del items, ties
        self._reconcile()
        self._refuse_too_much(guard)
        return Applied(counts=self._counts, version=self._publish())

    # ---- what the source says ----

    def _take(self, pages: Iterable[CmdbPage], *, whole: bool) -> tuple[set[int], set[int]]:
        """Write what the pages say; the keys of items and ties that a whole reading did not name."""
        items, ties = tables.item, tables.tie
        known_items = (
            dict(self._rows(select(items.c.key, items.c.digest).where(items.c.source == self._source))) if whole else {}
        )
        known_ties = (
            {
                key: hash((s, t, o, c))
                for key, s, t, o, c in self._rows(
                    select(ties.c.key, ties.c.source, ties.c.type, ties.c.target, ties.c.class_name).where(
                        ties.c.by == self._source
                    )
                )
            }
            if whole
            else {}
        )
        left_items, left_ties = set(known_items), set(known_ties)
        for page in pages:
            put = self._read_items(page.items)
            if not whole:
                known_items = self._known_items(put)
            left_items.difference_update(put)
            self._put_items(put, known_items)
            if whole:
                known_items.update((key, digest) for key, (digest, _, _) in put.items())
            self._put_ties(page.ties, known_ties if whole else None, left_ties)
            gone_items, gone_ties = self._keys_of(page.gone), self._keys_of(page.gone_ties)
            if whole:  # what came and went within one reading
                left_items |= {key for key in gone_items if key in known_items}
                left_ties |= {key for key in gone_ties if key in known_ties}
            else:
                self._drop_items(gone_items)
                self._drop_ties(gone_ties)
            self._counts.flaws += len(page.flaws)
        return left_items, left_ties

    def _keys_of(self, ids: Iterable[str]) -> set[int]:
        return {self._key(id) for id in ids}

    def _key(self, id: str) -> int:
        return number64(str(self._source), id)

    def _read_items(self, items: Sequence[Item]) -> dict[int, tuple[int, bytes, Item]]:
        """By key, digest and body of each; of one that comes twice the later."""
        self._counts.items += len(items)
        found = {}
        for item in items:
            body = packed(item)
            found[self._key(item.id)] = _digest(body), body, item
        return found

    def _known_items(self, keys: Iterable[int]) -> dict[int, int]:
        table = tables.item
        return dict(self._chunked(select(table.c.key, table.c.digest), table.c.key, keys))

    def _put_items(self, put: Mapping[int, tuple[int, bytes, Item]], known: Mapping[int, int]) -> None:
        table = tables.item
        new = [key for key in put if key not in known]
        other = [key for key in put if key in known and known[key] != put[key][0]]
        self._unlearn(other)
        if new:
            self._db.execute(
                insert(table),
                [
                    {
                        "key": key, "source": self._source, "digest": put[key][0], "since": self._now, "ci": None,
                        "body": put[key][1],
                    }
                    for key in new
                ],
            )  # fmt: skip
        if other:
            self._db.execute(
                update(table).where(table.c.key == bindparam("of")).values(digest=bindparam("d"), body=bindparam("b")),
                [{"of": key, "d": put[key][0], "b": put[key][1]} for key in other],
            )
        shared = [{"key": shared, "item": key} for key in (*new, *other) for shared in _shared_keys(put[key][2])]
        if shared:
            self._db.execute(insert(tables.known_by), shared)
        self._changed.update(new, other)
        self._shared.update(one["key"] for one in shared)

    def _unlearn(self, items: Iterable[int]) -> None:
        """Forget by what these are known, and note whom that may concern."""
        gone = []
        for row in self._load(items):
            if row.ci is not None:
                self._mine.add(row.ci)
            gone += [{"k": shared, "i": row.key} for shared in _shared_keys(row.item)]
        if gone:
            table = tables.known_by
            self._db.execute(delete(table).where(table.c.key == bindparam("k"), table.c.item == bindparam("i")), gone)
        self._shared.update(one["k"] for one in gone)

    def _drop_items(self, items: Iterable[int]) -> None:
        found = list(items)
        self._unlearn(found)
        table = tables.item
        for chunk in chunks(found):
            self._counts.gone += self._db.execute(delete(table).where(table.c.key.in_(chunk))).rowcount
        self._changed.difference_update(found)

    def _put_ties(self, said: Sequence[Tie], known: dict[int, int] | None, left: set[int]) -> None:
        table = tables.tie
        self._counts.ties += len(said)
        rows = {}
        for tie in said:
            key = self._key(tie.key)
            type_ = tie.type if tie.type in DIRECTIONS else RELATED
            rows[key] = self._key(tie.source), self._word(type_), self._key(tie.target), self._word(tie.class_name)
        if known is None:
            before = {
                key: hash((s, t, o, c))
                for key, s, t, o, c in self._chunked(
                    select(table.c.key, table.c.source, table.c.type, table.c.target, table.c.class_name),
                    table.c.key,
                    rows,
                )
            }
        else:
            before = known
            left.difference_update(rows)
        new = [key for key in rows if key not in before]
        other = [key for key in rows if key in before and before[key] != hash(rows[key])]
        self._leave_ties(other)
        if new:
            self._db.execute(
                insert(table),
                [
                    {
                        "key": key, "by": self._source, "source": rows[key][0], "type": rows[key][1],
                        "target": rows[key][2], "class_name": rows[key][3], "since": self._now,
                    }
                    for key in new
                ],
            )  # fmt: skip
        if other:
            self._db.execute(
                update(table)
                .where(table.c.key == bindparam("of"))
                .values(source=bindparam("s"), type=bindparam("t"), target=bindparam("o"), class_name=bindparam("c")),
                [dict(zip(("of", "s", "t", "o", "c"), (key, *rows[key]), strict=True)) for key in other],
            )
        for key in (*new, *other):
            self._ends.add(rows[key][0])
        if known is not None:
            known.update((key, hash(rows[key])) for key in (*new, *other))

    def _leave_ties(self, ties: Iterable[int]) -> None:
        """Note where they began."""
        table = tables.tie
        self._ends.update(end for (end,) in self._chunked(select(table.c.source), table.c.key, ties))

    def _drop_ties(self, ties: Iterable[int]) -> None:
        found = list(ties)
        self._leave_ties(found)
        table = tables.tie
        for chunk in chunks(found):
            gone = self._db.execute(delete(table).where(table.c.key.in_(chunk), table.c.by == self._source)).rowcount
            self._counts.gone += gone
            self._lost_ties += gone

    def _word(self, text: str) -> int:
        number = self._words.get(text)
        if number is None:
            kept = storable(text, 512) if len(self._texts) < _MOST_WORDS else _OTHER_WORD
            number = self._words.get(kept)
            if number is None:
                number = len(self._texts) + 1
                self._db.execute(insert(tables.word).values(number=number, text=kept))
                self._texts[number], self._words[kept] = kept, number
            self._words[text] = number
        return number

    # ---- bounds ----

    def _count_cis(self) -> int:
        """Of the CIs in the topology, those that this source knows."""
        item, ci = tables.item, tables.ci
        mine = (
            select(func.count(item.c.ci.distinct()))
            .join(ci, ci.c.number == item.c.ci)
            .where(item.c.source == self._source, ci.c.begin.is_not(None))
        )
        return self._db.execute(mine).scalar_one()

    def _refuse_nothing(self, guard: Guard) -> None:
        before = self._count_cis()
        if before and guard.accepted < before:
            self._counts.retiring = before
            raise Refused(
                f"{self._name!r} says that there is nothing any more, where it knew {before} CIs",
                hint=f"see that the account may still read everything; if all of them are to go: "
                f"foreshock cmdb sync {self._name} --accept-retire {before}",
                counts=self._counts,
            )

    def _refuse_too_much(self, guard: Guard) -> None:
        going = self._gone & self._mine
        self._counts.retiring = len(going)
        if len(going) > guard.accepted and len(going) > guard.share * (before := len(going) + self._count_cis()):
            self._counts.examples = self._ids_of(sorted(going)[:_MOST_EXAMPLES])
            raise Refused(
                f"{self._name!r} would retire {len(going)} of its {before} CIs, and at most {guard.share:.0%} are "
                f"allowed: {', '.join(self._counts.examples)}{', …' if len(going) > _MOST_EXAMPLES else ''}",
                hint="see that the account may still read everything; if they are to go: "
                f"foreshock cmdb sync {self._name} --accept-retire {len(going)}",
                counts=self._counts,
            )
        lost = self._lost_ties
        if lost > max(guard.accepted, _FEW_TIES) and lost > guard.share * (before := lost + self._count_ties()):
            raise Refused(
                f"{self._name!r} would drop {lost} of its {before} relationships, and at most "
                f"{guard.share:.0%} are allowed",
                hint="see that the account may still read relationships; if they are to go: "
                f"foreshock cmdb sync {self._name} --accept-retire {lost}",
                counts=self._counts,
            )

    def _count_ties(self) -> int:
        table = tables.tie
        mine = select(func.count()).select_from(table).where(table.c.by == self._source)
        return self._db.execute(mine).scalar_one()

    def _ids_of(self, numbers: Iterable[int]) -> tuple[str, ...]:
        return tuple(id for (id,) in self._chunked(select(tables.ci.c.id), tables.ci.c.number, numbers))

    # ---- what is one thing ----

    def _reconcile(self) -> None:
        """Work out the CIs of all items that what changed may concern, and write what differs."""
        ruled = _ruled(self._rules)
        total = self._db.execute(select(func.count()).select_from(tables.item)).scalar_one()
        group: set[int] | None = None
        if self._meta(_RECONCILED_WITH) != ruled:
            self._learn_all()
            self._put_meta(_RECONCILED_WITH, ruled)
        elif len(self._changed) <= _WHOLE_FROM * total:
            group = self._group(int(_WHOLE_FROM * total))
        self._is_whole = group is None
        if self._is_whole:  # then nobody asks any more, and they are large
            for concerned in (self._changed, self._shared, self._ends):
                concerned.clear()
        self._cis |= self._mine
        self._decide(self._load(group) if group is not None else self._all())

    def _learn_all(self) -> None:
        """By what items are known may be another thing in this version of the program."""
        self._db.execute(delete(tables.known_by))
        rows: list[dict[str, int]] = []
        for row in list(self._all()):
            rows += [{"key": shared, "item": row.key} for shared in _shared_keys(row.item)]
            if len(rows) >= _AT_ONCE:
                self._db.execute(insert(tables.known_by), rows)
                rows = []
        if rows:
            self._db.execute(insert(tables.known_by), rows)

    def _group(self, most: int) -> set[int] | None:
        """The items that must be looked at together: closed under what they share and the CIs they were held to be.
        None where they are too many."""
        item, known_by = tables.item, tables.known_by
        group: set[int] = set()
        keys_done: set[int] = set()
        cis_done: set[int] = set()
        items, shared, cis = set(self._changed), set(self._shared), set(self._mine)
        while items or shared - keys_done or cis - cis_done:
            for row in self._load(items - group):
                shared.update(_shared_keys(row.item))
                if row.ci is not None:
                    cis.add(row.ci)
            group |= items
            if len(group) > max(most, CHUNK):
                return None
            new_keys, new_cis = shared - keys_done, cis - cis_done
            keys_done |= new_keys
            cis_done |= new_cis
            items = {key for (key,) in self._chunked(select(known_by.c.item), known_by.c.key, new_keys)}
            items |= {key for (key,) in self._chunked(select(item.c.key), item.c.ci, new_cis)}
            items -= group
        self._cis |= cis
        return group

    def _decide(self, rows: Iterable[_Row]) -> None:
        names = dict(self._rows(select(tables.source.c.number, tables.source.c.name)))
        said: list[Said] = []
        keys_of: dict[Ref, int] = {}
        before: dict[Ref, int] = {}
        since: dict[Ref, int] = {}
        for row in rows:
            who = (names[row.source], row.item.id)
            said.append(Said(who[0], row.item))
            keys_of[who] = row.key
            if row.ci is not None:
                before[who] = row.ci
                since[who] = to_micros(row.since)
        concerned = self._cis | set(before.values())
        present: dict[int, tuple[int, bytes]] = {}
        ids: dict[int, str] = {}
        table = tables.ci
        columns = select(table.c.number, table.c.id, table.c.begin, table.c.body)
        stored = self._rows(columns) if self._is_whole else self._chunked(columns, table.c.number, concerned)
        for number, id, begin, body in stored:
            ids[number] = id
            if begin is not None:
                present[number] = begin, body
        held = {who: ids[ci] for who, ci in before.items()}
        result = reconcile(said, self._rules, held, self._taken(concerned, ids), since.__getitem__)
        del said, held, since
        numbers = self._numbers(result, ids)
        self._remap(result, numbers, before, keys_of)
        self._write(result, numbers, present)
        self._note_conflicts(result, numbers, present.keys() | set(numbers.values()))

    def _taken(self, concerned: set[int], ids: Mapping[int, str]) -> Callable[[str], bool]:
        """Whether an id belongs to a CI that is not looked at."""
        if self._is_whole:
            return lambda id: False
        ours = {id for number, id in ids.items() if number in concerned}
        ci, item = tables.ci, tables.item
        query = select(item.c.key).join(ci, ci.c.number == item.c.ci).where(ci.c.id == bindparam("wanted")).limit(1)
        return lambda id: id not in ours and self._db.execute(query, {"wanted": id}).first() is not None

    def _numbers(self, result: Reconciled, ids: Mapping[int, str]) -> dict[str, int]:
        """The number of each CI, by id; new ones get one."""
        numbers = {id: number for number, id in ids.items()}
        wanted = sorted(set(result.ids.values()) - numbers.keys())
        table = tables.ci
        if not self._is_whole:
            for first in range(0, len(wanted), CHUNK):
                part = wanted[first : first + CHUNK]
                numbers.update(self._rows(select(table.c.id, table.c.number).where(table.c.id.in_(part))))
            wanted = [id for id in wanted if id not in numbers]
        last = self._db.execute(select(func.max(table.c.number))).scalar() or 0
        if wanted:
            fresh = {id: last + place for place, id in enumerate(wanted, 1)}
            self._db.execute(
                insert(table),
                [{"number": number, "id": id, "begin": None, "body": None} for id, number in fresh.items()],
            )
            numbers.update(fresh)
        return numbers

    def _remap(
        self,
        result: Reconciled,
        numbers: Mapping[str, int],
        before: Mapping[Ref, int],
        keys_of: Mapping[Ref, int],
    ) -> None:
        moved: list[dict[str, int | None]] = []
        for who, ci in before.items():
            if who not in result.ids:
                moved.append({"of": keys_of[who], "to": None})
                self._cis.add(ci)
        for who, id in result.ids.items():
            number = numbers[id]
            if before.get(who) != number:
                moved.append({"of": keys_of[who], "to": number})
                self._cis.add(number)
                if who in before:
                    self._cis.add(before[who])
        if moved:
            table = tables.item
            self._db.execute(update(table).where(table.c.key == bindparam("of")).values(ci=bindparam("to")), moved)

    def _write(self, result: Reconciled, numbers: Mapping[str, int], present: Mapping[int, tuple[int, bytes]]) -> None:
        """The CIs as they are now; what they were before goes to the past."""
        table, number = tables.ci, self._number
        self._content = 0
        put: list[dict[str, Any]] = []
        past: list[dict[str, Any]] = []
        now_there: dict[int, str] = {}
        for id, ci in result.cis.items():
            of, body = numbers[id], pack_ci(ci)
            now_there[of] = id
            before = present.get(of)
            if before is not None and before[1] == body:
                continue
            put.append({"of": of, "b": number, "body_": body})
            self._content += _weight(id, body)
            if before is None:
                self._cis.add(of)  # what is tied to it begins to count
            else:
                past.append({"end": number, "ci": of, "begin": before[0], "body": before[1]})
                self._content -= _weight(id, before[1])
        self._gone = {of for of in present if of not in now_there}
        gone_ids = dict(self._chunked(select(table.c.number, table.c.id), table.c.number, self._gone))
        for of in sorted(self._gone):
            begin, body = present[of]
            past.append({"end": number, "ci": of, "begin": begin, "body": body})
            put.append({"of": of, "b": None, "body_": None})
            self._content -= _weight(gone_ids[of], body)
            self._cis.add(of)
        if past:
            self._db.execute(insert(tables.ci_past), past)
        if put:
            self._db.execute(
                update(table)
                .where(table.c.number == bindparam("of"))
                .values(begin=bindparam("b"), body=bindparam("body_")),
                put,
            )
        self._counts.gone_cis = len(self._gone)
        self._counts.put_cis = len(put) - len(self._gone)
        self._more_cis = sum(1 for id in result.cis if numbers[id] not in present) - len(self._gone)

    def _note_conflicts(self, result: Reconciled, numbers: Mapping[str, int], cis: Iterable[int]) -> None:
        table = tables.conflict
        if self._is_whole:
            self._db.execute(delete(table))
        else:
            for chunk in chunks(cis):
                self._db.execute(delete(table).where(table.c.ci.in_(chunk)))
        # One about no CI is between objects that are out of use: there is nothing to decide, nor to find it by again.
        found = [{"ci": numbers[one.ci], "body": msgspec.json.encode(one)} for one in result.conflicts if one.ci]
        if found:
            self._db.execute(insert(table), found)

    # ---- the new version ----

    def _publish(self) -> int | None:
        wanted, there = self._relationships()
        put, gone = sorted(wanted - there.keys()), sorted(there.keys() - wanted)
        table, past = tables.relationship, tables.relationship_past
        ids = self._ids_by_number({end for s, _, t in (*put, *gone) for end in (s, t)})
        for sign, triples in ((1, put), (-1, gone)):
            for s, kind, t in triples:
                self._content += sign * number64("relationship", ids[s], self._texts[kind], ids[t])
        if gone:
            self._db.execute(
                insert(past),
                [
                    {"end": self._number, "source": s, "type": kind, "target": t, "begin": there[s, kind, t]}
                    for s, kind, t in gone
                ],
            )
            self._db.execute(
                delete(table).where(
                    table.c.source == bindparam("s"), table.c.type == bindparam("k"), table.c.target == bindparam("t")
                ),
                [{"s": s, "k": kind, "t": t} for s, kind, t in gone],
            )
        if put:
            self._db.execute(
                insert(table),
                [{"source": s, "type": kind, "target": t, "begin": self._number} for s, kind, t in put],
            )
        self._counts.put_relationships, self._counts.gone_relationships = len(put), len(gone)
        counts = self._counts
        changes = counts.put_cis or counts.gone_cis or put or gone
        last = self._db.execute(select(tables.version).order_by(tables.version.c.number.desc()).limit(1)).first()
        if not changes and last is not None:
            return None
        content = (self._content + (last.content if last is not None else 0)) % 2**64
        content -= 2**64 if content >= 2**63 else 0
        self._db.execute(
            insert(tables.version).values(
                number=self._number,
                name=blake2b(content.to_bytes(8, "big", signed=True), digest_size=6).hexdigest(),
                at=self._now,
                content=content,
                cis=self._more_cis + (last.cis if last is not None else 0),
                relationships=len(put) - len(gone) + (last.relationships if last is not None else 0),
                source=self._source,
                body=msgspec.json.encode(counts),
            )
        )
        return self._number

    def _relationships(self) -> tuple[set[tuple[int, int, int]], dict[tuple[int, int, int], int]]:
        """Those that the ties make, and those there are with the version they began in; where all were worked out
        again all of them, else those of the CIs concerned."""
        table = tables.relationship
        there: Any = select(table.c.source, table.c.type, table.c.target, table.c.begin)
        if self._is_whole:
            wanted = _from_ties().distinct()
        else:
            self._cis.update(
                ci for (ci,) in self._chunked(select(tables.item.c.ci), tables.item.c.key, self._ends) if ci is not None
            )
            _fill(self._db, _touched, [{"ci": ci} for ci in sorted(self._cis)])
            concerned = select(_touched.c.ci)
            wanted = union(_from_ties("source"), _from_ties("target"))
            there = union(there.where(table.c.source.in_(concerned)), there.where(table.c.target.in_(concerned)))
        return (
            {(s, kind, t) for s, kind, t in self._rows(wanted)},
            {(s, kind, t): begin for s, kind, t, begin in self._rows(there)},
        )

    def _ids_by_number(self, numbers: Iterable[int]) -> dict[int, str]:
        return dict(self._chunked(select(tables.ci.c.number, tables.ci.c.id), tables.ci.c.number, numbers))

    # ---- rows ----

    def _rows(self, query: Any) -> Iterator[Any]:
        yield from self._db.execute(query.execution_options(yield_per=CHUNK))

    def _chunked(self, query: Any, column: Any, keys: Iterable[int]) -> Iterator[Any]:
        for chunk in chunks(keys):
            yield from self._db.execute(query.where(column.in_(chunk)))

    def _load(self, keys: Iterable[int]) -> Iterator[_Row]:
        table = tables.item
        query = select(table.c.key, table.c.source, table.c.ci, table.c.since, table.c.body)
        for key, source, ci, since, body in self._chunked(query, table.c.key, keys):
            yield _Row(key, source, ci, since, read_item(body))

    def _all(self) -> Iterator[_Row]:
        table = tables.item
        query = select(table.c.key, table.c.source, table.c.ci, table.c.since, table.c.body).order_by(table.c.key)
        for key, source, ci, since, body in self._rows(query):
            yield _Row(key, source, ci, since, read_item(body))

    def _meta(self, key: str) -> str:
        return self._db.execute(select(tables.meta.c.value).where(tables.meta.c.key == key)).scalar() or ""

    def _put_meta(self, key: str, value: str) -> None:
        self._db.execute(delete(tables.meta).where(tables.meta.c.key == key))
        self._db.execute(insert(tables.meta).values(key=key, value=value))


def _from_ties(near: str = "") -> Any:
    """(source, type, target) of CIs in the topology; with ``near`` only those whose end of that name is concerned."""
    tie = tables.tie
    ends = {name: (tables.item.alias(f"{name}_item"), tables.ci.alias(f"{name}_ci")) for name in ("source", "target")}
    (from_item, from_ci), (to_item, to_ci) = ends["source"], ends["target"]
    query = (
        select(from_item.c.ci, tie.c.type, to_item.c.ci.label("target_ci"))
        .select_from(tie)
        .join(from_item, from_item.c.key == tie.c.source)
        .join(to_item, to_item.c.key == tie.c.target)
        .join(from_ci, from_ci.c.number == from_item.c.ci)
        .join(to_ci, to_ci.c.number == to_item.c.ci)
        .where(from_ci.c.begin.is_not(None), to_ci.c.begin.is_not(None), from_item.c.ci != to_item.c.ci)
    )
    if near:
        query = query.where(ends[near][0].c.ci.in_(select(_touched.c.ci)))
    return query


def _fill(connection: Connection, table: Table, rows: list[dict[str, int]]) -> None:
    connection.execute(text(f"DROP TABLE IF EXISTS {table.name}"))
    table.create(connection)
    if rows:
        connection.execute(insert(table), rows)


def _shared_keys(item: Item) -> set[int]:
    return {number64(key) for key in keys(item)}


def _digest(body: bytes) -> int:
    return int.from_bytes(blake2b(body, digest_size=8).digest(), "big", signed=True)


def _weight(id: str, body: bytes) -> int:
    """What a CI adds to the digest of a version, whatever the order in which it came to be."""
    return _digest(b"\0".join((b"ci", id.encode(), body)))


def cleaned(page: CmdbPage) -> CmdbPage:
    """With what no store can hold as flaws, so that one such object costs no other."""
    items, flaws = [], []
    for item in page.items:
        try:
            items.append(_storable(item))
        except ValueError as error:
            flaws.append(Flaw(id=_readable(item.id), error=str(error), payload=_readable(repr(item))))
    ties = []
    for tie in page.ties:
        if all(map(_is_text, (tie.source, tie.type, tie.target, tie.id, tie.class_name))):
            ties.append(tie)
        else:
            flaws.append(Flaw(id=_readable(tie.id), error="it is no Unicode text", payload=_readable(repr(tie))))
    if not flaws and all(new is old for new, old in zip(items, page.items, strict=True)):
        return page
    return msgspec.structs.replace(page, items=items, ties=ties, flaws=(*page.flaws, *flaws))


def _storable(item: Item) -> Item:
    """Raises ValueError for what is no name of anything."""
    for what, found in (("id", item.id), ("name", item.name), ("handle", item.handle)):
        if len(found) > MAX_CHARS:
            raise ValueError(f"its {what} has {len(found)} characters, and {MAX_CHARS} are the most")
    if not item.id:
        raise ValueError("it has no id")
    if not (item.handle or item.name).strip():
        raise ValueError("it has no name")
    try:
        msgspec.msgpack.encode(item)
    except UnicodeEncodeError:
        raise ValueError("it is no Unicode text") from None
    texts = {name: getattr(item, name) for name in ("name", "handle")}
    changed = {name: kept for name, found in texts.items() if (kept := storable(found)) != found}
    return msgspec.structs.replace(item, **changed) if changed else item


def _is_text(text: str) -> bool:
    return len(text) <= MAX_CHARS and (text.isascii() or _readable(text) == text)


def _readable(text: str) -> str:
    return storable(text, MAX_CHARS)
