"""A stand-in of Jira with a service management project, Cloud or Data Center, and the habits that surprise clients.

Facts: those of ``foreshock.connect.vendors.jira`` and ``incident_sink.jira_sm``; answers checked against Atlassian's
    OpenAPI document for version 3, and exercised by the third-party clients jira 3.10.5 and atlassian-python-api 5.0.5.

It copies what matters to a client: a search sees an issue and its changes only after the index caught up, unless the
issue is named to be reconciled; search answers no total and pages by token (Data Center: by offset); an edit and a
transition answer 204 without a body; a status changes only by a transition that leads from here to there, and Closed is
left by none; rich text is a document in version 3 and wiki markup in version 2; fields that are not on the screen are
refused; labels hold no blanks; a deleted or unknown issue is a 404.
"""

import copy
import hashlib
import hmac
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from foreshock.connect.markup import adf, adf_text
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

USER, TOKEN = "foreshock@example.com", "sandbox-token"
PROJECT = "OPS"
INDEX_LAG = timedelta(seconds=10)
_TYPES = {"10001": "[System] Incident", "10002": "[System] Problem"}
_PRIORITIES = {"1": "Highest", "2": "High", "3": "Medium", "4": "Low", "5": "Lowest"}
_CATEGORIES = {
    "new": (2, "To Do", "blue-gray"),
    "indeterminate": (4, "In Progress", "yellow"),
    "done": (3, "Done", "green"),
}
_STATUSES = {
    "1": ("Open", "new"),
    "3": ("Work in progress", "indeterminate"),
    "4": ("Pending", "indeterminate"),
    "5": ("Completed", "done"),
    "6": ("Closed", "done"),
    "7": ("Canceled", "done"),
}
_TRANSITIONS = {
    "11": ("Start work", "3", ("1", "4")),
    "21": ("Wait", "4", ("1", "3")),
    "31": ("Complete", "5", ("1", "3", "4")),
    "41": ("Cancel", "7", ("1", "3", "4")),
    "51": ("Reopen", "3", ("5",)),
    "61": ("Close", "6", ("1", "3", "4", "5")),
}
_RESOLUTIONS = ("Done", "Won't Do", "Duplicate", "False alarm")
_LINK_TYPES = (
    ("10000", "Blocks", "is blocked by", "blocks"),
    ("10001", "Relates", "relates to", "relates to"),
    ("10002", "Problem/Incident", "is caused by", "causes"),
)
_COMPONENTS = ("Database", "Network", "Service Desk")
IMPACT_FIELD, URGENCY_FIELD = "customfield_10050", "customfield_10051"
WORKAROUND_FIELD = "customfield_10060"
_SELECTS = {
    IMPACT_FIELD: (
        "Impact",
        ("Extensive / Widespread", "Significant / Large", "Moderate / Limited", "Minor / Localized"),
    ),
    URGENCY_FIELD: ("Urgency", ("Critical", "High", "Medium", "Low")),
}
_TEXT_CHARS = 32_767
_MAX_ROWS = 100
_NODES = frozenset(
    (
        *("paragraph", "text", "hardBreak", "heading", "bulletList", "orderedList", "listItem", "codeBlock", "rule"),
        *("blockquote", "panel", "mention", "emoji", "table", "tableRow", "tableCell", "tableHeader", "inlineCard"),
    )
)


class _Refused(Refused):
    """An answer that is no success."""

    def __init__(self, status: int, *messages: str, **errors: str) -> None:
        super().__init__(Reply(status=status, body={"errorMessages": list(messages), "errors": errors}))


