"""Freshservice's API v2: one thin client for whatever reads or writes tickets and problems there.

Facts: api.freshservice.com, read 2026-11-22 through open clients that quote it: FreshservicePS, go-freshservice,
    freshpy 2.0.0, tap-freshservice 0.12.0, arcade-freshservice-api 0.3.0 (made from the vendor's description).

What it takes care of: a search is an index that lags by minutes, so it never proves an absence alone; every row that a
search gives is looked at again; long lists are read by time, not by page number, and their order is checked; errors
come in two shapes of JSON, as an empty body or as a page.
"""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from msgspec import Struct
from pydantic import Field, field_validator

from foreshock.connect.auth import CaFile, Proxy, read_secret, web_address
from foreshock.connect.tickets import read_time
from foreshock.core.contracts import ConnectorConfig
from foreshock.core.errors import Denied, ForeshockError, Missing, Rejected, Unavailable

if TYPE_CHECKING:
    from foreshock.connect.http import Answer, Http, Refusal  # importing it takes a tenth of a second of each start

Record = Mapping[str, Any]
"""A ticket, problem, agent or group as the API shows it."""

PAGE_ROWS = 100
"""More is refused with 400."""
SEARCH_ROWS = 30
"""Of a page of ``/tickets/filter``; it cannot be set."""
QUERY_CHARS = 512
_MAX_PAGES = 100
_MAX_SEARCH_PAGES = 10
_MAX_PEOPLE = 10_000
_MAX_BODY_BYTES = 8 * 1024 * 1024
"""A list shows whole descriptions."""
_LIMITED_S = 60.0  # limits are counted by the minute
_CONFLICT_S = 1.0
QUERY_FORMS = ("{}", "cf_{}")
"""How a search may want the name of a custom field. UNVERIFIED which one: the reference shows neither, Freshdesk, from
which the search comes, wants the second. Both are tried."""
SORTED = {"order_by": "updated_at", "order_type": "asc"}
"""UNVERIFIED that lists take ``order_by``: the vendor's description names ``order_type`` only. The order is checked."""


