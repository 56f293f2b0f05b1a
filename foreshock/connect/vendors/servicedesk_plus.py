"""ManageEngine ServiceDesk Plus, API v3, cloud and on-premises: one thin client for whatever reads or writes there.

Facts: manageengine.com, "ServiceDesk Plus Cloud API v3" and "ServiceDesk Plus on-premises API v3" (request, request
    note, problem, search criteria, OAuth 2.0, API format changes of build 15200); help.zoho.com, "Tokens and
    limitations"; read 2026-11-22.

What it takes care of: every call carries one parameter ``input_data`` with JSON in it; whether a call succeeded is said
by ``response_status`` in the body, over the HTTP status; a list shows few fields unless more are asked for, and a
condition on a field that is not there is ignored, so each row is checked against the search again; Zoho answers 200
where it gives no token.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Self
from urllib.parse import quote, urlencode, urlsplit

from msgspec import Struct
from pydantic import Field, field_validator, model_validator

from foreshock.connect.auth import OAuth, TokenRefused, read_secret, web_address
from foreshock.connect.markup import line
from foreshock.core.contracts import ConnectorConfig
from foreshock.core.errors import Denied, ForeshockError, Invalid, Missing, Rejected, Unavailable

if TYPE_CHECKING:
    from foreshock.connect.http import Answer, Http, Refusal  # importing it takes a tenth of a second of each start

Record = Mapping[str, Any]
"""A request, problem or note as the API shows it: references are objects with id and name, times objects with value."""

ACCEPT = "application/vnd.manageengine.sdp.v3+json"
PAGE_ROWS = 100
"""The most a list gives at once (list_info)."""
MAX_PAGES = 50
LIMITED_S = 60.0
"""UNVERIFIED: no Retry-After is documented; the cloud counts by the minute and address, and locks it for minutes."""
ACCOUNTS = {
    "sdpondemand.manageengine.com": "https://accounts.zoho.com",
    "sdpondemand.manageengine.eu": "https://accounts.zoho.eu",
    "sdpondemand.manageengine.in": "https://accounts.zoho.in",
    "servicedeskplus.net.au": "https://accounts.zoho.com.au",
    "servicedeskplus.cn": "https://accounts.zoho.com.cn",
}
"""Where each data centre gives its tokens: those of another one are refused (ServiceDesk Plus Cloud API, OAuth 2.0)."""
NOTE = {"cloud": "request_note", "on_premises": "note"}
"""Under which name a note of a request is sent (request note); it may come back under either."""
HISTORY = "history"
"""UNVERIFIED: ``/requests/{id}/history`` is used by clients, the guides do not describe it. Each row has id, operation,
time, by and diff, a list of {field, previous_value, current_value}. Where it is missing, ``Missing`` says so."""
LINK_PROBLEM = "request_problem_association"
"""UNVERIFIED: under which name a request takes its problem, and link_requests its requests. Source: what the clients
ZohoSDPlusAPI 0.1.6 (for this one) and several PowerShell modules send."""
KNOWN_ERROR = ("workaround", "root_cause")
"""Parts of a problem's analysis that help with the next incident, the better one first. UNVERIFIED: paths and the field
``description`` are those of the guide's root_cause and symptoms, as the client ZohoSDPlusAPI 0.1.6 uses them."""


class CmdbPaths(Struct, frozen=True):
    """Where an edition has its CMDB: types of CIs, the CIs of a type, the relationships of a CI; and how the last are
    called in answers."""

    types: str
    cis: str
    relations: str
    relations_name: str


