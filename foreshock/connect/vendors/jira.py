"""Jira's REST API, Cloud (version 3) and Data Center (version 2): one thin client for the sink, the CMDB source and the
collector.

Facts: Jira Cloud platform OpenAPI v3 (1001.0.0-SNAPSHOT, December 2025); developer.atlassian.com, "Rate limiting" and
    "Basic auth for REST APIs"; Jira Data Center REST API and personal access tokens.

The editions differ in search (pages by token, or by offset), rich text (documents, or wiki markup) and users
(``accountId``, or ``name``). A session that Jira takes for anonymous may see nothing instead of being refused: such an
answer is an error here, for it must not pass for "there is no such issue".
"""

import hmac
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import quote

from pydantic import Field, field_validator, model_validator

from foreshock.connect.auth import CaFile, Proxy, read_secret, web_address
from foreshock.core.contracts import ConnectorConfig, Hook
from foreshock.core.errors import Denied, ForeshockError, Invalid, Missing, Rejected, Unavailable

if TYPE_CHECKING:
    from foreshock.connect.http import Answer, Http, Refusal  # importing it takes a tenth of a second of each start

Json = dict[str, Any]

PAGE = 100
MAX_PAGES = 100
MAX_BODY_BYTES = 4 * 1024 * 1024
"""A Data Center shows the history of an issue only as a whole, old and new text of each edit included."""
LIMITED_S = 10.0
"""A limit without a time: the burst limit counts by the second."""
LOGIN_HEADERS = {"x-seraph-loginreason": ("AUTHENTICATED_FAILED", "AUTHENTICATION_DENIED"), "x-ausername": "anonymous"}
"""Headers of an answer to nobody in particular, with what they say. Source: Jira server, "Seraph" login reasons."""


class JiraAccount(ConnectorConfig):
    """How to reach a site, and as whom."""

    url: str = Field(
        description="address of the site, https://NAME.atlassian.net, or of the Data Center",
        examples=["https://example.atlassian.net"],
    )
    edition: Literal["cloud", "data_center"] = Field(
        default="cloud", description="`cloud`, or `data_center` for Jira on own servers"
    )
    user: str = Field(
        default="",
        description="e-mail address of the account that Foreshock works as (Data Center: its user name, or nothing for "
        "a personal access token); it should be Foreshock's alone: what it does is not read back",
    )
    token_file: Path = Field(
        description="file with its API token (Data Center: personal access token, or with `user` its "
        "password), mode 0600"
    )
    ca_file: CaFile = None
    proxy: Proxy = ""

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        return web_address(url, like="https://example.atlassian.net", instead="user and token_file")

    @model_validator(mode="after")
    def _has_one_way_in(self) -> Self:
        if self.edition == "cloud" and not self.user:
            raise Invalid("Jira Cloud takes an API token only with its user", hint="write the e-mail address as user")
        return self


