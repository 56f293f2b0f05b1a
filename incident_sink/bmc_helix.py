"""BMC Helix ITSM (Remedy): one incident for each situation, through the interface forms of AR System's REST API.

Facts:    docs.bmc.com, AR System 22.1 to 25.1 (REST API) and Helix ITSM 22.1 (interface forms), and what open
          integrations show; read 2026-11-22.
Delivery: at least once, one record. The vendor ticket number carries the situation's id; there is no idempotency key,
          so a search comes before each creation, and a note is written only if no work info carries its mark. A change
          answers without a body: the incident is read back, and a status that was not taken is an error.
Changes:  from the status history, which says who resolved, closed, reopened or suspended an incident and when, and from
          work info; who took it is seen when it was modified. What the account ``user`` did is no news.
Owner:    a field that a person changed stays theirs (``ownership`` names exceptions); what people ended stays ended.
          Closed and cancelled incidents cannot be opened again: a recurrence opens a new one that is related to it.
Limits:   summary 254, notes and work info 16,000 characters; an account may have one session (ARERR 9093), so all calls
          share one token and are made one at a time unless ``connections`` says otherwise.
Needs:    an account of Foreshock's own with a login, a licence and the permissions Incident User and Problem User.
"""

import re
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial

from msgspec import Struct
from pydantic import Field

from foreshock.connect.lookup import Lookup, found_once
from foreshock.connect.markup import line, plain
from foreshock.connect.ticket_changes import Activity, Memory, TicketChanges, Updated
from foreshock.connect.ticket_life import Change, Move, Records, Seen, Standing, TicketSink
from foreshock.connect.tickets import description, digest, is_ours, marker, of_scale, read_time, title, with_marker
from foreshock.connect.vendors.bmc_helix import (
    PAGE_ROWS,
    AnyOf,
    Helix,
    HelixAccount,
    Row,
    Term,
    connect,
    time_text,
)
from foreshock.core.contracts import (
    Finding,
    Order,
    ProblemOrder,
    Receipt,
    RemoteSinkConfig,
    SinkKind,
    SinkParts,
    TicketChange,
    Verb,
)
from foreshock.core.errors import Denied, Rejected

_TITLE_CHARS, _TEXT_CHARS, _NAME_CHARS, _SUBJECT_CHARS = 254, 16_000, 100, 100
_MAX_NUMBERS = 50_000
_AT_ONCE = 50
"""Numbers in one qualification: an address must stay below 8 KiB."""
_MAX_SAME = 50
_PROBLEM_TARGET = timedelta(days=30)
"""``Target Resolution Date`` of a problem, which its form demands."""
_RELATED = "Related To"
"""``Association Type01``: the one that has the same meaning from both ends. Seen in open integrations; UNVERIFIED."""
_GROUPS, _PEOPLE = "CTM:Support Group", "CTM:People"
_CIS, _SERVICES = "BMC.CORE:BMC_BaseElement", "BMC.CORE:BMC_BusinessService"


class _Form(Struct, frozen=True, kw_only=True):
    """The forms and field names of incidents, or of problems.

    Attributes:
        door, action: the form that creates, and what ``z1D_Action`` must say. modify: the join form that is read and
            changed. base: the form below it, as associations name it. type: how associations call it.
        note: form of the work info. links: form of the associations.
        doors: names that the creating form spells otherwise.
        group, ci, service: fields of which each means something only with others; service is empty where there is none.
        units: these with the others, in the order in which a lookup gives them.
    """

    door: str
    action: str
    modify: str
    base: str
    type: str
    number: str
    status: str
    note: str
    links: str
    doors: Mapping[str, str]
    group: str
    ci: str
    service: str
    units: Mapping[str, tuple[str, ...]]


_INCIDENT = _Form(
    door="HPD:IncidentInterface_Create",
    action="CREATE",
    modify="HPD:IncidentInterface",
    base="HPD:Help Desk",
    type="Incident",
    number="Incident Number",
    status="Status",
    note="HPD:WorkLog",
    links="HPD:Associations",
    doors={"Detailed Decription": "Detailed_Decription", "First Name": "First_Name", "Last Name": "Last_Name"},
    group="Assigned Group",
    ci="HPD_CI",
    service="ServiceCI",
    units={
        "Assigned Group": ("Assigned Support Company", "Assigned Support Organization", "Assigned Group"),
        "HPD_CI": ("HPD_CI", "HPD_CI_ReconID"),
        "ServiceCI": ("ServiceCI", "ServiceCI_ReconID"),
    },
)
_PROBLEM = _Form(
    door="PBM:ProblemInterface_Create",
    action="PROBLEM",
    modify="PBM:ProblemInterface",
    base="PBM:Problem Investigation",
    type="Problem Investigation",
    number="Problem Investigation ID",
    status="Investigation Status",
    note="PBM:Investigation WorkLog",
    links="PBM:Investigation Associations",
    doors={},
    group="Assigned Group Pblm Mgr",
    ci="PBM_CI",
    service="",
    units={
        "Assigned Group Pblm Mgr": (
            "Support Company Pblm Mgr",
            "Support Organization Pblm Mgr",
            "Assigned Group Pblm Mgr",
        ),
        "PBM_CI": ("PBM_CI", "PBM_CI_ReconID"),
    },
)


