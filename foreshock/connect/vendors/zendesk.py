"""Zendesk's Support API: one thin client for whatever reads or writes tickets there.

Facts: developer.zendesk.com (2026): Tickets, Ticket audits, Incremental exports, Search, Pagination, Rate limits;
    Zendesk Support API OpenAPI 2.0.0.

What it takes care of: an error may come as JSON of three shapes, as text or as a page; a retried creation must be byte
for byte the first one, so bodies are built with sorted keys; lists are read by cursor, never by page number.
"""

import base64
import hmac
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from msgspec import Struct
from pydantic import Field, field_validator, model_validator

from foreshock.connect.auth import CaFile, Proxy, read_secret, web_address
from foreshock.connect.tickets import read_time
from foreshock.core.contracts import ConnectorConfig, Hook
from foreshock.core.errors import Denied, ForeshockError, Invalid, Missing, Rejected, Unavailable

if TYPE_CHECKING:
    from foreshock.connect.http import Answer, Http, Refusal  # importing it takes a tenth of a second of each start

Record = Mapping[str, Any]
"""A ticket, user or group as the API shows it."""

PAGE_ROWS = 100
MAX_PAGES = 100
EXPORT_ROWS = 500
_MAX_BODY_BYTES = 8 * 1024 * 1024
"""An export page holds whole tickets, each with a description of up to 64 KiB."""
_LIMITED_S = 60.0  # limits are counted by the minute (Rate limits)
_CONFLICT_S = 1.0
IDEMPOTENCY_CHARS = 255
IN_PROGRESS = "IdempotentRequestInProgress"
CLOSED_MEANWHILE = "closed prevents ticket update"
"""In the details of a 422: somebody closed the ticket after we read it. UNVERIFIED wording: seen in threads of the
developer forum, not in the reference."""


STAMP_HEADER = "x-zendesk-webhook-signature-timestamp"


class KeyUsed(Rejected):
    """A creation with this Idempotency-Key was sent before with another body, and did its work."""


class ZendeskAccount(ConnectorConfig):
    """How to reach an account, and as whom."""

    url: str = Field(description="address of the account, https://NAME.zendesk.com")
    user: str = Field(
        default="",
        description="e-mail address of the agent that Foreshock works as, with an API token; it should be Foreshock's "
        "alone: what this agent does is not read back",
    )
    token_file: Path | None = Field(default=None, description="file with an API token, mode 0600; needs user")
    oauth_token_file: Path | None = Field(
        default=None, description="file with an OAuth access token, mode 0600, instead of user and token_file"
    )
    ca_file: CaFile = None
    proxy: Proxy = ""

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        address = web_address(url, like="https://example.zendesk.com", instead="user and token_file")
        return address.removesuffix("/api/v2")

    @model_validator(mode="after")
    def _has_one_way_in(self) -> Self:
        if (self.token_file is None) == (self.oauth_token_file is None):
            raise Invalid(
                "it needs one way in", hint="name token_file (with user) or oauth_token_file, and not both of them"
            )
        if self.token_file is not None and not self.user:
            raise Invalid("token_file has no user", hint="write the agent's e-mail address as user")
        return self


class Export(Struct, frozen=True):
    """A page of the incremental export: tickets by ``generated_timestamp``, and where the next page begins."""

    tickets: Sequence[Record]
    cursor: str
    is_end: bool


