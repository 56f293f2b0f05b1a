"""E-mail as alarms: what a message says, whatever its encoding, and what that means by rules of patterns."""

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email import message_from_bytes
from email.errors import HeaderParseError
from email.header import decode_header
from email.message import Message
from email.utils import parseaddr, parsedate_to_datetime
from functools import lru_cache
from typing import Self

import re2
from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from foreshock.connect.markup import html_text, plain
from foreshock.core.errors import Invalid, Malformed
from foreshock.core.quantities import Duration

MAX_TEXT_CHARS = 7000
"""Of the body: an annotation has 8 KiB."""
_MAX_SUBJECT_CHARS = 1000
_MAX_READ_CHARS = 100_000  # of a part, before it is cut
_MAX_PARTS = 200
_MAX_LABEL_CHARS = 500
_MAX_PATTERN_CHARS = 2000
_MAX_PATTERN_BYTES = 2**20  # that RE2 may take for one


class Mail(Struct, frozen=True, kw_only=True):
    """What a message says.

    Attributes:
        sender: the address, in lower case. text: of its first part that is text, or that can be made text.
        sent_at: None where it does not say, or not well.
        automatic: why it is no alarm but an answer of a machine to one; empty where it is none.
    """

    sender: str
    subject: str
    text: str
    sent_at: datetime | None = None
    automatic: str = ""


def read_mail(octets: bytes) -> Mail:
    """A message from its octets, also where they are cut off or wrong. Raises Malformed where it has no sender, or
    neither a subject nor a text."""
    try:
        message = message_from_bytes(octets)
        sender = parseaddr(_header(message, "From"))[1].strip().lower()
        subject = " ".join(_header(message, "Subject").split())[:_MAX_SUBJECT_CHARS]
        text = plain(_text(message), MAX_TEXT_CHARS)
    except (ValueError, RecursionError, AssertionError, IndexError, TypeError, AttributeError) as error:
        # The parser takes nearly anything; what it does not take shows in any of these.
        raise Malformed(f"the message cannot be read: {type(error).__name__}: {error}") from None
    if "@" not in sender:
        raise Malformed("the message names no sender")
    if not subject and not text:
        raise Malformed("the message has neither a subject nor a text")
    return Mail(sender=sender, subject=subject, text=text, sent_at=_sent(message), automatic=_automatic(message))


def _header(message: Message, name: str) -> str:
    """Decoded; what cannot be stays as it is."""
    raw = message.get(name)
    if raw is None:
        return ""
    try:
        parts = decode_header(raw)
    except (HeaderParseError, ValueError):
        return str(raw)
    return "".join(part if isinstance(part, str) else _decoded(part, charset) for part, charset in parts)


def _decoded(octets: bytes, charset: str | None) -> str:
    with suppress(LookupError, UnicodeDecodeError, ValueError):
        return octets.decode(charset or "utf-8")
    with suppress(UnicodeDecodeError):
        return octets.decode()
    return octets.decode("latin-1")


def _text(message: Message) -> str:
    """Of the first part that is plain text, else of the first that is HTML; attachments are passed over."""
    markup = ""
    for part in _parts(message):
        kind = part.get_content_type()
        if part.get_content_disposition() == "attachment" or kind not in ("text/plain", "text/html"):
            continue
        payload = part.get_payload(decode=True)
        text = _decoded(payload if isinstance(payload, bytes) else b"", part.get_content_charset())[:_MAX_READ_CHARS]
        if kind == "text/plain" and text.strip():
            return text
        markup = markup or text
    return html_text(markup) if markup else ""


def _parts(message: Message) -> Iterator[Message]:
    """Those that hold something, in order, a bounded number."""
    waiting, seen = [message], 0
    while waiting and seen < _MAX_PARTS:
        part = waiting.pop(0)
        seen += 1
        if part.is_multipart():
            inner = part.get_payload()
            waiting[:0] = [each for each in inner if isinstance(each, Message)] if isinstance(inner, list) else []
        else:
            yield part


