"""SNMP traps and informs, of versions 1, 2c and 3.

Facts:    RFC 3416 (notifications), 3584 (version 1 as version 2), 3414 (users of version 3), 2579 (how values look);
          pysnmp 7.1 and pysmi 2.0; traps of net-snmp 5.9 as in tests/samples. UNVERIFIED: that a falling alarm of RMON
          ends a rising one is how most monitoring reads it; RFC 2819 does not say so.
Delivery: a trap is sent once and never again: what the kernel or a full queue drops is lost, and counted (``lost``). An
          inform is answered once it is on disk, and sent again by its sender until then.
Recovery: by pairs of traps: linkDown and linkUp by ifIndex, BGP, OSPF and UPS states, and others are built in; more by
          ``rules``. A trap that nothing ends is over when it did not come again for an hour (``hold``).
Identity: the agent, the trap and the row of the table that its variables are in. The agent is the sender, or what
          snmpTrapAddress (in version 1 the agent address) says.
Limits:   50 variables a trap, 2,000 characters each. pysnmp decodes about a thousand traps a second on a core; for
          more, name a ``snmptrapd_config``: net-snmp then receives them, many times as fast, and answers informs by
          itself, before they are kept. A version 3 message older than its sender's newest by 150 s is refused.
Needs:    the UDP port (162 takes root or CAP_NET_BIND_SERVICE; or forward it to 1162), and files with communities or
          passwords. On the other side: 1. name this host and port as the trap receiver; 2. choose version 3 with
          SHA-256 and AES where the device can; 3. enter the user and passwords of the files here; 4. prefer informs;
          5. send a test trap, and see it in the console under Sources.
"""

import asyncio
import ipaddress
import os
import shutil
import socket
import struct
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated, Any, Self

import msgspec
from msgspec import Raw, Struct
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from foreshock.connect.auth import read_private, read_secret
from foreshock.connect.snmp.engine import MAX_MESSAGE_BYTES, AuthProtocol, PrivProtocol, Refused, TrapEngine, User
from foreshock.connect.snmp.meaning import (
    MAX_VALUE_CHARS,
    MAX_VARBINDS,
    Meaning,
    Meanings,
    Trap,
    TrapRule,
    Value,
    read_trap,
)
from foreshock.connect.snmp.names import Names
from foreshock.connect.snmp.snmptrapd import END, MAX_TRAP_BYTES, Printed, command, dropped
from foreshock.core.contracts import Collector, Ignored, Listen, ListenConfig, Outcome, Outlet
from foreshock.core.errors import ConfigError, ForeshockError, Invalid, Malformed, Problem, Unavailable
from foreshock.core.model import Event, encode_texts

MAX_WAITING = 20_000
"""Messages received and not yet decoded."""
_BATCH = 200
_REFUSED_SHOWN_S = 600.0
_LOOK_S = 30.0
_COUNT_S = 2.0
_READ_AHEAD_BYTES = 8 * 2**20
_BREATH = 20  # messages between two looks at the sockets
_RECEIVE_BUFFER_BYTES = 8 * 2**20
_PAUSES_S = (0.5, 1.0, 2.0, 5.0, 10.0, 30.0)
_HEX = Annotated[str, Field(pattern=r"^(0x)?([0-9a-fA-F]{2}){5,32}$")]