class HelixConfig(HelixAccount, RemoteSinkConfig):
    """The account, and how Foreshock's words become those of this system."""

    connections: int = Field(
        default=1,
        ge=1,
        le=16,
        description="how many calls are made at a time with the account's one session; AR System may refuse more than "
        "one (ARERR 9093)",
    )
    first_name: str = Field(description="first name of the person for whom incidents are opened, as CTM:People has it")
    last_name: str = Field(description="last name of that person")
    key_field: str = Field(
        default="Vendor Ticket Number",
        pattern="^[^'\"]+$",
        description="field of HPD:IncidentInterface that carries the situation's id; put an index on it",
    )
    problem_key_field: str = Field(
        default="Vendor Ticket Number",
        pattern="^[^'\"]+$",
        description="field of PBM:ProblemInterface that carries the problem's id",
    )
    prefix: str = Field(
        default="foreshock-",
        pattern="^[A-Za-z0-9:.-]+$",
        description="what stands before the id there; two Foreshocks that share a system need two",
    )
    impact: tuple[str, str, str] = Field(
        default=("1-Extensive/Widespread", "2-Significant/Large", "3-Moderate/Limited"),
        description="values for impact 1 (highest), 2 and 3",
    )
    urgency: tuple[str, str, str] = Field(
        default=("1-Critical", "3-Medium", "4-Low"), description="values for urgency 1, 2 and 3"
    )
    resolved: str = Field(default="Resolved", description="Status of a resolved incident")
    status_reason: str = Field(
        default="No Further Action Required", description="Status_Reason of what Foreshock resolves"
    )
    reopened: str = Field(
        default="Assigned", description="Status of one that is reopened; In Progress needs an assignee"
    )
    final: tuple[str, ...] = Field(
        default=("Closed", "Cancelled"), description="values of Status that cannot be left any more"
    )
    waiting: tuple[str, ...] = Field(
        default=("Pending",), description="values of Status in which an incident waits for somebody else"
    )
    assignment_groups: dict[str, str] = Field(
        default_factory=dict,
        description="our group: name or Support Group ID of the group there; others by the same name",
    )
    fallback_group: str = Field(
        default="", description="name or Support Group ID of the group for all that have none there"
    )
    dataset: str = Field(default="BMC.ASSET", description="dataset of the CMDB whose CIs incidents name")
    fixed: dict[str, str] = Field(
        default_factory=lambda: {"Service_Type": "Infrastructure Event", "Reported Source": "Systems Management"},
        description="further fields of a new incident, as HPD:IncidentInterface_Create calls them, such as Company, "
        "TemplateID, Categorization Tier 1 and what your system makes mandatory",
    )
    problem_fixed: dict[str, str] = Field(
        default_factory=lambda: {"Investigation Driver": "High Impact Incident"},
        description="further fields of a new problem, as PBM:ProblemInterface_Create calls them",
    )
    resolving: dict[str, str] = Field(
        default_factory=dict,
        description="further fields that your system demands with a resolution, such as Assignee, Assignee Login ID "
        "and Resolution Category; written only where they are empty",
    )
    also_ours: tuple[str, ...] = Field(
        default=(), description="further login names whose doings are no news, such as that of a gateway"
    )
    page: str = Field(
        default="",
        description="address of an incident's page for people, with {number} where its number stands, such as a link "
        "into the Mid Tier or Smart IT; without it tickets link to their entry in the REST API",
    )

    @property
    def us(self) -> frozenset[str]:
        return frozenset(name.casefold() for name in (self.user, *self.also_ours))


