"""A stand-in of ServiceNow: the Table API, batches and OAuth, with the habits that surprise its clients.

Facts: those of ``foreshock.connect.vendors.servicenow`` and ``incident_sink.servicenow``; exercised by the third-party
    clients pysnc 1.2.1 and pysnow 0.7.17 as well.

Its CMDB has classes that extend each other, relationships with types, and tombstones in ``sys_audit_delete``.

It copies what matters to a client: a term with an unknown field is silently dropped from a query; unknown fields of a
body are ignored, and a reference that leads nowhere is blanked; text is cut to its length; priority follows from impact
and urgency whatever was written; journal fields append and read back empty; what is closed stays closed; problems do
not change state through the Table API.
"""

import base64
import functools
import itertools
import re
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from msgspec import Struct

from foreshock.sandbox.cmdb import Cmdb, Relation, Trait
from foreshock.sandbox.faults import Fault
from foreshock.sandbox.system import (
    Answering,
    Clock,
    Held,
    Refused,
    Reply,
    Request,
    Simulator,
    matches,
    secret_file,
    stable_id,
)

USER, PASSWORD, API_KEY = "foreshock", "sandbox", "now_sandbox"
CLIENT_ID, CLIENT_SECRET = "sandbox", "sandbox-secret"
_TIME = "%Y-%m-%d %H:%M:%S"
_TOKEN_S = 1799
_MAX_ROWS = 10_000
_PRIORITY = {"11": "1", "12": "2", "13": "3", "21": "2", "22": "3", "23": "4", "31": "3", "32": "4", "33": "5"}
_RESOLVED, _CLOSED, _CANCELED = "6", "7", "8"
_OPERATORS = ("ISNOTEMPTY", "ISEMPTY", "STARTSWITH", "ENDSWITH", "LIKE", "IN", "!=", ">=", "<=", "=", ">", "<")
_OPERATOR = re.compile(rf"^([a-z_][a-zA-Z0-9_.]*?)({'|'.join(_OPERATORS)})(.*)$", re.DOTALL)


class Field(Struct, frozen=True):
    """A column. kind: string, journal, boolean, integer, datetime or reference; to: the table of a reference."""

    kind: str = "string"
    length: int = 0
    to: str = ""


def _strings(names: str, length: int = 100) -> dict[str, Field]:
    return {name: Field("string", length) for name in names.split()}


def _references(to: str, names: str) -> dict[str, Field]:
    return {name: Field("reference", to=to) for name in names.split()}


_SYSTEM = {
    "sys_id": Field("string", 32),
    "sys_created_on": Field("datetime"),
    "sys_created_by": Field("string", 40),
    "sys_updated_on": Field("datetime"),
    "sys_updated_by": Field("string", 40),
    "sys_mod_count": Field("integer"),
    "sys_class_name": Field("string", 80),
}
_TASK = {
    **_SYSTEM,
    **_strings("number contact_type close_code correlation_id correlation_display"),
    "short_description": Field("string", 160),
    "description": Field("string", 4000),
    "close_notes": Field("string", 4000),
    "work_notes": Field("journal"),
    "comments": Field("journal"),
    "active": Field("boolean"),
    **_strings("state impact urgency priority severity category", 40),
    "opened_at": Field("datetime"),
    "closed_at": Field("datetime"),
    **_references("sys_user", "assigned_to opened_by closed_by"),
    **_references("sys_user_group", "assignment_group"),
    **_references("cmdb_ci", "cmdb_ci"),
    **_references("cmdb_ci_service", "business_service"),
}
_CI = {
    **_SYSTEM,
    **_strings("name fqdn ip_address mac_address serial_number asset_tag discovery_source correlation_id", 255),
    **_strings("install_status operational_status environment category", 40),
    **_references("sys_user_group", "support_group assignment_group"),
    **_references("sys_user", "owned_by"),
    **_references("cmn_location", "location"),
}
_SERVICE = {**_CI, **_strings("busines_criticality", 40)}
_PARENTS = {
    "cmdb_ci_service": "cmdb_ci",
    "cmdb_ci_service_discovered": "cmdb_ci_service",
    "cmdb_ci_business_app": "cmdb_ci",
    "cmdb_ci_appl": "cmdb_ci",
    "cmdb_ci_app_server": "cmdb_ci_appl",
    "cmdb_ci_db_instance": "cmdb_ci_appl",
    "cmdb_ci_database": "cmdb_ci",
    "cmdb_ci_computer": "cmdb_ci",
    "cmdb_ci_server": "cmdb_ci_computer",
    "cmdb_ci_linux_server": "cmdb_ci_server",
    "cmdb_ci_win_server": "cmdb_ci_server",
    "cmdb_ci_vm_instance": "cmdb_ci",
    "cmdb_ci_netgear": "cmdb_ci",
    "cmdb_ci_ip_switch": "cmdb_ci_netgear",
    "cmdb_ci_ip_router": "cmdb_ci_netgear",
    "cmdb_ci_cluster": "cmdb_ci",
    "cmdb_ci_kubernetes_cluster": "cmdb_ci_cluster",
    "cmdb_ci_storage_device": "cmdb_ci",
    "cmdb_ci_datacenter": "cmdb_ci",
    "cmdb_ci_rack": "cmdb_ci",
    "u_badge_reader": "cmdb_ci",
}
"""Table: the one it extends. Not the real tree in all its levels, and without what plugins bring (``cmdb_ci_api``)."""
TABLES: dict[str, dict[str, Field]] = {
    "incident": {
        **_TASK,
        **_strings("hold_reason reopen_count incident_state", 40),
        "resolved_at": Field("datetime"),
        **_references("sys_user", "resolved_by caller_id"),
        **_references("problem", "problem_id"),
        **_references("incident", "parent_incident"),
        **_references("change_request", "rfc caused_by"),
    },
    "problem": {
        **_TASK,
        **_strings("problem_state resolution_code", 40),
        "known_error": Field("boolean"),
        "workaround": Field("string", 4000),
        "cause_notes": Field("string", 4000),
        "fix_notes": Field("string", 4000),
        **_references("incident", "first_reported_by_task"),
    },
    "change_request": {
        **_TASK,
        **_strings("type risk", 40),
        **{name: Field("datetime") for name in ("start_date", "end_date", "work_start", "work_end")},
    },
    "task_ci": {**_SYSTEM, **_references("change_request", "task"), **_references("cmdb_ci", "ci_item")},
    "sys_user": {**_SYSTEM, **_strings("user_name name email"), "active": Field("boolean")},
    "sys_user_group": {**_SYSTEM, **_strings("name"), "active": Field("boolean")},
    "sys_user_has_role": {**_SYSTEM, **_references("sys_user", "user"), **_references("sys_user_role", "role")},
    "sys_user_role": {**_SYSTEM, **_strings("name")},
    "sys_journal_field": {**_SYSTEM, **_strings("element_id element name"), "value": Field("string", 65_000)},
    "sys_choice": {**_SYSTEM, **_strings("name element value label")},
    "sys_dictionary": {**_SYSTEM, **_strings("name element"), "mandatory": Field("boolean")},
    "cmdb_ci": _CI,
    **{table: _SERVICE if table.startswith("cmdb_ci_service") else _CI for table in _PARENTS},
    "cmn_location": {**_SYSTEM, **_strings("name")},
    "sys_audit_delete": {**_SYSTEM, **_strings("tablename documentkey")},
    "cmdb_rel_type": {**_SYSTEM, **_strings("name parent_descriptor child_descriptor")},
    "cmdb_rel_ci": {
        **_SYSTEM,
        **_references("cmdb_ci", "parent child"),
        **_references("cmdb_rel_type", "type"),
    },
}
RELATION_TYPES = (
    "Runs on::Runs",
    "Hosted on::Hosts",
    "Virtualized by::Virtualizes",
    "Depends on::Used by",
    "Contains::Contained by",
    "Members::Member of",
    "Connects to::Connected by",
    "Uses::Used by",
    "Barks at::Barked at by",
)
_PREFIX = {"incident": "INC", "problem": "PRB", "change_request": "CHG"}
_INDEXED = frozenset({"correlation_id", "element_id", "number", "name", "user_name"})
_STATES = {"incident": ("1", "2", "3", "6", "7", "8"), "problem": ("101", "102", "103", "104", "106", "107")}
CLOSE_CODES = (
    "Duplicate",
    "Known error",
    "Resolved by caller",
    "Resolved by change",
    "Resolved by problem",
    "Solution provided",
    "Workaround provided",
    "User error",
)


