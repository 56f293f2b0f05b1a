"""Syslog: what devices, operating systems and daemons send, over UDP, TCP and TLS.

Facts:    RFC 5424, RFC 3164, RFC 6587 (both framings, mixed), RFC 5425 and RFC 5426; rsyslog 8.2302 and util-linux's
          logger as recorded in tests/samples; what else real senders do stands in foreshock/connect/syslog.py.
          UNVERIFIED: Cisco's forms are from its documentation, not recorded.
Delivery: syslog has no acknowledgement. Of a stream no more is read than can be kept; a line that becomes an event is
          on disk within half a second. Datagrams that the kernel drops are counted as lost.
Recovery: none by itself: the alert of a line is over when the line has not come again for `lines.holds`. Two lines that
          belong together (down and up) are one alert that opens and resolves: `lines.pairs`.
Limits:   64 KiB a message, longer ones are cut and counted. Lines that are no events are counted by host, program and
          template, and reach the metric history (log_lines) every `lines.count_every`; what a listener that dies had
          counted since then is lost. Of lines that differ in their values only, and come within a quarter of a second,
          one is kept with their number.
Needs:    rsyslog: `*.* action(type="omfwd" target="foreshock.example" port="6514" protocol="tcp"
          TCP_Framing="octet-counted")`; Cisco: `logging host 192.0.2.5 transport tcp port 6514`; any other: the address
          of `tcp` or `udp`. Ports below 1024 need the capability CAP_NET_BIND_SERVICE; bursts over UDP need
          `sysctl net.core.rmem_max=33554432`, or CAP_NET_ADMIN.
"""

import asyncio
import socket
import ssl
import struct
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from ipaddress import ip_address, ip_network
from pathlib import Path
from typing import Any, Self
from zoneinfo import ZoneInfo

from pydantic import Field, field_validator, model_validator

from foreshock.connect.lines import (
    MAX_FOLDED,
    Batch,
    Fate,
    Line,
    LineCounter,
    LineRules,
    Sieve,
    decode_lines,
    encode_lines,
    event_of,
)
from foreshock.connect.syslog import Frames, Parts, date, facility, severity, split, structured, words
from foreshock.core.contracts import Collector, Listen, ListenConfig, Outcome, Outlet
from foreshock.core.errors import ForeshockError, Invalid, Unavailable
from foreshock.core.quantities import ZoneName
from foreshock.core.templates import key

FLUSH_S = 0.25
_SHOW_S = 5.0
_REMARK_S = 60.0
_RECEIVE_BUFFER = 32 * 2**20
_MAX_HELD = 4 * 2**20  # bytes of lines that are not on disk yet; nothing more is read beyond
_AT_ONCE = 512  # datagrams, before others have their turn
_MAX_DATAGRAM = 65536
_MAX_CONNECTIONS = 2000
_RETRY_S = (0.5, 1.0, 2.0, 5.0)
# Linux: socket(7) and include/uapi/asm-generic/socket.h, read 2026-11-22.
_SO_RCVBUFFORCE, _SO_MEMINFO, _DROPS = 33, 55, 8


def _is_address(address: str) -> str:
    host, colon, port = address.rpartition(":")
    if not colon or not host or not port.isdigit() or int(port) > 65535:
        raise Invalid(f"{address!r} is no address with a port", hint="write it like 0.0.0.0:6514 or [::]:6514")
    return address