CMDB = {
    "cloud": CmdbPaths(
        "/cmdb/ci_types", "/cmdb/{type}", "/cmdb/{type}/{id}/ci_relationships", relations_name="ci_relationships"
    ),
    "on_premises": CmdbPaths(
        "/ci_types", "/{type}", "/{type}/{id}/assoc_ci_relationships", relations_name="assoc_ci_relationships"
    ),
}
"""CIs and relationships of the cloud: its guide. UNVERIFIED: the list of types there; all of on-premises, which is as
open connectors call builds from 15100 on (their swagger files, read 2026-11-22)."""
CI_FIELDS = (
    *("id", "name", "description", "ci_type", "ci_attributes", "created_time", "last_updated_time", "linked_entity"),
    "linked_instance",
)
"""What is asked of a list of CIs in the cloud. On-premises a CI shows its attributes beside its name."""
CI_SORT = "id"
"""UNVERIFIED: that CIs can be sorted by it, as requests can. A list in another order is refused."""
_MAX_BODY_BYTES = 4 * 1024 * 1024
_SUCCESS = 2000
_INVALID, _FORBIDDEN, _INTERNAL, _NOT_FOUND = 4001, 4002, 4004, 4007
_MANDATORY, _LIMITED, _BAD_KEY, _LICENCE = 4012, 4015, 4022, 7001


class Refused(Rejected):
    """The system refused what was written. codes: of its messages. fields: that they are about, in its own words."""

    def __init__(self, message: str, *, hint: str = "", codes: Sequence[int] = (), fields: Sequence[str] = ()) -> None:
        super().__init__(message, hint=hint)
        self.codes = tuple(codes)
        self.fields = tuple(fields)


class Ignored(Denied):
    """A condition of a search was ignored, as happens for a field that is not there: its answer means nothing."""


class ServiceDeskPlusAccount(ConnectorConfig):
    """How to reach a ServiceDesk Plus, and as whom."""

    url: str = Field(
        description="address: https://sdpondemand.manageengine.com (.eu, .in …), your own domain, or the server's",
        examples=["https://sdpondemand.manageengine.com"],
    )
    edition: Literal["cloud", "on_premises"] = Field(
        default="cloud", description="`cloud`, or `on_premises` for ServiceDesk Plus on own servers"
    )
    portal: str = Field(
        default="", pattern=r"^[\w.-]*$", description="cloud: name of the portal, as in …/app/NAME/; empty for none"
    )
    user: str = Field(
        min_length=1,
        description="e-mail address or name of the technician that Foreshock works as; it should be Foreshock's alone: "
        "what this technician does is not read back",
        examples=["foreshock@example.com"],
    )
    technician_key_file: Path | None = Field(
        default=None, description="on_premises: file with the technician's API key, mode 0600"
    )
    client_id: str = Field(default="", description="cloud: id of the client registered in Zoho's API console")
    client_secret_file: Path | None = Field(default=None, description="cloud: file with its secret, mode 0600")
    refresh_token_file: Path | None = Field(
        default=None, description="cloud: file with the refresh token made for it, mode 0600"
    )
    accounts_url: str = Field(
        default="",
        description="cloud: where Zoho gives tokens, such as https://accounts.zoho.eu; follows from `url` unless that "
        "is a domain of your own",
    )
    ca_file: Path | None = Field(default=None, description="authorities to trust instead of the public ones, PEM")
    proxy: str = Field(default="", description="address of an HTTP proxy")

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        address = web_address(url, like="https://sdpondemand.manageengine.com", instead="the other settings")
        if "/app/" in address or address.endswith("/api/v3"):
            raise Invalid(f"{url!r} is more than the address", hint="write scheme and host, and the portal as `portal`")
        return address

    @field_validator("accounts_url")
    @classmethod
    def _is_an_address_too(cls, url: str) -> str:
        return web_address(url, like="https://accounts.zoho.com", instead="client_id and files") if url else ""

    @model_validator(mode="after")
    def _has_one_way_in(self) -> Self:
        cloud = {
            "client_id": self.client_id,
            "client_secret_file": self.client_secret_file,
            "refresh_token_file": self.refresh_token_file,
        }
        if self.edition == "on_premises":
            if self.technician_key_file is None:
                raise Invalid("it has no credentials", hint="name technician_key_file")
            if any(cloud.values()) or self.portal or self.accounts_url:
                raise Invalid("settings of the cloud stand beside on_premises", hint="keep those of one edition")
            return self
        missing = [name for name, value in cloud.items() if not value]
        if missing:
            raise Invalid(f"it has no {missing[0]}", hint="the cloud takes client_id, secret and refresh token")
        if self.technician_key_file is not None:
            raise Invalid("technician_key_file stands beside the cloud", hint="drop it, or set edition: on_premises")
        if not self.accounts_url and urlsplit(self.url).hostname not in ACCOUNTS:
            raise Invalid(
                f"nobody knows where {self.url} gets its tokens",
                hint="write accounts_url, such as https://accounts.zoho.eu for the data centre in Europe",
            )
        return self