class JiraSystem(Answering):
    """One site with one service project and a few people.

    Attributes:
        index_lag: how much later a search sees a change. cloud: or Data Center.
        permissions: what the account of Foreshock may do. required: further fields that the create screen demands.
        limited: requests a second that are answered; 0 for all of them.
    """

    def __init__(self, clock: Clock, seed: int = 1, *, cloud: bool = True) -> None:
        super().__init__(clock, seed)
        self.cloud = cloud
        self.index_lag = INDEX_LAG
        self.permissions = {
            "BROWSE_PROJECTS",
            "CREATE_ISSUES",
            "EDIT_ISSUES",
            "TRANSITION_ISSUES",
            "LINK_ISSUES",
            "ADD_COMMENTS",
        }
        self.required: set[str] = set()
        self.limited = 0
        self.search_rows = _MAX_ROWS
        self._issues: dict[str, dict[str, Any]] = {}
        self._labelled: defaultdict[str, set[str]] = defaultdict(set)  # ids of issues that ever had the label
        self._ids = 10_000
        self._number = 0
        self._links: list[tuple[str, str, str, str]] = []
        self._calls: list[datetime] = []
        self._base = ""
        self._version = 3
        self._users = {name: stable_id(seed, "user", name)[:24] for name in ("foreshock", "ada", "admin")}

    # ---- the door ----

    def refuse(self, fault: Fault) -> Reply:
        match fault:
            case Fault.LIMITED:
                return self._limit(60)
            case Fault.DENIED:
                return self._unauthenticated()
            case Fault.FORBIDDEN:
                return _Refused(403, "You do not have permission to do this.").reply
        return _Refused(500, "Internal server error").reply

    def _limit(self, wait_s: int) -> Reply:
        reset = (self._clock() + timedelta(seconds=wait_s)).astimezone(UTC)
        headers = {
            "Retry-After": str(wait_s),
            "X-RateLimit-Limit": "100",
            "X-RateLimit-Remaining": "0",
            "X-RateLimit-Reset": reset.strftime("%Y-%m-%dT%H:%MZ"),
            "X-RateLimit-NearLimit": "true",
            "RateLimit-Reason": "jira-burst-based",
        }
        return Reply(status=429, body={"errorMessages": ["Rate limit exceeded."], "errors": {}}, headers=headers)

    def _unauthenticated(self) -> Reply:
        headers = {"X-Seraph-LoginReason": "AUTHENTICATED_FAILED", "WWW-Authenticate": 'OAuth realm="sandbox"'}
        if not self.cloud:
            return Reply(status=401, body="<html><body><h1>Unauthorized (401)</h1></body></html>", headers=headers)
        message = "Client must be authenticated to access this resource."
        return Reply(status=401, body={"errorMessages": [message], "errors": {}}, headers=headers)

    def _routed(self, request: Request) -> Reply:
        self._base = request.base
        found = re.fullmatch(r"/rest/api/(2|3|latest)(/.*)", request.path)
        if found is None or (found[1] == "3" and not self.cloud):
            raise _Refused(404, "null for uri: " + request.path)
        self._version = 3 if found[1] == "3" else 2
        path = found[2].rstrip("/")
        if path == "/serverInfo":
            return self._server_info()
        if not self._known(request):
            return self._unauthenticated()
        if self.limited:
            now = self._clock()
            self._calls = [at for at in self._calls if now - at < timedelta(seconds=1)] + [now]
            if len(self._calls) > self.limited:
                return self._limit(1)
        reply = routed(self._routes(), request.method, path, request)
        if reply is None:
            raise _Refused(404, "null for uri: " + request.path)
        return reply

    def _routes(self) -> list[Route]:
        routes: list[Route] = [
            ("GET", "/myself", lambda _: Reply(body=self._user("foreshock"))),
            ("GET", "/mypermissions", self._my_permissions),
            ("GET", "/field", lambda _: Reply(body=[self._field(name) for name in self._screen()])),
            ("GET", "/status", lambda _: Reply(body=[self._status(id) for id in _STATUSES])),
            ("GET", "/priority", lambda _: Reply(body=[self._priority(name) for name in _PRIORITIES.values()])),
            ("GET", "/issueLinkType", self._link_types),
            ("GET", "/project/{}", self._project),
            ("GET", "/project/{}/statuses", self._project_statuses),
            ("GET", "/project/{}/components", self._project_components),
            ("GET", "/issue/createmeta/{}/issuetypes", self._create_types),
            ("GET", "/issue/createmeta/{}/issuetypes/{}", self._create_fields),
            ("POST", "/issueLink", self._link),
            ("POST", "/issue", self._create),
            ("GET", "/issue/{}", self._get),
            ("PUT", "/issue/{}", self._edit_issue),
            ("DELETE", "/issue/{}", self._delete),
            ("GET", "/issue/{}/comment", self._comments),
            ("POST", "/issue/{}/comment", self._comment),
            ("GET", "/issue/{}/transitions", self._transitions),
            ("POST", "/issue/{}/transitions", self._transit),
            ("GET", "/issue/{}/properties/{}", self._property),
            ("PUT", "/issue/{}/properties/{}", self._set_property),
        ]
        if not self.cloud:
            return [*routes, ("GET", "/search", self._search_by_offset), ("POST", "/search", self._search_by_offset)]
        return [
            *routes,
            ("GET", "/search", self._removed),
            ("POST", "/search", self._removed),
            ("GET", "/search/jql", self._search_by_token),
            ("POST", "/search/jql", self._search_by_token),
            ("POST", "/search/approximate-count", self._count),
            ("GET", "/issue/{}/changelog", self._changelog),
            ("POST", "/changelog/bulkfetch", self._changelogs),
        ]

    def _known(self, request: Request) -> bool:
        scheme, _, value = request.headers.get("authorization", "").partition(" ")
        if scheme == "Bearer":
            return not self.cloud and value == TOKEN
        user, token = request.basic
        return token == TOKEN and user in (USER, "foreshock")

    # ---- issues ----

    def _create(self, request: Request) -> Reply:
        self._may("CREATE_ISSUES", "You do not have permission to create issues in this project.")
        body = _body(request)
        fields = dict(body.get("fields") or {})
        if (fields.pop("project", None) or {}).get("key") != PROJECT:
            raise _Refused(400, project="valid project is required")
        type = fields.pop("issuetype", None) or {}
        name = type.get("name") or _TYPES.get(str(type.get("id")))
        if name not in _TYPES.values():
            raise _Refused(400, issuetype="Specify a valid issue type")
        values = self._checked(fields, creating=True)
        properties = _properties(body)
        issue = self.insert(str(name), values, "foreshock", properties)
        self._effect(issue, "created")
        return Reply(
            status=201, body={"id": issue["id"], "key": issue["key"], "self": self._self(f"issue/{issue['id']}")}
        )

    def insert(
        self, type: str, values: Mapping[str, Any], author: str, properties: Mapping[str, Any] = {}
    ) -> dict[str, Any]:
        self._ids += 1
        self._number += 1
        now = self._clock()
        issue: dict[str, Any] = {
            "id": str(self._ids),
            "key": f"{PROJECT}-{self._number}",
            "type": type,
            "created": now,
            "updated": now,
            "reporter": author,
            "assignee": "",
            "status": "1",
            "resolution": "",
            "fields": {"priority": "Medium", "labels": [], "components": [], "description": None, **values},
            "properties": copy.deepcopy(dict(properties)),
            "comments": [],
            "history": [],
            "indexed": [],
        }
        self._issues[str(issue["id"])] = issue
        self._touch(issue)
        return issue

    def _get(self, request: Request, id: str) -> Reply:
        issue = self._issue(id)
        asked = request.parameters
        return Reply(
            body=self._shown(
                issue,
                _words(asked.get("fields", "*all")),
                _words(asked.get("properties", "")),
                _words(asked.get("expand", "")),
            )
        )

    def _edit_issue(self, request: Request, id: str) -> Reply:
        issue = self._issue(id)
        self._may("EDIT_ISSUES", "You do not have permission to edit issues in this project.")
        if issue["status"] == "6":
            raise _Refused(400, "Issue cannot be edited in its current status.")
        body = _body(request)
        values = self._checked(dict(body.get("fields") or {}), creating=False)
        for change in (body.get("update") or {}).get("labels", ()):
            labels = values.setdefault("labels", list(issue["fields"]["labels"]))
            if "add" in change and change["add"] not in labels:
                labels.append(_label(change["add"]))
            elif change.get("remove") in labels:
                labels.remove(change["remove"])
        self._put(issue, values, "foreshock", _properties(body))
        return Reply(status=204)

    def _put(
        self, issue: dict[str, Any], values: Mapping[str, Any], author: str, properties: Mapping[str, Any] = {}
    ) -> None:
        items = [
            _item(name, _line(issue["fields"].get(name)), _line(value))
            for name, value in values.items()
            if issue["fields"].get(name) != value
        ]
        changed = bool(items) or any(issue["properties"].get(key) != value for key, value in properties.items())
        issue["fields"] |= values
        issue["properties"] |= copy.deepcopy(dict(properties))
        if items:
            self._record(issue, author, items)
        if changed:
            self._effect(issue, "updated")

    def _delete(self, request: Request, id: str) -> Reply:
        del self._issues[str(self._issue(id)["id"])]
        return Reply(status=204)

    def _checked(self, fields: dict[str, Any], *, creating: bool) -> dict[str, Any]:
        """Fields of a body as they are stored. Raises _Refused as Jira does, each field with its reason."""
        errors: dict[str, str] = {}
        found: dict[str, Any] = {}
        for name, value in fields.items():
            try:
                found[name] = self._stored(name, value)
            except ValueError as error:
                errors[name] = str(error)
        if creating and "summary" not in found and "summary" not in errors:
            errors["summary"] = "You must specify a summary of the issue."
        for name in self.required if creating else ():
            if not found.get(name):
                errors[name] = f"{name} is required."
        if errors:
            raise _Refused(400, **errors)
        return found

    def _stored(self, name: str, value: Any) -> Any:
        match name:
            case "summary":
                if not isinstance(value, str) or not value.strip():
                    raise ValueError("You must specify a summary of the issue.")
                if len(value) > 255:
                    raise ValueError("Summary must be less than 255 characters.")
                if "\n" in value or "\r" in value:
                    raise ValueError("The summary is invalid because it contains newline characters.")
                return value
            case "description":
                return None if value is None else self._rich(value)
            case "priority":
                named = value.get("name") or _PRIORITIES.get(str(value.get("id"))) if isinstance(value, dict) else None
                if named not in _PRIORITIES.values():
                    raise ValueError("Specify the Priority (name) in the string format")
                return named
            case "labels":
                return [_label(each) for each in value]
            case "components":
                names = [each.get("name") for each in value]
                if unknown := [each for each in names if each not in _COMPONENTS]:
                    raise ValueError(f"Component name '{unknown[0]}' is not valid")
                return names
            case _ if name in _SELECTS:
                option = None if value is None else value.get("value")
                if option is not None and option not in _SELECTS[name][1]:
                    raise ValueError(f"Option value '{option}' is not valid")
                return option
            case _ if name in self.required:
                return value
        raise ValueError(f"Field '{name}' cannot be set. It is not on the appropriate screen, or unknown.")

    def _rich(self, value: Any) -> Any:
        """Rich text as it came. Raises ValueError where it is no document (version 3) or no text (version 2)."""
        if self._version == 3:
            if not _is_document(value):
                raise ValueError("Operation value must be an Atlassian Document (see the Atlassian Document Format)")
            text = adf_text(value)
        else:
            if not isinstance(value, str):
                raise ValueError("Operation value must be a string")
            text = value
        if len(text) > _TEXT_CHARS:
            raise ValueError(f"The entered text is too long. It exceeds the allowed limit of {_TEXT_CHARS} characters.")
        return value

    def _richly(self, value: Any) -> Any:
        if value is None:
            return None
        if self._version == 3:
            return adf(value, _TEXT_CHARS) if isinstance(value, str) else value
        return adf_text(value)

    def _touch(self, issue: dict[str, Any]) -> None:
        """What a search will see of it as soon as the index caught up."""
        now = self._clock()
        issue["updated"] = now
        horizon = now - self.index_lag
        visible = [each for each in issue["indexed"] if each[0] <= horizon]
        document = {
            "project": PROJECT,
            "issuetype": issue["type"],
            "labels": list(issue["fields"]["labels"]),
            "status": _STATUSES[issue["status"]][0],
            "statuscategory": _CATEGORIES[_STATUSES[issue["status"]][1]][1],
            "created": issue["created"],
            "updated": now,
            "key": issue["key"],
            "id": issue["id"],
        }
        for label in document["labels"]:
            self._labelled[label.casefold()].add(issue["id"])
        issue["indexed"] = [*visible[-1:], *(each for each in issue["indexed"] if each[0] > horizon), (now, document)]

    def _record(self, issue: dict[str, Any], author: str, items: list[dict[str, Any]]) -> None:
        self._ids += 1
        issue["history"].append({"id": str(self._ids), "author": author, "created": self._clock(), "items": items})
        self._touch(issue)

    # ---- comments and transitions ----

    def _comments(self, request: Request, id: str) -> Reply:
        issue, asked = self._issue(id), request.parameters
        rows = [self._shown_comment(issue, each) for each in issue["comments"]]
        if asked.get("orderBy", "").startswith("-"):
            rows.reverse()
        start, most = int(asked.get("startAt", 0)), min(int(asked.get("maxResults", 5000)), 5000)
        return Reply(
            body={"startAt": start, "maxResults": most, "total": len(rows), "comments": rows[start : start + most]}
        )

    def _comment(self, request: Request, id: str) -> Reply:
        issue = self._issue(id)
        self._may("ADD_COMMENTS", "You do not have permission to comment on this issue.")
        body = _body(request)
        comment = self._commented(issue, "foreshock", body.get("body"), _properties(body))
        return Reply(status=201, body=self._shown_comment(issue, comment))

    def _commented(
        self, issue: dict[str, Any], author: str, text: Any, properties: Mapping[str, Any]
    ) -> dict[str, Any]:
        try:
            stored = self._rich(text)
        except ValueError as error:
            raise _Refused(400, comment=str(error)) from None
        if not adf_text(stored).strip():
            raise _Refused(400, comment="Comment body can not be empty!")
        self._ids += 1
        internal = (properties.get("sd.public.comment") or {}).get("internal") is True
        comment = {
            "id": str(self._ids),
            "author": author,
            "body": stored,
            "created": self._clock(),
            "public": not internal,
        }
        issue["comments"].append(comment)
        self._touch(issue)
        self._effect(issue, "commented")
        return comment

    def _transitions(self, request: Request, id: str) -> Reply:
        issue = self._issue(id)
        fields = "transitions.fields" in _words(request.parameters.get("expand", ""))
        offered = [
            self._transition(each, fields) for each, (_, _, frm) in _TRANSITIONS.items() if issue["status"] in frm
        ]
        return Reply(body={"expand": "transitions", "transitions": offered})

    def _transition(self, id: str, fields: bool) -> dict[str, Any]:
        name, to, _ = _TRANSITIONS[id]
        screen = _STATUSES[to][1] == "done"
        shown = {
            "id": id,
            "name": name,
            "to": self._status(to),
            "hasScreen": screen,
            "isGlobal": False,
            "isInitial": False,
            "isAvailable": True,
            "isConditional": False,
        }
        if fields:
            schema = {"type": "resolution", "system": "resolution"}
            resolution = {"key": "resolution", "name": "Resolution", "required": True, "schema": schema}
            resolution |= {"operations": ["set"], "hasDefaultValue": False}
            resolution["allowedValues"] = [
                {"id": str(id), "name": name} for id, name in enumerate(_RESOLUTIONS, 10_000)
            ]
            shown["fields"] = {"resolution": resolution} if screen else {}
        return shown

    def _transit(self, request: Request, id: str) -> Reply:
        issue = self._issue(id)
        self._may("TRANSITION_ISSUES", "You do not have permission to transition this issue.")
        body = _body(request)
        chosen = str((body.get("transition") or {}).get("id"))
        if chosen not in _TRANSITIONS or issue["status"] not in _TRANSITIONS[chosen][2]:
            raise _Refused(400, "It seems that you have tried to perform an illegal workflow operation.")
        to = _TRANSITIONS[chosen][1]
        fields = body.get("fields") or {}
        resolution = ""
        if _STATUSES[to][1] == "done":
            resolution = (fields.pop("resolution", None) or {}).get("name", "Done")
            if resolution not in _RESOLUTIONS:
                raise _Refused(400, resolution=f"Resolution name '{resolution}' is not valid")
        if fields:
            raise _Refused(400, **{name: f"Field '{name}' cannot be set. It is not on the screen." for name in fields})
        self._moved(issue, to, resolution, "foreshock")
        for each in (body.get("update") or {}).get("comment", ()):
            self._commented(issue, "foreshock", each["add"]["body"], {})
        return Reply(status=204)

    def _moved(self, issue: dict[str, Any], to: str, resolution: str, author: str, **assigned: str) -> None:
        items = []
        if issue["status"] != to:
            items.append(_item("status", _STATUSES[issue["status"]][0], _STATUSES[to][0], issue["status"], to))
        if issue["resolution"] != resolution:
            items.append(_item("resolution", issue["resolution"], resolution, issue["resolution"], resolution))
        issue["status"], issue["resolution"] = to, resolution
        self._record(issue, author, items)
        self._effect(issue, _STATUSES[to][0].casefold().replace(" ", "-"))

    # ---- properties, links, history ----

    def _property(self, request: Request, id: str, key: str) -> Reply:
        properties = self._issue(id)["properties"]
        if key not in properties:
            raise _Refused(404, f"The property with key '{key}' does not exist.")
        return Reply(body={"key": key, "value": properties[key]})

    def _set_property(self, request: Request, id: str, key: str) -> Reply:
        issue = self._issue(id)
        new = key not in issue["properties"]
        issue["properties"][key] = request.json()
        self._effect(issue, "property")
        return Reply(status=201 if new else 200)

    def _link(self, request: Request) -> Reply:
        self._may("LINK_ISSUES", "You do not have permission to link issues.")
        body = _body(request)
        name = (body.get("type") or {}).get("name")
        if name not in [each[1] for each in _LINK_TYPES]:
            raise _Refused(404, f"No issue link type with name '{name}' found.")
        ends = [self._issue(str((body.get(side) or {}).get("key")))["id"] for side in ("inwardIssue", "outwardIssue")]
        if not any(link[1:] == (name, *ends) for link in self._links):
            self._ids += 1
            self._links.append((str(self._ids), str(name), ends[0], ends[1]))
            for id in ends:
                self._touch(self._issues[id])
            self._effect(self._issues[ends[0]], f"linked-{self._issues[ends[1]]['key']}")
        return Reply(status=201)

    def _links_of(self, issue: Mapping[str, Any]) -> list[dict[str, Any]]:
        found = []
        for id, name, inward, outward in self._links:
            for mine, side, other in ((inward, "outwardIssue", outward), (outward, "inwardIssue", inward)):
                if mine == issue["id"] and other in self._issues:
                    type = next(each for each in self._types_of_link() if each["name"] == name)
                    end = {"id": other, "key": self._issues[other]["key"], "self": self._self(f"issue/{other}")}
                    found.append({"id": id, "self": self._self(f"issueLink/{id}"), "type": type, side: end})
        return found

    def _types_of_link(self) -> list[dict[str, Any]]:
        return [
            {"id": id, "name": name, "inward": inward, "outward": outward, "self": self._self(f"issueLinkType/{id}")}
            for id, name, inward, outward in _LINK_TYPES
        ]

    def _link_types(self, request: Request) -> Reply:
        return Reply(body={"issueLinkTypes": self._types_of_link()})

    def _changelog(self, request: Request, id: str) -> Reply:
        rows = [self._shown_history(each) for each in self._issue(id)["history"]]
        start, most = int(request.parameters.get("startAt", 0)), int(request.parameters.get("maxResults", 100))
        page = rows[start : start + most]
        last = start + most >= len(rows)
        return Reply(body={"startAt": start, "maxResults": most, "total": len(rows), "isLast": last, "values": page})

    def _changelogs(self, request: Request) -> Reply:
        body = _body(request)
        fields = body.get("fieldIds")
        logs = []
        for id in body.get("issueIdsOrKeys") or ():
            issue = self._issue(str(id))
            histories = [self._shown_history(each, fields) for each in issue["history"]]
            logs.append({"issueId": issue["id"], "changeHistories": [each for each in histories if each["items"]]})
        return Reply(body={"issueChangeLogs": logs})

    def _shown_history(self, entry: Mapping[str, Any], fields: Any = None) -> dict[str, Any]:
        return {
            "id": entry["id"],
            "author": self._user(entry["author"]),
            "created": _time(entry["created"]),
            "items": [dict(item) for item in entry["items"] if not fields or item["fieldId"] in fields],
        }

    # ---- search ----

    def _removed(self, request: Request) -> Reply:
        raise _Refused(410, "The requested API has been removed. Please migrate to the /rest/api/3/search/jql API.")

    def _asked(self, request: Request) -> dict[str, Any]:
        if request.method == "POST":
            return _body(request)
        asked: dict[str, Any] = dict(request.parameters)
        for name in ("fields", "properties"):
            if name in asked:
                asked[name] = _words(asked[name])
        return asked

    def _search_by_token(self, request: Request) -> Reply:
        asked = self._asked(request)
        rows = self._matching(str(asked.get("jql") or ""), [str(id) for id in asked.get("reconcileIssues") or ()])
        most = max(1, min(int(asked.get("maxResults") or 50), self.search_rows))
        start = int(asked["nextPageToken"].removeprefix("page-")) if asked.get("nextPageToken") else 0
        expand = _words(asked.get("expand") or "")
        fields, properties = asked.get("fields") or ["id"], asked.get("properties") or []
        page = [self._shown(each, fields, properties, expand) for each in rows[start : start + most]]
        last = start + most >= len(rows)
        body = {"issues": page, "isLast": last}
        return Reply(body=body if last else body | {"nextPageToken": f"page-{start + most}"})

    def _search_by_offset(self, request: Request) -> Reply:
        asked = self._asked(request)
        rows = self._matching(str(asked.get("jql") or ""), [])
        start, most = int(asked.get("startAt") or 0), min(int(asked.get("maxResults") or 50), self.search_rows)
        expand = asked.get("expand") or []
        names = expand if isinstance(expand, list) else _words(expand)
        page = [self._shown(each, asked.get("fields") or ["*all"], [], names) for each in rows[start : start + most]]
        return Reply(body={"startAt": start, "maxResults": most, "total": len(rows), "issues": page})

    def _count(self, request: Request) -> Reply:
        return Reply(body={"count": len(self._matching(str(_body(request).get("jql") or ""), []))})

    def _matching(self, jql: str, reconciled: list[str]) -> list[dict[str, Any]]:
        where, _, order = re.sub(r"\s+", " ", jql).partition("ORDER BY ")
        terms = [_term(text.strip()) for text in re.split(r"\bAND\b", where) if text.strip()]
        if not terms and self.cloud:
            raise _Refused(400, "Unbounded JQL queries are not allowed here. Add a search restriction to your query.")
        now = self._clock()
        found = []
        for issue in self._candidates(terms):
            seen = [document for at, document in issue["indexed"] if at <= now - self.index_lag]
            document = issue["indexed"][-1][1] if issue["id"] in reconciled else seen[-1] if seen else None
            if document is not None and all(_meets(document, *term, now) for term in terms):
                found.append((document, issue))
        for part in reversed([each.strip() for each in order.split(",") if each.strip()]):
            name, _, way = part.partition(" ")
            if name.casefold() not in ("created", "updated", "key", "id"):
                raise _Refused(400, f"Not able to sort using field '{name}'.")
            found.sort(key=lambda pair: _sortable(pair[0], name.casefold()), reverse=way.upper() == "DESC")
        return [issue for _, issue in found]

    def _candidates(self, terms: Sequence[tuple[str, str, list[str]]]) -> Iterable[dict[str, Any]]:
        """Oldest first; of many issues a search for a label does not look at all."""
        labels = [
            words[0].casefold() for name, operator, words in terms if (name, operator) == ("labels", "=") and words
        ]
        if not labels:
            return self._issues.values()
        ids = min((self._labelled.get(label, set()) for label in labels), key=len)
        return [self._issues[id] for id in sorted(ids, key=int) if id in self._issues]

    # ---- how things are shown ----

    def _shown(
        self, issue: dict[str, Any], fields: list[str], properties: list[str], expand: list[str]
    ) -> dict[str, Any]:
        shown: dict[str, Any] = {"id": issue["id"], "key": issue["key"], "self": self._self(f"issue/{issue['id']}")}
        shown["expand"] = "renderedFields,names,schema,operations,editmeta,changelog"
        every = self._all_fields(issue)
        wanted = every if {"*all", "*navigable"} & set(fields) else [name for name in fields if name in every]
        if fields != ["id"]:
            shown["fields"] = {name: every[name] for name in wanted}
        if properties:
            shown["properties"] = {key: issue["properties"][key] for key in properties if key in issue["properties"]}
        if "changelog" in expand:
            rows = [self._shown_history(each) for each in issue["history"]]
            shown["changelog"] = {"startAt": 0, "maxResults": len(rows), "total": len(rows), "histories": rows}
        return shown

    def _all_fields(self, issue: dict[str, Any]) -> dict[str, Any]:
        stored, comments = issue["fields"], [self._shown_comment(issue, each) for each in issue["comments"]]
        return {
            "summary": stored["summary"],
            "description": self._richly(stored["description"]),
            "priority": self._priority(stored["priority"]),
            "labels": list(stored["labels"]),
            "components": [self._component(name) for name in stored["components"]],
            **{name: self._option(stored[name]) if stored.get(name) else None for name in _SELECTS},
            WORKAROUND_FIELD: self._richly(stored[WORKAROUND_FIELD]) if stored.get(WORKAROUND_FIELD) else None,
            "project": self._project_shown(),
            "issuetype": self._type(next(id for id, name in _TYPES.items() if name == issue["type"])),
            "status": self._status(issue["status"]),
            "resolution": {"name": issue["resolution"]} if issue["resolution"] else None,
            "assignee": self._user(issue["assignee"]) if issue["assignee"] else None,
            "reporter": self._user(issue["reporter"]),
            "created": _time(issue["created"]),
            "updated": _time(issue["updated"]),
            "issuelinks": self._links_of(issue),
            "comment": {"comments": comments, "total": len(comments), "startAt": 0, "maxResults": len(comments)},
        }

    def _shown_comment(self, issue: Mapping[str, Any], comment: Mapping[str, Any]) -> dict[str, Any]:
        return {
            "id": comment["id"],
            "self": self._self(f"issue/{issue['id']}/comment/{comment['id']}"),
            "author": self._user(comment["author"]),
            "updateAuthor": self._user(comment["author"]),
            "body": self._richly(comment["body"]),
            "created": _time(comment["created"]),
            "updated": _time(comment["created"]),
            "jsdPublic": comment["public"],
        }

    def _user(self, name: str) -> dict[str, Any]:
        id = self._users.setdefault(name, stable_id(self._seed, "user", name)[:24])
        shared = {"displayName": name.title(), "active": True, "timeZone": "Europe/Berlin"}
        if self.cloud:
            return {"accountId": id, "accountType": "atlassian", "self": self._self(f"user?accountId={id}"), **shared}
        return {
            "name": name,
            "key": f"JIRAUSER{int(id[:4], 16)}",
            "self": self._self(f"user?username={name}"),
            **shared,
        }

    def _status(self, id: str) -> dict[str, Any]:
        name, category = _STATUSES[id]
        number, title, color = _CATEGORIES[category]
        shown = {"id": number, "key": category, "name": title, "colorName": color}
        shown["self"] = self._self(f"statuscategory/{number}")
        return {"id": id, "name": name, "description": "", "self": self._self(f"status/{id}"), "statusCategory": shown}

    def _priority(self, name: str) -> dict[str, Any]:
        id = next(id for id, each in _PRIORITIES.items() if each == name)
        return {"id": id, "name": name, "self": self._self(f"priority/{id}")}

    def _component(self, name: str) -> dict[str, Any]:
        id = str(10_000 + _COMPONENTS.index(name))
        return {"id": id, "name": name, "self": self._self(f"component/{id}")}

    def _option(self, value: str) -> dict[str, Any]:
        return {"value": value, "id": str(int(stable_id(1, value)[:4], 16))}

    def _type(self, id: str) -> dict[str, Any]:
        return {
            "id": id,
            "name": _TYPES[id],
            "self": self._self(f"issuetype/{id}"),
            "description": "",
            "subtask": False,
        }

    def _project_shown(self) -> dict[str, Any]:
        return {"id": "10000", "key": PROJECT, "name": "Operations", "self": self._self("project/10000")}

    def _field(self, name: str) -> dict[str, Any]:
        title = _SELECTS[name][0] if name in _SELECTS else name.title()
        schema = {"type": _SCHEMAS.get(name, "string"), "system": name}
        if name in ("labels", "components"):
            schema["items"] = "string" if name == "labels" else "component"
        return {"id": name, "key": name, "name": title, "custom": name.startswith("custom"), "schema": schema}

    def _self(self, path: str) -> str:
        return f"{self._base}/rest/api/{self._version}/{path}"

    # ---- what the site is made of ----

    def _server_info(self) -> Reply:
        info = {
            "baseUrl": self._base,
            "version": "1001.0.0-SNAPSHOT" if self.cloud else "9.12.1",
            "versionNumbers": [1001, 0, 0] if self.cloud else [9, 12, 1],
            "deploymentType": "Cloud" if self.cloud else "Server",
            "buildNumber": 100_000,
            "serverTitle": "Sandbox",
        }
        return Reply(body=info)

    def _my_permissions(self, request: Request) -> Reply:
        names = _words(request.parameters.get("permissions", "")) or sorted(self.permissions)
        shown = {
            name: {
                "id": str(i),
                "key": name,
                "name": name,
                "type": "PROJECT",
                "havePermission": name in self.permissions,
            }
            for i, name in enumerate(names)
        }
        return Reply(body={"permissions": shown})

    def _of_project(self, key: str) -> None:
        if key not in (PROJECT, "10000"):
            raise _Refused(404, f"No project could be found with key '{key}'.")

    def _project(self, request: Request, key: str) -> Reply:
        self._of_project(key)
        return Reply(body=self._project_shown())

    def _project_statuses(self, request: Request, key: str) -> Reply:
        self._of_project(key)
        every = [self._status(id) for id in _STATUSES]
        types = [{**self._type(id), "statuses": every} for id in _TYPES]
        return Reply(body=[{name: each for name, each in type.items() if name != "description"} for type in types])

    def _project_components(self, request: Request, key: str) -> Reply:
        self._of_project(key)
        return Reply(body=[self._component(name) for name in _COMPONENTS])

    def _create_types(self, request: Request, key: str) -> Reply:
        self._of_project(key)
        return self._page("issueTypes", [self._type(id) for id in _TYPES])

    def _create_fields(self, request: Request, key: str, type: str) -> Reply:
        self._of_project(key)
        if type not in _TYPES:
            raise _Refused(404, "The issue type could not be found.")
        fields = []
        for name in self._screen():
            field = self._field(name)
            required = name in ("summary", "project", "issuetype") or name in self.required
            shown = {
                "fieldId": name,
                "key": name,
                "name": field["name"],
                "schema": field["schema"],
                "required": required,
            }
            shown |= {"operations": ["set"], "hasDefaultValue": name == "priority"}
            if name in self._allowed():
                shown["allowedValues"] = self._allowed()[name]
            fields.append(shown)
        return self._page("fields", fields)

    def _page(self, name: str, rows: list[dict[str, Any]]) -> Reply:
        page = {"startAt": 0, "maxResults": 50, "total": len(rows)}
        return Reply(body=page | ({name: rows} if self.cloud else {"values": rows, "isLast": True}))

    def _screen(self) -> list[str]:
        plain = ["project", "issuetype", "summary", "description", "priority", "labels", "components"]
        return [*plain, *_SELECTS, *sorted(self.required)]

    def _allowed(self) -> dict[str, list[dict[str, Any]]]:
        return {
            "priority": [self._priority(name) for name in _PRIORITIES.values()],
            "components": [self._component(name) for name in _COMPONENTS],
            **{name: [self._option(value) for value in values] for name, (_, values) in _SELECTS.items()},
        }

    # ---- what all of it uses ----

    def _may(self, permission: str, otherwise: str) -> None:
        if permission not in self.permissions:
            raise _Refused(403, otherwise)

    def _issue(self, id: str) -> dict[str, Any]:
        if id in self._issues:
            return self._issues[id]
        for issue in self._issues.values():
            if issue["key"] == id.upper():
                return issue
        raise _Refused(404, "Issue does not exist or you do not have permission to see it.")

    def _effect(self, issue: Mapping[str, Any], what: str) -> None:
        self._effects.append(f"{_word(issue)} {issue['key']} {what} {_our_key(issue)}")

    # ---- people ----

    def edit(self, number: str, action: str, *, actor: str = "ada", text: str = "", code: str = "") -> None:
        issue = next((each for each in self._issues.values() if each["key"] == number), None)
        if issue is None:
            raise KeyError(number)
        self._version = 2
        match action:
            case "take":
                id = self._user(actor)["accountId" if self.cloud else "name"]
                items = [_item("assignee", "", actor.title(), "", id)]
                if issue["status"] != "3":
                    items.append(
                        _item("status", _STATUSES[issue["status"]][0], "Work in progress", issue["status"], "3")
                    )
                issue["assignee"], issue["status"] = actor, "3"
                self._record(issue, actor, items)
            case "assign":
                self._put(issue, {"components": [name for name in _COMPONENTS if name == text]}, actor)
            case "comment":
                self._commented(issue, actor, text, {})
            case "resolve":
                self._moved(issue, "5", code or "Done", actor)
                if text:
                    self._commented(issue, actor, text, {})
            case "wait":
                self._moved(issue, "4", "", actor)
                if text:
                    self._commented(issue, actor, text, {})
            case "reopen" | "resume":
                self._moved(issue, "3", "", actor)
            case "close":
                self._moved(issue, "6", code or "Done", actor)
            case "retitle":
                self._put(issue, {"summary": text}, actor)
            case "workaround":
                self._put(issue, {WORKAROUND_FIELD: adf(text, _TEXT_CHARS) if self.cloud else text}, actor)
            case "delete":
                del self._issues[issue["id"]]
            case _:
                raise KeyError(action)

    @property
    def known_error_settings(self) -> dict[str, Any]:
        """Settings of the sink that reads the field of known errors."""
        return {"workaround_field": WORKAROUND_FIELD}

    def held(self) -> list[Held]:
        states = {"5": "resolved", "6": "closed", "7": "closed"}
        found = []
        for issue in self._issues.values():
            notes = tuple(adf_text(each["body"]) for each in issue["comments"])
            fields = issue["fields"]
            links = [end for link in self._links if issue["id"] in link[2:] for end in link[2:] if end != issue["id"]]
            found.append(
                Held(
                    number=issue["key"],
                    key=_our_key(issue),
                    state=states.get(issue["status"], "open"),
                    title=fields["summary"],
                    notes=notes,
                    texts=(fields["summary"], adf_text(fields["description"]), *notes),
                    links=tuple(self._issues[end]["key"] for end in links if end in self._issues),
                    type=_word(issue),
                )
            )
        return found


