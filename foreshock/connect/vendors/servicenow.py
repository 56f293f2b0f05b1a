"""ServiceNow's Table API: one thin client for the sink, the CMDB source and the collector.

Facts: ServiceNow product documentation, release "australia" (2026): Table API, inbound REST API rate limiting, REST API
    HTTP response codes, OAuth inbound. Error bodies as observed by several open integrations.

What it takes care of: a query term with an unknown field is *silently dropped* by ServiceNow (unless the property
``glide.invalid_query.returns_no_rows`` is set), so a misspelt filter returns every row. Each row is therefore checked
against the filter again, and a field that no row shows is an error, not an empty answer.
"""

from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import quote

from msgspec import Struct
from pydantic import Field, field_validator, model_validator

from foreshock.connect.auth import CaFile, OAuth, Proxy, TokenRefused, read_secret, web_address
from foreshock.core.contracts import ConnectorConfig
from foreshock.core.errors import Denied, ForeshockError, Invalid, Missing, Rejected, Unavailable

if TYPE_CHECKING:
    from foreshock.connect.http import Answer, Http, Refusal  # importing it takes a tenth of a second of each start

Row = Mapping[str, str]
"""A record as the Table API shows it: every value is text, a reference its sys_id, nothing the empty text."""

PAGE_ROWS = 200
MAX_PAGES = 50
TOO_SLOW = b"Transaction cancelled: maximum execution time exceeded"
_TIME = "%Y-%m-%d %H:%M:%S"
_REFUSED_RECORD = ("Operation against file", "Business Rule", "Data Policy", "mandatory")
"""In the detail of a 403: the record was refused, not the account."""


class ServiceNowAccount(ConnectorConfig):
    """How to reach an instance, and as whom."""

    url: str = Field(description="address of the instance, https://NAME.service-now.com")
    user: str = Field(
        description="user name of the account that Foreshock works as, as sys_updated_by shows it; it should be "
        "Foreshock's alone: what this user does is not read back"
    )
    password_file: Path | None = Field(
        default=None,
        description="file with its password, mode 0600, for basic authentication or OAuth's password grant",
    )
    client_id: str = Field(
        default="", description="OAuth: id of the application; without password_file by client credentials"
    )
    client_secret_file: Path | None = Field(default=None, description="OAuth: file with its secret, mode 0600")
    api_key_file: Path | None = Field(
        default=None, description="file with an API key (header x-sn-apikey), mode 0600, instead of password and OAuth"
    )
    ca_file: CaFile = None
    proxy: Proxy = ""

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        return web_address(url, like="https://example.service-now.com", instead="user and password_file")

    @model_validator(mode="after")
    def _has_one_way_in(self) -> Self:
        if self.api_key_file is not None:
            if self.password_file is not None or self.client_id:
                raise Invalid("api_key_file stands beside other credentials", hint="keep one of them")
        elif self.client_id and self.client_secret_file is None:
            raise Invalid("client_id has no client_secret_file", hint="name the file with the application's secret")
        elif not self.client_id and self.password_file is None:
            hint = "name password_file, or client_id and client_secret_file, or api_key_file"
            raise Invalid("it has no credentials", hint=hint)
        return self


class Term(Struct, frozen=True):
    """One condition of a query: ``Term("state", "IN", "6,7")``. Operators: =, !=, >=, <=, >, <, IN, STARTSWITH."""

    field: str
    operator: str
    value: str

    def __str__(self) -> str:
        return f"{self.field}{self.operator}{self.value}"

    def holds(self, row: Row) -> bool:
        """Whether a row is as asked. Text is compared without case, as the databases below ServiceNow do."""
        found, value = row[self.field].casefold(), self.value.casefold()
        match self.operator:
            case "=":
                return found == value
            case "!=":
                return found != value
            case ">=":
                return found >= value
            case "<=":
                return found <= value
            case ">":
                return found > value
            case "<":
                return found < value
            case "IN":
                return found in value.split(",")
            case "STARTSWITH":
                return found.startswith(value)
        raise AssertionError(f"{self.operator} is no operator that is checked")


