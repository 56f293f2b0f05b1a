"""MIB files of vendors, compiled by pysmi to what ``names`` needs. Nothing is ever fetched from a network.

Facts: pysmi 2.0. What nearly every MIB imports (SNMPv2-SMI, SNMPv2-TC, IF-MIB, …) is made up here from ``names`` and
the textual conventions below, where the folder has no file for it; other imports must lie in the folder.
"""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct

from foreshock.connect.snmp.names import Node, standard

MAX_FILES = 2000
MAX_FILE_BYTES = 10 * 2**20
_SUFFIXES = ("", ".txt", ".mib", ".my", ".smi")

_ROOTS = {
    "org": "1 3", "dod": "1 3 6", "internet": "1 3 6 1", "directory": "1 3 6 1 1", "mgmt": "1 3 6 1 2",
    "mib-2": "1 3 6 1 2 1", "transmission": "1 3 6 1 2 1 10", "experimental": "1 3 6 1 3", "private": "1 3 6 1 4",
    "enterprises": "1 3 6 1 4 1", "security": "1 3 6 1 5", "snmpV2": "1 3 6 1 6", "snmpDomains": "1 3 6 1 6 1",
    "snmpProxys": "1 3 6 1 6 2", "snmpModules": "1 3 6 1 6 3", "zeroDotZero": "0 0",
}  # fmt: skip
_GROUPS = {
    "SNMPv2-MIB": {"system": "1 3 6 1 2 1 1", "snmpMIB": "1 3 6 1 6 3 1", "snmpTraps": "1 3 6 1 6 3 1 1 5"},
    "RFC1213-MIB": {"system": "1 3 6 1 2 1 1", "interfaces": "1 3 6 1 2 1 2", "ip": "1 3 6 1 2 1 4"},
    "IF-MIB": {
        "ifMIB": "1 3 6 1 2 1 31", "interfaces": "1 3 6 1 2 1 2", "ifTable": "1 3 6 1 2 1 2 2",
        "ifEntry": "1 3 6 1 2 1 2 2 1", "ifXEntry": "1 3 6 1 2 1 31 1 1 1",
    },
    "ENTITY-MIB": {"entityMIB": "1 3 6 1 2 1 47", "entPhysicalEntry": "1 3 6 1 2 1 47 1 1 1 1"},
    "INET-ADDRESS-MIB": {}, "HCNUM-TC": {}, "SNMP-FRAMEWORK-MIB": {}, "SNMPv2-TC": {}, "SNMPv2-CONF": {},
    "IANAifType-MIB": {},
}  # fmt: skip
_OCTETS, _NUMBER, _OID = "OCTET STRING", "INTEGER (-2147483648..2147483647)", "OBJECT IDENTIFIER"
_CONVENTIONS: dict[str, dict[str, tuple[str, str]]] = {
    "SNMPv2-TC": {
        "DisplayString": ("255a", _OCTETS),
        "PhysAddress": ("1x:", _OCTETS),
        "MacAddress": ("1x:", _OCTETS),
        "TruthValue": ("", "INTEGER { true(1), false(2) }"),
        "TestAndIncr": ("", _NUMBER),
        "AutonomousType": ("", _OID),
        "InstancePointer": ("", _OID),
        "VariablePointer": ("", _OID),
        "RowPointer": ("", _OID),
        "RowStatus": (
            "",
            "INTEGER { active(1), notInService(2), notReady(3), createAndGo(4), createAndWait(5), destroy(6) }",
        ),
        "TimeStamp": ("", _NUMBER),
        "TimeInterval": ("", _NUMBER),
        "DateAndTime": ("2d-1d-1d,1d:1d:1d.1d,1a1d:1d", _OCTETS),
        "StorageType": ("", "INTEGER { other(1), volatile(2), nonVolatile(3), permanent(4), readOnly(5) }"),
        "TDomain": ("", _OID),
        "TAddress": ("", _OCTETS),
    },
    "IF-MIB": {
        "InterfaceIndex": ("d", _NUMBER),
        "InterfaceIndexOrZero": ("d", _NUMBER),
        "OwnerString": ("255a", _OCTETS),
    },
    "INET-ADDRESS-MIB": {
        "InetAddressType": ("", "INTEGER { unknown(0), ipv4(1), ipv6(2), ipv4z(3), ipv6z(4), dns(16) }"),
        "InetAddress": ("", _OCTETS),
        "InetAddressIPv4": ("1d.1d.1d.1d", _OCTETS),
        "InetAddressIPv6": ("2x:2x:2x:2x:2x:2x:2x:2x", _OCTETS),
        "InetAddressPrefixLength": ("d", _NUMBER),
        "InetPortNumber": ("d", _NUMBER),
        "InetAutonomousSystemNumber": ("d", _NUMBER),
    },
    "HCNUM-TC": {"CounterBasedGauge64": ("", _NUMBER), "ZeroBasedCounter64": ("", _NUMBER)},
    "SNMP-FRAMEWORK-MIB": {
        "SnmpAdminString": ("255t", _OCTETS),
        "SnmpEngineID": ("", _OCTETS),
        "SnmpSecurityModel": ("", _NUMBER),
        "SnmpSecurityLevel": ("", "INTEGER { noAuthNoPriv(1), authNoPriv(2), authPriv(3) }"),
        "SnmpMessageProcessingModel": ("", _NUMBER),
    },
    "ENTITY-MIB": {"PhysicalIndex": ("d", _NUMBER), "PhysicalIndexOrZero": ("d", _NUMBER)},
    "IANAifType-MIB": {"IANAifType": ("", _NUMBER)},
}
"""By module: textual conventions with their display hint and syntax."""


