"""Names and looks of SNMP objects: what an OID is called, and how its value is written for people.

Facts: SNMPv2-MIB (RFC 3418), IF-MIB (RFC 2863), BGP4-MIB (RFC 4273), OSPF-TRAP-MIB (RFC 4750), UPS-MIB (RFC 1628),
ENTITY-MIB (RFC 6933), ENTITY-STATE-MIB (RFC 4268), RMON-MIB (RFC 2819), BRIDGE-MIB (RFC 4188), VRRP-MIB (RFC 2787),
POWER-ETHERNET-MIB (RFC 3621), DISMAN-EVENT-MIB (RFC 2981), SNMP-COMMUNITY-MIB (RFC 3584); display hints RFC 2579
section 3.1. NET-SNMP-AGENT-MIB and PowerNet-MIB (APC) by their vendors.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from functools import cache

from msgspec import Struct

_STANDARD = """\
SNMPv2-MIB 1.3.6.1.2.1.1
 sysDescr 1 255a
 sysObjectID 2
 sysUpTime 3
 sysContact 4 255a
 sysName 5 255a
 sysLocation 6 255a
SNMPv2-MIB 1.3.6.1.6.3.1.1
 snmpTrapOID 4.1
 snmpTrapEnterprise 4.3
 coldStart 5.1
 warmStart 5.2
 authenticationFailure 5.5
RFC1213-MIB 1.3.6.1.6.3.1.1
 egpNeighborLoss 5.6
SNMP-COMMUNITY-MIB 1.3.6.1.6.3.18.1
 snmpTrapAddress 3
 snmpTrapCommunity 4
IF-MIB 1.3.6.1.6.3.1.1
 linkDown 5.3
 linkUp 5.4
IF-MIB 1.3.6.1.2.1.2.2.1
 ifIndex 1
 ifDescr 2 255a
 ifType 3
 ifMtu 4
 ifSpeed 5
 ifPhysAddress 6 1x:
 ifAdminStatus 7 up(1) down(2) testing(3)
 ifOperStatus 8 up(1) down(2) testing(3) unknown(4) dormant(5) notPresent(6) lowerLayerDown(7)
 ifLastChange 9
IF-MIB 1.3.6.1.2.1.31.1.1.1
 ifName 1 255a
 ifHighSpeed 15
 ifAlias 18 255a
BGP4-MIB 1.3.6.1.2.1.15
 bgpEstablishedNotification 0.1
 bgpBackwardTransNotification 0.2
 bgpEstablished 7.1
 bgpBackwardTransition 7.2
 bgpPeerState 3.1.2 idle(1) connect(2) active(3) opensent(4) openconfirm(5) established(6)
 bgpPeerRemoteAddr 3.1.7
 bgpPeerRemoteAs 3.1.9
 bgpPeerLastError 3.1.14 1x:
OSPF-MIB 1.3.6.1.2.1.14
 ospfRouterId 1.1
 ospfIfIpAddress 7.1.1
 ospfAddressLessIf 7.1.2
 ospfIfState 7.1.12 down(1) loopback(2) waiting(3) pointToPoint(4) designatedRouter(5) backupDesignatedRouter(6) \
otherDesignatedRouter(7)
 ospfNbrIpAddr 10.1.1
 ospfNbrAddressLessIndex 10.1.2
 ospfNbrRtrId 10.1.3
 ospfNbrState 10.1.6 down(1) attempt(2) init(3) twoWay(4) exchangeStart(5) exchange(6) loading(7) full(8)
OSPF-TRAP-MIB 1.3.6.1.2.1.14.16.2
 ospfVirtIfStateChange 1
 ospfNbrStateChange 2
 ospfVirtNbrStateChange 3
 ospfIfConfigError 4
 ospfIfAuthFailure 6
 ospfIfStateChange 16
