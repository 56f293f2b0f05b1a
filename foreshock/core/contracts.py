"""What each kind of part promises, so that stages meet in these types and never import each other.

A kind is one file in its stage's folder (``collectors/alertmanager.py``), named after the product it talks to. The file
ends with a declaration: ``COLLECTOR``, ``SINK`` or ``SOURCE``. The registry reads the folder; nothing else needs
editing.
"""

import ipaddress
import json
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

import msgspec
from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field, field_validator

from foreshock.core.errors import Invalid, Malformed
from foreshock.core.model import CI, Change, Event, Judgement, Moment, Relationship, Samples, Witness
from foreshock.core.quantities import Duration

T = TypeVar("T")

# ---- records --------------------------------------------------------------------------------------------------------


class RecordKind(StrEnum):
    """What a record of the inbox carries. All that decides is a record: the engine is a function of them."""

    EVENTS = "events"
    TICK = "tick"
    TOPOLOGY = "topology"
    SETTINGS = "settings"
    OPERATOR = "operator"
    TICKET = "ticket"
    ANOMALIES = "anomalies"
    FORECASTS = "forecasts"
    LEARNED = "learned"


class Record(Struct, frozen=True, kw_only=True):
    """One entry of the inbox.

    Attributes:
        number: 1, 2, 3, … without gaps in a partition.
        at: when it was accepted; never before the record with the number below.
        collector: for EVENTS the kind that reads ``body``; empty otherwise.
        source: the instance it came from, for example ``alertmanager`` or ``prom-eu``.
        actor: who did it, for what a person did.
        body: the payload as received, with its content encoding taken off.
    """

    number: int
    at: Moment
    kind: RecordKind
    body: bytes
    collector: str = ""
    source: str = ""
    actor: str = ""


class Items(Struct, frozen=True):
    """The payload of a record as the intake took it apart, so that the engine need not do it again.

    Attributes:
        items: as the collector decoded them.
        labels: by index, of items whose labels and annotations the intake has read and found sound.
    """

    items: Sequence[Any]
    labels: Mapping[int, dict[str, str]] = {}


class NewRecord(Struct, frozen=True, kw_only=True):
    """A record on its way into the inbox; it gets its number and time there. items: how many events it holds."""

    kind: RecordKind
    body: bytes
    collector: str = ""
    source: str = ""
    actor: str = ""
    items: int = 1


# ---- collectors -----------------------------------------------------------------------------------------------------


class Ignored(Struct, frozen=True):
    """An item that is fine but means nothing to us; the reason is counted."""

    reason: str


Translated = Event | Change | Samples | Ignored


class Measured(Struct, frozen=True, kw_only=True):
    """A point of a series as a source has it, before it is known whether and as what it is kept.

    Attributes:
        labels: of the series, with its name as ``__name__``; in the same order each time.
        at_s: seconds since 1970. unit: of the value; empty where the source does not say.
        counts: whether the series only grows; None: the source does not say.
    """

    labels: Mapping[str, str]
    at_s: float
    value: float
    unit: str = ""
    counts: bool | None = None


class Greeting(Struct, frozen=True):
    """What some products want to hear before they send (a handshake). visit: an address to fetch first, whose host the
    kind has checked; https only."""

    body: bytes = b""
    headers: tuple[tuple[str, str], ...] = ()
    visit: str = ""


class Certified(Struct, frozen=True):
    """How calls are proven that a product signs with a certificate of its own, wherever it comes from.

    Attributes:
        certificate: where it is (https), from the body; the host is checked strictly. Raises Malformed.
        unproven: why a call is not to be believed, from the settings of the instance, the certificate (PEM) and the
            body; empty if it is. The settings say whose calls: anybody may be a customer of that product.
    """

    certificate: Callable[[bytes], str]
    unproven: Callable[[Any, bytes, bytes], str]


