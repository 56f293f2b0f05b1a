"""A stand-in of BMC Helix ITSM: the entries of its interface forms through AR System's REST API.

Facts: those of ``foreshock.connect.vendors.bmc_helix`` and ``incident_sink.bmc_helix``; exercised by the third-party
    client remedy-py 1.0.0 as well.

It copies what matters to a client: logging in gives a token as plain text, which runs out; a creation goes through a
form of its own with other names, which answers without a body unless fields are asked for, and with an id and link of
its own; without ``z1D_Action`` nothing is created at all; entries have an id, incidents a number, and these differ;
errors are arrays, most of them HTTP 500; text that is too long is refused; a group counts only with its company and
organisation; what is closed stays closed. Of the CMDB: a class answers for those below it; each dataset has its own
instances; what is deleted is marked first and purged later; a relation says of its ends only which is source and which
destination; an unknown attribute is refused; support groups stand in a form of their own.
"""

import base64
import json
import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
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

USER, PASSWORD = "foreshock", "sandbox"
PREFIX = "foreshock-"
"""What stands before our keys there (``prefix`` of the sink)."""
_TOKEN_S = 3600
_MAX_ROWS = 5000
_DEPTH = 50
_NO_PAGE = "<html><body><h2>HTTP ERROR 404</h2></body></html>"

_STATUS = ("New", "Assigned", "In Progress", "Pending", "Resolved", "Closed", "Cancelled")
_FINAL = ("Closed", "Cancelled")
_IMPACT = {"1-Extensive/Widespread": 9, "2-Significant/Large": 5, "3-Moderate/Limited": 3, "4-Minor/Localized": 0}
_URGENCY = {"1-Critical": 20, "2-High": 15, "3-Medium": 10, "4-Low": 0}
_PRIORITY = ((24, "Critical"), (18, "High"), (10, "Medium"), (0, "Low"))
_REASONS = ("Infrastructure Change", "Client Action Required", "No Further Action Required", "Monitoring Incident")
_INVESTIGATION = (
    "Draft",
    "Under Review",
    "Request for Authorization",
    "Assigned",
    "Under Investigation",
    "Pending",
    "Completed",
    "Rejected",
    "Closed",
    "Cancelled",
)


class Field(Struct, frozen=True):
    """Of a form. kind: text, selection, integer, time or history; length: of text, 0 for any."""

    kind: str = "text"
    length: int = 0
    choices: tuple[str, ...] = ()


def _texts(names: str, length: int = 254) -> dict[str, Field]:
    return {name: Field("text", length) for name in names.split(",")}


def _times(names: str) -> dict[str, Field]:
    return {name: Field("time") for name in names.split(",")}


_CORE = {**_texts("Submitter,Last Modified By"), **_times("Submit Date,Last Modified Date")}
_GROUP = _texts("Assigned Support Company,Assigned Support Organization,Assigned Group,Assignee,Assignee Login ID")
_WEIGHT = {
    "Impact": Field("selection", choices=tuple(_IMPACT)),
    "Urgency": Field("selection", choices=tuple(_URGENCY)),
}
_INCIDENT = {
    **_CORE,
    **_GROUP,
    **_WEIGHT,
    **_texts("Request ID,Entry ID,Incident Number,Description,Company,First Name,Last Name,Login ID,mc_ueid"),
    **_texts("Vendor Ticket Number,HPD_CI,HPD_CI_ReconID,HPD_CI_FormName,ServiceCI,ServiceCI_ReconID"),
    **_texts("Resolution Category,Categorization Tier 1,Categorization Tier 2,Product Categorization Tier 1"),
    "Detailed Decription": Field("text", 32_000),
    "Resolution": Field("text", 32_000),
    "Status": Field("selection", choices=_STATUS),
    "Status_Reason": Field("selection", choices=_REASONS),
    "Service Type": Field("selection", choices=("User Service Restoration", "Infrastructure Event")),
    "Reported Source": Field("selection", choices=("Direct Input", "Web", "Systems Management", "Email", "Phone")),
    "Priority": Field("selection", choices=("Critical", "High", "Medium", "Low")),
    "Priority Weight": Field("integer"),
    "Status-History": Field("history"),
    **_times("Last Resolved Date,Re-Opened Date,Closed Date"),
}
_DOOR_NAMES = {
    "First_Name": "First Name",
    "Last_Name": "Last Name",
    "Login_ID": "Login ID",
    "Service_Type": "Service Type",
    "Detailed_Decription": "Detailed Decription",
    "Incident_Entry_ID": "Entry ID",
}
_PROBLEM = {
    **_CORE,
    **_WEIGHT,
    **_texts("Request ID,Entry ID,Problem Investigation ID,Description,Company,First Name,Last Name"),
    **_texts(
        "Vendor Ticket Number,PBM_CI,PBM_CI_ReconID,ServiceCI,Support Company Pblm Mgr,Support Organization Pblm Mgr"
    ),
    **_texts("Assigned Group Pblm Mgr,Assignee Pblm Mgr,Investigation Driver,Investigation Justification"),
    "Detailed Decription": Field("text", 32_000),
    "Temporary Workaround": Field("text", 32_000),
    "Implemented Solution": Field("text", 32_000),
    "Investigation Status": Field("selection", choices=_INVESTIGATION),
    "Priority": Field("selection", choices=("Critical", "High", "Medium", "Low")),
    "Priority Weight": Field("integer"),
    "Status-History": Field("history"),
    **_times("Target Resolution Date"),
}
_NOTE = {
    **_CORE,
    **_texts("Work Log ID,Work Log Type,Work Log Submitter,View Access,Secure Work Log"),
    **_texts("Description", 128),
    "Detailed Description": Field("text", 32_000),
    **_times("Work Log Date,Work Log Submit Date"),
}
_LINK = {
    **_CORE,
    **_texts("Associations ID,Request ID01,Request ID02,Form Name01,Form Name02,Request Type01,Association Type01"),
    **_texts("Request Description01"),
}
_CI = _texts("InstanceId,Name,ReconciliationIdentity,ClassId,DatasetId,MarkAsDeleted")

DOOR, INCIDENT, HELP_DESK = "HPD:IncidentInterface_Create", "HPD:IncidentInterface", "HPD:Help Desk"
PROBLEM_DOOR, PROBLEM, INVESTIGATION = (
    "PBM:ProblemInterface_Create",
    "PBM:ProblemInterface",
    "PBM:Problem Investigation",
)
NOTE, PROBLEM_NOTE = "HPD:WorkLog", "PBM:Investigation WorkLog"
LINK, PROBLEM_LINK = "HPD:Associations", "PBM:Investigation Associations"
GROUP, PERSON = "CTM:Support Group", "CTM:People"
CI, SERVICE = "BMC.CORE:BMC_BaseElement", "BMC.CORE:BMC_BusinessService"

