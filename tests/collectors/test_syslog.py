"""Syslog over real sockets, from plain senders, rsyslog and logger."""

import asyncio
import datetime as dt
import logging
import logging.handlers
import shutil
import socket
import ssl
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from collectors import syslog as module
from collectors.syslog import COLLECTOR, Syslog, SyslogConfig
from foreshock.connect.lines import Line
from foreshock.core.contracts import Outcome
from foreshock.core.errors import ForeshockError, Unavailable
from foreshock.testing.fakes import Taken
from foreshock.testing.servers import Rsyslog, eventually, free_port

ERROR = b"<27>Nov 22 03:08:13 web-1 shop[7]: it fails %d"
NOTICE = b"<29>Nov 22 03:08:13 web-1 shop[7]: it works %d"


def config(**fields: Any) -> SyslogConfig:
    return SyslogConfig.model_validate(fields)


@asynccontextmanager
async def listening(outlet: Taken, **fields: Any) -> AsyncIterator[Syslog]:
    listener = Syslog("net", config(**fields))
    task = asyncio.create_task(listener.run(outlet))
    try:
        while not outlet.addresses and not task.done():  # noqa: ASYNC110 (the outlet has no event for it)
            await asyncio.sleep(0.01)
        yield listener
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


def run(work: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(work(), 60))


async def until(holds: Callable[[], object]) -> None:
    for _ in range(3000):
        if holds():
            return
        await asyncio.sleep(0.01)
    raise AssertionError("it did not come to that")


def lines(outlet: Taken) -> list[Line]:
    return [line for _, payload in outlet.payloads for line in msgspec.json.decode(payload, type=list[Line])]


def texts(outlet: Taken) -> list[str]:
    return [line.text for line in lines(outlet)]


async def send(port: int, data: bytes, context: ssl.SSLContext | None = None) -> None:
    _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context)
    writer.write(data)
    await writer.drain()
    writer.close()
    with suppress(OSError):
        await writer.wait_closed()


def send_udp(port: int, *messages: bytes) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for message in messages:
            sock.sendto(message, ("127.0.0.1", port))


# ---- what comes -----------------------------------------------------------------------------------------------------


def test_errors_are_kept_and_the_rest_is_counted_whichever_way_it_comes():
    outlet, port, other = Taken(), free_port(), free_port()

    async def work() -> None:
        async with listening(outlet, udp=f"127.0.0.1:{other}", tcp=f"127.0.0.1:{port}"):
            message = ERROR % 1
            await send(port, b"%d %s" % (len(message), message) + b"<11>by line\n" + NOTICE % 1 + b"\n<11>no end")
            send_udp(other, b"<11>a datagram", NOTICE % 2)
            await until(lambda: len(lines(outlet)) == 4 and outlet.counts[Outcome.COUNTED] == 2)

    run(work)

    assert set(texts(outlet)) == {"it fails 1", "by line", "no end", "a datagram"}
    assert outlet.addresses == [f"udp 127.0.0.1:{other}, tcp 127.0.0.1:{port}"]
    [first] = [line for line in lines(outlet) if line.app == "shop"]
    assert (first.host, first.severity, first.more["sender"]) == ("web-1", "err", "127.0.0.1")
    assert {line.host for line in lines(outlet)} == {"web-1", "127.0.0.1"}
    # At the end what was counted since the last time is told, too.
    assert [(each.series.ci, each.values) for each in outlet.samples] == [("web-1", [2.0])]


def test_a_storm_of_one_message_is_a_few_lines_with_their_number():
    outlet, port = Taken(), free_port()

    async def work() -> None:
        async with listening(outlet, tcp=f"127.0.0.1:{port}"):
            await send(port, b"".join(ERROR % number + b"\n" for number in range(5000)))
            await until(lambda: sum(line.lines for line in lines(outlet)) == 5000)

    run(work)

    assert len(lines(outlet)) < 50
    assert lines(outlet)[-1].text == "it fails 4999"