class Receive(Struct, frozen=True, kw_only=True):
    """A mode of a collector: payloads are posted to us.

    Attributes:
        path: where to; ``/s/NAME`` in front of it says which instance it is for.
        schema: JSON Schema of the body, for the OpenAPI document.
        answer: "per_item" lists a result for each item; "alertmanager" answers as Alertmanager does.
        config: settings of an instance. A source without an instance is taken in as well, unless settings are missing
            then, or its calls are ``certified``.
        prepare: reads, at the start and on a reload, the files that the settings of an instance name; ``head`` gets
            what it gives in place of the settings. Raises ConfigError.
        head: what headers (names in lower case) and settings add to the body, where it does not say all by itself. The
            record then holds ``with_head(head, body)``, so that it can be read without either. Raises Malformed.
        signed: how the product proves that a call is its own, where it signs; compared with ``config.secret_files``.
        certified: the same, of a product that signs with a certificate.
        token_header: beside ``Authorization`` and ``X-Foreshock-Token``, where the product shows a token; lower case.
        token_query: the same in the address, for a product that can do nothing else.
        handshake: the answer to a call (method, headers, body) that asks whether it may send; None for all others. Of
            other methods than POST only where the product needs them (OPTIONS).
        busy: the status that has the product try again, where that is not 429.
        texts: content types beside JSON that the product sends, for example ``text/plain``; taken where the instance
            makes it prove itself, for any web page can have a browser send these.
        measured: of a product that posts metrics: the point that an item is, None where it is none. Points go to the
            metric history, where ``config.metrics`` selects them, and are no record. ``translate`` makes ``Samples``
            of such an item, as it is kept where nothing else is set.
    """

    path: str
    schema: Mapping[str, Any]
    answer: str = "per_item"
    config: "type[ReceiveConfig] | None" = None
    prepare: Callable[[str, Any], Any] | None = None
    head: Callable[[Any, Mapping[str, str]], Mapping[str, Any]] | None = None
    signed: "Hook | None" = None
    certified: Certified | None = None
    token_header: str = ""
    token_query: str = ""
    handshake: Callable[[str, Mapping[str, str], bytes], Greeting | None] | None = None
    busy: int = 429
    texts: tuple[str, ...] = ()
    measured: Callable[[Any], Measured | None] | None = None


def with_head(head: Mapping[str, Any], body: bytes) -> bytes:
    """A payload whose first line is a JSON object that the body does not hold."""
    return msgspec.json.encode(head) + b"\n" + body


def split_head(payload: bytes) -> tuple[dict[str, Any], bytes]:
    """``with_head`` undone. Raises Malformed."""
    head, line, body = payload.partition(b"\n")
    try:
        found = _HEAD.decode(head)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"the first line is no JSON object: {error}") from None
    if not line:
        raise Malformed("there is nothing behind the first line")
    return found, body


class Page(Struct, frozen=True, kw_only=True):
    """What one visit to a source brought.

    Attributes:
        payloads: as ``Collector.decode`` reads them.
        cursor: where the next visit goes on, in the connector's own words; kept once the payloads are on disk.
        more: there is more already; come back at once.
        problems: what a person should know although the visit went well, for example a bound that was hit.
    """

    payloads: tuple[bytes, ...]
    cursor: str
    more: bool = False
    problems: tuple[str, ...] = ()


class Poller(Protocol):
    """One instance of a collector that asks."""

    def fetch(self, cursor: str, now: datetime) -> Page:
        """What came after ``cursor`` (empty at first), oldest first and bounded. The same cursor brings the same again.

        Raises Unavailable, Denied or Rejected, naming the instance.
        """


class Poll(Struct, frozen=True, kw_only=True):
    """A mode of a collector: we ask the source, every ``config.every``. Here and in ``Listen``, ``build`` gives None
    where the settings of a kind with several modes leave this one out."""

    config: type["PollConfig"]
    build: Callable[[str, Any], Poller | None]


class Outlet(Protocol):
    """Where a listener hands over what came in, from its event loop. What it counts and says is shown of its source."""

    async def take(
        self, payload: bytes, *, items: int = 1, collector: str = "", headers: Mapping[str, str] | None = None
    ) -> None:
        """One record, as ``Collector.decode`` reads it; of another kind where ``collector`` names one. With ``headers``
        (names in lower case) it is recorded ``as_posted``. On disk when it returns: acknowledge only then. It waits
        while more comes in than can be kept. Raises Unavailable where nothing can be kept now: do not acknowledge."""

    async def measure(self, samples: Sequence[Samples]) -> None:
        """In the metric history, synced, when it returns. Raises Unavailable."""

    def count(self, what: "Outcome", by: int = 1) -> None:
        """What became of that many items or bytes that the source sent; a record that is taken counts by itself."""

    def say(self, problem: str) -> None:
        """What a person should know now, for example that nothing can be heard and why; empty: all is well again."""

    def listens(self, address: str) -> None:
        """What it is bound to, or connected with, for people; with the port that was found where it was to be any."""

    def show(self, tops: "Sequence[tuple[str, str, int]]") -> None:
        """What comes most, as (of what, text, count), for people: for example templates of lines. Bounded."""


class Outcome(StrEnum):
    """What became of something that a source sent. IGNORED: fine, and of no meaning to us. REJECTED: it could not be
    read. LOST: it never reached us, for example dropped by the kernel. LATE: too old to count. COUNTED: kept as a
    number only. CUT: too long, and kept without its end; it is counted under another outcome too."""

    RECEIVED = "received"
    IGNORED = "ignored"
    REJECTED = "rejected"
    LOST = "lost"
    LATE = "late"
    COUNTED = "counted"
    CUT = "cut"


