"""What CMDB sources share: text that is bounded and inert, cursors that any process can go on from, flaws."""

import unicodedata
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from foreshock.core.cmdb import Expired, Flaw
from foreshock.core.errors import Malformed

MAX_TEXT_CHARS = 512
_MAX_PAYLOAD_CHARS = 2000
_MAX_READ_CHARS = 4 * MAX_TEXT_CHARS  # what is cut off anyway need not be normalised: a name may have a million

T = TypeVar("T", bound=Struct)


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