class TrapUser(BaseModel):
    """A user of version 3."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1, max_length=32, description="as the senders have it")
    auth: AuthProtocol = Field(default="SHA-256", description="how messages are signed; empty: not at all")
    auth_file: Path | None = Field(default=None, description="file with the password for it, mode 0600")
    priv: PrivProtocol = Field(default="AES", description="how messages are encrypted; empty: not at all")
    priv_file: Path | None = Field(default=None, description="file with the password for it, mode 0600")
    engines: tuple[_HEX, ...] = Field(
        default=(),
        max_length=10_000,
        description="ids of the engines that may use it, for example 0x80001f8880a1b2c3d4; empty: any",
    )

    @model_validator(mode="after")
    def _has_its_passwords(self) -> Self:
        for name, file in (("auth", self.auth_file), ("priv", self.priv_file)):
            if bool(getattr(self, name)) != (file is not None):
                raise Invalid(
                    f"{name} is {getattr(self, name)!r} and {name}_file is {'set' if file else 'not set'}",
                    hint=f"set {name}_file, or write {name}: ''",
                    path=(name,),
                )
        if self.priv and not self.auth:
            raise Invalid("what is encrypted must be signed", hint="set auth and auth_file", path=("auth",))
        return self


class SnmpTrapConfig(ListenConfig):
    listen: tuple[str, ...] = Field(
        default=("0.0.0.0:1162",),
        min_length=1,
        max_length=16,
        description="UDP addresses to listen on, for example [::]:162",
    )
    communities_file: Path | None = Field(
        default=None,
        examples=["communities"],
        description="file with the communities that are let in, one a line, mode 0600; versions 1 and 2c",
    )
    users: tuple[TrapUser, ...] = Field(default=(), max_length=1000, description="users of version 3 that are let in")
    engine_id: str = Field(
        default="",
        pattern=r"^((0x)?([0-9a-fA-F]{2}){5,32})?$",
        description="of Foreshock, for informs of version 3; without: made from the name of this host",
    )
    allow_from: tuple[str, ...] = Field(
        default=(), description="networks that traps may come from, for example 192.0.2.0/24; empty: any"
    )
    trust_agent_address: bool = Field(
        default=True,
        description="take the address that the trap names for the agent's; false: always that of the sender",
    )
    mibs: Path | None = Field(
        default=None, examples=["mibs"], description="folder with MIB files of your devices, and what they import"
    )
    mibs_compiled: Path | None = Field(
        default=None,
        examples=["var/mibs.json"],
        description="file to keep them compiled in; without: compiled at each start",
    )
    rules: tuple[TrapRule, ...] = Field(
        default=(),
        max_length=10_000,
        description="what traps mean; they come before those built in",
        examples=[[{"trap": ["ACME-MIB::acmePowerFailed"], "clear": ["acmePowerRestored"], "severity": "critical"}]],
    )
    snmptrapd_config: Path | None = Field(
        default=None,
        examples=["snmptrapd.conf"],
        description="a snmptrapd.conf with authCommunity or authUser lines: net-snmp's snmptrapd receives instead of "
        "Foreshock itself, for thousands of traps a second; communities and users are then those of that file",
    )

    @field_validator("listen")
    @classmethod
    def _are_addresses(cls, listen: tuple[str, ...]) -> tuple[str, ...]:
        for index, each in enumerate(listen):
            try:
                _address(each)
            except ValueError:
                hint = "write an IP address and a port, for example 0.0.0.0:162 or [::]:162"
                raise Invalid(f"{each!r} is no address to listen on", hint=hint, path=(index,)) from None
        return listen

    @field_validator("allow_from")
    @classmethod
    def _are_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for index, each in enumerate(networks):
            try:
                ipaddress.ip_network(each)
            except ValueError as error:
                raise Invalid(str(error), hint="write it like 192.0.2.0/24", path=(index,)) from None
        return networks

    @model_validator(mode="after")
    def _lets_something_in(self) -> Self:
        ours = self.communities_file is not None or bool(self.users)
        if ours == (self.snmptrapd_config is not None):
            raise Invalid(
                "there are communities or users and a snmptrapd_config" if ours else "no trap would be let in",
                hint="set communities_file or users, or else snmptrapd_config",
            )
        names = [user.name for user in self.users]
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise Invalid(f"two users are called {twice[0]!r}", hint="keep one of them", path=("users",))
        return self


def _address(text: str) -> tuple[str, int]:
    """Raises ValueError."""
    host, _, port = text.rpartition(":")
    ipaddress.ip_address(host.strip("[]"))
    if not 0 <= int(port) <= 65535:
        raise ValueError(port)
    return host.strip("[]"), int(port)


# ---- listening ------------------------------------------------------------------------------------------------------


_Entry = Mapping[str, Any]  # as ``Item``
_NOTHING: tuple[list[_Entry], list[Callable[[], None]]] = ([], [])


class SnmpTraps:
    """Listens for one instance. passwords: of the users in their order, for signing and for encryption."""

    def __init__(
        self,
        instance: str,
        config: SnmpTrapConfig,
        communities: Sequence[str] = (),
        passwords: Sequence[tuple[str, str]] = (),
    ) -> None:
        self._instance, self._config = instance, config
        self._communities, self._passwords = communities, passwords
        self._networks = [ipaddress.ip_network(each) for each in config.allow_from]
        self._names = Names()
        self._meanings = Meanings((), self._names)
        self._problems: dict[str, str] = {}
        self._refused_at = 0.0
        self._rest = b""
        self._outlet: Outlet

    async def run(self, outlet: Outlet) -> None:
        self._outlet = outlet
        await asyncio.to_thread(self._learn)
        self._say()
        forgetting = asyncio.create_task(self._forget_refusals())
        try:
            if self._config.snmptrapd_config is not None:
                await self._handed_over(self._config.snmptrapd_config)
            else:
                await self._listen()
        finally:
            forgetting.cancel()

    async def _forget_refusals(self) -> None:
        while True:
            await asyncio.sleep(_LOOK_S)
            if "refused" in self._problems and time.monotonic() - self._refused_at > _REFUSED_SHOWN_S:
                self._say("refused")

    def _learn(self) -> None:
        """Names and rules. What is wrong with MIBs costs only names."""
        from foreshock.connect.snmp.mibs import load

        if self._config.mibs is not None:
            compiled = load(self._config.mibs, self._config.mibs_compiled)
            self._names = Names(compiled.nodes)
            if compiled.problems:
                self._problems["mibs"] = "; ".join(compiled.problems[:3])
        self._meanings = Meanings(self._config.rules, self._names)
        if self._meanings.unknown:
            shown = ", ".join(self._meanings.unknown[:5])
            self._problems["rules"] = f"rules name what no MIB here knows: {shown}; add the MIB, or write the OID"

    def _say(self, what: str = "", problem: str = "") -> None:
        """Of several things that can be wrong, all that are; an empty problem is over."""
        if what:
            self._problems.pop(what, None)
            if problem:
                self._problems[what] = problem
        self._outlet.say("; ".join(self._problems.values()))

    def _refuse(self, reason: str, sender: str) -> None:
        self._outlet.count(Outcome.REJECTED)
        self._refused_at = time.monotonic()
        self._say("refused", f"something from {sender} was not let in: {_REASONS.get(reason, reason)}")

    # ---- by pysnmp ----

    async def _listen(self) -> None:
        users = [
            User(user.name, user.auth, auth, user.priv, priv, tuple(map(_octets, user.engines)))
            for user, (auth, priv) in zip(self._config.users, self._passwords, strict=True)
        ]
        ears = []
        try:
            for each in self._config.listen:
                bound = _bound(self._instance, each)
                engine = TrapEngine(self._communities, users, bound, _octets(self._config.engine_id))
                ears.append(_Ear(bound, engine, self._outlet))
            self._outlet.listens(", ".join(_shown(ear.socket) for ear in ears))
            await asyncio.gather(*(self._hear(ear) for ear in ears))
        finally:
            for ear in ears:
                ear.socket.close()

    async def _hear(self, ear: "_Ear") -> None:
        loop = asyncio.get_running_loop()
        loop.add_reader(ear.socket, ear.receive)
        batch = _NOTHING
        try:
            while True:
                await ear.wait()
                batch = await self._decode(ear)
                await self._hand_over(*batch)
                batch = _NOTHING
        finally:
            loop.remove_reader(ear.socket)
            ear.receive()
            await self._hand_over(*batch, last=True)  # on disk already or not: a trap twice is no harm
            while ear.waiting:
                await self._hand_over(*await self._decode(ear), last=True)

    async def _hand_over(
        self, entries: Sequence[_Entry], confirms: Sequence[Callable[[], None]], *, last: bool = False
    ) -> None:
        await self._keep(entries, last=last)
        for confirm in confirms:
            confirm()

    async def _decode(self, ear: "_Ear") -> tuple[list[_Entry], list[Callable[[], None]]]:
        """Some of what waits: what is to be kept, and informs to answer then."""
        entries: list[_Entry] = []
        confirms = []
        for number in range(min(_BATCH, len(ear.waiting))):
            datagram, sender = ear.waiting[number]
            found = self._entries_of(ear.engine, datagram, sender)
            entries += found[0]
            if found[1] is not None:
                confirms.append(found[1])
            if number % _BREATH == _BREATH - 1:
                await asyncio.sleep(0)
        for _ in range(number + 1):
            ear.waiting.popleft()
        return entries, confirms

    def _entries_of(
        self, engine: TrapEngine, datagram: bytes, sender: tuple[Any, ...]
    ) -> tuple[list[_Entry], Callable[[], None] | None]:
        address = _plain(sender[0])
        if not self._allowed(address):
            self._refuse("its address is not in allow_from", address)
            return [], None
        heard = engine.read(datagram, sender)
        if isinstance(heard, Refused):
            if not heard.step:
                self._refuse(heard.reason, address)
            return [], None
        return self._entries(heard.varbinds, address, heard.version, heard.user), heard.confirm

    def _entries(self, varbinds: Sequence[tuple[str, Value]], sender: str, version: str, user: str) -> list[_Entry]:
        trap = read_trap(varbinds, self._names, sender=sender, version=version, user=user)
        if trap is None:
            self._refuse("it does not say which trap it is", sender)
            return []
        if not self._config.trust_agent_address:
            trap = msgspec.structs.replace(trap, agent="")
        return [{"trap": trap, "meaning": meaning} for meaning in self._meanings.of(trap)]

    def _allowed(self, sender: str) -> bool:
        return not self._networks or any(ipaddress.ip_address(sender) in network for network in self._networks)

    async def _keep(self, entries: Sequence[_Entry], *, last: bool = False) -> None:
        """On disk when it returns. A trap comes once, so this waits as long as it takes. last: there is no time."""
        pauses = iter(_PAUSES_S)
        pause = _PAUSES_S[-1]
        while entries:
            try:
                await self._outlet.take(msgspec.json.encode(entries), items=len(entries))
            except Unavailable as error:
                if last:
                    self._outlet.count(Outcome.LOST, len(entries))
                    raise
                self._say("kept", str(error))
                pause = next(pauses, pause)
                await asyncio.sleep(pause)
            else:
                if "kept" in self._problems:
                    self._say("kept")
                return

    # ---- by snmptrapd ----

    async def _handed_over(self, settings: Path) -> None:
        program = shutil.which("snmptrapd", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
        if program is None:
            raise ForeshockError("snmptrapd is not installed", hint="install it: apt-get install snmptrapd")
        addresses = [_transport(each) for each in self._config.listen]
        process = await asyncio.create_subprocess_exec(
            *_ends_with_us(),
            *command(program, str(settings), addresses),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_READ_AHEAD_BYTES,  # a disk that is slow for a moment must not stop snmptrapd
        )
        assert process.stdout is not None
        assert process.stderr is not None
        self._outlet.listens(f"snmptrapd on {', '.join(addresses)}")
        warned = asyncio.create_task(self._warned(process.stderr))
        counting = asyncio.create_task(self._count_drops())
        try:
            await self._printed(process.stdout)
        finally:
            if process.returncode is None:
                with suppress(ProcessLookupError):
                    process.terminate()
            await self._printed(process.stdout, last=True)
            counting.cancel()
            await process.wait()
            last = await warned
        raise ForeshockError(f"snmptrapd ended with code {process.returncode}: {last}", hint=f"check {settings}")

    async def _count_drops(self) -> None:
        ports = frozenset(_address(each)[1] for each in self._config.listen)
        before = 0
        while True:
            now = dropped(ports)
            self._outlet.count(Outcome.LOST, max(0, now - before))
            before = now
            await asyncio.sleep(_COUNT_S)

    async def _warned(self, stream: asyncio.StreamReader) -> str:
        """The last thing that snmptrapd warned of."""
        last = ""
        while line := await stream.readline():
            last = line.decode(errors="replace").strip()[:500] or last
            self._say("snmptrapd", f"snmptrapd says: {last}")
        return last

    async def _printed(self, stream: asyncio.StreamReader, *, last: bool = False) -> None:
        """Until the stream ends."""
        buffer = self._rest
        while chunk := await stream.read(_CHUNK_BYTES):
            *whole, buffer = (buffer + chunk).split(END)
            entries: list[_Entry] = []
            for each in whole:
                entries += self._entries_of_print(each)
            await self._keep(entries, last=last)
            if len(buffer) > MAX_TRAP_BYTES:
                self._refuse("it is longer than any trap", "snmptrapd")
                buffer = b""
            self._rest = buffer

    def _entries_of_print(self, printed: bytes) -> list[_Entry]:
        try:
            read = Printed(printed.decode(errors="replace"))
        except ValueError as error:
            self._refuse(f"what snmptrapd printed cannot be read: {error}", "snmptrapd")
            return []
        if not self._allowed(read.sender):
            self._refuse("its address is not in allow_from", read.sender)
            return []
        return self._entries(read.varbinds, read.sender, read.version, read.user)


class _Ear:
    """One socket: what came and is not decoded yet."""

    def __init__(self, bound: socket.socket, engine: TrapEngine, outlet: Outlet) -> None:
        self.socket, self.engine, self._outlet = bound, engine, outlet
        self.waiting: deque[tuple[bytes, tuple[Any, ...]]] = deque()
        self._arrived = asyncio.Event()
        self._dropped = 0

    def receive(self) -> None:
        """What the kernel holds, up to a bound; the loop comes back for the rest."""
        for _ in range(_BATCH):
            try:
                datagram, extra, _, sender = self.socket.recvmsg(MAX_MESSAGE_BYTES, socket.CMSG_SPACE(4))
            except (BlockingIOError, InterruptedError):
                break
            except OSError:  # an answer of ours found nobody
                continue
            for level, kind, data in extra:
                if (level, kind) == (socket.SOL_SOCKET, _SO_RXQ_OVFL):
                    (dropped,) = struct.unpack("I", data[:4])
                    self._outlet.count(Outcome.LOST, (dropped - self._dropped) % 2**32)
                    self._dropped = dropped
            if len(self.waiting) >= MAX_WAITING:
                self._outlet.count(Outcome.LOST)
            else:
                self.waiting.append((datagram, sender))
        if self.waiting:
            self._arrived.set()

    async def wait(self) -> None:
        """Until something waits; meanwhile time passes for the engine too."""
        self.engine.tick()
        while not self.waiting:
            self._arrived.clear()
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._arrived.wait()
            self.engine.tick()


_SO_RXQ_OVFL = 40  # Linux: with each datagram, how many were dropped before it; Python has no name for it
_CHUNK_BYTES = 2**18
_REASONS = {
    "UnknownCommunityName": "its community is not in communities_file",
    "UnknownSecurityName": "its user is not among the users here, or not for this engine id",
    "AuthenticationFailure": "its signature is wrong; check the password and the kind of signature",
    "DecryptionError": "it cannot be decrypted; check the password and the kind of encryption",
    "UnsupportedSecurityLevel": "it is not signed or encrypted as its user must",
    "UnsupportedSecurityModel": "its security model is not known",
    "UnknownEngineID": "it was meant for another engine id",
}


async def _last_lines(stream: asyncio.StreamReader, lines: deque[str]) -> None:
    while line := await stream.readline():
        lines.append(line.decode(errors="replace").strip())


def _ends_with_us() -> list[str]:
    """Goes before a command: a child that outlives us would keep the port."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM", "--"] if setpriv else []