def _sent(message: Message) -> datetime | None:
    try:
        sent = parsedate_to_datetime(_header(message, "Date"))
        return None if sent.tzinfo is None else sent.astimezone(UTC)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None


def _automatic(message: Message) -> str:
    """RFC 3834: alarms are ``auto-generated``, answers of machines ``auto-replied``."""
    if _header(message, "Auto-Submitted").lower().startswith("auto-replied"):
        return "it is an automatic reply"
    if _header(message, "Precedence").lower() == "auto_reply" or message.get("X-Autoreply") is not None:
        return "it is an automatic reply"
    if message.get_content_type() == "multipart/report" or message.get("X-Failed-Recipients") is not None:
        return "it is a report about another message"
    return ""


# ---- rules ----------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=4096)
def _pattern(text: str) -> "re2._Regexp":
    """Raises Malformed where it is no RE2, or too large."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = _MAX_PATTERN_BYTES
    if len(text) > _MAX_PATTERN_CHARS:
        raise Malformed(f"a pattern has {len(text)} characters, {_MAX_PATTERN_CHARS} are allowed")
    try:
        return re2.compile(text, options)
    except re2.error as error:
        raise Malformed(f"{text!r} is no valid pattern ({error})", hint="use RE2 syntax") from None


class MailRule(BaseModel):
    """What some messages mean. Patterns are RE2 and may match anywhere; all that are given must. What their named
    groups ``(?P<host>…)`` match stands in the texts as ``{host}``, beside ``{sender}`` and ``{subject}``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    sender: str = Field(default="", description="pattern of the sender's address")
    subject: str = Field(default="", description="pattern of the subject")
    body: str = Field(default="", description="pattern of the text")
    labels: dict[str, str] = Field(
        default_factory=dict,
        max_length=30,
        description="labels of the alert, its identity: nothing that differs between an alarm and its recovery",
    )
    severity: str = Field(default="", max_length=200, description="how bad it is, a word or for example {level}")
    resolved: str = Field(default="", description="pattern of the subject of a message that ends the alert")
    hold: Duration | None = Field(
        default=None,
        ge=timedelta(minutes=1),
        le=timedelta(days=31),
        description="the alert is over when no message told of it again for so long",
    )
    ignore: bool = Field(default=False, description="count these messages only")

    @field_validator("sender", "subject", "body", "resolved")
    @classmethod
    def _is_a_pattern(cls, text: str) -> str:
        try:
            _pattern(text)
        except Malformed as error:
            raise Invalid(str(error)) from None
        return text

    @model_validator(mode="after")
    def _names_what_it_finds(self) -> Self:
        if not self.ignore and "alertname" not in self.labels:
            raise Invalid("the labels have no alertname", hint="say what the alert is called", path=("labels",))
        known = {"sender", "subject"}.union(
            *(_pattern(each).groupindex for each in (self.sender, self.subject, self.body))
        )
        for text in (*self.labels.values(), self.severity):
            if unknown := sorted(set(_PLACE.findall(text)) - known):
                hint = f"patterns of this rule name {', '.join(sorted(known))}"
                raise Invalid(f"nothing here is called {unknown[0]!r}", hint=hint, path=("labels",))
        return self


_PLACE = re.compile(r"\{(\w+)\}")


class Rule(Struct, frozen=True, kw_only=True):
    """``MailRule`` as records hold it."""

    sender: str = ""
    subject: str = ""
    body: str = ""
    labels: dict[str, str] = {}
    severity: str = ""
    resolved: str = ""
    hold_s: float = 0.0
    ignore: bool = False


class Said(Struct, frozen=True):
    """What a message says of an alert."""

    labels: dict[str, str]
    severity: str
    over: bool
    hold_s: float