class SyslogConfig(ListenConfig):
    udp: str = Field(default="", description="address and port for datagrams", examples=["0.0.0.0:5514"])
    tcp: str = Field(default="", description="address and port for streams, in either framing", examples=["[::]:5514"])
    tls: str = Field(default="", description="address and port for TLS", examples=["0.0.0.0:6514"])
    certificate: Path | None = Field(default=None, description="for tls: file with our certificate and its chain, PEM")
    certificate_key: Path | None = Field(default=None, description="for tls: file with its key, PEM, mode 0600")
    client_ca: Path | None = Field(
        default=None, description="for tls: only senders with a certificate of this CA are heard, PEM"
    )
    allow_from: tuple[str, ...] = Field(
        default=(), description="networks that are heard, for example 192.0.2.0/24; empty: any"
    )
    zone: ZoneName = Field(
        default="UTC", description="time zone of senders that name none, as RFC 3164 has it: Europe/Berlin"
    )
    lines: LineRules = Field(default_factory=LineRules, description="which lines become events")

    @field_validator("udp", "tcp", "tls")
    @classmethod
    def _are_addresses(cls, address: str) -> str:
        return _is_address(address) if address else address

    @field_validator("allow_from")
    @classmethod
    def _are_networks(cls, networks: tuple[str, ...]) -> tuple[str, ...]:
        for index, network in enumerate(networks):
            try:
                ip_network(network)
            except ValueError as error:
                raise Invalid(str(error), hint="write it like 192.0.2.0/24", path=(index,)) from None
        return networks

    @model_validator(mode="after")
    def _listens(self) -> Self:
        if not (self.udp or self.tcp or self.tls):
            raise Invalid("it listens to nothing", hint="set udp, tcp or tls to an address with a port")
        if self.tls and (self.certificate is None or self.certificate_key is None):
            raise Invalid("tls needs a certificate", hint="set certificate and certificate_key", path=("tls",))
        return self


# ---- lines ----------------------------------------------------------------------------------------------------------