class _Directory:
    """Looks names up: groups, CIs, services. An unknown or ambiguous name is no reason to lose an incident."""

    def __init__(self, config: HelixConfig, client: Helix) -> None:
        self._config = config
        self._client = client
        self._known: Lookup[Row] = Lookup()

    def group(self, name: str) -> tuple[str, ...]:
        """Company, organisation and name of a group, or of the one to fall back on; empty where there is neither."""
        mapped = self._config.assignment_groups.get(name, name)
        found = self._group(mapped) or self._group(self._config.fallback_group)
        return tuple(found[field] for field in _GROUP_NAMES) if found is not None else ()

    def _group(self, name: str) -> Row | None:
        field = "Support Group ID" if _GROUP_ID.fullmatch(name) else "Support Group Name"
        return self._one(_GROUPS, (Term(field, "=", name), Term("Status", "=", "Enabled")), _GROUP_NAMES, name)

    def ci(self, form: str, name: str) -> tuple[str, ...]:
        """Name and reconciliation id of the one CI of this name in the dataset; empty where there is none."""
        query = (Term("Name", "=", name), Term("DatasetId", "=", self._config.dataset))
        found = self._one(form, query, ("Name", "ReconciliationIdentity"), name)
        return (found["Name"], found.get("ReconciliationIdentity", "")) if found is not None else ()

    def _one(self, form: str, query: Sequence[Term], fields: Sequence[str], name: str) -> Row | None:
        if not name:
            return None
        return self._known.of((form, name), lambda: self._asked(form, query, fields))

    def _asked(self, form: str, query: Sequence[Term], fields: Sequence[str]) -> Row | None:
        rows = _asked(self._client, form, query, fields) or []
        return rows[0] if len(rows) == 1 else None


