"""Traps: what is let in, what it means, and when an inform is answered. net-snmp's own programs send and receive."""

import asyncio
import socket
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from collectors import snmp_trap
from collectors.snmp_trap import SnmpTrapConfig, SnmpTraps, decode, translate
from foreshock.connect.config import strictly
from foreshock.connect.snmp import snmptrapd
from foreshock.connect.snmp.engine import Heard, Refused, TrapEngine, User
from foreshock.connect.snmp.meaning import SHIPPED, Meanings, Trap, TrapRule, Varbind, read_trap
from foreshock.connect.snmp.mibs import load
from foreshock.connect.snmp.names import Names, Node, shown_number, shown_octets
from foreshock.core.contracts import Outcome
from foreshock.core.errors import ConfigError, Unavailable
from foreshock.core.model import Event, read_annotations, read_labels
from foreshock.testing.fakes import Taken
from foreshock.testing.servers import free_port

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
LINK_DOWN, LINK_UP = "1.3.6.1.6.3.1.1.5.3", "1.3.6.1.6.3.1.1.5.4"
IF_INDEX, IF_OPER_STATUS = "1.3.6.1.2.1.2.2.1.1.3", "1.3.6.1.2.1.2.2.1.8.3"
DOWN = [LINK_DOWN, IF_INDEX, "i", "3", IF_OPER_STATUS, "i", "2"]
UP = [LINK_UP, IF_INDEX, "i", "3", IF_OPER_STATUS, "i", "1"]
V3 = ["-u", "lab", "-a", "SHA-256", "-A", "authpass123", "-x", "AES-256", "-X", "privpass123", "-l", "authPriv"]
MIB = """\
ACME-MIB DEFINITIONS ::= BEGIN
IMPORTS MODULE-IDENTITY, OBJECT-TYPE, NOTIFICATION-TYPE, Integer32, enterprises FROM SNMPv2-SMI
    TEXTUAL-CONVENTION FROM SNMPv2-TC ifIndex FROM IF-MIB;
acme MODULE-IDENTITY LAST-UPDATED "202601010000Z" ORGANIZATION "" CONTACT-INFO "" DESCRIPTION ""
    ::= { enterprises 53864 }
AcmeTenths ::= TEXTUAL-CONVENTION DISPLAY-HINT "d-1" STATUS current DESCRIPTION "" SYNTAX Integer32
acmeTable OBJECT-TYPE SYNTAX SEQUENCE OF AcmeEntry MAX-ACCESS not-accessible STATUS current DESCRIPTION ""
    ::= { acme 1 }
acmeEntry OBJECT-TYPE SYNTAX AcmeEntry MAX-ACCESS not-accessible STATUS current DESCRIPTION "" INDEX { ifIndex }
    ::= { acmeTable 1 }
AcmeEntry ::= SEQUENCE { acmeState INTEGER, acmeTemperature AcmeTenths }
acmeState OBJECT-TYPE SYNTAX INTEGER { normal(1), onBattery(2) } MAX-ACCESS read-only STATUS current DESCRIPTION ""
    ::= { acmeEntry 2 }
acmeTemperature OBJECT-TYPE SYNTAX AcmeTenths MAX-ACCESS read-only STATUS current DESCRIPTION "" ::= { acmeEntry 3 }
acmeFailed NOTIFICATION-TYPE OBJECTS { acmeState } STATUS current DESCRIPTION "" ::= { acme 0 1 }
acmeRestored NOTIFICATION-TYPE OBJECTS { acmeState } STATUS current DESCRIPTION "" ::= { acme 0 2 }
END
"""
ACME_FAILED, ACME_RESTORED = "1.3.6.1.4.1.53864.0.1", "1.3.6.1.4.1.53864.0.2"
ACME_STATE, ACME_TEMPERATURE = "1.3.6.1.4.1.53864.1.1.2.7", "1.3.6.1.4.1.53864.1.1.3.7"


