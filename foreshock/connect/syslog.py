"""Syslog messages as they come: taken out of a stream, taken apart, dated. Pure; any bytes give a message.

Facts: RFC 5424 (the message), RFC 3164 (what was usual before it), RFC 6587 (both framings over TCP), RFC 5425 (TLS)
and RFC 5426 (UDP), read 2026-11-22. Cisco puts sequence numbers and the origin before the time, and ``*`` or ``.``
where the clock is not set. Real senders leave out the priority, the year, the host, the zone or the colon, and write
times of ISO 8601 into the old format.
"""

import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import NamedTuple

MAX_BYTES = 64 * 1024
"""Of one message; what is longer is cut."""
SEVERITIES = ("emerg", "alert", "crit", "err", "warning", "notice", "info", "debug")
FACILITIES = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv", "ftp", "ntp",
    "audit", "console", "cron2", "local0", "local1", "local2", "local3", "local4", "local5", "local6", "local7",
)  # fmt: skip
FAR_OFF = timedelta(days=1)
"""A date further from the time of receipt says that a clock is wrong."""

_DEFAULT = 13  # user.notice, RFC 3164 4.3.3
_HIGHEST = 191
_MONTHS = {
    name: number
    for number, name in enumerate(
        (b"Jan", b"Feb", b"Mar", b"Apr", b"May", b"Jun", b"Jul", b"Aug", b"Sep", b"Oct", b"Nov", b"Dec"), 1
    )
}
_PARAMETER = rb'"(?:[^"\\]|\\.)*+"'
_DATA = rb"-|(?:\[(?:[^\]\"]|" + _PARAMETER + rb")*+\])++"
_5424 = re.compile(
    rb"<(\d{1,3})>1 (\S{1,64}) (\S{1,255}) (\S{1,255}) (\S{1,255}) (\S{1,255}) (" + _DATA + rb")(?: ?(.*))?", re.DOTALL
).fullmatch
_ISO = rb"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d{1,9})?(?:Z|[+-]\d\d:?\d\d)?"
_USUAL = re.compile(
    rb"<(\d{1,3})>([A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d|" + _ISO + rb") "
    rb"([^\s:\[]{1,255}) ([^\s:\[\]%]{1,255})(?:\[([^\]\s]{0,255})\])?: ?(.*)",
    re.DOTALL,
).fullmatch
_PRIORITY = re.compile(rb"<(\d{1,3})>(?:1 (?=-|\d{4}-))?")
_NUMBERS = re.compile(rb"(?:: )?(?:\d{1,10}: ){1,2}|: ")
_ORIGIN = re.compile(
    rb"([A-Za-z0-9_.-]{1,255}): (?:\d{1,10}: )?(?=[*.]?(?:\d{4} )?[A-Z][a-z]{2} [ \d]\d |[*.]?" + _ISO + rb")"
)
_WHEN = re.compile(
    rb"[*.]?(?:(?:\d{4} )?[A-Z][a-z]{2} {1,2}\d{1,2}(?: \d{4})? \d\d:\d\d:\d\d(?:\.\d{1,9})?(?: [A-Z]{2,5}(?=:))?|"
    + _ISO
    + rb")(?=[ :]|$)"
)
_CISCO = re.compile(rb"%([A-Z0-9_]+(?:-[A-Z0-9_]+)*-[0-7]-[A-Z0-9_]+): ?")
_TAG = re.compile(rb"([^\s:\[\]<>\"'=]{1,255})(?:\[([^\]\s]{0,255})\])?: ?")
_HOST = re.compile(rb"([^\s:\[\]<>\"'=%]{1,255})(?: : ?| )")
_IPV6 = re.compile(rb"([0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{0,4}){2,7}) ")
_BSD = re.compile(
    rb"(?:(\d{4}) )?([A-Z][a-z]{2}) +(\d{1,2})(?: (\d{4}))? (\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?: ([A-Z]{2,5}))?"
).fullmatch
_ELEMENT = re.compile(rb"\[([^ \]\"=]{1,64})((?:[^\]\"]|" + _PARAMETER + rb")*+)\]")
_VALUE = re.compile(rb'([^ =\]"]{1,64})="((?:[^"\\]|\\.)*+)"', re.DOTALL)
_ESCAPED = re.compile(rb'\\(["\\\]])')
_NIL = b"-"
_MAX_VALUES = 30
_BOM = b"\xef\xbb\xbf"


