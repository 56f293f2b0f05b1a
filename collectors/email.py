"""Alarms that come by e-mail, read from a mailbox by IMAP.

Facts:    RFC 3501 (IMAP), 2177 (IDLE), 6851 (MOVE), 3834 (automatic replies), 2047 and 2231 (headers); XOAUTH2 as
          Google and Microsoft document it. Tried with Dovecot 2.3. UNVERIFIED: what subjects look like, by memory.
Delivery: at least once. A message is marked as seen, moved or deleted only when it is on disk; one that was read but
          not marked is read again, and is the same alert then.
Recovery: by ``rules``: ``resolved`` is what the subject of a recovery has. Without a rule, two messages are about the
          same if their senders are, and their subjects but for words such as PROBLEM, CRITICAL, RECOVERY or OK; one
          whose subject says RECOVERY, RESOLVED, CLEARED, OK, UP or NORMAL ends the alert. What nothing ends is over
          when it did not come again for a day (``hold``).
Limits:   1 MiB a message (of a larger one the beginning is read), 7,000 characters of text; attachments are not read.
          Automatic replies and bounces are passed over and counted. Who wrote a message is what it says itself: let
          the mail server refuse forged ones (DMARC), and name the ``senders``.
Needs:    a mailbox of its own, and a user who may read and mark its messages; the password or an OAuth 2 access token
          in a file. On the other side: 1. make the mailbox; 2. enter its address as the receiver of alarms; 3. write
          address, user and password_file here; 4. `foreshock check`; 5. send a test alarm, and its recovery.
"""

import asyncio
import imaplib
import socket
import ssl
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any, Literal, Self, TypeVar

import msgspec
from msgspec import Struct
from pydantic import Field, model_validator

from foreshock.connect.auth import CaFile, read_private, read_secret
from foreshock.connect.mail import Mail, MailRule, Reading, read_mail, reading
from foreshock.core.contracts import (
    Collector,
    Ignored,
    Listen,
    ListenConfig,
    Outcome,
    Outlet,
    split_head,
    with_head,
)
from foreshock.core.errors import Denied, Invalid, Malformed, Unavailable
from foreshock.core.model import Event, encode_texts
from foreshock.core.quantities import Duration

T = TypeVar("T")

MAX_MESSAGE_BYTES = 2**20
_MAX_AT_ONCE = 200
_PATIENCE_S = 60.0
_IDLE_S = 600.0  # RFC 2177: again before 29 minutes are over; networks forget connections sooner
_PAUSES_S = (1.0, 5.0, 15.0, 60.0, 300.0)


class EmailConfig(ListenConfig):
    host: str = Field(min_length=1, description="of the IMAP server", examples=["imap.example.com"])
    port: int = Field(default=993, ge=1, le=65535, description="993 for TLS, 143 with starttls")
    security: Literal["tls", "starttls", "none"] = Field(
        default="tls", description="how the connection is encrypted; none: on this host only"
    )
    ca_file: CaFile = None
    user: str = Field(min_length=1, description="of the mailbox", examples=["alarms@example.com"])
    password_file: Path | None = Field(
        default=None, examples=["imap-password"], description="file with the password, mode 0600"
    )
    token_file: Path | None = Field(
        default=None,
        description="file with an OAuth 2 access token, mode 0600, read again at each connection; something else "
        "renews it",
    )
    folder: str = Field(default="INBOX", min_length=1, description="that alarms come into")
    done: Literal["seen", "delete"] = Field(default="seen", description="what becomes of a message that was taken in")
    move_to: str = Field(default="", description="folder that it is moved to instead")
    every: Duration = Field(
        default=timedelta(minutes=1),
        ge=timedelta(seconds=1),
        le=timedelta(hours=1),
        description="how often to look, where the server does not tell of new messages (IDLE)",
    )
    senders: tuple[str, ...] = Field(
        default=(),
        max_length=1000,
        description="addresses, or domains such as @example.com, that alarms come from; others are passed over; "
        "empty: any",
    )
    rules: tuple[MailRule, ...] = Field(
        default=(),
        max_length=1000,
        description="what messages mean; the first that fits counts",
        examples=[
            [
                {
                    "subject": "(?P<state>PROBLEM|RECOVERY): (?P<check>.+) on (?P<host>.+)",
                    "labels": {"alertname": "{check}", "host": "{host}"},
                    "resolved": "RECOVERY",
                }
            ]
        ],
    )
    hold: Duration = Field(
        default=timedelta(days=1),
        ge=timedelta(minutes=1),
        le=timedelta(days=31),
        description="an alert is over when no message told of it again for so long; a rule may say otherwise",
    )

    @model_validator(mode="after")
    def _has_one_proof_and_keeps_it_safe(self) -> Self:
        if (self.password_file is None) == (self.token_file is None):
            raise Invalid("it takes a password_file or a token_file", hint="set one of them", path=("password_file",))
        if self.security == "none" and self.host not in ("localhost", "127.0.0.1", "::1"):
            raise Invalid(
                f"{self.host} would be reached without encryption", hint="write tls or starttls", path=("security",)
            )
        return self