PEOPLE, CHANGE, CHANGE_LINK = "AST:AssetPeople", "CHG:ChangeInterface", "CHG:Associations"
_CHANGE_STATUS = (
    *("Draft", "Request For Authorization", "Request For Change", "Planning In Progress", "Scheduled For Review"),
    *(
        "Scheduled For Approval",
        "Scheduled",
        "Implementation In Progress",
        "Pending",
        "Rejected",
        "Completed",
        "Closed",
    ),
    "Cancelled",
)
DATASET = "BMC.ASSET"
_PARENTS = {
    "BMC_BaseElement": "",
    "BMC_ComputerSystem": "BMC_BaseElement",
    "ACME_Toaster": "BMC_ComputerSystem",
    "BMC_Printer": "BMC_ComputerSystem",
    "BMC_VirtualSystem": "BMC_BaseElement",
    "BMC_ApplicationSystem": "BMC_BaseElement",
    "BMC_SoftwareServer": "BMC_ApplicationSystem",
    "BMC_Application": "BMC_ApplicationSystem",
    "BMC_DataBase": "BMC_BaseElement",
    "BMC_Cluster": "BMC_BaseElement",
    "BMC_BusinessService": "BMC_BaseElement",
    "BMC_ApplicationService": "BMC_BaseElement",
    "BMC_BaseRelationship": "",
    "BMC_Dependency": "BMC_BaseRelationship",
    "BMC_Component": "BMC_BaseRelationship",
    "BMC_HostedSystemComponents": "BMC_BaseRelationship",
    "ACME_Admires": "BMC_BaseRelationship",
}
"""Classes of the CMDB, each with the one above it."""
_BASE = {
    **_texts("InstanceId,Name,ClassId,DatasetId,ReconciliationIdentity,ShortDescription,MarkAsDeleted"),
    **_times("ModifiedDate,CreateDate"),
}
_ELEMENT = {**_BASE, **_texts("SerialNumber,TagNumber,Site,Company,AssetLifecycleStatus,Priority")}
_ATTRIBUTES = {
    "BMC_BaseElement": _ELEMENT,
    "BMC_ComputerSystem": {**_ELEMENT, **_texts("HostName,Domain,PrimaryCapability,isVirtual,SystemEnvironment")},
    "BMC_BaseRelationship": {
        **_BASE,
        **_texts("Source.InstanceId,Source.ClassId,Destination.InstanceId,Destination.ClassId,HasImpact"),
        **_texts("ImpactDirection"),
    },
}
"""Of a class, or of the nearest above it."""
_CI_NAMES = {
    "name": "Name",
    "location": "Site",
    "serial": "SerialNumber",
    "asset_tag": "TagNumber",
    "hostname": "HostName",
    "domain": "Domain",
    "environment": "SystemEnvironment",
    "status": "AssetLifecycleStatus",
    "criticality": "Priority",
    "role": "PrimaryCapability",
    "virtual": "isVirtual",
}

FORMS: dict[str, dict[str, Field]] = {
    INCIDENT: _INCIDENT,
    HELP_DESK: _INCIDENT,
    DOOR: {
        **{next((door for door, own in _DOOR_NAMES.items() if own == name), name): f for name, f in _INCIDENT.items()},
        **_texts("z1D_Action,TemplateID,Create Date,z1D_Activity_Type,z1D_Secure_Log,z1D_View_Access"),
        "z1D_Details": Field("text", 32_000),
    },
    PROBLEM: _PROBLEM,
    INVESTIGATION: _PROBLEM,
    PROBLEM_DOOR: {
        **_PROBLEM,
        **_texts("z1D_Action,Create Date"),
        "Status": Field("selection", choices=_INVESTIGATION),
    },
    NOTE: {**_NOTE, **_texts("Incident Number")},
    PROBLEM_NOTE: {**_NOTE, **_texts("Problem Investigation ID")},
    LINK: _LINK,
    PROBLEM_LINK: _LINK,
    GROUP: {
        **_texts("Support Group ID,Company,Support Organization,Support Group Name"),
        "Status": Field("selection", choices=("Proposed", "Enabled", "Offline", "Obsolete")),
    },
    PERSON: _texts("Person ID,First Name,Last Name,Remedy Login ID,Company"),
    CI: _CI,
    SERVICE: _CI,
    PEOPLE: _texts("Request ID,AssetInstanceId,PersonRole,Full Name,Form Type"),
    CHANGE: {
        **_CORE,
        **_texts("Request ID,Infrastructure Change ID,Description"),
        "Change Request Status": Field("selection", choices=_CHANGE_STATUS),
        **_times("Scheduled Start Date,Scheduled End Date"),
    },
    CHANGE_LINK: _LINK,
}
_STORED = {INCIDENT: HELP_DESK, PROBLEM: INVESTIGATION}
"""Join forms: their entries have a double id."""
_ID_FIELD = {
    HELP_DESK: "Entry ID",
    INVESTIGATION: "Entry ID",
    DOOR: "Request ID",
    PROBLEM_DOOR: "Request ID",
    NOTE: "Work Log ID",
    PROBLEM_NOTE: "Work Log ID",
    LINK: "Associations ID",
    PROBLEM_LINK: "Associations ID",
    GROUP: "Support Group ID",
    PERSON: "Person ID",
    CI: "InstanceId",
    SERVICE: "InstanceId",
    PEOPLE: "Request ID",
    CHANGE: "Request ID",
    CHANGE_LINK: "Associations ID",
}
_ID_PREFIX = {HELP_DESK: "INC", INVESTIGATION: "PBI", GROUP: "SGP", PERSON: "PPL", NOTE: "WLG", PROBLEM_NOTE: "WLG"}
_INDEXED = frozenset(
    {
        "Vendor Ticket Number",
        "Incident Number",
        "Problem Investigation ID",
        "Request ID01",
        "Request ID02",
        "Support Group Name",
        "Name",
    }
)
_READABLE = {"incident": (DOOR, INCIDENT, HELP_DESK, NOTE, LINK), "problem": (PROBLEM_DOOR, PROBLEM, INVESTIGATION)}
_REQUIRED = {
    DOOR: ("First_Name", "Last_Name", "Description", "Impact", "Urgency", "Status", "Reported Source", "Service_Type"),
    PROBLEM_DOOR: (
        "First Name",
        "Last Name",
        "Description",
        "Impact",
        "Urgency",
        "Investigation Driver",
        "Target Resolution Date",
    ),
    NOTE: ("Incident Number", "Work Log Type"),
    PROBLEM_NOTE: ("Problem Investigation ID", "Work Log Type"),
    LINK: ("Request ID01", "Request ID02", "Form Name01", "Form Name02", "Request Type01", "Association Type01"),
    PROBLEM_LINK: ("Request ID01", "Request ID02", "Form Name01", "Form Name02", "Request Type01"),
}

Row = dict[str, Any]
"""Values as they are kept: times in seconds since 1970, the rest text, a number or None."""