def _bound(instance: str, address: str) -> socket.socket:
    host, port = _address(address)
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
    bound.setblocking(False)
    bound.setsockopt(socket.SOL_SOCKET, _SO_RXQ_OVFL, 1)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER_BYTES)
    with suppress(OSError):  # root may go beyond net.core.rmem_max
        bound.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER_BYTES)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        hint = (
            "ports below 1024 take CAP_NET_BIND_SERVICE; or listen on 1162 and forward 162 to it"
            if isinstance(error, PermissionError)
            else "check the address, and that nothing else listens there"
        )
        raise ForeshockError(
            f"snmp_trap {instance!r} cannot listen on {address}: {error.strerror}", hint=hint
        ) from None
    return bound


_SO_RCVBUFFORCE = 33  # Linux


def _shown(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"udp {f'[{host}]' if ':' in host else host}:{port}"


def _transport(address: str) -> str:
    host, port = _address(address)
    return f"udp6:[{host}]:{port}" if ":" in host else f"udp:{host}:{port}"


def _plain(address: str) -> str:
    """Without the zone of a link-local one, and IPv4 as such."""
    found = ipaddress.ip_address(address.partition("%")[0])
    mapped = found.ipv4_mapped if isinstance(found, ipaddress.IPv6Address) else None
    return str(mapped or found)


def _octets(digits: str) -> bytes:
    return bytes.fromhex(digits.removeprefix("0x"))


# ---- records to events ----------------------------------------------------------------------------------------------


class Item(Struct, frozen=True, forbid_unknown_fields=True):
    """A trap, and what it meant to the rules of its time."""

    trap: Trap
    meaning: Meaning


_RAW, _ITEM = msgspec.json.Decoder(list[Raw]), msgspec.json.Decoder(Item)


def decode(payload: bytes) -> list[Item | Malformed]:
    try:
        raws = _RAW.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"no list of traps: {error}") from None
    if not raws:
        raise Malformed("an empty list of traps")
    items: list[Item | Malformed] = []
    for raw in raws:
        try:
            items.append(_ITEM.decode(raw))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            items.append(Malformed(f"no trap: {error}", payload=bytes(raw)))
    return items