class Listener(Protocol):
    """One instance of a collector that listens, in a process of its own: it may use as much of a core as it needs."""

    async def run(self, outlet: Outlet) -> None:
        """Listen until cancelled; then take what was received, and let go. A connection that breaks is made again, with
        growing pauses, and said. Raises Denied, or ForeshockError where there is no use in going on."""


class Listen(Struct, frozen=True, kw_only=True):
    """A mode of a collector: a socket, or a connection to a broker or stream, is kept open."""

    config: type["ListenConfig"]
    build: Callable[[str, Any], Listener | None]


class Collector(Struct, frozen=True, kw_only=True):
    """Declaration of a collector, with the modes it knows.

    Attributes:
        kind: the file's name.
        title, facts: one line for people; sources of the API facts with their dates.
        decode: payload to items; an item that cannot be read is a ``Malformed`` in the list. Raises Malformed where
            the whole payload cannot be read.
        translate: pure; one item to an Event, a Change, Samples or Ignored; raises Malformed naming the field.
        namespace: identity family: kinds that report the same alerts share one.
        expires: an event without an end is over when it was not sent again for `fold.expire_after`; without it only a
            resolve ends it.
        sample: file name in tests/samples, a recorded payload. Of JSON the value of its key ``body`` (a text as it
            stands), behind that of its key ``head`` where it has one. Where alerts end it is ``X-firing.json``, beside
            which is ``X-resolved.json``; other files ``X-….json`` are read by the tests, too.
    """

    kind: str
    title: str
    facts: str
    decode: Callable[[bytes], Sequence[Any]]
    translate: Callable[[Any, datetime], Translated]
    sample: str
    receive: Receive | None = None
    poll: Poll | None = None
    listen: Listen | None = None
    namespace: str = ""
    expires: bool = False

    @property
    def config(self) -> "type[ConnectorConfig]":
        """Settings of an instance. A kind with several modes has one model for all of them."""
        if self.poll is not None:
            return self.poll.config
        if self.listen is not None:
            return self.listen.config
        return ReceiveConfig if self.receive is None or self.receive.config is None else self.receive.config


def as_posted(kind: Collector, headers: Mapping[str, str], body: bytes) -> bytes | None:
    """What is recorded of a message that ``kind`` reads as if it had been posted, to a source without settings of its
    own. None where it says nothing: an empty body, and nothing in the headers that the kind looks at."""
    head = None if kind.receive is None else kind.receive.head
    if head is None:
        return body or None
    config = kind.config()
    try:
        found = head(config, headers)
    except Malformed:
        found = {}  # the body alone is kept, for a dead letter
    if not body and found in ({}, head(config, {})):
        return None
    return with_head(found, body)


# ---- connectors in general ------------------------------------------------------------------------------------------


class ConnectorConfig(BaseModel):
    """Settings a person writes for one instance of a kind. Unknown keys are refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class CollectorConfig(ConnectorConfig):
    """What every collector lets a person set."""

    expect_every: Duration | None = Field(
        default=None,
        ge=timedelta(seconds=10),
        le=timedelta(days=31),
        description="something comes at least this often; when it does not, an incident about this source opens",
    )


class PollConfig(CollectorConfig):
    """What every collector that asks lets a person set."""

    every: Duration = Field(
        default=timedelta(minutes=1), ge=timedelta(seconds=1), le=timedelta(days=1), description="how often to ask"
    )


class ListenConfig(CollectorConfig):
    """What every collector that listens lets a person set."""


class ReceiveConfig(CollectorConfig):
    """What every collector that is posted to lets a person set. Two secrets: while one takes the place of the other."""

    token_files: tuple[Path, ...] = Field(
        default=(),
        max_length=2,
        description="files with the token that this source shows, mode 0600; two while one replaces the other",
    )
    secret_files: tuple[Path, ...] = Field(
        default=(),
        max_length=2,
        description="files with the secret that this source signs with, mode 0600; two while one replaces the other",
    )
    allow_from: tuple[str, ...] = Field(
        default=(),
        description="networks this source may send from, for example 192.0.2.0/24 or 2001:db8::/32; empty: any; behind "
        "a proxy set trusted_proxies",
    )

    client_names: tuple[str, ...] = Field(
        default=(),
        description="names of which the client certificate of this source must hold one, as common or alternative "
        "name; needs tls.client_ca",
    )

    @field_validator("allow_from")
    @classmethod
    def _are_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        return networks_of(networks)


def networks_of(texts: tuple[str, ...]) -> tuple[str, ...]:
    """Raises Invalid for what is no address and no network."""
    for index, text in enumerate(texts):
        try:
            ipaddress.ip_network(text)
        except ValueError as error:
            hint = "write an address, or a network like 192.0.2.0/24"
            raise Invalid(f"{text!r} is no network: {error}", hint=hint, path=(index,)) from None
    return texts


FieldName = Literal[
    "title", "description", "impact", "urgency", "priority", "severity", "assignment_group", "ci", "services"
]
"""Our words for what a ticket says (``Order.fields``)."""


class Ownership(StrEnum):
    """Whose a field of a ticket is, once a person has changed it. HUMAN: theirs for good. LAST_WRITER: theirs until
    Foreshock has something new to say. OURS: Foreshock's, whoever changed it."""

    HUMAN = "human"
    LAST_WRITER = "last_writer"
    OURS = "ours"