class Term(Struct, frozen=True):
    """One condition of a search, all of which must hold. Conditions: is, starts with, greater or equal, greater than,
    lesser than.

    Times are compared as milliseconds since 1970. Source: search criteria (API v3).
    """

    field: str
    condition: str
    value: str

    def holds(self, row: Record) -> bool:
        """Whether a row is as asked; without case, as databases compare."""
        found, value = shown(row, self.field).casefold(), self.value.casefold()
        match self.condition:
            case "is":
                return found == value
            case "starts with":
                return found.startswith(value)
            case "greater or equal":
                return bool(found) and int(found) >= int(value)
            case "greater than":
                return bool(found) and int(found) > int(value)
            case "lesser than":
                return bool(found) and int(found) < int(value)
        raise AssertionError(f"{self.condition} is no condition that is checked")


class ServiceDeskPlus:
    """One ServiceDesk Plus. Not for several threads at once.

    Attributes:
        server_now: its own clock, by its last answer; None before the first.
    """

    def __init__(self, http: "Http", oauth: OAuth | None, edition: str) -> None:
        self.server_now: datetime | None = None
        self.name = http.instance
        self._http = http
        self._oauth = oauth
        self._edition = edition

    # ---- requests and problems ----

    def search(
        self, kind: str, terms: Sequence[Term], fields: Sequence[str], *, sort: str = "id", start: int = 1
    ) -> tuple[list[Record], bool]:
        """A page of the records that meet every term, ascending by ``sort``, and whether there is more.

        Args:
            kind: ``requests``, ``problems`` or ``changes``. fields: that the rows need besides those of the terms.
            start: number of the first row, from 1.
        Raises: Ignored.
        """
        needed = list(dict.fromkeys(["id", *fields, *(term.field.partition(".")[0] for term in terms)]))
        asked = {
            "row_count": PAGE_ROWS,
            "start_index": start,
            "sort_field": sort,
            "sort_order": "asc",
            "fields_required": needed,
            "search_criteria": [
                {"field": term.field, "condition": term.condition, "value": term.value, "logical_operator": "AND"}
                for term in terms
            ],
        }
        rows, more = self._list(f"/{kind}", kind, asked)
        asked_at = self.server_now
        found = [whole for row in rows if (whole := self._whole(kind, row, needed)) is not None]
        self.server_now = asked_at  # what was updated after the list is not in it
        for row in found:
            broken = next((term for term in terms if not term.holds(row)), None)
            if broken is not None:
                raise Ignored(
                    f"{self.name} ignored the condition on {broken.field!r} and answered {kind} that do not meet it",
                    hint=f"check that the field exists for {kind} and that this technician may see it",
                )
        return found, more

    def _whole(self, kind: str, row: Record, needed: Sequence[str]) -> Record | None:
        """A row with all fields: what a list leaves out is in the record itself. None if that is gone."""
        return row if all(name in row for name in needed) else self.record(kind, str(row.get("id") or 0))

    def record(self, kind: str, id: str) -> Record | None:
        """None if there is none that we may see, or it lies in the trash."""
        try:
            found = self._object("GET", f"/{kind}/{int(id)}", _one(kind))
        except Missing:
            return None
        except TokenRefused:
            raise
        except Denied:
            self._list(f"/{kind}", kind, {"row_count": 1})  # one hidden record must not look like a lost permission
            return None
        except Refused as error:  # some builds call an unknown id an invalid one
            if _INVALID in error.codes:
                return None
            raise
        return None if found.get("is_trashed") else found

    def create(self, kind: str, values: Record) -> Record:
        return self._object("POST", f"/{kind}", _one(kind), {_one(kind): values})

    def update(self, kind: str, id: str, values: Record) -> Record:
        """As it is afterwards. Raises Missing."""
        return self._object("PUT", f"/{kind}/{int(id)}", _one(kind), {_one(kind): values})

    def notes(self, kind: str, id: str) -> list[Record]:
        """All of them, in no certain order."""
        found: list[Record] = []
        for page in range(MAX_PAGES):
            rows, more = self._list(f"/{kind}/{int(id)}/notes", "notes", _page(page))
            found += rows
            if not more:
                return found
        raise Unavailable(f"{self.name}: more than {MAX_PAGES * PAGE_ROWS} notes at {kind} {id}")

    def add_note(self, kind: str, id: str, html: str, *, public: bool) -> None:
        name = NOTE[self._edition] if kind == "requests" else "note"
        values: dict[str, Any] = {"description": html}
        if kind == "requests":
            quiet = ("mark_first_response", "notify_technician", "add_to_linked_requests")
            values |= {"show_to_requester": public, **dict.fromkeys(quiet, False)}
        self._call("POST", f"/{kind}/{int(id)}/notes", {name: values})

    def resolve(self, id: str, html: str) -> None:
        """Write the resolution of a request, over one that is there."""
        self._call("POST", f"/requests/{int(id)}/resolutions", {"resolution": {"content": html}})

    def history(self, id: str) -> list[Record]:
        """Everything that happened to a request. Raises Missing where there is no such list (see HISTORY)."""
        found: list[Record] = []
        for page in range(MAX_PAGES):
            rows, more = self._list(f"/requests/{int(id)}/{HISTORY}", HISTORY, _page(page))
            found += rows
            if not more:
                return found
        raise Unavailable(f"{self.name}: the history of request {id} does not end")

    def analysis(self, id: str, part: str) -> str:
        """What people wrote of a problem, as HTML: ``workaround``, ``root_cause`` …; empty where they did not."""
        try:
            found = self._call("GET", f"/problems/{int(id)}/{part}").get(part)
        except (Missing, Refused):
            return ""
        return shown(found, "description") if isinstance(found, dict) else ""

    # ---- links ----

    def problem_of(self, id: str) -> str:
        """Id of the problem that a request is linked to; empty if it is to none."""
        try:
            answer = self._call("GET", f"/requests/{int(id)}/problem")
        except Missing:
            return ""
        part = answer.get(LINK_PROBLEM)
        problem = (part if isinstance(part, dict) else answer).get("problem")
        return str(problem.get("id") or "") if isinstance(problem, dict) else ""

    def link_problem(self, id: str, problem: str) -> None:
        self._call("POST", f"/requests/{int(id)}/problem", {LINK_PROBLEM: {"problem": {"id": problem}}})

    def linked(self, id: str) -> set[str]:
        """Ids of the requests that a request is linked to."""
        rows, _ = self._list(f"/requests/{int(id)}/link_requests", "link_requests", _page(0))
        pairs = (row.get("linked_request") for row in rows)
        return {str(each.get("id")) for each in pairs if isinstance(each, dict)}

    def link(self, id: str, other: str) -> None:
        self._call("POST", f"/requests/{int(id)}/link_requests", {"link_requests": [{"linked_request": {"id": other}}]})

    # ---- configuration items ----

    def ci_types(self) -> list[Record]:
        """All types of CIs. Raises Missing where this build has no such list."""
        found: list[Record] = []
        for page in range(MAX_PAGES):
            rows, more = self._list(CMDB[self._edition].types, "ci_types", _page(page))
            found += rows
            if not more:
                return found
        raise Unavailable(f"{self.name}: more than {MAX_PAGES * PAGE_ROWS} types of CIs")

    def cis(
        self, type: str, start: int, rows: int = PAGE_ROWS, *, since: datetime | None = None
    ) -> tuple[list[Record], bool]:
        """CIs of a type by their ids from number ``start`` on, counted from 1, and whether there are more.

        Args:
            since: only what was changed after it; a server that ignores that answers all.
        Raises: Missing.
        """
        asked: dict[str, Any] = {"row_count": rows, "start_index": start, "sort_field": CI_SORT, "sort_order": "asc"}
        if self._edition == "cloud":
            asked["fields_required"] = CI_FIELDS
        if since is not None:
            changed = {"field": "last_updated_time", "condition": "greater than", "value": milliseconds(since)}
            asked["search_criteria"] = [changed]
        return self._list(CMDB[self._edition].cis.format(type=quote(type)), type, asked, loosely=True)

    def ci(self, type: str, id: str) -> Record | None:
        """None if it is gone."""
        path = f"{CMDB[self._edition].cis.format(type=quote(type))}/{int(id)}"
        try:
            body = self._call("GET", path)
        except Missing:
            return None
        except Refused as error:  # some builds call an unknown id an invalid one
            if _INVALID in error.codes:
                return None
            raise
        found = [each for name, each in body.items() if name != "response_status" and isinstance(each, dict)]
        if not found:
            raise self._odd(path, "a CI")
        return found[0]

    def relations(self, type: str, id: str, start: int) -> tuple[list[Record], bool]:
        """Relationships of a CI from number ``start`` on, and whether there are more; none where the CI is gone. Raises
        Denied where it is there and its relationships are not."""
        paths = CMDB[self._edition]
        path = paths.relations.format(type=quote(type), id=int(id))
        try:
            asked = {"row_count": PAGE_ROWS, "start_index": start}
            return self._list(path, paths.relations_name, asked, loosely=True)
        except (Missing, Refused) as error:
            if isinstance(error, Refused) and _INVALID not in error.codes:
                raise
            if self.ci(type, id) is None:
                return [], False
            raise Denied(str(error), hint="relationships of CIs can be read since build 15100") from None

    # ---- settings ----

    def named(self, table: str) -> list[Record]:
        """What a table of settings holds: ``priorities``, ``urgencies``, ``impacts``, ``statuses``, ``technicians``.
        Raises Missing where this build has no such list."""
        found: list[Record] = []
        for page in range(MAX_PAGES):
            rows, more = self._list(f"/{table}", table, _page(page))
            found += rows
            if not more:
                break
        return found

    # ---- calls ----

    def _list(self, path: str, name: str, asked: Record, *, loosely: bool = False) -> tuple[list[Record], bool]:
        """loosely: whether the list may have another name, where it is the only one."""
        body = self._call("GET", path, {"list_info": asked})
        rows = body.get(name, _only_list(body) if loosely else None)
        if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
            raise self._odd(path, f"{name!r}, a list of records")
        info = body.get("list_info")
        return rows, bool(rows) and isinstance(info, dict) and bool(info.get("has_more_rows"))

    def _object(self, method: str, path: str, name: str, sent: Record | None = None) -> Record:
        found = self._call(method, path, sent).get(name)
        if not isinstance(found, dict) or not found.get("id") or not isinstance(found.get("status"), dict):
            raise self._odd(path, f"{name!r} with id and status")
        return found

    def _call(self, method: str, path: str, sent: Record | None = None) -> Record:
        """The body of an answer that says success."""
        given = {} if sent is None else {"input_data": json.dumps(sent, separators=(",", ":"))}
        try:
            answer = self._send(method, path, given)
        except TokenRefused:
            if self._oauth is None:
                raise
            self._oauth.drop()
            answer = self._send(method, path, given)
        body = answer.json()
        if not isinstance(body, dict) or "response_status" not in body:
            raise self._odd(path, "'response_status'")
        refused = meaning(200, body, answer.place)
        if refused is not None:
            raise refused
        return body

    def _send(self, method: str, path: str, given: Mapping[str, str]) -> "Answer":
        if method == "GET":
            answer = self._http.request(method, path, params=given, headers={"Accept": ACCEPT})
        else:
            headers = {"Accept": ACCEPT, "Content-Type": "application/x-www-form-urlencoded"}
            answer = self._http.request(method, path, body=urlencode(given).encode(), headers=headers)
        try:
            self.server_now = parsedate_to_datetime(answer.headers.get("date", "")).astimezone(UTC)
        except (TypeError, ValueError):
            self.server_now = None
        return answer

    def _odd(self, path: str, missing: str) -> Unavailable:
        return Unavailable(
            f"{self.name} at {path} answered JSON without {missing}",
            hint="check that url and portal lead to a ServiceDesk Plus",
        )