class _Entries(Records[Row]):
    """The incidents, or the problems, of one system."""

    state_hint = "look there which field a workflow wants, and check `resolved`, `reopened` and `resolving`"

    def __init__(
        self, form: _Form, key_field: str, config: HelixConfig, client: Helix, names: _Directory, console: str
    ) -> None:
        self.name = client.name
        self.key_place = key_field
        self.key_hint = f"let {config.user} write {key_field} there, and see that no workflow empties it"
        self._form = form
        self._config = config
        self._client = client
        self._names = names
        self._console = console
        self._ours = ("Description", "Detailed Decription", "Impact", "Urgency", *form.units)
        """Names in ``Seen.fields``; that of a unit stands for all its fields."""
        units = (name for unit in form.units.values() for name in unit)
        resolving = config.resolving if form is _INCIDENT else ()
        core = ("Request ID", form.number, form.status, "Submit Date", "Last Modified By", key_field)
        known = _KNOWN if form is _PROBLEM else ()
        self._read = tuple(dict.fromkeys((*core, *self._ours, *units, *resolving, *known)))

    # ---- reading ----

    def of_key(self, key: str) -> Sequence[Row]:
        query = (Term(self.key_place, "=", self._config.prefix + key),)
        rows = self._client.entries(self._form.modify, query, self._read, limit=_MAX_SAME)
        return sorted(rows, key=lambda row: (row.get("Submit Date", ""), row.get("Request ID", "")))

    def get(self, id: str) -> Row | None:
        return self._client.entry(self._form.modify, id, self._read)

    def see(self, record: Row) -> Seen:
        number, id = record.get(self._form.number, ""), record.get("Request ID", "")
        page = self._config.page.replace("{number}", number) if self._form is _INCIDENT else ""
        value, prefix = record.get(self.key_place, ""), self._config.prefix
        fields = {name: record.get(name, "") for name in self._ours}
        fields |= {name: _joined(record.get(each, "") for each in unit) for name, unit in self._form.units.items()}
        return Seen(
            id=id,
            number=number,
            url=page or self._client.address(self._form.modify, id),
            standing=self._standing(record.get(self._form.status, "")),
            state=record.get(self._form.status, ""),
            key=value.removeprefix(prefix) if value.startswith(prefix) else "",
            fields=fields,
        )

    def _standing(self, status: str) -> Standing:
        if self._form is _PROBLEM:
            return Standing.FINAL if status in _PROBLEM_OVER else Standing.OPEN
        if status in self._config.final:
            return Standing.FINAL
        return Standing.ENDED if status == self._config.resolved else Standing.OPEN

    def own(self, record: Row, seen: Seen) -> Collection[str]:
        """What we wrote last is ours, after anybody else's hand nothing is."""
        return self._ours if record.get("Last Modified By", "").casefold() in self._config.us else ()

    def noted(self, record: Row, order_id: str, kept: Mapping[str, str]) -> bool:
        query = (
            Term(self._form.number, "=", record[self._form.number]),
            Term("Description", "=", _subject(order_id)),
        )
        return bool(self._client.entries(self._form.note, query, ("Description",), limit=1))

    # ---- writing ----

    def create(self, order: Order | ProblemOrder, wanted: Mapping[str, str], before: Row | None) -> Row | None:
        values = {
            **(self._config.fixed if self._form is _INCIDENT else self._config.problem_fixed),
            "First Name": self._config.first_name,
            "Last Name": self._config.last_name,
            **self._demanded(before),
            **{name: value for name, value in self._spread(wanted).items() if value},
            self.key_place: self._config.prefix + order.key,
            "z1D_Action": self._form.action,
        }
        if self._form is _INCIDENT:
            values["Status"] = "Assigned" if wanted.get(self._form.group) else "New"
        else:
            values["Status"] = "Draft"
            values["Target Resolution Date"] = (order.at + _PROBLEM_TARGET).astimezone(UTC).isoformat()
        number = self._submitted({self._form.doors.get(name, name): value for name, value in values.items()}, order)
        query = (Term(self._form.number, "=", number),)
        rows = self._client.entries(self._form.modify, query, self._read, limit=1) if number else self.of_key(order.key)
        if not rows or self.see(rows[0]).key != order.key:
            return rows[0] if rows else None
        if before is not None:
            self._relate(self._form, before[self._form.number], self._form, [rows[0][self._form.number]])
        if order.note and not _is_opening(order) and not self.noted(rows[0], order.id, {}):
            self._note(rows[0], order.id, order.note)
        return rows[0]

    def _submitted(self, values: Mapping[str, str], order: Order | ProblemOrder) -> str:
        """Number of a new record, empty where the answer does not tell.

        The note that opens an incident goes with it: a search that finds the incident after a lost answer does not know
        what it was to say.
        """
        note: dict[str, str] = {}
        if order.note and _is_opening(order):
            note = {**_NOTE_INSIDE, _NOTE_TEXT: with_marker(plain(order.note, _TEXT_CHARS), order.id, _TEXT_CHARS)}
        try:
            made = self._client.create(self._form.door, {**values, **note}, (self._form.number,))
        except Rejected as error:
            if not any(name in str(error) for name in note):
                raise
            made = self._client.create(self._form.door, values, (self._form.number,))
            if made is not None and made.get(self._form.number):
                self._note(made, order.id, order.note)
        if made is not None and not made.get(self._form.number):
            raise Rejected(
                f"{self.name} took the creation of {order.key}, but made no record: {self._form.number} is empty",
                hint=f"look there at the workflow of {self._form.door} for z1D_Action {self._form.action}",
            )
        return made[self._form.number] if made is not None else ""

    def _demanded(self, before: Row | None) -> dict[str, str]:
        """What no record can be without, for an order that only says what changed."""
        lowest = {"Impact": self._config.impact[2], "Urgency": self._config.urgency[2], "Description": "Recurrence"}
        return {name: (before or {}).get(name, "") or value for name, value in lowest.items()}

    def write(self, record: Row, change: Change) -> Row | None:
        """The note first: what is resolved already gets none when the order comes again."""
        if isinstance(change.order, Order) and change.order.verb is Verb.REOPEN and change.move is Move.WRITE:
            self._relate_to_former(record, change.order.key)
        if change.note:
            self._note(record, change.order.id, change.note)
        values = self._spread(change.fields)
        if change.move is Move.END:
            values |= {name: value for name, value in self._config.resolving.items() if not record.get(name)}
            values |= {"Status": self._config.resolved, "Status_Reason": self._config.status_reason}
            values["Resolution"] = plain(change.order.note or "The condition is over.", _TEXT_CHARS)
        elif change.move is Move.REOPEN:
            values["Status"] = self._config.reopened
        if values:
            self._client.update(self._form.modify, record["Request ID"], values)
        return None

    def _relate_to_former(self, record: Row, key: str) -> None:
        """The answer to the creation of a follower was lost, and with it the link, perhaps."""
        former = [row for row in self.of_key(key) if self.see(row).standing is Standing.FINAL]
        if former:
            self._relate(self._form, former[-1][self._form.number], self._form, [record[self._form.number]])

    def _note(self, record: Row, order_id: str, text: str) -> None:
        values = {
            self._form.number: record[self._form.number],
            "Work Log Type": "General Information",
            "Description": _subject(order_id),
            "Detailed Description": with_marker(plain(text, _TEXT_CHARS), order_id, _TEXT_CHARS),
            "Secure Work Log": "No",
            "View Access": "Internal",
        }
        self._client.create(self._form.note, values)

    def link(self, record: Row, incidents: Sequence[Receipt]) -> None:
        """Where a person linked an incident to another problem, that stays."""
        numbers = [ticket.number for ticket in incidents]
        self._relate(_PROBLEM, record[_PROBLEM.number], _INCIDENT, numbers)

    def ended(self, record: Row) -> str:
        status = record.get(self._form.status, "")
        return ("resolved" if status == "Completed" else "closed") if status in _PROBLEM_OVER else ""

    def known_error(self, record: Row) -> str:
        return next((plain(record[name], _TEXT_CHARS) for name in _KNOWN if record.get(name)), "")

    def _relate(self, one: _Form, number: str, other: _Form, numbers: Sequence[str]) -> None:
        """Associations are kept twice, with the names of both sides; which rows workflow adds itself is UNVERIFIED, so
        each is looked for before it is made."""
        for first in range(0, len(numbers), _AT_ONCE):
            some = tuple(numbers[first : first + _AT_ONCE])
            there: list[Term | AnyOf] = [AnyOf("Request ID02", some), Term("Form Name01", "=", one.base)]
            if one is other:
                there.append(Term("Request ID01", "=", number))
            rows = self._client.entries(other.links, there, ("Request ID01", "Request ID02"))
            taken = {row["Request ID02"] for row in rows}
            for each in (each for each in some if each not in taken):
                self._associate(other.links, one, number, other, each)
            theirs = taken - {row["Request ID02"] for row in rows if row["Request ID01"] == number}
            back = (Term("Request ID02", "=", number), AnyOf("Request ID01", some))
            mirrored = {row["Request ID01"] for row in self._client.entries(one.links, back, ("Request ID01",))}
            for each in (each for each in some if each not in theirs | mirrored):
                self._associate(one.links, other, each, one, number)

    def _associate(self, links: str, one: _Form, number: str, other: _Form, to: str) -> None:
        values = {
            "Request ID01": number,
            "Form Name01": one.base,
            "Request Type01": one.type,
            "Request Description01": number,
            "Request ID02": to,
            "Form Name02": other.base,
            "Association Type01": _RELATED,
        }
        self._client.create(links, values)

    # ---- our words in theirs ----

    def wanted(self, order: Order | ProblemOrder) -> dict[str, str]:
        fields = order.fields
        found: dict[str, str] = {}
        if "title" in fields:
            found["Description"] = title(order, _TITLE_CHARS)
        if "description" in fields:
            found["Detailed Decription"] = description(order, self._console, _TEXT_CHARS)
        for name, scale in (("impact", self._config.impact), ("urgency", self._config.urgency)):
            if name in fields:
                found[name.title()] = of_scale(scale, fields[name])
        group = _name(fields.get("assignment_group", ""))
        service = next((_name(name) for name in fields.get("services", ())), "") if self._form.service else ""
        units = {
            self._form.group: self._names.group(group) if group or _is_opening(order) else (),
            self._form.ci: self._names.ci(_CIS, _name(fields.get("ci", ""))),
            self._form.service: self._names.ci(_SERVICES, service),
        }
        return found | {name: _joined(unit) for name, unit in units.items() if unit}

    def _spread(self, fields: Mapping[str, str]) -> dict[str, str]:
        """With the single fields of each unit: a group counts only with company and organisation, a CI by its id."""
        found = dict(fields)
        for name in found.keys() & self._form.units.keys():
            found |= zip(self._form.units[name], fields[name].split(_BETWEEN), strict=True)
        return found