def test_while_nothing_can_be_kept_no_more_is_read_than_has_room_and_nothing_is_lost(monkeypatch):
    monkeypatch.setattr(module, "_MAX_HELD", 100_000)
    outlet, port = Taken(), free_port()
    outlet.refuse = Unavailable("the disk is full")
    # Each line with a template of its own, so that they are not folded.
    words = ["".join(chr(97 + int(digit)) for digit in str(number)) for number in range(5_000)]
    stream = b"".join(b"<11>app: " + word.encode() + b" " + b"x" * 1000 + b"\n" for word in words)

    async def work() -> None:
        async with listening(outlet, tcp=f"127.0.0.1:{port}"):
            sending = asyncio.create_task(send(port, stream))
            await until(lambda: outlet.problems)
            await asyncio.sleep(0.3)
            assert not sending.done()
            outlet.refuse = None
            await sending
            await until(lambda: sum(payload.count(b'"text"') for _, payload in outlet.payloads) == len(words))

    run(work)

    assert "the disk is full" in outlet.problems[0]
    assert outlet.problems[-1] == ""
    assert [text.split()[0] for text in texts(outlet)] == words


def test_at_a_stop_what_was_received_is_handed_over():
    outlet, port = Taken(), free_port()

    async def work() -> None:
        async with listening(outlet, udp=f"127.0.0.1:{port}"):
            send_udp(port, *(b"<11>app: message " + b"x" * number for number in range(1, 100)))

    run(work)

    assert len(lines(outlet)) == 99


def test_datagrams_that_the_kernel_dropped_are_counted_and_told(monkeypatch):
    monkeypatch.setattr(module, "_RECEIVE_BUFFER", 20_000)
    monkeypatch.setattr(module, "_MAX_HELD", 1)  # after the first message nothing is read
    monkeypatch.setattr(module, "_REMARK_S", 1.5)
    monkeypatch.setattr(module, "_SHOW_S", 0.1)
    outlet, port = Taken(), free_port()
    outlet.refuse = Unavailable("not now")

    async def work() -> None:
        async with listening(outlet, udp=f"127.0.0.1:{port}"):
            send_udp(port, b"<11>app: first")
            await until(lambda: outlet.problems)
            send_udp(port, *[b"<11>app: " + b"x" * 500] * 1000)
            await until(lambda: outlet.counts[Outcome.LOST])
            outlet.refuse = None
            await until(lambda: len(lines(outlet)) > 1)
            await until(lambda: outlet.problems[-1] == "")

    run(work)

    kept = sum(line.lines for line in lines(outlet))
    assert kept + outlet.counts[Outcome.LOST] == 1001
    assert any("dropped" in problem and "rmem_max" in problem for problem in outlet.problems)


def test_who_is_not_on_the_list_is_not_heard_and_counted():
    outlet, port, other = Taken(), free_port(), free_port()

    async def work() -> None:
        async with listening(outlet, udp=f"127.0.0.1:{port}", tcp=f"127.0.0.1:{other}", allow_from=["192.0.2.0/24"]):
            send_udp(port, b"<11>app: x")
            with suppress(OSError):
                await send(other, b"<11>app: x\n")
            await until(lambda: outlet.counts[Outcome.REJECTED] >= 2)

    run(work)

    assert not outlet.payloads


def test_a_port_that_is_taken_is_told_with_its_address():
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]

        with pytest.raises(Unavailable, match=f"cannot listen on tcp 127.0.0.1:{port}: .*in use"):
            asyncio.run(Syslog("net", config(tcp=f"127.0.0.1:{port}")).run(Taken()))


@pytest.mark.parametrize(
    ("fields", "why"),
    [
        ({}, "it listens to nothing"),
        ({"tcp": "6514"}, "no address with a port"),
        ({"tls": "127.0.0.1:6514"}, "tls needs a certificate"),
        ({"tcp": "127.0.0.1:1", "zone": "Mars"}, "no time zone"),
        ({"tcp": "127.0.0.1:1", "allow_from": ["x"]}, "does not appear to be"),
    ],
)
def test_settings_that_cannot_be_are_told(fields: dict[str, Any], why: str):
    with pytest.raises(ValueError, match=why):
        config(**fields)