def translate(item: Item, received_at: datetime) -> Event | Ignored:
    """The end of one that nobody ends lies ahead of it, and is put off each time it comes again."""
    trap, meaning = item.trap, item.meaning
    if not trap.sender or not trap.oid or not meaning.condition:
        raise Malformed("a trap without its sender, its OID or what it means")
    if meaning.ignored:
        return Ignored(meaning.ignored)
    agent = trap.agent or trap.sender
    ends_at = received_at if meaning.over else None
    if meaning.hold_s and not meaning.over:
        ends_at = received_at + timedelta(seconds=min(meaning.hold_s, _MAX_HOLD_S))
    variables = {each.name or each.oid: (each.text or each.value)[:MAX_VALUE_CHARS] for each in trap.varbinds}
    shown = ", ".join(f"{name} = {value}" for name, value in list(variables.items())[:_SHOWN])
    about = {
        "summary": f"{trap.name or trap.oid} from {agent}{': ' if shown else ''}{shown}"[:_MAX_SUMMARY_CHARS],
        "trap": trap.oid[:MAX_VALUE_CHARS],
        "sender": trap.sender[:MAX_VALUE_CHARS],
        "snmp_version": trap.version[:MAX_VALUE_CHARS],
    }
    return Event(
        labels=encode_texts({"alertname": meaning.condition, "instance": agent, **meaning.identity}),
        annotations=encode_texts({**dict(list(variables.items())[:MAX_VARBINDS]), **about}),
        severity=meaning.severity,
        ends_at=ends_at,
    )