class Parts(NamedTuple):
    """A message taken apart, as bytes; what it does not say is empty. priority: facility * 8 + severity. Where Cisco
    names the message (%LINK-3-UPDOWN), that is both ``app`` and ``id``, and no part of the text."""

    priority: int
    when: bytes
    host: bytes
    app: bytes
    process: bytes
    id: bytes
    data: bytes
    text: bytes


def split(raw: bytes) -> Parts:
    """Take a message apart. Bytes that are no syslog are the text of one."""
    parts = _split(raw)
    if parts.text[:1] == b"%" and (found := _CISCO.match(parts.text)) is not None:
        return parts._replace(app=found[1], id=found[1], text=parts.text[found.end() :])
    return parts


def _split(raw: bytes) -> Parts:
    if raw.find(b">1 ", 2, 8) > 0 and (found := _5424(raw)) is not None:
        priority, when, host, app, process, id, data, text = found.groups()
        number = int(priority)
        if number <= _HIGHEST:
            return Parts(
                number,
                b"" if when == _NIL else when,
                b"" if host == _NIL else host,
                b"" if app == _NIL else app,
                b"" if process == _NIL else process,
                b"" if id == _NIL else id,
                b"" if data == _NIL else data,
                _bare(text) if text else b"",
            )
    found = _USUAL(raw)
    if found is not None and int(found[1]) <= _HIGHEST and (found[2][:1].isdigit() or found[2][:3] in _MONTHS):
        priority, when, host, app, process, text = found.groups()
        return Parts(int(priority), when, host, app, process or b"", b"", b"", _bare(text))
    return _unusual(raw)


def _unusual(raw: bytes) -> Parts:
    """With a part missing, or as Cisco and others have it."""
    at, priority, when, host, app, process = 0, _DEFAULT, b"", b"", b"", b""
    if (found := _PRIORITY.match(raw)) is not None and int(found[1]) <= _HIGHEST:
        priority, at = int(found[1]), found.end()
    if (found := _NUMBERS.match(raw, at)) is not None:
        at = found.end()
    if (found := _ORIGIN.match(raw, at)) is not None:
        host, at = found[1], found.end()
    if (found := _WHEN.match(raw, at)) is not None and (found[0].lstrip(b"*.")[:1].isdigit() or _month(found[0])):
        when, at = found[0], found.end()
        at += 1 if raw[at : at + 1] in (b" ", b":") else 0
        at += raw[at : at + 1] == b" "
        # A host stands behind a time only, and only where a tag or Cisco's name of the message follows.
        found = _IPV6.match(raw, at)
        if found is None and not _TAG.match(raw, at):
            found = _HOST.match(raw, at)
        if found is not None and not host:
            host, at = found[1], found.end()
    if _CISCO.match(raw, at) is None and (found := _TAG.match(raw, at)) is not None:
        app, process, at = found[1], found[2] or b"", found.end()
    return Parts(priority, when, host, app, process, b"", b"", _bare(raw[at:]))


def _month(when: bytes) -> bool:
    return any(when.find(name) >= 0 for name in _MONTHS)


def _bare(text: bytes) -> bytes:
    if text[:1] in (b" ", b"\xef"):
        text = text.removeprefix(b" ").removeprefix(_BOM)
    return text.rstrip(b"\r\n\0 ") if text[-1:] in (b"\n", b"\0", b"\r", b" ") else text


def words(found: bytes) -> str:
    """As text, whatever is in it: each way out makes it inert. What is not UTF-8 is read as Latin-1."""
    try:
        return found.decode()
    except UnicodeDecodeError:
        return found.decode("latin-1")


def severity(priority: int) -> str:
    return SEVERITIES[priority & 7]


def facility(priority: int) -> str:
    return FACILITIES[priority >> 3]


def structured(data: bytes) -> dict[str, str]:
    """RFC 5424's structured data as ``id.name``: value, at most 30 of them; the number of the enterprise is left
    out."""
    found: dict[str, str] = {}
    for id, parameters in _ELEMENT.findall(data):
        element = words(id.partition(b"@")[0])
        for name, value in _VALUE.findall(parameters):
            found[f"{element}.{words(name)}"] = words(_ESCAPED.sub(rb"\1", value))
            if len(found) == _MAX_VALUES:
                return found
    return found


