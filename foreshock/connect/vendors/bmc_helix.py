"""BMC Helix ITSM through the REST API of AR System: one thin client for the sink, the CMDB source and the collector.

Facts: docs.bmc.com, AR System 22.1 to 25.1: endpoints, error handling and general principles of the REST API; Helix
    ITSM 22.1: interface forms. What open integrations show besides is marked where it stands.

What it takes care of: a token is fetched by logging in and again before it runs out; a creation answers without a body,
or with the entry of a form that is only a doorway; errors are arrays, and most come as HTTP 500, final ones too.
"""

import base64
import json
import re
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode
from weakref import WeakValueDictionary

from msgspec import Struct
from pydantic import Field, field_validator

from foreshock.connect.auth import CaFile, Proxy, TokenRefused, read_secret, web_address
from foreshock.core.contracts import ConnectorConfig
from foreshock.core.errors import Denied, ForeshockError, Missing, Rejected, Unavailable

if TYPE_CHECKING:
    from requests import PreparedRequest

    from foreshock.connect.http import Answer, Http, Refusal  # importing it takes a tenth of a second of each start

Row = Mapping[str, str]
"""An entry of a form: every value is text, what is null the empty text. ``Status-History`` becomes two names for each
status: ``Status-History.Resolved.user`` and ``Status-History.Resolved.timestamp``."""

PAGE_ROWS = 250
MAX_PAGES = 50
_ENTRY = "/api/arsys/v1/entry/"
_FIELDS = "/api/arsys/v1.0/fields/"
"""Since 20.02: metadata of fields. That it lists all fields of a form where no id is given is UNVERIFIED."""
_INSTANCES = "/api/cmdb/v1.0/instances/"
_MAX_BODY_BYTES = 4 * 1024 * 1024
_TOKEN_LIFETIME_S, _EARLY_S = 1800.0, 60.0
"""How long a token is used that does not say how long it holds, and how long before its end none is used any more."""
_JWT = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_=-]+")

# Numbers of messages. 302, 303, 623 and 9093: BMC's pages and open clients; the others are long-stable, UNVERIFIED.
_NO_ENTRY, _NO_FORM = 302, 303
_DENIED = frozenset({353, 623})  # no access to the form; authentication failed
_OTHER_SESSION = 9093  # the user is connected from another machine
_TROUBLE = frozenset({90, 91, 92, 93, 94, 552, 553})  # server or database not reached or too slow
_STILL_AT_WORK = frozenset({90, 91, 92})  # 92: the operation was taken and will usually be completed
_OTHER_SESSION_WAIT_S = 30.0


class HelixAccount(ConnectorConfig):
    """How to reach the AR System server, and as whom."""

    url: str = Field(
        description="address of the REST API: https://TENANT-restapi.onbmc.com, on premises https://SERVER:8443",
        examples=["https://example-restapi.onbmc.com"],
    )
    user: str = Field(
        description="login name of the account that Foreshock works as; it should be Foreshock's alone: what this user "
        "does is not read back, and a second client with the same account may be refused (ARERR 9093)",
        examples=["foreshock"],
    )
    password_file: Path = Field(description="file with its password, mode 0600")
    auth_string: str = Field(default="", description="authentication string, where the server asks for one")
    ca_file: CaFile = None
    proxy: Proxy = ""

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        url = web_address(url, like="https://example-restapi.onbmc.com", instead="user and password_file")
        return url.removesuffix("/api")


class Term(Struct, frozen=True):
    """One condition of a qualification: ``Term("Status", "=", "Resolved")``. Operators: =, !=, >=, <=, >, <, LIKE.

    A value is compared as it stands, but for LIKE, where ``%`` and ``_`` stand for others; give it none of a stranger.
    """

    field: str
    operator: str
    value: str

    def __str__(self) -> str:
        field = self.field.replace("'", "''")
        value = self.value.replace('"', '""')
        return f"'{field}' {self.operator} \"{value}\""

    def holds(self, row: Row) -> bool:
        """Whether an entry is as asked, for what picks entries out; orders of choices and times are the server's."""
        found, value = row.get(self.field, "").casefold(), self.value.casefold()
        if self.operator == "LIKE":
            return re.fullmatch(".*".join(map(re.escape, value.split("%"))), found, re.DOTALL) is not None
        return self.operator != "=" or found == value


class AnyOf(Struct, frozen=True):
    """One field that has one of several values."""

    field: str
    values: tuple[str, ...]

    def __str__(self) -> str:
        return "(" + " OR ".join(str(Term(self.field, "=", value)) for value in self.values) + ")"

    def holds(self, row: Row) -> bool:
        return row.get(self.field, "").casefold() in {value.casefold() for value in self.values}