UPS-MIB 1.3.6.1.2.1.33
 upsTrapOnBattery 2.1
 upsTrapTestCompleted 2.2
 upsTrapAlarmEntryAdded 2.3
 upsTrapAlarmEntryRemoved 2.4
 upsSecondsOnBattery 1.2.2
 upsEstimatedMinutesRemaining 1.2.3
 upsAlarmId 1.6.2.1.1
 upsAlarmDescr 1.6.2.1.2
 upsConfigLowBattTime 1.9.7
 upsAlarmBatteryBad 1.6.3.1
 upsAlarmOnBattery 1.6.3.2
 upsAlarmLowBattery 1.6.3.3
 upsAlarmDepletedBattery 1.6.3.4
 upsAlarmTempBad 1.6.3.5
 upsAlarmInputBad 1.6.3.6
 upsAlarmOutputBad 1.6.3.7
 upsAlarmOutputOverload 1.6.3.8
 upsAlarmOnBypass 1.6.3.9
 upsAlarmBypassBad 1.6.3.10
 upsAlarmChargerFailed 1.6.3.13
 upsAlarmFanFailure 1.6.3.16
 upsAlarmFuseFailure 1.6.3.17
 upsAlarmGeneralFault 1.6.3.18
 upsAlarmCommunicationsLost 1.6.3.20
 upsAlarmShutdownImminent 1.6.3.23
ENTITY-MIB 1.3.6.1.2.1.47
 entPhysicalIndex 1.1.1.1.1
 entPhysicalDescr 1.1.1.1.2 255a
 entPhysicalName 1.1.1.1.7 255a
 entConfigChange 2.0.1
ENTITY-STATE-MIB 1.3.6.1.2.1.131
 entStateOperEnabled 0.1
 entStateOperDisabled 0.2
RMON-MIB 1.3.6.1.2.1.16
 risingAlarm 0.1
 fallingAlarm 0.2
 alarmIndex 3.1.1.1
 alarmVariable 3.1.1.3
 alarmSampleType 3.1.1.4 absoluteValue(1) deltaValue(2)
 alarmValue 3.1.1.5
 alarmRisingThreshold 3.1.1.7
 alarmFallingThreshold 3.1.1.8
BRIDGE-MIB 1.3.6.1.2.1.17
 newRoot 0.1
 topologyChange 0.2
VRRP-MIB 1.3.6.1.2.1.68
 vrrpTrapNewMaster 0.1
 vrrpTrapAuthFailure 0.2
POWER-ETHERNET-MIB 1.3.6.1.2.1.105
 pethPsePortOnOffNotification 0.1
 pethMainPowerUsageOnNotification 0.2
 pethMainPowerUsageOffNotification 0.3
 pethMainPseGroupIndex 1.3.1.1.1
 pethMainPseConsumptionPower 1.3.1.1.4
DISMAN-EVENT-MIB 1.3.6.1.2.1.88.2
 mteTriggerFired 0.1
 mteTriggerRising 0.2
 mteTriggerFalling 0.3
 mteTriggerFailure 0.4
 mteHotTrigger 1.1 255t
 mteHotTargetName 1.2 255t
 mteHotContextName 1.3 255t
 mteHotOID 1.4
 mteHotValue 1.5
 mteFailedReason 1.6
NET-SNMP-AGENT-MIB 1.3.6.1.4.1.8072.4
 nsNotifyStart 0.1
 nsNotifyShutdown 0.2
 nsNotifyRestart 0.3
PowerNet-MIB 1.3.6.1.4.1.318
 communicationLost 0.1
 upsOnBattery 0.5
 lowBattery 0.7
 communicationEstablished 0.8
 powerRestored 0.9
 returnFromLowBattery 0.11