class Reading(Struct, frozen=True, kw_only=True):
    """How messages are read: what records hold of the settings."""

    rules: Sequence[Rule] = ()
    senders: Sequence[str] = ()
    hold_s: float = 86400.0

    def lets_in(self, sender: str) -> bool:
        return any(
            sender == each.lower() or (each.startswith("@") and sender.endswith(each.lower())) for each in self.senders
        )

    def of(self, mail: Mail) -> Said | None:
        """By the first rule that fits, else by what tools usually write; None where a rule passes it over. Raises
        Malformed."""
        for rule in self.rules:
            found = _found(rule, mail)
            if found is None:
                continue
            if rule.ignore:
                return None
            labels = {name: _filled(text, found) for name, text in rule.labels.items()}
            over = bool(rule.resolved) and _pattern(rule.resolved).search(mail.subject) is not None
            severity = _filled(rule.severity, found) or _severity(mail.subject)
            return Said(labels, severity[:64], over, _bounded(rule.hold_s or self.hold_s))
        about = _about(mail.subject)
        over = not _bad(mail.subject) and _OVER.search(mail.subject) is not None
        labels = {"alertname": "Mail", "sender": mail.sender[:_MAX_LABEL_CHARS], "subject": about}
        return Said(labels, _severity(mail.subject), over, _bounded(self.hold_s))


def reading(rules: Sequence[MailRule], senders: Sequence[str], hold: timedelta) -> Reading:
    """Of settings."""
    kept = [
        Rule(
            hold_s=rule.hold.total_seconds() if rule.hold else 0.0,
            **{name: value for name, value in rule if name != "hold"},
        )
        for rule in rules
    ]
    return Reading(rules=kept, senders=tuple(senders), hold_s=hold.total_seconds())


def _bounded(hold_s: float) -> float:
    return min(max(hold_s, 1.0), 31 * 86400.0)


def _found(rule: Rule, mail: Mail) -> dict[str, str] | None:
    """What the named groups of its patterns match; None where one of the patterns does not."""
    found = {"sender": mail.sender, "subject": mail.subject}
    for pattern, text in ((rule.sender, mail.sender), (rule.subject, mail.subject), (rule.body, mail.text)):
        if pattern:
            match = _pattern(pattern).search(text)
            if match is None:
                return None
            found |= {name: value or "" for name, value in match.groupdict().items()}
    return found


def _filled(text: str, found: Mapping[str, str]) -> str:
    return _PLACE.sub(lambda place: found.get(place[1], ""), text).strip()[:_MAX_LABEL_CHARS]


# ---- without a rule -------------------------------------------------------------------------------------------------

_BAD = (
    "problem|firing|alert|alarm|triggered|down|critical|crit|major|minor|warning|warn|error|failed|failure|unknown|"
    "unreachable"
)
_GOOD = "recovery|recovered|resolved|cleared|clear|ok|up|normal|restored"
_STATE = re.compile(rf"\b(?:resolved in (?:\d+[a-z]+ ?)+|(?:{_BAD}|{_GOOD})\b(?::\d+)?)", re.IGNORECASE)
_OVER = re.compile(rf"\b(?:{_GOOD})\b", re.IGNORECASE)
_OPENS = re.compile(r"\b(?:problem|firing|triggered|down|critical|crit|failed|unreachable)\b", re.IGNORECASE)
_REPLY = re.compile(r"^(?:(?:re|fw|fwd|aw|wg)\s*:\s*)+", re.IGNORECASE)
_MARKS = re.compile(r"[\s*!\[\](){}<>:;,|#\-–—]+")
_WORST = ("critical", "major", "error", "minor", "warning", "info")
_WORDS = {"crit": "critical", "warn": "warning", "down": "critical", "failed": "error", "failure": "error"}


def _about(subject: str) -> str:
    """The subject without words of state and marks: equal in an alarm and its recovery."""
    bare = _STATE.sub(" ", _REPLY.sub("", subject))
    return " ".join(_MARKS.sub(" ", bare).split())[:_MAX_LABEL_CHARS] or "(state only)"


def _bad(subject: str) -> bool:
    """It says that something is wrong, and no word that ends it: ``RECOVERY: web-1 was DOWN`` does."""
    return _OPENS.search(subject) is not None and re.search(r"(?i)\b(?:recover\w+|resolved|cleared)\b", subject) is None


def _severity(subject: str) -> str:
    words = {_WORDS.get(word, word) for word in re.findall(r"[a-z]+", subject.lower())}
    return next((word for word in _WORST if word in words), "warning")