# ---- TLS ------------------------------------------------------------------------------------------------------------


def certificates(folder: Path) -> None:
    """ca.pem, and cert.pem with key.pem for 127.0.0.1 and clients."""
    now = dt.datetime.now(dt.UTC)

    def made(name: str, key: Any, issuer: Any, sign: Any, *, ca: bool) -> x509.Certificate:
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        names = [x509.DNSName("localhost"), x509.DNSName("127.0.0.1")]
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject if issuer is None else issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=1))
            .not_valid_after(now + dt.timedelta(days=2))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(sign.public_key()), critical=False)
            .sign(sign, hashes.SHA256())
        )

    authority, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca = made("lab ca", authority, None, authority, ca=True)
    own = made("127.0.0.1", key, ca.subject, authority, ca=False)
    (folder / "ca.pem").write_bytes(ca.public_bytes(serialization.Encoding.PEM))
    (folder / "cert.pem").write_bytes(own.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )


@pytest.fixture(scope="module")
def papers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("papers")
    certificates(folder)
    return folder


def tls(papers: Path, port: int, **more: Any) -> dict[str, Any]:
    return {
        "tls": f"127.0.0.1:{port}",
        "certificate": str(papers / "cert.pem"),
        "certificate_key": str(papers / "key.pem"),
        **more,
    }


def test_over_tls_only_senders_with_a_certificate_are_heard_where_one_is_asked_for(papers: Path):
    outlet, port = Taken(), free_port()
    unknown = ssl.create_default_context(cafile=papers / "ca.pem")
    unknown.check_hostname = False
    known = ssl.create_default_context(cafile=papers / "ca.pem")
    known.check_hostname = False
    known.load_cert_chain(papers / "cert.pem", papers / "key.pem")

    async def work() -> None:
        async with listening(outlet, **tls(papers, port, client_ca=str(papers / "ca.pem"))):
            with suppress(OSError):
                await send(port, b"<11>app: from a stranger\n", unknown)
            await send(port, b"<11>app: from a friend\n", known)
            await until(lambda: outlet.payloads)

    run(work)

    assert texts(outlet) == ["from a friend"]


def test_a_certificate_that_cannot_be_read_is_told(papers: Path, tmp_path: Path):
    fields = tls(papers, free_port(), certificate=str(tmp_path / "none.pem"))

    with pytest.raises(ForeshockError, match=r"collectors.net: the certificate"):
        asyncio.run(Syslog("net", config(**fields)).run(Taken()))


# ---- real senders ---------------------------------------------------------------------------------------------------


@pytest.fixture
def ports(require: Callable[..., None]) -> dict[str, int]:
    require("rsyslogd", "logger")
    return {name: free_port() for name in ("udp", "tcp", "tls")}


def forward(port: int, protocol: str, template: str, more: str = "") -> str:
    return (
        f'action(type="omfwd" target="127.0.0.1" port="{port}" protocol="{protocol}" template="{template}" {more} '
        f'action.resumeRetryCount="-1" action.resumeInterval="1" queue.type="LinkedList")'
    )


