"""How many SNMP traps a second are taken in: by pysnmp (versions 2c and 3) and handed over by snmptrapd.

    python benchmarks/collectors_traps.py [--traps 3000] [--seconds 6]

First one core: messages made beforehand are read one after the other, from octets to the record that would be kept;
beside it the floor, what pyasn1 alone takes to decode the same octets. Then a whole ``foreshock run``, sent version 2c
over UDP at rates; what is on disk is counted, and what the kernel dropped. Its peer is snmptrapd alone, which writes a
file without syncing it.
"""

import argparse
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from foreshock.connect.snmp.engine import Heard, TrapEngine, User
from foreshock.connect.snmp.meaning import Meanings, Value, read_trap
from foreshock.connect.snmp.names import Names
from foreshock.connect.snmp.snmptrapd import END, Printed, command, dropped
from foreshock.testing.servers import ForeshockServer, free_port

VARIABLES = [
    ("1.3.6.1.2.1.1.3.0", "TimeTicks", 583682),
    ("1.3.6.1.6.3.1.1.4.1.0", "ObjectIdentifier", "1.3.6.1.6.3.1.1.5.3"),
    ("1.3.6.1.2.1.2.2.1.1.3", "Integer", 3),
    ("1.3.6.1.2.1.2.2.1.7.3", "Integer", 1),
    ("1.3.6.1.2.1.2.2.1.8.3", "Integer", 2),
    ("1.3.6.1.2.1.2.2.1.2.3", "OctetString", b"GigabitEthernet0/3"),
]
PRINTED = (
    "UDP: [192.0.2.7]:37209->[192.0.2.1]:1162\t0.0.0.0\tTRAP2, SNMP v2c, community public\t0\t0\t.\t0\t"
    ".1.3.6.1.2.1.1.3.0 = 583682 \x1e .1.3.6.1.6.3.1.1.4.1.0 = OID: .1.3.6.1.6.3.1.1.5.3 \x1e "
    ".1.3.6.1.2.1.2.2.1.1.3 = INTEGER: 3 \x1e .1.3.6.1.2.1.2.2.1.7.3 = INTEGER: 1 \x1e "
    ".1.3.6.1.2.1.2.2.1.8.3 = INTEGER: 2 \x1e "
    ".1.3.6.1.2.1.2.2.1.2.3 = Hex-STRING: 47 69 67 61 62 69 74 45 74 68 65 72 6E 65 74 30 \n2F 33 "
)


def message_2c() -> bytes:
    from pyasn1.codec.ber import encoder
    from pysnmp.proto.api import v2c

    pdu = v2c.TrapPDU()
    v2c.apiTrapPDU.set_defaults(pdu)
    variables = [(oid, getattr(v2c, kind)(value)) for oid, kind, value in VARIABLES]
    v2c.apiTrapPDU.set_varbinds(pdu, [(tuple(map(int, oid.split("."))), value) for oid, value in variables])
    message = v2c.Message()
    v2c.apiMessage.set_defaults(message)
    v2c.apiMessage.set_community(message, "public")
    v2c.apiMessage.set_pdu(message, pdu)
    return encoder.encode(message)


def message_3() -> bytes:
    """Signed and encrypted, from net-snmp; empty where that is not installed."""
    if shutil.which("snmptrap") is None:
        return b""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as heard:
        heard.bind(("127.0.0.1", 0))
        kinds = {"Integer": "i", "OctetString": "s"}
        rest = [
            part
            for oid, kind, value in VARIABLES[2:]
            for part in (oid, kinds[kind], value.decode() if isinstance(value, bytes) else str(value))
        ]
        user = "-v3 -e 0x8000000001020304 -u lab -a SHA-256 -A authpass123 -x AES -X privpass123 -l authPriv"
        address = f"127.0.0.1:{heard.getsockname()[1]}"
        subprocess.run(["snmptrap", *user.split(), address, "", str(VARIABLES[1][2]), *rest], check=True)
        return heard.recv(65535)


def flood(octets: bytes, port: int, rate: int, seconds: float) -> int:
    """How many were sent."""
    sent, begun = 0, time.monotonic()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        while sent < rate * seconds:
            due = min(int((time.monotonic() - begun) * rate), int(rate * seconds))
            while sent < due:
                sender.sendto(octets, ("127.0.0.1", port))
                sent += 1
            time.sleep(0.002)
    return sent