class _Refused(Refused):
    """An answer that is no success."""

    def __init__(self, status: int, message: str, detail: str | None = None) -> None:
        super().__init__(Reply(status=status, body=_error(message, detail)))


def _error(message: str, detail: str | None) -> dict[str, Any]:
    return {"error": {"message": message, "detail": detail}, "status": "failure"}


class ServiceNowSystem(Answering):
    """One instance with a few people, groups and CIs.

    Attributes:
        roles: by user name. mandatory: fields by table that a data policy demands at creation.
        unreadable: tables, or ``table.field``, that only an admin may read.
        unwritable: ``table.field`` that is dropped in silence when others than an admin write it.
        hourly_limit: requests per hour and user; 0 for none. no_rows_for_invalid: the property
            ``glide.invalid_query.returns_no_rows``.
        too_slow: whether lists break off as if they ran too long.
    """

    cmdb = Cmdb(
        class_name="cmdb_ci_server",
        kind="server",
        relation=Relation("Runs on::Runs", "cmdb_ci_appl", "cmdb_ci_server", "runs_on"),
        unmapped_class="u_badge_reader",
        unmapped_relation=Relation("Barks at::Barked at by", "cmdb_ci_appl", "cmdb_ci_server", "related_to"),
        shows={
            "owner": ("Database", "Network"),
            "contact": ("Ada Lovelace", "System Administrator"),
            "environment": ("production", "test"),
            "location": ("Hall 1", "Hall 2"),
            "retired": (False, True),
            "serial": ("SN-1", "SN-2"),
            "asset_tag": ("P-1", "P-2"),
            "fqdn": ("one.example.com", "two.example.com"),
            "ip": ("192.0.2.1", "192.0.2.2"),
            "mac": ("00:00:5e:00:53:01", "00:00:5e:00:53:02"),
            "record": ("42", "43"),
        },
        permissions=(
            "cmdb_ci_server",
            "cmdb_ci_server.name",
            "cmdb_rel_ci",
            "cmdb_rel_type",
            "sys_user_group",
            "cmn_location",
            "sys_audit_delete",
        ),
        lacks={Trait.EXPIRY: "a place in a table is the last sys_id that was read, and a mark is a time"},
    )

    def __init__(self, clock: Clock, seed: int = 1) -> None:
        super().__init__(clock, seed)
        self._by_id: dict[str, dict[str, str]] = {}
        self._sorted: dict[tuple[str, str], list[str]] = {}
        self._updates: dict[str, list[tuple[str, str]]] = defaultdict(list)
        self._spoilt: set[str] = set()
        self.page_rows = 0
        self._rows: dict[str, dict[str, dict[str, str]]] = {table: {} for table in TABLES}
        self._index: dict[tuple[str, str], dict[str, dict[str, None]]] = defaultdict(dict)
        self._numbers: dict[str, int] = defaultdict(lambda: 10_000)
        self._created = 0
        self._tokens: dict[str, tuple[str, datetime]] = {}
        self._calls: dict[str, list[datetime]] = defaultdict(list)
        self.passwords = {USER: PASSWORD, "admin": "admin"}
        self.roles = {USER: {"itil"}, "admin": {"admin"}, "ada": {"itil", "itil_admin"}, "system": {"admin"}}
        self.mandatory: dict[str, set[str]] = {}
        self.unreadable = {"sys_dictionary", "sys_user_has_role", "sys_user_role"}
        self.unwritable: set[str] = set()
        self.hourly_limit = 0
        self.no_rows_for_invalid = False
        self.too_slow = False
        self._furnish()

    # ---- the door ----

    def refuse(self, fault: Fault) -> Reply:
        match fault:
            case Fault.LIMITED:
                return self._limited(5, 60)
            case Fault.DENIED:
                return _unauthenticated()
            case Fault.FORBIDDEN:
                return Reply(status=403, body=_error("Insufficient rights to query records", None))
        return Reply(status=500, body=_error("Error during REST request", "java.lang.NullPointerException"))

    def _routed(self, request: Request) -> Reply:
        if request.path == "/oauth_token.do":
            return self._token(request)
        user = self._user(request)
        limited = self._count(user)
        if limited is not None:
            return limited
        self._check_headers(request)
        path = re.sub(r"^/api/now/v[12]/", "/api/now/", request.path)
        method = request.headers.get("x-http-method-override", request.method).upper()
        if method == "POST" and path == "/api/now/batch":
            return self._batch(request)
        if (found := matches("/api/now/table/{}", path)) is not None:
            return self._collection(method, found[0], request, user)
        if (found := matches("/api/now/table/{}/{}", path)) is not None:
            return self._single(method, found[0], found[1], request, user)
        raise _Refused(400, f"Requested URI does not represent any resource: {request.path}")

    def _check_headers(self, request: Request) -> None:
        accept = request.headers.get("accept", "")
        if not any(word in accept for word in ("application/json", "*/*")):
            raise _Refused(400, "Invalid Accept header", f"{accept!r} is not supported")
        if request.method in ("POST", "PUT", "PATCH") and "json" not in request.headers.get("content-type", ""):
            raise _Refused(400, "Invalid content-type", "Content-Type: application/json is required")

    def _user(self, request: Request) -> str:
        key = request.headers.get("x-sn-apikey")
        if key == API_KEY:
            return USER
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        if scheme == "Bearer" and value in self._tokens:
            user, until = self._tokens[value]
            if self._clock() < until:
                return user
        user, password = request.basic
        if user and self.passwords.get(user) == password:
            return user
        raise Refused(_unauthenticated())

    def _token(self, request: Request) -> Reply:
        form = request.form
        known = (form.get("client_id"), form.get("client_secret")) == (CLIENT_ID, CLIENT_SECRET)
        user = ""
        match form.get("grant_type"):
            case "client_credentials":
                user = USER
            case "password" if self.passwords.get(form.get("username", "")) == form.get("password"):
                user = form["username"]
            case "refresh_token" if form.get("refresh_token", "").startswith("refresh-"):
                user = form["refresh_token"].split("-")[1]
        if not known or not user:
            return Reply(status=401, body={"error_description": "access_denied", "error": "server_error"})
        self._created += 1
        token = stable_id(self._seed, "token", self._created)
        self._tokens[token] = (user, self._clock() + timedelta(seconds=_TOKEN_S))
        return Reply(
            body={
                "access_token": token,
                "refresh_token": f"refresh-{user}-{token[:8]}",
                "scope": "useraccount",
                "token_type": "Bearer",
                "expires_in": _TOKEN_S,
            }
        )

    def revoke_tokens(self) -> None:
        self._tokens.clear()

    def _count(self, user: str) -> Reply | None:
        if not self.hourly_limit:
            return None
        now = self._clock()
        recent = [at for at in self._calls[user] if now - at < timedelta(hours=1)]
        self._calls[user] = [*recent, now]
        if len(recent) < self.hourly_limit:
            return None
        wait_s = max(1, int((recent[0] + timedelta(hours=1) - now).total_seconds()))
        return self._limited(self.hourly_limit, wait_s)

    def _limited(self, limit: int, wait_s: int) -> Reply:
        headers = {
            "Retry-After": str(wait_s),
            "X-RateLimit-Limit": str(limit),
            "X-RateLimit-Reset": str(int(self._clock().timestamp()) + wait_s),
            "X-RateLimit-Rule": stable_id(self._seed, "rule"),
        }
        detail = f"Rate limit of {limit} requests per hour for Table API exceeded"
        return Reply(status=429, body=_error("Rate limit exceeded", detail), headers=headers)

    def _batch(self, request: Request) -> Reply:
        body = _body(request)
        answered = []
        for part in body.get("rest_requests", ()):
            path, _, query = part["url"].partition("?")
            headers = {each["name"].lower(): each["value"] for each in part.get("headers", ())}
            inner = Request(
                method=part["method"],
                path="/" + path.lstrip("/"),
                query=query,
                headers={**request.headers, **headers},
                body=base64.b64decode(part.get("body", "")),
                base=request.base,
            )
            try:
                reply = self._routed(inner)
            except Refused as refused:
                reply = refused.reply
            answered.append(
                {
                    "id": str(part["id"]),
                    "status_code": reply.status,
                    "headers": [{"name": name, "value": value} for name, value in reply.headers.items()],
                    "body": base64.b64encode(reply.encoded()[0]).decode(),
                }
            )
        return Reply(
            body={
                "batch_request_id": str(body.get("batch_request_id", "")),
                "serviced_requests": answered,
                "unserviced_requests": [],
            }
        )

    # ---- the Table API ----

    def _collection(self, method: str, table: str, request: Request, user: str) -> Reply:
        self._known(table)
        match method:
            case "GET":
                return self._list(table, request, user)
            case "POST":
                self._may(user, table, "create")
                row = self._insert(table, _body(request), user, display=_flag(request, "sysparm_input_display_value"))
                location = f"{request.base}/api/now/table/{table}/{row['sys_id']}"
                return self._shown(table, row, request, user, status=201, headers={"Location": location})
        raise _Refused(405, "Method not supported", f"{method} is not supported here")

    def _single(self, method: str, table: str, sys_id: str, request: Request, user: str) -> Reply:
        self._known(table)
        row = self._find(table, sys_id)
        if row is None or not self._reads(user, table):
            raise _Refused(404, "No Record found", "Record doesn't exist or ACL restricts the record retrieval")
        match method:
            case "GET":
                return self._shown(table, row, request, user)
            case "PUT" | "PATCH":
                self._may(user, table, "write")
                display = _flag(request, "sysparm_input_display_value")
                self._change(row["sys_class_name"], row, _body(request), user, display=display)
                return self._shown(table, row, request, user)
            case "DELETE":
                self._may(user, table, "delete")
                self._remove(row)
                return Reply(status=204)
        raise _Refused(405, "Method not supported", f"{method} is not supported here")

    def _list(self, table: str, request: Request, user: str) -> Reply:
        given = request.parameters
        if self.too_slow:
            return Reply(body=b'{"result":[{"sys_id":"Transaction cancelled: maximum execution time exceeded')
        query = given.get("sysparm_query", "")
        plain = [f"{name}={value}" for name, value in given.items() if not name.startswith("sysparm_")]
        if not self._reads(user, table):
            raise _Refused(403, "Insufficient rights to query records")
        limit = _number(given.get("sysparm_limit"), _MAX_ROWS)
        limit = min(limit, self.page_rows) if self.page_rows else limit
        offset = _number(given.get("sysparm_offset"), 0)
        counted = not _flag(request, "sysparm_no_count")
        rows, total = self._select(table, "^".join(filter(None, [*plain, query])), None if counted else offset + limit)
        page = rows[offset : offset + limit]
        headers = {"X-Total-Count": str(total)} if counted else {}
        if counted and not _flag(request, "sysparm_suppress_pagination_header"):
            headers["Link"] = _links(request, limit, offset, total)
        if not rows and request.path.startswith("/api/now/v1/"):
            raise _Refused(404, "No Record found", "Record doesn't exist or ACL restricts the record retrieval")
        return Reply(
            body={"result": [self._rendered(table, row, given, request.base, user) for row in page]}, headers=headers
        )

    def _shown(
        self,
        table: str,
        row: Mapping[str, str],
        request: Request,
        user: str,
        *,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        if request.headers.get("x-no-response-body", "").lower() == "true":
            return Reply(status=status if status == 201 else 204, headers=headers or {})
        body = {"result": self._rendered(table, row, request.parameters, request.base, user)}
        return Reply(status=status, body=body, headers=headers or {})

    def _rendered(
        self, table: str, row: Mapping[str, str], given: Mapping[str, str], base: str, user: str
    ) -> dict[str, Any]:
        asked = [name for name in given.get("sysparm_fields", "").split(",") if name]
        mode = given.get("sysparm_display_value", "false").lower()
        plain = given.get("sysparm_exclude_reference_link", "false").lower() == "true"
        found: dict[str, Any] = {}
        for name in asked or TABLES[table]:
            field, value = self._walk(table, row, name)
            if field is None or (self.unreadable and self._hidden(user, table, name)):
                continue
            found[name] = self._value(field, value, mode, base, plain=plain)
        if row["sys_id"] in self._spoilt and "name" in found:
            found["name"] = [found["name"]]
        return found

    def _value(self, field: Field, value: str, mode: str, base: str, *, plain: bool) -> Any:
        if field.kind == "journal":
            value = ""
        link = f"{base}/api/now/table/{field.to}/{value}" if field.kind == "reference" and value else ""
        shown = self._display(field, value)
        if mode == "all":
            both = {"display_value": shown, "value": value}
            return {**both, "link": link} if link and not plain else both
        if link and not plain:
            return {"link": link, "display_value" if mode == "true" else "value": shown if mode == "true" else value}
        return shown if mode == "true" else value

    def _display(self, field: Field, value: str) -> str:
        if field.kind != "reference" or not value:
            return value
        row = self._find(field.to, value) or {}
        return row.get("number") or row.get("name") or value

    def _walk(self, table: str, row: Mapping[str, str], name: str) -> tuple[Field | None, str]:
        """The field at the end of ``assigned_to.user_name``, and its value."""
        fields = TABLES[table]
        if name in fields:
            return fields[name], row.get(name, "")
        head, _, rest = name.partition(".")
        field = fields.get(head)
        if field is None or not rest:
            return field, row.get(head, "")
        if field.kind != "reference":
            return None, ""
        return self._walk(field.to, self._find(field.to, row.get(head, "")) or {}, rest)

    # ---- queries ----

    def _select(self, table: str, query: str, enough: int | None = None) -> tuple[list[dict[str, str]], int]:
        """The rows of a query and how many they are; of a query by sys_id only so many as are enough."""
        order: list[tuple[str, bool]] = []
        groups: list[list[list[tuple[str, str, str]]]] = [[]]
        for term in query.split("^"):
            if not term:
                continue
            if term.startswith("ORDERBY"):
                down = term.startswith("ORDERBYDESC")
                order.append((term.removeprefix("ORDERBYDESC" if down else "ORDERBY"), down))
                continue
            if term.startswith("NQ"):
                groups.append([])
                term = term.removeprefix("NQ")
            joined = term.startswith("OR")
            read = self._term(table, term.removeprefix("OR") if joined else term)
            if read is None:
                if self.no_rows_for_invalid:
                    return [], 0
                continue  # the habit that surprises everyone: the rest of the query is carried out
            if joined and groups[-1]:
                groups[-1][-1].append(read)
            else:
                groups[-1].append([read])
        if order == [("sys_id", False)] and len(groups) == 1:
            return self._by_place(table, groups[0], enough)
        found = {row["sys_id"]: row for group in groups for row in self._meeting(table, group)}
        rows = list(found.values())
        for name, down in reversed(order or [("sys_created_on", False)]):
            if self._walk(table, {}, name)[0] is not None:
                rows.sort(key=lambda row: self._walk(table, row, name)[1], reverse=down)
        return rows, len(rows)

    def _by_place(
        self, table: str, group: Sequence[Sequence[tuple[str, str, str]]], enough: int | None
    ) -> tuple[list[dict[str, str]], int]:
        """What keyset paging asks for, without a look at all rows: they may be hundreds of thousands."""
        alone = [terms[0] for terms in group if len(terms) == 1]
        after = max((value for name, operator, value in alone if name + operator == "sys_id>"), default="")
        since = max((value for name, operator, value in alone if name + operator == "sys_updated_on>="), default="")
        all_ids = self._sorted_ids(table, since)
        ids = all_ids[bisect_right(all_ids, after) :] if after else all_ids
        if len(group) == bool(after) + bool(since):
            return [self._by_id[id] for id in (ids if enough is None else ids[:enough])], len(ids)
        meeting = (
            row
            for row in map(self._by_id.__getitem__, ids)
            if all(any(self._holds(table, row, term) for term in terms) for terms in group)
        )
        rows = list(meeting if enough is None else itertools.islice(meeting, enough))
        return rows, len(rows)

    def _sorted_ids(self, table: str, since: str) -> list[str]:
        """Of what was updated since; of all where that is empty."""
        key = (table, since)
        if key not in self._sorted:
            found: set[str] = set()
            for each in _family(table):
                updates = self._updates[each]
                changed = (id for _, id in updates[bisect_left(updates, (since, "")) :]) if since else self._rows[each]
                found.update(id for id in changed if id in self._rows[each])
            self._sorted[key] = sorted(found)
        return self._sorted[key]

    def _term(self, table: str, term: str) -> tuple[str, str, str] | None:
        found = _OPERATOR.match(term)
        if found is None:
            return None
        name, operator, value = found.groups()
        return None if self._walk(table, {}, name)[0] is None else (name, operator, value)

    def _meeting(self, table: str, group: Sequence[Sequence[tuple[str, str, str]]]) -> Iterable[dict[str, str]]:
        rows: Iterable[dict[str, str]] = self._all(table)
        for terms in group:  # an index narrows the search, as it should there
            name, operator, value = terms[0]
            if len(terms) == 1 and name in _INDEXED and operator in ("=", "IN"):
                values = value.split(",") if operator == "IN" else [value]
                indexes = [self._index[each, name] for each in _family(table)]
                ids = [id for index in indexes for each in values for id in index.get(each.casefold(), ())]
                rows = [row for id in ids if (row := self._find(table, id)) is not None]
                break
        for terms in group:
            rows = [row for row in rows if any(self._holds(table, row, term) for term in terms)]
        return rows

    def _holds(self, table: str, row: Mapping[str, str], term: tuple[str, str, str]) -> bool:
        name, operator, value = term
        found, value = self._walk(table, row, name)[1].casefold(), value.casefold()
        match operator:
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
                return bool(found) and found < value
            case "LIKE":
                return value in found
            case "STARTSWITH":
                return found.startswith(value)
            case "ENDSWITH":
                return found.endswith(value)
            case "IN":
                return found in value.split(",")
            case "ISEMPTY":
                return not found
        return bool(found)

    # ---- records ----

    def insert(self, table: str, **values: str) -> dict[str, str]:
        """A record that an administrator makes; as stored."""
        return self._insert(table, values, "admin", display=False)

    def _insert(self, table: str, values: Mapping[str, Any], user: str, *, display: bool) -> dict[str, str]:
        missing = sorted(name for name in self.mandatory.get(table, ()) if not values.get(name))
        if missing:
            raise _aborted(table, f"Data Policy Exception: The following fields are mandatory: {', '.join(missing)}")
        self._created += 1
        now = self._clock().strftime(_TIME)
        row = {
            **dict.fromkeys(TABLES[table], ""),
            "sys_id": stable_id(self._seed, table, self._created),
            "sys_created_on": now,
            "sys_created_by": user,
            "sys_updated_on": now,
            "sys_updated_by": user,
            "sys_mod_count": "0",
            "sys_class_name": table,
        }
        if table in _PREFIX:
            self._numbers[table] += 1
            row["number"] = f"{_PREFIX[table]}{self._numbers[table]:07}"
            row |= {"state": _STATES.get(table, ("-5",))[0], "active": "true", "opened_at": now}
            row |= {"impact": "3", "urgency": "3", "opened_by": self._id_of_user(user)}
        written = self._accepted(table, row, values, user, display=display)
        row |= written
        if table in _PREFIX:
            self._derive(table, row, {}, user)
        self._rows[table][row["sys_id"]] = self._by_id[row["sys_id"]] = row
        self._noted(table, row)
        for name in _INDEXED.intersection(row):
            self._index[table, name].setdefault(row[name].casefold(), {})[row["sys_id"]] = None
        self._journalise(table, row, values, user)
        if table in _PREFIX:
            self._effects.append(f"{table} {row['number']} created {row['correlation_id']}")
        return row

    def _change(self, table: str, row: dict[str, str], values: Mapping[str, Any], user: str, *, display: bool) -> None:
        written = self._accepted(table, row, values, user, display=display)
        written = {name: value for name, value in written.items() if row[name] != value}
        if table == "problem":
            for name in ("state", "problem_state"):
                written.pop(name, None)  # since Rome the Table API carries out no transition
        if table == "incident":
            self._check_transition(row, {**row, **written}, user)
        noted = self._journalise(table, row, values, user)
        if not written and not noted:
            return
        before = dict(row)
        for name in _INDEXED.intersection(written):
            self._index[table, name].get(row[name].casefold(), {}).pop(row["sys_id"], None)
            self._index[table, name].setdefault(written[name].casefold(), {})[row["sys_id"]] = None
        row |= written
        row |= {
            "sys_updated_on": self._clock().strftime(_TIME),
            "sys_updated_by": user,
            "sys_mod_count": str(int(row["sys_mod_count"]) + 1),
        }
        self._noted(table, row)
        if table in _PREFIX:
            self._derive(table, row, before, user)
            said = f"state {row['state']}" if row["state"] != before["state"] else "updated"
            self._effects.append(f"{table} {row['number']} {said} {row['correlation_id']}")

    def _accepted(
        self, table: str, row: Mapping[str, str], values: Mapping[str, Any], user: str, *, display: bool
    ) -> dict[str, str]:
        """What of a body is stored: unknown and protected fields are dropped in silence."""
        found = {}
        for name, value in values.items():
            field = TABLES[table].get(name)
            admin = "admin" in self.roles.get(user, ())
            if field is None or field.kind == "journal" or name in ("sys_id", "number", "sys_created_on"):
                continue
            if not admin and (f"{table}.{name}" in self.unwritable or name.startswith("sys_")):
                continue
            text = "" if value is None else str(value).lower() if isinstance(value, bool) else str(value)
            if field.kind == "reference":
                text = self._referred(field, text, display=display)
            found[name] = text[: field.length] if field.length else text
        return found

    def _referred(self, field: Field, text: str, *, display: bool) -> str:
        if display and text:
            named = [row for row in self._all(field.to) if text in (row.get("name"), row.get("user_name"))]
            return named[0]["sys_id"] if named else ""
        if re.fullmatch("[0-9a-f]{32}", text) and self._find(field.to, text) is None:
            return ""  # leads nowhere
        return text if self._find(field.to, text) is not None else ""

    def _check_transition(self, row: Mapping[str, str], after: Mapping[str, str], user: str) -> None:
        state, wanted = row["state"], after["state"]
        if state == wanted:
            return
        roles = self.roles.get(user, set())
        if wanted not in _STATES["incident"]:
            raise _aborted("incident", f"Invalid update: state {wanted} is not a choice")
        if state in (_CLOSED, _CANCELED):
            raise _aborted("incident", "Business Rule 'Closed incidents stay closed'")
        if wanted == _CLOSED and not roles.intersection({"itil_admin", "admin"}):
            raise _aborted("incident", "Business Rule 'Only itil_admin closes'")
        if wanted in (_RESOLVED, _CLOSED) and not (after["close_code"] and after["close_notes"]):
            raise _aborted(
                "incident", "Data Policy Exception: The following fields are mandatory: Close code, Close notes"
            )
        if wanted == "3" and not after["hold_reason"]:
            raise _aborted("incident", "Data Policy Exception: The following fields are mandatory: On hold reason")

    def _derive(self, table: str, row: dict[str, str], before: Mapping[str, str], user: str) -> None:
        """What business rules compute."""
        row["priority"] = _PRIORITY.get(row["impact"] + row["urgency"], "5")
        if table != "incident" or row["state"] == before.get("state"):
            return
        now, person = self._clock().strftime(_TIME), self._id_of_user(user)
        row["incident_state"] = row["state"]
        row["active"] = "false" if row["state"] in (_CLOSED, _CANCELED) else "true"
        if row["state"] == _RESOLVED:
            row |= {"resolved_at": now, "resolved_by": person}
        elif row["state"] in (_CLOSED, _CANCELED):
            row |= {"closed_at": now, "closed_by": person}
        elif before.get("state") == _RESOLVED:
            row |= {"resolved_at": "", "resolved_by": "", "reopen_count": str(int(row["reopen_count"] or 0) + 1)}

    def _journalise(self, table: str, row: Mapping[str, str], values: Mapping[str, Any], user: str) -> bool:
        noted = False
        for name, value in values.items():
            field = TABLES[table].get(name)
            if field is not None and field.kind == "journal" and value:
                self._insert(
                    "sys_journal_field",
                    {"element_id": row["sys_id"], "element": name, "name": table, "value": str(value)},
                    "system",
                    display=False,
                )
                entry = next(reversed(self._rows["sys_journal_field"].values()))
                entry["sys_created_by"] = user
                self._effects.append(f"{table} {row['number']} noted {row['correlation_id']}")
                noted = True
        return noted

    def _noted(self, table: str, row: Mapping[str, str]) -> None:
        """In the order of time, which only goes forward."""
        self._sorted.clear()
        self._updates[table].append((row["sys_updated_on"], row["sys_id"]))

    def _remove(self, row: Mapping[str, str], *, trace: bool = True) -> None:
        table = row["sys_class_name"]
        if table in _family("cmdb_ci"):
            for tie in [each for each in self._all("cmdb_rel_ci") if row["sys_id"] in (each["parent"], each["child"])]:
                self._remove(tie, trace=trace)
        del self._rows[table][row["sys_id"]], self._by_id[row["sys_id"]]
        self._sorted.clear()
        if trace:
            self._insert(
                "sys_audit_delete", {"tablename": table, "documentkey": row["sys_id"]}, "system", display=False
            )
        for name in _INDEXED.intersection(row):
            self._index[table, name].get(row[name].casefold(), {}).pop(row["sys_id"], None)
        self._effects.append(f"{table} {row.get('number', row['sys_id'])} deleted {row.get('correlation_id', '')}")

    def _all(self, table: str) -> list[dict[str, str]]:
        """Of the table and of those that extend it."""
        return [row for each in _family(table) for row in self._rows[each].values()]

    def _find(self, table: str, sys_id: str) -> dict[str, str] | None:
        row = self._by_id.get(sys_id)
        return row if row is not None and row["sys_class_name"] in _family(table) else None

    # ---- who may what ----

    def _known(self, table: str) -> None:
        if table not in TABLES:
            raise _Refused(400, f"Invalid table {table}", None)

    def _reads(self, user: str, table: str) -> bool:
        roles = self.roles.get(user, set())
        if "admin" in roles:
            return True
        if table in _PREFIX and not roles.intersection({"itil", "itil_admin", "sn_incident_write", "sn_incident_read"}):
            return False
        return table not in self.unreadable

    def _hidden(self, user: str, table: str, name: str) -> bool:
        if "admin" in self.roles.get(user, ()):
            return False
        head, _, rest = name.partition(".")
        if f"{table}.{head}" in self.unreadable:
            return True
        to = TABLES[table][head].to if rest else ""
        return bool(rest) and (to in self.unreadable or self._hidden(user, to, rest))

    def _may(self, user: str, table: str, what: str) -> None:
        roles = self.roles.get(user, set())
        enough = {"itil", "itil_admin", "sn_incident_write"} if table in _PREFIX and what != "delete" else set()
        if not roles.intersection({"admin", *enough}):
            raise _Refused(403, "Operation Failed", "ACL Exception: User not allowed to " + what + " record")

    def _id_of_user(self, name: str) -> str:
        return next(iter(self._index["sys_user", "user_name"].get(name.casefold(), ())), "")

    # ---- people, and what is there from the start ----

    def edit(self, number: str, action: str, *, actor: str = "ada", text: str = "", code: str = "") -> None:
        row = self._by_number(number)
        table = row["sys_class_name"]
        if not self._id_of_user(actor):
            self.insert("sys_user", user_name=actor, name=actor.title(), active="true")
            self.roles.setdefault(actor, {"itil", "itil_admin"})
        changed: dict[str, str]
        match action:
            case "take":
                changed = {"assigned_to": self._id_of_user(actor), "state": "2"}
            case "assign":
                group = self._index["sys_user_group", "name"].get(text.casefold(), {})
                changed = {"assignment_group": next(iter(group), "")}
            case "comment":
                changed = {"work_notes": text}
            case "resolve":
                changed = {"state": _RESOLVED, "close_code": code or "User error", "close_notes": text or "done"}
            case "reopen":
                changed = {"state": "2"}
            case "close":
                changed = {"state": _CLOSED, "close_code": code or "Duplicate", "close_notes": text or "done"}
            case "wait":
                changed = {"state": "3", "hold_reason": code or "4", "work_notes": text}
            case "resume":
                changed = {"state": "2"}
            case "retitle":
                changed = {"short_description": text}
            case "workaround":
                changed = {"workaround": text, "known_error": "true"}
            case "delete":
                self._remove(row)
                return
            case _:
                raise KeyError(action)
        if table == "problem" and "state" in changed:  # which people may move, and the Table API not
            state = {_RESOLVED: "106", _CLOSED: "107"}.get(changed.pop("state"), "104")
            row |= {"state": state, "problem_state": state}
        self._change(table, row, changed, actor, display=False)

    # ---- what people do with CIs ----

    def put_ci(self, name: str, class_name: str = "", **shown: Any) -> str:
        values = {"name": name, "install_status": "1", "operational_status": "1", **self._columns(shown)}
        return self.insert(class_name or self.cmdb.class_name, **values)["sys_id"]

    def change_ci(self, id: str, **shown: Any) -> None:
        row = self._by_id[id]
        self._change(row["sys_class_name"], row, self._columns(shown), "admin", display=False)

    def delete_ci(self, id: str, *, trace: bool = True) -> None:
        self._remove(self._by_id[id], trace=trace)

    def relate(self, source: str, target: str, word: str = "") -> str:
        (type_,) = self._index["cmdb_rel_type", "name"][(word or self.cmdb.relation.word).casefold()]
        return self.insert("cmdb_rel_ci", parent=source, child=target, type=type_)["sys_id"]

    def unrelate(self, key: str) -> None:
        self._remove(self._by_id[key])

    def spoil_ci(self, id: str) -> None:
        self._spoilt.add(id)
        self._change(self._by_id[id]["sys_class_name"], self._by_id[id], {"category": "spoilt"}, "admin", display=False)

    def expire(self) -> None:
        """Nothing does here."""

    def forbid(self, permission: str) -> None:
        self.unreadable.add(permission)

    def fill(self, cis: int, relationships: int) -> None:
        """An estate: services need applications, which run on servers, which hang on switches."""
        classes = ("cmdb_ci_service", *["cmdb_ci_appl"] * 9, *["cmdb_ci_linux_server"] * 9, "cmdb_ci_ip_switch")
        ids = [
            self.put_ci(
                f"{classes[number % 20].removeprefix('cmdb_ci_')}-{number}",
                classes[number % 20],
                serial=f"SN-{number:08}",
                fqdn=f"host-{number}.example.com",
                ip=f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}",
                owner=("Database", "Network", "Service Desk")[number % 3],
                environment="production",
                location="Hall 1",
            )
            for number in range(cis)
        ]
        for number in range(relationships):
            step = number // cis + 1
            self.relate(ids[number % cis], ids[(number + step * step) % cis], RELATION_TYPES[number % 6])

    def _columns(self, shown: Mapping[str, Any]) -> dict[str, str]:
        """What ``cmdb.shows`` names, as columns of a CI."""
        found: dict[str, str] = {}
        for name, value in shown.items():
            match name:
                case "owner":
                    found["support_group"] = next(iter(self._index["sys_user_group", "name"][value.casefold()]))
                case "contact":
                    found["owned_by"] = next(iter(self._index["sys_user", "name"][value.casefold()]))
                case "location":
                    found["location"] = next(iter(self._index["cmn_location", "name"][value.casefold()]))
                case "retired":
                    found["install_status"] = "7" if value else "1"
                case _:
                    found[_COLUMNS.get(name, name)] = value
        return found

    def _by_number(self, number: str) -> dict[str, str]:
        for table in _PREFIX:
            for sys_id in self._index[table, "number"].get(number.casefold(), ()):
                return self._rows[table][sys_id]
        raise KeyError(number)

    def held(self) -> list[Held]:
        found = []
        for table in ("incident", "problem"):
            for row in self._rows[table].values():
                ids = self._index["sys_journal_field", "element_id"].get(row["sys_id"], ())
                notes = tuple(self._rows["sys_journal_field"][id]["value"] for id in ids)
                links = [self._find(to, row.get(name, "")) for name, to in _LINKS.items()]
                found.append(
                    Held(
                        number=row["number"],
                        key=row["correlation_id"],
                        state={"6": "resolved", "7": "closed", "8": "closed"}.get(row["state"], "open"),
                        title=row["short_description"],
                        notes=notes,
                        texts=(row["short_description"], row["description"], row["close_notes"], *notes),
                        links=tuple(each["number"] for each in links if each is not None),
                        type=table,
                    )
                )
        return found

    def _furnish(self) -> None:
        for name, title in ((USER, "Foreshock"), ("admin", "System Administrator"), ("ada", "Ada Lovelace")):
            self.insert("sys_user", user_name=name, name=title, active="true")
        for role in ("itil", "admin"):
            self.insert("sys_user_role", name=role)
        itil = next(iter(self._rows["sys_user_role"]))
        self.insert("sys_user_has_role", user=self._id_of_user(USER), role=itil)
        for group in ("Database", "Network", "Service Desk"):
            self.insert("sys_user_group", name=group, active="true")
        for name in ("Hall 1", "Hall 2"):
            self.insert("cmn_location", name=name)
        for name in RELATION_TYPES:
            parent, _, child = name.partition("::")
            self.insert("cmdb_rel_type", name=name, parent_descriptor=parent, child_descriptor=child)
        for name in ("db1", "web1"):
            self.insert("cmdb_ci_server", name=name)
        self.insert("cmdb_ci_service", name="shop")
        for value in _STATES["incident"]:
            self.insert("sys_choice", name="incident", element="state", value=value)
        for value in CLOSE_CODES:
            self.insert("sys_choice", name="incident", element="close_code", value=value)
        for element in ("impact", "urgency"):
            for value in ("1", "2", "3"):
                self.insert("sys_choice", name="task", element=element, value=value)
        self.insert("sys_dictionary", name="task", element="short_description", mandatory="true")