# ---- the mailbox ----------------------------------------------------------------------------------------------------


class Mailbox:
    """Reads one mailbox. secret: gives the password or token at each connection."""

    def __init__(self, instance: str, config: EmailConfig, secret: Callable[[], str]) -> None:
        self._instance, self._config, self._secret = instance, config, secret
        self._head = msgspec.to_builtins(reading(config.rules, config.senders, config.hold))
        self._connection: imaplib.IMAP4 | None = None
        self._can: frozenset[str] = frozenset()

    async def run(self, outlet: Outlet) -> None:
        """A connection that breaks is made again, with growing pauses. Raises Denied."""
        pauses = iter(_PAUSES_S)
        pause = _PAUSES_S[-1]
        try:
            while True:
                try:
                    await self._in_thread(self._connect)
                    outlet.listens(f"{self._config.user} at {self._config.host}, {self._config.folder}")
                    outlet.say("")
                    while True:
                        while await self._take(outlet):
                            pauses = iter(_PAUSES_S)
                        await self._in_thread(self._wait)
                except TimeoutError:
                    self._let_go()  # nothing was heard for long: so that a dead connection is no quiet mailbox
                except (Unavailable, imaplib.IMAP4.error, OSError) as error:
                    outlet.say(f"email {self._instance!r}: {error}")
                    self._let_go()
                    pause = next(pauses, pause)
                    await asyncio.sleep(pause)
        finally:
            self._let_go()

    async def _in_thread(self, work: Callable[[], T]) -> T:
        """imaplib waits. When this is cancelled, the connection is cut, so that nothing goes on waiting."""
        task = asyncio.create_task(asyncio.to_thread(work))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            self._cut()
            with suppress(Exception):
                await task
            raise

    async def _take(self, outlet: Outlet) -> bool:
        """Take in what is new, some at once; whether there was any."""
        numbers = await self._in_thread(self._new)
        for number in numbers[:_MAX_AT_ONCE]:
            message = await self._in_thread(partial(self._message, number))
            if message:
                await outlet.take(with_head(self._head, message))
            else:
                outlet.count(Outcome.REJECTED)
            await self._in_thread(partial(self._mark, number))
        return bool(numbers)

    # ---- in a thread ----

    def _connect(self) -> None:
        config = self._config
        context = ssl.create_default_context(cafile=config.ca_file)
        connection: imaplib.IMAP4
        if config.security == "tls":
            connection = imaplib.IMAP4_SSL(config.host, config.port, ssl_context=context, timeout=_PATIENCE_S)
        else:
            connection = imaplib.IMAP4(config.host, config.port, timeout=_PATIENCE_S)
        self._connection = connection
        if config.security == "starttls":
            connection.starttls(context)
        secret = self._secret()
        try:
            if config.token_file is not None:
                answer = f"user={config.user}\x01auth=Bearer {secret}\x01\x01".encode()
                connection.authenticate("XOAUTH2", lambda challenge: answer if not challenge else b"")
            else:
                connection.login(config.user, secret)
        except imaplib.IMAP4.abort:
            raise
        except imaplib.IMAP4.error as error:
            raise Denied(
                f"email {self._instance!r}: {config.host} refused user {config.user!r}: {error}",
                hint=f"check collectors.{self._instance}: user and "
                + ("token_file" if config.token_file else "password_file"),
            ) from None
        can = _done(connection.capability(), "say what it can do")  # logged in, it can do more
        self._can = frozenset(b" ".join(can).decode().upper().split())
        _done(connection.select(_quoted(config.folder)), f"open the folder {config.folder!r}")

    @property
    def _open(self) -> imaplib.IMAP4:
        if self._connection is None:
            raise Unavailable("the connection was cut")
        return self._connection

    def _new(self) -> list[str]:
        _done(self._open.noop(), "look for messages")
        found = _done(self._open.uid("SEARCH", "UNSEEN", "UNDELETED"), "search the folder")
        return b" ".join(each for each in found if each).decode().split()

    def _message(self, number: str) -> bytes:
        """Its beginning, as far as it is read; empty if it is gone."""
        answer = _done(self._open.uid("FETCH", number, f"(BODY.PEEK[]<0.{MAX_MESSAGE_BYTES}>)"), "fetch a message")
        return next((part[1] for part in answer if isinstance(part, tuple)), b"")

    def _mark(self, number: str) -> None:
        connection, config = self._open, self._config
        if config.move_to:
            if "MOVE" in self._can:
                _done(connection.uid("MOVE", number, _quoted(config.move_to)), f"move to {config.move_to!r}")
                return
            _done(connection.uid("COPY", number, _quoted(config.move_to)), f"copy to {config.move_to!r}")
        if config.move_to or config.done == "delete":
            _done(connection.uid("STORE", number, "+FLAGS", r"(\Seen \Deleted)"), "mark a message")
            if "UIDPLUS" in self._can:
                _done(connection.uid("EXPUNGE", number), "delete a message")
            return
        _done(connection.uid("STORE", number, "+FLAGS", r"(\Seen)"), "mark a message")

    def _wait(self) -> None:
        """Until the server tells of something new (RFC 2177), or it is time to look."""
        connection = self._open
        if "IDLE" not in self._can:
            _pause(connection.socket(), self._config.every.total_seconds())
            return
        # imaplib of Python 3.11 knows no IDLE; its answers are lines, read here as they come.
        connection.send(b"FS1 IDLE\r\n")
        told = False
        while not (line := connection.readline()).startswith(b"+"):
            told = told or b"EXISTS" in line
            if not line or line.startswith(b"FS1 "):
                raise Unavailable(f"the server would not tell of new messages: {line!r}")
        deadline = time.monotonic() + _IDLE_S
        connection.socket().settimeout(_IDLE_S)
        while not told and time.monotonic() < deadline:
            line = connection.readline()
            told = b"EXISTS" in line
            if not line or line.startswith(b"* BYE"):
                raise Unavailable("the server closed the connection")
        connection.socket().settimeout(_PATIENCE_S)
        connection.send(b"DONE\r\n")
        while not (line := connection.readline()).startswith(b"FS1 "):
            if not line:
                raise Unavailable("the server closed the connection")

    # ---- ends ----

    def _cut(self) -> None:
        if self._connection is not None:
            with suppress(OSError):
                self._connection.socket().shutdown(socket.SHUT_RDWR)

    def _let_go(self) -> None:
        self._cut()
        if self._connection is not None:
            with suppress(OSError, imaplib.IMAP4.error):
                self._connection.shutdown()
            self._connection = None