class _Refused(Refused):
    """An answer that is no success."""

    def __init__(self, status: int, number: int, text: str, appended: str | None = None) -> None:
        super().__init__(Reply(status=status, body=_messages(number, text, appended)))


def _messages(number: int, text: str, appended: str | None = None, type: str = "ERROR") -> list[dict[str, Any]]:
    return [{"messageType": type, "messageText": text, "messageAppendedText": appended, "messageNumber": number}]


def _workflow(text: str) -> _Refused:
    """Refused by workflow: numbers of 10,000 and more, which vary; the text tells. This number is made up."""
    return _Refused(500, 44_899, text)


class HelixSystem(Answering):
    """One server with a few people, groups and CIs.

    Attributes:
        passwords: by login name. permissions: by login name: "incident", "problem".
        mandatory: fields that workflow demands besides, by form. on_status: fields that it demands for a status.
        emptied: fields that workflow empties in silence. hidden: fields that nobody is shown. unknown: fields that this
            version does not have. deaf: fields that a change leaves as they are, in silence.
        token_s: how long a token holds. one_session: whether a second token of a user is refused (ARERR 9093).
        max_rows: the server's own cap of ``limit``. ignores_q: whether something on the way drops the qualification.
        metadata: whether the forms' fields may be listed.
        forbidden: what the account may not read of the CMDB and its changes: cis, relationships, people, changes.
        counts: whether it says how many instances there are. page_rows: see ``CmdbSystem``.
    """

    cmdb = Cmdb(
        class_name="BMC_ComputerSystem",
        kind="server",
        relation=Relation("BMC_Dependency", "BMC_ApplicationSystem", "BMC_ComputerSystem", "depends_on"),
        unmapped_class="ACME_Toaster",
        unmapped_relation=Relation("ACME_Admires", "BMC_ComputerSystem", "BMC_ComputerSystem", "related_to"),
        shows={
            "owner": ("Database", "Network"),
            "environment": ("Production", "Test"),
            "location": ("Berlin", "Oslo"),
            "serial": ("SN-1", "SN-2"),
            "asset_tag": ("A-1", "A-2"),
            "hostname": ("a", "b"),
        },
        permissions=("cis", "relationships", "people", "changes"),
        lacks={Trait.EXPIRY: "pages go by offset"},
    )

    def __init__(self, clock: Clock, seed: int = 1) -> None:
        super().__init__(clock, seed)
        self._rows: dict[str, dict[str, Row]] = defaultdict(dict)
        self._index: dict[tuple[str, str], dict[str, dict[str, None]]] = defaultdict(dict)
        self._numbers: dict[str, int] = defaultdict(int)
        self._tokens: dict[str, tuple[str, datetime]] = {}
        self._issued = 0
        self.passwords = {USER: PASSWORD, "Demo": "demo"}
        self.permissions = {USER: {"incident", "problem"}, "Demo": {"incident", "problem"}}
        self.mandatory: dict[str, set[str]] = {}
        self.on_status: dict[str, set[str]] = {"In Progress": {"Assignee"}}
        self.emptied: set[str] = set()
        self.hidden: set[str] = set()
        self.unknown: set[str] = set()
        self.deaf: set[str] = set()
        self.token_s = _TOKEN_S
        self.one_session = False
        self.max_rows = _MAX_ROWS
        self.ignores_q = False
        self.metadata = True
        self.forbidden: set[str] = set()
        self.counts = True
        self.page_rows = 0
        self._instances: dict[str, Row] = {}
        self._listed: dict[str, list[Row]] = {}
        self._of_ci: dict[str, set[str]] = defaultdict(set)
        self._spoilt: set[str] = set()
        self._furnish()

    # ---- the door ----

    def refuse(self, fault: Fault) -> Reply:
        match fault:
            case Fault.LIMITED:  # not AR System's own: what stands before it
                return Reply(status=429, body="<html><body><h1>429 Too Many Requests</h1></body></html>")
            case Fault.DENIED:
                return _unauthenticated().reply
            case Fault.FORBIDDEN:
                return Reply(status=403, body=_messages(353, "You have no access to form", INCIDENT))
        body = _messages(552, "Failure during SQL operation to the database", "ORA-03113", "FATAL")
        return Reply(status=500, body=body)

    def _routed(self, request: Request) -> Reply:
        if request.path == "/api/jwt/login":
            return self._login(request)
        if request.path == "/api/jwt/logout":
            self._user(request)
            self._tokens.pop(_token_of(request), None)
            return Reply(status=204)
        path = re.sub(r"^/api/arsys/v1(\.0)?/", "/api/arsys/", request.path)
        found = matches("/api/cmdb/v1.0/instances/{}/{}/{}", request.path)
        if not path.startswith("/api/arsys/") and found is None:
            return Reply(status=404, body=_NO_PAGE)
        user = self._user(request)
        if found is not None:
            return self._list_instances(request, *found)
        if (found := matches("/api/arsys/entry/{}", path)) is not None:
            return self._form(request.method, found[0], request, user)
        if (found := matches("/api/arsys/entry/{}/{}", path)) is not None:
            return self._entry(request.method, found[0], found[1], request, user)
        if (found := matches("/api/arsys/fields/{}", path)) is not None and request.method == "GET":
            return self._fields(found[0], user)
        return Reply(status=404, body=_NO_PAGE)

    def _login(self, request: Request) -> Reply:
        if request.method != "POST" or "x-www-form-urlencoded" not in request.headers.get("content-type", ""):
            return Reply(status=405 if request.method != "POST" else 415)
        user = request.form.get("username", "")
        if not user or self.passwords.get(user) != request.form.get("password"):
            raise _unauthenticated()
        now = self._clock()
        if self.one_session and any(name == user and now < until for name, until in self._tokens.values()):
            raise _Refused(500, 9093, "User is currently connected from another machine", user)
        self._issued += 1
        issued = int(now.timestamp())
        claims = {
            "sub": user,
            "iss": "sandbox",
            "iat": issued,
            "nbf": issued - 120,
            "exp": issued + self.token_s,
            "_cacheId": self._issued,
        }
        token = f"{_base64({'typ': 'JWT', 'alg': 'HS256'})}.{_base64(claims)}.{stable_id(self._seed, self._issued)}"
        self._tokens[token] = (user, now + timedelta(seconds=self.token_s))
        return Reply(body=token, headers={"content-type": "text/plain;charset=UTF-8"})

    def _user(self, request: Request) -> str:
        user, until = self._tokens.get(_token_of(request), ("", self._clock()))
        if self._clock() >= until or user not in self.passwords:
            raise _unauthenticated()
        return user

    def revoke_tokens(self) -> None:
        self._tokens.clear()

    def _form(self, method: str, form: str, request: Request, user: str) -> Reply:
        self._may(user, form)
        match method:
            case "GET":
                return self._list(form, request)
            case "POST":
                return self._submit(form, request, user)
        raise _Refused(405, 9409, "Method not allowed", method)

    def _entry(self, method: str, form: str, id: str, request: Request, user: str) -> Reply:
        self._may(user, form)
        row = self._by_id(form, id)
        if row is None:
            raise _Refused(404, 302, "Entry does not exist in database", id)
        match method:
            case "GET":
                return Reply(body=self._shown(form, row, _asked(form, request), request.base))
            case "PUT":
                self._change(form, row, self._given(form, request), user)
                return Reply(status=204)
            case "DELETE":
                if form in _STORED:
                    raise _Refused(500, 443, "Cannot delete an entry of a join form", form)
                self._remove(form, row)
                return Reply(status=204)
        raise _Refused(405, 9409, "Method not allowed", method)

    def _fields(self, form: str, user: str) -> Reply:
        if not self.metadata:
            raise _Refused(403, 353, "You have no access to form", form)
        self._may(user, form)
        demanded = {*_REQUIRED.get(form, ()), *self.mandatory.get(form, ())}
        found = []
        for number, (name, field) in enumerate(FORMS[form].items(), 1):
            option = "REQUIRED" if name in demanded else "OPTIONAL"
            found.append({"id": number, "name": name, "field_option": option, "datatype": _DATATYPE[field.kind]})
        return Reply(body=found)

    def _may(self, user: str, form: str) -> None:
        if form not in FORMS:
            raise _Refused(404, 303, "Form does not exist on server", form)
        if {PEOPLE: "people", CHANGE: "changes", CHANGE_LINK: "changes"}.get(form) in self.forbidden:
            raise _Refused(403, 353, "You have no access to form", form)
        needed = next((word for word, forms in _READABLE.items() if form in forms), "")
        if needed and needed not in self.permissions.get(user, ()):
            raise _Refused(403, 353, "You have no access to form", form)

    # ---- reading ----

    def _list(self, form: str, request: Request) -> Reply:
        given = request.parameters
        rows = self._select(form, "" if self.ignores_q else given.get("q", ""))
        for part in reversed([part.strip() for part in given.get("sort", "").split(",") if part.strip()]):
            name, _, way = part.rpartition(".") if part.endswith((".asc", ".desc")) else (part, "", "asc")
            self._field(form, name)
            rows.sort(key=lambda row: _sortable(FORMS[form][name], row.get(name)), reverse=way == "desc")
        offset, limit = _number(given, "offset", 0), min(_number(given, "limit", self.max_rows), self.max_rows)
        asked = _asked(form, request)
        links = {"self": [{"href": f"{request.base}{quote(request.path)}?{urlencode(given)}"}]}
        if offset + limit < len(rows):
            more = {**given, "offset": str(offset + limit), "limit": str(limit)}
            links["next"] = [{"href": f"{request.base}{quote(request.path)}?{urlencode(more)}"}]
        page = [self._shown(form, row, asked, request.base) for row in rows[offset : offset + limit]]
        return Reply(body={"entries": page, "_links": links})

    def _select(self, form: str, text: str) -> list[Row]:
        stored = self._rows[_STORED.get(form, form)]
        if not text.strip():
            return list(stored.values())
        holds, equal = _Qualification(FORMS[form], text).read()
        rows: Iterable[Row] = stored.values()
        for name, value in equal.items():  # an index narrows the search, as it should there
            if name in _INDEXED:
                ids = self._index[_STORED.get(form, form), name].get(value.casefold(), ())
                rows = [stored[id] for id in ids]
                break
        return [row for row in rows if holds(row)]

    def _shown(self, form: str, row: Row, asked: Iterable[str], base: str) -> dict[str, Any]:
        values = {name: self._value(FORMS[form][name], row.get(name)) for name in asked if name not in self.hidden}
        id = row.get("Request ID") if form in _STORED else row.get(_ID_FIELD.get(form, "Request ID"))
        href = f"{base}/api/arsys/v1/entry/{quote(form, safe=':')}/{quote(str(id), safe='')}"
        return {"values": values, "_links": {"self": [{"href": href}]}}

    def _value(self, field: Field, value: Any) -> Any:
        if value is None or value == "":
            return None
        if field.kind == "time":
            return _iso(value)
        if field.kind == "history":
            return {status: {"user": user, "timestamp": _iso(at)} for status, (user, at) in value.items()}
        return value

    def _by_id(self, form: str, id: str) -> Row | None:
        if form in _STORED:
            first, _, second = id.partition("|")
            return self._rows[_STORED[form]].get(first) if first == second else None
        return self._rows[form].get(id)

    # ---- writing ----

    def _submit(self, form: str, request: Request, user: str) -> Reply:
        row = self.insert(form, user, **self._given(form, request))
        id = row[_ID_FIELD[form]]
        location = f"{request.base}/api/arsys/v1/entry/{quote(form, safe=':')}/{quote(id)}"
        if "fields" not in request.parameters:
            return Reply(status=201, headers={"Location": location})
        body = self._shown(form, row, _asked(form, request), request.base)
        return Reply(status=201, body=body, headers={"Location": location})

    def _given(self, form: str, request: Request) -> dict[str, Any]:
        try:
            body = request.json()
            values = body["values"]
        except (ValueError, KeyError, TypeError):
            raise _Refused(400, 8939, "The request body is not an entry") from None
        if not isinstance(values, dict) or "json" not in request.headers.get("content-type", ""):
            raise _Refused(400, 8939, "The request body is not an entry")
        return {name: self._taken(form, name, value) for name, value in values.items()}

    def _taken(self, form: str, name: str, value: Any) -> Any:
        """A value as it is kept. Raises what AR System says of one that does not fit."""
        field = self._field(form, name)
        if value is None or value == "":
            return None
        if field.kind == "selection":
            label = field.choices[int(value)] if str(value).isdigit() and int(value) < len(field.choices) else value
            if label not in field.choices:
                raise _Refused(500, 306, "Value does not fall within the limits specified for the field", name)
            return label
        if field.kind == "time":
            return _seconds(str(value))
        text = str(value)
        if field.length and len(text) > field.length:
            raise _Refused(500, 306, "Value does not fall within the limits specified for the field", name)
        return text

    def _field(self, form: str, name: str) -> Field:
        field = FORMS[form].get(name)
        if field is None or name in self.unknown:
            raise _Refused(400, 311, "Field ID is not related to this form", name)
        return field

    def insert(self, form: str, user: str = "Demo", **values: Any) -> Row:
        """A record as if ``user`` submitted it; as stored."""
        demanded = {*_REQUIRED.get(form, ()), *self.mandatory.get(form, ())}
        missing = sorted(name for name in demanded if not values.get(name))
        if missing:
            raise _Refused(500, 307, "Required field (without a default) not specified", ", ".join(missing))
        match form:
            case "HPD:IncidentInterface_Create":
                made = self._new_incident(values, user) if values.get("z1D_Action") == "CREATE" else {}
                return self._left_behind(form, values, made, user)
            case "PBM:ProblemInterface_Create":
                made = self._new_problem(values, user) if values.get("z1D_Action") == "PROBLEM" else {}
                return self._left_behind(form, values, made, user)
            case "HPD:WorkLog" | "PBM:Investigation WorkLog":
                return self._new_note(form, values, user)
            case "HPD:Associations" | "PBM:Investigation Associations":
                row = self._store(form, values, user)
                if form == LINK:
                    self._tell(self._record(values["Request ID02"]), "linked")
                return row
        return self._store(form, values, user)

    def _left_behind(self, form: str, values: Mapping[str, Any], made: Row, user: str) -> Row:
        """The doorway keeps what came through: an entry with an id of its own, whose changes move nothing."""
        row = self._store(form, values, user)
        row |= {name: made.get(name) for name in ("Incident Number", "Problem Investigation ID") if name in FORMS[form]}
        return row | {"Incident_Entry_ID": made.get("Entry ID"), "Create Date": _iso(row["Submit Date"])}

    def _store(self, form: str, values: Mapping[str, Any], user: str) -> Row:
        now = int(self._clock().timestamp())
        row: Row = {name: value for name, value in values.items() if name in FORMS[form] and name not in self.emptied}
        id = f"{_ID_PREFIX.get(form, '000')}{self._next(form):012}"
        row |= {_ID_FIELD[form]: id, "Submitter": user, "Submit Date": now}
        row |= {"Last Modified By": user, "Last Modified Date": now}
        self._rows[form][id] = row
        for name in _INDEXED.intersection(row):
            self._index[form, name].setdefault(str(row[name]).casefold(), {})[id] = None
        return row

    def _next(self, form: str) -> int:
        self._numbers[form] += 1
        return self._numbers[form]

    def _new_incident(self, values: Mapping[str, Any], user: str) -> Row:
        own = {_DOOR_NAMES.get(name, name): value for name, value in values.items()}
        people = self._rows[PERSON].values()
        person = next((each for each in people if _names(each) == _names(own)), None)
        if person is None:
            raise _workflow(f"No person is called {own['First Name']} {own['Last Name']}")
        status = own.pop("Status")
        own = {"Company": person["Company"], **{name: value for name, value in own.items() if value is not None}}
        self._check_group(own, status)
        number = f"INC{self._next('incident') + 100_000:012}"  # entry and incident count apart
        row = self._store(HELP_DESK, {**own, "Incident Number": number}, user)
        row |= {"Request ID": f"{row['Entry ID']}|{row['Entry ID']}", "Status-History": {}}
        self._enter(row, status, user)
        _weigh(row)
        self._tell(row, "created")
        if note := values.get("z1D_Details"):
            self._new_note(NOTE, {"Incident Number": number, "Detailed Description": note}, user)
        return row

    def _new_problem(self, values: Mapping[str, Any], user: str) -> Row:
        own = {name: value for name, value in values.items() if value is not None}
        status = own.pop("Status", None) or own.pop("Investigation Status", "Draft")
        number = f"PBI{self._next('problem') + 200_000:012}"
        row = self._store(INVESTIGATION, {**own, "Problem Investigation ID": number}, user)
        row |= {"Request ID": f"{row['Entry ID']}|{row['Entry ID']}", "Investigation Status": status}
        row["Status-History"] = {status: (user, row["Submit Date"])}
        _weigh(row)
        self._tell(row, "created")
        return row

    def _new_note(self, form: str, values: Mapping[str, Any], user: str) -> Row:
        record = self._record(values.get("Incident Number") or values.get("Problem Investigation ID") or "")
        if not record:
            raise _workflow("The incident or problem of this work info does not exist")
        row = self._store(form, values, user)
        row |= {"Work Log Submitter": user, "Work Log Submit Date": row["Submit Date"]}
        row.setdefault("Work Log Date", row["Submit Date"])
        self._tell(record, "noted")
        return row

    def _change(self, form: str, row: Row, values: Mapping[str, Any], user: str) -> None:
        changed = {name: value for name, value in values.items() if row.get(name) != value}
        if form in (DOOR, PROBLEM_DOOR):
            row |= changed
            return
        for name in ("Request ID", "Entry ID", "Incident Number", "Submitter", "Submit Date", "Priority", *self.deaf):
            changed.pop(name, None)
        after = {**row, **changed}
        if form in (INCIDENT, HELP_DESK):
            self._check_change(row, after)
            if any(name in changed for name in _GROUP):
                self._check_group(after, after["Status"])
        if not changed:
            return
        status = changed.pop("Status", None)
        for name in _INDEXED.intersection(changed):
            self._index[_STORED.get(form, form), name].get(str(row.get(name)).casefold(), {}).pop(row["Entry ID"], None)
            self._index[_STORED.get(form, form), name].setdefault(str(changed[name]).casefold(), {})[
                row["Entry ID"]
            ] = None
        row |= changed
        row |= {"Last Modified By": user, "Last Modified Date": int(self._clock().timestamp())}
        if status is not None:
            self._enter(row, status, user)
        _weigh(row)
        self._tell(row, f"state {row['Status'].replace(' ', '_')}" if status is not None else "updated")

    def _check_change(self, row: Mapping[str, Any], after: Mapping[str, Any]) -> None:
        status, wanted = row["Status"], after["Status"]
        if status in _FINAL:
            raise _workflow(f"The incident is {status}; closed and cancelled incidents cannot be modified")
        if wanted == status:
            return
        if wanted is None or wanted == "New" or (wanted == "Closed" and status != "Resolved"):
            raise _workflow(f"The status cannot change from {status} to {wanted}")
        if wanted in ("Pending", "Resolved", "Cancelled") and not after.get("Status_Reason"):
            raise _workflow(f"A status reason is required for the status {wanted}")
        if wanted == "Resolved" and not after.get("Resolution"):
            raise _workflow("A resolution is required to resolve the incident")
        for name in sorted(self.on_status.get(wanted, ())):
            if not after.get(name):
                raise _workflow(f"The field {name} is required for the status {wanted}")

    def _check_group(self, values: Mapping[str, Any], status: str) -> None:
        """A group counts only with its company and organisation, and an assigned incident has one."""
        triple = tuple(values.get(name) for name in tuple(_GROUP)[:3])
        known = {
            (each["Company"], each["Support Organization"], each["Support Group Name"])
            for each in self._rows[GROUP].values()
            if each["Status"] == "Enabled"
        }
        if any(triple) and triple not in known:
            raise _workflow(f"Support company, organization and group do not belong together: {triple}")
        if not any(triple) and status != "New":
            raise _workflow("An assigned group is required")

    def _enter(self, row: Row, status: str, user: str) -> None:
        now = int(self._clock().timestamp())
        if status == "Resolved":
            row["Last Resolved Date"] = now
        elif status == "Closed":
            row["Closed Date"] = now
        elif row.get("Status") == "Resolved":
            row |= {"Re-Opened Date": now, "Status_Reason": None}
        row["Status"] = status
        row["Status-History"] = {**row["Status-History"], status: (user, now)}

    def _remove(self, form: str, row: Row) -> None:
        id = row[_ID_FIELD[form]]
        del self._rows[form][id]
        for name in _INDEXED.intersection(row):
            self._index[form, name].get(str(row[name]).casefold(), {}).pop(id, None)
        if form in (HELP_DESK, INVESTIGATION):
            self._tell(row, "deleted")

    def _tell(self, row: Mapping[str, Any] | None, what: str) -> None:
        if row and (number := row.get("Incident Number") or row.get("Problem Investigation ID")):
            type = "incident" if "Incident Number" in row else "problem"
            self._effects.append(f"{type} {number} {what} {_key(row)}")

    def _record(self, number: str) -> Row | None:
        for form, name in ((HELP_DESK, "Incident Number"), (INVESTIGATION, "Problem Investigation ID")):
            for id in self._index[form, name].get(number.casefold(), ()):
                return self._rows[form][id]
        return None

    # ---- the CMDB ----

    def _list_instances(self, request: Request, dataset: str, namespace: str, class_name: str) -> Reply:
        is_relation = "BMC_BaseRelationship" in _above(class_name)
        if class_name not in _PARENTS or namespace != "BMC.CORE":
            raise _Refused(404, 120_024, "Class does not exist", f"{namespace}:{class_name}")
        if ("relationships" if is_relation else "cis") in self.forbidden:
            raise _Refused(403, 353, "You have no access to form", f"{namespace}:{class_name}")
        given = request.parameters
        fields = next(_ATTRIBUTES[each] for each in _above(class_name) if each in _ATTRIBUTES)
        asked = given.get("attributes", "").split(",") if given.get("attributes") else list(fields)
        for name in asked:
            if name not in fields:
                raise _Refused(400, 120_092, "Attribute does not exist", name)
        rows = self._class_rows(dataset, class_name)
        if text := given.get("qualification", ""):
            holds, _ = _Qualification(fields, text).read()
            rows = [row for row in rows if holds(row)]
        offset, limit = _number(given, "offset", 0), _number(given, "limit", self.max_rows)
        limit = min(limit, self.page_rows or limit, self.max_rows)
        shown = []
        for row in rows[offset : offset + limit]:
            values = {name: self._value(fields[name], row.get(name)) for name in asked}
            if row["InstanceId"] in self._spoilt:
                values["Name"] = {"broken": True}
            key = {"name": row["class"], "namespace": "BMC.CORE"}
            href = f"{request.base}{request.path}/{row['InstanceId']}"
            shown.append(
                {
                    "instance_id": row["InstanceId"],
                    "class_name_key": key,
                    "dataset_id": dataset,
                    "attributes": values,
                    "_links": {"self": [{"href": href}]},
                }
            )
        total = {"num_matches": len(rows)} if self.counts and given.get("num_matches") == "true" else {}
        return Reply(body={"instances": shown, **total})

    def _class_rows(self, dataset: str, class_name: str) -> list[Row]:
        key = f"{dataset} {class_name}"
        if key not in self._listed:
            self._listed[key] = [
                row
                for row in self._instances.values()
                if row["DatasetId"] == dataset and class_name in _above(row["class"])
            ]
        return self._listed[key]

    def _put_instance(self, class_name: str, dataset: str = DATASET, **values: Any) -> str:
        number = self._next("instance")
        id = f"OI-{stable_id(self._seed, 'instance', number).upper()}"
        now = int(self._clock().timestamp())
        row = {
            "InstanceId": id,
            "ReconciliationIdentity": f"RE-{stable_id(self._seed, 'identity', number).upper()}",
            "ClassId": class_name.upper(),
            "DatasetId": dataset,
            "MarkAsDeleted": "No",
            "CreateDate": now,
            "ModifiedDate": now,
            "class": class_name,
            **values,
        }
        self._instances[id] = row
        for above in _above(class_name):
            if f"{dataset} {above}" in self._listed:
                self._listed[f"{dataset} {above}"].append(row)
        return id

    def put_ci(self, name: str, class_name: str = "", **shown: Any) -> str:
        id = self._put_instance(class_name or self.cmdb.class_name, Name=name, AssetLifecycleStatus="Deployed")
        self.change_ci(id, **shown)
        return id

    def change_ci(self, id: str, **shown: Any) -> None:
        row = self._instances[id]
        for what, value in shown.items():
            if what == "owner":
                self._support(row["ReconciliationIdentity"], value)
            else:
                row[_CI_NAMES.get(what, what)] = value
        row["ModifiedDate"] = int(self._clock().timestamp())

    def _support(self, identity: str, group: str) -> None:
        role = {"AssetInstanceId": identity, "PersonRole": "Supported by", "Form Type": "CTM:Support Group"}
        for row in self._rows[PEOPLE].values():
            if all(row[name] == value for name, value in role.items()):
                row["Full Name"] = group
                return
        self.insert(PEOPLE, **role, **{"Full Name": group})

    def delete_ci(self, id: str, *, trace: bool = True) -> None:
        for key in list(self._of_ci.pop(id, ())):
            self._end(key, trace)
        self._end(id, trace)

    def _end(self, id: str, trace: bool) -> None:
        if trace:
            self._instances[id] |= {"MarkAsDeleted": "Yes", "ModifiedDate": int(self._clock().timestamp())}
        elif self._instances.pop(id, None) is not None:
            self._listed.clear()

    def relate(self, source: str, target: str, word: str = "") -> str:
        """``source`` is the end that suffers: of a dependency the destination."""
        word = word or self.cmdb.relation.word
        ends = (target, source) if word == "BMC_Dependency" else (source, target)
        impact = {"HasImpact": "Yes", "ImpactDirection": "Source-Destination"} if word == "BMC_Dependency" else {}
        return self.put_relation(word, *ends, **impact)

    def put_relation(self, class_name: str, source: str, destination: str, **values: Any) -> str:
        ends = {"Source.InstanceId": source, "Destination.InstanceId": destination}
        id = self._put_instance(class_name, **{**ends, **values})
        self._of_ci[source].add(id)
        self._of_ci[destination].add(id)
        return id

    def unrelate(self, key: str) -> None:
        self._end(key, trace=True)

    def spoil_ci(self, id: str) -> None:
        self._spoilt.add(id)

    def forbid(self, permission: str) -> None:
        self.forbidden.add(permission)

    def plan_change(
        self, status: str, starts: datetime, ends: datetime, *cis: str, services: Iterable[str] = ()
    ) -> str:
        """A change; its number."""
        number = f"CRQ{self._next('change') + 300_000:012}"
        own: dict[str, Any] = {
            "Infrastructure Change ID": number,
            "Description": "Patch",
            "Change Request Status": status,
            "Scheduled Start Date": int(starts.timestamp()),
            "Scheduled End Date": int(ends.timestamp()),
        }
        self.insert(CHANGE, **own)
        for form, ids in (("AST:ComputerSystem", cis), ("AST:BusinessService", services)):
            for id in ids:
                row = self._instances[id]
                ends_of = {"Request ID01": row["ReconciliationIdentity"], "Request ID02": number, "Form Name01": form}
                self.insert(CHANGE_LINK, **ends_of, **{"Request Description01": row["Name"]})
        self.insert(CHANGE_LINK, **{"Request ID01": "INC1", "Request ID02": number, "Form Name01": "HPD:Help Desk"})
        return number

    # ---- people, and what is there from the start ----

    def edit(self, number: str, action: str, *, actor: str = "ada", text: str = "", code: str = "") -> None:
        row = self._record(number)
        if row is None:
            raise KeyError(number)
        form = INCIDENT if "Incident Number" in row else PROBLEM
        if form == PROBLEM and action in _INVESTIGATED:
            self._change(PROBLEM, row, {"Investigation Status": _INVESTIGATED[action]}, actor)
            return
        changed: dict[str, Any]
        reason = code or "No Further Action Required"
        match action:
            case "take":
                changed = {"Assignee": actor.title(), "Assignee Login ID": actor, "Status": "In Progress"}
                changed |= {} if row.get("Assigned Group") else _triple(next(iter(self._rows[GROUP].values())))
            case "assign":
                ids = self._index[GROUP, "Support Group Name"].get(text.casefold(), {})
                changed = _triple(self._rows[GROUP][next(iter(ids))])
            case "comment":
                self._new_note(NOTE, {"Incident Number": number, "Detailed Description": text}, actor)
                return
            case "resolve" | "close":
                changed = {"Status": "Resolved", "Status_Reason": reason, "Resolution": text or "done"}
            case "reopen":
                changed = {"Status": "Assigned"}
            case "resume":
                changed = {"Status": "In Progress" if row.get("Assignee") else "Assigned"}
            case "cancel":
                changed = {"Status": "Cancelled", "Status_Reason": reason}
            case "wait":
                changed = {"Status": "Pending", "Status_Reason": code or "Client Action Required"}
            case "retitle":
                changed = {"Description": text}
            case "workaround":
                changed = {"Temporary Workaround": text}
            case "delete":
                self._remove(_STORED[form], row)
                return
            case _:
                raise KeyError(action)
        self._change(form, row, changed, actor)
        if action == "close":
            self._change(INCIDENT, row, {"Status": "Closed"}, actor)

    def held(self) -> list[Held]:
        found = []
        for form, name, note, type in (
            (HELP_DESK, "Incident Number", NOTE, "incident"),
            (INVESTIGATION, "Problem Investigation ID", PROBLEM_NOTE, "problem"),
        ):
            for row in self._rows[form].values():
                ids = self._index[note, name].get(row[name].casefold(), ())
                notes = tuple(self._rows[note][id].get("Detailed Description") or "" for id in ids)
                linked = self._index[LINK, "Request ID02"].get(row[name].casefold(), ())
                status = row.get("Status") or row.get("Investigation Status")
                texts = (row.get("Description"), row.get("Detailed Decription"), row.get("Resolution"), *notes)
                found.append(
                    Held(
                        number=row[name],
                        key=_key(row),
                        state=_STATE.get(str(status), "open"),
                        title=row.get("Description") or "",
                        notes=notes,
                        texts=tuple(text or "" for text in texts),
                        links=tuple(self._rows[LINK][id]["Request ID01"] for id in linked),
                        type=type,
                    )
                )
        return found

    def _furnish(self) -> None:
        acme = {"Company": "Acme"}
        for first, last, login in (("App", "Monitor", USER), ("Ada", "Lovelace", "ada")):
            self.insert(PERSON, **{"First Name": first, "Last Name": last, "Remedy Login ID": login, **acme})
        for name in ("Database", "Network", "Service Desk"):
            organisation = {"Support Organization": "IT Support", "Support Group Name": name, "Status": "Enabled"}
            self.insert(GROUP, **{**acme, **organisation})
        for form, name, kind in (
            (CI, "db1", "BMC_COMPUTERSYSTEM"),
            (CI, "web1", "BMC_COMPUTERSYSTEM"),
            (SERVICE, "shop", "BMC_BUSINESSSERVICE"),
        ):
            identity = f"OI-{stable_id(self._seed, name).upper()}"
            for dataset in ("BMC.ASSET", "BMC.SAMPLE"):  # each dataset has its own copy
                values = {"Name": name, "ReconciliationIdentity": identity, "ClassId": kind, "DatasetId": dataset}
                self.insert(form, **values)
        self._put_instance("BMC_ComputerSystem", "BMC.SAMPLE", Name="of another dataset")