def date(when: bytes, received_at: datetime, zone: tzinfo) -> tuple[datetime | None, str]:
    """What a message says of its time, as aware UTC, and what was odd about it; None where that is no help.

    A time without a zone is of ``zone``; one without a year is of the year that brings it closest to the receipt.
    """
    if not when:
        return None, ""
    if when[:1] in (b"*", b"."):
        return None, "the sender's clock is not set"
    try:
        found = _iso(when, zone) if when[4:5] == b"-" else _bsd(when, received_at, zone)
    except (ValueError, OverflowError):
        found = None
    if found is None:
        return None, f"its time {words(when)} is none"
    if abs(found - received_at) > FAR_OFF:
        return None, f"its clock is far off: {found:%Y-%m-%d %H:%M:%S} UTC"
    return found, ""


def _iso(when: bytes, zone: tzinfo) -> datetime:
    found = datetime.fromisoformat(when.decode().replace(",", "."))
    return (found if found.tzinfo else found.replace(tzinfo=zone)).astimezone(UTC)


def _bsd(when: bytes, received_at: datetime, zone: tzinfo) -> datetime | None:
    if (found := _BSD(when)) is None or found[2] not in _MONTHS:
        return None
    fraction = int((found[8] or b"0")[:6].ljust(6, b"0"))
    clock = int(found[5]), int(found[6]), min(int(found[7]), 59), fraction
    place = UTC if found[9] in (b"UTC", b"GMT") else zone
    said = found[1] or found[4]
    years = [int(said)] if said else [received_at.year + step for step in (-1, 0, 1)]
    tried = []
    for year in years:
        try:
            there = datetime(year, _MONTHS[found[2]], int(found[3]), *clock, tzinfo=place)
            tried.append(there.astimezone(UTC))
        except (ValueError, OverflowError):  # 29 February
            continue
    return min(tried, key=lambda each: abs(each - received_at), default=None)


class Frames:
    """Messages of one TCP stream, in both framings, mixed as the sender likes.

    Attributes:
        cut: messages that were longer than ``MAX_BYTES``, and lost their end.
    """

    def __init__(self) -> None:
        self._rest = b""
        self._skip = 0  # bytes of a counted message that was cut
        self._skip_line = False
        self.cut = 0

    def feed(self, data: bytes) -> list[bytes]:
        """The messages that are complete now."""
        buffer = self._rest + data if self._rest else data
        if b"\0" in buffer:  # by which some senders end a message, such as Python's SysLogHandler
            buffer = buffer.replace(b"\0", b"\n")
        at, end = 0, len(buffer)
        found: list[bytes] = []
        find, append = buffer.find, found.append
        if self._skip:
            at = min(self._skip, end)
            self._skip -= at
        while at < end:
            first = buffer[at]
            if self._skip_line:
                line = find(b"\n", at)
                if line < 0:
                    at = end
                    break
                self._skip_line, at = False, line + 1
                continue
            if first in (10, 13, 0, 32):  # what ends a message of another framing
                at += 1
                continue
            if 48 < first < 58:  # a count?
                space = find(b" ", at, at + 9)
                if space < 0 and end - at < 9 and buffer[at:end].isdigit():
                    break  # the rest of it is still to come
                if space > 0 and buffer[at:space].isdigit():
                    if space + 1 == end:
                        break
                    if buffer[space + 1] == 60:
                        size = int(buffer[at:space])
                        if size > MAX_BYTES and end - space - 1 >= MAX_BYTES:
                            append(buffer[space + 1 : space + 1 + MAX_BYTES])
                            self.cut += 1
                            self._skip = max(0, size - (end - space - 1))
                            at = min(end, space + 1 + size)
                            continue
                        if end - space - 1 < size:
                            break
                        at = space + 1 + size
                        append(buffer[space + 1 : at])
                        continue
            line = find(b"\n", at)
            if line < 0:
                if end - at > MAX_BYTES:
                    append(buffer[at : at + MAX_BYTES])
                    self.cut += 1
                    self._skip_line, at = True, end
                break
            if line - at > MAX_BYTES:
                append(buffer[at : at + MAX_BYTES])
                self.cut += 1
            else:
                append(buffer[at:line])
            at = line + 1
        self._rest = buffer[at:]
        return found

    def end(self) -> list[bytes]:
        """What came last, without an end, once the sender has closed."""
        rest, self._rest = self._rest, b""
        return [rest] if rest.strip() and not self._skip_line else []
