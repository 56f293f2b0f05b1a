"""What every sink decides alike: which fields to write, how to know its own writes again, how changes are numbered."""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

from foreshock.connect.markup import line, plain
from foreshock.core.contracts import Order, Ownership, ProblemOrder

_RECORD_BITS, _PLACE_BITS = 28, 4
"""Below the second in a ``sequence``. Seconds since 2020 need 31 bits until 2088; together the 63 that stores have."""
_EPOCH = datetime(2020, 1, 1, tzinfo=UTC)
_DIGEST_CHARS = 16


def marker(order_id: str) -> str:
    """The line at the end of each note of ours: by it a note is found again whose answer was lost, and not read back as
    somebody's comment."""
    return f"[foreshock {order_id}]"


def is_ours(text: str) -> bool:
    """Whether a note carries a ``marker``."""
    return text.rstrip().endswith("]") and "[foreshock " in text.rsplit("\n", 1)[-1]


def with_marker(text: str, order_id: str, limit: int) -> str:
    """A note with its marker, of at most ``limit`` characters; ``text`` is cut, the marker never."""
    last = marker(order_id)
    room = limit - len(last) - 1
    shown = text if len(text) <= room else text[: room - 2].rstrip() + " …"
    return f"{shown}\n{last}"


def digest(value: str) -> str:
    """Short, equal for equal values: what ``Receipt.kept`` holds of a value that we wrote."""
    return hashlib.sha256(value.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_CHARS]


def title(order: Order | ProblemOrder, limit: int) -> str:
    """In one line, never empty."""
    return line(str(order.fields.get("title", "")), limit) or "Incident without a title"


def description(order: Order | ProblemOrder, console: str, limit: int) -> str:
    """Plain text that ends with the address of the incident's page, which is never cut."""
    page = page_of(order, console)
    return f"{plain(str(order.fields.get('description', '')), limit - len(page) - 2)}\n\n{page}".strip()


def page_of(order: Order | ProblemOrder, console: str) -> str:
    return f"{console}{order.url}" if isinstance(order, Order) and order.url else ""


def of_scale(scale: Sequence[str], value: Any) -> str:
    """The system's word for impact, urgency or priority 1 (highest) and below; beyond the scale is its end."""
    return scale[min(len(scale), max(1, int(value))) - 1]


THEIRS = ""
"""What ``kept`` says of a field that a person filled before we ever wrote it."""


def due(
    wanted: Mapping[str, str],
    present: Mapping[str, str],
    kept: Mapping[str, str],
    ownership: Mapping[str, Ownership] = {},
) -> dict[str, str]:
    """What to write: of ``wanted`` what the record does not say yet and no person has taken over.

    Args:
        present: the record as it is now, in the system's words; a field that is missing there counts as empty.
        kept: ``Receipt.kept``. A field that differs from it was changed by a person. A field that was never written is
            ours while it is empty.
        ownership: whose a field is once a person has changed it; HUMAN where nothing is said.
    """
    found = {}
    for name, value in wanted.items():
        now = present.get(name, "")
        untouched = digest(now) == kept[name] if name in kept else not now
        whose = ownership.get(name, Ownership.HUMAN)
        is_new = whose is Ownership.LAST_WRITER and kept.get(_said(name), digest(value)) != digest(value)
        if value != now and (untouched or is_new or whose is Ownership.OURS):
            found[name] = value
    return found


def kept_after(
    wanted: Mapping[str, str],
    written: Collection[str],
    present: Mapping[str, str],
    before: Mapping[str, str],
    ownership: Mapping[str, Ownership] = {},
) -> dict[str, str]:
    """``Receipt.kept`` after a write: digests of what the system made of our values.

    Args:
        wanted: fields that Foreshock has a say in. written: those of them that were written just now.
        present: the record as read back. before: ``kept`` until now; what it says of other fields stays.
        ownership: of what belongs to the last writer, what we said last is kept as well.
    """
    kept = dict(before)
    for name, value in wanted.items():
        now = present.get(name, "")
        if name in written or now == value:
            kept[name] = digest(now)
        else:
            kept.setdefault(name, digest(now) if not now else THEIRS)
        if ownership.get(name) is Ownership.LAST_WRITER:
            kept[_said(name)] = digest(value)
    return kept


def _said(name: str) -> str:
    return f"said {name}"


def read_time(text: str) -> datetime | None:
    """A time in ISO 8601, in UTC where it names no zone; None where it is none."""
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        return None
    return at.astimezone(UTC) if at.tzinfo else at.replace(tzinfo=UTC)


def sequence(at: datetime, record: str, place: int = 0) -> int:
    """The number of a change, from the change alone: its second, then the record, then its place among the changes of
    one record in that second (0..15).

    So a change has the same number whenever it is read, whatever else happened in that second, and numbers rise with
    time. ``at`` is when the system says it happened, to the second; give only changes that lie before ``settled``.
    """
    second = max(0, int((at - _EPOCH).total_seconds()))
    which = int.from_bytes(hashlib.sha256(record.encode()).digest()[:4]) >> (32 - _RECORD_BITS)
    return (((second << _RECORD_BITS) | which) << _PLACE_BITS) | min(place, (1 << _PLACE_BITS) - 1)


def moment(number: int) -> datetime:
    """The second of a ``sequence``, which a query for what came after it must include. 0 is 2020."""
    return _EPOCH + timedelta(seconds=number >> (_RECORD_BITS + _PLACE_BITS))


def settled(server_now: datetime, delay: timedelta) -> datetime:
    """Changes before this moment are complete: none can turn up later in a second that was read.

    Args:
        server_now: the system's own clock (its ``Date`` header), not ours.
        delay: how long a commit, or the index behind a search, may lag there.
    """
    return (server_now - delay).replace(microsecond=0)