def config(**given: Any) -> SnmpTrapConfig:
    default = {} if {"users", "snmptrapd_config"} & set(given) else {"communities_file": "communities"}
    return strictly({"listen": [f"127.0.0.1:{free_port()}"], **default, **given}, SnmpTrapConfig)


USER = {"name": "lab", "priv": "AES-256", "auth_file": "auth", "priv_file": "priv"}
PASSWORDS = [("authpass123", "privpass123")]


async def sent(*arguments: str) -> int:
    """The exit code of snmptrap; of an inform it says whether it was answered."""
    process = await asyncio.create_subprocess_exec(
        "snmptrap", *arguments, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL
    )
    return await process.wait()


async def until(true: Callable[[], object], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():  # noqa: ASYNC110 - what it waits for is no event
            await asyncio.sleep(0.01)


def listening(
    settings: SnmpTrapConfig,
    work: Callable[[str, Taken], Awaitable[None]],
    passwords: Sequence[tuple[str, str]] = (),
    communities: Sequence[str] = ("public",),
) -> Taken:
    """What one instance took, while ``work`` sent something to its address."""

    async def run() -> Taken:
        outlet = Taken()
        task = asyncio.create_task(SnmpTraps("traps", settings, communities, passwords).run(outlet))
        try:
            await until(lambda: outlet.addresses or task.done())
            if not task.done():
                await work(settings.listen[0], outlet)
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task
        return outlet

    return asyncio.run(run())


def events(outlet: Taken) -> list[Event]:
    read = [translate(item, NOON) for _, payload in outlet.payloads for item in decode(payload)]  # type: ignore[arg-type]
    return [one for one in read if isinstance(one, Event)]


def told(outlet: Taken) -> list[tuple[dict[str, str], bool]]:
    """Labels of each event, and whether it is over."""
    return [(read_labels(event.labels), event.ends_at == NOON) for event in events(outlet)]


# ---- real senders ---------------------------------------------------------------------------------------------------

V2C, V1 = ["-v2c", "-c", "public"], ["-v1", "-c", "public"]
OLD_DOWN = ["1.3.6.1.4.1.8072.3.2.10", "10.0.0.5", "2", "0", "12345", *DOWN[1:]]
OLD_UP = ["1.3.6.1.4.1.8072.3.2.10", "10.0.0.5", "3", "0", "12345", *UP[1:]]
ENGINE = ["-e", "0x8000000001020304"]
SENDERS = {
    "version 1": (V1, OLD_DOWN, OLD_UP, "10.0.0.5"),
    "version 2c": (V2C, ["", *DOWN], ["", *UP], "127.0.0.1"),
    "version 2c, inform": (["-Ci", *V2C], ["", *DOWN], ["", *UP], "127.0.0.1"),
    "version 3": (["-v3", *ENGINE, *V3], ["", *DOWN], ["", *UP], "127.0.0.1"),
    "version 3, inform": (["-Ci", "-v3", *V3], ["", *DOWN], ["", *UP], "127.0.0.1"),
}


@pytest.mark.parametrize(("how", "down", "up", "agent"), SENDERS.values(), ids=SENDERS)
def test_a_link_that_fails_and_comes_back_is_one_alert(
    require: Callable[..., None], how: list[str], down: list[str], up: list[str], agent: str
):
    require("snmptrap")

    async def work(address: str, outlet: Taken) -> None:
        assert await sent(*how, address, *down) == 0
        assert await sent(*how, address, *up) == 0
        await until(lambda: len(told(outlet)) == 2)

    outlet = listening(config(communities_file="c", users=[USER]), work, PASSWORDS)

    identity = {"alertname": "linkDown", "instance": agent, "ifIndex": "3"}
    assert told(outlet) == [(identity, False), (identity, True)]
    assert not outlet.problems
    explained = read_annotations(events(outlet)[0].annotations)
    assert explained["ifOperStatus.3"] == "down(2)"
    assert "public" not in str(explained), "a community is a secret"


def test_snmptrapd_may_receive_instead_and_means_the_same(require: Callable[..., None], tmp_path: Path):
    require("snmptrap", "snmptrapd")
    settings = tmp_path / "snmptrapd.conf"
    settings.write_text("authCommunity log public\n")
    text = 'disk "b"\n\t;\nUDP: [192.0.2.1]:1->[192.0.2.2]:2\twith more than sixteen octets'

    async def work(address: str, outlet: Taken) -> None:
        await until_heard(address)
        assert await sent(*V1, address, *OLD_DOWN) == 0
        assert await sent(*V2C, address, "", *UP) == 0
        assert await sent(*V1, address, "1.3.6.1.4.1.53864.1", "", "6", "17", "", ACME_STATE, "s", text) == 0
        await until(lambda: len(told(outlet)) >= 4)

    async def until_heard(address: str) -> None:
        """It answers no question; an inform it does."""
        async with asyncio.timeout(20):
            while await sent("-Ci", "-r", "0", "-t", "1", *V2C, address, "", "1.3.6.1.6.3.1.1.5.1"):
                pass

    outlet = listening(config(snmptrapd_config=str(settings)), work)

    assert told(outlet)[-3:-1] == [
        ({"alertname": "linkDown", "instance": "10.0.0.5", "ifIndex": "3"}, False),
        ({"alertname": "linkDown", "instance": "127.0.0.1", "ifIndex": "3"}, True),
    ]
    last = events(outlet)[-1]
    assert read_labels(last.labels)["alertname"] == "1.3.6.1.4.1.53864.1.0.17"
    assert read_annotations(last.annotations)[ACME_STATE] == text


def test_what_the_kernel_drops_is_counted_by_port(tmp_path: Path):
    table = tmp_path / "udp"
    rest = "00000000:0000 07 00000000:00000000 00:00000000 00000000 0 0 5389002 2 000000008d0f7431"
    table.write_text(f"sl local rem\n 14: 0100007F:6E02 {rest} 9922\n 15: 0100007F:6E03 {rest} 7\n")

    assert snmptrapd.dropped({28162}, [table, tmp_path / "missing"]) == 9922


def test_an_inform_is_answered_only_when_it_is_on_disk(require: Callable[..., None]):
    require("snmptrap")
    answered = []

    async def work(address: str, outlet: Taken) -> None:
        outlet.refuse = Unavailable("the disk is full")
        answered.append(await sent("-Ci", "-r", "0", "-t", "1", *V2C, address, "", *DOWN))
        assert outlet.payloads == []
        assert set(outlet.problems) == {"the disk is full"}
        outlet.refuse = None
        answered.append(await sent("-Ci", "-r", "3", "-t", "1", *V2C, address, "", *DOWN))

    outlet = listening(config(), work)

    assert answered == [1, 0]
    assert outlet.problems[-1] == ""


REFUSED = {
    "another community": (["-v2c", "-c", "guessed"], "community"),
    "an unknown user": (["-v3", *ENGINE, "-u", "root", "-l", "noAuthNoPriv"], "user"),
    "a user without a signature": (["-v3", *ENGINE, "-u", "lab", "-l", "noAuthNoPriv"], "not signed"),
    "a wrong password": (["-v3", *ENGINE, *V3[:5], "wrongpass123", *V3[6:]], "signature is wrong"),
    "a wrong key": (["-v3", *ENGINE, *V3[:9], "wrongpass123", *V3[10:]], "cannot be decrypted"),
}


@pytest.mark.parametrize(("how", "why"), REFUSED.values(), ids=REFUSED)
def test_what_cannot_prove_itself_is_not_let_in_but_counted_and_said(
    require: Callable[..., None], how: list[str], why: str
):
    require("snmptrap")

    async def work(address: str, outlet: Taken) -> None:
        await sent(*how, address, "", *DOWN)
        await until(lambda: outlet.counts[Outcome.REJECTED])

    outlet = listening(config(communities_file="c", users=[USER]), work, PASSWORDS)

    assert outlet.payloads == []
    assert why in outlet.problems[-1]


def test_names_come_from_the_mibs_of_a_folder(require: Callable[..., None], tmp_path: Path):
    require("snmptrap")
    (tmp_path / "ACME-MIB.txt").write_text(MIB)
    rule = {"trap": ["ACME-MIB::acmeFailed"], "clear": ["acmeRestored"], "severity": "critical"}

    async def work(address: str, outlet: Taken) -> None:
        await sent(*V2C, address, "", ACME_FAILED, ACME_STATE, "i", "2", ACME_TEMPERATURE, "i", "234")
        await sent(*V2C, address, "", ACME_RESTORED, ACME_STATE, "i", "1")
        await until(lambda: len(told(outlet)) == 2)

    outlet = listening(config(mibs=str(tmp_path), rules=[rule]), work)

    identity = {"alertname": "acmeFailed", "instance": "127.0.0.1", "row": "7"}
    assert told(outlet) == [(identity, False), (identity, True)]
    explained = read_annotations(events(outlet)[0].annotations)
    assert explained["acmeState.7"] == "onBattery(2)"
    assert explained["acmeTemperature.7"] == "23.4"


# ---- octets of strangers --------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def engine() -> Iterator[TrapEngine]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        yield TrapEngine(["public"], [User("lab", "SHA-256", "authpass123", "AES", "privpass123")], bound)


COLD_START = bytes.fromhex(
    "302902010104067075626c6963a71c020101020100020100301130 0f060a2b060106030101040100 0601 00".replace(" ", "")
)


@settings(max_examples=200, deadline=None)
@given(octets=st.binary(max_size=200))
def test_any_octets_are_refused_and_nothing_worse(engine: TrapEngine, octets: bytes):
    assert isinstance(engine.read(octets, ("127.0.0.1", 9)), Refused | Heard)


@settings(max_examples=200, deadline=None)
@given(data=st.data())
def test_a_message_with_some_octets_changed_is_refused_or_read(engine: TrapEngine, data: Any):
    octets = bytearray(COLD_START)
    for _ in range(data.draw(st.integers(1, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))

    result = engine.read(bytes(octets), ("127.0.0.1", 9))

    if isinstance(result, Heard):
        read_trap(result.varbinds, Names(), sender="192.0.2.1", version=result.version)


@settings(max_examples=200, deadline=None)
@given(text=st.text(max_size=200))
def test_what_snmptrapd_prints_is_read_or_refused(text: str):
    with suppress(ValueError):
        snmptrapd.Printed(text)


def test_a_repeated_old_message_of_version_3_is_refused(engine: TrapEngine):
    assert engine._fresh(b"\x80\0\0\0\1\2", "lab", 7, 1000)
    assert engine._fresh(b"\x80\0\0\0\1\2", "lab", 7, 900), "networks reorder"
    assert not engine._fresh(b"\x80\0\0\0\1\2", "lab", 7, 800)
    assert not engine._fresh(b"\x80\0\0\0\1\2", "lab", 6, 5000)
    assert engine._fresh(b"\x80\0\0\0\1\2", "lab", 8, 1), "the sender was started again"


# ---- meaning --------------------------------------------------------------------------------------------------------


def trap(name: str, *varbinds: tuple[str, int | bytes | str]) -> Trap:
    head = [("1.3.6.1.6.3.1.1.4.1.0", Names().oid(name))]
    read = read_trap([*head, *varbinds], Names(), sender="192.0.2.7", version="2c")
    assert read is not None
    return read


def meant(rules: Sequence[dict[str, Any]], *traps: Trap) -> list[tuple[str, dict[str, str], bool]]:
    meanings = Meanings([strictly(rule, TrapRule) for rule in rules], Names())
    return [(one.condition, one.identity, one.over) for each in traps for one in meanings.of(each)]


def test_every_rule_that_is_shipped_knows_its_names():
    assert Meanings((), Names()).unknown == ()
    assert all(rule.trap for rule in SHIPPED)


def test_where_the_index_is_left_out_the_row_says_it():
    assert meant([], trap("linkUp", (IF_OPER_STATUS, 1))) == [("linkDown", {"ifIndex": "3"}, True)]


def test_one_trap_may_end_an_alert_and_open_another():
    assert meant([], trap("coldStart")) == [("agentShutdown", {}, True), ("agentRestarted", {}, False)]


def test_a_value_may_say_that_it_is_over():
    state, router = "1.3.6.1.2.1.14.10.1.6.10.0.0.2.0", "1.3.6.1.2.1.14.10.1.3.10.0.0.2.0"
    found = meant(
        [],
        trap("ospfNbrStateChange", (router, "10.0.0.9"), (state, 1)),
        trap("ospfNbrStateChange", (router, "10.0.0.9"), (state, 8)),
    )

    identity = {"ospfNbrRtrId": "10.0.0.9"}
    assert found == [("ospfNbrStateChange", identity, False), ("ospfNbrStateChange", identity, True)]


def test_a_rule_of_the_settings_goes_before_those_built_in():
    rule = {"trap": ["linkDown"], "clear": ["linkUp"], "by": [], "alertname": "Uplink"}

    assert meant([rule], trap("linkDown", (IF_INDEX, 3)), trap("linkUp", (IF_INDEX, 4))) == [
        ("Uplink", {}, False),
        ("Uplink", {}, True),
    ]


def test_a_value_may_say_how_bad_it_is():
    severity = "1.3.6.1.4.1.9999.1.1"
    rule = TrapRule(trap=("1.3.6.1.4.1.9999.0.1",), severity_from=severity)

    (found,) = Meanings([rule], Names()).of(trap("1.3.6.1.4.1.9999.0.1", (f"{severity}.0", b"critical")))

    assert found.severity == "critical"


def test_a_trap_that_nothing_ends_is_over_when_it_does_not_come_again():
    unknown = trap("1.3.6.1.4.1.9999.0.1")
    (meaning,) = Meanings((), Names()).of(unknown)

    event = translate(snmp_trap.Item(trap=unknown, meaning=meaning), NOON)

    assert isinstance(event, Event)
    assert event.ends_at == NOON + timedelta(hours=1)
    assert read_labels(event.labels) == {"alertname": "1.3.6.1.4.1.9999.0.1", "instance": "192.0.2.7"}


def test_a_trap_that_a_rule_ignores_is_no_event():
    *_, meaning = Meanings((), Names()).of(trap("nsNotifyRestart"))

    assert not isinstance(translate(snmp_trap.Item(trap=trap("nsNotifyRestart"), meaning=meaning), NOON), Event)


def test_unknown_objects_of_one_row_tell_alerts_apart():
    first = trap("1.3.6.1.4.1.9999.0.1", ("1.3.6.1.4.1.9999.1.1.7", 1), ("1.3.6.1.4.1.9999.1.2.7", 2))
    other = trap("1.3.6.1.4.1.9999.0.1", ("1.3.6.1.4.1.9999.1.1.7", 1), ("1.3.6.1.4.1.9999.1.2.8", 2))

    assert [identity for _, identity, _ in meant([], first, other)] == [{"row": "7"}, {}]


def test_variables_beyond_the_bound_are_counted():
    many = trap("coldStart", *((f"1.3.6.1.4.1.9999.{number}.0", number) for number in range(60)))

    assert (len(many.varbinds), many.left_out) == (50, 10)


# ---- looks ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("hint", "octets", "shown"),
    [
        ("1x:", b"\x00\x1b\xff", "00:1b:ff"),
        ("255a", b"Gi0/3\0", "Gi0/3"),
        ("2d-1d-1d,1d:1d:1d.1d,1a1d:1d", bytes.fromhex("07ea0b160b1e0f002b0000"), "2026-11-22,11:30:15.0,+0:0"),
        ("*1x:/", b"\x02ab\x01c", "61:62/63"),
        ("", b"text", "text"),
        ("", b"\x00\x01", "00:01"),
        ("255a", b"\xff\xfe", "ff:fe"),
        ("nonsense", b"ab", "ab"),
    ],
)
def test_octets_are_written_as_their_hint_says(hint: str, octets: bytes, shown: str):
    assert shown_octets(octets, Node("1.2", "x", "M", {}, hint)) == shown


@settings(max_examples=200)
@given(octets=st.binary(max_size=40), hint=st.text(alphabet="*1290xdoat:-/,", max_size=12))
def test_any_hint_and_any_octets_are_written_somehow(octets: bytes, hint: str):
    assert len(shown_octets(octets, Node("1.2", "x", "M", {}, hint))) < 100_000


@pytest.mark.parametrize(
    ("hint", "number", "shown"), [("d-1", 234, "23.4"), ("d-2", -5, "-0.05"), ("x", 255, "ff"), ("", 7, "7")]
)
def test_numbers_are_written_as_their_hint_says(hint: str, number: int, shown: str):
    assert shown_number(number, Node("1.2", "x", "M", {}, hint)) == shown


def test_a_missing_import_is_named_and_the_other_mibs_are_used(tmp_path: Path):
    (tmp_path / "ACME-MIB.txt").write_text(MIB)
    (tmp_path / "OTHER-MIB.txt").write_text(MIB.replace("ACME-MIB", "OTHER-MIB").replace("IF-MIB", "NOWHERE-MIB"))
    (tmp_path / "broken.mib").write_bytes(b"\xff\x00 no MIB")

    compiled = load(tmp_path)

    assert Names(compiled.nodes).name(ACME_FAILED) == "acmeFailed"
    assert any("NOWHERE-MIB is missing, which OTHER-MIB needs" in problem for problem in compiled.problems)


def test_compiled_mibs_are_kept_until_a_file_changes(tmp_path: Path):
    folder, kept = tmp_path / "mibs", tmp_path / "state" / "mibs.json"
    folder.mkdir()
    (folder / "ACME-MIB.txt").write_text(MIB)
    compiled = load(folder, kept)

    assert load(folder, kept) == compiled
    kept.write_bytes(kept.read_bytes().replace(b"acmeFailed", b"acmeKept__"))
    assert Names(load(folder, kept).nodes).name(ACME_FAILED) == "acmeKept__"
    (folder / "ACME-MIB.txt").write_text(MIB + "\n")
    assert load(folder, kept).nodes == compiled.nodes


# ---- settings -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"communities_file": None}, "no trap would be let in"),
        ({"listen": ["localhost"]}, "no address"),
        ({"allow_from": ["192.0.2.0/33"]}, "192.0.2.0/33"),
        ({"users": [{"name": "lab"}]}, "auth_file"),
        ({"users": [USER, USER]}, "two users"),
        ({"users": [USER], "snmptrapd_config": "x"}, "snmptrapd_config"),
        ({"rules": [{"trap": ["linkDown"], "clear": ["linkDown"]}]}, "opens and ends"),
    ],
)
def test_settings_that_cannot_work_are_refused(given: dict[str, Any], why: str):
    with pytest.raises(ValueError, match=why):
        config(**given)


def test_a_short_password_is_refused_and_so_is_an_open_file(tmp_path: Path):
    short = tmp_path / "short"
    short.write_text("short")
    short.chmod(0o600)
    user = {"name": "lab", "auth_file": str(short), "priv": ""}

    with pytest.raises(ConfigError, match="8"):
        snmp_trap._build("traps", config(users=[user]))
    short.chmod(0o644)
    with pytest.raises(ConfigError, match="0644"):
        snmp_trap._build("traps", config(users=[user]))


def test_records_hold_all_that_is_needed_to_read_them_again():
    variable = Varbind(IF_INDEX, "3", "ifIndex.3", "", "3")
    given = Trap(sender="192.0.2.7", version="2c", oid=LINK_DOWN, varbinds=(variable,))
    (meaning,) = Meanings((), Names()).of(given)

    (item,) = decode(msgspec.json.encode([{"trap": given, "meaning": meaning}]))

    assert item == snmp_trap.Item(trap=given, meaning=meaning)