_SHOWN = 5
_MAX_SUMMARY_CHARS = 1000
_MAX_HOLD_S = 31 * 86400.0


def _build(name: str, config: SnmpTrapConfig) -> SnmpTraps:
    place = f"collectors.{name}"
    communities: list[str] = []
    if config.communities_file is not None:
        text = read_private(config.communities_file, f"{place}.communities_file")
        communities = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
        if not communities:
            raise ConfigError(
                [
                    Problem(
                        file=str(config.communities_file),
                        line=None,
                        path=f"{place}.communities_file",
                        message="it holds no community",
                        hint="write one a line",
                    )
                ]
            )
    passwords = []
    for index, user in enumerate(config.users):
        at = f"{place}.users.{index}"
        passwords.append((_password(user.auth_file, f"{at}.auth_file"), _password(user.priv_file, f"{at}.priv_file")))
    return SnmpTraps(name, config, communities, passwords)


def _password(path: Path | None, place: str) -> str:
    if path is None:
        return ""
    password = read_secret(path, place)
    if len(password) < _MIN_PASSWORD_CHARS:
        message = f"the password has {len(password)} characters, SNMP asks for {_MIN_PASSWORD_CHARS}"
        hint = "use a longer one on both sides"
        raise ConfigError([Problem(file=str(path), line=None, path=place, message=message, hint=hint)])
    return password


_MIN_PASSWORD_CHARS = 8  # RFC 3414, 11.2

COLLECTOR = Collector(
    kind="snmp_trap",
    title="SNMP traps and informs, versions 1, 2c and 3",
    facts="RFC 3416, 3584 and 3414; net-snmp 5.9",
    decode=decode,
    translate=translate,
    sample="snmp_trap-firing.json",
    listen=Listen(config=SnmpTrapConfig, build=_build),
)