class RemoteSinkConfig(ConnectorConfig):
    """What every sink that keeps its tickets in another system lets a person set. Where ``settle`` must be longer, the
    kind says so."""

    poll: Duration = Field(
        default=timedelta(seconds=15),
        ge=timedelta(seconds=1),
        le=timedelta(days=1),
        description="how often is read what people did there",
    )
    connections: int = Field(
        default=4,
        ge=1,
        le=16,
        description="how many tickets are written at the same time, one connection each; one more reads",
    )
    problems: bool = Field(
        default=True, description="whether problems are opened there too, where the system keeps problems"
    )
    settle: Duration = Field(
        default=timedelta(seconds=3),
        ge=timedelta(0),
        le=timedelta(minutes=10),
        description="people's changes are read when they are so old, so that none is overtaken by a slow transaction",
    )
    ownership: dict[FieldName, Ownership] = Field(
        default_factory=dict,
        description="whose a field is once a person has changed it: human (what is not named: theirs for good), "
        "last_writer (theirs until Foreshock has something new to say) or ours",
    )
    webhook_secret_file: Path | None = Field(
        default=None,
        description="file with the secret of a webhook that the system sends to /hooks/NAME when somebody did "
        "something there, mode 0600; NAME is the name of this sink",
    )


# ---- metrics --------------------------------------------------------------------------------------------------------


class MetricHistory(Protocol):
    """Samples of all series, on disk. One process writes; a reader sees whole appends only."""

    def append(self, source: str, samples: Sequence[Samples], cursor: str = "") -> None:
        """On disk, synced, when it returns; then ``cursor`` is kept for ``source``. A point known already (same CI,
        metric, dimension and moment) is replaced, so appending again is safe. Raises Unavailable."""

    def cursor(self, source: str) -> str:
        """The last cursor appended with, empty if there is none."""

    def read(
        self, start: datetime, end: datetime, *, metric: str, cis: Collection[str] | None = None, step_s: float = 0.0
    ) -> Sequence[Samples]:
        """Points of one metric in start <= t < end, one ``Samples`` a series, sorted by CI and dimension; of all CIs,
        or of those named. ``step_s`` keeps the last point of each step of so many seconds. Units are the newest."""

    def metrics(self, since: datetime) -> Sequence[str]:
        """Names of the metrics that have points since then (by the hour), sorted."""

    def forget(self, before: datetime, max_bytes: int) -> int:
        """Remove what is older than ``before``, and the oldest beyond ``max_bytes``; bytes that were freed."""


# ---- tickets --------------------------------------------------------------------------------------------------------


class Verb(StrEnum):
    """What delivery asks of a sink."""

    OPEN = "open"
    UPDATE = "update"
    RESOLVE = "resolve"
    REOPEN = "reopen"


class Order(Struct, frozen=True, kw_only=True):
    """One ticket write that the engine decided, carried by the outbox to one sink.

    Attributes:
        id: unique and stable: repeating an order with the same id changes nothing.
        key: the situation's identity in the sink's searchable place.
        version: of the situation; a sink that already holds a newer one ignores the order.
        fields: what the record should say: title, description, impact, urgency, priority, severity, assignment_group,
            ci, services, causes; only what changed for UPDATE.
        note: work note for people; empty if there is nothing to tell.
        url: the incident page in the console, as a path.
        incidents: of a Problem, which is opened and updated by orders like those for a ticket: the situations that it
            explains; None for a ticket. ``situation`` and ``key`` are the Problem's key then.
    """

    id: str
    sink: str
    situation: str
    key: str
    verb: Verb
    version: int
    at: Moment
    fields: dict[str, Any]
    note: str = ""
    url: str = ""
    incidents: tuple[str, ...] | None = None


