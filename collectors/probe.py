"""Checks of our own: HTTP and HTTPS, TCP, TLS, ICMP and DNS, each from the machine that Foreshock runs on.

Facts:    http.client and ssl of Python, dnspython 2, icmplib 3; RFC 9110 (status and redirects), 6125 (names in
          certificates).
Delivery: every target is checked once in `every`, spread evenly; one that fails, or comes back, again after 15 seconds
          until it is sure. What is found is told when it changes, every 10 minutes while it lasts, and once after a
          start.
Recovery: an alert opens after `failures` of the last `of` checks failed, and ends after `successes` in a row.
          ``ProbeFailed``: no answer, or a wrong one; ``ProbeSlow``: it took longer than ``slow``;
          ``CertificateExpiring``: fewer than ``certificate_days`` are left.
Limits:   5,000 targets and 5 redirects; the first 256 KiB of an answer are compared with ``body``. A check holds a
          thread for up to `timeout`: with `concurrency` of 50, a thousand targets that are all dead take three minutes.
Needs:    the way there. For ICMP the group of the user must be in net.ipv4.ping_group_range (as root:
          `sysctl -w net.ipv4.ping_group_range='0 2147483647'`), or the process needs CAP_NET_RAW.
"""

import asyncio
import hashlib
import http.client
import socket
import ssl
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Annotated, Any, Literal
from urllib.parse import SplitResult, parse_qs, urljoin, urlsplit

import msgspec
import re2
from msgspec import Meta, Raw, Struct
from pydantic import BaseModel, ConfigDict, Field, field_validator

from foreshock.connect.auth import CaFile
from foreshock.core.contracts import Collector, Listen, ListenConfig, Outlet
from foreshock.core.errors import Invalid, Malformed, Unavailable
from foreshock.core.model import Direction, Event, Moment, Samples, Series, encode_texts
from foreshock.core.quantities import Duration

MAX_REDIRECTS = 5
MAX_BODY_BYTES = 256 * 1024
AGAIN_S = 15.0
"""Between two checks while it is not sure how a target is."""
TELL_AGAIN_S = 600.0
_FLUSH_S = 1.0
_RECORD_ITEMS = 1000
_PORTS = {"http": 80, "https": 443, "tls": 443}
_SCHEMES = ("http", "https", "tcp", "tls", "icmp", "dns")