"""
"""By module, with the OID that those of its objects begin with: name, rest of the OID, display hint or names of
numbers."""


class Node(Struct, frozen=True):
    """One object. enum: names of its numbers; hint: DISPLAY-HINT; both empty where it has none."""

    oid: str
    name: str
    module: str
    enum: Mapping[str, str] = {}
    hint: str = ""


_ENUM = re.compile(r"([A-Za-z][\w-]*)\((-?\d+)\)")
_OID = re.compile(r"[0-2](\.\d+)+")


@cache
def standard() -> tuple[Node, ...]:
    """What every installation knows, without any MIB file."""
    found, module, prefix = [], "", ""
    for line in _STANDARD.splitlines():
        if not line.startswith(" "):
            module, prefix = line.split()
            continue
        name, rest, *looks = line[1:].split(" ", 2)
        look = looks[0] if looks else ""
        enum = {number: word for word, number in _ENUM.findall(look)}
        found.append(Node(f"{prefix}.{rest}", name, module, enum, "" if enum else look))
    return tuple(found)


class Names:
    """What is known of objects: ours, and in their place those of ``nodes`` with the same OID."""

    def __init__(self, nodes: Iterable[Node] = ()) -> None:
        self._by_oid = {node.oid: node for node in (*standard(), *nodes)}
        self._by_name: dict[str, Node] = {}
        for node in self._by_oid.values():
            self._by_name.setdefault(node.name, node)
            self._by_name[f"{node.module}::{node.name}"] = node

    def find(self, oid: str) -> tuple[Node | None, str]:
        """The object that ``oid`` belongs to, the most specific one, and what is behind it: ``"3"``, or empty."""
        at = oid
        while at:
            node = self._by_oid.get(at)
            if node is not None:
                return node, oid[len(at) + 1 :]
            at = at.rpartition(".")[0]
        return None, ""

    def oid(self, name: str) -> str:
        """Of a name (``linkDown``, ``IF-MIB::linkDown``) or of an OID; empty if nothing is known by it."""
        if _OID.fullmatch(name.lstrip(".")):
            return name.lstrip(".")
        node = self._by_name.get(name)
        return "" if node is None else node.oid

    def name(self, oid: str) -> str:
        """``linkDown``, ``ifIndex.3``; the OID itself where the object is not known."""
        node, rest = self.find(oid)
        if node is None:
            return oid
        return f"{node.name}.{rest}" if rest else node.name


# ---- looks of values ------------------------------------------------------------------------------------------------


def text_of(value: bytes) -> str:
    """Octets that are text as text, without zeros at the end; others as ``0a:1b:…``."""
    trimmed = value.rstrip(b"\0")
    try:
        text = trimmed.decode()
    except UnicodeDecodeError:
        return value.hex(":")
    if all(each.isprintable() or each in "\t\r\n" for each in text):
        return text
    return value.hex(":")


def shown_number(value: int, node: Node | None) -> str:
    """``down(2)``, ``23.4`` by the hint ``d-1``; the number itself where nothing is known."""
    if node is None:
        return str(value)
    if (word := node.enum.get(str(value))) is not None:
        return f"{word}({value})"
    hint = node.hint
    if hint.startswith("d-") and hint[2:].isdigit() and 0 < (places := int(hint[2:])) < _MAX_PLACES:
        digits = str(abs(value)).rjust(places + 1, "0")
        return f"{'-' if value < 0 else ''}{digits[:-places]}.{digits[-places:]}"
    if hint in ("x", "o", "b"):
        return format(value, hint)
    return str(value)


_MAX_PLACES = 30
_PART = re.compile(r"(\*?)(\d{1,5})([xdoat])([^0-9*]?)([^0-9*]?)")


def shown_octets(value: bytes, node: Node | None) -> str:
    """By the display hint where there is one that fits, else as ``text_of``."""
    hint = "" if node is None else node.hint
    if not hint or hint[-1] in "at" or not _PART.match(hint):
        return text_of(value)
    return "".join(_pieces(value, hint)) or text_of(value)


def _pieces(value: bytes, hint: str) -> Iterator[str]:
    """RFC 2579, 3.1: each specification takes its octets, the last is repeated; a separator stands between only."""
    parts = _PART.findall(hint)
    place, index = 0, 0
    while place < len(value):
        star, length, form, separator, end = parts[min(index, len(parts) - 1)]
        index += 1
        times = 1
        if star:
            times, place = value[place], place + 1
        for turn in range(times):
            octets = value[place : place + max(1, int(length))]
            place += len(octets)
            yield _piece(octets, form)
            if place < len(value) and not (end and turn == times - 1):
                yield separator
        if star and end and place < len(value):
            yield end


def _piece(octets: bytes, form: str) -> str:
    if form in "at":
        return text_of(octets)
    number = int.from_bytes(octets, "big")
    return f"{number:0{2 * len(octets)}x}" if form == "x" else format(number, form)
