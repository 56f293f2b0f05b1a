"""A stand-in of Freshservice: tickets, problems, their notes and activities, search, forms, agents and groups.

Facts: those of ``foreshock.connect.vendors.freshservice`` and ``incident_sink.freshservice``; exercised by the
    third-party clients freshpy 2.0.0, fshelper 0.3.0 and tap-freshservice 0.12.0 as well.

It copies what matters to a client: search sees a ticket minutes late, thirty at a time; lists hide what is older than
thirty days unless asked by time of change, and other workspaces; more than a hundred rows a page are refused; unknown
fields and wrong types are refused by name; forms demand fields at creation and at closing; HTML comes back changed;
activities have no ids and are told in words; what was deleted lies in the trash; limits are counted by the minute.
"""

import html
import itertools
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from msgspec import structs

from foreshock.sandbox.cmdb import Cmdb, Relation, Trait
from foreshock.sandbox.faults import Fault
from foreshock.sandbox.system import (
    Answering,
    Clock,
    Held,
    Refused,
    Reply,
    Request,
    Route,
    Simulator,
    routed,
    secret_file,
    stable_id,
)

USER, API_KEY = "foreshock@example.com", "sandbox-key"
KEY_FIELD = "foreshock_key"
PRIMARY, OTHER = 2, 3
"""Ids of the two workspaces."""
_PROBLEM_KEY = re.compile(r"\[foreshock problem ([^\]]+)\]")
_OLD = timedelta(days=30)
_MINUTE = timedelta(minutes=1)
_PRO = {"overall": 400, "list": 120, "ticket": 140}
"""Requests a minute of the plan Pro: what the headers tell where no limit is set."""
_MAX_PAGE = 100
_SEARCH_ROWS = 30
_QUERY_CHARS = 512
_SUBJECT_CHARS = 255
_STATUSES = {2: "Open", 3: "Pending", 4: "Resolved", 5: "Closed", 6: "Waiting on vendor"}
_PRIORITIES = {1: "Low", 2: "Medium", 3: "High", 4: "Urgent"}
_SCALE = {1: "Low", 2: "Medium", 3: "High"}
_OVER = (4, 5)
_INTEGERS = ("status", "priority", "impact", "urgency", "source", "group_id", "responder_id", "requester_id")
_WRITABLE = (
    *_INTEGERS,
    *("subject", "description", "type", "category", "sub_category", "item_category", "department_id"),
    *("tags", "assets", "problem", "custom_fields", "resolution_notes", "due_by", "fr_due_by", "workspace_id"),
    *("email", "phone", "name", "cc_emails", "change_initiating_ticket"),
)
_PROBLEM_WRITABLE = (
    *("subject", "description", "requester_id", "email", "status", "priority", "impact", "due_by", "known_error"),
    *("group_id", "agent_id", "category", "custom_fields", "analysis_fields", "assets", "workspace_id"),
)
_PROBLEM_MANDATORY = ("subject", "description", "status", "priority", "impact", "due_by")
_LISTED = {"page", "per_page", "updated_since", "include", "filter", "email", "requester_id", "type", "workspace_id"}
_INCLUDES = {"requester", "stats", "tags", "requested_for", "department"}
_ONE_INCLUDES = {*_INCLUDES, "conversations", "problem", "assets", "change", "related_tickets", "feedback"}
_SEARCHED = ("status", "priority", "impact", "urgency", "group_id", "requester_id", "type", "created_at", "updated_at")
_TABLES = (
    *("agents", "groups", "requesters", "departments", "locations", "asset_types", "assets"),
    *("relationship_types", "relationships"),
)
_RELATIONS = {"Depends On": "Used By", "Uses": "Used By", "Runs on": "Runs", "Admires": "Admired by"}
"""What a type of relationship says downstream and upstream."""
_TYPE_FIELDS = {"serial": "serial_number", "ip": "ip_address", "mac": "mac_address"}
"""Fields of an asset type by what they identify; the others are called alike."""
_KEY_QUERY = re.compile(rf"\"(?:cf_)?{KEY_FIELD}:'((?:\\.|[^'\\])*)'\"")
_TOKEN = re.compile(
    r"\s*(?:(?P<mark>[()])|(?P<join>AND|OR)\b"
    r"|(?P<field>\w+):(?P<operator>[<>]?)\s*(?P<value>'(?:\\.|[^'\\])*'|[^\s()]+))"
)


class _Refused(Refused):
    """An answer that is no success."""

    def __init__(self, status: int, body: Any, headers: Mapping[str, str] = {}) -> None:
        super().__init__(Reply(status=status, body=body, headers=headers))


def _invalid(field: str, message: str, code: str = "invalid_value") -> _Refused:
    return _Refused(
        400,
        {"description": "Validation failed", "errors": [{"field": field, "message": message, "code": code}]},
    )


def _unknown(field: str) -> _Refused:
    return _invalid(field, "Unexpected/invalid field in request", "invalid_field")