def connect(account: ServiceDeskPlusAccount, name: str, place: str, http: Callable[..., "Http"]) -> ServiceDeskPlus:
    """A client for an account.

    Args:
        name: of the instance, for messages. place: where its settings stand, for messages.
        http: ``connect.http.Http`` or a factory like it.
    Raises ConfigError where a secret cannot be read.
    """
    from foreshock.connect.http import KeyHeader

    instance = f"servicedesk_plus {name!r}"
    reach: dict[str, Any] = {"ca_file": account.ca_file, "proxy": account.proxy, "read_refusal": read_refusal}
    portal = f"/app/{account.portal}" if account.portal else ""
    base = f"{account.url}{portal}/api/v3"
    reach["max_body_bytes"] = _MAX_BODY_BYTES
    if account.technician_key_file is not None:
        key = KeyHeader("authtoken", read_secret(account.technician_key_file, f"{place}.technician_key_file"))
        return ServiceDeskPlus(http(instance, base, auth=key, **reach), None, account.edition)
    assert account.client_secret_file is not None
    assert account.refresh_token_file is not None
    secret = read_secret(account.client_secret_file, f"{place}.client_secret_file")
    refresh = read_secret(account.refresh_token_file, f"{place}.refresh_token_file")
    form = {
        "grant_type": "refresh_token",
        "client_id": account.client_id,
        "client_secret": secret,
        "refresh_token": refresh,
    }
    accounts = account.accounts_url or ACCOUNTS[urlsplit(account.url).hostname or ""]
    tokens = http(instance, accounts, secrets=(secret, refresh), **reach)
    oauth = OAuth(tokens, "/oauth/v2/token", form, (secret, refresh), scheme="Zoho-oauthtoken")
    return ServiceDeskPlus(http(instance, base, auth=oauth, **reach), oauth, account.edition)