class ProbeTarget(BaseModel):
    """One thing to check."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    url: str = Field(
        max_length=2000,
        description="what to check: http://…, https://…, tcp://HOST:PORT, tls://HOST:PORT, icmp://HOST, "
        "dns://SERVER/NAME?type=AAAA (dns:///NAME asks the resolver of this machine)",
        examples=["https://shop.example.com/health"],
    )
    name: str = Field(default="", max_length=200, description="what alerts call it; without: the url")
    ci: str = Field(default="", max_length=200, description="the CI it is about; without: the host of the url")
    status: tuple[int, ...] = Field(
        default=(), max_length=20, description="HTTP statuses that are right; empty: 200 to 399"
    )
    body: str = Field(default="", max_length=2000, description="pattern (RE2) that the answer must match somewhere")
    answer: str = Field(default="", max_length=300, description="what the answer of a DNS server must hold")
    headers: dict[str, str] = Field(default_factory=dict, max_length=20, description="headers of the HTTP request")
    follow: bool = Field(default=True, description="follow redirects")
    verify: bool = Field(default=True, description="whether a certificate must be valid, and of that name")
    ca_file: CaFile = None
    slow: Duration | None = Field(default=None, gt=timedelta(0), description="an answer that takes longer is an alert")
    certificate_days: int = Field(
        default=14, ge=0, le=825, description="a certificate with fewer days left is an alert; 0: never"
    )
    severity: str = Field(default="critical", max_length=64, description="how bad it is when it fails")

    @field_validator("url")
    @classmethod
    def _is_a_target(cls, url: str) -> str:
        hint = "write it like https://host/path, tcp://host:port, icmp://host or dns://server/name"
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise Invalid(f"{url!r}: {error}", hint=hint) from None
        if parts.scheme not in _SCHEMES:
            raise Invalid(f"{parts.scheme!r} cannot be checked", hint=hint)
        if parts.username or parts.password:
            raise Invalid("it holds a user or a password", hint="write an Authorization header")
        if parts.scheme == "dns":
            if not parts.path.strip("/"):
                raise Invalid(f"{url!r} names nothing to ask for", hint=hint)
        elif not parts.hostname:
            raise Invalid(f"{url!r} has no host", hint=hint)
        elif parts.scheme == "tcp" and port is None:
            raise Invalid(f"{url!r} has no port", hint=hint)
        return url

    @field_validator("body")
    @classmethod
    def _is_a_pattern(cls, body: str) -> str:
        try:
            _pattern(body)
        except re2.error as error:
            raise Invalid(f"{body!r} is no valid pattern ({error})", hint="use RE2 syntax") from None
        return body

    @property
    def called(self) -> str:
        return self.name or self.url[:200]

    @property
    def about(self) -> str:
        """The CI: as set, or the host; of a DNS question without a server the name that is asked for."""
        parts = urlsplit(self.url)
        return self.ci or parts.hostname or parts.path.strip("/")


class ProbeConfig(ListenConfig):
    targets: tuple[ProbeTarget, ...] = Field(
        min_length=1,
        max_length=5000,
        description="what to check",
        examples=[[{"url": "https://shop.example.com/health", "slow": "2s"}, {"url": "icmp://router-7.example.com"}]],
    )
    every: Duration = Field(
        default=timedelta(minutes=1), ge=timedelta(seconds=5), le=timedelta(days=1), description="how often"
    )
    timeout: Duration = Field(
        default=timedelta(seconds=10),
        ge=timedelta(milliseconds=100),
        le=timedelta(minutes=2),
        description="an answer that takes longer is none",
    )
    failures: int = Field(default=3, ge=1, le=50, description="how many of the last checks must fail for an alert …")
    of: int = Field(default=5, ge=1, le=50, description="… and of how many")
    successes: int = Field(default=2, ge=1, le=50, description="how many in a row must succeed for it to end")
    concurrency: int = Field(default=50, ge=1, le=500, description="checks at the same time")

    @field_validator("targets")
    @classmethod
    def _have_own_names(cls, targets: tuple[ProbeTarget, ...]) -> tuple[ProbeTarget, ...]:
        seen: set[str] = set()
        for index, target in enumerate(targets):
            if target.called in seen:
                raise Invalid(f"two are called {target.called!r}", hint="give each its own name", path=(index, "name"))
            seen.add(target.called)
        return targets


@lru_cache(maxsize=5000)
def _pattern(text: str) -> "re2._Regexp":
    options = re2.Options()
    options.log_errors = False
    return re2.compile(text, options)


# ---- one check, in a thread -----------------------------------------------------------------------------------------


class Found(Struct, frozen=True):
    """What a check found. problem: why it failed; empty: it did not. days_left: of the certificate, where one was seen.
    ours: it could not be made for want of a permission here, which says nothing about the target."""

    problem: str = ""
    seconds: float = 0.0
    days_left: float | None = None
    ours: bool = False


def check(target: ProbeTarget, timeout_s: float) -> Found:
    """Makes one check; whatever goes wrong is what it found."""
    parts = urlsplit(target.url)
    begun = time.monotonic()
    days: list[float] = []
    try:
        problem = _CHECKS[parts.scheme](target, parts, begun + timeout_s, days)
    except PermissionError as error:
        return Found(f"{error.strerror or error}", ours=True)
    except TimeoutError:
        problem = f"no answer within {timeout_s:g} s"
    except ssl.SSLCertVerificationError as error:
        problem = f"the certificate is not valid: {error.verify_message}"
    except ssl.SSLError as error:
        problem = f"no TLS: {error.reason or error}"
    except socket.gaierror as error:
        problem = f"the name is not known: {error.strerror}"
    except OSError as error:
        problem = f"no connection: {error.strerror or error}"
    except (http.client.HTTPException, ValueError, UnicodeError) as error:
        problem = f"no answer in HTTP: {type(error).__name__} {error}"
    return Found(problem[:500], time.monotonic() - begun, days[0] if days else None)


def _left(deadline: float) -> float:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TimeoutError
    return left


def _http(target: ProbeTarget, parts: SplitResult, deadline: float, days: list[float]) -> str:
    for _ in range(MAX_REDIRECTS + 1):
        host, port = parts.hostname or "", parts.port or _PORTS[parts.scheme]
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            connection = http.client.HTTPSConnection(host, port, timeout=_left(deadline), context=_context(target))
        else:
            connection = http.client.HTTPConnection(host, port, timeout=_left(deadline))
        with closing(connection):
            connection.connect()
            if isinstance(connection.sock, ssl.SSLSocket):
                days.append(_days_left(connection.sock))
            path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
            connection.request("GET", path, headers={"User-Agent": "foreshock-probe", **target.headers})
            answer = connection.getresponse()
            where = answer.headers.get("Location")
            if target.follow and 300 <= answer.status < 400 and where and answer.status not in target.status:
                parts = urlsplit(urljoin(parts.geturl(), where))
                if parts.scheme not in ("http", "https") or not parts.hostname:
                    return f"it leads to {where[:200]!r}"
                continue
            right = answer.status in target.status if target.status else 200 <= answer.status < 400
            if not right:
                return f"HTTP {answer.status} {answer.reason}"
            if target.body:
                text = _body(connection, answer, deadline).decode(errors="replace")
                if _pattern(target.body).search(text) is None:
                    return f"the answer does not match {target.body[:200]!r}"
            return ""
    return f"more than {MAX_REDIRECTS} redirects"


def _body(connection: http.client.HTTPConnection, answer: http.client.HTTPResponse, deadline: float) -> bytes:
    """Its beginning; a server that sends a byte a second does not hold us longer than others."""
    body = b""
    while len(body) < MAX_BODY_BYTES:
        if connection.sock is not None:
            connection.sock.settimeout(_left(deadline))
        chunk = answer.read1(MAX_BODY_BYTES - len(body))
        if not chunk:
            break
        body += chunk
        _left(deadline)
    return body


def _tcp(target: ProbeTarget, parts: SplitResult, deadline: float, days: list[float]) -> str:
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=_left(deadline)):
        return ""


def _tls(target: ProbeTarget, parts: SplitResult, deadline: float, days: list[float]) -> str:
    host, port = parts.hostname or "", parts.port or _PORTS["tls"]
    with (
        socket.create_connection((host, port), timeout=_left(deadline)) as plain,
        _context(target).wrap_socket(plain, server_hostname=host) as secure,
    ):
        days.append(_days_left(secure))
    return ""


def _context(target: ProbeTarget) -> ssl.SSLContext:
    return _context_of(target.verify, target.ca_file)


@lru_cache(maxsize=64)  # reading the authorities takes some 20 ms
def _context_of(verify: bool, ca_file: Path | None) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=ca_file)
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _days_left(connection: ssl.SSLSocket) -> float:
    from cryptography import x509

    octets = connection.getpeercert(binary_form=True)
    if octets is None:
        raise ssl.SSLError("the server shows no certificate")
    left = x509.load_der_x509_certificate(octets).not_valid_after_utc - datetime.now(UTC)
    return left.total_seconds() / 86400


def _icmp(target: ProbeTarget, parts: SplitResult, deadline: float, days: list[float]) -> str:
    import icmplib

    def ping(privileged: bool) -> Any:
        host, wait_s = parts.hostname or "", _left(deadline) / 2
        return icmplib.ping(host, count=2, interval=0.2, timeout=wait_s, privileged=privileged)

    try:
        try:
            answer = ping(privileged=False)
        except icmplib.SocketPermissionError:
            answer = ping(privileged=True)  # as root, or with CAP_NET_RAW
    except icmplib.NameLookupError:
        return "the name is not known"
    except icmplib.SocketPermissionError:
        raise PermissionError(1, "ICMP is not allowed here; see net.ipv4.ping_group_range") from None
    except icmplib.ICMPLibError as error:
        return f"no ping: {error}"
    return "" if answer.is_alive else "no answer to a ping"


def _dns(target: ProbeTarget, parts: SplitResult, deadline: float, days: list[float]) -> str:
    import dns.exception
    import dns.resolver

    resolver = dns.resolver.Resolver(configure=not parts.hostname)
    if parts.hostname:
        resolver.nameservers = [socket.gethostbyname(parts.hostname) if ":" not in parts.hostname else parts.hostname]
        resolver.port = parts.port or 53
    kind = parse_qs(parts.query).get("type", ["A"])[0]
    try:
        answer = resolver.resolve(parts.path.strip("/"), kind, lifetime=_left(deadline), search=False)
    except dns.exception.Timeout:
        raise TimeoutError from None
    except dns.exception.DNSException as error:
        return f"no answer: {type(error).__name__}"
    found = [each.to_text() for each in answer]
    if target.answer and target.answer not in found:
        return f"the answer is {', '.join(found)[:200]}, not {target.answer}"
    return ""


_Check = Callable[[ProbeTarget, SplitResult, float, list[float]], str]
_CHECKS: Mapping[str, _Check] = {"http": _http, "https": _http, "tcp": _tcp, "tls": _tls, "icmp": _icmp, "dns": _dns}


# ---- how a target is ------------------------------------------------------------------------------------------------

Condition = Literal["failed", "slow", "certificate"]


class State:
    """One condition of a target, from what its checks found. sure: it is known how it is."""

    def __init__(self, failures: int, of: int, successes: int) -> None:
        self._failures, self._successes = failures, successes
        self._last: deque[bool] = deque(maxlen=max(failures, of))
        self._good = 0
        self.open: bool | None = None

    def judge(self, bad: bool) -> bool:
        """Whether it opened, ended, or is known for the first time."""
        before = self.open
        self._last.append(bad)
        self._good = 0 if bad else self._good + 1
        if sum(self._last) >= self._failures and bad:
            self.open = True
        elif self._good >= self._successes:
            self.open = False
            if before:
                self._last.clear()
        return self.open is not before

    @property
    def sure(self) -> bool:
        return self.open is not None and (self._good == 0) is self.open


class _Watched:
    """A target, and how it is."""

    def __init__(self, target: ProbeTarget, config: ProbeConfig) -> None:
        self.target = target
        self.states: dict[Condition, State] = {
            "failed": State(config.failures, config.of, config.successes),
            "slow": State(config.failures, config.of, config.successes),
            "certificate": State(1, 1, 1),
        }
        self.told_at: dict[Condition, float] = {}

    def judge(self, found: Found, at: datetime, now: float) -> Iterator[dict[str, Any]]:
        """What there is to tell."""
        target, slow, days = self.target, self.target.slow, found.days_left
        news: list[tuple[Condition, bool, str]] = [("failed", bool(found.problem), found.problem)]
        if slow is not None and not found.problem:
            news.append(("slow", found.seconds > slow.total_seconds(), f"it took {found.seconds:.3f} s"))
        if days is not None and target.certificate_days:
            news.append(("certificate", days < target.certificate_days, f"the certificate has {days:.1f} days left"))
        for condition, bad, reason in news:
            state = self.states[condition]
            changed = state.judge(bad)
            again = state.open and bad and now - self.told_at.get(condition, now) >= TELL_AGAIN_S
            if changed or again:
                self.told_at[condition] = now
                yield {
                    "target": target.called,
                    "url": target.url,
                    "ci": target.about,
                    "condition": condition,
                    "over": not state.open,
                    "reason": reason,
                    "severity": target.severity if condition == "failed" else "warning",
                    "at": at,
                }

    @property
    def sure(self) -> bool:
        return self.states["failed"].sure

    def samples(self, found: Found, at: datetime) -> Iterator[Samples]:
        values = [("probe_up", float(not found.problem), "", Direction.DOWN)]
        if not found.problem:
            values.append(("probe_seconds", found.seconds, "s", Direction.UP))
        if found.days_left is not None:
            values.append(("certificate_days_left", found.days_left, "d", Direction.DOWN))
        for metric, value, unit, worse in values:
            place = f"target={self.target.called}"
            series = Series(ci=self.target.about, metric=metric, dimension=place, unit=unit, worse=worse)
            yield Samples(series=series, times=[at.timestamp()], values=[value])


class Probes:
    """All targets of an instance."""

    def __init__(
        self, instance: str, config: ProbeConfig, check: Callable[[ProbeTarget, float], Found] = check
    ) -> None:
        self._instance, self._config, self._check = instance, config, check
        self._told: list[dict[str, Any]] = []
        self._samples: list[Samples] = []

    async def run(self, outlet: Outlet) -> None:
        outlet.listens(f"{len(self._config.targets)} targets")
        pool = ThreadPoolExecutor(self._config.concurrency, thread_name_prefix="probe")
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._hand_over(outlet))
                for target in self._config.targets:
                    group.create_task(self._watch(_Watched(target, self._config), pool, outlet))
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    async def _watch(self, watched: _Watched, pool: ThreadPoolExecutor, outlet: Outlet) -> None:
        loop = asyncio.get_running_loop()
        every, timeout_s = self._config.every.total_seconds(), self._config.timeout.total_seconds()
        await asyncio.sleep(_share(watched.target.called) * min(every, AGAIN_S))
        while True:
            begun = loop.time()
            found = await loop.run_in_executor(pool, self._check, watched.target, timeout_s)
            at = datetime.now(UTC)
            if found.ours:
                outlet.say(f"{watched.target.called} cannot be checked: {found.problem}")
            else:
                self._told += watched.judge(found, at, loop.time())
                self._samples += watched.samples(found, at)
            pause = every if watched.sure or found.ours else min(every, AGAIN_S)
            await asyncio.sleep(max(0.0, begun + pause - loop.time()))

    async def _hand_over(self, outlet: Outlet) -> None:
        """Once a second what was found. Where nothing can be kept, what there is to tell waits; samples do not."""
        while True:
            try:
                await asyncio.sleep(_FLUSH_S)
            finally:  # what was found goes out in the end, too
                await self._flush(outlet)

    async def _flush(self, outlet: Outlet) -> None:
        samples, self._samples = self._samples, []
        with suppress(Unavailable):
            while self._told:
                told = self._told[:_RECORD_ITEMS]
                await outlet.take(msgspec.json.encode(told), items=len(told))
                del self._told[: len(told)]
        with suppress(Unavailable):
            await outlet.measure(samples)


def _share(name: str) -> float:
    """0 to 1, always the same for a name: targets are spread, and none is checked twice as a start goes by."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "big") / 2**32