_SCHEMAS = {
    "priority": "priority",
    "labels": "array",
    "components": "array",
    "project": "project",
    "issuetype": "issuetype",
    **dict.fromkeys(_SELECTS, "option"),
}


def _word(issue: Mapping[str, Any]) -> str:
    return "problem" if issue["type"] == _TYPES["10002"] else "incident"


def _our_key(issue: Mapping[str, Any]) -> str:
    value = issue["properties"].get("foreshock")
    return str(value.get("key") or "") if isinstance(value, dict) else ""


def _is_document(value: Any, depth: int = 0) -> bool:
    if not isinstance(value, dict):
        return False
    if depth == 0:
        if (value.get("type"), value.get("version")) != ("doc", 1) or not isinstance(value.get("content"), list):
            return False
    elif value.get("type") not in _NODES:
        return False
    if value.get("type") == "text":
        return isinstance(value.get("text"), str) and bool(value["text"])
    return all(_is_document(each, depth + 1) for each in value.get("content") or ())


def _label(value: Any) -> str:
    if not isinstance(value, str) or not value or len(value) > 255 or re.search(r"\s", value):
        raise ValueError(f"The label '{value}' contains spaces which is invalid.")
    return value


def _item(field: str, before: str, after: str, frm: str = "", to: str = "") -> dict[str, Any]:
    item = {"field": field, "fieldId": field, "fieldtype": "jira", "fromString": before, "toString": after}
    return {**item, "from": frm, "to": to}