_COLUMNS = {
    "serial": "serial_number",
    "ip": "ip_address",
    "mac": "mac_address",
    "record": "correlation_id",
    "criticality": "busines_criticality",
}
_LINKS = {"problem_id": "problem", "parent_incident": "incident"}


@functools.cache
def _family(table: str) -> tuple[str, ...]:
    """A table and those that extend it, or those in turn."""
    children = (child for child, parent in _PARENTS.items() if parent == table)
    return (table, *(each for child in children for each in _family(child)))


def _unauthenticated() -> Reply:
    body = _error("User Not Authenticated", "Required to provide Auth information")
    return Reply(status=401, body=body, headers={"WWW-Authenticate": 'Basic realm="Service-now"'})


def _aborted(table: str, why: str) -> _Refused:
    return _Refused(
        403,
        "Operation Failed",
        f"Operation against file '{table}' was aborted by {why}. Business Rule Stack:",
    )


def _body(request: Request) -> dict[str, Any]:
    try:
        body = request.json()
    except ValueError:
        raise _Refused(400, "Exception while reading request", "Cannot decode: not JSON") from None
    if body is None:
        return {}
    if not isinstance(body, dict):
        raise _Refused(400, "Exception while reading request", "The payload is not a JSON object")
    return body


def _flag(request: Request, name: str) -> bool:
    return request.parameters.get(name, "").lower() == "true"