class Jira:
    """One site. Not for several threads at once.

    Attributes:
        cloud: whether it is Jira Cloud.
    """

    def __init__(self, http: "Http", *, cloud: bool) -> None:
        self.cloud = cloud
        self.name = http.instance
        self._http = http
        self._root = f"/rest/api/{3 if cloud else 2}"

    @property
    def server_now(self) -> datetime | None:
        """Its own clock, by its last answer; None before the first."""
        return self._http.server_now

    # ---- issues ----

    def search(self, jql: str, fields: Sequence[str], *, properties: Sequence[str] = (), limit: int) -> list[Json]:
        """The first ``limit`` issues in the order that ``jql`` asks for; a Data Center leaves ``properties`` out.

        The index behind it lags some seconds behind the issues.
        """
        asked: Json = {"jql": jql, "fields": list(fields), "maxResults": min(limit, PAGE)}
        if self.cloud and properties:
            asked["properties"] = list(properties)
        found: list[Json] = []
        for _ in range(MAX_PAGES):
            answer = self._call("POST", "/search/jql" if self.cloud else "/search", json=asked, safe=True)
            body = _object(answer)
            issues = _list(answer, body, "issues")
            found += issues
            token = body.get("nextPageToken")
            more = token if self.cloud else issues and len(found) < int(body.get("total") or 0)
            if not more or len(found) >= limit:
                return found[:limit]
            asked |= {"nextPageToken": token} if self.cloud else {"startAt": len(found)}
        raise Unavailable(f"{self.name}: a search for {jql!r} does not end after {MAX_PAGES} pages")

    def issue(self, id: str, fields: Sequence[str], properties: Sequence[str] = ()) -> Json | None:
        """One issue by id or key; None if there is none that we may see."""
        params = {"fields": ",".join(fields)} | ({"properties": ",".join(properties)} if properties else {})
        try:
            return _object(self._call("GET", f"/issue/{quote(id, safe='')}", params))
        except Missing:
            return None

    def create(self, body: Json) -> Json:
        """Create an issue; its id and key."""
        answer = self._call("POST", "/issue", json=body)
        made = _object(answer)
        if not isinstance(made.get("id"), str) or not isinstance(made.get("key"), str):
            raise Unavailable(f"{answer.place} answered no id of the new issue")
        return made

    def update(self, id: str, body: Json) -> None:
        """Change fields and properties of an issue. Raises Missing."""
        _done(self._call("PUT", f"/issue/{quote(id, safe='')}", json=body))

    def transitions(self, id: str) -> list[Json]:
        """Where the issue can go from here, each with ``to`` and the ``fields`` of its screen."""
        answer = self._call("GET", f"/issue/{quote(id, safe='')}/transitions", {"expand": "transitions.fields"})
        return _list(answer, _object(answer), "transitions")

    def transition(self, id: str, body: Json) -> None:
        _done(self._call("POST", f"/issue/{quote(id, safe='')}/transitions", json=body))

    def comments(self, id: str) -> list[Json]:
        """The newest hundred comments of an issue, newest first."""
        params: dict[str, str | int] = {"orderBy": "-created", "maxResults": PAGE}
        answer = self._call("GET", f"/issue/{quote(id, safe='')}/comment", params)
        return _list(answer, _object(answer), "comments")

    def comment(self, id: str, body: Json) -> None:
        _object(self._call("POST", f"/issue/{quote(id, safe='')}/comment", json=body))

    def property(self, id: str, key: str) -> Any:
        """The value of an issue's property; None if it has none."""
        try:
            return _object(self._call("GET", f"/issue/{quote(id, safe='')}/properties/{quote(key, safe='')}"))["value"]
        except Missing:
            return None

    def history(self, ids: Sequence[str], fields: Sequence[str]) -> dict[str, list[Json]]:
        """Changes of these fields by issue id, each with ``created`` (see ``read_time``), ``author`` and ``items``."""
        if not self.cloud:
            return {id: self._history_of(id) for id in ids}
        found: dict[str, list[Json]] = {id: [] for id in ids}
        for first in range(0, len(ids), PAGE):
            asked: Json = {"issueIdsOrKeys": list(ids[first : first + PAGE]), "fieldIds": list(fields)}
            for _ in range(MAX_PAGES):
                answer = self._call("POST", "/changelog/bulkfetch", json=asked, safe=True)
                body = _object(answer)
                for part in _list(answer, body, "issueChangeLogs"):
                    found.setdefault(str(part.get("issueId")), []).extend(part.get("changeHistories") or ())
                if not body.get("nextPageToken"):
                    break
                asked["nextPageToken"] = body["nextPageToken"]
        return found

    def _history_of(self, id: str) -> list[Json]:
        try:
            params = {"fields": "status", "expand": "changelog"}
            body = _object(self._call("GET", f"/issue/{quote(id, safe='')}", params))
        except Missing:
            return []
        return list((body.get("changelog") or {}).get("histories") or ())

    def link(self, type: str, inward: str, outward: str) -> None:
        """``inward`` <outward phrase of the type> ``outward``, for example "PRB-1 causes OPS-7"; again is harmless."""
        body = {"type": {"name": type}, "inwardIssue": {"key": inward}, "outwardIssue": {"key": outward}}
        _done(self._call("POST", "/issueLink", json=body))

    # ---- what the site is made of ----

    def myself(self) -> Json:
        return _object(self._call("GET", "/myself"))

    def fields(self) -> list[Json]:
        """All fields, with ``id`` and ``name``."""
        answer = self._call("GET", "/field")
        return _rows(answer, answer.json())

    def assets_workspace(self) -> str:
        """Id of the workspace that holds the site's Assets. Raises Denied where there is none for us."""
        answer = self._http.get("/rest/servicedeskapi/assets/workspace")
        rows = _list(answer, _object(answer), "values")
        if not rows:
            raise Denied(
                f"{answer.place} names no workspace",
                hint="Assets needs Premium or Enterprise of Jira Service Management, and an account with a licence",
            )
        return str(rows[0].get("workspaceId"))

    def statuses(self) -> dict[str, tuple[str, str]]:
        """(name, key of its category) by id: the category is new, indeterminate or done."""
        answer = self._call("GET", "/status")
        return {
            str(each["id"]): (str(each["name"]), str((each.get("statusCategory") or {}).get("key") or ""))
            for each in _rows(answer, answer.json())
        }

    def statuses_of(self, project: str, type: str) -> list[Json]:
        """Statuses that issues of a type can have in a project. Raises Missing."""
        answer = self._call("GET", f"/project/{quote(project, safe='')}/statuses")
        return [
            s for each in _rows(answer, answer.json()) if each.get("name") == type for s in each.get("statuses") or ()
        ]

    def link_types(self) -> list[Json]:
        answer = self._call("GET", "/issueLinkType")
        return _list(answer, _object(answer), "issueLinkTypes")

    def permissions(self, project: str, names: Sequence[str]) -> dict[str, bool]:
        """Which of these permissions the account has in a project."""
        params = {"projectKey": project} | ({"permissions": ",".join(names)} if self.cloud else {})
        known = _object(self._call("GET", "/mypermissions", params)).get("permissions") or {}
        return {name: bool((known.get(name) or {}).get("havePermission")) for name in names}

    def create_fields(self, project: str, type: str) -> dict[str, Json] | None:
        """Fields of the create screen by id, with ``required`` and ``allowedValues``; None where the project has no
        such type for us. Raises Missing where there is no such project for us."""
        path = f"/issue/createmeta/{quote(project, safe='')}/issuetypes"
        for each in self._listed(path, "issueTypes"):
            if each.get("name") == type:
                fields = self._listed(f"{path}/{quote(str(each['id']), safe='')}", "fields")
                return {str(field.get("fieldId")): field for field in fields}
        return None

    def _listed(self, path: str, name: str) -> Iterator[Json]:
        """A list by offset; a Data Center calls it ``values``."""
        start = 0
        for _ in range(MAX_PAGES):
            answer = self._call("GET", path, {"startAt": start, "maxResults": PAGE})
            body = _object(answer)
            rows = _list(answer, body, name if name in body else "values")
            yield from rows
            start += len(rows)
            if not rows or start >= int(body.get("total") or 0):
                return

    def _call(
        self,
        method: str,
        path: str,
        params: Mapping[str, str | int] | None = None,
        json: Any = None,
        safe: bool | None = None,
    ) -> "Answer":
        answer = self._http.request(method, self._root + path, params=params, json=json, safe=safe)
        for header, said in LOGIN_HEADERS.items():
            if (seen := answer.headers.get(header, "")) and seen in said:
                raise Denied(f"{answer.place} took us for anonymous ({header}: {seen})", hint=_LOGIN_HINT)
        return answer