def read_refusal(refusal: "Refusal") -> ForeshockError | None:
    """What ServiceDesk Plus means by an answer that is no 2xx."""
    body = refusal.json()
    if isinstance(body, dict) and "response_status" in body:
        return meaning(refusal.status, body, refusal.place, refusal.retry_after_s)
    is_cut = body is None and refusal.body.lstrip().startswith(b"{")  # so it is not known what was refused
    match refusal.status:
        case 400 | 403 | 404 if is_cut:
            return Unavailable(refusal.message, unsent=True)
        case 401:
            return TokenRefused(refusal.message, hint=_CREDENTIALS)
        case 404:
            return Denied(refusal.message, hint="check url and portal: this is no ServiceDesk Plus API")
        case 429:
            return Unavailable(refusal.message, retry_after_s=refusal.retry_after_s or LIMITED_S, unsent=True)
    return None


_CREDENTIALS = "check the technician key, or client_id, secret and refresh token, and that they are of this data centre"
_HINTS = {
    _INVALID: "choose a value that this ServiceDesk Plus has, in the settings of this sink",
    _MANDATORY: "fill the field it names through `fixed`, or for the end of a request through `closing`",
}


def meaning(status: int, body: Record, place: str, retry_after_s: float | None = None) -> ForeshockError | None:
    """What ``response_status`` of a body says: None for success.

    It is a list in lists and an object elsewhere, and counts over the HTTP status, which differs between builds.
    Source: error codes (API v3).
    """
    given = body.get("response_status")
    parts = [part for part in (given if isinstance(given, list) else [given]) if isinstance(part, dict)]
    failed = [part for part in parts if part.get("status") == "failed" or _code(part) != _SUCCESS]
    if parts and not failed and status < 400:
        return None
    messages = [each for part in failed for each in part.get("messages") or () if isinstance(each, dict)]
    codes = tuple(code for code in map(_code, [*messages, *failed]) if code) or (status,)
    fields = tuple(name for message in messages for name in _fields(message))
    said = "; ".join(dict.fromkeys(filter(None, map(_said, messages))))
    text = line(f"{place} answered {codes[0]} (HTTP {status})" + (f": {said}" if said else ""), 500)
    if _BAD_KEY in codes or status == 401:
        return TokenRefused(text, hint=_CREDENTIALS)
    if _LIMITED in codes or status == 429:
        return Unavailable(text, retry_after_s=retry_after_s or LIMITED_S, unsent=True)
    if _NOT_FOUND in codes:
        return Missing(text, hint="it was deleted, or is hidden from this technician")
    if {_FORBIDDEN, _LICENCE} & set(codes) or status == 403:
        hint = (
            "give the technician's role full control of requests (and problems), to read the CMDB the view of CIs; and "
        )
        hint += "the token the scopes for them"
        return Denied(text, hint=hint)
    if _INTERNAL in codes or status >= 500:
        return Unavailable(text)
    hint = next((_HINTS[code] for code in codes if code in _HINTS), "")
    return Refused(text, hint=hint, codes=codes, fields=fields)


