"""net-snmp's ``snmptrapd`` as the receiver, for more traps than pysnmp decodes: it prints, and this reads.

Facts: snmptrapd(8) of net-snmp 5.9.3, tried. ``-Ox`` prints octets as hexadecimal digits, sixteen to a line, so that
nothing a sender puts into a trap can look like the end of one. It answers informs by itself, before anything is kept.
"""

import re
from collections.abc import Container, Sequence
from pathlib import Path

from foreshock.connect.snmp.meaning import Value

END = b"\t;\n"
"""Of one trap."""
MAX_TRAP_BYTES = 2**20
RECEIVE_BUFFER_BYTES = 8 * 2**20
"""Asked for; the kernel gives up to net.core.rmem_max."""
_SEPARATOR = " \x1e "
FORMAT = f"%b\\t%a\\t%P\\t%w\\t%q\\t%N\\t%T\\t%V{_SEPARATOR}%v\\t;\\n"


def command(program: str, config: str, addresses: Sequence[str]) -> list[str]:
    """Of a snmptrapd that prints to its standard output. addresses: each ``udp:HOST:PORT`` or the like."""
    # No MIBs: what is printed does not depend on what is installed here.
    buffer = f"--serverRecvBuf={RECEIVE_BUFFER_BYTES}"
    logs = ["-LE", "0-5", "-LO", "6-7"]  # traps are of level 6
    looks = ["-m", "", "-M", "", "-On", "-Oe", "-Ot", "-Ox", "-OU"]
    return [program, "-f", "-C", "-c", config, buffer, *looks, *logs, "-F", FORMAT, *addresses]


_SOURCE = re.compile(r"^(?:UDP|UDP/IPv6|TCP|TCP/IPv6): \[(.+?)\](?::\d+)?->", re.MULTILINE)
_GENERIC = "1.3.6.1.6.3.1.1.5"
_ENTERPRISE_SPECIFIC = "6"
_VALUE = re.compile(r"(?:([A-Za-z][\w -]*): )?(.*)", re.DOTALL)


class Printed:
    """One trap as it was printed. Raises ValueError where it is none.

    Attributes:
        varbinds: as those of version 2 (RFC 3584, 3.1, for one of version 1).
    """

    def __init__(self, text: str) -> None:
        found = _SOURCE.search(text)  # what stands before it is a line of the log
        if found is None:
            raise ValueError(f"no address in {text[:100]!r}")
        _, agent, security, generic, specific, enterprise, uptime, variables = text[found.start() :].split("\t", 7)
        self.sender = found[1]
        self.version = "1" if "SNMP v1" in security else "3" if "SNMP v3" in security else "2c"
        self.user = security.partition("user ")[2].partition(",")[0] if self.version == "3" else ""
        read = [_variable(each) for each in variables.split(_SEPARATOR) if each.strip()]
        self.varbinds: Sequence[tuple[str, Value]] = read
        if self.version == "1":
            enterprise = enterprise.lstrip(".")
            number = int(specific.lstrip("."))
            trap = f"{_GENERIC}.{int(generic) + 1}" if generic != _ENTERPRISE_SPECIFIC else f"{enterprise}.0.{number}"
            self.varbinds = [
                ("1.3.6.1.2.1.1.3.0", int(uptime)),
                ("1.3.6.1.6.3.1.1.4.1.0", trap),
                *read,
                ("1.3.6.1.6.3.18.1.3.0", agent),
                ("1.3.6.1.6.3.1.1.4.3.0", enterprise),
            ]


def _variable(text: str) -> tuple[str, Value]:
    oid, equals, printed = text.strip().partition(" = ")
    if not equals and not oid.endswith(" ="):
        raise ValueError(f"no value in {text[:100]!r}")
    found = _VALUE.fullmatch(printed)
    kind, value = (found[1] or "", found[2]) if found else ("", printed)
    return oid.removesuffix(" =").lstrip("."), _value(kind, value.strip())


def _value(kind: str, value: str) -> Value:
    if kind in ("Hex-STRING", "BITS", "OPAQUE"):
        return bytes.fromhex(value)
    if kind in ("OID", "IpAddress", "Network Address"):
        return value.lstrip(".")
    if value == '""':
        return b""
    try:
        return int(value)
    except ValueError:
        return value.encode()


def dropped(ports: Container[int], tables: Sequence[Path] = (Path("/proc/net/udp"), Path("/proc/net/udp6"))) -> int:
    """How many datagrams the kernel dropped at these local ports, since their sockets were opened."""
    drops = 0
    for table in tables:
        try:
            _, *rows = table.read_text(encoding="ascii").splitlines()
        except OSError:
            continue
        for row in rows:
            columns = row.split()
            if int(columns[1].rpartition(":")[2], 16) in ports:
                drops += int(columns[-1])
    return drops