def connect(account: JiraAccount, name: str, place: str, http: Callable[..., "Http"]) -> Jira:
    """A client for an account.

    Args:
        name: of the instance, for messages. place: where its settings stand, for messages.
        http: ``connect.http.Http`` or a factory like it.
    Raises ConfigError where a secret cannot be read.
    """
    from foreshock.connect.http import Basic, Bearer

    token = read_secret(account.token_file, f"{place}.token_file")
    made = http(
        f"jira {name!r}",
        account.url,
        auth=Basic(account.user, token) if account.user else Bearer(token),
        ca_file=account.ca_file,
        proxy=account.proxy,
        read_refusal=read_refusal,
        max_body_bytes=MAX_BODY_BYTES,
    )
    return Jira(made, cloud=account.edition == "cloud")


_LOGIN_HINT = (
    "check user and token, that the token has not expired, and that no login by page with a CAPTCHA is asked of it"
)
_NO_SUCH_VALUE = "does not exist for the field 'project'"
_SCREEN_HINT = "check the project's create and edit screens and required fields, and `fixed` of this sink"


def read_refusal(refusal: "Refusal") -> ForeshockError | None:
    """What Jira means by an answer that is no 2xx."""
    body = refusal.json()
    said = body.get("errorMessages") if isinstance(body, dict) else None
    text = " ".join(map(str, said)) if isinstance(said, list) else ""
    match refusal.status:
        case 401:
            return Denied(refusal.message, hint=_LOGIN_HINT)
        case 403:
            return Denied(
                refusal.message, hint="give the account the permission in that project (`foreshock sink test`)"
            )
        case 400 if _NO_SUCH_VALUE in text:
            return Denied(refusal.message, hint="check `project`, and that the account may browse it")
        case 400 | 413 | 422:
            return Rejected(refusal.message, hint=_SCREEN_HINT)
        case 404 if "/search" in refusal.place:
            return Denied(refusal.message, hint="there is no Jira at this address: check `url` and `edition`")
        case 404:
            return Missing(refusal.message)
        case 409:
            return Unavailable(refusal.message, hint="somebody changed the issue in the same moment")
        case 410:
            return Denied(refusal.message, hint="this is Jira Cloud: set edition: cloud")
        case 429:
            wait_s = refusal.retry_after_s or _until_reset(refusal.headers) or LIMITED_S
            return Unavailable(refusal.message, retry_after_s=wait_s, unsent=True)
    return None