class Refused(Rejected):
    """A record was refused as it is (400). problems: field, code and message, as Freshservice names them."""

    def __init__(self, message: str, problems: Sequence[tuple[str, str, str]], *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.problems = tuple(problems)

    def names(self, *fields: str) -> bool:
        """Whether one of these fields is what it complains of."""
        return any(field.rpartition(".")[2] in fields for field, _, _ in self.problems)


class FreshserviceAccount(ConnectorConfig):
    """How to reach an account, and as whom."""

    url: str = Field(
        description="address of the account, https://NAME.freshservice.com; no address of your own works",
        examples=["https://example.freshservice.com"],
    )
    user: str = Field(
        pattern=r"^[0-9]{1,18}$|^[^@\s]+@[^@\s]+$",
        description="e-mail address, or id, of the agent whose API key it is; it should be Foreshock's alone: what "
        "this agent does is not read back",
        examples=["foreshock@example.com"],
    )
    key_file: Path = Field(description="file with that agent's API key, mode 0600")
    workspace: int = Field(default=0, ge=0, description="id of the workspace; 0 is the primary one")
    ca_file: CaFile = None
    proxy: Proxy = ""

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        address = web_address(url, like="https://example.freshservice.com", instead="user and key_file")
        return address.removesuffix("/api/v2")


class Changed(Struct, frozen=True):
    """Tickets, the oldest change first. is_whole: there are no more. asked_at: when the first of them was asked for, by
    the account's clock."""

    rows: Sequence[Record]
    is_whole: bool
    asked_at: datetime | None


class Freshservice:
    """One account. Not for several threads at once."""

    def __init__(self, http: "Http", user: str, workspace: int = 0) -> None:
        self._http = http
        self.name = http.instance
        self._user = user
        self._workspace = {"workspace_id": workspace} if workspace else {}
        self._us = 0
        self._people: dict[int, str] = {}
        self._forms: tuple[str, ...] = QUERY_FORMS
        self._sorted: Mapping[str, str] = SORTED

    def now(self) -> datetime:
        """The account's own clock: as the last answer told it, or one that is asked for. Raises Unavailable."""
        if self._http.server_now is None:
            self._page("/tickets", "tickets", {**self._workspace}, 1)
        if self._http.server_now is None:
            raise Unavailable(
                f"{self.name} does not say what time it is", hint="let the Date header of its answers pass the proxy"
            )
        return self._http.server_now

    # ---- tickets ----

    def search(self, field: str, value: str) -> list[Record]:
        """Tickets in whose custom field stands exactly ``value``, as far as the index knows. Raises Refused where there
        is no such field to search by."""
        while True:
            name = self._forms[0].format(field)
            try:
                rows = self._search(f"{name}:'{_quoted(value)}'")
            except Refused as error:
                if len(self._forms) == 1 or not error.names(name):
                    raise
                self._forms = self._forms[1:]
                continue
            return [row for row in rows if custom(row, field) == value]

    def _search(self, query: str) -> list[Record]:
        """Raises Unavailable where there are more rows than a search by a key can have: the term was not heeded."""
        found: list[Record] = []
        assert len(query) <= QUERY_CHARS, query
        for page in range(1, _MAX_SEARCH_PAGES + 1):
            params: dict[str, str | int] = {"query": f'"{query}"', "page": page, **self._workspace}
            rows = self._call("GET", "/tickets/filter", params).rows("tickets")
            found += rows
            if len(rows) < SEARCH_ROWS:
                return found
        raise Unavailable(
            f"{self.name}: a search by {query.partition(':')[0]} finds {len(found)} tickets and more",
            hint="look whether that field can be searched by: it must be a single-line text field of the ticket form",
        )

    def changed(self, start: datetime, limit: int) -> Changed:
        """Incidents that were changed since ``start``, about ``limit`` of them.

        A page begins with the second in which the one before ended: by number, a ticket that changes meanwhile would
        pull another one over the edge of a page, unseen.
        """
        found: dict[str, Record] = {}
        since, page, asked_at = start, 1, None
        while len(found) < limit:
            rows, more = self._changed(since, page)
            asked_at = asked_at or self._http.server_now
            found |= {str(row["id"]): row for row in rows}
            if not more:
                return Changed(_by_change(found.values()), True, asked_at)
            stamps = [str(row.get("updated_at")) for row in rows]
            if stamps != sorted(stamps):
                return Changed(_by_change(self._list("/tickets", "tickets", self._since(start))), True, asked_at)
            last = read_time(stamps[-1])
            since, page = (last, 1) if last is not None and last > since else (since, page + 1)
        return Changed(_by_change(found.values()), False, asked_at)

    def _changed(self, since: datetime, page: int) -> tuple[list[Record], bool]:
        params = {**self._since(since), **self._sorted}
        try:
            return self._page("/tickets", "tickets", params, page)
        except Refused as error:
            if not (self._sorted and error.names("order_by")):
                raise
            self._sorted = {}
            return self._page("/tickets", "tickets", self._since(since), page)

    def _since(self, start: datetime) -> dict[str, str | int]:
        return {"updated_since": _time_text(start), "type": "Incident", **self._workspace}

    def ticket(self, id: str, include: str = "") -> Record | None:
        """None if there is none that we may see, or it lies in the trash or among the spam."""
        try:
            answer = self._call("GET", f"/tickets/{int(id)}", {"include": include} if include else {})
        except Missing:
            return None
        found = _record(answer, "ticket")
        return None if found.get("deleted") or found.get("spam") else found

    def create(self, values: Record) -> Record:
        return _record(self._call("POST", "/tickets", body={**values, **self._workspace}), "ticket")

    def update(self, id: str, values: Record) -> Record:
        """Raises Missing."""
        return _record(self._call("PUT", f"/tickets/{int(id)}", body=values), "ticket")

    def note(self, id: str, html: str, *, private: bool) -> None:
        """Add a note. Raises Missing."""
        answer = self._call("POST", f"/tickets/{int(id)}/notes", body={"body": html, "private": private})
        answer.part("conversation", dict)

    def conversations(self, id: str) -> list[Record]:
        """Notes and replies of a ticket, oldest first."""
        rows = self._list(f"/tickets/{int(id)}/conversations", "conversations", {})
        return sorted(rows, key=lambda row: (str(row.get("created_at")), int(row.get("id") or 0)))

    def activities(self, id: str) -> list[Record]:
        """Everything that ever happened to a ticket, oldest first; they come newest first, without ids."""
        found: list[Record] = []
        path, token = f"/tickets/{int(id)}/activities", ""
        for _ in range(_MAX_PAGES):
            answer = self._call("GET", path, {"start_token": token} if token else {})
            found += answer.rows("activities")
            after = str(answer.json().get("next_page_url") or "")
            token = after.partition("start_token=")[2].partition("&")[0]
            if not token:
                found.reverse()
                return sorted(found, key=lambda row: str(row.get("created_at")))
        raise Unavailable(f"{self.name}: more than {_MAX_PAGES} pages of activities of ticket {id}")

    # ---- problems ----

    def problems(self) -> list[Record]:
        return self._list("/problems", "problems", {**self._workspace})

    def problem(self, id: str) -> Record | None:
        try:
            found = _record(self._call("GET", f"/problems/{int(id)}"), "problem")
        except Missing:
            return None
        return None if found.get("deleted") else found

    def create_problem(self, values: Record) -> Record:
        return _record(self._call("POST", "/problems", body={**values, **self._workspace}), "problem")

    def update_problem(self, id: str, values: Record) -> Record:
        return _record(self._call("PUT", f"/problems/{int(id)}", body=values), "problem")

    def problem_notes(self, id: str) -> list[Record]:
        return self._list(f"/problems/{int(id)}/notes", "notes", {})

    def note_problem(self, id: str, html: str) -> None:
        self._call("POST", f"/problems/{int(id)}/notes", body={"body": html}).part("note", dict)

    # ---- people and settings ----

    def me(self) -> Record:
        """The agent that we are. Raises Denied where there is none, or we may not look."""
        if self._user.isdigit():
            return self._call("GET", f"/agents/{self._user}").part("agent", dict)
        rows = self._call("GET", "/agents", {"email": self._user}).rows("agents")
        for row in rows:
            if str(row.get("email")).casefold() == self._user.casefold():
                return row
        raise Denied(f"{self.name} has no agent {self._user}", hint="write the address of the agent whose key it is")

    def is_us(self, id: Any) -> bool:
        """Whether an id is that of our agent ``user``. Raises Denied where that cannot be told."""
        if not self._us:
            self._us = int(self._user if self._user.isdigit() else self.me()["id"])
        return bool(id == self._us)

    def person(self, id: int) -> str:
        """Name of an agent or requester, else the id as text; asked once for each."""
        if id not in self._people:
            if len(self._people) >= _MAX_PEOPLE:
                self._people.clear()
            self._people[id] = self._asked_person(id)
        return self._people[id]

    def _asked_person(self, id: int) -> str:
        for path, name in ((f"/agents/{id}", "agent"), (f"/requesters/{id}", "requester")):
            try:
                found: Record = self._call("GET", path).part(name, dict)
            except (Missing, Denied):
                continue
            names = (str(found.get(part) or "") for part in ("first_name", "last_name"))
            return " ".join(filter(None, names)) or str(found.get("email") or id)
        return str(id)

    def groups(self) -> list[Record]:
        return self._list("/groups", "groups", {})

    def ticket_fields(self) -> list[Record]:
        return self._list("/ticket_form_fields", "ticket_fields", {**self._workspace})

    def assets(self, name: str) -> list[Record]:
        """Assets of exactly this name, as far as the index knows."""
        rows = self._call("GET", "/assets", {"search": f"\"name:'{_quoted(name)}'\""}).rows("assets")
        return [row for row in rows if row.get("name") == name]

    # ---- assets ----

    def page(
        self, path: str, name: str, number: int, rows: int = PAGE_ROWS, **params: str
    ) -> tuple[list[Record], bool]:
        """Rows of page ``number``, from 1 on, of a list, and whether another one comes."""
        return self._page(path, name, {**params, **self._workspace}, number, rows)

    def asset_types(self) -> list[Record]:
        return self._list("/asset_types", "asset_types", {})

    def relationship_types(self) -> list[Record]:
        return self._list("/relationship_types", "relationship_types", {})

    def locations(self) -> list[Record]:
        return self._list("/locations", "locations", {})

    def changes(self, since: datetime) -> list[Record]:
        """Change requests that somebody touched since then."""
        return self._list("/changes", "changes", {"updated_since": _time_text(since), **self._workspace})

    def change(self, id: str) -> Record | None:
        """With its assets; None if it is gone."""
        try:
            answer = self._call("GET", f"/changes/{int(id)}", {"include": "assets"})
        except Missing:
            return None
        return answer.part("change", dict)

    # ---- calls ----

    def _list(self, path: str, name: str, params: Mapping[str, str | int]) -> list[Record]:
        found: list[Record] = []
        for page in range(1, _MAX_PAGES + 1):
            rows, more = self._page(path, name, params, page)
            found += rows
            if not more:
                return list({str(row.get("id")): row for row in found}.values())
        raise Unavailable(f"{self.name}: more than {_MAX_PAGES * PAGE_ROWS} {name} at {path}")

    def _page(
        self, path: str, name: str, params: Mapping[str, str | int], page: int, rows: int = PAGE_ROWS
    ) -> tuple[list[Record], bool]:
        """Rows of a page, and whether another one comes."""
        answer = self._call("GET", path, {**params, "page": page, "per_page": rows})
        return answer.rows(name), 'rel="next"' in answer.headers.get("link", "")

    def _call(
        self, method: str, path: str, params: Mapping[str, str | int] | None = None, *, body: Record | None = None
    ) -> "Answer":
        sent, headers = None, {}
        if body is not None:
            sent, headers = json.dumps(body).encode(), {"Content-Type": "application/json"}
        return self._http.request(method, f"/api/v2{path}", params=params, body=sent, headers=headers)


def connect(account: FreshserviceAccount, name: str, place: str, http: Callable[..., "Http"]) -> Freshservice:
    """A client for an account.

    Args:
        name: of the instance, for messages. place: where its settings stand, for messages.
        http: ``connect.http.Http`` or a factory like it.
    Raises ConfigError where the key cannot be read.
    """
    from foreshock.connect.http import Basic

    class _Key(Basic):
        """The key stands where others have the user's name, so it is the secret."""

        def __init__(self, key: str) -> None:
            super().__init__(key, "X")
            self.secrets = (key, self._token)

    made = http(
        f"freshservice {name!r}",
        account.url,
        auth=_Key(read_secret(account.key_file, f"{place}.key_file")),
        ca_file=account.ca_file,
        proxy=account.proxy,
        read_refusal=read_refusal,
        max_body_bytes=_MAX_BODY_BYTES,
    )
    return Freshservice(made, account.user, account.workspace)


def read_refusal(refusal: "Refusal") -> ForeshockError | None:
    """What Freshservice means by an answer that is no 2xx."""
    body = refusal.json()
    said = body if isinstance(body, dict) else {}
    problems = [
        tuple(str(each.get(name) or "") for name in ("field", "code", "message"))
        for each in said.get("errors") or ()
        if isinstance(each, dict)
    ]
    match refusal.status:
        case 401:
            return Denied(
                refusal.message, hint="check key_file: it must hold the API key of an active agent, no password"
            )
        case 403:
            return Denied(
                refusal.message,
                hint="check the role and scope (all tickets) of Foreshock's agent, and what the plan offers",
            )
        case 404 | 405 if any(part.isdigit() for part in refusal.place.split("/")):  # what lies in the trash: 405
            return Missing(refusal.message, hint="it was deleted, is spam, or is hidden from Foreshock's agent")
        case 404:
            return Denied(refusal.message, hint="check url: it is https://NAME.freshservice.com, without a path")
        case 400:
            named = [(field, code, message) for field, code, message in problems]
            return Refused(refusal.message, named, hint=_HINTS.get(named[0][1] if named else "", _HINT))
        case 409:  # somebody was faster; nothing was written
            return Unavailable(refusal.message, retry_after_s=_CONFLICT_S, unsent=True)
        case 429:
            return Unavailable(refusal.message, retry_after_s=refusal.retry_after_s or _LIMITED_S, unsent=True)
    return None


_HINT = "change there what it complains of, or the setting that the value comes from"
_HINTS = {
    "missing_field": "fill the field it names through `fixed` or `resolve_with`, or make it optional there",
    "invalid_field": "create the field it names in the ticket form (a single-line text field, for this workspace)",
    "invalid_value": "correct the setting that the value comes from, or the choices of the field there",
}


def custom(record: Record, field: str) -> str:
    """What stands in a custom field, as text."""
    fields = record.get("custom_fields")
    value = fields.get(field) if isinstance(fields, dict) else None
    return "" if value is None else str(value)


def _time_text(at: datetime) -> str:
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _by_change(rows: Iterable[Record]) -> list[Record]:
    return sorted(rows, key=lambda row: (str(row.get("updated_at")), int(row["id"])))


def _quoted(text: str) -> str:
    """For a search: nothing in it ends the string or the query around it."""
    return text.replace("\\", "\\\\").replace("'", "\\'").replace('"', " ")


def _record(answer: "Answer", name: str) -> Record:
    found: Record = answer.part(name, dict)
    if not {"id", "status", "updated_at"} <= set(found):
        raise Unavailable(f"{answer.place} answered a {name} without id, status and updated_at")
    return found
