"""A stand-in of ManageEngine ServiceDesk Plus, cloud and on-premises at once, with the habits that surprise clients.

Facts: those of ``foreshock.connect.vendors.servicedesk_plus`` and ``incident_sink.servicedesk_plus``; exercised by the
    third-party clients servicedesk-client 0.5.0 and ZohoSDPlusAPI 0.1.6 as well.

It copies what matters to a client: ``input_data`` comes in the query or in a form; ``response_status`` is a list in
lists and an object elsewhere, and a refusal may come as HTTP 200; a list shows few fields unless more are asked for,
counts rows from 1 and gives a hundred at most; a condition on an unknown field is ignored; what is unknown in a request
is ignored, an unknown value refused; a template makes fields mandatory, at creation or at the end; the description
comes back as other HTML; deleted is moved to the trash. The cloud is reached with tokens that Zoho gives for an hour,
ten in ten minutes, telling of refusals with status 200; on-premises takes a technician key. CIs stand at other
addresses in the cloud than on-premises, and have their attributes in a part of their own or beside the name; their
relationships are told CI by CI, by each end in its own words; nothing tells of what was deleted.
"""

import html
import json
import re
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from foreshock.sandbox.cmdb import Cmdb, Relation, Trait
from foreshock.sandbox.faults import Fault
from foreshock.sandbox.system import (
    Answering,
    Clock,
    Held,
    Reply,
    Request,
    Route,
    Simulator,
    routed,
    secret_file,
    stable_id,
)

USER = "foreshock@example.com"
TECHNICIAN_KEY = "6F1A2B3C-SANDBOX"
CLIENT_ID, CLIENT_SECRET, REFRESH_TOKEN = "1000.SANDBOX", "sandbox-secret", "1000.sandbox-refresh"
PORTAL = "itdesk"
KEY_FIELD, PROBLEM_KEY_FIELD, TEXT_FIELD = "udf_sline_901", "udf_sline_301", "udf_sline_902"
KEY_PREFIX = "foreshock-"
_KEYS = {"requests": KEY_FIELD, "problems": PROBLEM_KEY_FIELD}
_TOKEN_AGE = timedelta(hours=1)
_TOKEN_WINDOW = timedelta(minutes=10)
_LOCK = timedelta(minutes=3)
_LOOKS_EVERY = timedelta(hours=1)
_ROWS = 100
_SUBJECT_CHARS, _UDF_CHARS = 250, 250
_NAMES = {
    "priorities": ("High", "Medium", "Normal", "Low"),
    "urgencies": ("Urgent", "High", "Normal", "Low"),
    "impacts": ("Affects Business", "Affects Department", "Affects Group", "Affects User"),
    "statuses": ("Open", "On Hold", "In Progress", "Resolved", "Closed", "Canceled"),
    "groups": ("Database", "Network", "Service Desk"),
    "categories": ("Hardware", "Network", "Software"),
    "service_categories": ("Email", "Network"),
    "subcategories": ("Disk",),
    "request_types": ("Incident", "Request For Information", "Service Request"),
    "modes": ("E-Mail", "Phone Call", "Web Form"),
    "levels": ("Tier 1", "Tier 2"),
    "sites": ("Base Site",),
    "closure_codes": ("Success", "Duplicate", "False alarm"),
    "request_templates": ("Default Request",),
    "configuration_items": ("db1", "web1"),
}
_REFERENCES = {
    "priority": "priorities",
    "urgency": "urgencies",
    "impact": "impacts",
    "status": "statuses",
    "group": "groups",
    "category": "categories",
    "subcategory": "subcategories",
    "request_type": "request_types",
    "mode": "modes",
    "level": "levels",
    "site": "sites",
    "template": "request_templates",
}
_PEOPLE = ("requester", "technician")
_TEXTS = ("subject", "title", "description", "impact_details", "update_reason")
_ENDED = ("Resolved", "Closed", "Canceled")
_CI_TYPES = {
    "application": "Application",
    "business_service": "Business Service",
    "department": "Department",
    "server": "Server",
    "toaster": "Toaster",
}
_RELATIONSHIPS = {"Depends on": "Used by", "Admires": "Admired by"}
_CI_ATTRIBUTES = {
    "owner": ("ref_support_group", {"name"}),
    "environment": ("environment", {"name"}),
    "criticality": ("txt_business_impact", set()),
    "location": ("site", {"name"}),
    "status": ("state", {"name"}),
    "serial": ("txt_serial_number", set()),
    "asset_tag": ("txt_asset_tag", set()),
    "hostname": ("txt_host_name", set()),
    "ip": ("txt_ip_address", set()),
    "mac": ("txt_mac_address", set()),
}
"""By what they say: name in the API, and in which part of an object the value stands, if in any."""
_CI_SHOWN = ("name", "description", "ci_type", "created_time")
"""What a list of the cloud shows of a CI where fields_required says nothing; id always."""
_SHOWN = {
    "requests": ("requester", "template", "created_time", "display_id", "subject", "technician", "status", "group"),
    "problems": ("title", "display_id", "status", "created_time"),
    "changes": ("title", "display_id", "stage", "status"),
}
"""What a row of a list holds where fields_required says nothing; id always."""
_CODES = {4001: 400, 4002: 403, 4004: 500, 4007: 404, 4009: 400, 4012: 400, 4015: 429, 4021: 400, 4022: 401}
_CONDITIONS = {
    "=": "is",
    "eq": "is",
    "!=": "is not",
    "neq": "is not",
    "gt": "greater than",
    "gte": "greater or equal",
    "lt": "lesser than",
    "lte": "lesser or equal",
    "does not contain": "not contains",
}


class _Refused(Exception):
    """An answer that is no success. fields: what it is about."""

    def __init__(self, code: int, message: str, *fields: str) -> None:
        super().__init__(message)
        self.code = code
        self.message: dict[str, Any] = {"status_code": code, "type": "failed", "message": message}
        if len(fields) == 1:
            self.message["field"] = fields[0]
        elif fields:
            self.message["fields"] = list(fields)