def _pause(connection: socket.socket, seconds: float) -> None:
    """Ends early when the connection is cut."""
    import select

    select.select([connection], [], [], seconds)


def _done(answer: tuple[str, Sequence[Any]], what: str) -> Sequence[Any]:
    """Raises Unavailable where the server did not do it."""
    status, data = answer
    if status != "OK":
        raise Unavailable(f"the server would not {what}: {data!r}"[:300])
    return data


def _quoted(folder: str) -> str:
    escaped = folder.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


# ---- messages to events ---------------------------------------------------------------------------------------------


class Item(Struct, frozen=True):
    """A message, and how it is to be read."""

    mail: Mail
    reading: Reading


def decode(payload: bytes) -> list[Item]:
    head, message = split_head(payload)
    try:
        rules = msgspec.convert(head, Reading)
    except msgspec.ValidationError as error:
        raise Malformed(f"the rules before the message cannot be read: {error}") from None
    return [Item(read_mail(message), rules)]


def translate(item: Item, received_at: datetime) -> Event | Ignored:
    """The alert that a message tells of. It is dated as the message is, unless that is in the future."""
    mail, rules = item.mail, item.reading
    if mail.automatic:
        return Ignored(mail.automatic)
    if rules.senders and not rules.lets_in(mail.sender):
        return Ignored("its sender is not among the senders")
    said = rules.of(mail)
    if said is None:
        return Ignored("a rule says so")
    sent = mail.sent_at if mail.sent_at is not None and mail.sent_at <= received_at else None
    hold_until = received_at + timedelta(seconds=said.hold_s)
    return Event(
        labels=encode_texts(said.labels),
        annotations=encode_texts(
            {"summary": mail.subject or "(no subject)", "description": mail.text, "sender": mail.sender}
        ),
        severity=said.severity,
        starts_at=None if said.over else sent,
        ends_at=(sent or received_at) if said.over else hold_until,
    )


def _build(name: str, config: EmailConfig) -> Mailbox:
    place = f"collectors.{name}"
    if config.token_file is not None:
        file = config.token_file
        read_secret(file, f"{place}.token_file")
        return Mailbox(name, config, lambda: read_private(file, f"{place}.token_file").strip())
    assert config.password_file is not None
    password = read_secret(config.password_file, f"{place}.password_file")
    return Mailbox(name, config, lambda: password)


COLLECTOR = Collector(
    kind="email",
    title="Alarms that come by e-mail (IMAP)",
    facts="RFC 3501, 2177 and 3834",
    decode=decode,
    translate=translate,
    sample="email-firing.json",
    listen=Listen(config=EmailConfig, build=_build),
)