_NOTE_TEXT = "z1D_Details"
_NOTE_INSIDE = {"z1D_Activity_Type": "General Information", "z1D_Secure_Log": "No", "z1D_View_Access": "Internal"}
"""Fields of HPD:IncidentInterface_Create that make a work info. Names as in several open integrations; UNVERIFIED."""
_GROUP_NAMES = ("Company", "Support Organization", "Support Group Name")
_GROUP_ID = re.compile(r"[A-Z]{3}\d{12}")
_KNOWN = ("Temporary Workaround", "Implemented Solution")
_PROBLEM_OVER = frozenset({"Completed", "Rejected", "Closed", "Cancelled"})


def _is_opening(order: Order | ProblemOrder) -> bool:
    return isinstance(order, Order) and order.verb is Verb.OPEN


def _name(value: object) -> str:
    return line(str(value), _NAME_CHARS)


_BETWEEN = "\n"
"""Between the parts of a unit: no name has a line feed in it."""


def _joined(parts: Iterable[str]) -> str:
    """Empty where all are."""
    text = _BETWEEN.join(parts)
    return text if text.strip() else ""


def _subject(order_id: str) -> str:
    """The summary of a work info of ours, by which it is found again."""
    mark = marker(order_id)
    return mark if len(mark) <= _SUBJECT_CHARS else marker(digest(order_id))


# ---- what people did ------------------------------------------------------------------------------------------------