_INVESTIGATED = {"take": "Under Investigation", "resolve": "Completed", "close": "Closed", "reopen": "Assigned"}
_STATE = {"Resolved": "resolved", "Completed": "resolved", "Closed": "closed", "Cancelled": "closed"}
_DATATYPE = {"text": "CHAR", "selection": "ENUM", "integer": "INTEGER", "time": "TIME", "history": "CHAR"}


# ---- qualifications -------------------------------------------------------------------------------------------------

Holds = Callable[[Row], bool]
_TOKEN = re.compile(
    r"""\s*(?:(?P<field>'(?:[^']|'')*')|(?P<text>"(?:[^"]|"")*")|(?P<null>\$NULL\$)|(?P<number>-?\d+)"""
    r"""|(?P<word>[A-Za-z]+)|(?P<op><=|>=|!=|&&|\|\||[=<>!()]))"""
)
_COMPARISONS = {"=", "!=", "<", "<=", ">", ">=", "LIKE"}


class _Qualification:
    """``'Status' < "Resolved" AND 'Name' LIKE "db%"``: names in single quotes, text in double ones, each doubled
    inside; times as ISO 8601 or seconds; choices by label or number and in their order."""

    def __init__(self, fields: Mapping[str, Field], text: str) -> None:
        self._fields = fields
        self._text = text
        self._tokens = self._split(text)
        self._depth = 0

    def _split(self, text: str) -> list[tuple[str, str]]:
        tokens, place = [], 0
        text = text.rstrip()
        while place < len(text):
            found = _TOKEN.match(text, place)
            if found is None:
                raise self._wrong(place)
            kind = found.lastgroup or ""
            value = found[kind]
            if kind in ("field", "text"):
                value = value[1:-1].replace(value[0] * 2, value[0])
            tokens.append((kind, value.upper() if kind == "word" else value))
            place = found.end()
        return tokens

    def _wrong(self, place: int) -> _Refused:
        """The number is made up."""
        return _Refused(400, 1587, "Error in the qualification", f"at position {place}: {self._text[place:][:60]}")

    def read(self) -> tuple[Holds, dict[str, str]]:
        """The condition, and what it demands of text fields in any case."""
        found = self._any()
        if self._tokens:
            raise self._wrong(0)
        return found

    def _next_is(self, *values: str) -> bool:
        if self._tokens and self._tokens[0][0] in ("word", "op") and self._tokens[0][1] in values:
            self._tokens.pop(0)
            return True
        return False

    def _any(self) -> tuple[Holds, dict[str, str]]:
        self._depth += 1
        if self._depth > _DEPTH:
            raise self._wrong(0)
        parts = [self._all()]
        while self._next_is("OR", "||"):
            parts.append(self._all())
        self._depth -= 1
        conditions = [holds for holds, _ in parts]
        return (lambda row: any(holds(row) for holds in conditions)), parts[0][1] if len(parts) == 1 else {}

    def _all(self) -> tuple[Holds, dict[str, str]]:
        parts = [self._one()]
        while self._next_is("AND", "&&"):
            parts.append(self._one())
        conditions = [holds for holds, _ in parts]
        equal = {name: value for _, equals in parts for name, value in equals.items()}
        return (lambda row: all(holds(row) for holds in conditions)), equal

    def _one(self) -> tuple[Holds, dict[str, str]]:
        if self._next_is("NOT", "!"):
            inner, _ = self._one()
            return (lambda row: not inner(row)), {}
        if self._next_is("("):
            found = self._any()
            if not self._next_is(")"):
                raise self._wrong(0)
            return found
        if len(self._tokens) < 3:
            raise self._wrong(0)
        (kind, name), (_, operator), (value_kind, value) = self._tokens[:3]
        del self._tokens[:3]
        if operator not in _COMPARISONS or value_kind not in ("text", "number", "null"):
            raise self._wrong(0)
        if kind == "number":  # 1=1
            return (lambda row: (name == value) is (operator == "=")), {}
        if kind != "field":
            raise self._wrong(0)
        field = self._fields.get(name)
        if field is None:
            raise _Refused(400, 311, "Field ID is not related to this form", name)
        if value_kind == "null":
            return (lambda row: (row.get(name) in (None, "")) is (operator == "=")), {}
        equal = {name: value} if field.kind == "text" and operator == "=" else {}
        return _compared(name, field, operator, value), equal


