"""Roundup's REST interface: one thin client for whatever reads or writes issues there.

Facts: Roundup 2.6.0 with its classic template, observed on a running server; its module rest.py.

What it takes care of: writes need headers that name the tracker's own address; a change needs the ETag that was read; a
retired item is shown as if it were there; a search for text finds what contains it.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from msgspec import Struct
from pydantic import Field, field_validator

from foreshock.connect.auth import CaFile, Proxy, read_secret, web_address
from foreshock.core.contracts import ConnectorConfig
from foreshock.core.errors import Denied, ForeshockError, Missing, Rejected, Unavailable

if TYPE_CHECKING:
    from foreshock.connect.http import Answer, Http, Refusal  # importing it takes a tenth of a second of each start

PAGE_ROWS = 100
MAX_PAGES = 50
_MAX_BODY_BYTES = 8 * 1024 * 1024  # a page of messages holds the whole text of a hundred
_CONFLICT_S = 1.0
_TIME = "%Y-%m-%d.%H:%M:%S"
_NOT_FROM_HERE = "not allowed to use Rest Interface"
_UNKNOWN_PROPERTY = ("is not valid for", "not found in class")


class RoundupAccount(ConnectorConfig):
    """How to reach a tracker, and as whom."""

    url: str = Field(
        description="address of the tracker, exactly as its tracker_web says, https://bugs.example.com/ops"
    )
    user: str = Field(
        description="name of the user that Foreshock works as; it should be Foreshock's alone: what this user does is "
        "not read back"
    )
    password_file: Path = Field(description="file with its password, mode 0600")
    ca_file: CaFile = None
    proxy: Proxy = ""

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        return web_address(url, like="https://bugs.example.com/ops", instead="user and password_file")


class Issue(Struct, frozen=True, kw_only=True):
    """An issue as it is now.

    Attributes:
        etag: what a change of it must name; empty in a list.
        values: its properties as text, links by name (``status``, ``priority``) or user name (``assignedto``).
        messages: ids, oldest first. actor: user name of who changed it last, which ``activity`` dates.
    """

    id: str
    etag: str
    activity: datetime
    actor: str
    values: dict[str, str]
    messages: tuple[str, ...]


class Message(Struct, frozen=True, kw_only=True):
    """One message. author: user name."""

    id: str
    at: datetime
    author: str
    type: str
    text: str


class Roundup:
    """One tracker. Not for several threads at once.

    Attributes:
        listed_at: its own clock when the last list was begun; None where it does not say.
    """

    def __init__(self, http: "Http", url: str, user: str) -> None:
        self.listed_at: datetime | None = None
        self._http = http
        self._user = user
        parts = urlsplit(url)
        # Roundup's guard against forged requests; what a browser would send.
        self._headers = {
            "X-Requested-With": "Foreshock",
            "Origin": f"{parts.scheme}://{parts.netloc}",
            "Referer": f"{url}/",
        }
        self.name = http.instance

    # ---- issues ----

    def issues(
        self, query: Mapping[str, str], properties: Sequence[str], *, sort: str = "id", limit: int = 0
    ) -> list[Issue]:
        """Those that a query finds, ascending; the first ``limit`` of them, or all. Retired ones are not found. Raises
        Denied for an unknown property."""
        fields = ",".join(dict.fromkeys((*_ALWAYS, *properties)))
        rows = self._rows("issue", {**query, "@fields": fields, "@sort": sort, "@verbose": "2"}, limit)
        return [_issue(row, row, "", self.name) for row in rows]

    def issue(self, id: str) -> Issue | None:
        """None if there is none that we may see, or it was retired."""
        id = str(int(id))
        try:
            answer = self._call("GET", f"issue/{id}", {"@verbose": "2", "@protected": "true"})
        except Missing:
            return None
        if not self._rows("issue", {"id": id}):
            return None
        data = answer.part("data", dict)
        return _issue(data, data.get("attributes"), str(data.get("@etag") or ""), self.name)

    def create(self, values: Mapping[str, Any]) -> str:
        """Open an issue; its id."""
        return self._made("issue", values)

    def update(self, id: str, values: Mapping[str, Any], etag: str) -> None:
        """Change an issue that nobody changed since it had this ETag; a list replaces the one that was there. Raises
        Unavailable where somebody was faster."""
        body = {**values, "@op": "replace"}
        self._call("PATCH", f"issue/{int(id)}", json=body, headers={"If-Match": etag})

    # ---- messages ----

    def said(self, messageid: str) -> list[str]:
        """Ids of the messages that were made with this ``messageid``."""
        rows = self._rows("msg", {"messageid:": messageid, "@fields": "messageid"})
        return [str(row["id"]) for row in rows if row.get("messageid") == messageid]

    def say(self, text: str, messageid: str) -> str:
        """Make a message, which no issue shows yet; its id."""
        values = {"content": text, "type": "text/plain", "author": self._user, "messageid": messageid}
        return self._made("msg", values)

    def messages(self, since: datetime) -> list[Message]:
        """All that were made in this second or later, oldest first, of whatever issue."""
        query = {"creation": f"{time_text(since)};", "@fields": "author,creation,content,type", "@verbose": "3"}
        found = []
        for row in self._rows("msg", {**query, "@sort": "id"}):
            at = read_time(str(row.get("creation")))
            if at is not None:
                said = Message(
                    id=str(row["id"]),
                    at=at,
                    author=_name(row.get("author")),
                    type=str(row.get("type") or ""),
                    text=str(row.get("content") or ""),
                )
                found.append(said)
        return found

    # ---- the tracker ----

    def names(self, kind: str, property: str = "name") -> list[str]:
        """Of all items of a class, such as ``status`` and ``priority``."""
        return [str(row.get(property) or "") for row in self._rows(kind, {"@fields": property})]

    # ---- calls ----

    def _made(self, kind: str, values: Mapping[str, Any]) -> str:
        id = str(self._call("POST", kind, json=dict(values)).part("data", dict).get("id") or "")
        if not id.isdigit():
            raise Unavailable(f"{self.name} said it created a {kind}, but not which")
        return id

    def _rows(self, kind: str, query: Mapping[str, str], limit: int = 0) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        size = min(limit or PAGE_ROWS, PAGE_ROWS)
        for page in range(1, MAX_PAGES + 1):
            paging: dict[str, str | int] = {"@page_size": size, "@page_index": page}
            answer = self._call("GET", kind, {**query, **paging})
            self.listed_at = self._http.server_now if page == 1 else self.listed_at
            rows = answer.part("data", dict).get("collection")
            if not isinstance(rows, list) or not all(isinstance(row, dict) and "id" in row for row in rows):
                raise Unavailable(f"{answer.place} answered JSON without a collection")
            found += rows
            if len(rows) < size or (limit and len(found) >= limit):
                return found[: limit or None]
        raise Unavailable(f"{self.name}: more than {MAX_PAGES * PAGE_ROWS} items of {kind} match {dict(query)}")

    def _call(
        self,
        method: str,
        path: str,
        params: Mapping[str, str | int] | None = None,
        *,
        json: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> "Answer":
        sent = {**self._headers, **(headers or {})}
        return self._http.request(method, f"/rest/data/{path}", params=params, json=json, headers=sent)


_ALWAYS = ("activity", "actor", "messages")


def connect(account: RoundupAccount, name: str, place: str, http: Callable[..., "Http"]) -> Roundup:
    """A client for an account.

    Args:
        name: of the instance, for messages. place: where its settings stand, for messages.
        http: ``connect.http.Http`` or a factory like it.
    Raises ConfigError where a secret cannot be read.
    """
    from foreshock.connect.http import Basic

    auth = Basic(account.user, read_secret(account.password_file, f"{place}.password_file"))
    made = http(
        f"roundup {name!r}",
        account.url,
        auth=auth,
        ca_file=account.ca_file,
        proxy=account.proxy,
        read_refusal=read_refusal,
        max_body_bytes=_MAX_BODY_BYTES,
    )
    return Roundup(made, account.url, account.user)


def read_refusal(refusal: "Refusal") -> ForeshockError | None:
    """What Roundup means by an answer that is no 2xx."""
    body = refusal.json()
    error = body.get("error") if isinstance(body, dict) else None
    said = str(error.get("msg") or "") if isinstance(error, dict) else ""
    match refusal.status:
        case 400 if any(words in said for words in _UNKNOWN_PROPERTY):
            return Denied(refusal.message, hint="add the property to the class issue in the tracker's schema.py")
        case 400 if _NOT_FROM_HERE in said:
            return Denied(refusal.message, hint="write url exactly as tracker_web of the tracker's config.ini says")
        case 401:
            return Denied(refusal.message, hint="check user and password_file")
        case 403:
            return Denied(
                refusal.message, hint="give the user a role with Rest Access, and View, Edit and Create of issue"
            )
        case 404 | 410 if isinstance(error, dict):
            return Missing(refusal.message)
        case 404:  # not Roundup's own, which is JSON
            return Denied(refusal.message, hint="check url: the REST interface must answer at /rest/data below it")
        case 409:
            return Rejected(refusal.message)
        case 412:  # somebody was faster; nothing was written
            return Unavailable(refusal.message, retry_after_s=_CONFLICT_S, unsent=True)
    return None


def time_text(moment: datetime) -> str:
    """A time in a query, in UTC."""
    return moment.astimezone(UTC).strftime(_TIME)


def read_time(text: str) -> datetime | None:
    """A time as Roundup writes it (UTC); None where it is none."""
    try:
        return datetime.strptime(text, _TIME).replace(tzinfo=UTC)
    except ValueError:
        return None


def _issue(item: Mapping[str, Any], row: Any, etag: str, name: str) -> Issue:
    at = read_time(str(row.get("activity"))) if isinstance(row, dict) else None
    if at is None:
        raise Unavailable(f"{name} answered an issue without a time of its last change")
    messages = row.get("messages") or ()
    return Issue(
        id=str(item["id"]),
        etag=etag,
        activity=at,
        actor=_name(row.get("actor")),
        values={key: _name(value) for key, value in row.items() if not isinstance(value, list)},
        messages=tuple(sorted((_id(message) for message in messages), key=int)),
    )


def _name(value: Any) -> str:
    """Of a link its name; of anything else its text."""
    if isinstance(value, dict):
        value = value.get("name") or value.get("username") or value.get("id")
    return "" if value is None else str(value)


def _id(value: Any) -> str:
    return str(value.get("id") if isinstance(value, dict) else value)