class _Changes(TicketChanges[Row]):
    """From two lists by time: incidents of ours, and work info of anybody's, which does not say whose it is.

    A row of either is told from the other by its ``Work Log ID``.
    """

    _FIELDS = (
        "Request ID",
        "Incident Number",
        "Status",
        "Status_Reason",
        "Assignee Login ID",
        "Last Modified By",
        "Last Modified Date",
        "Status-History",
    )

    def __init__(self, name: str, config: HelixConfig, client: Helix) -> None:
        super().__init__(name, client.name, config.settle)
        self._config = config
        self._client = client
        self._memory = Memory[str]()
        self._situations: dict[str, str] = {}
        """Our key by number of incident; empty where an incident is not ours."""

    def changes(self, cursor: int) -> list[TicketChange]:
        self._memory.believe(cursor)
        return super().changes(cursor)

    def updated(self, start: datetime) -> Updated[Row]:
        ours = Term(self._config.key_field, "LIKE", f"{self._config.prefix}%")
        incidents, cut = self._since("HPD:IncidentInterface", "Last Modified Date", start, self._FIELDS, ours)
        if len(self._situations) > _MAX_NUMBERS:
            self._situations.clear()
        self._situations |= {row["Incident Number"]: self._key(row) for row in incidents}
        now = self._client.listed_at
        theirs = Term("Work Log Submitter", "!=", self._config.user)
        fields = ("Work Log ID", "Incident Number", "Work Log Submitter")
        notes, cut_notes = self._since("HPD:WorkLog", "Work Log Submit Date", start, fields, theirs)
        return Updated([*incidents, *notes], now, min(filter(None, (cut, cut_notes)), default=None))

    def _since(
        self, form: str, field: str, start: datetime, fields: Sequence[str], term: Term
    ) -> tuple[list[Row], datetime | None]:
        """Entries by time, and the time of the last one where there are more. A list that grows while it is read moves
        under a reader of several pages, so it is one page, unless that is full of a single second."""
        query = (term, Term(field, ">=", time_text(start)))
        limit = PAGE_ROWS
        while True:
            rows = self._client.entries(form, query, (*fields, field), order=field, limit=limit)
            if len(rows) < limit:
                return rows, None
            first, last = read_time(rows[0][field]), read_time(rows[-1][field])
            if first != last:
                return rows, last
            limit *= 2

    def activities(self, records: Sequence[Row], start: datetime, horizon: datetime) -> Iterator[Activity]:
        notes = [row for row in records if "Work Log ID" in row]
        self._learn({row["Incident Number"] for row in notes})
        for row in records:
            if "Work Log ID" not in row:
                for each in self._of_incident(row, start):
                    if start <= each.at < horizon:
                        yield each
        for row in notes:
            at = read_time(row["Work Log Submit Date"])
            if at is not None and start <= at < horizon and self._situations.get(row["Incident Number"]):
                yield from self._of_note(row, at)

    def _of_incident(self, row: Row, start: datetime) -> Iterator[Activity]:
        id, config = row["Request ID"], self._config
        entered = _entered(row)
        over = [
            (name, "resolved" if name == config.resolved else "closed") for name in (config.resolved, *config.final)
        ]
        for name, state in over:
            at, who = entered.get(name, (None, ""))
            if at is not None and at >= start and who.casefold() not in config.us:
                comment = self._resolution(id) if state == "resolved" else ""
                yield self._activity(row, at, id, state, who, comment, row.get("Status_Reason", ""))
        ended = entered.get(config.resolved, (None, ""))[0]
        waits = [
            entry for name in config.waiting if (entry := entered.get(name)) and (ended is None or entry[0] > ended)
        ]
        for at, who in waits:
            if who.casefold() not in config.us:
                why = row.get("Status_Reason", "") if row["Status"] in config.waiting else ""
                yield self._activity(row, at, id, "pending", who, why)
        going_on = set(entered) - {config.resolved, *config.final}
        yield from self._moved_on(row, "reopened", ended, entered, going_on)
        at_work = going_on - set(config.waiting)
        yield from self._moved_on(row, "resumed", max((at for at, _ in waits), default=None), entered, at_work)
        if row["Status"] not in config.waiting:
            yield from self._taken(row)

    def _moved_on(
        self,
        row: Row,
        state: str,
        since: datetime | None,
        entered: Mapping[str, tuple[datetime, str]],
        among: Collection[str],
    ) -> Iterator[Activity]:
        """That an incident went on after ``since``. The history keeps the last time of each status only: of several
        moves the first counts, and once told it is remembered, for that status may be entered again."""
        if since is None or row["Status"] not in among:
            return
        now = entered[row["Status"]]
        moves = [entered[name] for name in among if entered[name][0] > since] or [now]
        source = f"{row['Request ID']} {state}"
        at, who = min(moves)
        if at >= since and self._memory.before(source) != since.isoformat() and who.casefold() not in self._config.us:
            self._memory.tell(source, since.isoformat(), at, 1)
            yield self._activity(row, at, source, state, who)

    def _taken(self, row: Row) -> Iterator[Activity]:
        """By the time of the last modification, for an incident does not say since when somebody has it. Of one that
        waits it is told when it goes on."""
        source, who, at = f"{row['Request ID']} taken", row.get("Assignee Login ID", ""), _at(row)
        before = self._memory.before(source)
        if at is None or who == (before or ""):
            return
        is_news = bool(who) and who.casefold() not in self._config.us
        self._memory.tell(source, who, at, 1 if is_news else 0)
        if is_news:
            yield self._activity(row, at, source, "taken", who)

    def _of_note(self, row: Row, at: datetime) -> Iterator[Activity]:
        who = row.get("Work Log Submitter", "")
        note = self._client.entry("HPD:WorkLog", row["Work Log ID"], ("Description", "Detailed Description"))
        if note is None or who.casefold() in self._config.us:
            return
        text = note.get("Detailed Description", "") or note.get("Description", "")
        if not is_ours(text):
            yield self._activity(row, at, row["Work Log ID"], "commented", who, plain(text, _TEXT_CHARS))

    def _activity(
        self, row: Row, at: datetime, source: str, state: str, actor: str, comment: str = "", code: str = ""
    ) -> Activity:
        number = row["Incident Number"]
        return Activity(
            at=at,
            source=source,
            situation=self._situations[number],
            number=number,
            state=state,
            actor=actor,
            comment=comment,
            code=code,
        )

    def _resolution(self, id: str) -> str:
        """Read only where it is news: it may be long."""
        row = self._client.entry("HPD:IncidentInterface", id, ("Resolution",))
        return plain(row.get("Resolution", ""), _TEXT_CHARS) if row is not None else ""

    def _learn(self, numbers: Collection[str]) -> None:
        """Which incidents are ours, of those that are not known yet."""
        unknown = sorted(number for number in numbers if number not in self._situations)
        ours = Term(self._config.key_field, "LIKE", f"{self._config.prefix}%")
        for first in range(0, len(unknown), _AT_ONCE):
            some = tuple(unknown[first : first + _AT_ONCE])
            query = (AnyOf("Incident Number", some), ours)
            rows = self._client.entries("HPD:IncidentInterface", query, ("Incident Number",))
            found = {row["Incident Number"]: self._key(row) for row in rows}
            self._situations |= {number: found.get(number, "") for number in some}

    def _key(self, row: Row) -> str:
        return row[self._config.key_field].removeprefix(self._config.prefix)