def _compared(name: str, field: Field, operator: str, value: str) -> Holds:
    wanted: Any = value.casefold()
    read: Callable[[Any], Any] = lambda found: str(found).casefold()  # noqa: E731
    if field.kind == "time":
        wanted, read = _seconds(value), int
    elif field.kind == "integer":
        wanted, read = int(value), int
    elif field.kind == "selection":
        if value not in field.choices and not value.isdigit():
            raise _Refused(400, 306, "Value does not fall within the limits specified for the field", name)
        wanted, read = int(value) if value.isdigit() else field.choices.index(value), field.choices.index
    if operator == "LIKE":
        pattern = re.compile(
            "".join({"%": ".*", "_": "."}.get(letter, re.escape(letter)) for letter in str(wanted)), re.DOTALL
        )
        return lambda row: row.get(name) is not None and pattern.fullmatch(read(row[name])) is not None
    ways: dict[str, Callable[[Any, Any], bool]] = {
        "=": lambda found, value: found == value,
        "!=": lambda found, value: found != value,
        "<": lambda found, value: found < value,
        "<=": lambda found, value: found <= value,
        ">": lambda found, value: found > value,
        ">=": lambda found, value: found >= value,
    }
    holds = ways[operator]
    return lambda row: row.get(name) not in (None, "") and holds(read(row[name]), wanted)  # null meets nothing


