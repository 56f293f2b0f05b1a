"""What CMDB sources share: text that is bounded and inert, cursors that any process can go on from, flaws."""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any, TypeVar

import msgspec
from msgspec import Struct
from pydantic import Field, field_validator

from foreshock.core.cmdb import GENERIC, RELATED, CmdbConfig, Expired, Flaw, Tie
from foreshock.core.errors import Invalid, Malformed
from foreshock.core.topology import DIRECTIONS

MAX_TEXT_CHARS = 512
_MAX_PAYLOAD_CHARS = 2000
_MAX_READ_CHARS = 4 * MAX_TEXT_CHARS  # what is cut off anyway need not be normalised: a name may have a million

IGNORE = "ignore"
"""In ``kinds`` and ``relations``: leave these out."""
INVERSE = "inverse "
"""In front of a relationship type: it reads the other way round."""

T = TypeVar("T", bound=Struct)


class MappedConfig(CmdbConfig):
    """Of sources whose classes and relations people make themselves: what they mean, beyond what the source knows."""

    kinds: dict[str, str] = Field(
        default_factory=dict,
        description="classes there in our words or yours, for example {cmdb_ci_acc: power}, whatever the case; "
        f"{IGNORE} leaves a class out",
    )
    relations: dict[str, str] = Field(
        default_factory=dict,
        description="relations there in our words, for example {Feeds: powers} or {Fed by: inverse powers}, whatever "
        f"the case; {IGNORE} leaves a relation out",
    )

    @field_validator("relations")
    @classmethod
    def _are_types(cls, relations: dict[str, str]) -> dict[str, str]:
        for word, type_ in relations.items():
            if type_ != IGNORE and type_.removeprefix(INVERSE) not in DIRECTIONS:
                hint = f"known: {', '.join(DIRECTIONS)}; with `inverse ` in front the other way round; or {IGNORE}"
                raise Invalid(f"{type_!r} is not a relationship type", hint=hint, path=(word,))
        return relations


def folded(*tables: Mapping[str, str]) -> dict[str, str]:
    """Tables of words as one in which case does not count; a later one wins."""
    return {word.casefold(): meaning for table in tables for word, meaning in table.items()}


def kind_of(class_name: str, kinds: Mapping[str, str]) -> str:
    """By a ``folded`` table; ``GENERIC`` where it says nothing."""
    return kinds.get(class_name.casefold(), GENERIC)


def tie_of(id: str, source: str, word: str, target: str, relations: Mapping[str, str]) -> Tie | None:
    """``source`` <word> ``target`` by a ``folded`` table: ``RELATED`` where it says nothing, None where it ignores."""
    type_ = relations.get(word.casefold(), RELATED)
    if type_ == IGNORE:
        return None
    if type_.startswith(INVERSE):
        source, target, type_ = target, source, type_.removeprefix(INVERSE)
    return Tie(id=id, source=source, type=type_, target=target, class_name=word)


def text(value: Any, what: str) -> str:
    """One printable line in Unicode form C, at most ``MAX_TEXT_CHARS``; empty for None.

    Marks that reorder or hide what people see (bidirectional overrides, zero widths) are not printable and go too.
    Raises Malformed, which names ``what``, for a value that is no text or number.
    """
    if value is None:
        return ""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise Malformed(f"{what} is {type(value).__name__}, not text")
    line = str(value)[:_MAX_READ_CHARS]
    if not line.isascii():
        line = unicodedata.normalize("NFC", line)
    if not line.isprintable():
        line = "".join(character if character.isprintable() else " " for character in line)
    return " ".join(line.split())[:MAX_TEXT_CHARS]


def identity(value: Any, what: str) -> str:
    """The same for what must not be empty, nor be cut: an id. Raises Malformed."""
    line = text(value, what)
    if not line:
        raise Malformed(f"{what} is empty")
    if len(str(value)) > MAX_TEXT_CHARS:
        raise Malformed(f"{what} has {len(str(value))} characters, {MAX_TEXT_CHARS} are allowed")
    return line


def write_cursor(place: Struct) -> str:
    """Where a reading stands, for ``CmdbPage.next`` and ``mark``."""
    return msgspec.json.encode(place).decode()


def read_cursor(written: str, type_: type[T]) -> T:
    """What ``write_cursor`` wrote. Raises Expired for what another version wrote, or nobody."""
    try:
        return msgspec.json.decode(written, type=type_)
    except (msgspec.DecodeError, UnicodeEncodeError):  # a ValidationError is a DecodeError
        raise Expired(f"{written[:80]!r} is no place in a reading that is known here") from None


def flaw(id: Any, error: Exception, raw: Any) -> Flaw:
    """An object that could not be read. id: of the object as far as it is known, so that it does not count as gone."""
    try:
        payload = msgspec.json.encode(raw).decode()
    except (TypeError, ValueError):
        payload = repr(raw)
    return Flaw(
        id=id[:MAX_TEXT_CHARS] if isinstance(id, str) else "",
        error=str(error)[:MAX_TEXT_CHARS],
        payload=payload[:_MAX_PAYLOAD_CHARS],
    )


_CRITICALITY = {"critical": 1, "high": 2, "medium": 3, "low": 4}
_LEVEL = re.compile(r"(?:tier|level|p)?[ _-]?([1-4])(?:[ _:-].*)?")


def criticality(value: Any) -> int:
    """1 (most) to 4 for a level as systems and people write it: ``1``, ``tier-2``, ``3 - less critical``, ``high``; 0
    for what says nothing of it."""
    word = str(value or "").strip().lower()
    found = _LEVEL.fullmatch(word)
    return int(found[1]) if found is not None else _CRITICALITY.get(word, 0)
