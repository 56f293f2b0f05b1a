"""What a trap means: which opens an alert, which ends it, and by what they are told apart."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import Any, Self

from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field, model_validator

from foreshock.connect.snmp.names import Names, Node, shown_number, shown_octets, text_of
from foreshock.core.errors import Invalid
from foreshock.core.quantities import Duration

MAX_VARBINDS = 50
"""Of a trap that are kept; annotations have a bound, and so has a record."""
MAX_VALUE_CHARS = 2000

_SYS_UP_TIME, _TRAP_OID = "1.3.6.1.2.1.1.3.0", "1.3.6.1.6.3.1.1.4.1.0"
_TRAP_ADDRESS, _COMMUNITY, _ENTERPRISE = "1.3.6.1.6.3.18.1.3.0", "1.3.6.1.6.3.18.1.4.0", "1.3.6.1.6.3.1.1.4.3.0"


class Varbind(Struct, frozen=True, omit_defaults=True):
    """One variable of a trap.

    Attributes:
        oid: with its index. name: ``ifOperStatus.3``, empty where the object is not known.
        value: numbers and OIDs as digits, octets as text or as ``0a:1b``.
        text: how the value is written for people, where that is another: ``down(2)``.
        row: the index, where the object is known.
    """

    oid: str
    value: str
    name: str = ""
    text: str = ""
    row: str = ""


class Trap(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A notification as it was received, with the names that were known then.

    Attributes:
        sender: address that it came from. agent: address of the agent, where another one passed it on.
        version: ``1``, ``2c`` or ``3``. user: of version 3.
        oid, name: of the trap; the name is empty where it is not known.
        uptime: of the agent, hundredths of a second.
        left_out: variables beyond the bound.
    """

    sender: str
    version: str
    oid: str
    agent: str = ""
    user: str = ""
    name: str = ""
    enterprise: str = ""
    uptime: int = 0
    varbinds: tuple[Varbind, ...] = ()
    left_out: int = 0