# ---- small things ---------------------------------------------------------------------------------------------------


def _above(class_name: str) -> list[str]:
    """A class of the CMDB and those above it."""
    found = []
    while class_name in _PARENTS:
        found.append(class_name)
        class_name = _PARENTS[class_name]
    return found


def _unauthenticated() -> _Refused:
    return _Refused(401, 623, "Authentication failed")


def _token_of(request: Request) -> str:
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    return token if scheme == "AR-JWT" else ""


def _base64(value: Mapping[str, Any]) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def _asked(form: str, request: Request) -> list[str]:
    """Names in ``fields=values(A, B)``; all of the form where nothing is asked for."""
    text = request.parameters.get("fields")
    if text is None:
        return list(FORMS[form])
    found = re.match(r"values\((.*?)\)", text)
    names = [name.strip() for name in found[1].split(",")] if found else []
    for name in filter(None, names):
        if name not in FORMS[form]:
            raise _Refused(400, 311, "Field ID is not related to this form", name)
    return [name for name in names if name]


def _number(given: Mapping[str, str], name: str, default: int) -> int:
    text = given.get(name, "")
    return int(text) if text.isdigit() else default


def _sortable(field: Field, value: Any) -> tuple[bool, Any]:
    if value is None or value == "":
        return False, 0 if field.kind in ("time", "integer", "selection") else ""
    return True, field.choices.index(value) if field.kind == "selection" else value