class Zendesk:
    """One account. Not for several threads at once."""

    def __init__(self, http: "Http") -> None:
        self._http = http
        self.name = http.instance
        self._me = 0
        self._people: dict[int, Record] = {}

    @property
    def server_now(self) -> datetime | None:
        """Its own clock, by its last answer; None before the first."""
        return self._http.server_now

    # ---- tickets ----

    def tickets_of(self, external_id: str) -> list[Record]:
        """Tickets with exactly this external id, oldest first."""
        rows = self._list("/tickets.json", "tickets", {"external_id": external_id})
        return sorted((row for row in rows if row.get("external_id") == external_id), key=lambda row: int(row["id"]))

    def ticket(self, id: str) -> Record | None:
        """None if there is none that we may see."""
        try:
            return _ticket(self._call("GET", f"/tickets/{int(id)}.json"))
        except Missing:
            return None

    def tickets(self, ids: Sequence[str]) -> list[Record]:
        """Those of them that are there, at most 100."""
        answer = self._call("GET", "/tickets/show_many.json", {"ids": ",".join(map(str, map(int, ids)))})
        return answer.rows("tickets")

    def create(self, values: Record, key: str) -> Record:
        """Insert a ticket, once for each ``key`` within two hours. Raises KeyUsed."""
        headers = {"Idempotency-Key": key[:IDEMPOTENCY_CHARS]}
        return _ticket(self._call("POST", "/tickets.json", body={"ticket": values}, headers=headers))

    def update(self, id: str, values: Record, stamp: str) -> Record:
        """Change a ticket that was last changed at ``stamp``, its ``updated_at``, and not since. Raises Missing."""
        locked = {**values, "safe_update": True, "updated_stamp": stamp}
        return _ticket(self._call("PUT", f"/tickets/{int(id)}.json", body={"ticket": locked}))

    def comments(self, id: str) -> list[Record]:
        """The newest hundred, newest first."""
        params: dict[str, str | int] = {"sort": "-created_at", "page[size]": PAGE_ROWS}
        return self._call("GET", f"/tickets/{int(id)}/comments.json", params).rows("comments")

    def audits(self, id: str) -> list[Record]:
        """Everything that ever happened to a ticket, oldest first."""
        return self._list(f"/tickets/{int(id)}/audits.json", "audits", {})

    def export(self, start: datetime, cursor: str) -> Export:
        """What was changed since ``start``, which must be a minute old, or since a page's ``cursor``."""
        params: dict[str, str | int] = {"per_page": EXPORT_ROWS}
        params |= {"cursor": cursor} if cursor else {"start_time": int(start.timestamp())}
        answer = self._call("GET", "/incremental/tickets/cursor.json", params)
        body = answer.json()
        after = body.get("after_cursor") if isinstance(body, dict) else None
        return Export(answer.rows("tickets"), str(after or cursor), not isinstance(body, dict) or _ended(body))

    def oldest_with(self, tag: str) -> datetime | None:
        """When the first ticket with a tag was made, as far as the search index knows."""
        params: dict[str, str | int] = {"query": f'type:ticket tags:"{tag}"', "per_page": 1}
        params |= {"sort_by": "created_at", "sort_order": "asc"}
        rows = self._call("GET", "/search.json", params).rows("results")
        return read_time(str(rows[0].get("created_at"))) if rows else None

    # ---- people and settings ----

    def me(self) -> Record:
        """The agent that we are. Raises Denied where the account knows nobody by these credentials."""
        answer = self._call("GET", "/users/me.json")
        user: Record = answer.part("user", dict)
        if not user.get("id"):  # an anonymous visitor is answered 200 as well
            raise Denied(f"{answer.place} knows nobody by these credentials", hint="check user and token")
        self._me = int(user["id"])
        return user

    @property
    def my_id(self) -> int:
        return self._me or int(self.me()["id"])

    def people(self, ids: Sequence[int]) -> dict[int, str]:
        """E-mail addresses, else names, else the id as text; asked once for each person."""
        unknown = sorted({id for id in ids if id > 0} - set(self._people))
        for first in range(0, len(unknown), PAGE_ROWS):
            wanted = ",".join(map(str, unknown[first : first + PAGE_ROWS]))
            for user in self._call("GET", "/users/show_many.json", {"ids": wanted}).rows("users"):
                self._people[int(user["id"])] = user
        return {id: _called(self._people.get(id, {}), id) for id in ids}

    def groups(self) -> list[Record]:
        return self._list("/groups.json", "groups", {})

    def ticket_fields(self) -> list[Record]:
        return self._list("/ticket_fields.json", "ticket_fields", {})

    def custom_statuses(self) -> list[Record]:
        return self._call("GET", "/custom_statuses.json").rows("custom_statuses")

    # ---- calls ----

    def _list(self, path: str, name: str, params: Mapping[str, str | int]) -> list[Record]:
        found: list[Record] = []
        after = ""
        for _ in range(MAX_PAGES):
            more: dict[str, str | int] = {"page[after]": after} if after else {}
            answer = self._call("GET", path, {**params, "page[size]": PAGE_ROWS, **more})
            found += answer.rows(name)
            meta = answer.json().get("meta")
            after = str(meta.get("after_cursor") or "") if isinstance(meta, dict) and meta.get("has_more") else ""
            if not after:
                return found
        raise Unavailable(f"{self.name}: more than {MAX_PAGES * PAGE_ROWS} {name} at {path}")

    def _call(
        self,
        method: str,
        path: str,
        params: Mapping[str, str | int] | None = None,
        *,
        body: Record | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> "Answer":
        sent, named = None, dict(headers or {})
        if body is not None:
            sent = json.dumps(body, sort_keys=True, separators=(",", ":")).encode()
            named["Content-Type"] = "application/json"
        return self._http.request(method, f"/api/v2{path}", params=params, body=sent, headers=named)


def connect(account: ZendeskAccount, name: str, place: str, http: Callable[..., "Http"]) -> Zendesk:
    """A client for an account.

    Args:
        name: of the instance, for messages. place: where its settings stand, for messages.
        http: ``connect.http.Http`` or a factory like it.
    Raises ConfigError where a secret cannot be read.
    """
    from foreshock.connect.http import Basic, Bearer

    auth: Basic | Bearer
    if account.oauth_token_file is not None:
        auth = Bearer(read_secret(account.oauth_token_file, f"{place}.oauth_token_file"))
    else:
        assert account.token_file is not None
        auth = Basic(f"{account.user}/token", read_secret(account.token_file, f"{place}.token_file"))
    return Zendesk(
        http(
            f"zendesk {name!r}",
            account.url,
            auth=auth,
            ca_file=account.ca_file,
            proxy=account.proxy,
            read_refusal=read_refusal,
            max_body_bytes=_MAX_BODY_BYTES,
        )
    )


def read_refusal(refusal: "Refusal") -> ForeshockError | None:
    """What Zendesk means by an answer that is no 2xx; ``error`` is a word, or an object with a title."""
    body = refusal.json()
    error = body.get("error") if isinstance(body, dict) else None
    word = str(error.get("title") or "") if isinstance(error, dict) else str(error or "")
    match refusal.status:
        case 401:
            hint = "check user and token, and that API tokens are allowed (Admin Center, Apps and integrations)"
            return Denied(refusal.message, hint=hint)
        case 403:
            return Denied(
                refusal.message, hint="give the agent access to all tickets; incremental export needs an admin"
            )
        case 404 if word == "InvalidEndpoint":
            hint = "check url: it is the account's own address, not that of a help center"
            return Denied(refusal.message, hint=hint)
        case 404 if word == "RecordNotFound":
            return Missing(refusal.message)
        case 400 if word == "IdempotentRequestError":
            return KeyUsed(refusal.message)
        case 409 if word == IN_PROGRESS:
            return Unavailable(refusal.message, retry_after_s=refusal.retry_after_s or _CONFLICT_S)
        case 409:  # UpdateConflict: somebody was faster; nothing was written
            return Unavailable(refusal.message, retry_after_s=_CONFLICT_S, unsent=True)
        case 422 if CLOSED_MEANWHILE.encode() in refusal.body:
            return Unavailable(refusal.message, retry_after_s=_CONFLICT_S, unsent=True)
        case 422:
            return Rejected(
                refusal.message,
                hint="fill the field it names through `fixed`, `solver` or `groups`, or change it there",
            )
        case 429:
            return Unavailable(refusal.message, retry_after_s=refusal.retry_after_s or _LIMITED_S, unsent=True)
    return None


def _proof(secret: str, headers: Mapping[str, str], body: bytes) -> str:
    signed = headers.get(STAMP_HEADER, "").encode("latin-1") + body
    return base64.b64encode(hmac.digest(secret.encode(), signed, "sha256")).decode()


HOOK = Hook(
    header="x-zendesk-webhook-signature",
    proof=_proof,
    sent_at=lambda headers, body: read_time(headers.get(STAMP_HEADER, "")),
)
"""Source: developer.zendesk.com, "Verifying webhook authenticity"."""


def _ended(body: Record) -> bool:
    return bool(body.get("end_of_stream", True)) or not body.get("after_cursor")


def _called(user: Record, id: int) -> str:
    return str(user.get("email") or user.get("name") or id)


def _ticket(answer: "Answer") -> Record:
    ticket: Record = answer.part("ticket", dict)
    if not {"id", "status", "updated_at"} <= set(ticket):
        raise Unavailable(f"{answer.place} answered a ticket without id, status and updated_at")
    return ticket