class Meaning(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a trap says about one condition.

    Attributes:
        condition: what the alert is called. over: it has ended.
        identity: beside the agent, for example {"ifIndex": "3"}.
        severity: a word. hold_s: it is over when it was not sent again for so long; 0: something ends it.
        ignored: why it is counted only; empty: it is an event.
    """

    condition: str
    identity: dict[str, str] = {}
    severity: str = ""
    over: bool = False
    hold_s: float = 0.0
    ignored: str = ""


Value = int | bytes | str
"""Of a variable: numbers, octets, and OIDs and addresses as text."""


def read_trap(
    varbinds: Sequence[tuple[str, Value]], names: Names, *, sender: str, version: str, user: str = ""
) -> Trap | None:
    """A notification from its variables, in the order and form of version 2 (RFC 3584 for what came as version 1).
    None without snmpTrapOID: then it is no notification."""
    head = {oid: value for oid, value in varbinds if oid in _HEAD}
    oid = head.get(_TRAP_OID)
    if not isinstance(oid, str):
        return None
    uptime = head.get(_SYS_UP_TIME)
    rest = [pair for pair in varbinds if pair[0] not in _HEAD]
    node, index = names.find(oid)
    agent = str(head.get(_TRAP_ADDRESS, ""))
    return Trap(
        sender=sender,
        version=version,
        user=user,
        oid=oid,
        agent="" if agent in (_NOBODY, sender) or agent.startswith("127.") else agent,
        name=node.name if node is not None and not index else "",
        enterprise=str(head.get(_ENTERPRISE, "")),
        uptime=uptime if isinstance(uptime, int) else 0,
        varbinds=tuple(_varbind(names, *pair) for pair in rest[:MAX_VARBINDS]),
        left_out=max(0, len(rest) - MAX_VARBINDS),
    )


_NOBODY = "0.0.0.0"  # noqa: S104 - what agents without an address of their own send
_HEAD = frozenset({_SYS_UP_TIME, _TRAP_OID, _TRAP_ADDRESS, _COMMUNITY, _ENTERPRISE})  # a community is a secret


def _varbind(names: Names, oid: str, value: Value) -> Varbind:
    node, row = names.find(oid)
    plain = text_of(value) if isinstance(value, bytes) else str(value)
    text = _shown(value, node, names)
    return Varbind(
        oid=oid,
        value=plain[:MAX_VALUE_CHARS],
        name="" if node is None else f"{node.name}.{row}" if row else node.name,
        text="" if text == plain else text[:MAX_VALUE_CHARS],
        row=row,
    )


def _shown(value: Value, node: Node | None, names: Names) -> str:
    if isinstance(value, int):
        return shown_number(value, node)
    if isinstance(value, bytes):
        return shown_octets(value, node)
    return names.name(value) if value.count(".") > _ADDRESS_DOTS else value


_ADDRESS_DOTS = 3  # an OID that names anything has more parts than an address

# ---- rules ----------------------------------------------------------------------------------------------------------


class TrapRule(BaseModel):
    """What becomes of some traps. Traps and objects are named as in their MIBs, or by OID."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    trap: tuple[str, ...] = Field(min_length=1, max_length=100, description="traps that open an alert")
    clear: tuple[str, ...] = Field(default=(), max_length=100, description="traps that end it")
    clear_when: dict[str, tuple[str, ...]] = Field(
        default_factory=dict,
        max_length=10,
        description="values with which a trap ends the alert too, by object, for example {ospfNbrState: [full]}",
    )
    by: tuple[str, ...] | None = Field(
        default=None,
        max_length=10,
        description="objects whose values tell alerts apart, for example [ifIndex]; without: the row of a table that "
        "the variables of the trap are in; []: one alert for each agent",
    )
    alertname: str = Field(default="", max_length=200, description="what the alert is called; without: the first trap")
    severity: str = Field(default="", max_length=64, description="how bad it is; without: warning")
    severity_from: str = Field(default="", description="object whose value says how bad it is")
    hold: Duration | None = Field(
        default=None,
        ge=timedelta(seconds=1),
        le=timedelta(days=31),
        description="the alert is over when the trap did not come again for so long; without: 1h where nothing ends it",
    )
    ignore: bool = Field(default=False, description="count these traps only")

    @model_validator(mode="after")
    def _ends_otherwise_than_it_begins(self) -> Self:
        if both := sorted(set(self.trap) & set(self.clear)):
            raise Invalid(
                f"{both[0]} opens and ends the same alert", hint="use clear_when where a value tells", path=("clear",)
            )
        return self


_HOLD = timedelta(hours=1)
_SEVERITY = "warning"


def _rule(trap: str, clear: str = "", **rest: Any) -> TrapRule:
    return TrapRule(trap=tuple(trap.split()), clear=tuple(clear.split()), **rest)


SHIPPED = (
    _rule("linkDown", "linkUp", by=("ifIndex",), severity="major"),
    _rule(
        "bgpBackwardTransNotification bgpBackwardTransition",
        "bgpEstablishedNotification bgpEstablished",
        severity="major",
    ),
    _rule(
        "ospfNbrStateChange",
        clear_when={"ospfNbrState": ("full", "twoWay")},
        by=("ospfNbrRtrId",),
        severity="major",
    ),
    _rule(
        "ospfIfStateChange",
        clear_when={
            "ospfIfState": ("pointToPoint", "designatedRouter", "backupDesignatedRouter", "otherDesignatedRouter")
        },
        by=("ospfIfIpAddress",),
        severity="major",
    ),
    _rule("upsTrapAlarmEntryAdded 1.3.6.1.2.1.33.2.0.3", "upsTrapAlarmEntryRemoved 1.3.6.1.2.1.33.2.0.4",
          by=("upsAlarmDescr",), severity="major", alertname="upsAlarm"),
    _rule("upsTrapOnBattery 1.3.6.1.2.1.33.2.0.1", by=(), severity="major", hold=timedelta(minutes=5)),
    _rule("upsOnBattery", "powerRestored", by=(), severity="major"),
    _rule("lowBattery", "returnFromLowBattery", by=(), severity="critical"),
    _rule("communicationLost", "communicationEstablished", by=(), severity="major"),
    _rule("risingAlarm", "fallingAlarm", by=("alarmVariable",)),
    _rule("mteTriggerRising", "mteTriggerFalling", by=("mteHotTrigger", "mteHotOID")),
    _rule("entStateOperDisabled", "entStateOperEnabled", severity="major"),
    _rule("pethMainPowerUsageOnNotification", "pethMainPowerUsageOffNotification"),
    _rule("nsNotifyShutdown", "nsNotifyStart nsNotifyRestart coldStart warmStart", by=(), alertname="agentShutdown"),
    _rule("coldStart warmStart", by=(), alertname="agentRestarted", severity="info", hold=timedelta(minutes=15)),
    _rule("nsNotifyStart nsNotifyRestart", ignore=True),
    _rule("authenticationFailure", by=(), severity="warning"),
    _rule("mteTriggerFired", by=("mteHotTrigger", "mteHotOID")),
)  # fmt: skip
"""In force for traps that no rule of the settings names. upsTrapOnBattery comes every minute while it holds."""


class _Reading(Struct, frozen=True):
    """A rule with OIDs in place of names. values: by OID of an object, those with which a trap ends the alert."""

    condition: str
    severity: str
    severity_from: str
    by: tuple[tuple[str, str], ...] | None
    values: Mapping[str, frozenset[str]]
    hold_s: float
    ignore: bool


class Meanings:
    """All rules, by OID of the trap. ``unknown``: names of the settings that nothing is known by, for people."""

    def __init__(self, rules: Iterable[TrapRule], names: Names) -> None:
        self._opening: dict[str, list[_Reading]] = {}
        self._ending: dict[str, list[_Reading]] = {}
        unknown: dict[str, None] = {}

        def oid(name: str) -> str:
            found = names.oid(name)
            if not found:
                unknown[name] = None
            return found

        rules = tuple(rules)
        taken = {names.oid(name) for rule in rules for name in (*rule.trap, *rule.clear)}
        shipped = (rule for rule in SHIPPED if not {names.oid(name) for name in (*rule.trap, *rule.clear)} & taken)
        for rule in (*rules, *shipped):
            ends = bool(rule.clear or rule.clear_when)
            hold = rule.hold or (None if ends else _HOLD)
            reading = _Reading(
                condition=rule.alertname or rule.trap[0].rpartition("::")[2],
                severity=rule.severity or _SEVERITY,
                severity_from=oid(rule.severity_from) if rule.severity_from else "",
                by=None if rule.by is None else tuple((each.rpartition("::")[2], oid(each)) for each in rule.by),
                values={oid(each): frozenset(values) for each, values in rule.clear_when.items()},
                hold_s=hold.total_seconds() if hold else 0.0,
                ignore=rule.ignore,
            )
            for name in rule.trap:
                self._opening.setdefault(oid(name), []).append(reading)
            for name in rule.clear:
                self._ending.setdefault(oid(name), []).append(reading)
        self.unknown = tuple(unknown)

    def of(self, trap: Trap) -> list[Meaning]:
        """At least one; several where it ends one alert and opens another."""
        found = [_meaning(reading, trap, over=True) for reading in self._ending.get(trap.oid, ())]
        found += [_meaning(reading, trap, over=_ends(reading, trap)) for reading in self._opening.get(trap.oid, ())]
        if found:
            return found
        name = trap.name or trap.oid
        return [Meaning(condition=name, identity=_row(trap), severity=_SEVERITY, hold_s=_HOLD.total_seconds())]


def _meaning(reading: _Reading, trap: Trap, *, over: bool) -> Meaning:
    severity = _value(trap, reading.severity_from) if reading.severity_from else None
    return Meaning(
        condition=reading.condition,
        identity=_identity(reading, trap),
        severity=reading.severity if severity is None else _word(severity)[:64],
        over=over,
        hold_s=0.0 if over else reading.hold_s,
        ignored="a rule says so" if reading.ignore else "",
    )


def _ends(reading: _Reading, trap: Trap) -> bool:
    for oid, wanted in reading.values.items():
        found = _value(trap, oid)
        if found is not None and {found.value, found.text, _word(found)} & wanted:
            return True
    return False


def _word(found: Varbind) -> str:
    """``down`` of ``down(2)``."""
    return (found.text or found.value).partition("(")[0]


def _value(trap: Trap, oid: str) -> Varbind | None:
    """The variable of that object, whatever its row."""
    return next((each for each in trap.varbinds if each.oid == oid or each.oid.startswith(oid + ".")), None)


def _identity(reading: _Reading, trap: Trap) -> dict[str, str]:
    if reading.by is None:
        return _row(trap)
    found = {}
    for name, oid in reading.by:
        variable = _value(trap, oid) if oid else None
        # Some agents leave the index out and send the rest of the row, which says it as well.
        value = (variable.text or variable.value) if variable is not None else _row(trap).get("row", "")
        if value:
            found[name] = value[:_MAX_IDENTITY_CHARS]
    return found


_MAX_IDENTITY_CHARS = 200


def _row(trap: Trap) -> dict[str, str]:
    """The index of the first known column; of unknown objects the last number, where all of several have the same."""
    for each in trap.varbinds:
        if each.row not in ("", "0"):
            return {"row": each.row[:_MAX_IDENTITY_CHARS]}
    unknown = {each.oid.rpartition(".")[2] for each in trap.varbinds if not each.name}
    if len(unknown) == 1 and len(trap.varbinds) > 1 and unknown != {"0"}:
        return {"row": unknown.pop()}
    return {}