class Compiled(Struct, frozen=True):
    """What came of a folder. problems: files that could not be used, and what they lack."""

    nodes: tuple[Node, ...] = ()
    problems: tuple[str, ...] = ()


class _Kept(Struct):
    key: str
    compiled: Compiled


def load(folder: Path, kept: Path | None = None) -> Compiled:
    """What the MIB files of ``folder`` say. Compiling takes seconds for each hundred of them.

    Args:
        kept: file that the result is kept in, until a file of the folder changes; None: compiled at each start.
    """
    try:
        files = sorted(path for path in folder.iterdir() if path.is_file() and path.suffix.lower() in _SUFFIXES)
    except OSError as error:
        return Compiled(problems=(f"the folder of MIBs cannot be read: {error}",))
    problems = [f"{path.name} is larger than {MAX_FILE_BYTES} bytes" for path in files if _size(path) > MAX_FILE_BYTES]
    if len(files) > MAX_FILES:
        problems.append(f"{folder} has {len(files)} files, {MAX_FILES} are read")
    files = [path for path in files[:MAX_FILES] if _size(path) <= MAX_FILE_BYTES]
    key = _key(files)
    if kept is not None and (known := _read(kept)) is not None and known.key == key:
        return known.compiled
    texts, failed = _compile([path.stem for path in files], folder)
    compiled = Compiled(tuple(_nodes(texts)), (*problems, *failed))
    if kept is not None:
        try:
            kept.parent.mkdir(parents=True, exist_ok=True)
            new = kept.with_suffix(".new")
            new.write_bytes(msgspec.json.encode(_Kept(key, compiled)))
            new.replace(kept)
        except OSError as error:
            return Compiled(compiled.nodes, (*compiled.problems, f"the compiled MIBs cannot be kept: {error}"))
    return compiled


def _size(path: Path) -> int:
    return path.stat().st_size