class ServiceDeskPlusSystem(Answering):
    """One help desk with a few technicians, groups and fields; both editions at once, told apart by the way in.

    Attributes:
        soft_errors: whether refusals come as HTTP 200, as of some builds. created: status of a creation in the cloud.
        mandatory: fields that the template wants at creation. closing: fields without which no request can end.
        needs_reason: whether each update needs ``update_reason``. has_matrix: whether a matrix decides the priority.
        default_group: what a business rule gives a request without a group; empty for none.
        has_history: whether ``/history`` is there. fields: additional fields by kind of record.
        url_limit: calls of one address a minute, more lock it; 0 for none. token_limit: tokens in ten minutes.
        bare_lists: whether fields_required is not heeded. lag_s: how late a list sees a new record.
        closes_after: when the system closes what was resolved.
        forbidden: what the technician may not read: ci_types, cis, relationships, changes. hides_attributes: whether a
            list of CIs leaves their attributes out whatever is asked. page_rows: see ``CmdbSystem``.
    """

    def __init__(self, clock: Clock, seed: int = 1) -> None:
        super().__init__(clock, seed)
        self._records: dict[str, dict[str, dict[str, Any]]] = {"requests": {}, "problems": {}, "changes": {}}
        self._cis: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in _CI_TYPES}
        self._ci_rows: dict[str, list[dict[str, Any]]] = {}
        self._type_of: dict[str, str] = {}
        self._ties: dict[str, tuple[str, str]] = {}
        self._related: dict[str, dict[str, dict[str, Any]]] = defaultdict(dict)
        self._spoilt: set[str] = set()
        self._notes: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._worklogs: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._history: dict[str, list[dict[str, Any]]] = defaultdict(list)
        self._links: dict[str, list[str]] = defaultdict(list)
        self._problem: dict[str, str] = {}
        self._analysed: dict[tuple[str, str], dict[str, Any]] = {}
        self._by_key: dict[tuple[str, str], list[str]] = defaultdict(list)
        self._opened: dict[str, str] = {}
        self._looked = clock()
        self._tokens: dict[str, datetime] = {}
        self._given: list[datetime] = []
        self._calls: dict[str, list[datetime]] = defaultdict(list)
        self._locked: dict[str, datetime] = {}
        self._last = 100_000_000_000_035_000
        self._is_cloud = True
        self.tables: dict[str, dict[str, dict[str, Any]]] = {name: {} for name in (*_NAMES, "technicians")}
        self.fields = {"requests": {KEY_FIELD, TEXT_FIELD}, "problems": {PROBLEM_KEY_FIELD}}
        self.soft_errors = False
        self.created = 201
        self.mandatory: set[str] = set()
        self.closing: set[str] = set()
        self.needs_reason = False
        self.has_matrix = False
        self.default_group = ""
        self.has_history = True
        self.url_limit = 0
        self.token_limit = 10
        self.bare_lists = False
        self.lag_s = 0.0
        self.closes_after = timedelta(days=7)
        self.forbidden: set[str] = set()
        self.hides_attributes = False
        self.page_rows = 0
        self._furnish()

    cmdb = Cmdb(
        class_name="Server",
        kind="server",
        relation=Relation("Depends on", "Application", "Server", "depends_on"),
        unmapped_class="Toaster",
        unmapped_relation=Relation("Admires", "Server", "Server", "related_to"),
        shows={
            "owner": ("Database", "Network"),
            "environment": ("Production", "Test"),
            "criticality": (2, 3),
            "location": ("Berlin", "Oslo"),
            "serial": ("SN-1", "SN-2"),
            "asset_tag": ("A-1", "A-2"),
            "hostname": ("a", "b"),
            "ip": ("10.0.0.1", "10.0.0.2"),
            "mac": ("00:11:22:33:44:55", "00:11:22:33:44:66"),
        },
        hub=10_000,
        permissions=("ci_types", "cis", "relationships", "changes"),
        lacks={
            Trait.TOMBSTONES: "nothing tells of what was deleted",
            Trait.EXPIRY: "pages go by number",
        },
    )

    # ---- the door ----

    def refuse(self, fault: Fault) -> Reply:
        match fault:
            case Fault.LIMITED:
                return self._failure(4015, {"status_code": 4015, "type": "failed", "message": "Limit exceeded"})
            case Fault.DENIED:
                return self._failure(4022, {"status_code": 4022, "type": "failed", "message": "UNAUTHORISED"})
            case Fault.FORBIDDEN:
                return self._failure(4002, {"status_code": 4002, "type": "failed", "message": "Forbidden"})
        return self._failure(4004, {"status_code": 4004, "type": "failed", "message": "Internal Error"})

    def _failure(self, code: int, message: Mapping[str, Any]) -> Reply:
        status = {"status_code": 4000, "status": "failed", "messages": [message]}
        return Reply(status=200 if self.soft_errors else _CODES[code], body={"response_status": status})

    def _token(self, request: Request) -> Reply:
        """Zoho's accounts: what it refuses, it refuses with status 200."""
        given = {**request.parameters, **request.form}
        if given.get("client_id") != CLIENT_ID or given.get("client_secret") != CLIENT_SECRET:
            return Reply(body={"error": "invalid_client"})
        if given.get("grant_type") != "refresh_token" or given.get("refresh_token") != REFRESH_TOKEN:
            return Reply(body={"error": "invalid_code"})
        now = self._clock()
        self._given = [at for at in self._given if now - at < _TOKEN_WINDOW]
        if len(self._given) >= self.token_limit:
            text = "You have made too many requests continuously. Please try again after some time."
            return Reply(body={"error_description": text, "error": "Access Denied", "status": "failure"})
        self._given.append(now)
        token = f"1000.{stable_id(self._seed, 'token', len(self._tokens))}"
        self._tokens[token] = now
        body = {"access_token": token, "api_domain": request.base, "token_type": "Bearer", "expires_in": 3600}
        return Reply(body={**body, "scope": "SDPOnDemand.requests.ALL SDPOnDemand.problems.ALL"})

    def _routed(self, request: Request) -> Reply:
        self._age()
        if request.path == "/oauth/v2/token":
            return self._token(request)
        try:
            return self._of_api(request)
        except _Refused as refused:
            return self._failure(refused.code, refused.message)

    def _of_api(self, request: Request) -> Reply:
        found = re.fullmatch(rf"(?:/app/{PORTAL})?/api/v3(/.+)", request.path)
        if found is None:
            return Reply(status=404, body="<html><body><h1>HTTP Status 404 - Not Found</h1></body></html>")
        user = self._user(request)
        self._count(request)
        given = _input(request)
        reply = routed(self._routes(), request.method, found[1], given, user)
        if reply is None:
            raise _Refused(4007, "Invalid URL")
        return reply

    def _routes(self) -> Sequence[Route]:
        """More special paths first: ``{}`` matches any one part."""
        return (
            ("PUT", "/requests/{}/close", self._close),
            ("PUT", "/requests/{}/assign", self._assign),
            ("PUT", "/requests/{}/pickup", self._pick_up),
            ("PUT", "/requests/{}/cancel", self._cancel),
            ("DELETE", "/requests/{}/move_to_trash", lambda given, user, id: self._trash(given, user, "requests", id)),
            ("POST", "/requests/{}/resolutions", self._resolve),
            ("PUT", "/requests/{}/resolutions", self._resolve),
            ("GET", "/requests/{}/resolutions", self._resolution),
            ("GET", "/requests/{}/history", self._told),
            ("GET", "/requests/{}/link_requests", self._linked),
            ("POST", "/requests/{}/link_requests", self._link),
            ("GET", "/requests/{}/problem", self._problem_of),
            ("POST", "/requests/{}/problem", self._link_problem),
            ("DELETE", "/requests/{}/problem", self._unlink_problem),
            ("GET", "/requests/{}/worklogs", self._worked),
            ("POST", "/requests/{}/worklogs", self._work),
            ("GET", "/problems/{}/associated_incidents", self._incidents),
            ("POST", "/problems/{}/associated_incidents", self._associate),
            *(
                (method, f"/problems/{{}}/{part}", partial(self._analyse, part))
                for method in _WRITES
                for part in _ANALYSIS
            ),
            *(("GET", f"/problems/{{}}/{part}", partial(self._analysis, part)) for part in _ANALYSIS),
            *(("GET", path, self._list_types) for path in ("/cmdb/ci_types", "/ci_types")),
            *(("GET", f"{path}/{{}}/{name}", self._list_relations) for path, name in _RELATIONS_AT),
            ("GET", "/{}/{}/notes", self._list_notes),
            ("GET", "/cmdb/{}/{}", self._get_ci),
            ("GET", "/cmdb/{}", self._list_cis),
            ("GET", "/{}/{}/notes/{}", self._get_note),
            ("POST", "/{}/{}/notes", self._add_note),
            ("GET", "/{}/{}", self._get),
            ("PUT", "/{}/{}", self._put),
            ("DELETE", "/{}/{}", self._trash),
            ("GET", "/{}", self._list),
            ("POST", "/{}", self._post),
        )

    def _user(self, request: Request) -> dict[str, Any]:
        """Who asks; by which header tells the edition too."""
        key = request.headers.get("authtoken") or request.headers.get("technician_key")
        self._is_cloud = key is None
        if key == TECHNICIAN_KEY:
            return self._person(USER)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        given_at = self._tokens.get(token) if scheme in ("Zoho-oauthtoken", "Bearer") else None
        if given_at is None or self._clock() - given_at >= _TOKEN_AGE:
            raise _Refused(4022, "UNAUTHORISED")
        return self._person(USER)

    def _count(self, request: Request) -> None:
        """Calls are counted by method and address; ids in it do not tell addresses apart."""
        if not self.url_limit:
            return
        name, now = f"{request.method} {re.sub(r'[0-9]{2,}', '{}', request.path)}", self._clock()
        recent = [at for at in self._calls[name] if now - at < timedelta(minutes=1)]
        if now < self._locked.get(name, now) or len(recent) >= self.url_limit:
            self._locked.setdefault(name, now + _LOCK)
            raise _Refused(4015, "Maximum access limit for the URL is exceeded. Try again after some time.")
        self._locked.pop(name, None)
        self._calls[name] = [*recent, now]

    # ---- requests and problems ----

    def _of(self, kind: str, id: str) -> dict[str, Any]:
        record = self._records.get(kind, {}).get(id)
        if record is None:
            raise _Refused(4007, "Resource Not Found")
        return record

    def _get(self, given: Any, user: Any, kind: str, id: str) -> Reply:
        if kind.startswith("cmdb_"):
            return self._get_ci(given, user, kind, id)
        if kind not in self._records:
            row = self.tables.get(kind, {}).get(id)
            if row is None:
                raise _Refused(4007, "Resource Not Found")
            return _one(kind[:-3] + "y" if kind.endswith("ies") else kind[:-1], row)
        return _one(kind[:-1], self._of(kind, id))

    def _post(self, given: Any, user: dict[str, Any], kind: str) -> Reply:
        if kind not in _KEYS:
            raise _Refused(4007, "Invalid URL")
        values = _part(given, kind[:-1])
        title = "subject" if kind == "requests" else "title"
        missing = [name for name in (title, *sorted(self.mandatory)) if not _given(values, name)]
        if missing:
            raise _Refused(4012, "Mandatory field missing", *missing)
        record = self._new(kind, user)
        changed = self._read(kind, record, values)
        if str(changed.get("status", {}).get("name", "")) in _ENDED:
            self._check_end(record | changed)
        record |= changed
        if self.default_group and not record["group"]:
            record["group"] = self._named("groups", self.default_group)
        self._decide_priority(record)
        self._records[kind][record["id"]] = record
        self._index(kind, record)
        self._opened[record["id"]] = _plain(record["description"])
        self._told_of(record, user, "CREATE", [])
        self._effects.append(f"{_word(kind)} {_number(record)} created {self._key(kind, record)}")
        return _one(kind[:-1], record, self.created if self._is_cloud else 200)

    def _new(self, kind: str, user: dict[str, Any]) -> dict[str, Any]:
        self._last += 1
        count = str(len(self._records[kind]) + 1)
        common: dict[str, Any] = {
            "id": str(self._last),
            "created_by": user,
            "created_time": self._now(),
            "last_updated_time": self._now(),
            "requester": user,
            "technician": None,
            "group": None,
            "status": self._named("statuses", "Open"),
            "priority": None,
            "urgency": None,
            "impact": None,
            "description": None,
            "site": None,
            "has_notes": False,
            "configuration_items": [],
            "assets": [],
            "udf_fields": dict.fromkeys(sorted(self.fields[kind])),
        }
        if kind == "problems":
            return {**common, "display_id": {"display_value": f"PBM-{count}", "value": count}, "title": ""}
        return {
            **common,
            "display_id": count,
            "subject": "",
            "template": self._named("request_templates", "Default Request"),
            "request_type": self._named("request_types", "Incident"),
            "mode": self._named("modes", "Web Form"),
            "level": None,
            "category": None,
            "subcategory": None,
            "impact_details": None,
            "assigned_time": None,
            "resolved_time": None,
            "completed_time": None,
            "resolution": {"content": None, "resolution_attachments": []},
            "closure_info": None,
            "attachments": [],
            "is_trashed": False,
            "is_reopened": False,
            "has_problem": False,
            "has_linked_requests": False,
            "is_service_request": False,
            "due_by_time": None,
        }

    def _put(self, given: Any, user: dict[str, Any], kind: str, id: str) -> Reply:
        record = self._of(kind, id)
        values = _part(given, kind[:-1])
        if self.needs_reason and kind == "requests" and not values.get("update_reason"):
            raise _Refused(4012, "Reason for update is mandatory", "update_reason")
        self._change(kind, record, user, self._read(kind, record, values), values)
        return _one(kind[:-1], record)

    def _change(
        self,
        kind: str,
        record: dict[str, Any],
        user: dict[str, Any],
        changed: dict[str, Any],
        values: Mapping[str, Any] = {},
    ) -> None:
        before = dict(record)
        after = changed.get("status", record["status"])["name"]
        was = record["status"]["name"]
        if was in ("Closed", "Canceled") and after == was and changed:
            raise _Refused(4009, "A closed request cannot be edited", *sorted(changed))
        if after in _ENDED and was not in _ENDED and kind == "requests":
            self._check_end(record | changed)
        record |= changed
        self._index(kind, record)
        self._decide_priority(record)
        if kind == "requests":
            self._stamp(record, was, after, changed)
        diff = [
            {"field": name, "previous_value": before.get(name), "current_value": record[name]}
            for name in record
            if name not in ("last_updated_time", "udf_fields") and record[name] != before.get(name)
        ]
        if not diff and record["udf_fields"] == before["udf_fields"]:
            return
        record["last_updated_time"] = self._now()
        self._told_of(record, user, "UPDATE", diff)
        name = f"{_word(kind)} {_number(record)}"
        if was != after:
            word = "reopened" if was in _ENDED and after not in _ENDED else after.casefold().replace(" ", "-")
            self._effects.append(f"{name} {word} {self._key(kind, record)}")
        if {each["field"] for each in diff} - _OF_STATUS:
            self._effects.append(f"{name} updated {self._key(kind, record)}")

    def _stamp(self, record: dict[str, Any], was: str, after: str, changed: Mapping[str, Any]) -> None:
        """The times that follow from a change."""
        if changed.get("technician"):
            record["assigned_time"] = self._now()
        if was not in _ENDED and after in _ENDED:
            record["resolved_time"] = self._now()
        if after in ("Closed", "Canceled") and was != after:
            record["completed_time"] = self._now()
        if was in _ENDED and after not in _ENDED:
            record |= {"is_reopened": True, "resolved_time": None, "completed_time": None, "closure_info": None}

    def _check_end(self, record: Mapping[str, Any]) -> None:
        missing = [name for name in sorted(self.closing) if not _given(record, name)]
        if missing:
            raise _Refused(4012, "Fields are mandatory to close the request", *missing)

    def _decide_priority(self, record: dict[str, Any]) -> None:
        if not self.has_matrix or not record["impact"] or not record["urgency"]:
            return
        high = record["impact"]["name"] == "Affects Business" or record["urgency"]["name"] == "Urgent"
        record["priority"] = self._named("priorities", "High" if high else "Normal")

    def _read(self, kind: str, record: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
        """What a body changes; what is unknown is ignored, an unknown value is not."""
        found: dict[str, Any] = {}
        for name, value in values.items():
            if name in _TEXTS and name != "update_reason":
                found[name] = self._text(name, value)
            elif name in _REFERENCES:
                found[name] = None if value is None else self._reference(name, _REFERENCES[name], value)
            elif name in _PEOPLE:
                found[name] = None if value is None else self._reference(name, "technicians", value)
            elif name in ("assets", "configuration_items"):
                found[name] = [self._reference(name, "configuration_items", each) for each in value or ()]
            elif name == "udf_fields":
                found[name] = self._udf(kind, value, record["udf_fields"])
            elif name == "resolution" and value:
                found[name] = {"content": _kept_html(value.get("content")), "resolution_attachments": []}
            elif name == "closure_info" and value:
                found[name] = self._closure(value)
        return found

    def _udf(self, kind: str, given: Any, present: Mapping[str, Any]) -> dict[str, Any]:
        if not isinstance(given, dict):
            raise _Refused(4021, "Invalid data type", "udf_fields")
        wrong = [name for name in given if name not in self.fields[kind]]
        if wrong:
            raise _Refused(4001, "Invalid field", *(f"udf_fields.{name}" for name in wrong))
        long = [name for name, value in given.items() if len(str(value or "")) > _UDF_CHARS]
        if long:
            raise _Refused(4001, "Maximum length exceeded", *(f"udf_fields.{name}" for name in long))
        return {**present, **given}

    def _closure(self, given: Mapping[str, Any]) -> dict[str, Any]:
        code = given.get("closure_code")
        named = self._reference("closure_info.closure_code", "closure_codes", code) if code else None
        return {**given, "closure_code": named}

    def _text(self, name: str, value: Any) -> str | None:
        if value is not None and not isinstance(value, str):
            raise _Refused(4021, "Invalid data type", name)
        if name in ("subject", "title"):
            if not value or not value.strip():
                raise _Refused(4012, "Mandatory field missing", name)
            if len(value) > _SUBJECT_CHARS or "\n" in value:
                raise _Refused(4001, "Maximum length of 250 exceeded, or more than one line", name)
        return _kept_html(value) if name == "description" else value

    def _reference(self, field: str, table: str, given: Any) -> dict[str, Any]:
        """The row of a table that an object names by id, name or e-mail address."""
        if not isinstance(given, dict):
            raise _Refused(4021, "Invalid data type", field)
        asked = [
            (name, str(given[name]).casefold()) for name in ("id", "email_id", "name") if given.get(name) is not None
        ]
        for row in self.tables[table].values():
            if asked and str(row.get(asked[0][0], "")).casefold() == asked[0][1]:
                return row
        raise _Refused(4001, "Unable to find the value given", field)

    def _trash(self, given: Any, user: Any, kind: str, id: str) -> Reply:
        record = self._of(kind, id)
        record["is_trashed"] = True
        self._effects.append(f"{_word(kind)} {_number(record)} deleted {self._key(kind, record)}")
        return Reply(body={"response_status": _SUCCESS})

    def _close(self, given: Any, user: dict[str, Any], id: str) -> Reply:
        closed = {"status": {"name": "Closed"}, **(_part(given, "request") if given else {})}
        record = self._of("requests", id)
        self._change("requests", record, user, self._read("requests", record, closed))
        return Reply(body={"response_status": _SUCCESS})

    def _assign(self, given: Any, user: dict[str, Any], id: str) -> Reply:
        record = self._of("requests", id)
        self._change("requests", record, user, self._read("requests", record, _part(given, "request")))
        return Reply(body={"response_status": _SUCCESS})

    def _pick_up(self, given: Any, user: dict[str, Any], id: str) -> Reply:
        self._change("requests", self._of("requests", id), user, {"technician": user})
        return Reply(body={"response_status": _SUCCESS})

    def _cancel(self, given: Any, user: dict[str, Any], id: str) -> Reply:
        self._change("requests", self._of("requests", id), user, {"status": self._named("statuses", "Canceled")})
        return Reply(body={"response_status": _SUCCESS})

    # ---- notes, resolutions, work, history ----

    def _list_notes(self, given: Any, user: Any, kind: str, id: str) -> Reply:
        self._of(kind, id)
        return _page(given, "notes", [dict(note) for note in self._notes[id]])

    def _get_note(self, given: Any, user: Any, kind: str, id: str, note: str) -> Reply:
        found = next((each for each in self._notes[id] if each["id"] == note), None)
        if found is None:
            raise _Refused(4007, "Resource Not Found")
        return _one("note", found)

    def _add_note(self, given: Any, user: dict[str, Any], kind: str, id: str) -> Reply:
        record = self._of(kind, id)
        name = "request_note" if isinstance(given, dict) and "request_note" in given else "note"
        values = _part(given, name)
        if not values.get("description"):
            raise _Refused(4012, "Mandatory field missing", "description")
        note = self._noted(record, user, str(values["description"]), bool(values.get("show_to_requester")))
        self._effects.append(f"{_word(kind)} {_number(record)} noted {self._key(kind, record)}")
        return _one(name, note, self.created if self._is_cloud else 200)

    def _noted(self, record: dict[str, Any], user: dict[str, Any], text: str, public: bool) -> dict[str, Any]:
        self._last += 1
        note = {
            "id": str(self._last),
            "description": _kept_html(text),
            "added_by": user,
            "added_time": self._now(),
            "show_to_requester": public,
            "last_updated_time": None,
        }
        self._notes[record["id"]].append(note)
        record |= {"has_notes": True, "last_updated_time": self._now()}
        self._told_of(record, user, "NOTE_ADD", [])
        return note

    def _resolve(self, given: Any, user: dict[str, Any], id: str) -> Reply:
        record = self._of("requests", id)
        content = _part(given, "resolution").get("content")
        if not content:
            raise _Refused(4012, "Mandatory field missing", "content")
        resolution: dict[str, Any] = {
            "content": _kept_html(str(content)),
            "resolution_attachments": [],
            "submitted_by": user,
            "submitted_on": self._now(),
        }
        if record["resolution"]["content"] != resolution["content"]:
            record |= {"resolution": resolution, "last_updated_time": self._now()}
            self._told_of(record, user, "RESOLUTION_ADD", [])
            self._effects.append(f"incident {_number(record)} explained {self._key('requests', record)}")
        return Reply(body={"resolution": record["resolution"], "response_status": _SUCCESS})

    def _resolution(self, given: Any, user: Any, id: str) -> Reply:
        return Reply(body={"resolution": self._of("requests", id)["resolution"], "response_status": _SUCCESS})

    def _worked(self, given: Any, user: Any, id: str) -> Reply:
        self._of("requests", id)
        return _page(given, "worklogs", self._worklogs[id])

    def _work(self, given: Any, user: dict[str, Any], id: str) -> Reply:
        self._of("requests", id)
        self._last += 1
        work = {**_part(given, "worklog"), "id": str(self._last), "owner": user, "recorded_time": self._now()}
        self._worklogs[id].append(work)
        return _one("worklog", work, self.created if self._is_cloud else 200)

    def _told_of(self, record: Mapping[str, Any], user: Mapping[str, Any], operation: str, diff: list[Any]) -> None:
        self._last += 1
        row = {"id": str(self._last), "operation": operation, "time": self._now(), "by": user, "diff": diff}
        self._history[record["id"]].append(row)

    def _told(self, given: Any, user: Any, id: str) -> Reply:
        self._of("requests", id)
        if not self.has_history:
            raise _Refused(4007, "Invalid URL")
        return _page(given, "history", self._history[id])

    # ---- links ----

    def _linked(self, given: Any, user: Any, id: str) -> Reply:
        self._of("requests", id)
        rows = [{"linked_request": {"id": other}, "comments": None} for other in self._links[id]]
        return _page(given, "link_requests", rows)

    def _link(self, given: Any, user: Any, id: str) -> Reply:
        record = self._of("requests", id)
        rows = given.get("link_requests") if isinstance(given, dict) else None
        for row in rows if isinstance(rows, list) else ():
            other = self._of("requests", str(row.get("linked_request", {}).get("id")))
            for one, two in ((record, other), (other, record)):
                if two["id"] not in self._links[one["id"]]:
                    self._links[one["id"]].append(two["id"])
                one["has_linked_requests"] = True
            self._effects.append(f"incident {_number(record)} linked {self._key('requests', record)}")
        return Reply(body={"response_status": _SUCCESS})

    def _problem_of(self, given: Any, user: Any, id: str) -> Reply:
        self._of("requests", id)
        if id not in self._problem:
            raise _Refused(4007, "Resource Not Found")
        problem = {"problem": self._of("problems", self._problem[id])}
        return _one("request_problem_association", problem)

    def _link_problem(self, given: Any, user: Any, id: str) -> Reply:
        asked = given.get("request_problem_association", given) if isinstance(given, dict) else None
        record, problem = self._of("requests", id), self._of("problems", str(_part(asked, "problem").get("id")))
        if self._problem.get(id, problem["id"]) != problem["id"]:
            raise _Refused(4001, "The request is associated to another problem", "problem")
        if id not in self._problem:
            self._effects.append(f"incident {_number(record)} linked {self._key('requests', record)}")
        self._problem[id] = problem["id"]
        record["has_problem"] = True
        return _one("problem", problem)

    def _unlink_problem(self, given: Any, user: Any, id: str) -> Reply:
        self._of("requests", id)["has_problem"] = False
        self._problem.pop(id, None)
        return Reply(body={"response_status": _SUCCESS})

    def _incidents(self, given: Any, user: Any, id: str) -> Reply:
        self._of("problems", id)
        rows = [self._of("requests", each) for each, problem in self._problem.items() if problem == id]
        return _page(given, "associated_requests", rows)

    def _associate(self, given: Any, user: Any, id: str) -> Reply:
        rows = given.get("associated_incidents") if isinstance(given, dict) else None
        for row in rows if isinstance(rows, list) else ():
            self._link_problem({"problem": {"id": id}}, user, str(row.get("request", {}).get("id")))
        return Reply(body={"response_status": _SUCCESS})

    def _analysis(self, part: str, given: Any, user: Any, id: str) -> Reply:
        self._of("problems", id)
        return Reply(body={part: self._analysed.get((id, part)), "response_status": _SUCCESS})

    def _analyse(self, part: str, given: Any, user: dict[str, Any], id: str) -> Reply:
        self._of("problems", id)
        text = _kept_html(_part(given, part).get("description"))
        self._analysed[id, part] = {"description": text, "updated_by": user, "updated_time": self._now()}
        return self._analysis(part, given, user, id)

    # ---- lists ----

    def _list(self, given: Any, user: Any, kind: str) -> Reply:
        if kind.startswith("cmdb_"):
            return self._list_cis(given, user, kind)
        self._allow(kind)
        if kind in self.tables:
            return _page(given, kind, list(self.tables[kind].values()))
        if kind not in self._records:
            raise _Refused(4007, "Invalid URL")
        late = self._clock() - timedelta(seconds=self.lag_s)
        rows = [
            record
            for record in self._candidates(kind, given)
            if not record.get("is_trashed") and int(record["created_time"]["value"]) <= late.timestamp() * 1000
        ]
        shown = (*_SHOWN[kind], "id")
        asked = _list_info(given).get("fields_required")
        if isinstance(asked, list) and not self.bare_lists:
            shown = ("id", *map(str, asked))
        return _page(given, kind, rows, shown)

    def _candidates(self, kind: str, given: Any) -> list[dict[str, Any]]:
        """All records, or where only those with one key can meet the criteria, these: so that many tickets are no
        burden."""
        criteria = _list_info(given).get("search_criteria") if kind in _KEYS else None
        for one in criteria if isinstance(criteria, list) else ():
            asked = str(one.get("field")), str(one.get("condition"))
            is_key = asked == (f"udf_fields.{_KEYS[kind]}", "is") and _KEYS[kind] in self.fields[kind]
            if is_key and str(one.get("logical_operator")).upper() == "AND" and not one.get("children"):
                ids = self._by_key[kind, str(one.get("value")).casefold()]
                return [self._records[kind][id] for id in dict.fromkeys(ids)]
        return list(self._records[kind].values())

    # ---- configuration items ----

    def _allow(self, what: str) -> None:
        if what in self.forbidden:
            raise _Refused(4002, "Forbidden")

    def _ci_type(self, called: str) -> str:
        """By its name in the API, which tells the edition."""
        prefix = "ci_" if self._is_cloud else "cmdb_"
        if not called.startswith(prefix) or called.removeprefix(prefix) not in _CI_TYPES:
            raise _Refused(4007, "Invalid URL")
        return called.removeprefix(prefix)

    def _list_types(self, given: Any, user: Any) -> Reply:
        self._allow("ci_types")
        prefix = "ci_" if self._is_cloud else "cmdb_"
        rows = [
            {"id": str(number), "name": prefix + name, "api_plural_name": prefix + name, "display_name": called}
            for number, (name, called) in enumerate(_CI_TYPES.items(), 301)
        ]
        return _page(given, "ci_types", rows)

    def _list_cis(self, given: Any, user: Any, called: str) -> Reply:
        type_ = self._ci_type(called)
        self._allow("cis")
        if type_ not in self._ci_rows:
            self._ci_rows[type_] = list(self._cis[type_].values())
        asked = _list_info(given).get("fields_required") or _CI_SHOWN
        hidden = {"ci_attributes", "last_updated_time"} if self.hides_attributes else set()
        fields = {"id", *map(str, asked)} - hidden
        reply = _page(given, called, self._ci_rows[type_], most=self.page_rows)
        reply.body[called] = [
            {name: value for name, value in self._shown_ci(row).items() if name in fields or not self._is_cloud}
            for row in reply.body[called]
        ]
        return reply

    def _get_ci(self, given: Any, user: Any, called: str, id: str) -> Reply:
        row = self._cis[self._ci_type(called)].get(id)
        self._allow("cis")
        if row is None:
            raise _Refused(4007, "Resource Not Found")
        return _one(called, self._shown_ci(row))

    def _shown_ci(self, row: Mapping[str, Any]) -> dict[str, Any]:
        shown = {name: value for name, value in row.items() if name != "ci_attributes"}
        if row["id"] in self._spoilt:
            shown["name"] = {"broken": True}
        if self._is_cloud:
            return {**shown, "ci_attributes": row["ci_attributes"]}
        return {**shown, **{name.removeprefix("txt_"): value for name, value in row["ci_attributes"].items()}}

    def _list_relations(self, given: Any, user: Any, called: str, id: str) -> Reply:
        self._allow("relationships")
        if id not in self._cis[self._ci_type(called)]:
            raise _Refused(4007, "Resource Not Found")
        name = "ci_relationships" if self._is_cloud else "assoc_ci_relationships"
        return _page(given, name, list(self._related[id].values()), most=self.page_rows)

    def put_ci(self, name: str, class_name: str = "", **shown: Any) -> str:
        called = class_name or self.cmdb.class_name
        type_ = next(each for each, label in _CI_TYPES.items() if label == called)
        self._last += 1
        id = str(self._last)
        row: dict[str, Any] = {
            "id": id,
            "name": name,
            "description": None,
            "ci_type": {"id": "300", "name": type_, "display_name": called},
            "created_time": self._now(),
            "last_updated_time": self._now(),
            "ci_attributes": {"state": {"name": "In Use"}},
        }
        self._cis[type_][id] = row
        self._type_of[id] = type_
        if type_ in self._ci_rows:
            self._ci_rows[type_].append(row)
        self.change_ci(id, **shown)
        return id

    def change_ci(self, id: str, **shown: Any) -> None:
        row = self._cis[self._type_of[id]][id]
        for what, value in shown.items():
            if what == "name":
                row["name"] = value
                continue
            field, part = _CI_ATTRIBUTES[what]
            value = {2: "High", 3: "Medium"}[value] if what == "criticality" else value
            row["ci_attributes"][field] = dict.fromkeys(part, value) if part else value
        row["last_updated_time"] = self._now()

    def delete_ci(self, id: str, *, trace: bool = True) -> None:
        for key in list(self._related[id]):
            self.unrelate(key)
        type_ = self._type_of.pop(id)
        del self._cis[type_][id]
        self._ci_rows.pop(type_, None)

    def relate(self, source: str, target: str, word: str = "") -> str:
        word = word or self.cmdb.relation.word
        first, second = (source, target)
        type_ = next(
            each.type for each in (self.cmdb.relation, self.cmdb.unmapped_relation) if each and each.word == word
        )
        if type_ == "related_to":
            first, second = sorted((source, target), key=int)
        key = f"{first} {type_} {second}"
        self._ties[key] = (source, target)
        opposite = _RELATIONSHIPS[word]
        for one, other, said, meant in ((target, source, opposite, word), (source, target, word, opposite)):
            self._last += 1
            row = self._cis[self._type_of[other]][other]
            self._related[one][key] = {
                "id": str(self._last),
                "relationship_type": {"name": said, "inverse_name": meant},
                "related_ci": {"id": other, "name": row["name"]},
            }
            row["last_updated_time"] = self._now()
        return key

    def unrelate(self, key: str) -> None:
        for id in self._ties.pop(key):
            self._related[id].pop(key, None)

    def spoil_ci(self, id: str) -> None:
        self._spoilt.add(id)

    def forbid(self, permission: str) -> None:
        self.forbidden.add(permission)

    def plan_change(
        self, stage: str, status: str, starts: datetime, ends: datetime, *cis: str, services: Sequence[str] = ()
    ) -> str:
        """A change; its number."""
        self._last += 1
        number = f"CH-{len(self._records['changes']) + 1}"
        rows = [self._cis[self._type_of[ci]][ci] for ci in cis]
        self._records["changes"][str(self._last)] = {
            "id": str(self._last),
            "display_id": {"display_value": number, "value": number.removeprefix("CH-")},
            "title": "Patch",
            "stage": {"id": "1", "name": stage},
            "status": {"id": "2", "name": status},
            "created_time": self._now(),
            "scheduled_start_time": self._time(starts),
            "scheduled_end_time": self._time(ends),
            "group": self._named("groups", "Database"),
            "configuration_items": [{"id": row["id"], "name": row["name"]} for row in rows],
            "assets": [],
            "services": [{"id": "9", "name": name} for name in services],
            "udf_fields": {},
        }
        return number

    # ---- people, and what is there from the start ----

    def _age(self) -> None:
        """What was resolved long ago is closed by the system itself."""
        if self._clock() - self._looked < _LOOKS_EVERY:
            return
        self._looked = self._clock()
        limit = int((self._looked - self.closes_after).timestamp() * 1000)
        for record in self._records["requests"].values():
            if record["status"]["name"] == "Resolved" and int(record["resolved_time"]["value"]) < limit:
                system = {"id": "0", "name": "System", "email_id": None}
                self._change("requests", record, system, {"status": self._named("statuses", "Closed")})

    def edit(self, number: str, action: str, *, actor: str = "ada", text: str = "", code: str = "") -> None:
        kind = "problems" if number.startswith("PBM-") else "requests"
        record = next(each for each in self._records[kind].values() if _number(each) == number)
        user = self._person(f"{actor}@example.com")
        changed: dict[str, Any]
        match action:
            case "take":
                changed = {"technician": user}
            case "assign":
                changed = {"group": self._named("groups", text)}
            case "comment":
                self._noted(record, user, html.escape(text), False)
                changed = {}
            case "resolve":
                if text:
                    resolution = {"content": _kept_html(html.escape(text)), "submitted_by": user}
                    record["resolution"] = {**resolution, "resolution_attachments": [], "submitted_on": self._now()}
                changed = {"status": self._named("statuses", "Resolved")}
            case "close":
                changed = {"status": self._named("statuses", "Closed")}
                if code or text:
                    named = self._named("closure_codes", code) if code else None
                    changed["closure_info"] = {"closure_code": named, "closure_comments": text or None}
            case "wait":
                if text:
                    self._noted(record, user, html.escape(text), False)
                changed = {"status": self._named("statuses", "On Hold")}
            case "reopen" | "resume":
                changed = {"status": self._named("statuses", "Open")}
            case "retitle":
                changed = {"subject" if kind == "requests" else "title": text}
            case "workaround":
                self._analyse("workaround", {"workaround": {"description": html.escape(text)}}, user, record["id"])
                changed = {}
            case "delete":
                record["is_trashed"] = True
                changed = {}
            case _:
                raise KeyError(action)
        if changed:
            self._change(kind, record, user, changed)

    def held(self) -> list[Held]:
        found = []
        for kind in _KEYS:
            for record in self._records[kind].values():
                if record.get("is_trashed"):
                    continue
                added = (_plain(note["description"]) for note in self._notes[record["id"]])
                notes = tuple(filter(None, (self._opened.get(record["id"], ""), *added)))
                title = record["subject" if kind == "requests" else "title"]
                resolution = _plain((record.get("resolution") or {}).get("content"))
                custom = [str(value) for value in record["udf_fields"].values() if value]
                linked = [*self._links[record["id"]], self._problem.get(record["id"], "")]
                state = record["status"]["name"]
                found.append(
                    Held(
                        number=_number(record),
                        key=self._key(kind, record),
                        state="resolved" if state == "Resolved" else "closed" if state in _ENDED else "open",
                        title=title,
                        notes=notes,
                        texts=(title, _plain(record["description"]), resolution, *custom, *notes),
                        links=tuple(self._number_of(each) for each in linked if each),
                        type=_word(kind),
                    )
                )
        return found

    def _number_of(self, id: str) -> str:
        return next((_number(records[id]) for records in self._records.values() if id in records), "")

    def _index(self, kind: str, record: Mapping[str, Any]) -> None:
        self._by_key[kind, str(record["udf_fields"].get(_KEYS[kind]) or "").casefold()].append(record["id"])

    def _key(self, kind: str, record: Mapping[str, Any]) -> str:
        return str(record["udf_fields"].get(_KEYS[kind]) or "").removeprefix(KEY_PREFIX)

    def _named(self, table: str, name: str) -> dict[str, Any]:
        return self._reference(table, table, {"name": name})

    def _person(self, email: str) -> dict[str, Any]:
        known = next((row for row in self.tables["technicians"].values() if row["email_id"] == email), None)
        return known or self._add("technicians", email.partition("@")[0].title(), email_id=email, is_technician=True)

    def _now(self) -> dict[str, str]:
        return self._time(self._clock())

    def _time(self, at: datetime) -> dict[str, str]:
        return {"value": str(int(at.timestamp() * 1000)), "display_value": at.strftime("%b %d, %Y %I:%M %p")}

    def _add(self, table: str, name: str, **values: Any) -> dict[str, Any]:
        id = "1000000000000" + str(int(stable_id(self._seed, table, name)[:8], 16)).zfill(10)[:5]
        row = {"id": id, "name": name, "deleted": False, "description": None, **values}
        self.tables[table][id] = row
        return row

    def _furnish(self) -> None:
        for table, names in _NAMES.items():
            for name in names:
                self._add(table, name)
        for row in self.tables["statuses"].values():
            name = row["name"]
            row |= {"internal_name": name.replace(" ", ""), "in_progress": name not in _ENDED}
            row |= {"stop_timer": name in ("On Hold", *_ENDED), "color": None}
        for row in self.tables["request_templates"].values():
            row |= {"is_service_template": False, "is_enabled": True, "inactive": False, "is_default_template": True}
        for row in self.tables["subcategories"].values():
            row["category"] = self._named("categories", "Hardware")
        for email in (USER, "ada@example.com"):
            self._person(email)


_RELATIONS_AT = (("/cmdb/{}", "ci_relationships"), ("/{}", "assoc_ci_relationships"))
_SUCCESS = {"status_code": 2000, "status": "success"}
_ANALYSIS = ("root_cause", "symptoms", "impact_details", "workaround", "resolution")
_WRITES = ("POST", "PUT")
_OF_STATUS = frozenset(
    {"status", "resolved_time", "completed_time", "is_reopened", "closure_info", "assigned_time", "resolution"}
)


def _input(request: Request) -> Any:
    """``input_data`` of the form or, as some clients send it with every method, of the query."""
    given = request.form.get("input_data") if request.method in ("POST", "PUT") else None
    given = given if given is not None else request.parameters.get("input_data", "")
    try:
        return json.loads(given) if given else None
    except ValueError:
        raise _Refused(4001, "Unable to parse the given data", "input_data") from None


def _part(given: Any, name: str) -> dict[str, Any]:
    part = given.get(name) if isinstance(given, dict) else None
    if not isinstance(part, dict):
        raise _Refused(4012, "Mandatory field missing", name)
    return part


def _list_info(given: Any) -> dict[str, Any]:
    info = given.get("list_info") if isinstance(given, dict) else None
    return info if isinstance(info, dict) else {}


def _one(name: str, record: Mapping[str, Any], status: int = 200) -> Reply:
    return Reply(status=status, body={name: json.loads(json.dumps(record)), "response_status": _SUCCESS})


def _page(
    given: Any, name: str, rows: Sequence[Mapping[str, Any]], shown: Sequence[str] = (), *, most: int = 0
) -> Reply:
    """The rows that list_info asks for, at most so many; they come in the order of their ids."""
    info = _list_info(given)
    wanted = info.get("search_criteria") or []
    criteria = wanted if isinstance(wanted, list) else [wanted]
    fields = info.get("search_fields") or {}
    fields = json.loads(fields) if isinstance(fields, str) else fields
    known = {field for row in rows[:1] for field in row}
    found = [row for row in rows if _holds(row, criteria, known)] if criteria else list(rows)
    found = (
        [row for row in found if all(_compared(_value(row, field), "is", [value]) for field, value in fields.items())]
        if fields
        else found
    )
    name_of = str(info.get("sort_field") or "")
    if name_of not in ("", "id") or _is_descending(info):
        found.sort(key=lambda row: (_order(_value(row, name_of)), int(row["id"])), reverse=_is_descending(info))
    size = min(_ROWS, max(1, int(info.get("row_count") or 10)), most or _ROWS)
    start = max(1, int(info.get("start_index") or (int(info.get("page") or 1) - 1) * size + 1))
    page = [
        {field: row[field] for field in shown if field in row} if shown else row for row in found[start - 1 :][:size]
    ]
    told: dict[str, Any] = {"has_more_rows": len(found) >= start + size, "start_index": start, "row_count": len(page)}
    told |= {"page": (start - 1) // size + 1}
    told |= {"total_count": len(found)} if info.get("get_total_count") else {}
    body = {name: page, "list_info": told, "response_status": [_SUCCESS]}
    return Reply(body=json.loads(json.dumps(body)))


def _is_descending(info: Mapping[str, Any]) -> bool:
    return str(info.get("sort_order") or "asc").casefold() == "desc"


def _order(value: Any) -> tuple[int, str]:
    text = "" if value is None else str(value)
    return (int(text), "") if text.isdigit() else (0, text.casefold())


def _holds(row: Mapping[str, Any], criteria: Sequence[Any], known: set[str]) -> bool:
    """Conditions from left to right, each with its children first. One on an unknown field is left out."""
    result: bool | None = None
    for one in criteria:
        if not isinstance(one, dict):
            continue
        path = str(one.get("field") or "")
        if path.partition(".")[0] not in known or (path.startswith("udf_fields.") and not _has(row, path)):
            holds = None
        else:
            condition = str(one.get("condition") or "is").casefold()
            asked = one["values"] if "values" in one else [one.get("value")]
            holds = _compared(_value(row, path), _CONDITIONS.get(condition, condition), asked)
        for child in one.get("children") or ():
            inner = _holds(row, [child], known)
            holds = inner if holds is None else _joined(holds, child, inner)
        if holds is not None:
            result = holds if result is None else _joined(result, one, holds)
    return result is not False


def _joined(left: bool, one: Mapping[str, Any], right: bool) -> bool:
    return left or right if str(one.get("logical_operator") or "and").casefold() == "or" else left and right


def _has(row: Mapping[str, Any], path: str) -> bool:
    return path.removeprefix("udf_fields.") in row.get("udf_fields", {})


def _value(row: Mapping[str, Any], path: str) -> Any:
    """By path; a time is its milliseconds, a reference stays an object."""
    value: Any = row
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value["value"] if isinstance(value, dict) and "value" in value else value


def _compared(value: Any, condition: str, asked: Sequence[Any]) -> bool:
    texts = [_as_text(value, each) for each in asked]
    pairs = [(found.casefold(), wanted.casefold()) for found, wanted in texts]
    match condition:
        case "is":
            return any(found == wanted for found, wanted in pairs)
        case "is not":
            return all(found != wanted for found, wanted in pairs)
        case "contains":
            return any(wanted in found for found, wanted in pairs)
        case "not contains":
            return all(wanted not in found for found, wanted in pairs)
        case "starts with":
            return any(found.startswith(wanted) for found, wanted in pairs)
        case "ends with":
            return any(found.endswith(wanted) for found, wanted in pairs)
        case "between":
            return len(pairs) == 2 and _order(pairs[0][1]) <= _order(pairs[0][0]) <= _order(pairs[1][1])
    if not pairs or not pairs[0][0]:
        return False
    left, right = _order(pairs[0][0]), _order(pairs[0][1])
    return {
        "greater than": left > right,
        "greater or equal": left >= right,
        "lesser than": left < right,
        "lesser or equal": left <= right,
    }.get(condition, True)


def _as_text(value: Any, asked: Any) -> tuple[str, str]:
    """Both sides as text: a reference by what it is asked by, its name or its id."""
    by = next((name for name in ("id", "name", "email_id") if isinstance(asked, dict) and name in asked), "name")
    wanted = asked.get(by) if isinstance(asked, dict) else asked
    found = value.get(by) if isinstance(value, dict) else value
    return ("" if found is None else str(found)), ("" if wanted is None else str(wanted))


def _given(values: Mapping[str, Any], name: str) -> bool:
    """Whether a field, or one of the additional ones, is filled."""
    value = values.get(name) or (values.get("udf_fields") or {}).get(name)
    return bool(value.get("content") if name == "resolution" and isinstance(value, dict) else value)


def _word(kind: str) -> str:
    return "incident" if kind == "requests" else "problem"


def _number(record: Mapping[str, Any]) -> str:
    number = record["display_id"]
    return str(number["display_value"]) if isinstance(number, dict) else str(number)


def _kept_html(markup: Any) -> str | None:
    """What the system makes of HTML: scripts are gone, and it stands in a block."""
    if markup is None:
        return None
    return f"<div>{re.sub(r'(?is)<script.*?</script>', '', str(markup))}<br></div>"


def _plain(markup: Any) -> str:
    text = re.sub(r"<br\s*/?>", "\n", str(markup or "")).replace("</p>", "\n\n")
    return html.unescape(re.sub(r"<[^>]*>", "", text)).strip()


def _cloud_settings(url: str, folder: Path) -> dict[str, Any]:
    return {
        "url": url,
        "portal": PORTAL,
        "accounts_url": url,
        "user": USER,
        "client_id": CLIENT_ID,
        "client_secret_file": secret_file(folder, "servicedesk_plus.secret", CLIENT_SECRET),
        "refresh_token_file": secret_file(folder, "servicedesk_plus.refresh", REFRESH_TOKEN),
        **_FIELDS,
    }


def _on_premises_settings(url: str, folder: Path) -> dict[str, Any]:
    return {
        "url": url,
        "edition": "on_premises",
        "user": USER,
        "technician_key_file": secret_file(folder, "servicedesk_plus.key", TECHNICIAN_KEY),
        **_FIELDS,
    }


def _source_settings(settings: Callable[[str, Path], Mapping[str, Any]], url: str, folder: Path) -> dict[str, Any]:
    return {name: value for name, value in settings(url, folder).items() if name not in _FIELDS}


cloud_source_settings = partial(_source_settings, _cloud_settings)
"""A source gets a token for each of its processes, of which the cloud gives ten in ten minutes."""
source_settings = partial(_source_settings, _on_premises_settings)


_FIELDS = {"key_field": KEY_FIELD, "problem_key_field": PROBLEM_KEY_FIELD, "fallback_group": "Service Desk"}

SIMULATOR = Simulator(
    kind="servicedesk_plus",
    title="ManageEngine ServiceDesk Plus",
    build=ServiceDeskPlusSystem,
    settings=_cloud_settings,
    source_settings=source_settings,
    variants={"on_premises": _on_premises_settings},
)