class Login:
    """``Authorization: AR-JWT`` with a token that is fetched when it is needed and again before it runs out. Safe for
    several threads.

    Args:
        http: the same server, without authentication.
        calls: how many may be made with the token at a time.

    Attributes:
        turns: to be held during a call.
    """

    def __init__(
        self,
        http: "Http",
        user: str,
        password: str,
        auth_string: str = "",
        *,
        calls: int = 1,
        now: Callable[[], float] = time.monotonic,
    ) -> None:
        self.turns = threading.BoundedSemaphore(calls)
        self._lock = threading.Lock()
        self._http = http
        self._form = {"username": user, "password": password} | ({"authString": auth_string} if auth_string else {})
        self._now = now
        self._token = ""
        self._until = 0.0

    @property
    def secrets(self) -> tuple[str, ...]:
        return (self._form["password"], self._token)

    def __call__(self, request: "PreparedRequest") -> "PreparedRequest":
        with self._lock:
            if not self._token or self._now() >= self._until:
                self._fetch()
            request.headers["Authorization"] = f"AR-JWT {self._token}"
        return request

    @property
    def token(self) -> str:
        """The present one; empty before the first."""
        return self._token

    def drop(self, token: str) -> None:
        """It was refused: log in again for the next call, unless another thread did so already."""
        with self._lock:
            if token == self._token:
                self._token = ""

    def _fetch(self) -> None:
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "*/*"}
        try:
            answer = self._http.post("/api/jwt/login", body=urlencode(self._form).encode(), headers=headers)
        except TokenRefused as error:  # once is enough: wrong passwords lock accounts
            raise Denied(error.args[0], hint=error.hint) from None
        token = answer.body.decode("ascii", "replace").strip()
        if not _JWT.fullmatch(token):
            raise Unavailable(
                f"{answer.place} answered HTTP {answer.status} with {len(answer.body)} bytes that are no token",
                hint="check that the address is the REST API of AR System and not a login or proxy page",
            )
        self._token = token
        lifetime_s = _lifetime_s(token)
        self._until = self._now() + max(1.0, lifetime_s - min(_EARLY_S, lifetime_s / 2))


def _lifetime_s(token: str) -> float:
    """How long a token holds from its issue, so that nobody's clock matters."""
    part = token.split(".")[1]
    try:
        claims = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
        lifetime_s = float(claims["exp"]) - float(claims["iat"])
    except (ValueError, KeyError, TypeError):
        return _TOKEN_LIFETIME_S
    return lifetime_s if 0 < lifetime_s <= 86_400 else _TOKEN_LIFETIME_S