# ---- payload to events ----------------------------------------------------------------------------------------------

_Text = Annotated[str, Meta(min_length=1, max_length=2000)]


class Told(Struct, frozen=True, kw_only=True):
    """How a target is, by one condition."""

    target: _Text
    ci: _Text
    condition: Condition
    over: bool
    at: Moment
    url: str = ""
    reason: str = ""
    severity: str = "critical"


_RAWS, _TOLD = msgspec.json.Decoder(list[Raw]), msgspec.json.Decoder(Told)
_NAMES: Mapping[str, str] = {"failed": "ProbeFailed", "slow": "ProbeSlow", "certificate": "CertificateExpiring"}


def decode(payload: bytes) -> Sequence[Told | Malformed]:
    try:
        raws = _RAWS.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"no list of what probes found: {error}") from None
    if not raws:
        raise Malformed("an empty list of what probes found")
    items: list[Told | Malformed] = []
    for raw in raws:
        try:
            items.append(_TOLD.decode(raw))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            items.append(Malformed(f"not what a probe found: {error}", payload=bytes(raw)))
    return items


def translate(item: Told, received_at: datetime) -> Event:
    reason = item.reason[:2000]
    summary = f"{item.target[:500]}: {'all is well again' if item.over else reason}"
    return Event(
        labels=encode_texts({"alertname": _NAMES[item.condition], "host": item.ci, "target": item.target}),
        annotations=encode_texts({"summary": summary, "reason": reason, "url": item.url[:2000]}),
        severity=item.severity[:64],
        ends_at=min(item.at, received_at) if item.over else None,
    )


COLLECTOR = Collector(
    kind="probe",
    title="Checks of our own: HTTP, TCP, TLS, ICMP and DNS",
    facts="http.client, ssl, dnspython 2 and icmplib 3",
    decode=decode,
    translate=translate,
    sample="probe-firing.json",
    listen=Listen(config=ProbeConfig, build=Probes),
)