class Receipt(Struct, frozen=True, kw_only=True):
    """What a sink answered: the record's number and address there.

    Attributes:
        state: "open", "resolved" or "closed", where a search says so.
        kept: what the sink wants handed back with the next order for this record, in its own words: an internal id,
            digests of the values it wrote (``connect.tickets``), by which a person's edit is told from our own.
    """

    number: str
    url: str = ""
    kept: dict[str, str] = {}
    state: str = ""


class TicketChange(Struct, frozen=True, kw_only=True):
    """Something that happened to a ticket on the sink's side, read back into the inbox.

    Attributes:
        origin: "write" for the outcome of a write of ours, "read" for what was read there, each with its own sequence;
            "compared" for what a comparison of both sides found, without one.
        sequence: of a change that was read it rises within the sink; of a write it is the outbox's, which rises within
            one sink and situation only, because a failing write holds back no other situation. A change seen twice is
            ignored the second time.
        state: of a write "confirmed" (it arrived) or "rejected" (refused for good, the comment says why); of a change
            that was read "taken", "commented", "pending" (it waits for somebody, the comment says for whom or what),
            "resumed", "resolved", "reopened" or "closed".
        number: of the record; empty while the sink has none.
        actor: the person; empty when Foreshock did it.
        code: with which a person closed or resolved it, in the system's own words ("Duplicate", "No fault found").
        problem: what people made of a Problem, whose key ``situation`` is then; None for a ticket.
        alerts: of the situation, in a part of history, where it has another id: it is known by them.
    """

    sink: str
    situation: str
    sequence: int
    state: str
    origin: str = "read"
    number: str = ""
    url: str = ""
    actor: str = ""
    comment: str = ""
    code: str = ""
    problem: "ProblemReading | None" = None
    alerts: tuple[Witness, ...] = ()


class Finding(Struct, frozen=True, kw_only=True):
    """One thing that ``sink test`` looked at in a system.

    Attributes:
        subject: what was looked at: credentials, permissions, key field, mandatory fields, state mapping …
        observed: what was seen there, in a sentence.
        remedy: exactly what a person must change; empty where all is well.
    """

    subject: str
    observed: str
    remedy: str = ""


class ProblemOrder(Struct, frozen=True, kw_only=True):
    """What a Problem record should say, and which incidents it explains.

    Attributes:
        key: its identity in the sink's searchable place; never that of a situation.
        fields: title, description, impact, urgency, priority, assignment_group, ci, as in an ``Order``.
        incidents: of the same sink; those that are not linked yet are linked.
    """

    id: str
    key: str
    at: Moment
    fields: dict[str, Any]
    note: str = ""
    incidents: tuple[Receipt, ...] = ()


class ProblemReading(Struct, frozen=True, kw_only=True):
    """What people made of a Problem.

    Attributes:
        ended: "resolved" or "closed"; empty while it is worked on. by: who ended it, if that is known.
        known_error: the workaround or cause that they wrote down; empty if none.
    """

    ended: str = ""
    by: str = ""
    known_error: str = ""


class Sink(Protocol):
    """One instance of an incident sink. Verbs are safe to repeat; delivery decides when to search before creating."""

    def find(self, key: str) -> Receipt | None:
        """The record that carries our key, the open one before those that are over, or None. Raises Unavailable,
        Denied."""

    def deliver(self, order: Order, ticket: Receipt | None) -> Receipt:
        """Carry out one order; ``ticket`` is what is known of the record. Raises Unavailable, Denied, Rejected.

        Only what differs is written, a field that a person changed is left alone, and what the system made of the
        write is read back. A record that people closed stays closed; where it can no longer be reopened, a REOPEN
        makes a new one linked to it.
        """

    def changes(self, cursor: int) -> Sequence[TicketChange]:
        """What people did there after ``cursor``, oldest first, bounded; our own writes are no news.

        A change that lies behind ``cursor`` is never shown again, so the sequence of a change must follow from the
        change alone (``connect.tickets.sequence``), and none may turn up later below one that was given.
        """

    def check(self) -> Sequence[Finding]:
        """Credentials, permissions, key field, mandatory fields and state mapping, without writing anything. Raises
        Unavailable where nothing can be asked."""


class ProblemSink(Protocol):
    """What a sink offers besides where its system has Problem records (``SinkKind.problems``)."""

    def find_problem(self, key: str) -> Receipt | None:
        """The Problem that carries this key, or None. Raises Unavailable, Denied."""

    def write_problem(self, order: ProblemOrder, problem: Receipt | None) -> Receipt:
        """Open the Problem, or update it where ``problem`` is known, and link its incidents. Safe to repeat. Raises
        Unavailable, Denied, Rejected."""