class NoSuchTable(Denied):
    """The instance has no table of this name: a plugin that is not installed, or a slip of the pen."""


class Slice(Struct, frozen=True, kw_only=True):
    """Part of the records of a query, in ascending order of sys_id.

    Attributes:
        rows: as answered, so that one that cannot be read spoils no other.
        next: ``after`` and ``offset`` of the next part; None at the end.
        total: how many there are in all, where that was asked and is told; else 0.
    """

    rows: Sequence[Any]
    next: tuple[str, int] | None
    total: int = 0


class ServiceNow:
    """One instance. Not for several threads at once."""

    def __init__(self, http: "Http", oauth: OAuth | None = None) -> None:
        self._http = http
        self._oauth = oauth
        self.name = http.instance

    @property
    def server_now(self) -> datetime | None:
        """Its own clock, by its last answer; None before the first."""
        return self._http.server_now

    def rows(
        self, table: str, query: Sequence[Term], fields: Sequence[str], *, order: Sequence[str] = (), limit: int = 0
    ) -> list[Row]:
        """Records that meet every term, in ascending ``order``; the first ``limit`` of them, or all.

        Values with ``^``, which ends a term and cannot be quoted, are in no record that can be asked for: nothing.
        Raises Denied where a field of the query is not there or not readable; Unavailable beyond 10,000 rows.
        """
        if any("^" in term.value for term in query):
            return []
        text = "^".join([*map(str, query), *(f"ORDERBY{name}" for name in order)])
        names = list(dict.fromkeys([*fields, *(term.field for term in query)]))
        page_rows = min(limit or PAGE_ROWS, PAGE_ROWS)
        found: list[Row] = []
        for page in range(MAX_PAGES):
            answer = self._call(
                "GET",
                f"/api/now/table/{quote(table)}",
                {
                    "sysparm_query": text,
                    "sysparm_limit": page_rows,
                    "sysparm_offset": page * page_rows,
                    **_shape(names),
                },
            )
            rows = _rows(answer)
            found += [row for row in rows if self._meets(table, query, row)]
            # A page may be short, or empty, because rows were hidden after it was cut: only the link tells the end.
            if (limit and len(found) >= limit) or 'rel="next"' not in answer.headers.get("link", ""):
                return found[: limit or None]
        raise Unavailable(
            f"{self.name}: more than {MAX_PAGES * page_rows} rows of {table} match {text!r}",
            hint="if the query should match few, a field in it may be unknown there",
        )

    def slice(
        self,
        table: str,
        query: Sequence[Term],
        fields: Sequence[str],
        *,
        after: str = "",
        offset: int = 0,
        limit: int = PAGE_ROWS,
        counted: bool = True,
    ) -> Slice:
        """A part of very many records: keyset paging, which misses nothing that stays while others come and go.

        Args:
            after: the sys_id that ends the part before; offset: records to pass over from there, which this account
                may not see.
            counted: whether ServiceNow counts the records, which takes long where there are millions; without it the
                end of the table costs one request more.
        Raises Denied where a field of the query is not there or not readable, NoSuchTable; Unavailable where the
        answer is not what was asked for.
        """
        terms = [*query, *([Term("sys_id", ">", after)] if after else [])]
        names = list(dict.fromkeys(["sys_id", *fields, *(term.field for term in query)]))
        answer = self._call(
            "GET",
            f"/api/now/table/{quote(table)}",
            {
                "sysparm_query": "^".join([*map(str, terms), "ORDERBYsys_id"]),
                "sysparm_limit": limit,
                "sysparm_offset": offset,
                **({} if counted else {"sysparm_no_count": "true"}),
                **_shape(names),
            },
        )
        rows = _list(answer)
        last = self._last(table, terms, rows, answer)
        if not rows and not counted:
            # Nobody can tell by an empty page whether the rest is hidden from this account or there is no rest.
            return self.slice(table, query, fields, after=after, offset=offset, limit=limit)
        said = answer.headers.get("x-total-count", "")
        link = answer.headers.get("link") if counted else None
        more = bool(rows) if link is None else 'rel="next"' in link
        place = (last, 0) if last else (after, offset + limit)
        return Slice(rows=rows, next=place if more else None, total=int(said) if said.isdecimal() else 0)

    def _last(self, table: str, terms: Sequence[Term], rows: Sequence[Any], answer: "Answer") -> str:
        """The sys_id of the last row, once all are seen to be what was asked for, in the order that was asked for."""
        last = ""
        for row in rows:
            if not isinstance(row, dict) or not isinstance(row.get("sys_id"), str):
                continue
            id = row["sys_id"]
            if id <= last or not self._meets(table, terms, {name: _value(value) for name, value in row.items()}):
                raise Unavailable(
                    f"{answer.place} answered records of {table} that were not asked for, or in another order",
                    hint="is there a cache between, or a rule that changes queries on this table?",
                )
            last = id
        return last

    def get(self, table: str, sys_id: str, fields: Sequence[str]) -> Row | None:
        """The record of this id; None if there is none that we may see."""
        try:
            answer = self._call("GET", f"/api/now/table/{quote(table)}/{quote(sys_id, safe='')}", _shape(fields))
        except Missing:
            return None
        return _row(answer)

    def create(self, table: str, values: Row, fields: Sequence[str]) -> Row | None:
        """Insert one record; as it is afterwards, or None where the answer has no body."""
        return self._written("POST", f"/api/now/table/{quote(table)}", values, fields)

    def update(self, table: str, sys_id: str, values: Row, fields: Sequence[str]) -> Row | None:
        """Change fields of one record; as it is afterwards, or None where the answer has no body. Raises Missing."""
        return self._written("PATCH", f"/api/now/table/{quote(table)}/{quote(sys_id, safe='')}", values, fields)

    def _written(self, method: str, path: str, values: Row, fields: Sequence[str]) -> Row | None:
        answer = self._call(method, path, _shape(fields), dict(values))
        return _row(answer) if answer.body.strip() else None

    def _meets(self, table: str, query: Sequence[Term], row: Row) -> bool:
        missing = [term.field for term in query if term.field not in row]
        if missing:
            raise Denied(
                f"{self.name} answered a query on {missing[0]!r} of {table} with rows that have no such field: it "
                "ignored that part of the query",
                hint=f"check that the field exists on {table} and that this account may read it",
            )
        return all(term.holds(row) for term in query)

    def _call(self, method: str, path: str, params: Mapping[str, str | int], json: Any = None) -> "Answer":
        try:
            answer = self._http.request(method, path, params=params, json=json)
        except TokenRefused:
            if self._oauth is None:
                raise
            self._oauth.drop()
            answer = self._http.request(method, path, params=params, json=json)
        if TOO_SLOW in answer.body:
            raise Unavailable(
                f"{answer.place}: {TOO_SLOW.decode()}", hint="put an index on the fields that are searched"
            )
        return answer


