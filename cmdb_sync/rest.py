"""Objects of any system that tells of them as JSON by HTTP, with a mapping that you write.

Facts:    JMESPath (jmespath.org) says where rows and values are; RFC 8288 (Link), RFC 6749 section 4.4 (client
          credentials). Everything else is what the settings say of the system.
Delivery: each list of `lists` by pages, one after the other. Lists with `since_param` are asked for what changed a
          minute before the last reading or later; the others are read whole each time.
Recovery: what is missing from a whole reading is gone, and so is a row whose `gone` holds.
Limits:   16 MiB an answer. Where rows are deleted while a list is read, those behind move up: with the paging styles
          offset and page (with `total`) that is noticed, and the list read again; next, cursor and link are as good as
          the system's own.
Needs:    an account that may read the lists; GET requests only.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self
from urllib.parse import urljoin, urlsplit

import msgspec
from msgspec import Struct, structs
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, field_validator, model_validator

from foreshock.connect.auth import CaFile, OAuth, Proxy, read_secret, web_address
from foreshock.connect.cmdb import (
    IGNORE,
    MappedConfig,
    criticality,
    flaw,
    folded,
    identity,
    read_cursor,
    text,
    tie_of,
    write_cursor,
)
from foreshock.core.cmdb import (
    GENERIC,
    CmdbPage,
    CmdbParts,
    Expired,
    Flaw,
    Identifier,
    IdType,
    Item,
    Kind,
    SourceKind,
    Tie,
)
from foreshock.core.contracts import Finding
from foreshock.core.errors import Denied, ForeshockError, Invalid, Malformed, Rejected, Unavailable
from foreshock.core.topology import DIRECTIONS

if TYPE_CHECKING:
    from requests import PreparedRequest

    from foreshock.connect.http import Answer, Auth, Http, Refusal  # importing it takes a tenth of a second

MAX_BODY_BYTES = 16 * 2**20
MAX_ROWS = 5000
"""In one answer: more make no bounded page, so the system is asked for fewer."""
_OVERLAP = timedelta(minutes=1)
_MAX_AGAIN = 5
"""How often a list is begun anew because its rows moved while it was read."""
_SINCE_FORMATS = ("iso", "unix", "unix_ms")


def _is_expression(written: str) -> str:
    import jmespath
    from jmespath.exceptions import JMESPathError

    try:
        jmespath.compile(written)
    except (JMESPathError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise Invalid(f"{written!r} is no JMESPath expression: {reason}", hint="see https://jmespath.org") from None
    return written


Expression = Annotated[str, AfterValidator(_is_expression)]


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Paging(_Part):
    style: Literal["none", "offset", "page", "next", "cursor", "link"] = Field(
        default="none",
        description="how a list goes on: offset (so many rows left out), page (numbered from first_page on), next (the "
        "answer holds the address of the next page), cursor (it holds a value that is sent as param), link (header "
        "Link)",
    )
    param: str = Field(
        default="", description="parameter with the offset, page number or cursor; as the style is called"
    )
    first_page: int = Field(default=1, ge=0, le=1, description="number of the first page")
    limit_param: str = Field(default="limit", description="parameter with the number of rows wanted; empty: none")
    limit: int = Field(default=500, ge=1, le=MAX_ROWS, description="rows wanted in one answer")
    next: Expression = Field(
        default="next", description="where the address or cursor is in the answer; rows[-1].id goes on after an id"
    )
    total: Expression = Field(default="", description="where the answer says how many rows there are in all")


class Fields(_Part):
    """What stands where in a row."""

    id: Expression = Field(default="id", description="unique in the system, and not changed by renaming")
    name: Expression = Field(default="name", description="what people call it")
    class_name: Expression = Field(
        default="", description="what it is in the system's words; `kinds` says what they mean"
    )
    handle: Expression = Field(default="", description="a longer name where names are not unique")
    aliases: Expression = Field(default="", description="other names, one or a list")
    identifiers: dict[IdType, Expression] = Field(
        default_factory=dict, description="by type what else it is known by: {serial: serial_no, ip: 'ips[].address'}"
    )
    scopes: dict[IdType, Expression] = Field(
        default_factory=dict, description="by type within what those are unique: {ip: vrf.name}"
    )
    owner: Expression = Field(default="", description="the support group")
    contact: Expression = Field(default="", description="who else answers for it")
    environment: Expression = Field(default="", description="production, test, …")
    criticality: Expression = Field(default="", description="1 (most) to 4, or critical, high, medium, low")
    location: Expression = Field(default="", description="where it stands")
    retired: Expression = Field(default="", description="holds where it is out of use, as status=='retired' does")
    url: Expression = Field(default="", description="address of its page")


class Tied(_Part):
    """Relationships that a row tells of."""

    source: Expression = Field(default="", description="id of what the relation begins at; the row itself if empty")
    target: Expression = Field(description="id of what it leads to, one or a list: depends_on[].id")
    type: str = Field(default="", description="what the relation is in our words, where it is always the same")
    word: Expression = Field(
        default="", description="else its name in the system's words; `relations` says what they mean"
    )
    id: Expression = Field(default="", description="its own id, where it has one")
    source_prefix: str = Field(default="", description="in front of the id of the source, as `prefix` of its list")
    target_prefix: str = Field(default="", description="in front of the id of the target, as `prefix` of its list")

    @model_validator(mode="after")
    def _has_one_meaning(self) -> Self:
        if bool(self.type) == bool(self.word):
            raise Invalid("it has no type, or two", hint="write type (runs_on) or word (an expression)", path=("type",))
        if self.type and self.type not in DIRECTIONS:
            hint = f"known: {', '.join(DIRECTIONS)}"
            raise Invalid(f"{self.type!r} is not a relationship type", hint=hint, path=("type",))
        return self


class Listing(_Part):
    """One list that the system answers."""

    name: str = Field(min_length=1, max_length=100, description="what it is called here")
    path: str = Field(pattern="^/", description="behind `url`")
    params: dict[str, str] = Field(default_factory=dict, description="parameters of each request")
    rows: Expression = Field(default="@", description="where the rows are in the answer; @ is the answer itself")
    paging: Paging = Field(default=Paging(), description="how it goes on")
    item: Fields | None = Field(default=None, description="what a CI is in a row; none for a list of relations only")
    prefix: str = Field(default="", description="in front of each id, where ids of other lists are the same")
    kind: str = Field(default="", description="what its CIs are where neither class_name nor `kinds` says it")
    ties: tuple[Tied, ...] = Field(default=(), description="relationships that rows tell of")
    gone: Expression = Field(default="", description="holds where a row tells of what is no more: deleted")
    since_param: str = Field(default="", description="parameter that asks only for what changed since")
    since_format: str = Field(
        default="iso", description=f"{', '.join(_SINCE_FORMATS)}, or a form with signs such as %Y-%m-%d %H:%M:%S"
    )

    @model_validator(mode="after")
    def _tells_of_something(self) -> Self:
        if self.item is None and not self.ties:
            raise Invalid("its rows mean nothing", hint="write `item`, `ties` or both", path=("item",))
        if self.since_format not in _SINCE_FORMATS and "%" not in self.since_format:
            hint = f"known: {', '.join(_SINCE_FORMATS)}, or a form with % signs"
            raise Invalid(f"{self.since_format!r} is no form of a time", hint=hint, path=("since_format",))
        if self.item is None and any(not tie.source for tie in self.ties):
            raise Invalid("a row without `item` has no id", hint="write `source`", path=("ties",))
        return self


_EXAMPLE = [
    {
        "name": "hosts",
        "path": "/v1/hosts",
        "rows": "data",
        "paging": {"style": "offset", "total": "total"},
        "kind": "server",
        "item": {"id": "id", "name": "hostname", "owner": "team.name", "identifiers": {"serial": "serial_no"}},
        "ties": [{"target": "depends_on[].id", "type": "depends_on"}],
    }
]


class RestConfig(MappedConfig):
    url: str = Field(
        description="address that the paths of all lists go behind", examples=["https://cmdb.example.com/api"]
    )
    lists: tuple[Listing, ...] = Field(min_length=1, max_length=50, description="what is read", examples=[_EXAMPLE])
    headers: dict[str, str] = Field(default_factory=dict, description="further headers, none that are secret")
    token_file: Path | None = Field(default=None, description="file with a bearer token, mode 0600")
    token_scheme: str = Field(
        default="Bearer", pattern="^[A-Za-z0-9-]+$", description="word in front of the token: Token, for example"
    )
    user: str = Field(default="", description="user for basic authentication; its password stands in password_file")
    password_file: Path | None = Field(default=None, description="file with the password, mode 0600")
    key_header: str = Field(default="", description="header that carries the key of key_file, for example X-API-Key")
    key_file: Path | None = Field(default=None, description="file with a key, mode 0600")
    token_url: str = Field(default="", description="OAuth token endpoint, for client credentials")
    client_id: str = Field(default="", description="OAuth client; its secret stands in client_secret_file")
    client_secret_file: Path | None = Field(default=None, description="file with the client's secret, mode 0600")
    scope: str = Field(default="", description="OAuth scope")
    ca_file: CaFile = None
    proxy: Proxy = ""

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        return web_address(url, like="https://cmdb.example.com/api", instead="user and password_file, or token_file")

    @field_validator("token_url")
    @classmethod
    def _is_one_too(cls, url: str) -> str:
        return url and web_address(url, like="https://login.example.com/oauth/token", instead="client_id")

    @field_validator("lists")
    @classmethod
    def _have_own_names(cls, lists: tuple[Listing, ...]) -> tuple[Listing, ...]:
        names = [one.name for one in lists]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise Invalid(f"two are called {name!r}", hint="give each its own name", path=(index, "name"))
        return lists

    @model_validator(mode="after")
    def _has_one_proof(self) -> Self:
        pairs = (
            ("user", self.user, "password_file", self.password_file),
            ("key_header", self.key_header, "key_file", self.key_file),
            ("client_id", self.client_id, "client_secret_file", self.client_secret_file),
            ("client_id", self.client_id, "token_url", self.token_url),
        )
        for name, one, other_name, other in pairs:
            if bool(one) != bool(other):
                raise Invalid(f"{name} and {other_name} belong together", hint="set both, or neither", path=(name,))
        ways = [name for name in ("token_file", "user", "key_header", "client_id") if getattr(self, name)]
        if len(ways) > 1:
            raise Invalid(f"there are {' and '.join(ways)}", hint="keep one of them", path=(ways[1],))
        return self


class _Place(Struct, frozen=True):
    """Where a reading stands.

    Attributes:
        list: its name. at: offset, page number, cursor or address; empty: its first page.
        last: id of a row of the page before, by which is seen whether rows moved: offset the last, page the first.
        total: that the page before told. again: how often this list was begun anew.
        started: seconds since 1970 by the system's clock when the reading began.
    """

    list: str
    at: str = ""
    last: str = ""
    total: int = -1
    again: int = 0
    started: float = 0.0


class _Mark(Struct, frozen=True):
    since: float


class _Rows(Struct, frozen=True):
    rows: list[Any]
    answer: "Answer"
    total: int


class RestSource:
    def __init__(self, config: RestConfig, http: "Http") -> None:
        self._config = config
        self._http = http
        self._prefix = urlsplit(config.url).path
        self._kinds = folded({kind.value: kind.value for kind in Kind}, config.kinds)
        self._relations = folded({type_: type_ for type_ in DIRECTIONS}, config.relations)
        self._tells_changes = any(one.since_param for one in config.lists)

    # ---- pages ----

    def page(self, cursor: str, mark: str) -> CmdbPage:
        since = read_cursor(mark, _Mark).since if mark else None
        place = read_cursor(cursor, _Place) if cursor else _Place(self._config.lists[0].name)
        number = next((index for index, one in enumerate(self._config.lists) if one.name == place.list), None)
        if number is None:
            raise Expired(f"there is no list {place.list!r} any more")
        listing = self._config.lists[number]
        found = self._ask(listing, place, since)
        if not place.started:
            now = self._http.server_now or datetime.now(UTC)
            place = structs.replace(place, started=now.timestamp())
        following = self._following(listing, place, found)
        if following is None and number + 1 < len(self._config.lists):
            following = _Place(self._config.lists[number + 1].name, started=place.started)
        said = _Said()
        for row in found.rows:
            self._read(listing, row, said)
        last = following is None
        return CmdbPage(
            items=list(said.items.values()),
            ties=list(said.ties.values()),
            gone=said.gone,
            gone_ties=said.gone_ties,
            flaws=said.flaws,
            next=write_cursor(following) if following is not None else "",
            mark=write_cursor(_Mark(place.started - _OVERLAP.total_seconds())) if last and self._tells_changes else "",
            whole=last and (since is None or not self._tells_changes),
            expected=max(found.total, 0),
        )

    def _ask(self, listing: Listing, place: _Place, since: float | None) -> _Rows:
        paging = listing.paging
        params: dict[str, str | int] = dict(listing.params)
        path = self._prefix + listing.path
        if paging.style not in ("none", "next", "link") or (paging.style != "none" and not place.at):
            params |= {paging.limit_param: paging.limit} if paging.limit_param else {}
        if since is not None and listing.since_param:
            params[listing.since_param] = _written(since, listing.since_format)
        match paging.style:
            case "offset":
                params[paging.param or "offset"] = int(place.at or 0)
            case "page":
                params[paging.param or "page"] = int(place.at or paging.first_page)
            case "cursor" if place.at:
                params[paging.param or "cursor"] = place.at
            case "next" | "link" if place.at:
                path, params = place.at, {}
        answer = self._http.get(path, params=params, headers=self._config.headers)
        body = answer.json()
        rows = _search(listing.rows, body)
        if not isinstance(rows, list):
            raise Unavailable(
                f"{answer.place} answered no rows: {listing.rows} is {type(rows).__name__}",
                hint=f"check `rows` of the list {listing.name!r}, and that the address is that of the API",
            )
        if len(rows) > MAX_ROWS:
            raise Unavailable(
                f"{answer.place} answered {len(rows)} rows, {MAX_ROWS} are read at once",
                hint=f"let the list {listing.name!r} be read by pages: see `paging`",
            )
        total = _search(paging.total, body) if paging.total else None
        return _Rows(rows, answer, total if isinstance(total, int) and not isinstance(total, bool) else -1)

    def _following(self, listing: Listing, place: _Place, found: _Rows) -> _Place | None:
        """The next page of the list, or its first again where rows moved; None where this was the last."""
        paging, rows = listing.paging, found.rows
        match paging.style:
            case "none":
                return None
            case "offset":
                return self._by_offset(listing, place, found)
            case "page":
                return self._by_number(listing, place, found)
            case "link":
                at = _linked(found.answer.headers.get("link", ""))
            case _:
                at = _search(paging.next, found.answer.json())
        if at in (None, "", False) or not rows:
            return None
        if paging.style != "cursor":
            at = self._path_of(listing, str(at))
        if str(at) == place.at:
            raise Unavailable(f"{found.answer.place} answered the same page twice")
        return structs.replace(place, at=str(at))

    def _by_offset(self, listing: Listing, place: _Place, found: _Rows) -> _Place | None:
        """Each page begins with the last row of the one before: where that is another one now, rows have moved."""
        offset, rows = int(place.at or 0), found.rows
        if place.last and (not rows or _key(listing, rows[0]) != place.last):
            return self._again(listing, place)
        if len(rows) <= bool(place.last) or (found.total >= 0 and offset + len(rows) >= found.total):
            return None
        return structs.replace(place, at=str(offset + len(rows) - 1), last=_key(listing, rows[-1]))

    def _by_number(self, listing: Listing, place: _Place, found: _Rows) -> _Place | None:
        """Pages share no row, so that rows moved is seen by their number only, and by a page that comes twice."""
        number = int(place.at or listing.paging.first_page)
        if 0 <= found.total < place.total:
            return self._again(listing, place)
        if not found.rows:
            return None
        first = _key(listing, found.rows[0])
        if first == place.last:
            raise Unavailable(f"{found.answer.place} answered the same page twice")
        return structs.replace(place, at=str(number + 1), last=first, total=found.total)

    def _again(self, listing: Listing, place: _Place) -> _Place:
        if place.again >= _MAX_AGAIN:
            raise Unavailable(
                f"{self._http.instance}: rows of the list {listing.name!r} move while it is read, for the"
                f" {place.again + 1}th time",
                hint="let the system sort them by id, by a parameter in `params`; or read it by a cursor",
            )
        return _Place(listing.name, again=place.again + 1, started=place.started)

    def _path_of(self, listing: Listing, address: str) -> str:
        """Of the same server only: another one would be told our credentials."""
        here = urlsplit(self._config.url)
        there = urlsplit(urljoin(self._config.url + listing.path, address))
        if (there.scheme, there.netloc) != (here.scheme, here.netloc):
            raise Unavailable(
                f"{self._http.instance} says that the list {listing.name!r} goes on at {there.scheme}://{there.netloc}",
                hint="write that address as url, if it is the same system",
            )
        return f"{there.path}?{there.query}" if there.query else there.path

    # ---- rows ----

    def _read(self, listing: Listing, row: Any, said: "_Said") -> None:
        id = ""
        try:
            if listing.item is not None:
                id = listing.prefix + identity(_search(listing.item.id, row), f"id ({listing.item.id})")
            if listing.gone and _holds(_search(listing.gone, row)):
                said.gone += [id] if id else []
                said.gone_ties += [tie.key for tie in self._ties(listing, row, id)]
                return
            if listing.item is not None:
                item = self._item(listing, listing.item, row, id)
                if item is None:
                    return
                said.items[id] = item
            said.ties.update((tie.key, tie) for tie in self._ties(listing, row, id))
        except Malformed as error:
            said.flaws.append(flaw(id, error, row))

    def _item(self, listing: Listing, where: Fields, row: Any, id: str) -> Item | None:
        """None for a class that is left out."""

        def said(field: str) -> str:
            expression = getattr(where, field)
            return next(_texts(expression, row, field), "") if expression else ""

        class_name = said("class_name") or listing.name
        kind = self._kinds.get(class_name.casefold()) or listing.kind or GENERIC
        if kind == IGNORE:
            return None
        return Item(
            id=id,
            name=said("name") or id,
            kind=kind,
            class_name=class_name,
            handle=said("handle"),
            identifiers=tuple(_identifiers(where, row)),
            aliases=tuple(_texts(where.aliases, row, "aliases")),
            owner=said("owner"),
            contact=said("contact"),
            environment=said("environment"),
            criticality=criticality(said("criticality")),
            location=said("location"),
            retired=bool(where.retired) and _holds(_search(where.retired, row)),
            url=said("url"),
        )

    def _ties(self, listing: Listing, row: Any, id: str) -> Iterator[Tie]:
        for tied in listing.ties:
            word = tied.type or next(_texts(tied.word, row, "word"), "")
            own = next(_texts(tied.id, row, "id"), "")
            sources = [tied.source_prefix + one for one in _texts(tied.source, row, "source")] if tied.source else [id]
            targets = [tied.target_prefix + one for one in _texts(tied.target, row, "target")]
            ends = [(source, target) for source in sources for target in targets]
            for source, target in ends:
                # An id that several relations share would leave one of them.
                tie = tie_of(own if len(ends) == 1 else "", source, word, target, self._relations)
                if tie is not None:
                    yield tie

    # ---- check ----

    def check(self) -> Sequence[Finding]:
        return [self._finding(listing) for listing in self._config.lists]

    def _finding(self, listing: Listing) -> Finding:
        """Whether a list may be read, and which expressions find nothing in its first rows."""
        try:
            rows = self._ask(listing, _Place(listing.name), None).rows
        except (Denied, Rejected) as error:
            return Finding(subject=listing.name, observed=str(error), remedy=error.hint or "check its path and params")
        if not rows or listing.item is None:
            return Finding(subject=listing.name, observed=f"{len(rows)} rows on the first page")
        empty = [
            f"{name} ({expression})"
            for name, expression in _expressions(listing.item)
            if all(_search(expression, row) in (None, "", []) for row in rows)
        ]
        missing = [each for each in empty if each.startswith(("id ", "name "))]
        observed = f"{len(rows)} rows on the first page" + (
            f"; nothing is found by {', '.join(empty)}" if empty else ""
        )
        return Finding(
            subject=listing.name,
            observed=observed,
            remedy=f"correct the expression of {' and '.join(missing)}" if missing else "",
        )


class _Said:
    """What a page says, each thing once."""

    def __init__(self) -> None:
        self.items: dict[str, Item] = {}
        self.ties: dict[str, Tie] = {}
        self.gone: list[str] = []
        self.gone_ties: list[str] = []
        self.flaws: list[Flaw] = []


def _search(expression: str, value: Any) -> Any:
    """Raises Malformed where a function of the expression gets what it cannot take."""
    if expression.isidentifier() and expression.isascii():  # most are a field's name, and there are very many rows
        return value.get(expression) if isinstance(value, dict) else None
    import jmespath
    from jmespath.exceptions import JMESPathError

    try:
        return jmespath.search(expression, value)  # compiled once: jmespath remembers expressions
    except JMESPathError as error:
        raise Malformed(f"{expression}: {' '.join(str(error).split())}") from None


def _holds(value: Any) -> bool:
    """As JMESPath has it: 0 is a value."""
    return value is not None and value is not False and value not in ("", [], {})


def _texts(expression: str, row: Any, what: str) -> Iterator[str]:
    """One value, or each of a list; none for false, which ``a && b`` is where ``a`` does not hold."""
    found = _search(expression, row) if expression else None
    for one in found if isinstance(found, list) else [found] if found is not False else ():
        if value := text(one, f"{what} ({expression})"):
            yield value


def _identifiers(where: Fields, row: Any) -> Iterator[Identifier]:
    for type_, expression in where.identifiers.items():
        scope = next(_texts(where.scopes.get(type_, ""), row, f"scopes.{type_}"), "")
        for value in _texts(expression, row, f"identifiers.{type_}"):
            yield Identifier(type_, value, scope)


def _expressions(where: Fields) -> Iterator[tuple[str, str]]:
    for name in type(where).model_fields:
        value = getattr(where, name)
        if isinstance(value, dict):
            yield from ((f"{name}.{type_}", expression) for type_, expression in value.items())
        elif value and name != "retired":
            yield name, value


def _key(listing: Listing, row: Any) -> str:
    """By what a row is known again on the next page."""
    if listing.item is not None and (id := _search(listing.item.id, row)) is not None:
        row = id
    return blake2b(msgspec.json.encode(row, order="deterministic"), digest_size=8).hexdigest()


def _written(seconds: float, form: str) -> str | int:
    moment = datetime.fromtimestamp(seconds, UTC)
    match form:
        case "iso":
            return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
        case "unix":
            return int(seconds)
        case "unix_ms":
            return int(seconds * 1000)
    return moment.strftime(form)


def _linked(header: str) -> str:
    """The target of the relation ``next`` in a header Link (RFC 8288)."""
    from requests.utils import parse_header_links

    return (
        next((str(one["url"]) for one in parse_header_links(header) if one.get("rel") == "next"), "") if header else ""
    )


def _read_refusal(refusal: "Refusal") -> ForeshockError | None:
    return Expired(refusal.message) if refusal.status == 410 else None


def _build(name: str, config: RestConfig, parts: CmdbParts) -> RestSource:
    from foreshock.connect.http import Basic, KeyHeader

    instance, place = f"rest {name!r}", f"topology.{name}"
    reach: dict[str, Any] = {"ca_file": config.ca_file, "proxy": config.proxy}
    auth: Auth | None = None
    if config.token_file is not None:
        auth = _Token(config.token_scheme, read_secret(config.token_file, f"{place}.token_file"))
    elif config.password_file is not None:
        auth = Basic(config.user, read_secret(config.password_file, f"{place}.password_file"))
    elif config.key_file is not None:
        auth = KeyHeader(config.key_header, read_secret(config.key_file, f"{place}.key_file"))
    elif config.client_secret_file is not None:
        secret = read_secret(config.client_secret_file, f"{place}.client_secret_file")
        form = {"grant_type": "client_credentials", "client_id": config.client_id, "client_secret": secret}
        form |= {"scope": config.scope} if config.scope else {}
        server, path = _split(config.token_url)
        auth = OAuth(parts.http(instance, server, secrets=(secret,), **reach), path, form, (secret,))
    server, _ = _split(config.url)
    http = parts.http(instance, server, auth=auth, max_body_bytes=MAX_BODY_BYTES, read_refusal=_read_refusal, **reach)
    return RestSource(config, http)


class _Token:
    """``Authorization`` with the word in front that the system wants."""

    def __init__(self, scheme: str, token: str) -> None:
        self._scheme = scheme
        self.secrets = (token,)

    def __call__(self, request: "PreparedRequest") -> "PreparedRequest":
        request.headers["Authorization"] = f"{self._scheme} {self.secrets[0]}"
        return request


def _split(address: str) -> tuple[str, str]:
    """Scheme and host, and the path."""
    parts = urlsplit(address)
    return f"{parts.scheme}://{parts.netloc}", parts.path


SOURCE = SourceKind(
    kind="rest",
    title="Any system with JSON by HTTP, by a mapping",
    facts="JMESPath; Link headers (RFC 8288); OAuth client credentials (RFC 6749)",
    config=RestConfig,
    build=_build,
)
