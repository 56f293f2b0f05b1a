"""Reading what products post: strict about what identifies an alert, lenient about the rest.

Products add fields, leave them out and change their types from version to version, and templates leave a variable empty
or as it was written. What identifies is asked for with ``needed``; whatever else is odd must not lose an alert.
"""

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta, tzinfo
from functools import partial
from itertools import islice
from typing import Any, TypeVar

import msgspec

from foreshock.core.contracts import decode_items
from foreshock.core.errors import Malformed
from foreshock.core.model import Change, Event, encode_annotations, encode_texts
from foreshock.core.severity import Severity, parse_severity

T = TypeVar("T")
Object = dict[str, Any]
"""A JSON object as it came."""

_MANY, _ONE = msgspec.json.Decoder(list[Object]), msgspec.json.Decoder(Object)
_VALUE = re.compile(r"(?<!\S)[<>=~]*[-+]?\d+(?:[.,]\d+)*(?:%|[a-zA-Z]{1,2}%?)?(?!\S)")
_SPACED = re.compile(r"^(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?) ?(Z|UTC|[+-]\d\d:?\d\d)?$")
_UNSET = frozenset({"", "*", "null", "none", "undefined", "n/a"})
MAX_APART = 1000
"""Things that one notification may be about."""
_MAX_ID, _MAX_TEXT, _MAX_CIS = 200, 500, 100  # as in collectors.changes
_MAX_WORD = 64
_MAX_NUMBER = 32  # characters; a longer one is no identity, and Python refuses to write the very long ones


def objects(what: str) -> Callable[[bytes], list[Object | Malformed]]:
    """A decoder of one JSON object, or an array of them. what: for the error."""
    return partial(decode_items, many=_MANY, one=_ONE, what=what, or_one=True)


def each(items: Iterable[Object | Malformed], apart: Callable[[Object], Iterable[T]]) -> list[T | Malformed]:
    """What each object is about, where one may be about several things; what cannot be read stays in its place. An
    object about very many things is refused."""
    found: list[T | Malformed] = []
    for item in items:
        if isinstance(item, Malformed):
            found.append(item)
            continue
        several = list(islice(apart(item), MAX_APART + 1))
        if len(several) > MAX_APART:
            found.append(Malformed(f"one notification is about more than {MAX_APART} things"))
        else:
            found += several
    return found


def part(value: Any, *path: str | int) -> Any:
    """What lies at the end of ``path``; None where there is no such place."""
    for step in path:
        if isinstance(step, str):
            value = value.get(step) if isinstance(value, dict) else None
        else:
            value = value[step] if isinstance(value, list) and -len(value) <= step < len(value) else None
    return value


def parts(value: Any, *path: str | int) -> list[Object]:
    """The objects of the list at the end of ``path``; of an object there, that one."""
    found = part(value, *path)
    return [one for one in (found if isinstance(found, list) else [found]) if isinstance(one, dict)]


def text(value: Any, *path: str | int) -> str:
    """A text, number or truth at the end of ``path`` as text; empty for anything else."""
    found = part(value, *path) if path else value
    if isinstance(found, str):
        return found.strip()
    if isinstance(found, bool):
        return "true" if found else "false"
    if isinstance(found, int):
        return str(found) if abs(found) < 10**_MAX_NUMBER else ""
    return repr(found) if isinstance(found, float) else ""


def filled(value: Any, *path: str | int) -> str:
    """As ``text``, of a template: empty where the variable had no value, or is one that the product does not know."""
    found = text(value, *path)
    return "" if found.lower() in _UNSET or found.startswith(("$", "{{")) or found in ("[]", "{}") else found


def needed(value: Any, *path: str | int) -> str:
    """As ``filled``. Raises Malformed where there is nothing."""
    found = filled(value, *path)
    if not found:
        raise Malformed(f"{'.'.join(map(str, path))} is missing, or empty", hint="it is what the alert is known by")
    return found


def texts(value: Any, *path: str | int) -> list[str]:
    """The texts of a list at the end of ``path``, or of a text with commas between them; those that say something, each
    once."""
    found = part(value, *path)
    each: Iterable[Any] = found.split(",") if isinstance(found, str) else found if isinstance(found, list) else ()
    return list(dict.fromkeys(one for one in map(filled, each) if one))