class Helix:
    """One AR System server. Not for several threads at once.

    Attributes:
        listed_at: the server's own clock when it gave the first page of the last list; None where it did not tell.
    """

    def __init__(self, http: "Http", login: Login, url: str) -> None:
        self.listed_at: datetime | None = None
        self._url = url
        self._http = http
        self._login = login
        self.name = http.instance

    def entries(
        self,
        form: str,
        query: Sequence[Term | AnyOf],
        fields: Sequence[str],
        *,
        order: str = "",
        limit: int = 0,
    ) -> list[Row]:
        """Entries that meet every term, ascending by the field ``order``; the first ``limit`` of them, or all.

        Raises Denied where the server cannot carry out the question (a field or form is unknown or closed to us);
        Unavailable beyond 12,500 entries.
        """
        names = list(dict.fromkeys([*fields, *(term.field for term in query)]))
        found: list[Row] = []
        for _ in range(MAX_PAGES):
            page_rows = min(limit - len(found), PAGE_ROWS) if limit else PAGE_ROWS
            rows, more = self._page(form, query, names, order, page_rows, len(found))
            if not found:
                self.listed_at = self._http.server_now
            found += rows
            if not more or (limit and len(found) >= limit):
                return self._checked(form, query, found)
        raise Unavailable(f"{self.name}: more than {len(found)} entries of {form} match {_text_of(query)}")

    def _checked(self, form: str, query: Sequence[Term | AnyOf], rows: list[Row]) -> list[Row]:
        """What certainly meets the query: where a field is hidden or ``q`` got lost, "none" would be a guess."""
        meeting = [row for row in rows if all(term.holds(row) for term in query)]
        if rows and not meeting:
            raise Denied(
                f"{self.name} answered {_text_of(query)} on {form} with {len(rows)} entries that do not match",
                hint="check that this account may read these fields, and that nothing on the way drops the parameter q",
            )
        return meeting

    def _page(
        self,
        form: str,
        query: Sequence[Term | AnyOf],
        names: Sequence[str],
        order: str,
        limit: int,
        offset: int,
    ) -> tuple[list[Row], bool]:
        """So many entries from a place on, and whether there are more behind them."""
        params: dict[str, str | int] = {"fields": _values(names), "limit": limit}
        if query:
            params["q"] = _text_of(query)
        if order:
            params["sort"] = f"{order}.asc"
        if offset:
            params["offset"] = offset
        try:
            answer = self._call("GET", _ENTRY + quote(form, safe=":"), params)
        except Missing:
            return [], False
        except Rejected as error:
            hint = f"check that {form} has these fields, and that this account may read them: {', '.join(names)}"
            raise Denied(error.args[0], hint=hint) from None
        body = answer.json()
        found = body.get("entries") if isinstance(body, dict) else None
        if not isinstance(found, list):
            raise Unavailable(f"{answer.place} answered JSON without entries", hint=_NOT_AR_SYSTEM)
        links = body.get("_links")
        # The server may cap the limit; then only its link tells that there is more.
        more = len(found) >= limit or (isinstance(links, dict) and bool(links.get("next")))
        return [_row(each, answer) for each in found], more and bool(found)

    def entry(self, form: str, id: str, fields: Sequence[str]) -> Row | None:
        """The entry of this id; None if there is none that we may see."""
        try:
            answer = self._call("GET", _path(form, id), {"fields": _values(fields)})
        except Missing:
            return None
        return _row(answer.json(), answer)

    def instances(
        self, dataset: str, class_name: str, attributes: Sequence[str], *, offset: int, limit: int, since: str = ""
    ) -> tuple[list[Mapping[str, Any]], int | None]:
        """Instances of a class of the CMDB and of those below it, as the API shows them, from a place on; and how many
        there are in all, None where the server does not count.

        Args:
            class_name: with its namespace: ``BMC.CORE:BMC_ComputerSystem``. since: a qualification; empty for none.
        Raises Denied where the class or an attribute is unknown or closed to us.
        """
        namespace, _, name = class_name.rpartition(":")
        params: dict[str, str | int] = {
            "attributes": ",".join(attributes),
            "limit": limit,
            "offset": offset,
            "num_matches": "true",
        }
        if since:
            params["qualification"] = since
        try:
            answer = self._call("GET", _INSTANCES + "/".join(map(quote, (dataset, namespace, name))), params)
        except (Missing, Rejected) as error:
            hint = (
                f"check that dataset {dataset} and class {class_name} are there, with these attributes, and that this "
            )
            hint += f"account may read them: {', '.join(attributes)}"
            raise Denied(str(error), hint=hint) from None
        body = answer.json()
        found = body.get("instances") if isinstance(body, dict) else None
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            raise Unavailable(f"{answer.place} answered JSON without instances", hint=_NOT_AR_SYSTEM)
        self.listed_at = self._http.server_now
        total = body.get("num_matches")
        return found, total if isinstance(total, int) else None

    def create(self, form: str, values: Row, fields: Sequence[str] = ()) -> Row | None:
        """Submit an entry; what it says of ``fields`` afterwards, or None where the answer has no body.

        On the ``…_Create`` forms the answer is that of a doorway: its id leads nowhere, its numbers do.
        """
        params = {"fields": _values(fields)} if fields else {}
        answer = self._call("POST", _ENTRY + quote(form, safe=":"), params, {"values": dict(values)})
        made = answer.json() if answer.body.strip() else None
        return _row(made, answer) if fields and made is not None else None

    def update(self, form: str, id: str, values: Row) -> None:
        """Change fields of one entry; an empty text empties a field. Raises Missing."""
        given = {name: value or None for name, value in values.items()}
        answer = self._call("PUT", _path(form, id), {}, {"values": given})
        if answer.body.strip():
            answer.json()  # a login page with status 200 changed nothing

    def address(self, form: str, id: str) -> str:
        return self._url + _path(form, id)

    def required(self, form: str) -> list[str] | None:
        """Names of the fields that the form itself demands; None where the server does not tell."""
        try:
            found = self._call("GET", _FIELDS + quote(form, safe=":"), {"field_criteria": "DEFAULT_VALUE"}).json()
        except (Rejected, Denied):
            return None
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            return None
        demanded = [each for each in found if each.get("field_option") == "REQUIRED" and not each.get("default_value")]
        return sorted(str(each.get("name", "")) for each in demanded)

    def _call(self, method: str, path: str, params: Mapping[str, str | int], json: Any = None) -> "Answer":
        with self._login.turns:
            token = self._login.token
            try:
                return self._http.request(method, path, params=params, json=json)
            except TokenRefused:
                self._login.drop(token or self._login.token)
                return self._http.request(method, path, params=params, json=json)