def connect(
    account: ServiceNowAccount, name: str, place: str, http: Callable[..., "Http"], *, max_body_bytes: int = 0
) -> ServiceNow:
    """A client for an account.

    Args:
        name: of the instance, for messages. place: where its settings stand, for messages.
        http: ``connect.http.Http`` or a factory like it.
        max_body_bytes: of an answer; 0: as ``Http`` has it.
    Raises ConfigError where a secret cannot be read.
    """
    from foreshock.connect.http import Basic, KeyHeader

    instance = f"servicenow {name!r}"
    reach: dict[str, Any] = {"ca_file": account.ca_file, "proxy": account.proxy, "read_refusal": read_refusal}
    if max_body_bytes:
        reach["max_body_bytes"] = max_body_bytes

    def secret(path: Path | None, key: str) -> str:
        return "" if path is None else read_secret(path, f"{place}.{key}")

    password = secret(account.password_file, "password_file")
    if account.api_key_file is not None:
        key = KeyHeader("x-sn-apikey", secret(account.api_key_file, "api_key_file"))
        return ServiceNow(http(instance, account.url, auth=key, **reach))
    if not account.client_id:
        return ServiceNow(http(instance, account.url, auth=Basic(account.user, password), **reach))
    client_secret = secret(account.client_secret_file, "client_secret_file")
    form = {"grant_type": "client_credentials", "client_id": account.client_id, "client_secret": client_secret}
    if password:
        form |= {"grant_type": "password", "username": account.user, "password": password}
    known = (client_secret, password)
    oauth = OAuth(http(instance, account.url, secrets=known, **reach), "/oauth_token.do", form, known)
    return ServiceNow(http(instance, account.url, auth=oauth, **reach), oauth)