class KnownErrorSink(ProblemSink, Protocol):
    """A ``ProblemSink`` that tells what people made of a Problem (``SinkKind.known_errors``)."""

    def read_problem(self, problem: Receipt) -> ProblemReading | None:
        """The record as it stands; None where it is gone. Raises Unavailable, Denied."""


def _as_one(header: str) -> Sequence[str]:
    return (header,)


class Hook(Struct, frozen=True, kw_only=True):
    """How a system proves that a call which it makes to us (a webhook) is its own, and new.

    Attributes:
        header: the one that carries the proof, in lower case.
        proof: what it must hold, from the secret, the headers (names in lower case) and the body.
        split: the proofs in the header, where it may hold several (made with an old and a new secret); one will do.
        sent_at: when the system says it made the call, from what the proof covers; None where that does not say. No
            function where the proof is the secret itself, so that nothing is covered.
        max_age: how old a call may be; as long as the system tries again.
        undated: a call that does not say when it was made is taken as well.
    """

    header: str
    proof: Callable[[str, Mapping[str, str], bytes], str]
    split: Callable[[str], Sequence[str]] = _as_one
    sent_at: Callable[[Mapping[str, str], bytes], datetime | None] | None = None
    max_age: timedelta = timedelta(minutes=5)
    undated: bool = False


SHARED_TOKEN = Hook(header="x-foreshock-token", proof=lambda secret, headers, body: secret)
"""For systems whose rules and workflows post what an administrator writes, and sign nothing."""


class SinkKind(Struct, frozen=True, kw_only=True):
    """Declaration of a sink. ``build`` gets the instance's name, its configuration and what the wiring offers.

    Attributes:
        index_delay_s: how long after a lost answer a record may still turn up in a search; until then an "absent" is
            not believed. 0 where a search sees every commit at once.
        searches: whether ``find`` can answer; a sink that cannot search must be safe to send a creation to twice.
        problems: whether its sinks are a ``ProblemSink`` too. known_errors: whether they are a ``KnownErrorSink``.
        hook: how calls of the system are known as its own (``RemoteSinkConfig.webhook_secret_file``).
    """

    kind: str
    title: str
    facts: str
    config: type[ConnectorConfig]
    build: Callable[[str, Any, "SinkParts"], Sink]
    index_delay_s: float = 0.0
    searches: bool = True
    problems: bool = False
    messages: bool = False
    known_errors: bool = False
    hook: Hook = SHARED_TOKEN


class SinkParts(Struct, frozen=True, kw_only=True):
    """What a sink may need of the rest.

    Attributes:
        http: a ``connect.http.Http`` factory.
        book: the desk's records.
        console: address of the console; an order's ``url`` is a path below it.
    """

    http: Callable[..., Any]
    book: "DeskBook"
    console: str = ""


# ---- what people are told beside tickets ----------------------------------------------------------------------------


class NoticeKind(StrEnum):
    """What a notice is about. SLA: time that was promised is running out, or has. ESCALATION: nobody takes it."""

    SLA = "sla"
    ESCALATION = "escalation"


class Notice(Struct, frozen=True, kw_only=True):
    """Something that somebody must be told now, beside the ticket. The engine decides it, as a function of its records;
    who that is at this hour and how to reach them is for whoever carries it out.

    Attributes:
        id: unique and stable: ``S-12/sla/7``.
        level: how grave, rising within one kind: of SLA the percent of the time that are gone, of ESCALATION the step.
        text: one or two sentences, complete by themselves. title: of the situation.
        audience: names of groups and persons, as the assignment group and the assignee are called; the most fitting
            first. Empty: nobody is known.
        url: the incident page in the console, as a path.
    """

    id: str
    situation: str
    at: Moment
    kind: NoticeKind
    level: int
    title: str
    text: str
    priority: int
    audience: tuple[str, ...] = ()
    url: str = ""


# ---- what one engine step writes ------------------------------------------------------------------------------------


class AuditRow(Struct, frozen=True, kw_only=True):
    """Who changed what, when, and by which record. kind: situation, ticket, notice, sla, silence, topology, settings,
    rule, source, feedback."""

    record: int
    at: Moment
    actor: str
    kind: str
    subject: str
    action: str
    detail: str = ""


class DeadLetter(Struct, frozen=True, kw_only=True):
    """One item that could not be read, kept with the reason."""

    record: int
    item: int
    at: Moment
    source: str
    error: str
    payload: bytes
    stage: str = "translate"


