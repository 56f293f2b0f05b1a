"""A stand-in of Zendesk Support: tickets, audits, search and incremental export, with the habits that surprise clients.

Facts: those of ``foreshock.connect.vendors.zendesk`` and ``incident_sink.zendesk``; exercised by the third-party client
    zenpy 2.0.57 as well.

It copies what matters to a client: a repeated creation with the same Idempotency-Key is replayed for two hours and
refused with another body; search lags behind; a description is the first comment and never changes; what left New never
returns there; solving needs an assignee; what is closed cannot be changed; a safe update with an old stamp is refused;
the export is ordered by its own time and wants a start that is a minute old; limits are counted by the minute and told
as text, and some errors are pages.
"""

import base64
import hashlib
import hmac
import html
import json
import re
import shlex
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from msgspec import Struct, structs

from foreshock.sandbox.faults import Fault
from foreshock.sandbox.system import (
    Answering,
    Call,
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

USER, TOKEN, OAUTH_TOKEN = "foreshock@example.com", "sandbox", "sandbox-oauth"
KEY_PREFIX = "foreshock-"
AUTO_ASSIGNS = False
"""Whether an agent who solves a ticket that nobody has gets it; a setting of each account, here the harder way."""
CLOSED_TEXT = "Status: closed prevents ticket update"
_KEY_AGE = timedelta(hours=2)
_EXPORT_AGE = timedelta(seconds=60)
_CLOSES_AFTER = timedelta(days=28)
_LOOKS_EVERY = timedelta(hours=1)
_PROFESSIONAL = 400
"""Requests a minute of the plan Professional: what the headers tell where no limit is set."""
_SEARCH_HITS = 1000
_MAX_PAGE = 100
_PRIORITIES = ("urgent", "high", "normal", "low")
_TYPES = ("problem", "incident", "question", "task")
_STATUSES = ("new", "open", "pending", "hold", "solved")
_WRITABLE = (
    "subject",
    "priority",
    "type",
    "group_id",
    "assignee_id",
    "requester_id",
    "organization_id",
    "brand_id",
    "ticket_form_id",
    "external_id",
    "problem_id",
    "due_at",
)
_LISTS = {"users": "user", "groups": "group", "ticket_fields": "ticket_field", "custom_statuses": "custom_status"}


class _Refused(Refused):
    """An answer that is no success."""

    def __init__(self, status: int, body: Any, headers: Mapping[str, str] = {}) -> None:
        super().__init__(Reply(status=status, body=body, headers=headers))


class _Kept(Struct, frozen=True):
    """What was answered to a creation with an Idempotency-Key."""

    body: bytes
    reply: Reply
    at: datetime


def _invalid(**details: str) -> _Refused:
    shown = {name: [{"description": text, "error": "InvalidValue"}] for name, text in details.items()}
    return _Refused(422, {"error": "RecordInvalid", "description": "Record validation errors", "details": shown})


def _missing() -> _Refused:
    return _Refused(404, {"error": "RecordNotFound", "description": "Not found"})


class ZendeskSystem(Answering):
    """One account with a few agents, groups and fields.

    Attributes:
        role: of Foreshock's agent. search_lag_s, list_lag_s: how late search and the list by external id see a ticket.
        auto_assigns: see ``AUTO_ASSIGNS``. required: ids of custom fields that must be filled to solve.
        minute_limit: requests a minute; 0 for none. export_limit: exports a minute. update_limit: of one ticket by one
            agent in ten minutes.
        cascades: whether solving a problem solves its incidents. html_errors: whether 500 is a page.
    """

    def __init__(self, clock: Clock, seed: int = 1) -> None:
        super().__init__(clock, seed)
        self._tickets: dict[int, dict[str, Any]] = {}
        self._audits: dict[int, list[dict[str, Any]]] = defaultdict(list)
        self._by_external: dict[str, list[int]] = defaultdict(list)
        self._keys: dict[str, _Kept] = {}
        self._calls: dict[tuple[str, ...], list[datetime]] = defaultdict(list)
        self._last = 9000
        self._last_event = 700_000
        self._looked = clock()
        self.tables: dict[str, dict[int, dict[str, Any]]] = {name: {} for name in _LISTS}
        self.tokens = {USER: TOKEN}
        self.role = "admin"
        self.search_lag_s = 120.0
        self.list_lag_s = 0.0
        self.auto_assigns = AUTO_ASSIGNS
        self.required: set[int] = set()
        self.minute_limit = 0
        self.export_limit = 10
        self.update_limit = 30
        self.cascades = True
        self.html_errors = True
        self._furnish()

    # ---- the door ----

    def refuse(self, fault: Fault) -> Reply:
        match fault:
            case Fault.LIMITED:
                return _limited(self.minute_limit or _PROFESSIONAL, 37)
            case Fault.DENIED:
                return Reply(status=401, body={"error": "Couldn't authenticate you"})
            case Fault.FORBIDDEN:
                return Reply(
                    status=403, body={"error": {"title": "Forbidden", "message": "You do not have access to this page"}}
                )
        if self.html_errors:
            return Reply(status=500, body="<html><body><h1>Sorry, something went wrong</h1></body></html>")
        return Reply(status=500, body={"error": "InternalError", "description": "Something went wrong"})

    def _routed(self, request: Request) -> Reply:
        self._age()
        if not request.path.startswith("/api/v2/"):
            return Reply(
                status=404, body="<html><body><h1>The page you were looking for doesn't exist</h1></body></html>"
            )
        user = self._user(request)
        self._count(("account",), self.minute_limit, timedelta(minutes=1))
        path = request.path.removeprefix("/api/v2").removesuffix(".json")
        reply = routed(self._routes(), request.method, path, request, user)
        if reply is None:
            raise _Refused(404, {"error": "InvalidEndpoint", "description": "Not found"})
        limit = self.minute_limit or _PROFESSIONAL
        left = max(0, limit - len(self._calls["account",]))
        limits = {"X-Rate-Limit": str(limit), "X-Rate-Limit-Remaining": str(left)}
        return structs.replace(reply, headers={**limits, **reply.headers})

    def _routes(self) -> Sequence[Route]:
        """More special paths first: ``{}`` matches any one part."""
        return (
            ("GET", "/users/me", self._me),
            ("GET", "/users/show_many", self._many_users),
            ("GET", "/users/search", self._search_users),
            ("GET", "/groups/assignable", lambda request, user: self._table(request, user, "groups")),
            ("GET", "/custom_statuses", self._statuses),
            ("GET", "/search", self._search),
            ("GET", "/search/count", self._search_count),
            ("GET", "/problems", self._problems),
            ("GET", "/incremental/tickets/cursor", self._export),
            ("GET", "/incremental/tickets", self._timed_export),
            ("GET", "/tickets", self._list),
            ("POST", "/tickets", self._post),
            ("GET", "/tickets/show_many", self._many),
            ("GET", "/tickets/{}", self._get),
            ("PUT", "/tickets/{}", self._put),
            ("DELETE", "/tickets/{}", self._delete),
            ("GET", "/tickets/{}/comments", self._comments),
            ("GET", "/tickets/{}/audits", self._history),
            ("GET", "/tickets/{}/incidents", self._incidents),
            ("PUT", "/tickets/{}/tags", self._add_tags),
            ("GET", "/{}/{}", self._one_of),
            ("GET", "/{}", self._table),
        )

    def _user(self, request: Request) -> int:
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        name = ""
        if scheme == "Bearer" and value == OAUTH_TOKEN:
            name = USER
        login, password = request.basic
        email = login.removesuffix("/token")
        if login.endswith("/token") and password and self.tokens.get(email) == password:
            name = email
        if not name:
            raise _Refused(401, {"error": "Couldn't authenticate you"})
        return self._id_of(name)

    def _count(self, what: tuple[str, ...], limit: int, window: timedelta) -> None:
        if not limit:
            return
        now = self._clock()
        recent = [at for at in self._calls[what] if now - at < window]
        if len(recent) >= limit:
            self._calls[what] = recent
            wait_s = max(1, int((recent[0] + window - now).total_seconds()))
            raise _Refused(429, (limited := _limited(limit, wait_s)).body, limited.headers)
        self._calls[what] = [*recent, now]

    # ---- tickets ----

    def _list(self, request: Request, user: int) -> Reply:
        external = request.parameters.get("external_id")
        ids = list(self._tickets) if external is None else self._by_external.get(external, [])
        seen = [self._tickets[id] for id in ids if id in self._tickets and self._is_seen(id, self.list_lag_s)]
        return self._page(request, "tickets", [_shown(each, request) for each in seen])

    def _is_seen(self, id: int, lag_s: float) -> bool:
        return self._clock() >= _time(self._tickets[id]["created_at"]) + timedelta(seconds=lag_s)

    def _many(self, request: Request, user: int) -> Reply:
        ids = [int(each) for each in request.parameters.get("ids", "").split(",") if each.isdigit()]
        rows = [_shown(self._tickets[id], request) for id in ids[:_MAX_PAGE] if id in self._tickets]
        return Reply(body={"tickets": rows, "count": len(rows), "next_page": None, "previous_page": None})

    def _get(self, request: Request, user: int, id: str) -> Reply:
        return Reply(body={"ticket": _shown(self._ticket(id), request)})

    def _ticket(self, id: str) -> dict[str, Any]:
        ticket = self._tickets.get(int(id)) if id.isdigit() else None
        if ticket is None:
            raise _missing()
        return ticket

    def _post(self, request: Request, user: int) -> Reply:
        key = request.headers.get("idempotency-key", "")
        if len(key) > 255:
            raise _Refused(400, {"error": "IdempotentRequestError", "description": "Idempotency key is too long"})
        known = self._keys.get(key) if key else None
        if known is not None and self._clock() - known.at < _KEY_AGE:
            if known.body != request.body:
                text = "Request parameters don't match the given idempotency key"
                raise _Refused(400, {"error": "IdempotentRequestError", "description": text})
            headers = {**known.reply.headers, "x-idempotency-lookup": "hit"}
            return Reply(status=known.reply.status, body=known.reply.body, headers=headers)
        ticket, audit = self._insert(_wrapped(request), user)
        location = f"{request.base}/api/v2/tickets/{ticket['id']}.json"
        body = json.loads(json.dumps({"ticket": _shown(ticket, request), "audit": audit}))
        reply = Reply(status=201, body=body, headers={"Location": location})
        if not key:
            return reply
        self._keys[key] = _Kept(request.body, reply, self._clock())
        return Reply(status=201, body=body, headers={"Location": location, "x-idempotency-lookup": "miss"})

    def _insert(self, given: Mapping[str, Any], user: int) -> tuple[dict[str, Any], dict[str, Any]]:
        comment = given.get("comment") or {"body": given.get("description")}
        text = _comment_text(comment)
        if not text:
            raise _invalid(base="Description: cannot be blank")
        source = given.get("via_followup_source_id")
        if source is not None and self._tickets.get(int(source), {}).get("status") != "closed":
            raise _invalid(base="Follow-up source: is not closed")
        self._last += 1
        now = _text_of(self._clock())
        ticket: dict[str, Any] = {
            **dict.fromkeys(_WRITABLE),
            "id": self._last,
            "status": "new",
            "custom_status_id": None,
            "subject": "",
            "description": text,
            "submitter_id": user,
            "requester_id": user,
            "tags": [],
            "custom_fields": [{"id": id, "value": None} for id in self._custom_fields()],
            "is_public": bool(comment.get("public", True)),
            "created_at": now,
            "updated_at": now,
            "generated_timestamp": 0,
            "via": {"channel": "api", "source": {"from": {}, "to": {}, "rel": None}},
            "followup_ids": [],
            "via_followup_source_id": source,
        }
        self._tickets[self._last] = ticket
        try:
            audit = self._write(ticket, {**given, "comment": comment}, user, is_new=True)
        except _Refused:
            del self._tickets[self._last]
            raise
        if source is not None:
            self._tickets[int(source)]["followup_ids"].append(self._last)
        self._effects.append(f"{_kind(ticket)} {ticket['id']} created {_key(ticket)}")
        return ticket, audit

    def _put(self, request: Request, user: int, id: str) -> Reply:
        ticket = self._ticket(id)
        self._count(("update", str(user), id), self.update_limit, timedelta(minutes=10))
        given = _wrapped(request)
        stamp = given.get("updated_stamp")
        if given.get("safe_update") and stamp != ticket["updated_at"]:
            text = f"Safe Update prevented the update due to outdated ticket data ({ticket['updated_at']})"
            raise _Refused(409, {"error": "UpdateConflict", "description": text})
        audit = self._write(ticket, given, user)
        return Reply(body={"ticket": _shown(ticket, request), "audit": audit})

    def _write(
        self, ticket: dict[str, Any], given: Mapping[str, Any], user: int, *, is_new: bool = False
    ) -> dict[str, Any]:
        """Change a ticket, or nothing of it; the audit of what changed."""
        wanted = self._wanted(ticket, given)
        self._check(ticket, wanted, user, is_new)
        comment = given.get("comment")
        before = ticket["status"]
        events: list[dict[str, Any]] = []
        if comment and (text := _comment_text(comment)):
            author = int(comment.get("author_id") or user)
            events.append(self._comment(text, author, bool(comment.get("public", True))))
            if not is_new:
                self._effects.append(f"{_kind(ticket)} {ticket['id']} noted {_key(ticket)}")
        for name, value in wanted.items():
            events += self._set(ticket, name, value, is_new=is_new)
        if wanted.get("external_id"):
            self._by_external[str(wanted["external_id"])].append(ticket["id"])
        audit = {
            "id": self._next_id(),
            "ticket_id": ticket["id"],
            "created_at": _text_of(self._clock()),
            "author_id": user,
            "events": events,
            "via": {"channel": "api"},
        }
        if not events:
            return audit
        self._audits[ticket["id"]].append(audit)
        ticket["updated_at"] = _text_of(self._clock())
        ticket["generated_timestamp"] = int(self._clock().timestamp())
        if not is_new:
            self._tell(ticket, events, before)
        if self.cascades and ticket["type"] == "problem" and ticket["status"] == "solved" != before:
            for each in [each for each in self._tickets.values() if each["problem_id"] == ticket["id"]]:
                if each["status"] not in ("solved", "closed"):
                    self._write(each, {"status": "solved", "assignee_id": each["assignee_id"] or user}, user)
        return audit

    def _tell(self, ticket: Mapping[str, Any], events: Sequence[Mapping[str, Any]], before: str) -> None:
        changed = [event["field_name"] for event in events if event["type"] == "Change"]
        name = f"{_kind(ticket)} {ticket['id']}"
        if "status" in changed:
            after = ticket["status"]
            again = before == "solved" and after != "closed"
            word = "reopened" if again else {"solved": "resolved", "closed": "closed"}.get(after, after)
            self._effects.append(f"{name} {word} {_key(ticket)}")
        if "problem_id" in changed:
            self._effects.append(f"{name} linked {_key(ticket)}")
        if set(changed) - {"status", "problem_id"}:
            self._effects.append(f"{name} updated {_key(ticket)}")

    def _wanted(self, ticket: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
        """Fields that the body changes, custom ones by id; what is unknown is ignored."""
        wanted = {name: given[name] for name in _WRITABLE if name in given}
        for name in ("group_id", "assignee_id", "requester_id", "problem_id"):
            if wanted.get(name) is not None:
                wanted[name] = int(wanted[name])
        if "tags" in given:
            wanted["tags"] = sorted(set(given["tags"]))
        if "status" in given:
            wanted["status"] = given["status"]
        if given.get("custom_status_id") is not None:
            status = self.tables["custom_statuses"].get(int(given["custom_status_id"]))
            if status is None:
                raise _invalid(custom_status_id="Custom status: is invalid")
            wanted |= {"status": status["status_category"], "custom_status_id": status["id"]}
        known = self._custom_fields()
        for field in given.get("custom_fields") or ():
            if int(field["id"]) in known:
                wanted[str(field["id"])] = field["value"]
        if wanted.get("assignee_id") and wanted.get("status", ticket["status"]) == "new":
            wanted["status"] = "open"
        return wanted

    def _check(self, ticket: Mapping[str, Any], wanted: dict[str, Any], user: int, is_new: bool) -> None:
        if ticket["status"] == "closed" and set(wanted) - {"tags", "subject", "priority"} and not is_new:
            raise _invalid(status=CLOSED_TEXT)
        for name, allowed in (("priority", _PRIORITIES), ("type", _TYPES), ("status", (*_STATUSES, "closed"))):
            if wanted.get(name) is not None and wanted[name] not in allowed:
                raise _invalid(**{name: f"{name.title()}: {wanted[name]!r} is not valid"})
        if "priority" in wanted and wanted["priority"] is None and ticket["priority"]:
            raise _invalid(priority="Priority: cannot be blank")
        if wanted.get("group_id") is not None and wanted["group_id"] not in self.tables["groups"]:
            raise _invalid(group="Group: is invalid")
        if wanted.get("assignee_id") is not None and wanted["assignee_id"] not in self.tables["users"]:
            raise _invalid(assignee="Assignee: is invalid")
        problem = wanted.get("problem_id")
        if problem is not None and self._tickets.get(problem, {}).get("type") != "problem":
            raise _invalid(problem_id="Problem: is not a problem ticket")
        if len(str(wanted.get("subject") or "")) > 150:
            raise _invalid(subject="Subject: is too long (maximum is 150 characters)")
        if ticket["status"] != "new" and wanted.get("status") == "new":
            wanted["status"] = ticket["status"]  # nothing is said, and nothing happens
        if wanted.get("status") == "solved" and ticket["status"] != "solved":
            self._check_solved(ticket, wanted, user)
        if wanted.get("status") == "closed" and ticket["status"] not in ("solved", "closed"):
            raise _invalid(status="Status: must be solved before it is closed")

    def _check_solved(self, ticket: Mapping[str, Any], wanted: dict[str, Any], user: int) -> None:
        if not wanted.get("assignee_id", ticket["assignee_id"]):
            if not self.auto_assigns:
                raise _invalid(assignee_id="Assignee: is required when solving a ticket")
            wanted["assignee_id"] = user
        values = {field["id"]: field["value"] for field in ticket["custom_fields"]}
        for id in self.required:
            if not wanted.get(str(id), values.get(id)):
                title = self.tables["ticket_fields"][id]["title"]
                raise _invalid(base=f"{title}: is required when solving a ticket")

    def _set(self, ticket: dict[str, Any], name: str, value: Any, *, is_new: bool) -> list[dict[str, Any]]:
        if name.isdigit():
            field = next(each for each in ticket["custom_fields"] if each["id"] == int(name))
            previous, field["value"] = field["value"], value
        else:
            previous, ticket[name] = ticket[name], value
        event = {"id": self._next_id(), "field_name": name, "value": _audited(value)}
        if is_new:
            return [{**event, "type": "Create"}]
        return [{**event, "type": "Change", "previous_value": _audited(previous)}] if value != previous else []

    def _comment(self, text: str, author: int, public: bool) -> dict[str, Any]:
        return {
            "id": self._next_id(),
            "type": "Comment",
            "author_id": author,
            "body": text,
            "plain_body": text,
            "html_body": f'<div class="zd-comment" dir="auto">{html.escape(text)}</div>',
            "public": public,
            "attachments": [],
        }

    def _delete(self, request: Request, user: int, id: str) -> Reply:
        ticket = self._ticket(id)
        del self._tickets[ticket["id"]]
        self._effects.append(f"{_kind(ticket)} {id} deleted {_key(ticket)}")
        return Reply(status=204)

    def _add_tags(self, request: Request, user: int, id: str) -> Reply:
        ticket = self._ticket(id)
        self._write(ticket, {"tags": [*ticket["tags"], *(request.json() or {}).get("tags", ())]}, user)
        return Reply(body={"tags": ticket["tags"]})

    def _comments(self, request: Request, user: int, id: str) -> Reply:
        self._ticket(id)
        found = [
            {**event, "created_at": audit["created_at"], "audit_id": audit["id"], "via": audit["via"], "metadata": {}}
            for audit in self._audits[int(id)]
            for event in audit["events"]
            if event["type"] == "Comment"
        ]
        newest = request.parameters.get("sort") == "-created_at" or request.parameters.get("sort_order") == "desc"
        return self._page(request, "comments", found[::-1] if newest else found)

    def _history(self, request: Request, user: int, id: str) -> Reply:
        self._ticket(id)
        return self._page(request, "audits", self._audits[int(id)])

    def _incidents(self, request: Request, user: int, id: str) -> Reply:
        problem = self._ticket(id)["id"]
        rows = [each for each in self._tickets.values() if each["problem_id"] == problem]
        return self._page(request, "tickets", [_shown(each, request) for each in rows])

    def _problems(self, request: Request, user: int) -> Reply:
        rows = [each for each in self._tickets.values() if each["type"] == "problem"]
        return self._page(request, "tickets", [_shown(each, request) for each in rows])

    # ---- searching and exporting ----

    def _search(self, request: Request, user: int) -> Reply:
        found = [_shown(each, request) | {"result_type": "ticket"} for each in self._hits(request)]
        return self._page(request, "results", found[:_SEARCH_HITS])

    def _search_count(self, request: Request, user: int) -> Reply:
        return Reply(body={"count": len(self._hits(request))})

    def _hits(self, request: Request) -> list[dict[str, Any]]:
        try:
            terms = shlex.split(request.parameters.get("query", ""))
        except ValueError:
            raise _Refused(422, {"error": "invalid", "description": "Invalid search: unclosed quotation"}) from None
        found = [each for id, each in self._tickets.items() if self._is_seen(id, self.search_lag_s)]
        for term in terms:
            found = [each for each in found if _holds(each, term)]
        name = request.parameters.get("sort_by", "created_at")
        descending = request.parameters.get("sort_order", "desc") == "desc"
        return sorted(found, key=lambda each: (str(each.get(name, "")), each["id"]), reverse=descending)

    def _exported(self, user: int) -> list[dict[str, Any]]:
        self._count(("export",), self.export_limit, timedelta(minutes=1))
        if self.tables["users"][user]["role"] != "admin":
            raise _Refused(403, {"error": "Forbidden", "description": "You do not have access to this page"})
        return sorted(self._tickets.values(), key=lambda each: (each["generated_timestamp"], each["id"]))

    def _start(self, request: Request) -> int:
        given = request.parameters.get("start_time", "")
        if not given.isdigit():
            raise _Refused(400, {"error": "InvalidParameter", "description": "start_time is required"})
        if int(given) > (self._clock() - _EXPORT_AGE).timestamp():
            text = "Too recent start_time. Use a start_time older than 60 seconds"
            raise _Refused(422, {"error": "StartTimeTooRecent", "description": text})
        return int(given)

    def _export(self, request: Request, user: int) -> Reply:
        if "cursor" in request.parameters:
            try:
                stamp, id = map(int, base64.b64decode(request.parameters["cursor"]).decode().split("|"))
            except ValueError:
                raise _Refused(400, {"error": "InvalidPaginationParameter", "description": "cursor"}) from None
            after = (stamp, id)
        else:
            after = (self._start(request), -1)
        size = max(1, min(1000, int(request.parameters.get("per_page", "1000"))))
        rows = [each for each in self._exported(user) if (each["generated_timestamp"], each["id"]) > after]
        page = rows[:size]
        last = (page[-1]["generated_timestamp"], page[-1]["id"]) if page else after
        cursor = base64.b64encode("|".join(map(str, last)).encode()).decode()
        return Reply(
            body={
                "tickets": [_shown(each, request) for each in page],
                "after_cursor": cursor,
                "after_url": f"{request.base}/api/v2/incremental/tickets/cursor.json?{urlencode({'cursor': cursor})}",
                "before_cursor": None,
                "before_url": None,
                "end_of_stream": len(rows) <= size,
            }
        )

    def _timed_export(self, request: Request, user: int) -> Reply:
        start = self._start(request)
        until = int((self._clock() - _EXPORT_AGE).timestamp())
        rows = [each for each in self._exported(user) if start <= each["generated_timestamp"] <= until]
        page = rows[:1000]
        end = page[-1]["generated_timestamp"] if page else start
        return Reply(
            body={
                "tickets": [_shown(each, request) for each in page],
                "count": len(page),
                "end_time": end,
                "end_of_stream": len(rows) <= 1000,
                "next_page": f"{request.base}/api/v2/incremental/tickets.json?start_time={end}",
            }
        )

    # ---- people, groups, fields ----

    def _me(self, request: Request, user: int) -> Reply:
        return Reply(body={"user": self.tables["users"][user]})

    def _many_users(self, request: Request, user: int) -> Reply:
        ids = [int(each) for each in request.parameters.get("ids", "").split(",") if each.isdigit()]
        rows = [self.tables["users"][id] for id in ids[:_MAX_PAGE] if id in self.tables["users"]]
        return Reply(body={"users": rows, "count": len(rows), "next_page": None, "previous_page": None})

    def _search_users(self, request: Request, user: int) -> Reply:
        word = request.parameters.get("query", "").casefold()
        rows = [each for each in self.tables["users"].values() if word in f"{each['name']} {each['email']}".casefold()]
        return self._page(request, "users", rows)

    def _statuses(self, request: Request, user: int) -> Reply:
        return Reply(body={"custom_statuses": list(self.tables["custom_statuses"].values())})

    def _table(self, request: Request, user: int, name: str) -> Reply:
        if name not in self.tables:
            raise _Refused(404, {"error": "InvalidEndpoint", "description": "Not found"})
        return self._page(request, name, list(self.tables[name].values()))

    def _one_of(self, request: Request, user: int, name: str, id: str) -> Reply:
        if name not in self.tables:
            raise _Refused(404, {"error": "InvalidEndpoint", "description": "Not found"})
        row = self.tables[name].get(int(id)) if id.isdigit() else None
        if row is None:
            raise _missing()
        return Reply(body={_LISTS[name]: row})

    def _page(self, request: Request, name: str, rows: Sequence[Mapping[str, Any]]) -> Reply:
        """By cursor where the client asks for one, else by page number."""
        given = request.parameters
        address = f"{request.base}{request.path}"
        if "page[size]" in given or "page[after]" in given:
            size = _number(given.get("page[size]"), _MAX_PAGE)
            try:
                start = int(base64.b64decode(given.get("page[after]", "")).decode() or 0)
            except ValueError:
                raise _Refused(400, {"error": "InvalidPaginationParameter", "description": "page[after]"}) from None
            page = rows[start : start + size]
            more = len(rows) > start + size
            after = base64.b64encode(str(start + len(page)).encode()).decode() if page else None
            before = base64.b64encode(str(start).encode()).decode() if page else None
            link = f"{address}?{urlencode({**given, 'page[after]': after})}" if more else None
            meta = {"has_more": more, "after_cursor": after, "before_cursor": before}
            return Reply(body={name: page, "meta": meta, "links": {"next": link, "prev": None}})
        size, number = _number(given.get("per_page"), _MAX_PAGE), max(1, int(given.get("page", "1")))
        if number * size > 10_000:
            raise _Refused(400, {"error": "InvalidPaginationDepth", "description": "Request depth is too large"})
        start = (number - 1) * size
        link = f"{address}?{urlencode({**given, 'page': number + 1})}" if len(rows) > start + size else None
        body = {name: rows[start : start + size], "count": len(rows), "next_page": link, "previous_page": None}
        return Reply(body=body)

    # ---- time, people, and what is there from the start ----

    def _age(self) -> None:
        """What was solved long ago is closed by Zendesk itself."""
        if self._clock() - self._looked < _LOOKS_EVERY:
            return
        self._looked = self._clock()
        limit = self._looked - _CLOSES_AFTER
        for ticket in self._tickets.values():
            if ticket["status"] == "solved" and _time(ticket["updated_at"]) < limit:
                self._write(ticket, {"status": "closed"}, -1)

    def edit(self, number: str, action: str, *, actor: str = "ada", text: str = "", code: str = "") -> None:
        ticket = self._tickets[int(number)]
        user = self._id_of(f"{actor}@example.com") or self._add("users", **_person(actor, "agent"))
        changed: dict[str, Any]
        match action:
            case "take":
                changed = {"assignee_id": user}
            case "assign":
                named = [
                    id for id, group in self.tables["groups"].items() if group["name"].casefold() == text.casefold()
                ]
                changed = {"group_id": named[0] if named else None}
            case "comment":
                changed = {"comment": {"body": text, "public": False}}
            case "resolve" | "close":
                changed = {"status": "solved", "assignee_id": ticket["assignee_id"] or user}
                changed |= {"comment": {"body": text, "public": False}} if text else {}
                changed |= {"custom_fields": [{"id": self.close_code, "value": code}]} if code else {}
            case "wait":
                changed = {"status": "hold", **({"comment": {"body": text, "public": False}} if text else {})}
            case "reopen" | "resume":
                changed = {"status": "open"}
            case "retitle":
                changed = {"subject": text}
            case "workaround":
                changed = {"custom_fields": [{"id": self.known_error, "value": text}]}
            case "delete":
                del self._tickets[int(number)]
                return
            case _:
                raise KeyError(action)
        self._write(ticket, changed, user)
        if action == "close":
            self._write(ticket, {"status": "closed"}, user)

    @property
    def known_error_settings(self) -> dict[str, Any]:
        """Settings of the sink that reads the field of known errors."""
        return {"known_error_field": self.known_error}

    def held(self) -> list[Held]:
        found = []
        for ticket in self._tickets.values():
            audits = self._audits[ticket["id"]]
            notes = tuple(event["body"] for audit in audits for event in audit["events"] if event["type"] == "Comment")
            custom = [str(field["value"]) for field in ticket["custom_fields"] if field["value"]]
            linked = (ticket["problem_id"], ticket["via_followup_source_id"])
            found.append(
                Held(
                    number=str(ticket["id"]),
                    key=_key(ticket),
                    state={"solved": "resolved", "closed": "closed"}.get(ticket["status"], "open"),
                    title=ticket["subject"],
                    notes=notes,
                    texts=(ticket["subject"], *custom, *notes),
                    links=tuple(str(each) for each in linked if each),
                    type=_kind(ticket),
                )
            )
        return found

    def _id_of(self, email: str) -> int:
        return next((id for id, user in self.tables["users"].items() if user["email"] == email), 0)

    def _custom_fields(self) -> list[int]:
        return [id for id, field in self.tables["ticket_fields"].items() if field["removable"]]

    def _next_id(self) -> int:
        self._last_event += 1
        return self._last_event

    def _add(self, table: str, **values: Any) -> int:
        id = int(stable_id(self._seed, table, len(self.tables[table]))[:9], 16)
        self.tables[table][id] = {"id": id, **values}
        return id

    def _furnish(self) -> None:
        self._add("users", **_person("foreshock", self.role))
        self._add("users", **_person("ada", "agent"))
        for name in ("Database", "Network", "Service Desk"):
            self._add("groups", name=name, deleted=False, is_public=True)
        for title in ("Subject", "Description", "Status", "Priority"):
            self._field(title, title.lower(), removable=False, required=title in ("Subject", "Description"))
        self.close_code = self._field("Close code", "tagger", removable=True, required=False)
        self.live_text = self._field("Present state", "textarea", removable=True, required=False)
        self.impact = self._field("Impact", "tagger", removable=True, required=False)
        self.known_error = self._field("Known error", "textarea", removable=True, required=False)
        for category in _STATUSES:
            self._add(
                "custom_statuses", status_category=category, agent_label=category.title(), active=True, default=True
            )

    def _field(self, title: str, type: str, *, removable: bool, required: bool) -> int:
        return self._add(
            "ticket_fields", title=title, type=type, active=True, removable=removable, required=required, position=1
        )


def _person(name: str, role: str) -> dict[str, Any]:
    return {"name": name.title(), "email": f"{name}@example.com", "role": role, "active": True, "suspended": False}


def _limited(limit: int, wait_s: int) -> Reply:
    headers = {"Retry-After": str(wait_s), "X-Rate-Limit": str(limit), "X-Rate-Limit-Remaining": "0"}
    return Reply(
        status=429,
        body=b"Number of allowed API requests per minute exceeded",
        headers={**headers, "Content-Type": "text/plain"},
    )


def _wrapped(request: Request) -> dict[str, Any]:
    try:
        body = request.json()
    except ValueError:
        raise _Refused(400, {"error": "Unprocessable JSON", "description": "body cannot be parsed"}) from None
    if "json" not in request.headers.get("content-type", ""):
        raise _Refused(415, {"error": "UnsupportedMediaType", "description": "Content-Type: application/json"})
    ticket = body.get("ticket") if isinstance(body, dict) else None
    if not isinstance(ticket, dict):
        raise _Refused(400, {"error": "RecordInvalid", "description": "param is missing or the value is empty: ticket"})
    return ticket


def _comment_text(comment: Mapping[str, Any]) -> str:
    """As text; what stands in html_body is rendered, so its tags are gone."""
    markup = comment.get("html_body")
    if markup is None:
        return str(comment.get("body") or "").strip()
    text = re.sub(r"<br\s*/?>", "\n", str(markup)).replace("</p>", "\n\n")
    return html.unescape(re.sub(r"<[^>]*>", "", text)).strip()


def _shown(ticket: Mapping[str, Any], request: Request) -> dict[str, Any]:
    hidden = ("via_followup_source_id",)
    shown = {name: value for name, value in ticket.items() if name not in hidden}
    return {**shown, "url": f"{request.base}/api/v2/tickets/{ticket['id']}.json", "fields": ticket["custom_fields"]}


def _holds(ticket: Mapping[str, Any], term: str) -> bool:
    """Whether a ticket meets one word of a search; an unknown field finds nothing."""
    found = re.match(r"^(-?)([a-z_]+)([:<>]=?)(.*)$", term)
    if found is None:
        return term.casefold() in f"{ticket['subject']} {ticket['description']}".casefold()
    minus, name, operator, value = found.groups()
    values = ticket["tags"] if name in ("tags", "tag") else [ticket.get(_SEARCHED.get(name, name))]
    if name in ("type", "ticket_type") and value == "ticket":
        values = ["ticket"]
    texts = ["" if each is None else str(each).casefold() for each in values]
    value = value.casefold()
    if operator == ":":
        holds = value in texts
    elif name == "status":
        order = (*_STATUSES, "closed")
        known = value in order
        holds = known and any(_compared(order.index(each), operator, order.index(value)) for each in texts)
    else:
        holds = any(_compared(each, operator, value) for each in texts)
    return holds != bool(minus)


_SEARCHED = {"ticket_type": "type", "created": "created_at", "updated": "updated_at"}


def _compared(left: Any, operator: str, right: Any) -> bool:
    return bool({"<": left < right, ">": left > right, "<=": left <= right, ">=": left >= right}.get(operator, False))


def _audited(value: Any) -> Any:
    return value if value is None or isinstance(value, list) else str(value)


def _kind(ticket: Mapping[str, Any]) -> str:
    return "problem" if ticket["type"] == "problem" else "incident"


def _key(ticket: Mapping[str, Any]) -> str:
    return str(ticket["external_id"] or "").removeprefix(KEY_PREFIX)


def _number(text: str | None, default: int) -> int:
    return min(_MAX_PAGE, max(1, int(text))) if text and text.isdigit() else default


def _text_of(at: datetime) -> str:
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _settings(url: str, folder: Path) -> dict[str, Any]:
    return {
        "url": url,
        "user": USER,
        "token_file": secret_file(folder, "zendesk.token", TOKEN),
        "fallback_group": "Service Desk",
    }


def _call(number: str, now: datetime, secret: str) -> Call:
    """Signed over the time and the body (developer.zendesk.com, "Verifying webhook authenticity")."""
    body = json.dumps({"type": "zen:event-type:ticket.changed", "detail": {"id": number}}).encode()
    stamp = now.strftime("%Y-%m-%dT%H:%M:%SZ")
    signature = hmac.new(secret.encode(), stamp.encode() + body, hashlib.sha256).digest()
    return Call(
        headers={
            "X-Zendesk-Webhook-Signature": base64.b64encode(signature).decode(),
            "X-Zendesk-Webhook-Signature-Timestamp": stamp,
        },
        body=body,
    )


SIMULATOR = Simulator(kind="zendesk", title="Zendesk Support", build=ZendeskSystem, settings=_settings, call=_call)