def test_what_rsyslog_sends_in_each_of_its_ways_is_the_same_line(ports: dict[str, int], papers: Path):
    outlet = Taken()
    actions = [
        forward(ports["udp"], "udp", "RSYSLOG_TraditionalForwardFormat"),
        forward(ports["tcp"], "tcp", "RSYSLOG_SyslogProtocol23Format", 'TCP_Framing="octet-counted"'),
        forward(ports["tcp"], "tcp", "RSYSLOG_ForwardFormat"),
    ]
    with_tls = any(Path("/usr/lib").glob("*/rsyslog/lmnsd_gtls.so"))
    if with_tls:
        driver = 'StreamDriver="gtls" StreamDriverMode="1" StreamDriverAuthMode="anon" TCP_Framing="octet-counted"'
        actions.append(forward(ports["tls"], "tcp", "RSYSLOG_SyslogProtocol23Format", driver))

    async def work() -> None:
        where = {name: f"127.0.0.1:{ports[name]}" for name in ("udp", "tcp")}
        async with listening(outlet, **where, **tls(papers, ports["tls"])):
            server = Rsyslog(*actions)
            for name in ("ca.pem", "cert.pem", "key.pem"):
                shutil.copy(papers / name, server.folder / name)
            await asyncio.to_thread(server.__enter__)
            try:
                await asyncio.to_thread(server.write, "disk failure — Größe 7", priority="local0.crit", tag="shop")
                await until(lambda: sum(line.lines for line in lines(outlet)) == 3 + with_tls)
            finally:
                await asyncio.to_thread(server.__exit__)

    run(work)

    # Equal but for what each format leaves out, so one alert; those that came at once are one line already.
    assert {(line.text, line.host, line.app, line.severity, line.more["facility"]) for line in lines(outlet)} == {
        ("disk failure — Größe 7", "host-a", "shop", "crit", "local0")
    }
    now = dt.datetime.now(dt.UTC)
    assert all(line.at and abs(now - line.at) < dt.timedelta(minutes=1) for line in lines(outlet))
    assert len({bytes(COLLECTOR.translate(line, now).labels) for line in lines(outlet)}) == 1


def test_what_pythons_own_logging_sends_is_read():
    """Over TCP it ends a message with a zero and nothing else."""
    outlet, ports = Taken(), (free_port(), free_port())

    def write() -> None:
        for port, kind in zip(ports, (socket.SOCK_DGRAM, socket.SOCK_STREAM), strict=True):
            handler = logging.handlers.SysLogHandler(("127.0.0.1", port), socktype=kind)
            handler.ident = "shop: "
            for number in range(2):
                text = f"{kind.name} {'a' * (number + 1)}"
                handler.emit(logging.LogRecord("x", logging.ERROR, "", 0, text, (), None))
            held = 4 if kind is socket.SOCK_STREAM else 2
            eventually(lambda held=held: len(lines(outlet)) == held)  # while the stream is open
            handler.close()

    async def work() -> None:
        async with listening(outlet, udp=f"127.0.0.1:{ports[0]}", tcp=f"127.0.0.1:{ports[1]}"):
            await asyncio.to_thread(write)

    run(work)

    assert {(line.app, line.severity) for line in lines(outlet)} == {("shop", "err")}


def test_what_logger_sends_by_itself_is_read(ports: dict[str, int]):
    outlet = Taken()

    def write(*arguments: str) -> None:
        subprocess.run(
            ["logger", "-n", "127.0.0.1", "-p", "daemon.err", "-t", "shop", *arguments], check=True, timeout=20
        )

    async def work() -> None:
        async with listening(outlet, udp=f"127.0.0.1:{ports['udp']}", tcp=f"127.0.0.1:{ports['tcp']}"):
            udp, tcp = ("-d", "-P", str(ports["udp"])), ("-T", "-P", str(ports["tcp"]))
            for arguments in (
                (*udp, "--rfc3164", "the old way"),
                (*udp, "--rfc5424", "--msgid", "DISK", "--sd-id", "lab@32473", "--sd-param", 'vol="b"', "the new way"),
                (*tcp, "--rfc5424=nohost", "--octet-count", "counted"),
                (*tcp, "--rfc3164", "by line"),
            ):
                await asyncio.to_thread(write, *arguments)
            await until(lambda: len(lines(outlet)) == 4)

    run(work)

    found = {line.text: line for line in lines(outlet)}
    assert set(found) == {"the old way", "the new way", "counted", "by line"}
    assert {line.app for line in found.values()} == {"shop"}
    assert found["the new way"].more["lab.vol"] == "b"
    assert found["the new way"].more["id"] == "DISK"
    assert found["counted"].host == "127.0.0.1"