def _line(value: Any) -> str:
    if isinstance(value, list):
        return " ".join(map(str, value))
    return adf_text(value) if isinstance(value, dict) else str(value or "")


_TERM = re.compile(r"^(\w+)\s*(=|!=|>=|<=|>|<|\bin\b)\s*(.+)$", re.IGNORECASE)
_RELATIVE = re.compile(r"^-(\d+)([mhdw])$")
_UNITS = {"m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_KNOWN = ("project", "labels", "status", "statuscategory", "issuetype", "created", "updated", "key", "id")


def _term(text: str) -> tuple[str, str, list[str]]:
    found = _TERM.match(text)
    if found is None:
        raise _Refused(400, f"Error in the JQL Query: '{text[:50]}' is not understood.")
    name, operator, value = found[1].casefold(), found[2].casefold(), found[3].strip()
    if name not in _KNOWN:
        raise _Refused(400, f"Field '{found[1]}' does not exist or you do not have permission to view it.")
    values = re.findall(r'"((?:[^"\\]|\\.)*)"|([^\s,()"]+)', value)
    words = [quoted or bare for quoted, bare in values]
    if name == "project" and any(word not in (PROJECT, "10000", "Operations") for word in words):
        raise _Refused(400, f"The value '{words[0]}' does not exist for the field 'project'.")
    return name, operator, words


def _meets(document: Mapping[str, Any], name: str, operator: str, values: list[str], now: datetime) -> bool:
    found = document[name]
    if isinstance(found, datetime):
        at = _moment(values[0], now)
        return {">=": found >= at, "<=": found <= at, ">": found > at, "<": found < at}.get(operator, False)
    words = {each.casefold() for each in (found if isinstance(found, list) else [found])}
    hit = any(value.casefold() in words for value in values)
    return hit if operator in ("=", "in") else not hit


def _moment(text: str, now: datetime) -> datetime:
    if found := _RELATIVE.match(text):
        return now - timedelta(**{_UNITS[found[2]]: int(found[1])})
    try:
        return datetime.strptime(text, "%Y-%m-%d %H:%M").replace(tzinfo=UTC)
    except ValueError:
        raise _Refused(400, f"Date value '{text}' is invalid. Valid formats include: 'yyyy-MM-dd HH:mm'.") from None


def _sortable(document: Mapping[str, Any], name: str) -> Any:
    value = document[name]
    return int(str(value).rpartition("-")[2]) if name in ("key", "id") else value


def _time(moment: datetime) -> str:
    text = moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%f")
    return f"{text[:-3]}+0000"


def _words(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]


def _properties(body: Mapping[str, Any]) -> dict[str, Any]:
    return {str(each["key"]): each.get("value") for each in body.get("properties") or ()}


def _body(request: Request) -> dict[str, Any]:
    if "json" not in request.headers.get("content-type", ""):
        raise _Refused(415, "Content-Type: application/json is required")
    try:
        body = request.json()
    except ValueError:
        body = None
    if not isinstance(body, dict):
        raise _Refused(400, "Unexpected character: the body is not a JSON object")
    return body


def _settings(url: str, folder: Path) -> dict[str, Any]:
    return {
        "url": url,
        "user": USER,
        "token_file": secret_file(folder, "jira.token", TOKEN),
        "project": PROJECT,
        "group_field": "components",
        "fallback_group": "Service Desk",
    }


def _call(number: str, now: datetime, secret: str) -> Call:
    """Signed over the body alone, as WebSub does it (developer.atlassian.com, Webhooks)."""
    event = {
        "timestamp": int(now.timestamp() * 1000),
        "webhookEvent": "jira:issue_updated",
        "issue_event_type_name": "issue_generic",
        "issue": {"key": number},
    }
    body = json.dumps(event).encode()
    signature = hmac.new(secret.encode(), body, hashlib.sha256).hexdigest()
    return Call(headers={"X-Hub-Signature": f"sha256={signature}"}, body=body)


SIMULATOR = Simulator(kind="jira_sm", title="Jira Service Management", build=JiraSystem, settings=_settings, call=_call)