def read_refusal(refusal: "Refusal") -> ForeshockError | None:
    """What ServiceNow means by an answer that is no 2xx."""
    body = refusal.json()
    error = body.get("error") if isinstance(body, dict) else None
    error = error if isinstance(error, dict) else {}
    said = f"{error.get('message') or ''} {error.get('detail') or ''}"
    match refusal.status:
        case 401:
            hint = (
                "check user and password or token, and that the account may use REST (not locked, not interactive only)"
            )
            return TokenRefused(refusal.message, hint=hint)
        case 403 if any(word in said for word in _REFUSED_RECORD):
            return Rejected(
                refusal.message, hint="fill the field it asks for through `fixed`, or change that rule there"
            )
        case 403:
            return Denied(refusal.message, hint="give the account the role it needs on that table (itil for incidents)")
        case 404 if "No Record found" in said:
            return Missing(refusal.message)
        case 400 if "Invalid table" in said:
            return NoSuchTable(refusal.message, hint="check the name of the table")
        case 429:
            wait_s = refusal.retry_after_s or _until_reset(refusal.headers) or _LIMITED_S
            return Unavailable(refusal.message, retry_after_s=wait_s, unsent=True)
    return None


_LIMITED_S = 30.0  # a limit without a time: limits are counted by the hour and flushed every 30 s


def _until_reset(headers: Mapping[str, str]) -> float | None:
    """Seconds until the limit is lifted, by the server's own clock."""
    try:
        now = parsedate_to_datetime(headers.get("date", ""))
        seconds = float(headers["x-ratelimit-reset"]) - now.timestamp()
    except (KeyError, TypeError, ValueError):
        return None
    return seconds if 0 < seconds <= 3600 else None


def read_moment(text: str) -> datetime | None:
    """A time as the Table API writes it; None where it is none."""
    try:
        return datetime.strptime(text, _TIME).replace(tzinfo=UTC)
    except ValueError:
        return None


def time_text(moment: datetime) -> str:
    """As the Table API writes and compares times."""
    return moment.astimezone(UTC).strftime(_TIME)


def _shape(fields: Sequence[str]) -> dict[str, str]:
    return {
        "sysparm_fields": ",".join(fields),
        "sysparm_display_value": "false",
        "sysparm_exclude_reference_link": "true",
    }


def _rows(answer: "Answer") -> list[Row]:
    return [_text(row, answer) for row in _list(answer)]


def _list(answer: "Answer") -> list[Any]:
    result = _result(answer)
    if not isinstance(result, list):
        raise Unavailable(f"{answer.place} answered no list of records")
    return result


def _row(answer: "Answer") -> Row:
    return _text(_result(answer), answer)


def _result(answer: "Answer") -> Any:
    body = answer.json()
    if not isinstance(body, dict) or "result" not in body:
        raise Unavailable(
            f"{answer.place} answered JSON without a result", hint="check that the address is a ServiceNow instance"
        )
    return body["result"]


def _text(row: Any, answer: "Answer") -> Row:
    if not isinstance(row, dict):
        raise Unavailable(f"{answer.place} answered a record that is none")
    return {name: _value(value) for name, value in row.items()}


def _value(value: Any) -> str:
    """Some fields stay references although links were asked away (dot-walked ones)."""
    if isinstance(value, dict):
        value = value.get("value")
    return "" if value is None else str(value)