class SituationRow(Struct, frozen=True, kw_only=True):
    """What lists and reports need of a situation; ``body`` (JSON) only once it has ended.

    Attributes:
        ticketed_at: when its first ticket was ordered. acknowledged_at: when a person first showed to have seen it.
        team: the group that gets its ticket. services: the most critical business services, bounded.
        events: that were folded into its alerts, as of the last change.
        acknowledged_in_time, resolved_in_time: whether what was promised was kept; None: open, or nothing promised.
    """

    id: str
    state: str
    priority: int
    severity: int
    title: str
    opened_at: Moment
    updated_at: Moment
    resolved_at: Moment | None
    alerts: int
    version: int
    body: bytes | None = None
    ticketed_at: Moment | None = None
    acknowledged_at: Moment | None = None
    team: str = ""
    services: tuple[str, ...] = ()
    events: int = 0
    reopened: int = 0
    acknowledged_in_time: bool | None = None
    resolved_in_time: bool | None = None


class Tally(Struct, frozen=True, kw_only=True):
    """So many more of something within the hour that begins at ``hour``. name: "events" or "alerts"."""

    hour: Moment
    name: str
    count: int


class Block(Struct, frozen=True, kw_only=True):
    """A part of the engine's saved state. position: of the checkpoint it belongs to; counts once that one is whole."""

    number: int
    position: int
    body: bytes


class ForecastOutcome(StrEnum):
    """What became of what a model announced.

    CONFIRMED: an incident came. REACHED: it happened, as the model saw, and nobody was alarmed. EXPIRED: it did not
    happen in time. WITHDRAWN: the model took it back before. UNKNOWN: it was forgotten for the number of others.
    """

    EXPECTED = "expected"
    CONFIRMED = "confirmed"
    REACHED = "reached"
    EXPIRED = "expired"
    WITHDRAWN = "withdrawn"
    UNKNOWN = "unknown"


class ForecastRow(Struct, frozen=True, kw_only=True):
    """One entry of the ledger: what a model announced of one CI, from its first likely forecast to the outcome.

    Attributes:
        id: F-1. about, summary: as of the first ``Forecast``, like probability, horizon_h and lead_time_h.
        services: that depend on the CI, the most critical first. team: that would have had to act.
        heard_at: of the first forecast. until: it comes true before then, or has expired.
        problem: that was opened for it, or stood already; empty where there was none, for this reason.
        ended_at: of the outcome. situation: the incident that came.
    """

    id: str
    model: str
    ci: str
    about: str
    summary: str
    services: tuple[str, ...]
    team: str
    heard_at: datetime
    until: datetime
    probability: float
    horizon_h: float
    lead_time_h: float
    problem: str = ""
    reason: str = ""
    outcome: ForecastOutcome = ForecastOutcome.EXPECTED
    ended_at: datetime | None = None
    situation: str = ""


class Step(Struct, frozen=True, kw_only=True):
    """All that one engine step changes, written in one transaction together with the position.

    judgements: with the number of the record that brought each.
    """

    read_from: int
    position: int
    situations: Sequence[SituationRow] = ()
    orders: Sequence[Order] = ()
    audit: Sequence[AuditRow] = ()
    dead_letters: Sequence[DeadLetter] = ()
    judgements: Sequence[tuple[int, Judgement]] = ()
    notices: Sequence[Notice] = ()
    tallies: Sequence[Tally] = ()
    forecasts: Sequence[ForecastRow] = ()
    blocks: Sequence[Block] = ()
    blocks_gone_before: int = 0
    checkpoint: int | None = None


# ---- the desk's records ---------------------------------------------------------------------------------------------


class DeskState(StrEnum):
    """ITIL states of an incident or problem on the desk."""

    NEW = "new"
    IN_PROGRESS = "in_progress"
    PENDING = "pending"
    RESOLVED = "resolved"
    CLOSED = "closed"


class DeskRecord(Struct, frozen=True, kw_only=True):
    """An incident or a problem on the embedded desk.

    Attributes:
        number: INC0000001 or PRB0000001.
        key: our key (situation id); empty for a record a person opened.
        resolution_code: "recovered" when the condition ended by itself, else what the person chose.
        problem: number of the problem it is linked to. known_error: of a problem, what people know of it by now.
    """

    number: str
    type: str
    key: str
    title: str
    description: str
    state: DeskState
    impact: int
    urgency: int
    priority: int
    opened_at: Moment
    updated_at: Moment
    severity: str = ""
    assignment_group: str = ""
    assignee: str = ""
    ci: str = ""
    resolution_code: str = ""
    resolution_note: str = ""
    resolved_at: Moment | None = None
    problem: str = ""
    url: str = ""
    known_error: str = ""