class Hub:
    """What all sockets of an instance hand over: takes lines apart, counts most, and keeps what becomes an event."""

    def __init__(self, config: SyslogConfig, outlet: Outlet) -> None:
        self._outlet, self._zone = outlet, ZoneInfo(config.zone)
        self._sieve, self.counter = Sieve(config.lines), LineCounter(config.lines)
        self._every_s = config.lines.count_every.total_seconds()
        self._batch = Batch()
        self._due = asyncio.Event()
        self._flushing = asyncio.Lock()
        self._waiting: set[Callable[[], None]] = set()
        self.full = False
        self._trouble = self._remark = ""
        self._remarked_s = 0.0

    def take(self, messages: Sequence[bytes], peer: bytes) -> None:
        """peer: address they came from, for those that name no host."""
        sieve, counter, batch = self._sieve, self.counter, self._batch
        worst = sieve.worst if sieve.plain else 8
        counted = 0
        for raw in messages:
            parts = split(raw)
            if parts[0] & 7 > worst:
                counter.add(parts[2] or peer, parts[3], parts[7])
                counted += 1
                continue
            fate = sieve.event if sieve.plain else sieve.fate(parts[0] & 7, _fields(parts, peer))
            if fate.event:
                alike = (parts[0] & 7, parts[2] or peer, parts[3], fate.name, *fate.labels.values(), fate.ends)
                about = fate.name or key(parts[7])
                batch.add((*alike, about), partial(self._line, parts, peer, fate, time.time()), len(raw))
            elif fate.dropped:
                self._outlet.count(Outcome.IGNORED)
            else:
                counter.add(parts[2] or peer, parts[3], parts[7])
                counted += 1
        if counted:
            self._outlet.count(Outcome.COUNTED, counted)
        if batch.size > _MAX_HELD:
            self.full = True
        if len(batch) >= MAX_FOLDED:
            self._due.set()

    def _line(self, parts: Parts, peer: bytes, fate: Fate, received_s: float) -> Line:
        return line_of(parts, peer.decode(), fate, datetime.fromtimestamp(received_s, UTC), self._zone)

    # ---- back-pressure ----

    def when_room(self, go_on: Callable[[], None]) -> None:
        """Call it once more can be taken."""
        self._waiting.add(go_on)

    def forget(self, go_on: Callable[[], None]) -> None:
        self._waiting.discard(go_on)

    # ---- on to the disk ----

    async def keep_flushing(self) -> None:
        while True:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._due.wait(), FLUSH_S)
            self._due.clear()
            await self.flush()

    async def flush(self) -> None:
        """What became an event is on disk; until it is, it is tried again."""
        async with self._flushing:
            while self._batch:
                came, lines = self._batch.lines, self._batch.take()
                for first in range(0, len(lines), MAX_FOLDED):
                    part = lines[first : first + MAX_FOLDED]
                    await self._insist(partial(self._outlet.take, encode_lines(part), items=len(part)))
                self._outlet.count(Outcome.RECEIVED, came - len(lines))
            self.full = False
            waiting, self._waiting = self._waiting, set()
            for go_on in waiting:
                go_on()

    async def keep_measuring(self) -> None:
        shown_s = 0.0
        due_s = self._next(time.time())
        while True:
            await asyncio.sleep(max(0.05, min(due_s - time.time(), _SHOW_S)))
            self.forget_remarks()
            now_s = time.time()
            if now_s - shown_s >= _SHOW_S:
                shown_s = now_s
                self._outlet.show(self.counter.tops())
            if now_s >= due_s:
                await self.measure(due_s)
                due_s = self._next(now_s)

    async def measure(self, at_s: float) -> None:
        if samples := self.counter.samples(at_s):
            await self._insist(partial(self._outlet.measure, samples))

    def _next(self, now_s: float) -> float:
        return (now_s // self._every_s + 1) * self._every_s

    async def _insist(self, hand_over: Callable[[], Any]) -> None:
        attempt = 0
        while True:
            try:
                await hand_over()
            except Unavailable as error:
                self._trouble = f"nothing can be kept now: {error}"
                self._say()
                await asyncio.sleep(_RETRY_S[min(attempt, len(_RETRY_S) - 1)])
                attempt += 1
            else:
                if self._trouble:
                    self._trouble = ""
                    self._say()
                return

    def remark(self, text: str) -> None:
        """What is not as it should be, although all that came is kept; it is said for a minute."""
        self._remarked_s = time.monotonic()
        if text != self._remark:
            self._remark = text
            self._say()

    def forget_remarks(self) -> None:
        if self._remark and time.monotonic() - self._remarked_s > _REMARK_S:
            self._remark = ""
            self._say()

    def _say(self) -> None:
        self._outlet.say(self._trouble or self._remark)


def _fields(parts: Parts, peer: bytes) -> dict[str, str]:
    """What matchers are asked about."""
    return {
        "host": words(parts.host or peer),
        "app": words(parts.app),
        "facility": facility(parts.priority),
        "severity": severity(parts.priority),
        "process": words(parts.process),
        "id": words(parts.id),
        "text": words(parts.text),
        **(structured(parts.data) if parts.data else {}),
    }


def line_of(parts: Parts, peer: str, fate: Fate, received_at: datetime, zone: ZoneInfo) -> Line:
    """Pure."""
    at, note = date(parts.when, received_at, zone)
    more = {"facility": facility(parts.priority), "process": words(parts.process), "id": words(parts.id)}
    if parts.host and parts.host.decode("latin-1") != peer:
        more["sender"] = peer
    more |= structured(parts.data) if parts.data else {}
    text = words(parts.text)
    return Line(
        text=text if text.strip() else "(an empty message)",
        severity=fate.severity or severity(parts.priority),  # type: ignore[arg-type]
        host=words(parts.host) or peer,
        app=words(parts.app),
        at=at or received_at,
        more={name: value for name, value in more.items() if value},
        note=note,
        name=fate.name,
        labels=dict(fate.labels),
        ends=fate.ends,
        holds_s=fate.holds_s,
    )


# ---- sockets --------------------------------------------------------------------------------------------------------


class Stream(asyncio.Protocol):
    """One connection."""

    def __init__(self, listener: "Syslog", hub: Hub) -> None:
        self._listener, self._hub = listener, hub
        self._frames = Frames()
        self._transport: asyncio.Transport
        self._peer = b""
        self._cut = 0

    def connection_made(self, transport: Any) -> None:
        self._transport = transport
        address = transport.get_extra_info("peername")[0]
        self._peer = address.encode()
        if not self._listener.hears(address):
            transport.abort()
            return
        self._listener.streams.add(self)
        if len(self._listener.streams) > _MAX_CONNECTIONS:
            self._hub.remark(f"more than {_MAX_CONNECTIONS} connections: further ones are refused")
            transport.abort()

    def data_received(self, data: bytes) -> None:
        self._hub.take(self._frames.feed(data), self._peer)
        if self._frames.cut > self._cut:
            self._listener.cut(self._frames.cut - self._cut)
            self._cut = self._frames.cut
        if self._hub.full:
            self._transport.pause_reading()
            self._hub.when_room(self._go_on)

    def _go_on(self) -> None:
        if not self._transport.is_closing():
            self._transport.resume_reading()

    def connection_lost(self, error: Exception | None) -> None:
        self._hub.take(self._frames.end(), self._peer)
        self._hub.forget(self._go_on)
        self._listener.streams.discard(self)

    def close(self) -> None:
        self._transport.close()


class Datagrams:
    """The socket for UDP."""

    def __init__(self, listener: "Syslog", hub: Hub, address: str) -> None:
        self._listener, self._hub, self._loop = listener, hub, asyncio.get_running_loop()
        host, port = _host_port(address)
        try:
            family, _, _, _, place = socket.getaddrinfo(host, port, type=socket.SOCK_DGRAM)[0]
            self._socket = socket.socket(family, socket.SOCK_DGRAM)
            self.buffer = _raise_buffer(self._socket)
            self._socket.bind(place)
        except OSError as error:
            raise Unavailable(f"cannot listen on udp {address}: {error.strerror or error}") from None
        self._socket.setblocking(False)
        self._dropped = 0
        self._loop.add_reader(self._socket, self._read)

    @property
    def address(self) -> str:
        return "udp {}:{}".format(*self._socket.getsockname())

    def _read(self) -> None:
        """What is there, up to a bound; messages of one sender that stand together go on together."""
        receive, last = self._socket.recvfrom, ""
        found: list[bytes] = []
        try:
            for _ in range(_AT_ONCE):
                data, peer = receive(_MAX_DATAGRAM)
                if peer[0] != last:
                    self._pass_on(found, last)
                    last, found = peer[0], []
                found.append(data)
        except OSError:  # there is no more
            pass
        self._pass_on(found, last)
        if self._hub.full:
            self._loop.remove_reader(self._socket)
            self._hub.when_room(self._go_on)

    def _pass_on(self, found: Sequence[bytes], peer: str) -> None:
        if found and self._listener.hears(peer):
            self._hub.take(found, peer.encode())

    def _go_on(self) -> None:
        if self._socket.fileno() >= 0:
            self._loop.add_reader(self._socket, self._read)

    def dropped(self) -> int:
        """By the kernel since it was last asked, because they came faster than they were read."""
        try:
            memory = self._socket.getsockopt(socket.SOL_SOCKET, _SO_MEMINFO, 64)
        except OSError:  # another system than Linux
            return 0
        (total,) = struct.unpack_from("I", memory, 4 * _DROPS)
        new = (total - self._dropped) % 2**32
        self._dropped = total
        return int(new)

    def close(self) -> None:
        """Read what the kernel holds, and let go."""
        self._loop.remove_reader(self._socket)
        self._read()
        self._loop.remove_reader(self._socket)
        self._hub.forget(self._go_on)
        self._socket.close()


def _raise_buffer(sock: socket.socket) -> int:
    """As large as may be; how large it is."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, _SO_RCVBUFFORCE, _RECEIVE_BUFFER)
    except OSError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BUFFER)
    return sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)


def _host_port(address: str) -> tuple[str, int]:
    host, _, port = address.rpartition(":")
    return host.removeprefix("[").removesuffix("]"), int(port)


class Syslog:
    """One instance."""

    def __init__(self, name: str, config: SyslogConfig) -> None:
        self._name, self._config = name, config
        self._networks = [ip_network(network) for network in config.allow_from]
        self._heard: dict[str, bool] = {}
        self.streams: set[Stream] = set()
        self._outlet: Outlet

    async def run(self, outlet: Outlet) -> None:
        self._outlet = outlet
        hub = Hub(self._config, outlet)
        servers: list[tuple[str, asyncio.Server]] = []
        datagrams: Datagrams | None = None
        try:
            if self._config.udp:
                datagrams = Datagrams(self, hub, self._config.udp)
            for what, address in (("tcp", self._config.tcp), ("tls", self._config.tls)):
                if address:
                    servers.append((what, await self._serve(what, address, hub)))
            places = [] if datagrams is None else [datagrams.address]
            outlet.listens(", ".join([*places, *(_place(*each) for each in servers)]))
            outlet.say("")
            async with asyncio.TaskGroup() as group:
                group.create_task(hub.keep_flushing())
                group.create_task(hub.keep_measuring())
                if datagrams is not None:
                    group.create_task(self._watch(datagrams, hub))
        finally:
            for _, server in servers:
                server.close()
            for stream in list(self.streams):
                stream.close()
            await asyncio.sleep(0)  # what they hold still comes
            if datagrams is not None:
                datagrams.close()
            await hub.flush()
            await hub.measure(time.time())

    async def _serve(self, what: str, address: str, hub: Hub) -> asyncio.Server:
        host, port = _host_port(address)
        context = self._context() if what == "tls" else None
        try:
            return await asyncio.get_running_loop().create_server(
                lambda: Stream(self, hub), host, port, ssl=context, backlog=512
            )
        except OSError as error:
            raise Unavailable(f"cannot listen on {what} {address}: {error.strerror or error}") from None

    def _context(self) -> ssl.SSLContext:
        config = self._config
        assert config.certificate is not None
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        try:
            context.load_cert_chain(config.certificate, config.certificate_key)
            if config.client_ca is not None:
                context.load_verify_locations(config.client_ca)
                context.verify_mode = ssl.CERT_REQUIRED
        except (OSError, ssl.SSLError) as error:
            place = f"collectors.{self._name}"
            raise ForeshockError(
                f"{place}: the certificate, its key or client_ca cannot be read: {error}", hint="see the three files"
            ) from None
        return context

    async def _watch(self, datagrams: Datagrams, hub: Hub) -> None:
        while True:
            await asyncio.sleep(1.0)
            if lost := datagrams.dropped():
                self._outlet.count(Outcome.LOST, lost)
                kib = datagrams.buffer // 1024
                hub.remark(
                    f"the kernel dropped {lost} datagrams in a second: they came faster than they were read; "
                    f"the buffer has {kib} KiB, raise net.core.rmem_max, or let senders use tcp"
                )

    def hears(self, peer: str) -> bool:
        """Whether that address may send; else what it sends is counted."""
        if not self._networks:
            return True
        heard = self._heard.get(peer)
        if heard is None:
            if len(self._heard) > 10_000:
                self._heard.clear()
            address = ip_address(peer.partition("%")[0])
            address = getattr(address, "ipv4_mapped", None) or address
            heard = self._heard[peer] = any(address in network for network in self._networks)
        if not heard:
            self._outlet.count(Outcome.REJECTED)
        return heard

    def cut(self, number: int) -> None:
        self._outlet.count(Outcome.CUT, number)


def _place(what: str, server: asyncio.Server) -> str:
    host, port = server.sockets[0].getsockname()[:2]
    return f"{what} {host}:{port}"


COLLECTOR = Collector(
    kind="syslog",
    title="Syslog over UDP, TCP and TLS",
    facts="RFC 5424, RFC 3164, RFC 6587",
    decode=decode_lines,
    translate=event_of,
    listen=Listen(config=SyslogConfig, build=Syslog),
    sample="syslog-firing.json",
    expires=True,
)