def tags(value: Any, *path: str | int) -> dict[str, str]:
    """``name:value`` of a list, or of a text with commas between them, or an object of texts. Of a name that comes
    several times the values are joined, sorted; a tag without a value is left out."""
    found = part(value, *path)
    if isinstance(found, dict):
        return {name: said for name, one in found.items() if name and (said := filled(one))}
    several: dict[str, set[str]] = {}
    for one in texts(value, *path):
        name, _, said = one.partition(":")
        if name.strip() and said.strip():
            several.setdefault(name.strip(), set()).add(said.strip())
    return {name: ",".join(sorted(values)) for name, values in several.items()}


def moment(value: Any, *path: str | int, zone: tzinfo | None = None) -> datetime | None:
    """A time: a text as in ISO 8601, also with a blank before its zone, or a number of seconds, milli-, micro- or
    nanoseconds since 1970. None for anything else, for what lies at or before 1970, and for a text without a zone where
    none is given as ``zone``."""
    found = part(value, *path) if path else value
    try:
        if isinstance(found, str):
            found = found.strip()
            if (read := _SPACED.match(found)) is None:
                return moment(float(found))
            spelt = f"{read[1]}T{read[2].replace(',', '.')}{(read[3] or '').replace('UTC', 'Z')}"
            at = datetime.fromisoformat(spelt)
            at = at.replace(tzinfo=zone) if at.tzinfo is None and zone is not None else at
            return at.astimezone(UTC) if at.tzinfo is not None and at.year > 1970 else None
        if isinstance(found, bool) or not isinstance(found, int | float) or not found > 0:
            return None
        for limit, unit in ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3)):
            if found > limit:
                return datetime.fromtimestamp(found / unit, UTC)
        return datetime.fromtimestamp(found, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def worded(*words: str) -> str:
    """The first of several words for a severity that is known; the first that says anything where none is."""
    said = [word.lower() for word in words if word and len(word) <= _MAX_WORD]
    return next((word for word in said if parse_severity(word) is not Severity.UNKNOWN), said[0] if said else "")


def steady(title: str) -> str:
    """A title without the numbers that stand by themselves in it: a rule may write the value it saw into its title, and
    it is another one when that is over."""
    return _VALUE.sub("#", title)


def alert(
    labels: Mapping[str, str],
    received_at: datetime,
    *,
    annotations: Mapping[str, str] | None = None,
    severity: str = "",
    starts_at: datetime | None = None,
    over: bool = False,
    ended_at: datetime | None = None,
    holds: timedelta | None = None,
    url: str = "",
) -> Event:
    """An event. Labels and annotations without a value are left out, and what is too long for an annotation is cut.

    Args:
        over: it is reported that the alert ended, at ``ended_at`` or now.
        holds: how long it counts unless it is sent again, where nobody reports an end.
    """
    ends_at = None
    if over:
        ends_at = received_at if ended_at is None else min(ended_at, received_at)
    elif holds is not None:
        ends_at = received_at + holds
    return Event(
        labels=encode_texts({name: one for name, one in labels.items() if one}),
        annotations=encode_annotations(annotations or {}),
        severity=severity,
        starts_at=starts_at,
        ends_at=ends_at,
        url=url if url.startswith(("https://", "http://")) else "",
    )


def change(
    id: str,
    received_at: datetime,
    *,
    at: datetime | None,
    title: str,
    cis: Iterable[str],
    actor: str = "",
    url: str = "",
) -> Change:
    """A change, cut to what our own format allows. Raises Malformed where no CI is named."""
    named = tuple(dict.fromkeys(ci[:_MAX_TEXT] for ci in cis if ci))[:_MAX_CIS]
    if not named:
        raise Malformed("nothing says what was changed")
    return Change(
        id=id[:_MAX_ID],
        at=received_at if at is None else min(at, received_at),
        title=title[:_MAX_TEXT],
        cis=named,
        actor=actor[:_MAX_TEXT],
        url=url[:_MAX_TEXT] if url.startswith(("https://", "http://")) else "",
    )