class DeskNote(Struct, frozen=True, kw_only=True):
    """One work note, or one change, on a desk record."""

    at: Moment
    author: str
    text: str


class DeskAction(StrEnum):
    """What a person can do with a desk record. KNOWN_ERROR: write down what is known of a problem, above all how to get
    round it; empty takes it back."""

    TAKE = "take"
    WAIT = "wait"
    COMMENT = "comment"
    RESOLVE = "resolve"
    REOPEN = "reopen"
    CLOSE = "close"
    KNOWN_ERROR = "known_error"


class DeskBook(Protocol):
    """Where the desk keeps its records. Every write is one synced transaction with its journal entry."""

    def apply(self, order: Order) -> Receipt:
        """Carry out an order once: an order id seen before changes nothing and gives the same receipt.

        A field that a person changed, and a record that a person resolved, are left alone.
        """

    def apply_problem(self, order: ProblemOrder) -> Receipt:
        """The same for a Problem, which is opened where there is none with this key. An incident that is linked to
        another problem stays so."""

    def by_key(self, key: str, type: str = "incident") -> DeskRecord | None: ...

    def get(self, number: str) -> DeskRecord | None: ...

    def list(
        self, *, type: str = "incident", open_only: bool = False, problem: str = "", limit: int = 500
    ) -> Sequence[DeskRecord]:
        """Newest first; with ``problem`` only what is linked to it."""

    def notes(self, number: str) -> Sequence[DeskNote]: ...

    def act(
        self, number: str, action: DeskAction, *, actor: str, at: datetime, text: str = "", code: str = ""
    ) -> DeskRecord:
        """A person's action. Raises Rejected where the state does not allow it, naming the state."""

    def open_problem(self, incident: str, *, actor: str, at: datetime, title: str = "") -> DeskRecord:
        """A problem linked to the incident; the one it is linked to already, if any. Raises Rejected if there is no
        such incident."""

    def journal(self, cursor: int, limit: int) -> Sequence[TicketChange]:
        """People's changes after ``cursor``, oldest first."""


# ---- CMDB -----------------------------------------------------------------------------------------------------------


class Snapshot(Struct, frozen=True, kw_only=True):
    """A whole topology as one source holds it.

    Attributes:
        version: a digest of its content, equal for equal content.
        warnings: what was odd but could be read, one sentence each, for whoever looks at the sync.
    """

    version: str
    cis: tuple[CI, ...]
    relationships: tuple[Relationship, ...]
    warnings: tuple[str, ...] = ()


# ---- what every decoder of ours shares ------------------------------------------------------------------------------


def decode_items(
    body: bytes,
    many: "msgspec.json.Decoder[list[T]]",
    one: "msgspec.json.Decoder[T]",
    what: str,
    *,
    or_one: bool = False,
) -> list[T | Malformed]:
    """Decode a JSON array at once, or item by item where one is bad: a bad item never loses its neighbours.

    or_one: an item by itself will do as well. Raises Malformed when ``body`` is no JSON array at all.
    """
    if or_one and body.lstrip()[:1] == b"{":
        body = b"[" + body + b"]"
    try:
        return list(many.decode(body))
    except (msgspec.DecodeError, UnicodeDecodeError):
        pass  # something in it is wrong: which item, and are the others sound?
    except RecursionError:  # msgspec gives up on deep nesting with Python's own error
        raise Malformed("the body is nested too deep", hint=f"post a JSON array of {what}") from None
    items: list[T | Malformed] = []
    for raw in _split(body, what):
        try:
            items.append(one.decode(raw))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            items.append(Malformed(str(error), payload=bytes(raw)))
    return items


def _split(body: bytes, what: str) -> "Sequence[msgspec.Raw | bytes]":
    """The items of an array, untouched. msgspec refuses the whole of a body in which one string holds half a character
    (``"\\ud800"``); the standard library takes it apart all the same."""
    try:
        return _RAWS.decode(body)
    except msgspec.ValidationError as error:
        raise Malformed(f"the body is not an array: {error}", hint=f"post a JSON array of {what}") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        try:
            values = json.loads(body.decode())
        except (ValueError, RecursionError):
            values = None
        if not isinstance(values, list):
            raise Malformed(f"the body is not a JSON array: {error}", hint=f"post a JSON array of {what}") from None
        return [json.dumps(value).encode() for value in values]
    except RecursionError:
        raise Malformed("the body is nested too deep", hint=f"post a JSON array of {what}") from None


_RAWS = msgspec.json.Decoder(list[msgspec.Raw])
_HEAD = msgspec.json.Decoder(dict[str, Any])