def _seconds(text: str) -> int:
    if re.fullmatch(r"\d{1,12}", text):
        return int(text)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise _Refused(400, 8950, "The date is in a wrong format", text[:60]) from None
    return int((at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp())


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.000+0000")


def _weigh(row: Row) -> None:
    weight = _IMPACT.get(row.get("Impact", ""), 0) + _URGENCY.get(row.get("Urgency", ""), 0)
    row |= {"Priority Weight": weight, "Priority": next(word for least, word in _PRIORITY if weight >= least)}


def _key(row: Mapping[str, Any]) -> str:
    return str(row.get("Vendor Ticket Number") or "").removeprefix(PREFIX)


def _names(row: Mapping[str, Any]) -> tuple[str, str]:
    return str(row.get("First Name")), str(row.get("Last Name"))


def _triple(group: Mapping[str, Any]) -> dict[str, Any]:
    names = ("Company", "Support Organization", "Support Group Name")
    return dict(zip(_GROUP, (group[name] for name in names), strict=False))


def _settings(url: str, folder: Path) -> dict[str, Any]:
    return {
        "url": url,
        "user": USER,
        "password_file": secret_file(folder, "bmc_helix.password", PASSWORD),
        "first_name": "App",
        "last_name": "Monitor",
        "fallback_group": "Service Desk",
    }


def _source_settings(url: str, folder: Path) -> dict[str, Any]:
    return {"url": url, "user": USER, "password_file": secret_file(folder, "bmc_helix.password", PASSWORD)}


SIMULATOR = Simulator(
    kind="bmc_helix",
    title="BMC Helix ITSM",
    build=HelixSystem,
    settings=_settings,
    source_settings=_source_settings,
)