def _at(row: Row) -> datetime | None:
    return read_time(row.get("Last Modified Date", ""))


def _entered(row: Row) -> dict[str, tuple[datetime, str]]:
    """When each status was entered last, and by whom."""
    found = {}
    for name, value in row.items():
        field, _, rest = name.partition(".")
        status, _, part = rest.rpartition(".")
        at = read_time(value) if field == "Status-History" and part == "timestamp" else None
        if at is not None:
            found[status] = (at, row.get(f"Status-History.{status}.user", ""))
    return found


# ---- is it set up ---------------------------------------------------------------------------------------------------


def _check(config: HelixConfig, client: Helix) -> Iterator[Finding]:
    """Only reads. What the server does not tell is said, not guessed: ``sink test --create`` shows the rest."""
    try:
        client.entries(_INCIDENT.modify, (), ("Request ID", "Status"), limit=1)
    except Denied as error:
        yield Finding(subject="credentials", observed=str(error), remedy=error.hint)
        return
    yield Finding(subject="credentials", observed=f"{config.user} reads {_INCIDENT.modify}")
    yield _key_field(client, _INCIDENT, config.key_field, config)
    yield _key_field(client, _PROBLEM, config.problem_key_field, config)
    yield from (_readable(client, form, config) for form in (_INCIDENT.note, _INCIDENT.links, _PROBLEM.note))
    yield _customer(config, client)
    yield from _mandatory(config, client)
    yield from _choices(config, client)
    yield from _groups(config, client)
    yield _times(client)


def _key_field(client: Helix, form: _Form, field: str, config: HelixConfig) -> Finding:
    subject = "key field" if form is _INCIDENT else "key field of problems"
    setting = "key_field" if form is _INCIDENT else "problem_key_field"
    try:
        client.entries(form.modify, (Term(field, "LIKE", f"{config.prefix}%"),), (field,), limit=1)
    except Denied as error:
        remedy = f"name a text field of {form.modify} in {setting}, and let {config.user} read and write it"
        return Finding(subject=subject, observed=error.args[0], remedy=remedy)
    return Finding(subject=subject, observed=f"{field} of {form.modify} can be searched")


def _readable(client: Helix, form: str, config: HelixConfig) -> Finding:
    try:
        client.entries(form, (), ("Submitter",), limit=1)
    except Denied as error:
        return Finding(subject="permissions", observed=error.args[0], remedy=f"let {config.user} read and write {form}")
    return Finding(subject="permissions", observed=f"{form} is readable")


def _asked(client: Helix, form: str, query: Sequence[Term], fields: Sequence[str]) -> list[Row] | None:
    """None where the account may not read that form, or a value is no choice there."""
    try:
        return client.entries(form, query, fields, limit=2)
    except Denied:
        return None