class FreshserviceSystem(Answering):
    """One account with two workspaces, a few agents, groups and fields.

    Attributes:
        filter_lag_s: how late a search sees a ticket. query_forms: names of custom fields that it takes. heeds_terms:
            whether it looks at its terms at all.
        sorts: whether lists take ``order_by``. shows_deleted: whether the trash is shown ticket by ticket.
        required, required_for_closure: names of fields that must be filled to open, and to resolve or close.
        closed_is_final: whether a rule refuses to reopen. matrix: whether priority follows from impact and urgency.
        creates_requesters: whether an unknown address becomes a requester. hides_agents: whether /agents is refused.
        limits: requests a minute: overall, list, ticket; empty for none. html_errors: whether 500 is a page.
        forbidden: lists that the agent may not read. page_rows: see ``CmdbSystem``.
    """

    def __init__(self, clock: Clock, seed: int = 1) -> None:
        super().__init__(clock, seed)
        self._tickets: dict[int, dict[str, Any]] = {}
        """The one that was changed last stands last."""
        self._by_key: dict[str, set[int]] = defaultdict(set)
        self._problems: dict[int, dict[str, Any]] = {}
        self._notes: dict[int, list[dict[str, Any]]] = defaultdict(list)
        self._activities: dict[int, list[dict[str, Any]]] = defaultdict(list)
        self._calls: dict[str, list[datetime]] = defaultdict(list)
        self._last, self._last_problem, self._last_note = 1000, 90_000, 21_000_000
        self.tables: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in _TABLES}
        self.fields: dict[str, dict[str, Any]] = {}
        self.filter_lag_s = 180.0
        self.query_forms = ("{}", "cf_{}")
        self.heeds_terms = True
        self.sorts = True
        self.shows_deleted = True
        self.required: set[str] = set()
        self.required_for_closure: set[str] = set()
        self.closed_is_final = False
        self.matrix = False
        self.creates_requesters = True
        self.hides_agents = False
        self.limits: dict[str, int] = {}
        self.html_errors = False
        self.forbidden: set[str] = set()
        self.page_rows = 0
        self._listed: dict[str, list[dict[str, Any]]] = {}
        self._changes: dict[int, dict[str, Any]] = {}
        self._furnish()

    cmdb = Cmdb(
        class_name="Server",
        kind="server",
        relation=Relation("Depends On", "Application", "Server", "depends_on"),
        unmapped_class="Toaster",
        unmapped_relation=Relation("Admires", "Server", "Server", "related_to"),
        shows={
            "owner": ("Database", "Network"),
            "location": ("Berlin", "Oslo"),
            "serial": ("SN-1", "SN-2"),
            "hostname": ("a", "b"),
            "ip": ("10.0.0.1", "10.0.0.2"),
            "mac": ("00:11:22:33:44:55", "00:11:22:33:44:66"),
            "asset_tag": ("A-1", "A-2"),
        },
        permissions=("assets", "relationships", "asset_types", "relationship_types", "groups", "locations"),
        lacks={
            Trait.DELTA: "relationships are listed whole or not at all",
            Trait.TOMBSTONES: "each reading is whole",
            Trait.EXPIRY: "pages go by number",
        },
    )

    # ---- the door ----

    def refuse(self, fault: Fault) -> Reply:
        match fault:
            case Fault.LIMITED:
                return _limited(self.limits.get("overall", _PRO["overall"]), 37)
            case Fault.DENIED:
                return Reply(status=401, body=_LOGIN)
            case Fault.FORBIDDEN:
                text = "You are not authorized to perform this action."
                return Reply(status=403, body={"code": "access_denied", "message": text})
        if self.html_errors:
            return Reply(status=500, body="<html><body><h1>We're sorry, but something went wrong.</h1></body></html>")
        return Reply(status=500, body={"code": "internal_error", "message": "We're sorry, but something went wrong."})

    def _routed(self, request: Request) -> Reply:
        if not request.path.startswith("/api/v2/"):
            return Reply(
                status=404, body="<html><body><h1>The page you were looking for doesn't exist.</h1></body></html>"
            )
        self._count("overall")
        user = self._user(request)
        path = request.path.removeprefix("/api/v2")
        reply = routed(self._routes(), request.method, path, request, user)
        if reply is None:
            raise _Refused(404, None)
        total = self.limits.get("overall", _PRO["overall"])
        headers = {
            "X-Ratelimit-Total": str(total),
            "X-Ratelimit-Remaining": str(max(0, total - len(self._calls["overall"]))),
            "X-Ratelimit-Used-CurrentRequest": "1",
            "X-Freshservice-Api-Version": "latest=v2; requested=v2",
        }
        return structs.replace(reply, headers={**headers, **reply.headers})

    def _routes(self) -> Sequence[Route]:
        """More special paths first: ``{}`` matches any one part."""
        return (
            ("GET", "/tickets/filter", self._filter),
            ("GET", "/tickets", self._list),
            ("POST", "/tickets", self._post),
            ("GET", "/tickets/{}", self._get),
            ("PUT", "/tickets/{}", self._put),
            ("DELETE", "/tickets/{}", self._delete),
            ("PUT", "/tickets/{}/restore", self._restore),
            ("POST", "/tickets/{}/notes", self._add_note),
            ("POST", "/tickets/{}/reply", self._add_reply),
            ("GET", "/tickets/{}/conversations", self._conversations),
            ("GET", "/tickets/{}/activities", self._history),
            ("GET", "/tickets/{}/time_entries", self._time_entries),
            ("GET", "/ticket_form_fields", self._form),
            ("GET", "/problems", self._list_problems),
            ("POST", "/problems", self._post_problem),
            ("GET", "/problems/{}", self._get_problem),
            ("PUT", "/problems/{}", self._put_problem),
            ("GET", "/problems/{}/notes", self._problem_notes),
            ("POST", "/problems/{}/notes", self._add_problem_note),
            ("GET", "/assets/{}/requests", lambda request, user, id: self._page(request, "requests", [])),
            ("GET", "/changes/{}", self._get_change),
            ("GET", "/itam/assets", lambda request, user: self._table(request, user, "assets")),
            ("GET", "/{}/{}", self._one_of),
            ("GET", "/{}", self._table),
        )

    def _user(self, request: Request) -> int:
        if request.basic[0] != API_KEY:
            raise _Refused(401, _LOGIN)
        return self.agent(USER)

    def _count(self, what: str) -> None:
        limit, now = self.limits.get(what, 0), self._clock()
        if not limit:
            return
        recent = [at for at in self._calls[what] if now - at < _MINUTE]
        self._calls[what] = [*recent, now]  # one that is refused counts too
        if len(recent) >= limit:
            limited = _limited(limit, max(1, int((recent[0] + _MINUTE - now).total_seconds())))
            raise _Refused(429, limited.body, limited.headers)

    # ---- tickets ----

    def _list(self, request: Request, user: int) -> Reply:
        self._count("list")
        given = request.parameters
        for name in given:
            if name not in _LISTED | ({"order_by", "order_type"} if self.sorts else {"order_type"}):
                raise _unknown(name)
        self._check_includes(given, _INCLUDES)
        if "updated_since" in given:
            since = _text_of(_moment(given["updated_since"], "updated_since").astimezone(UTC))
            newest_first = reversed(self._tickets.values())
            rows = list(itertools.takewhile(lambda each: each["updated_at"] >= since, newest_first))
        else:
            old = _text_of(self._clock() - _OLD)
            rows = [each for each in self._tickets.values() if each["created_at"] >= old]
        rows = [each for each in rows if self._is_shown(each, given.get("workspace_id"))]
        hidden = given.get("filter", "")
        rows = [
            each for each in rows if each["deleted"] == (hidden == "deleted") and each["spam"] == (hidden == "spam")
        ]
        rows = [each for each in rows if given.get("type", each["type"]) == each["type"]]
        order = given.get("order_by", "created_at")
        descending = given.get("order_type", "desc") == "desc"
        rows.sort(key=lambda each: (each[order], each["id"]), reverse=descending)
        globally = given.get("workspace_id") == "0"
        return self._page(request, "tickets", rows, lambda each: self._shown(each, given, globally=globally))

    def _is_shown(self, ticket: Mapping[str, Any], workspace: str | None) -> bool:
        return workspace == "0" or ticket["workspace_id"] == int(workspace or PRIMARY)

    def _check_includes(self, given: Mapping[str, str], allowed: set[str]) -> None:
        for name in filter(None, given.get("include", "").split(",")):
            if name not in allowed:
                raise _invalid("include", f"It should be one of these values: '{','.join(sorted(allowed))}'")

    def _shown(self, ticket: Mapping[str, Any], given: Mapping[str, str], *, globally: bool = False) -> dict[str, Any]:
        """As lists show it; more of it where that is asked for."""
        shown = {name: value for name, value in ticket.items() if name not in ("problem", "assets", "tags", "stats")}
        if globally:
            del shown["custom_fields"]
        for name in filter(None, given.get("include", "").split(",")):
            match name:
                case "requester":
                    shown["requester"] = self._person(ticket["requester_id"])
                case "conversations":
                    shown["conversations"] = self._notes[ticket["id"]][-10:]
                case "problem":
                    shown["problem"] = {"display_id": ticket["problem"]} if ticket["problem"] else None
                case "assets" | "tags" | "stats":
                    shown[name] = ticket[name]
        return shown

    def _get(self, request: Request, user: int, id: str) -> Reply:
        self._count("ticket")
        self._check_includes(request.parameters, _ONE_INCLUDES)
        ticket = self._ticket(id)
        if ticket["deleted"] and not self.shows_deleted:
            raise _Refused(404, None)
        return Reply(body={"ticket": self._shown(ticket, request.parameters)})

    def _ticket(self, id: str) -> dict[str, Any]:
        ticket = self._tickets.get(int(id)) if id.isdigit() else None
        if ticket is None:
            raise _Refused(404, None)
        return ticket

    def _changeable(self, id: str) -> dict[str, Any]:
        ticket = self._ticket(id)
        if ticket["deleted"] or ticket["spam"]:
            raise _Refused(405, None, {"Allow": "GET, DELETE"})
        return ticket

    def _post(self, request: Request, user: int) -> Reply:
        self._count("ticket")
        given = _body(request)
        for name in ("subject", "description"):
            if not str(given.get(name) or "").strip():
                raise _invalid(name, "It should not be blank as this is a mandatory field", "missing_field")
        requesters = [name for name in ("requester_id", "email", "phone") if given.get(name)]
        if len(requesters) != 1:
            raise _invalid("requester_id", "Exactly one of requester_id, email, phone must be given", "missing_field")
        self._check(given, _WRITABLE)
        workspace = given.get("workspace_id", PRIMARY)
        if workspace not in (PRIMARY, OTHER):
            raise _invalid("workspace_id", "There is no workspace matching the given workspace_id")
        now = _text_of(self._clock())
        ticket: dict[str, Any] = {
            **dict.fromkeys(("group_id", "responder_id", "category", "sub_category", "item_category")),
            "id": self._last + 1,
            "workspace_id": workspace,
            "requester_id": given.get("requester_id") or self._requester(str(given.get("email") or given["phone"])),
            "type": "Incident",
            "status": 2,
            "priority": 1,
            "impact": 1,
            "urgency": 1,
            "source": 2,
            "deleted": False,
            "spam": False,
            "tags": [],
            "assets": [],
            "problem": None,
            "resolution_notes": None,
            "custom_fields": {name: None for name, field in self.fields.items() if not field["default_field"]},
            "created_at": now,
            "updated_at": now,
            "stats": dict.fromkeys(("resolved_at", "closed_at", "assigned_at", "status_updated_at")),
        }
        self._set(ticket, given)
        words = [f"set {word} as {self._word(name, ticket[name])}" for name, word in _TOLD.items() if ticket[name]]
        for name in self.required:
            if not _value(ticket, name):
                raise _invalid(name, "It should not be blank as this is a mandatory field", "missing_field")
        self._last += 1
        self._tickets[self._last] = ticket
        person = self._person(ticket["requester_id"])["name"]
        self._tell(ticket["id"], user, ", ".join([f" created ticket for {person}", *words]))
        self._effects.append(f"incident {ticket['id']} created {_key(ticket)}")
        location = f"{request.base}/api/v2/tickets/{ticket['id']}"
        return Reply(status=201, body={"ticket": self._shown(ticket, {})}, headers={"Location": location})

    def _put(self, request: Request, user: int, id: str) -> Reply:
        self._count("ticket")
        ticket = self._changeable(id)
        given = _body(request)
        self._check(given, _WRITABLE)
        self._write(ticket, given, user)
        return Reply(body={"ticket": self._shown(ticket, {})})

    def _write(self, ticket: dict[str, Any], given: Mapping[str, Any], user: int) -> None:
        """Change a ticket, or nothing of it."""
        before = json.loads(json.dumps(ticket))
        wanted = json.loads(json.dumps(ticket))
        words = self._set(wanted, given)
        if wanted["status"] in _OVER and before["status"] not in _OVER:
            for name in self.required_for_closure:
                if not _value(wanted, name):
                    raise _invalid(name, "It should not be blank as this is a mandatory field", "missing_field")
        if before["status"] == 5 and wanted["status"] not in _OVER and self.closed_is_final:
            raise _invalid("status", "A closed ticket cannot be reopened")
        if wanted == before:
            return
        now = _text_of(self._clock())
        stats = wanted["stats"]
        if wanted["status"] != before["status"]:
            stats |= {"status_updated_at": now, "resolved_at": now if wanted["status"] in _OVER else None}
            stats["closed_at"] = now if wanted["status"] == 5 else None
        ticket.update(wanted)
        self._touch(ticket)
        self._tell(ticket["id"], user, " " + ", ".join(words))
        self._note_effects(before, ticket)

    def _touch(self, ticket: dict[str, Any]) -> None:
        ticket["updated_at"] = _text_of(self._clock())
        self._tickets[ticket["id"]] = self._tickets.pop(ticket["id"])

    def _note_effects(self, before: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        name, key = f"incident {after['id']}", _key(after)
        changed = {each for each in after if each not in ("updated_at", "stats") and after[each] != before[each]}
        if "status" in changed:
            again = before["status"] in _OVER and after["status"] not in _OVER
            word = "reopened" if again else {4: "resolved", 5: "closed"}.get(after["status"], "moved")
            self._effects.append(f"{name} {word} {key}")
        if "problem" in changed:
            self._effects.append(f"{name} linked {key}")
        if changed - {"status", "problem"}:
            self._effects.append(f"{name} updated {key}")

    def _set(self, ticket: dict[str, Any], given: Mapping[str, Any]) -> list[str]:
        """Take over the fields of a body; what the activities say of it."""
        words = []
        for name, value in given.items():
            match name:
                case "custom_fields":
                    ticket["custom_fields"] = {**ticket["custom_fields"], **value}
                    self._by_key[str(value.get(KEY_FIELD)).casefold()].add(ticket["id"])
                    continue
                case "description":
                    value = _sanitised(value)
                    ticket["description_text"] = " ".join(_text_of_html(value).split())
                case "problem":
                    value = value["display_id"] if value else None
                case "assets":
                    value = [{"display_id": each["display_id"]} for each in value]
                case "email" | "phone" | "name" | "cc_emails" | "workspace_id":
                    continue
            if ticket.get(name) != value and name in _TOLD:
                words.append(f"set {_TOLD[name]} as {self._word(name, value)}")
            ticket[name] = value
        if self.matrix:
            ticket["priority"] = max(1, min(4, ticket["impact"] + ticket["urgency"] - 2))
        return words

    def _word(self, name: str, value: Any) -> str:
        match name:
            case "status":
                return _STATUSES[value]
            case "priority":
                return _PRIORITIES[value]
            case "impact" | "urgency":
                return _SCALE[value]
            case "responder_id" | "group_id":
                table = self.tables["agents" if name == "responder_id" else "groups"]
                return _called(table[value]) if value else "none"
        return str(value)

    def _check(self, given: Mapping[str, Any], writable: Sequence[str]) -> None:
        """Names, types and values of a body."""
        for name, value in given.items():
            if name not in writable:
                raise _unknown(name)
            whole = isinstance(value, int) and not isinstance(value, bool)
            if name in _INTEGERS and value is not None and not whole:
                text = f"Value set is of type {type(value).__name__}.It should be a/an Integer"
                raise _invalid(name, text, "datatype_mismatch")
        choices = {"status": _STATUSES, "priority": _PRIORITIES, "impact": _SCALE, "urgency": _SCALE}
        for name, allowed in choices.items():
            if name in given and given[name] not in allowed:
                raise _invalid(name, f"It should be one of these values: '{','.join(map(str, allowed))}'")
        for name, table in (("group_id", "groups"), ("responder_id", "agents")):
            if given.get(name) is not None and given[name] not in self.tables[table]:
                raise _invalid(name, f"There is no {table[:-1]} matching the given {name}")
        if len(str(given.get("subject") or "")) > _SUBJECT_CHARS:
            text = f"Has {len(given['subject'])} characters, it can have maximum of {_SUBJECT_CHARS} characters"
            raise _invalid("subject", text)
        if "subject" in given and not str(given["subject"] or "").strip():
            raise _invalid("subject", "It should not be blank as this is a mandatory field", "missing_field")
        if given.get("type") not in (None, "Incident"):
            raise _invalid("type", "It should be one of these values: 'Incident'")
        known = self.tables["assets"].keys()  # by display id
        if any(each.get("display_id") not in known for each in given.get("assets") or ()):
            raise _invalid("assets", "There is no asset matching the given display_id")
        problem = given.get("problem")
        if problem and problem.get("display_id") not in self._problems:
            raise _invalid("problem", "There is no problem matching the given display_id")
        self._check_custom(given.get("custom_fields") or {})

    def _check_custom(self, given: Mapping[str, Any]) -> None:
        for name, value in given.items():
            field = self.fields.get(name)
            if field is None or field["default_field"]:
                raise _unknown(name)
            choices = [each["value"] for each in field["choices"]]
            if value is not None and choices and value not in choices:
                raise _invalid(name, f"It should be one of these values: '{','.join(choices)}'")
            if value is not None and not isinstance(value, str):
                text = f"Value set is of type {type(value).__name__}.It should be a/an String"
                raise _invalid(name, text, "datatype_mismatch")
            if field["field_type"] == "custom_text" and value is not None and len(value) > _SUBJECT_CHARS:
                raise _invalid(name, f"Has {len(value)} characters, it can have maximum of 255 characters")

    def _delete(self, request: Request, user: int, id: str) -> Reply:
        ticket = self._changeable(id)
        ticket["deleted"] = True
        self._effects.append(f"incident {id} deleted {_key(ticket)}")
        return Reply(status=204)

    def _restore(self, request: Request, user: int, id: str) -> Reply:
        ticket = self._ticket(id)
        if not ticket["deleted"]:
            raise _Refused(404, None)
        ticket["deleted"] = False
        return Reply(status=204)

    # ---- notes and activities ----

    def _add_note(self, request: Request, user: int, id: str) -> Reply:
        self._count("ticket")
        ticket = self._changeable(id)
        given = _body(request)
        for name in given:
            if name not in ("body", "private", "notify_emails", "incoming", "user_id"):
                raise _unknown(name)
        if not str(given.get("body") or "").strip():
            raise _invalid("body", "It should not be blank as this is a mandatory field", "missing_field")
        made = self._note(ticket, user, given["body"], private=bool(given.get("private", True)))
        self._effects.append(f"incident {id} noted {_key(ticket)}")
        return Reply(status=201, body={"conversation": made})

    def _add_reply(self, request: Request, user: int, id: str) -> Reply:
        ticket = self._changeable(id)
        made = self._note(ticket, user, str(_body(request).get("body")), private=False)
        self._effects.append(f"incident {id} noted {_key(ticket)}")
        return Reply(status=201, body={"conversation": made})

    def _note(self, ticket: dict[str, Any], user: int, body: str, *, private: bool) -> dict[str, Any]:
        made = self._made_note(user, body) | {
            "ticket_id": ticket["id"],
            "incoming": False,
            "private": private,
            "support_email": None,
            "source": 2,
            "to_emails": [],
            "cc_emails": [],
            "bcc_emails": [],
            "from_email": None,
            "attachments": [],
        }
        self._notes[ticket["id"]].append(made)
        self._touch(ticket)
        self._tell(ticket["id"], user, f" added a {'private' if private else 'public'} note")
        return made

    def _made_note(self, user: int, body: str) -> dict[str, Any]:
        self._last_note += 7
        body = _sanitised(body)
        now = _text_of(self._clock())
        text = " ".join(_text_of_html(body).split())
        return {
            "id": self._last_note,
            "user_id": user,
            "body": body,
            "body_text": text,
            "created_at": now,
            "updated_at": now,
        }

    def _conversations(self, request: Request, user: int, id: str) -> Reply:
        self._ticket(id)
        return self._page(request, "conversations", self._notes[int(id)])

    def _tell(self, id: int, user: int, content: str) -> None:
        name = _called(self.tables["agents"][user]) if user in self.tables["agents"] else "System"
        actor = {"id": user, "name": name}
        self._activities[id].append(
            {"actor": actor, "content": content, "sub_contents": [], "created_at": _text_of(self._clock())}
        )

    def _history(self, request: Request, user: int, id: str) -> Reply:
        """Newest first; where more follow, the next page's address stands in the body."""
        self._ticket(id)
        start = int(request.parameters.get("start_token", "0"))
        rows = self._activities[int(id)][::-1]
        page = rows[start : start + _SEARCH_ROWS]
        body: dict[str, Any] = {"activities": page}
        if len(rows) > start + len(page):
            body["next_page_url"] = f"{request.base}{request.path}?start_token={start + len(page)}"
        return Reply(body=body)

    def _time_entries(self, request: Request, user: int, id: str) -> Reply:
        self._ticket(id)
        return self._page(request, "time_entries", [])

    # ---- search ----

    def _filter(self, request: Request, user: int) -> Reply:
        self._count("list")
        given = request.parameters
        for name in given:
            if name not in ("query", "page", "workspace_id"):
                raise _unknown(name)
        query = given.get("query", "")
        if len(query) < 3 or query[0] != '"' or query[-1] != '"' or len(query) > _QUERY_CHARS + 2:
            raise _invalid("query", "lexical error: the query must stand in double quotes, at most 512 characters")
        holds = _parsed(query[1:-1], self._compared)
        seen = _text_of(self._clock() - timedelta(seconds=self.filter_lag_s))
        by_key = _KEY_QUERY.fullmatch(query) if self.heeds_terms else None
        ids: Iterable[int] = self._tickets
        if by_key is not None:
            ids = self._by_key.get(re.sub(r"\\(.)", r"\1", by_key[1]).casefold(), ())
        rows = [
            each
            for each in (self._tickets[id] for id in ids if id in self._tickets)
            if each["created_at"] <= seen and self._is_shown(each, given.get("workspace_id"))
        ]
        rows = [each for each in rows if not each["deleted"] and not each["spam"]]
        rows = [each for each in rows if holds(each)] if self.heeds_terms else rows
        rows.sort(key=lambda each: (each["created_at"], each["id"]), reverse=True)
        start = (max(1, int(given.get("page", "1"))) - 1) * _SEARCH_ROWS
        page = [self._shown(each, {}) for each in rows[start : start + _SEARCH_ROWS]]
        return Reply(body={"tickets": page, "total": len(rows)})

    def _compared(self, field: str, operator: str, value: str) -> Callable[[Mapping[str, Any]], bool]:
        names = {
            form.format(name): name
            for name, each in self.fields.items()
            if not each["default_field"]
            for form in self.query_forms
        }
        wanted = None if value == "null" else re.sub(r"\\(.)", r"\1", value[1:-1]) if value[0] == "'" else value

        def holds(ticket: Mapping[str, Any]) -> bool:
            present = (
                ticket["custom_fields"].get(names[field]) if field in names else ticket.get(_ALIAS.get(field, field))
            )
            if field == "tag":
                return wanted in ticket["tags"]
            if wanted is None or present is None:
                return present is None and wanted is None
            if operator:
                return str(present) >= wanted if operator == ">" else str(present) <= wanted
            return str(present).casefold() == wanted.casefold()

        if field not in (*_SEARCHED, *_ALIAS, "tag") and field not in names:
            raise _unknown(field)
        return holds

    # ---- problems ----

    def _list_problems(self, request: Request, user: int) -> Reply:
        given = request.parameters
        rows = [each for each in self._problems.values() if self._is_shown(each, given.get("workspace_id"))]
        if "updated_since" in given:
            since = _moment(given["updated_since"], "updated_since")
            rows = [each for each in rows if _time(each["updated_at"]) >= since]
        hidden = ("custom_fields", "analysis_fields", "notes")
        shown = [{name: value for name, value in each.items() if name not in hidden} for each in rows[::-1]]
        return self._page(request, "problems", shown)

    def _problem(self, id: str) -> dict[str, Any]:
        problem = self._problems.get(int(id)) if id.isdigit() else None
        if problem is None:
            raise _Refused(404, None)
        return problem

    def _get_problem(self, request: Request, user: int, id: str) -> Reply:
        return Reply(body={"problem": _without_notes(self._problem(id))})

    def _post_problem(self, request: Request, user: int) -> Reply:
        given = _body(request)
        for name in _PROBLEM_MANDATORY:
            if given.get(name) in (None, ""):
                raise _invalid(name, "It should not be blank as this is a mandatory field", "missing_field")
        if not (given.get("requester_id") or given.get("email")):
            raise _invalid("requester_id", "It should not be blank as this is a mandatory field", "missing_field")
        self._check_problem(given)
        self._last_problem += 1
        now = _text_of(self._clock())
        problem: dict[str, Any] = {
            **dict.fromkeys(("group_id", "agent_id", "category", "associated_change", "analysis_fields")),
            "id": self._last_problem,
            "workspace_id": given.get("workspace_id", PRIMARY),
            "requester_id": given.get("requester_id") or self._requester(str(given["email"])),
            "known_error": False,
            "custom_fields": {},
            "assets": [],
            "notes": [],
            "created_at": now,
            "updated_at": now,
        }
        self._set_problem(problem, given)
        self._problems[self._last_problem] = problem
        self._effects.append(f"problem {problem['id']} created {_problem_key(problem)}")
        return Reply(status=201, body={"problem": _without_notes(problem)})

    def _put_problem(self, request: Request, user: int, id: str) -> Reply:
        problem = self._problem(id)
        given = _body(request)
        self._check_problem(given)
        before = dict(problem)
        self._set_problem(problem, given)
        if problem != before:
            problem["updated_at"] = _text_of(self._clock())
            self._effects.append(f"problem {id} updated {_problem_key(problem)}")
        return Reply(body={"problem": _without_notes(problem)})

    def _check_problem(self, given: Mapping[str, Any]) -> None:
        for name in given:
            if name not in _PROBLEM_WRITABLE:
                raise _unknown(name)
        if "due_by" in given and _moment(given["due_by"], "due_by") <= self._clock():
            raise _invalid("due_by", "It should be a time in the future")
        if given.get("status", 1) not in (1, 2, 3):
            raise _invalid("status", "It should be one of these values: '1,2,3'")
        self._check(
            {name: given[name] for name in ("priority", "impact", "group_id", "subject") if name in given}, _WRITABLE
        )

    def _set_problem(self, problem: dict[str, Any], given: Mapping[str, Any]) -> None:
        problem |= {name: value for name, value in given.items() if name not in ("email", "workspace_id")}
        if "description" in given:
            problem["description"] = _sanitised(given["description"])
            problem["description_text"] = " ".join(_text_of_html(problem["description"]).split())

    def _problem_notes(self, request: Request, user: int, id: str) -> Reply:
        return self._page(request, "notes", self._problem(id)["notes"])

    def _add_problem_note(self, request: Request, user: int, id: str) -> Reply:
        problem = self._problem(id)
        made = self._made_note(user, str(_body(request).get("body")))
        problem["notes"].append(made)
        self._effects.append(f"problem {id} noted {_problem_key(problem)}")
        return Reply(status=201, body={"note": made})

    # ---- people, groups, forms ----

    def _form(self, request: Request, user: int) -> Reply:
        rows = []
        for name, field in self.fields.items():
            rows.append(
                {
                    **field,
                    "required_for_agents": field["required_for_agents"] or name in self.required,
                    "required_for_closure": name in self.required_for_closure,
                }
            )
        return Reply(body={"ticket_fields": rows})

    def _table(self, request: Request, user: int, name: str) -> Reply:
        if name not in self.tables and name != "changes":
            raise _Refused(404, None)
        if (name == "agents" and self.hides_agents) or name in self.forbidden:
            return self.refuse(Fault.FORBIDDEN)
        if name == "changes":
            return self._list_changes(request)
        if name in ("assets", "relationships") and "search" not in request.parameters:
            show = self._asset if name == "assets" else dict
            return self._page(request, name, self._rows(name), show, most=self.page_rows)
        rows = list(self.tables[name].values())
        email = request.parameters.get("email")
        if email is not None:
            rows = [each for each in rows if email in (each.get("email"), each.get("primary_email"))]
        search = re.fullmatch(r"\"name:'(.*)'\"", request.parameters.get("search", ""))
        if search is not None:
            word = re.sub(r"\\(.)", r"\1", search[1]).casefold()
            rows = [each for each in rows if str(each.get("name", "")).casefold().startswith(word)]
        return self._page(request, name, rows)

    def _one_of(self, request: Request, user: int, name: str, id: str) -> Reply:
        if name == "agents" and self.hides_agents:
            return self.refuse(Fault.FORBIDDEN)
        row = self.tables.get(name, {}).get(int(id)) if id.isdigit() else None
        if row is None:
            raise _Refused(404, None)
        return Reply(body={name[:-1]: row})

    def _page(
        self,
        request: Request,
        name: str,
        rows: Sequence[Mapping[str, Any]],
        show: Callable[[Mapping[str, Any]], Mapping[str, Any]] = dict,
        *,
        most: int = 0,
    ) -> Reply:
        given = request.parameters
        size, number = _whole(given, "per_page", 30), _whole(given, "page", 1)
        if size > _MAX_PAGE:
            text = f"It should be a Positive Integer less than or equal to {_MAX_PAGE}"
            raise _invalid("per_page", text)
        size = min(size, most or size)
        start = (number - 1) * size
        headers = {}
        if len(rows) > start + size:
            headers["Link"] = f'<{request.base}{request.path}?{urlencode({**given, "page": number + 1})}>; rel="next"'
        return Reply(body={name: [show(each) for each in rows[start : start + size]]}, headers=headers)

    def _requester(self, address: str) -> int:
        for table, name in (("agents", "email"), ("requesters", "primary_email")):
            for id, row in self.tables[table].items():
                if row[name] == address:
                    return id
        if not self.creates_requesters:
            raise _invalid("email", "There is no requester matching the given email")
        name = address.partition("@")[0].title()
        return self._add("requesters", first_name=name, last_name=None, primary_email=address, active=True)

    def _person(self, id: int) -> dict[str, Any]:
        row = self.tables["agents"].get(id) or self.tables["requesters"].get(id) or {"first_name": "Somebody"}
        return {"id": id, "name": _called(row), "email": row.get("email") or row.get("primary_email")}

    def agent(self, email: str) -> int:
        """Id of an agent, 0 if there is none."""
        return next((id for id, row in self.tables["agents"].items() if row["email"] == email), 0)

    # ---- people's own hands, and what is there from the start ----

    def edit(self, number: str, action: str, *, actor: str = "ada", text: str = "", code: str = "") -> None:
        """Besides the usual ones: spam, merge (into the ticket ``text``), and the status named ``text`` (status); of a
        problem close, retitle, delete and workaround (a known error whose cause is ``text``)."""
        if int(number) in self._problems:
            if action == "delete":
                del self._problems[int(number)]
                return
            cause = {"problem_cause": {"description": f"<div>{html.escape(text)}</div>"}}
            done: dict[str, dict[str, Any]] = {
                "close": {"status": 3},
                "retitle": {"subject": text},
                "workaround": {"known_error": True, "analysis_fields": cause},
            }
            self._problems[int(number)] |= done[action]
            return
        ticket = self._tickets[int(number)]
        user = self.agent(f"{actor}@example.com") or self._add("agents", **_agent(actor))
        if action in ("delete", "spam"):
            ticket["deleted" if action == "delete" else "spam"] = True
            return
        changed: dict[str, Any] = {}
        match action:
            case "take":
                changed = {"responder_id": user}
            case "assign":
                groups = self.tables["groups"].items()
                named = [id for id, group in groups if group["name"].casefold() == text.casefold()]
                changed = {"group_id": named[0] if named else None}
            case "comment":
                self._note(ticket, user, f"<div>{html.escape(text)}</div>", private=True)
            case "resolve" | "close" | "wait":
                if text:
                    self._note(ticket, user, f"<div>{html.escape(text)}</div>", private=True)
                changed = {"status": {"resolve": 4, "close": 5, "wait": 3}[action]}
                changed |= {"custom_fields": {"close_code": code}} if code else {}
            case "merge":
                note = f"<div>This ticket is closed and merged into ticket {html.escape(text)}</div>"
                self._note(ticket, user, note, private=False)
                changed = {"status": 5}
            case "reopen" | "resume":
                changed = {"status": 2}
            case "status":
                changed = {"status": next(id for id, name in _STATUSES.items() if name == text)}
            case "retitle":
                changed = {"subject": text}
            case _:
                raise KeyError(action)
        if changed:
            self._write(ticket, changed, user)

    def held(self) -> list[Held]:
        """The description counts as the first note: there stands what opened the ticket."""
        found = []
        for _, ticket in sorted(self._tickets.items()):
            if ticket["deleted"]:
                continue
            notes = [_text_of_html(ticket["description"])]
            notes += [_text_of_html(note["body"]) for note in self._notes[ticket["id"]]]
            custom = [str(value) for value in ticket["custom_fields"].values() if value]
            found.append(
                Held(
                    number=str(ticket["id"]),
                    key=_key(ticket),
                    state={4: "resolved", 5: "closed"}.get(ticket["status"], "open"),
                    title=ticket["subject"],
                    notes=tuple(notes),
                    texts=(ticket["subject"], *custom, *notes),
                    links=(str(ticket["problem"]),) if ticket["problem"] else (),
                )
            )
        return found + [_held_problem(problem) for problem in self._problems.values()]

    # ---- assets ----

    def _rows(self, name: str) -> list[dict[str, Any]]:
        if name not in self._listed:
            self._listed[name] = list(self.tables[name].values())
        return self._listed[name]

    def _named(self, table: str, name: str) -> int:
        return next(id for id, row in self.tables[table].items() if row.get("name") == name)

    def _asset(self, row: Mapping[str, Any]) -> dict[str, Any]:
        shown = {name: value for name, value in row.items() if name not in ("type_fields", "spoilt")}
        suffix = row["asset_type_id"]
        shown["type_fields"] = {f"{name}_{suffix}": value for name, value in row.get("type_fields", {}).items()}
        if row.get("spoilt"):
            shown["name"] = {"broken": True}
        return shown

    def _ci(self, id: str) -> dict[str, Any]:
        return self.tables["assets"][int(id)]

    def put_ci(self, name: str, class_name: str = "", **shown: Any) -> str:
        self._last_asset += 1
        now = _text_of(self._clock())
        row = {
            **dict.fromkeys(("agent_id", "user_id", "department_id", "location_id", "group_id", "asset_tag")),
            "id": self._last_asset + 700_000,
            "display_id": self._last_asset,
            "name": name,
            "asset_type_id": self._named("asset_types", class_name or self.cmdb.class_name),
            "impact": "low",
            "type_fields": {"asset_state": "In Use"},
            "created_at": now,
            "updated_at": now,
        }
        self._rows("assets").append(row)
        self.tables["assets"][self._last_asset] = row
        self.change_ci(str(self._last_asset), **shown)
        return str(self._last_asset)

    def change_ci(self, id: str, **shown: Any) -> None:
        row = self._ci(id)
        for what, value in shown.items():
            match what:
                case "owner":
                    row["group_id"] = self._named("groups", value)
                case "location":
                    row["location_id"] = self._named("locations", value)
                case "name" | "asset_tag" | "impact":
                    row[what] = value
                case _:
                    row["type_fields"][_TYPE_FIELDS.get(what, what)] = value
        row["updated_at"] = _text_of(self._clock())

    def delete_ci(self, id: str, *, trace: bool = True) -> None:
        del self.tables["assets"][int(id)]
        table = self.tables["relationships"]
        for key, row in list(table.items()):
            if int(id) in (row["primary_id"], row["secondary_id"]):
                del table[key]
        self._listed.clear()

    def relate(self, source: str, target: str, word: str = "") -> str:
        word = word or self.cmdb.relation.word
        type_ = next(id for id, row in self.tables["relationship_types"].items() if row["downstream_relation"] == word)
        self._last_relationship += 1
        row = {
            "id": self._last_relationship,
            "relationship_type_id": type_,
            "primary_id": int(source),
            "primary_type": "asset",
            "secondary_id": int(target),
            "secondary_type": "asset",
        }
        self._rows("relationships").append(row)
        self.tables["relationships"][self._last_relationship] = row
        return str(self._last_relationship)

    def unrelate(self, key: str) -> None:
        del self.tables["relationships"][int(key)]
        self._listed.clear()

    def spoil_ci(self, id: str) -> None:
        self._ci(id)["spoilt"] = True

    def forbid(self, permission: str) -> None:
        self.forbidden.add(permission)

    def plan_change(
        self, status: int, starts: datetime, ends: datetime, *cis: str, services: Sequence[str] = ()
    ) -> str:
        """A change request; its id."""
        id = 300 + len(self._changes)
        self._changes[id] = {
            "id": id,
            "subject": "Patch",
            "status": status,
            "agent_id": next(iter(self.tables["agents"])),
            "planned_start_date": _text_of(starts),
            "planned_end_date": _text_of(ends),
            "updated_at": _text_of(self._clock()),
            "assets": [{"display_id": int(ci), "name": self._ci(ci)["name"]} for ci in cis],
            "impacted_services": [{"display_id": int(ci), "name": self._ci(ci)["name"]} for ci in services],
        }
        return str(id)

    def _list_changes(self, request: Request) -> Reply:
        since = _text_of(_moment(request.parameters["updated_since"], "updated_since").astimezone(UTC))
        rows = [row for row in self._changes.values() if row["updated_at"] >= since]
        return self._page(request, "changes", rows, lambda row: {k: v for k, v in row.items() if k != "assets"})

    def _get_change(self, request: Request, user: int, id: str) -> Reply:
        if int(id) not in self._changes:
            raise _Refused(404, None)
        return Reply(body={"change": self._changes[int(id)]})

    def _add(self, table: str, **values: Any) -> int:
        id = int(stable_id(self._seed, table, len(self.tables[table]))[:9], 16)
        now = _text_of(self._clock())
        self.tables[table][id] = {"id": id, **values, "created_at": now, "updated_at": now}
        return id

    def _furnish(self) -> None:
        self._add("agents", **_agent("foreshock"))
        self._add("agents", **_agent("ada"))
        for name in ("Database", "Network", "Service Desk"):
            self._add("groups", name=name, description="", members=[], observers=[], workspace_id=PRIMARY)
        kind = self._add("asset_types", name="Server", parent_asset_type_id=None, visible=True)
        for name in ("Application", "Services", "Toaster"):
            self._add("asset_types", name=name, parent_asset_type_id=None, visible=True)
        self._add("asset_types", name="Linux Server", parent_asset_type_id=kind, visible=True)
        for down, up in _RELATIONS.items():
            self._add("relationship_types", downstream_relation=down, upstream_relation=up)
        for name in ("Berlin", "Oslo"):
            self._add("locations", name=name)
        self._last_asset, self._last_relationship = 16, 5000
        for name in ("db1", "db2"):
            self.put_ci(name, asset_tag=f"ASSET-{self._last_asset + 1}")
        for name, type in _DEFAULT_FIELDS.items():
            choices = _STATUSES if name == "status" else _PRIORITIES if name == "priority" else {}
            self._field(name, type, choices, required=name in ("requester", "subject", "description", "status"))
        self._field(KEY_FIELD, "custom_text", {})
        self._field("affected_services", "custom_paragraph", {})
        self._field("close_code", "custom_dropdown", {1: "Fixed", 2: "False alarm", 3: "Duplicate"})

    def _field(self, name: str, type: str, choices: Mapping[int, str], *, required: bool = False) -> None:
        now = _text_of(self._clock())
        self.fields[name] = {
            "id": int(stable_id(self._seed, "field", name)[:9], 16),
            "workspace_id": PRIMARY,
            "name": name,
            "label": name.replace("_", " ").capitalize(),
            "field_type": type,
            "position": len(self.fields) + 1,
            "default_field": type.startswith("default_"),
            "required_for_agents": required,
            "required_for_closure": False,
            "choices": [{"id": id, "value": value} for id, value in choices.items()],
            "nested_fields": [],
            "sections": [],
            "created_at": now,
            "updated_at": now,
        }


_LOGIN = {"code": "invalid_credentials", "message": "You have to be logged in to perform this action."}
_ALIAS = {"agent_id": "responder_id"}
_TOLD = {
    "status": "Status",
    "priority": "Priority",
    "impact": "Impact",
    "urgency": "Urgency",
    "responder_id": "Agent",
    "group_id": "Group",
    "subject": "Subject",
    "category": "Category",
}
_DEFAULT_FIELDS = {
    "requester": "default_requester",
    "subject": "default_subject",
    "description": "default_description",
    "status": "default_status",
    "priority": "default_priority",
    "impact": "default_impact",
    "urgency": "default_urgency",
    "group": "default_group",
    "agent": "default_agent",
    "category": "default_category",
}


def _agent(name: str) -> dict[str, Any]:
    email = f"{name}@example.com"
    return {"first_name": name.title(), "last_name": None, "email": email, "active": True, "workspace_ids": [PRIMARY]}


def _called(row: Mapping[str, Any]) -> str:
    return str(row.get("name") or " ".join(filter(None, (row.get("first_name"), row.get("last_name")))))


def _limited(limit: int, wait_s: int) -> Reply:
    headers = {"Retry-After": str(wait_s), "X-Ratelimit-Total": str(limit), "X-Ratelimit-Remaining": "0"}
    return Reply(status=429, body={"message": "You have exceeded the limit of requests per minute"}, headers=headers)


def _body(request: Request) -> dict[str, Any]:
    if "json" not in request.headers.get("content-type", ""):
        raise _Refused(415, {"code": "invalid_content_type", "message": "Content-Type header is not application/json"})
    try:
        body = request.json()
    except ValueError:
        raise _Refused(400, {"code": "invalid_json", "message": "Request body has invalid json format"}) from None
    if not isinstance(body, dict) or not body:
        raise _Refused(400, {"code": "invalid_json", "message": "Request body is empty"})
    return body


def _whole(given: Mapping[str, str], name: str, default: int) -> int:
    text = given.get(name, str(default))
    if not text.isdigit() or int(text) < 1:
        raise _invalid(name, "It should be a Positive Integer", "datatype_mismatch")
    return int(text)


def _value(ticket: Mapping[str, Any], name: str) -> Any:
    return ticket["custom_fields"].get(name) or ticket.get(name) or ticket.get(f"{name}_id")


def _parsed(
    query: str, compared: Callable[[str, str, str], Callable[[Mapping[str, Any]], bool]]
) -> Callable[[Mapping[str, Any]], bool]:
    """What a query asks of a ticket; AND binds stronger than OR."""
    tokens = _tokens(query)
    token = next(tokens, None)

    def advance() -> re.Match[str]:
        nonlocal token
        if token is None:
            raise _invalid("query", "syntax error: the query ends too early")
        read, token = token, next(tokens, None)
        return read

    def either() -> Callable[[Mapping[str, Any]], bool]:
        sides = [both()]
        while token is not None and token["join"] == "OR":
            advance()
            sides.append(both())
        return lambda ticket: any(side(ticket) for side in sides)

    def both() -> Callable[[Mapping[str, Any]], bool]:
        sides = [one()]
        while token is not None and token["join"] == "AND":
            advance()
            sides.append(one())
        return lambda ticket: all(side(ticket) for side in sides)

    def one() -> Callable[[Mapping[str, Any]], bool]:
        read = advance()
        if read["mark"] == "(":
            inner = either()
            if advance()["mark"] != ")":
                raise _invalid("query", "syntax error: a parenthesis is not closed")
            return inner
        if not read["field"]:
            raise _invalid("query", f"syntax error near {read[0]!r}")
        return compared(read["field"], read["operator"], read["value"])

    holds = either()
    if token is not None:
        raise _invalid("query", f"syntax error near {token[0]!r}")
    return holds


def _tokens(query: str) -> Iterator[re.Match[str]]:
    at = 0
    while query[at:].strip():
        found = _TOKEN.match(query, at)
        if found is None:
            raise _invalid("query", f"lexical error near {query[at : at + 20]!r}")
        yield found
        at = found.end()


def _sanitised(text: str) -> str:
    """As it is stored: in a div, without scripts and attributes."""
    text = re.sub(r"(?is)<(script|style).*?</\1>", "", str(text))
    bare = re.sub(r"<(/?[a-zA-Z0-9]+)[^>]*?(/?)>", r"<\1\2>", text)
    return f"<div>{bare}</div>"


def _text_of_html(markup: str) -> str:
    text = re.sub(r"<br\s*/?>", "\n", markup)
    text = re.sub(r"</(?:p|div)>", "\n\n", text)
    return html.unescape(re.sub(r"<[^>]*>", "", text)).strip()


def _key(ticket: Mapping[str, Any]) -> str:
    return str(ticket["custom_fields"].get(KEY_FIELD) or "")


def _problem_key(problem: Mapping[str, Any]) -> str:
    found = _PROBLEM_KEY.findall(problem["description_text"])
    return str(found[-1]) if found else ""


def _without_notes(problem: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in problem.items() if name != "notes"}


def _held_problem(problem: Mapping[str, Any]) -> Held:
    notes = (_text_of_html(problem["description"]), *(_text_of_html(note["body"]) for note in problem["notes"]))
    return Held(
        number=str(problem["id"]),
        key=_problem_key(problem),
        state="closed" if problem["status"] == 3 else "open",
        title=problem["subject"],
        notes=notes,
        texts=(problem["subject"], *notes),
        type="problem",
    )


def _moment(text: str, field: str) -> datetime:
    try:
        return _time(text.replace(" ", "+"))  # a plus sign that was not quoted in a query
    except ValueError:
        raise _invalid(field, "It should be in the ISO 8601 format", "invalid_format") from None


def _text_of(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _settings(url: str, folder: Path) -> dict[str, Any]:
    return {
        "url": url,
        "user": USER,
        "key_file": secret_file(folder, "freshservice.key", API_KEY),
        "fallback_group": "Service Desk",
    }


def _source_settings(url: str, folder: Path) -> dict[str, Any]:
    return {"url": url, "user": USER, "key_file": secret_file(folder, "freshservice.key", API_KEY)}


SIMULATOR = Simulator(
    kind="freshservice",
    title="Freshservice",
    build=FreshserviceSystem,
    settings=_settings,
    source_settings=_source_settings,
)