_NOT_AR_SYSTEM = "check that the address is the REST API of AR System"


def connect(account: HelixAccount, name: str, place: str, http: Callable[..., "Http"], *, calls: int = 1) -> Helix:
    """A client for an account. All clients of an account in this process share one token and its turns.

    Args:
        name: of the instance, for messages. place: where its settings stand, for messages.
        http: ``connect.http.Http`` or a factory like it.
        calls: how many calls may be made at a time, by whichever of these clients.
    Raises ConfigError where a secret cannot be read.
    """
    instance = f"bmc_helix {name!r}"
    reach: dict[str, Any] = {"ca_file": account.ca_file, "proxy": account.proxy, "read_refusal": read_refusal}
    password = read_secret(account.password_file, f"{place}.password_file")
    who = (account.url, account.user, password, account.auth_string, str(account.ca_file), account.proxy, str(calls))
    with _LOGINS_LOCK:
        login = _LOGINS.get(who)
        if login is None:
            door = http(instance, account.url, secrets=(password,), **reach)
            login = _LOGINS[who] = Login(door, account.user, password, account.auth_string, calls=calls)
    reach["max_body_bytes"] = _MAX_BODY_BYTES
    return Helix(http(instance, account.url, auth=login, **reach), login, account.url)


_LOGINS: WeakValueDictionary[tuple[str, ...], Login] = WeakValueDictionary()
_LOGINS_LOCK = threading.Lock()
"""The sessions of this process, as long as a client uses them: AR System may refuse an account a second one (9093)."""


def read_refusal(refusal: "Refusal") -> ForeshockError | None:
    """What AR System means by an answer that is no 2xx: most errors come as HTTP 500, so their numbers tell."""
    numbers = _numbers(refusal.json())
    if refusal.status == 401 or 623 in numbers:
        hint = "check user and password, and that the account is enabled, has a licence and may use the REST API"
        return TokenRefused(refusal.message, hint=hint)
    if _OTHER_SESSION in numbers:
        hint = "give Foreshock an account of its own, which no other client uses"
        return Unavailable(refusal.message, hint=hint, retry_after_s=_OTHER_SESSION_WAIT_S, unsent=True)
    if numbers & _TROUBLE:
        return Unavailable(refusal.message, answered=not numbers & _STILL_AT_WORK)
    if _NO_ENTRY in numbers:
        return Missing(refusal.message)
    if refusal.status == 403 or numbers & _DENIED:
        hint = (
            "give the account the ITSM permissions it needs (Incident Master or User; CMDB Data View to read the CMDB)"
        )
        return Denied(refusal.message, hint=hint)
    if refusal.status == 404:
        hint = "check the name of the form" if _NO_FORM in numbers else f"{_NOT_AR_SYSTEM}, without a path behind it"
        return Denied(refusal.message, hint=hint)
    if numbers and (refusal.status < 429 or refusal.status == 500):
        return Rejected(
            refusal.message, hint="fill the field it asks for through `fixed` or `resolving`, or change that rule there"
        )
    return None


def _numbers(body: Any) -> set[int]:
    """Of the errors in an answer; notes and warnings do not count, and what is FATAL there is no fault of ours."""
    messages = body if isinstance(body, list) else []
    errors = [each for each in messages if isinstance(each, dict) and each.get("messageType") == "ERROR"]
    return {number for each in errors if isinstance(number := each.get("messageNumber"), int)}


def time_text(moment: datetime) -> str:
    """As qualifications take times whatever the language of the server: seconds since 1970.

    BMC's pages show none; open integrations use seconds, in quotes, others ISO 8601: UNVERIFIED which servers take it.
    """
    return str(int(moment.timestamp()))


def _text_of(query: Sequence[Term | AnyOf]) -> str:
    return " AND ".join(map(str, query))


def _values(names: Sequence[str] | Mapping[str, Any]) -> str:
    return f"values({','.join(names)})"


def _path(form: str, id: str) -> str:
    return f"{_ENTRY}{quote(form, safe=':')}/{quote(id, safe='')}"


def _row(entry: Any, answer: "Answer") -> Row:
    values = entry.get("values") if isinstance(entry, dict) else None
    if not isinstance(values, dict):
        raise Unavailable(f"{answer.place} answered an entry without values", hint=_NOT_AR_SYSTEM)
    row = {}
    for name, value in values.items():
        if not isinstance(value, dict):
            row[name] = "" if value is None else str(value)
            continue
        for status, entered in value.items():
            for part, each in entered.items() if isinstance(entered, dict) else ():
                row[f"{name}.{status}.{part}"] = "" if each is None else str(each)
    return row
