"""Request Tracker's REST 2: one thin client for whatever reads or writes tickets there.

Facts: Request Tracker 5.0.3 as Debian has it, observed on a running server, and its module RT::REST2.

What it takes care of: a rejected change is answered 200 with a sentence that says so; a custom field that is not there,
or not for us, is dropped without a word from what is written and finds nothing where it is asked for; equality is
without case there.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from msgspec import Struct, structs
from pydantic import Field, field_validator, model_validator

from foreshock.connect.auth import CaFile, Proxy, read_secret, web_address
from foreshock.connect.tickets import read_time
from foreshock.core.contracts import ConnectorConfig
from foreshock.core.errors import Denied, ForeshockError, Invalid, Missing, Unavailable

if TYPE_CHECKING:
    from foreshock.connect.http import Answer, Http, Refusal  # importing it takes a tenth of a second of each start

PAGE_ROWS = 100
MAX_PAGES = 50
_MAX_BODY_BYTES = 8 * 1024 * 1024  # a page of attachments holds the whole text of a hundred comments
_CONFLICT_S = 1.0
MERGED = "merged"
_DELETED = "deleted"
_EARLIER_S = 3600 + 60
"""A query begins so much earlier: RT is off by an hour for hours after a change to summer time, and takes its time."""
_QUOTED = re.compile(r"(['\\])")


class RequestTrackerAccount(ConnectorConfig):
    """How to reach an RT, and as whom."""

    url: str = Field(description="address of RT as people open it, https://rt.example.com")
    user: str = Field(
        description="name of the user that Foreshock works as; it should be Foreshock's alone: what this user does is "
        "not read back"
    )
    token_file: Path | None = Field(default=None, description="file with an authentication token of it, mode 0600")
    password_file: Path | None = Field(
        default=None, description="file with its password, mode 0600, instead of token_file"
    )
    ca_file: CaFile = None
    proxy: Proxy = ""

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        return web_address(url, like="https://rt.example.com", instead="user and token_file").removesuffix("/REST/2.0")

    @model_validator(mode="after")
    def _has_one_way_in(self) -> Self:
        if (self.token_file is None) == (self.password_file is None):
            raise Invalid("it needs one way in", hint="name token_file or password_file, and not both of them")
        return self


class Forbidden(Denied):
    """Our user may not do this, or see that; what does not exist is answered so as well."""


class RTTicket(Struct, frozen=True, kw_only=True):
    """A ticket as it is now.

    Attributes:
        status: in the lifecycle's words; ``MERGED`` where people merged it into another one, which the rest then shows.
        version: its ETag, the id of its last transaction; empty in a list.
        queue: id. fields: custom fields by name. field_names: those names by id. links: what our user may do with it
            (``comment``, ``correspond`` …), and more; empty in a list.
    """

    id: str
    version: str
    status: str
    subject: str
    priority: str
    queue: str
    updated_at: datetime
    fields: dict[str, str]
    field_names: dict[str, str]
    links: frozenset[str]


class RTQueue(Struct, frozen=True, kw_only=True):
    """A queue as our user sees it. fields: names of the custom fields that its tickets have and our user may see."""

    id: str
    name: str
    fields: frozenset[str]
    may_create: bool


class RTEvent(Struct, frozen=True, kw_only=True):
    """A transaction of a ticket.

    Attributes:
        actor: user name. type: Create, Status, Set, CustomField, Comment, Correspond, AddLink …
        field: what was set; of a custom field the id. old, new: as RT stores them: users and queues by id.
    """

    id: str
    ticket: str
    at: datetime
    actor: str
    type: str
    field: str
    old: str
    new: str


class RTText(Struct, frozen=True, kw_only=True):
    """What one transaction said. type: text/plain or text/html."""

    event: str
    author: str
    type: str
    text: str


class RequestTracker:
    """One RT. Not for several threads at once.

    Attributes:
        listed_at: its own clock when the last list was begun; None where it does not say.
    """

    def __init__(self, http: "Http") -> None:
        self.listed_at: datetime | None = None
        self._http = http
        self.name = http.instance

    # ---- tickets ----

    def tickets(self, query: str, *, order: str = "id", limit: int = 0) -> list[RTTicket]:
        """Those that a query finds, ascending; the first ``limit`` of them, or all. Deleted ones are never found."""
        params = {"query": query, "orderby": order, "order": "ASC", "fields": _TICKET_FIELDS}
        rows = self._rows("/tickets", params, limit)
        return [_ticket(row, "", self.name) for row in rows]

    def ticket(self, id: str) -> RTTicket | None:
        """None if there is none that we may see, or it was deleted."""
        try:
            answer = self._call("GET", f"/ticket/{int(id)}")
        except Missing:
            return None
        found = _ticket(answer.json(), answer.headers.get("etag", ""), self.name)
        if found.id != str(int(id)):
            return structs.replace(found, id=id, status=MERGED)
        return None if found.status == _DELETED else found

    def create(self, values: Mapping[str, Any]) -> str:
        """Open a ticket; its id."""
        body = self._call("POST", "/ticket", json=dict(values)).json()
        id = str(body.get("id") or "") if isinstance(body, dict) else ""
        if not id.isdigit():
            raise Unavailable(f"{self.name} said it created a ticket, but not which")
        return id

    def update(self, id: str, values: Mapping[str, Any], version: str) -> str:
        """Change a ticket that nobody changed since ``version``; what RT said of each change, also of those that it
        refused. Raises Unavailable where somebody was faster."""
        answer = self._call("PUT", f"/ticket/{int(id)}", json=dict(values), headers={"If-Match": version})
        return _said(answer)

    def comment(self, id: str, text: str, status: str = "") -> str:
        """Add a comment to a ticket, and set its status where one is named; what RT said. It cannot depend on a
        version: whatever ``If-Match`` says here, RT refuses."""
        values = {"Content": text, "ContentType": "text/plain", **({"Status": status} if status else {})}
        return _said(self._call("POST", f"/ticket/{int(id)}/comment", json=values))

    def texts(self, id: str) -> list[RTText]:
        """What was said in the newest hundred parts of a ticket's history, newest first."""
        params = {"fields": "Content,ContentType,TransactionId,Creator", "orderby": "id", "order": "DESC"}
        found = []
        for row in self._rows(f"/ticket/{int(id)}/attachments", params, PAGE_ROWS):
            kind = str(row.get("ContentType") or "")
            if kind in ("text/plain", "text/html"):
                said = RTText(
                    event=_id(row.get("TransactionId")),
                    author=_id(row.get("Creator")),
                    type=kind,
                    text=str(row.get("Content") or ""),
                )
                found.append(said)
        return found

    def events(self, tickets: Sequence[str], since: datetime, types: Sequence[str]) -> list[RTEvent]:
        """Transactions of these types and tickets, from a second on, oldest first."""
        ids = " OR ".join(f"ObjectId = {int(id)}" for id in tickets)
        kinds = " OR ".join(f"Type = {quoted(type)}" for type in types)
        query = f"ObjectType = 'RT::Ticket' AND ({ids}) AND Created >= {self.since(since)} AND ({kinds})"
        fields = "Type,Field,OldValue,NewValue,Created,Creator,ObjectId"
        params = {"query": query, "orderby": "id", "order": "ASC", "fields": fields}
        found = [_event(row) for row in self._rows("/transactions", params)]
        return [event for event in found if event is not None and event.ticket in tickets]

    def since(self, moment: datetime) -> str:
        """A time in a query, at ``moment`` or somewhat before it.

        In seconds before now, because RT reads any date and time in the time zone of the user, which it does not tell,
        and of one that ends in Z the date only. Raises Unavailable where RT does not say what time it is.
        """
        self._call("GET", "/rt")
        now = self._http.server_now
        if now is None:
            raise Unavailable(f"{self.name} does not say what time it is (no Date header)")
        ago_s = (now - moment).total_seconds() + _EARLIER_S
        # Not "N seconds ago": a number of four or six digits would be read as a year or a date.
        return quoted(f"-{min(max(ago_s, 0), now.timestamp() - _EARLIER_S):.0f} seconds")

    # ---- queues and people ----

    def queue(self, name: str) -> RTQueue | None:
        """By name or id; None if there is none that we may see."""
        try:
            row = self._call("GET", f"/queue/{quote(name, safe='')}").json()
        except (Missing, Forbidden):
            return None
        fields = frozenset(str(field.get("name")) for field in row.get("TicketCustomFields") or ())
        links = row.get("_hyperlinks") or ()
        return RTQueue(
            id=str(row.get("id") or ""),
            name=str(row.get("Name") or ""),
            fields=fields,
            may_create=any(link.get("ref") == "create" and link.get("type") == "ticket" for link in links),
        )

    def user(self, name: str) -> Mapping[str, Any]:
        """By name or id; empty where there is none that we may see. Only of ourselves it tells ``Created``, unless we
        are an administrator."""
        try:
            row = self._call("GET", f"/user/{quote(name, safe='')}").json()
        except (Missing, Forbidden):
            return {}
        return row if isinstance(row, dict) else {}

    def version(self) -> str:
        """Of RT itself."""
        return str(self._call("GET", "/rt").json().get("Version") or "")

    # ---- calls ----

    def _rows(self, path: str, params: Mapping[str, str | int], limit: int = 0) -> list[Mapping[str, Any]]:
        found: list[Mapping[str, Any]] = []
        for page in range(1, MAX_PAGES + 1):
            answer = self._call("GET", path, params={**params, "per_page": PAGE_ROWS, "page": page})
            self.listed_at = self._http.server_now if page == 1 else self.listed_at
            rows, pages = _page(answer)
            found += rows
            # Where rights hide rows there is no count of pages, and a page with few rows need not be the last.
            if (limit and len(found) >= limit) or not rows or (pages is not None and page >= pages):
                return found[: limit or None]
        raise Unavailable(f"{self.name}: more than {MAX_PAGES * PAGE_ROWS} rows at {path}")

    def _call(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> "Answer":
        return self._http.request(method, f"/REST/2.0{path}", params=params, json=json, headers=headers)


_TICKET_FIELDS = "Subject,Status,Priority,Queue,LastUpdated,CustomFields"


def connect(account: RequestTrackerAccount, name: str, place: str, http: Callable[..., "Http"]) -> RequestTracker:
    """A client for an account.

    Args:
        name: of the instance, for messages. place: where its settings stand, for messages.
        http: ``connect.http.Http`` or a factory like it.
    Raises ConfigError where a secret cannot be read.
    """
    from foreshock.connect.http import Basic, KeyHeader

    auth: Basic | KeyHeader
    if account.token_file is not None:
        secret = read_secret(account.token_file, f"{place}.token_file")
        auth = KeyHeader("Authorization", f"token {secret}")
    else:
        assert account.password_file is not None
        secret = read_secret(account.password_file, f"{place}.password_file")
        auth = Basic(account.user, secret)
    return RequestTracker(
        http(
            f"request_tracker {name!r}",
            account.url,
            auth=auth,
            ca_file=account.ca_file,
            proxy=account.proxy,
            secrets=(secret,),
            read_refusal=read_refusal,
            max_body_bytes=_MAX_BODY_BYTES,
        )
    )


def read_refusal(refusal: "Refusal") -> ForeshockError | None:
    """What RT means by an answer that is no 2xx."""
    match refusal.status:
        case 401:
            return Denied(refusal.message, hint="check user and its token or password, and that it is not disabled")
        case 403:
            return Forbidden(refusal.message, hint="grant the user what docs/connect/request_tracker.md lists")
        case 404 if refusal.json() is not None:
            return Missing(refusal.message)
        case 404:  # not RT's own, which is JSON
            return Denied(refusal.message, hint="check url: REST 2 must answer at /REST/2.0 below it")
        case 412:  # somebody was faster; nothing was written
            return Unavailable(refusal.message, retry_after_s=_CONFLICT_S, unsent=True)
    return None


def quoted(value: str) -> str:
    """A value in a query."""
    return "'" + _QUOTED.sub(r"\\\1", value) + "'"


def custom_field(name: str) -> str:
    """A custom field in a query. ``name`` holds no braces."""
    return f"CF.{{{name}}}"


def _page(answer: "Answer") -> tuple[list[Mapping[str, Any]], int | None]:
    items = answer.rows("items")
    pages = answer.json().get("pages")
    return items, int(pages) if isinstance(pages, int | float) else None


def _ticket(row: Any, version: str, name: str) -> RTTicket:
    if not isinstance(row, dict) or not {"id", "Status", "Queue", "LastUpdated"} <= set(row):
        raise Unavailable(f"{name} answered a ticket without id, Status, Queue and LastUpdated")
    at = _read_time(str(row["LastUpdated"]))
    if at is None:
        raise Unavailable(f"{name} answered a ticket whose LastUpdated is {row['LastUpdated']!r}")
    return RTTicket(
        id=str(row["id"]),
        version=version,
        status=str(row["Status"]),
        subject=str(row.get("Subject") or ""),
        priority=str(row.get("Priority") or ""),
        queue=_id(row["Queue"]),
        updated_at=at,
        fields={name: text for _, name, text in _custom(row)},
        field_names={id: name for id, name, _ in _custom(row)},
        links=frozenset(str(link.get("ref")) for link in row.get("_hyperlinks") or ()),
    )


def _custom(row: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(id, name, text); a value that was taken away is null."""
    for field in row.get("CustomFields") or ():
        values = (value for value in field.get("values") or () if value is not None)
        yield str(field.get("id")), str(field.get("name")), "\n".join(map(str, values))


def _event(row: Mapping[str, Any]) -> RTEvent | None:
    at = _read_time(str(row.get("Created") or ""))
    if at is None:
        return None
    return RTEvent(
        id=str(row.get("id") or ""),
        ticket=str(row.get("ObjectId") or ""),
        at=at,
        actor=_id(row.get("Creator")),
        type=str(row.get("Type") or ""),
        field=str(row.get("Field") or ""),
        old=str(row.get("OldValue") or ""),
        new=str(row.get("NewValue") or ""),
    )


def _id(reference: Any) -> str:
    """Of a reference, which is an object in some answers and the bare id in others."""
    if isinstance(reference, dict):
        reference = reference.get("id")
    return "" if reference is None else str(reference)


def _said(answer: "Answer") -> str:
    sentences = answer.json()
    if not isinstance(sentences, list):
        raise Unavailable(f"{answer.place} answered JSON that is no list of sentences")
    return "; ".join(map(str, sentences))


def _read_time(text: str) -> datetime | None:
    """None where it is none, or unset (1970)."""
    at = read_time(text)
    return at if at is not None and at.year > 1970 else None