def _sent_at(headers: Mapping[str, str], body: bytes) -> datetime | None:
    """Nothing but the body is signed; it says when the event happened."""
    try:
        said = json.loads(body)
    except ValueError:
        return None
    return read_time(said.get("timestamp")) if isinstance(said, dict) else None


HOOK = Hook(
    header="x-hub-signature",
    proof=lambda secret, headers, body: f"sha256={hmac.digest(secret.encode(), body, 'sha256').hex()}",
    sent_at=_sent_at,
    max_age=timedelta(hours=1),
)
"""Source: developer.atlassian.com, Webhooks: secured by a secret; delivered up to 15 minutes late, and tried again."""


def _until_reset(headers: Mapping[str, str]) -> float | None:
    """Seconds until the limit is lifted, by the server's own clock."""
    try:
        now = parsedate_to_datetime(headers.get("date", "")).astimezone(UTC)
        wait_s = (datetime.fromisoformat(headers.get("x-ratelimit-reset", "")) - now).total_seconds()
    except (TypeError, ValueError):
        return None
    return wait_s if 0 < wait_s <= 3600 else None


def since(start: datetime, now: datetime) -> str:
    """``start`` for JQL: minutes before now, for a date there would be one of the account's time zone."""
    return f"-{max(0, math.ceil((now - start).total_seconds() / 60)) + 1}m"


def read_time(value: Any) -> datetime | None:
    """A time as Jira writes it (``2026-11-22T10:00:00.000+0000``; histories read in bulk also as a number since 1970);
    None where it is empty or none."""
    try:
        if isinstance(value, int):
            return datetime.fromtimestamp(value / (1000 if value > _SECONDS else 1), UTC)
        return datetime.strptime(str(value), "%Y-%m-%dT%H:%M:%S.%f%z").astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None


_SECONDS = 10**11  # a greater number counts milliseconds


def identity(user: Any) -> str:
    """What tells one user from another, empty for none: ``accountId``, on a Data Center the user name."""
    return str(user.get("accountId") or user.get("name") or user.get("key") or "") if isinstance(user, dict) else ""


def identities(user: Json) -> frozenset[str]:
    """All names by which a user may be called in histories; a Data Center uses the key there."""
    return frozenset(str(user[name]) for name in ("accountId", "name", "key") if user.get(name))


def called(user: Any) -> str:
    """A user's name for people."""
    return str(user.get("displayName") or identity(user)) if isinstance(user, dict) else ""


def _object(answer: "Answer") -> Json:
    body = answer.json()
    if not isinstance(body, dict):
        raise Unavailable(
            f"{answer.place} answered JSON that is no object", hint="check that the address is a Jira site"
        )
    return body


def _done(answer: "Answer") -> None:
    """A success has no body, or one in JSON: a page of a proxy does not say that anything was done."""
    if answer.body.strip():
        answer.json()


def _list(answer: "Answer", body: Json, name: str) -> list[Json]:
    if name not in body:
        raise Unavailable(f"{answer.place} answered JSON without {name}", hint="check that the address is a Jira site")
    return _rows(answer, body[name])


def _rows(answer: "Answer", rows: Any) -> list[Json]:
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Unavailable(f"{answer.place} answered something else than a list of objects")
    return rows