def _customer(config: HelixConfig, client: Helix) -> Finding:
    query = (Term("First Name", "=", config.first_name), Term("Last Name", "=", config.last_name))
    rows = _asked(client, _PEOPLE, query, ("Person ID",))
    name = f"{config.first_name} {config.last_name}"
    if rows is None:
        return Finding(subject="customer", observed=f"{_PEOPLE} is not readable for this account: try --create")
    return Finding(
        subject="customer",
        observed=f"{name} is there" if len(rows) == 1 else f"{len(rows)} people are called {name}",
        remedy=""
        if len(rows) == 1
        else "make one such person in CTM:People, or write another name into first_name and last_name",
    )


def _mandatory(config: HelixConfig, client: Helix) -> Iterator[Finding]:
    demanded = client.required(_INCIDENT.door)
    if demanded is None:
        yield Finding(subject="mandatory fields", observed="the form's fields are not listed: try --create")
        return
    unfilled = [name for name in demanded if name not in {*_FILLED, config.key_field, *config.fixed}]
    if not unfilled:
        yield Finding(subject="mandatory fields", observed="all that the form demands are filled")
    for name in unfilled:
        yield Finding(
            subject="mandatory fields",
            observed=f"{name} of {_INCIDENT.door} is mandatory and not filled",
            remedy=f"write it under `fixed` of this sink: fixed: {{{name}: …}}, or make it optional there",
        )


def _choices(config: HelixConfig, client: Helix) -> Iterator[Finding]:
    """A qualification with a value that is no choice of its field is refused."""
    for field, values, setting in (
        ("Status", (config.resolved, config.reopened, *config.final), "resolved, reopened or final"),
        ("Status_Reason", (config.status_reason,), "status_reason"),
        ("Impact", config.impact, "impact"),
        ("Urgency", config.urgency, "urgency"),
    ):
        unknown = [
            value
            for value in values
            if _asked(client, _INCIDENT.modify, (Term(field, "=", value),), ("Request ID",)) is None
        ]
        yield Finding(
            subject=field,
            observed=f"{', '.join(map(repr, unknown))} is no choice there"
            if unknown
            else f"{', '.join(values)}: known",
            remedy=f"write a value that the form has into {setting} of this sink" if unknown else "",
        )


def _groups(config: HelixConfig, client: Helix) -> Iterator[Finding]:
    for name in dict.fromkeys((*config.assignment_groups.values(), config.fallback_group)):
        if not name:
            continue
        field = "Support Group ID" if _GROUP_ID.fullmatch(name) else "Support Group Name"
        rows = _asked(client, _GROUPS, (Term(field, "=", name), Term("Status", "=", "Enabled")), _GROUP_NAMES)
        if rows is None:
            yield Finding(
                subject="assignment groups",
                observed=f"{_GROUPS} is not readable, so incidents get no group",
                remedy=f"let {config.user} read {_GROUPS}",
            )
            return
        yield found_once("assignment groups", name, len(rows), "Support Group ID")


def _times(client: Helix) -> Finding:
    """Whether a time in a qualification is understood: every entry was modified after 1970."""
    fields = ("Request ID", "Last Modified Date")
    some = client.entries(_INCIDENT.modify, (), fields, limit=1)
    since = (Term("Last Modified Date", ">=", time_text(datetime(1970, 1, 2, tzinfo=UTC))),)
    found = _asked(client, _INCIDENT.modify, since, fields)
    if some and not found:
        return Finding(
            subject="times",
            observed="a search by time finds nothing although there are incidents, so what people do is not read",
            remedy="tell us how this server takes times in a qualification",
        )
    return Finding(subject="times", observed="incidents can be searched by time")


_FILLED = frozenset(
    {"First_Name", "Last_Name", "Description", "Detailed_Decription", "Impact", "Urgency", "Status", "z1D_Action"}
)


def _build(name: str, config: HelixConfig, parts: SinkParts) -> TicketSink[Row]:
    client = connect(config, name, f"sinks.{name}", parts.http, calls=config.connections)
    names = _Directory(config, client)
    return TicketSink(
        _Entries(_INCIDENT, config.key_field, config, client, names, parts.console),
        _Changes(name, config, client),
        partial(_check, config, client),
        problems=_Entries(_PROBLEM, config.problem_key_field, config, client, names, parts.console),
        ownership=config.ownership,
    )


SINK = SinkKind(
    kind="bmc_helix",
    title="BMC Helix ITSM incidents",
    facts="AR System REST API 22.1 to 25.1, read 2026-11-22",
    config=HelixConfig,
    build=_build,
    problems=True,
    known_errors=True,
)