def _number(text: str | None, default: int) -> int:
    return int(text) if text and text.isdigit() else default


def _links(request: Request, limit: int, offset: int, total: int) -> str:
    places = {"first": 0, "last": max(0, (total - 1) // limit * limit) if limit else 0}
    if offset > 0:
        places["prev"] = max(0, offset - limit)
    if offset + limit < total:
        places["next"] = offset + limit
    given = {name: value for name, value in request.parameters.items() if name != "sysparm_offset"}
    return ",".join(
        f'<{request.base}{quote(request.path)}?{urlencode({**given, "sysparm_offset": place})}>;rel="{rel}"'
        for rel, place in places.items()
    )


def _settings(url: str, folder: Path) -> dict[str, Any]:
    return {
        "url": url,
        "user": USER,
        "password_file": secret_file(folder, "servicenow.password", PASSWORD),
        "fallback_group": "Service Desk",
    }


def _source_settings(url: str, folder: Path) -> dict[str, Any]:
    return {
        "url": url,
        "user": USER,
        "password_file": secret_file(folder, "servicenow.password", PASSWORD),
        "tables": ["cmdb_ci_service", "cmdb_ci_appl", "cmdb_ci_server", "cmdb_ci_netgear", "u_badge_reader"],
    }


SIMULATOR = Simulator(
    kind="servicenow",
    title="ServiceNow",
    build=ServiceNowSystem,
    settings=_settings,
    source_settings=_source_settings,
)