def whole(octets: bytes, rates: Sequence[int], seconds: float, *, by_snmptrapd: bool) -> None:
    """A whole Foreshock at each rate."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        secret = Path(folder) / "secret"
        secret.write_text("authCommunity log public\n" if by_snmptrapd else "public\n")
        secret.chmod(0o600)
        how = {"snmptrapd_config" if by_snmptrapd else "communities_file": str(secret)}
        collector = {"name": "traps", "kind": "snmp_trap", "listen": [f"127.0.0.1:{port}"], **how}
        with ForeshockServer(config={"collectors": [collector]}) as server:
            time.sleep(5)  # its listener, and snmptrapd
            for rate in rates:
                before = counts(server.url)
                sent = flood(octets, port, rate, seconds)
                after, last = counts(server.url), Counter({"": -1})
                while after != last:
                    time.sleep(3)
                    after, last = counts(server.url), after
                grown = after - before
                by = "snmptrapd" if by_snmptrapd else "pysnmp"
                what = f"{sent:,} sent, {grown['received']:,} kept, {grown['lost']:,} lost"
                print(f"foreshock run, {by}, {rate:6,}/s: {what}")


def counts(url: str) -> Counter[str]:
    with urllib.request.urlopen(f"{url}/api/v1/sources", timeout=10) as answer:
        found = next(each for each in msgspec.json.decode(answer.read()) if each["name"] == "traps")
    return Counter(found["listening"]["counts"])


def peer(octets: bytes, rates: Sequence[int], seconds: float) -> None:
    """snmptrapd alone."""
    for rate in rates:
        port = free_port()
        with tempfile.TemporaryDirectory() as folder:
            settings, written = Path(folder) / "snmptrapd.conf", Path(folder) / "traps"
            settings.write_text("authCommunity log public\n")
            arguments = command("/usr/sbin/snmptrapd", str(settings), [f"udp:127.0.0.1:{port}"])
            with written.open("wb") as output:
                process = subprocess.Popen(arguments, stdout=output)
                time.sleep(2)
                sent = flood(octets, port, rate, seconds)
                time.sleep(2)
                lost = dropped({port})
                process.terminate()
                process.wait()
            kept = written.read_bytes().count(END)
        print(f"snmptrapd alone, {rate:6,}/s: {sent:,} sent, {kept:,} written, {lost:,} lost")


def rate(count: int, work: Callable[[int], object]) -> float:
    for number in range(min(count, 200)):
        work(number)
    start = time.process_time()
    for number in range(count):
        work(number)
    return count / (time.process_time() - start)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--traps", type=int, default=3000)
    parser.add_argument("--seconds", type=float, default=6.0, help="at each rate")
    options = parser.parse_args()
    count = options.traps
    names = Names()
    meanings = Meanings((), names)

    def kept(varbinds: list[tuple[str, Value]], version: str) -> None:
        trap = read_trap(varbinds, names, sender="192.0.2.7", version=version)
        assert trap is not None
        msgspec.json.encode([{"trap": trap, "meaning": meaning} for meaning in meanings.of(trap)])

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as bound:
        users = [User("lab", "SHA-256", "authpass123", "AES", "privpass123")]
        engine = TrapEngine(["public"], users, bound)
        plain, signed = message_2c(), message_3()

        def by_pysnmp(octets: bytes) -> None:
            heard = engine.read(octets, ("192.0.2.7", 162))
            assert isinstance(heard, Heard), heard
            kept(list(heard.varbinds), heard.version)

        def printed(_: int) -> None:
            read = Printed(PRINTED)
            kept(list(read.varbinds), read.version)

        from pyasn1.codec.ber import decoder
        from pysnmp.proto.api import v2c

        rows = {
            "version 2c, pysnmp": rate(count, lambda _: by_pysnmp(plain)),
            "  of it the floor: pyasn1 alone": rate(count, lambda _: decoder.decode(plain, asn1Spec=v2c.Message())),
            "version 3, SHA-256 and AES, pysnmp": rate(count, lambda _: by_pysnmp(signed)) if signed else 0.0,
            "handed over by snmptrapd": rate(count * 5, printed),
        }
    for what, found in rows.items():
        print(f"{what:40} {found:10,.0f} traps/s")
    whole(plain, (500, 1000), options.seconds, by_snmptrapd=False)
    if shutil.which("snmptrapd", path="/usr/sbin"):
        whole(plain, (2000, 5000), options.seconds, by_snmptrapd=True)
        peer(plain, (2000, 5000), options.seconds)


if __name__ == "__main__":
    main()