def _key(files: Iterable[Path]) -> str:
    digest = hashlib.sha256(b"1")
    for path in files:
        stat = path.stat()
        digest.update(f"{path.name} {stat.st_size} {stat.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _read(kept: Path) -> _Kept | None:
    try:
        return msgspec.json.decode(kept.read_bytes(), type=_Kept)
    except (OSError, msgspec.DecodeError):
        return None


def _compile(modules: Sequence[str], folder: Path) -> tuple[Mapping[str, Any], list[str]]:
    """JSON documents of pysmi by module, and problems."""
    from pysmi.codegen import JsonCodeGen
    from pysmi.compiler import MibCompiler
    from pysmi.parser import SmiV1CompatParser
    from pysmi.reader import CallbackReader, FileReader
    from pysmi.searcher import StubSearcher
    from pysmi.writer import CallbackWriter

    documents: dict[str, Any] = {}

    def take(name: str, text: str, _: object) -> None:
        documents[name] = msgspec.json.decode(text)

    made_up = _made_up()
    compiler = MibCompiler(SmiV1CompatParser(), JsonCodeGen(), CallbackWriter(take))
    compiler.add_sources(FileReader(str(folder)))
    compiler.add_sources(CallbackReader(lambda name, _: made_up.get(name, "")))
    compiler.add_searchers(StubSearcher(*JsonCodeGen.baseMibs, *made_up))
    problems: list[str] = []
    for module in modules:
        try:
            done = compiler.compile(module, rebuild=True, genTexts=False, noDeps=False)
        except Exception as error:  # files of strangers: whatever they do to the parser costs that file alone
            problems.append(f"MIB {module}: {type(error).__name__}: {error}"[:500])
            continue
        for name, status in done.items():
            if status == "missing":
                problems.append(f"MIB {name} is missing, which {module} needs; put its file into {folder}")
            elif status == "failed":
                problems.append(f"MIB {name}: {getattr(status, 'error', '')}"[:500])
    return documents, list(dict.fromkeys(problems))


def _made_up() -> dict[str, str]:
    """Texts of modules that nearly every MIB imports: names and types, as far as compiling others needs them."""
    modules: dict[str, list[str]] = {name: [] for name in (*_GROUPS, *_CONVENTIONS)}
    by_module = groupby(sorted(standard(), key=lambda node: node.module), key=lambda node: node.module)
    named = {module: {node.name: node.oid.replace(".", " ") for node in nodes} for module, nodes in by_module}
    for module in {*modules, *named}:
        oids = {**_GROUPS.get(module, {}), **named.get(module, {})}
        modules[module] = [f"{name} OBJECT IDENTIFIER ::= {{ {oid} }}" for name, oid in oids.items()]
        for name, (hint, syntax) in _CONVENTIONS.get(module, {}).items():
            shown = f'DISPLAY-HINT "{hint}" ' if hint else ""
            convention = f'{name} ::= TEXTUAL-CONVENTION {shown}STATUS current DESCRIPTION "" SYNTAX {syntax}'
            modules[module].append(convention)
    modules["SNMPv2-SMI"] = [f"{name} OBJECT IDENTIFIER ::= {{ {oid} }}" for name, oid in _ROOTS.items()]
    return {name: "\n".join([f"{name} DEFINITIONS ::= BEGIN", *lines, "END", ""]) for name, lines in modules.items()}


# ---- documents to nodes ---------------------------------------------------------------------------------------------

_NAMED = frozenset({"objecttype", "notificationtype", "objectidentity"})


def _nodes(documents: Mapping[str, Any]) -> Iterable[Node]:
    known = {
        name: symbol
        for document in documents.values()
        for name, symbol in document.items()
        if symbol.get("class") in ("textualconvention", "type")
    }
    for conventions in _CONVENTIONS.values():
        for name, (hint, syntax) in conventions.items():
            known.setdefault(name, {"displayhint": hint, "type": _syntax(syntax)})
    for module, document in documents.items():
        for name, symbol in document.items():
            if symbol.get("class") in _NAMED and symbol.get("oid"):
                enum, hint = _looks(symbol.get("syntax") or {}, known)
                yield Node(symbol["oid"], name, module, enum, hint)


def _syntax(text: str) -> dict[str, Any]:
    """As pysmi writes it, of a syntax above."""
    if "{" not in text:
        return {"type": text}
    words = (part.strip().rstrip(")").split("(") for part in text[text.index("{") + 1 : text.index("}")].split(","))
    return {"type": "INTEGER", "constraints": {"enumeration": {word: int(number) for word, number in words}}}


def _looks(syntax: Mapping[str, Any], known: Mapping[str, Any]) -> tuple[dict[str, str], str]:
    """Names of its numbers and its display hint, from the type itself or from the first below it that has them."""
    enum: dict[str, str] = {}
    hint = ""
    for _ in range(10):  # a type that is defined by itself must not keep us
        found = (syntax.get("constraints") or {}).get("enumeration") or {}
        enum = enum or {str(number): word for word, number in found.items()}
        convention = known.get(syntax.get("type", ""))
        if convention is None:
            break
        hint = hint or convention.get("displayhint", "")
        syntax = convention.get("type") or {}
        if not isinstance(syntax, Mapping):
            break
    return enum, hint