def _code(part: Record) -> int:
    code = str(part.get("status_code"))
    return int(code) if code.isdigit() else 0


def _fields(message: Record) -> list[str]:
    """``field`` or ``fields``, sometimes with the path to it (``request.group``)."""
    given = message.get("fields") or message.get("field") or []
    names = given if isinstance(given, list) else [given]
    return [str(name).removeprefix("request.").removeprefix("problem.") for name in names]


def _said(message: Record) -> str:
    return " ".join(filter(None, (", ".join(_fields(message)), str(message.get("message") or ""))))


def shown(record: Record, path: str) -> str:
    """A field as text, by a path such as ``udf_fields.udf_sline_901``: of a reference its name, of a time its value in
    milliseconds, of nothing the empty text."""
    value: Any = record
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    if isinstance(value, dict):
        value = next((value[name] for name in ("value", "name", "display_value", "id") if value.get(name)), None)
    return "" if value is None else str(value)


def time_of(record: Record, *names: str) -> datetime | None:
    """The first of some fields that holds a time."""
    for name in names:
        value = shown(record, name)
        if value.isdigit():
            return datetime.fromtimestamp(int(value) / 1000, UTC)
    return None


def milliseconds(at: datetime) -> str:
    return str(int(at.timestamp() * 1000))


def person_of(user: Any) -> str:
    """E-mail address, else name, else id."""
    if not isinstance(user, dict):
        return str(user or "")
    return str(user.get("email_id") or user.get("name") or user.get("id") or "")


def is_person(user: Any, wanted: str) -> bool:
    """Whether a user is the one with this e-mail address, name or id."""
    named = user.values() if isinstance(user, dict) else (user,)
    return wanted.casefold() in {str(each).casefold() for each in named if each}


def _only_list(body: Record) -> Any:
    """The one list of records in an answer, for those that do not name it as their path does."""
    lists = [each for name, each in body.items() if name != "response_status" and isinstance(each, list)]
    return lists[0] if len(lists) == 1 else None


def _one(kind: str) -> str:
    return kind.removesuffix("s")


def _page(number: int) -> dict[str, Any]:
    return {"row_count": PAGE_ROWS, "start_index": number * PAGE_ROWS + 1}
