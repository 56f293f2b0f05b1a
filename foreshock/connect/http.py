"""HTTP for connectors: every call has a time-out, a bound on the answer, and an error that says what happens next.

A call that changes something is never repeated here: whether it may be is decided where its meaning is known
(``service.delivery``). One that only reads is, where there is a budget for it (``connect.calls``).
Limit: the time-outs bound the connect, each wait for bytes and the whole body, not headers that drip in byte by byte;
such a server holds up its own lane and no other.
"""

import base64
import json
import random
import re
import ssl
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http.cookiejar import DefaultCookiePolicy
from pathlib import Path
from typing import Any, TypeVar

import requests
import urllib3
from msgspec import Struct
from requests import PreparedRequest
from requests.adapters import HTTPAdapter

from foreshock import __version__
from foreshock.connect.calls import MAX_IN_A_ROW, PAUSE_S, QUICK_S, Made, RetryBudget
from foreshock.core.errors import ConfigError, Denied, ForeshockError, Problem, Rejected, Unavailable

CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 30.0
CALL_S = CONNECT_TIMEOUT_S + READ_TIMEOUT_S
"""No call takes longer until its answer begins."""
MAX_BODY_BYTES = 1024 * 1024
MAX_ERROR_BODY_BYTES = 64 * 1024
MAX_RETRY_AFTER_S = 3600.0
DEFAULT_429_WAIT_S = 30.0
"""A server that limits the rate without saying until when gets a probe at most every so often."""

T = TypeVar("T")
_OTHER_PAGE = "check that the address is the API and not a login or proxy page"
_CHUNK_BYTES = 64 * 1024
_DETAIL_CHARS = 300
_UNPRINTABLE = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
_TAGS = re.compile(r"<[^>]{0,500}>")
# Turned away or timed out before the request was read in full (RFC 9110 and 8470); try again later.
_LATER = frozenset({408, 425, 429})
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})  # RFC 9110 section 9.2.1
# A gateway answers; what stands behind it may be at work on the request still (RFC 9110 sections 15.6.3 and 15.6.5).
_OF_GATEWAYS = frozenset({502, 504})


class Bearer:
    """``Authorization: Bearer <token>`` (RFC 6750)."""

    def __init__(self, token: str) -> None:
        self.secrets = (token,)

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self.secrets[0]}"
        return request


class Basic:
    """``Authorization: Basic`` with UTF-8 (RFC 7617)."""

    def __init__(self, user: str, password: str) -> None:
        self._token = base64.b64encode(f"{user}:{password}".encode()).decode()
        self.secrets = (password, self._token)

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.headers["Authorization"] = f"Basic {self._token}"
        return request


class KeyHeader:
    """A key in a header of its own, for example ``x-sn-apikey``."""

    def __init__(self, name: str, key: str) -> None:
        self._name = name
        self.secrets = (key,)

    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.headers[self._name] = self.secrets[0]
        return request


Auth = Callable[[PreparedRequest], PreparedRequest]
"""Adds what proves who we are; sees the finished request, so it can sign the body. Its ``secrets`` are redacted, those
too that it gets later (a token it fetches)."""


class Refusal(Struct, frozen=True, kw_only=True):
    """An answer that is no 2xx, for a client that knows the shape of its system's errors.

    Attributes:
        headers: names in lower case.
        message: what the error would say otherwise: place, status and the body as one line.
        retry_after_s: what a Retry-After header asks for.
    """

    status: int
    headers: Mapping[str, str]
    body: bytes
    place: str
    message: str
    retry_after_s: float | None

    def json(self) -> Any:
        """The body as JSON; None where it is none."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None


ReadRefusal = Callable[[Refusal], ForeshockError | None]
"""What a refusal means; None leaves it to the status code."""


class Answer(Struct, frozen=True, kw_only=True):
    """A 2xx answer with its whole body. headers: names in lower case. place: for messages."""

    status: int
    headers: Mapping[str, str]
    body: bytes
    place: str

    def json(self) -> Any:
        """The body as JSON. Raises Unavailable if it is none: a login page does not say what became of the request."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            what = self.headers.get("content-type", "") or "no content type"
            raise Unavailable(
                f"{self.place} answered HTTP {self.status} with {len(self.body)} bytes that are not JSON ({what})",
                hint=_OTHER_PAGE,
            ) from None

    def part(self, name: str, shape: type[T]) -> T:
        """What stands under a name in a JSON object. Raises Unavailable where nothing of that shape does."""
        body = self.json()
        part = body.get(name) if isinstance(body, dict) else None
        if not isinstance(part, shape):
            raise Unavailable(f"{self.place} answered JSON without {name!r}", hint=_OTHER_PAGE)
        return part

    def rows(self, name: str) -> list[Mapping[str, Any]]:
        """The same of a list of objects."""
        rows: list[Any] = self.part(name, list)
        if not all(isinstance(row, dict) for row in rows):
            raise Unavailable(f"{self.place} answered {name} that are no records", hint=_OTHER_PAGE)
        return rows


class _Session(requests.Session):
    def get_redirect_target(self, resp: requests.Response) -> None:
        """Nowhere: even where told not to follow, requests would read the whole body of a redirect into memory."""


class Http:
    """One server as one connector instance sees it. Not for several threads at once.

    Args:
        instance: named in every message, for example ``servicenow 'prod'``.
        base_url: scheme, host and leading path; calls name the rest.
        auth: Bearer, Basic or any signer.
        ca_file: authorities to trust instead of the public ones; verification cannot be switched off.
        client_cert: certificate that shows who we are, and its key, PEM; mode 0600 of the key is the caller's to check.
        proxy: address of an HTTP proxy; proxies and passwords of the environment are not used.
        max_body_bytes: of an answer, decoded; a longer one is refused.
        secrets: what must not appear in messages besides the secrets of ``auth``.
        read_refusal: knows the system's own errors; its messages are made from ``Refusal.message``, which holds no
            secret.
    Attributes:
        server_now: the server's own clock, by its last good answer; None before it, or where that does not say.
        heard: called with the headers of each answer, names in lower case.
        made: called at the end of each call, repetitions too.
        retries: for calls that change nothing and fail quickly; their answers are JSON. None: each is made once.
    Raises: ConfigError where ``ca_file`` holds no certificates, or ``client_cert`` no pair.
    """

    def __init__(
        self,
        instance: str,
        base_url: str,
        *,
        auth: Auth | None = None,
        ca_file: Path | None = None,
        client_cert: tuple[Path, Path] | None = None,
        proxy: str = "",
        secrets: tuple[str, ...] = (),
        read_refusal: ReadRefusal | None = None,
        connect_timeout_s: float = CONNECT_TIMEOUT_S,
        read_timeout_s: float = READ_TIMEOUT_S,
        max_body_bytes: int = MAX_BODY_BYTES,
        heard: Callable[[Mapping[str, str]], None] = lambda headers: None,
        made: Callable[[Made], None] = lambda made: None,
        retries: RetryBudget | None = None,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        assert base_url.startswith(("http://", "https://")), base_url
        if ca_file is not None:
            _check_authorities(ca_file, instance)
        if client_cert is not None:
            _check_pair(client_cert, instance)
        self.instance = instance
        self.server_now: datetime | None = None
        self.base_url = base_url.rstrip("/")
        self._auth = auth
        self._verify: bool | str = True if ca_file is None else str(ca_file)
        self._timeout = (connect_timeout_s, read_timeout_s)
        self._max_body_bytes = max_body_bytes
        self._now = now
        self._secrets = secrets
        self._read_refusal = read_refusal
        self._heard = heard
        self._made = made
        self._retries = retries
        self._session = _Session()
        # The environment could bring a netrc password, a proxy or a certificate bundle that nobody configured here.
        self._session.trust_env = False
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
        self._session.headers["User-Agent"] = f"foreshock/{__version__}"
        self._session.headers["Accept"] = "application/json"
        if client_cert is not None:
            self._session.cert = (str(client_cert[0]), str(client_cert[1]))
        if proxy:
            self._session.proxies = {"http": proxy, "https": proxy}
        for scheme in ("https://", "http://"):
            self._session.mount(scheme, HTTPAdapter(max_retries=0, pool_maxsize=2))

    def close(self) -> None:
        self._session.close()

    def get(self, path: str, **options: Any) -> Answer:
        return self.request("GET", path, **options)

    def post(self, path: str, **options: Any) -> Answer:
        return self.request("POST", path, **options)

    def put(self, path: str, **options: Any) -> Answer:
        return self.request("PUT", path, **options)

    def patch(self, path: str, **options: Any) -> Answer:
        return self.request("PATCH", path, **options)

    def request(
        self,
        method: str,
        path: str,
        *,
        params: Mapping[str, str | int] | None = None,
        json: Any = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        safe: bool | None = None,
    ) -> Answer:
        """One call, no redirects.

        Args:
            path: appended to the base URL as it is; quote its parts.
            json, body: one of them or neither; ``body`` goes out byte by byte as given.
            safe: whether it changes nothing there; None: as its method says. A search by POST is safe.
        Raises: Unavailable (no answer, 408, 425, 429, 5xx, a redirect, an answer too long), Denied (401, 403, 407),
            Rejected (any other 4xx).
        """
        safe = method in _SAFE if safe is None else safe
        repeated = 0
        while True:
            quick_until = time.monotonic() + QUICK_S
            try:
                answer = self._request(method, path, params, json, body, headers)
                if safe and self._retries is not None and answer.body and time.monotonic() < quick_until:
                    answer.json()  # a page instead of JSON, or half of it, is no answer either
            except ForeshockError as error:
                self._made(Made(safe, error))
                quick = time.monotonic() < quick_until
                if not (safe and quick and repeated < MAX_IN_A_ROW and self._may_repeat(error)):
                    raise
                repeated += 1
                time.sleep(random.uniform(0.0, PAUSE_S))
            else:
                self._made(Made(safe, None))
                if self._retries is not None:
                    self._retries.earn()
                return answer

    def _may_repeat(self, error: ForeshockError) -> bool:
        """Not where nobody listens, nor where the server said when, or that it refuses."""
        passing = isinstance(error, Unavailable) and not error.unsent and not error.retry_after_s
        return passing and self._retries is not None and self._retries.spend()

    def _request(
        self,
        method: str,
        path: str,
        params: Mapping[str, str | int] | None,
        json: Any,
        body: bytes | None,
        headers: Mapping[str, str] | None,
    ) -> Answer:
        place = self._redact(f"{self.instance} at {method} {path.partition('?')[0]}")
        deadline = time.monotonic() + sum(self._timeout)
        try:
            response = self._session.request(
                method,
                self.base_url + path,
                params=params,
                json=json,
                data=body,
                headers=headers,
                auth=self._auth,
                timeout=self._timeout,
                verify=self._verify,
                allow_redirects=False,
                stream=True,
            )
        except OSError as error:  # RequestException is one
            raise self._no_answer(error, place) from None
        with response:
            self._heard({name.lower(): value for name, value in response.headers.items()})
            limit = self._max_body_bytes if response.ok else MAX_ERROR_BODY_BYTES
            try:
                content, whole = _read_body(response.raw, limit, deadline)
            except (urllib3.exceptions.HTTPError, OSError) as error:
                if 200 <= response.status_code < 300:
                    raise self._no_answer(error, place) from None
                content, whole = b"", False
            if not 200 <= response.status_code < 300:
                raise self._refusal(response, content, place)
            if not whole:
                raise Unavailable(
                    f"{place} answered HTTP {response.status_code} with more than {limit} bytes,"
                    f" or took longer than {sum(self._timeout):g} s to send them"
                )
            answer_headers = {name.lower(): value for name, value in response.headers.items()}
        self.server_now = read_date(answer_headers.get("date", ""))
        return Answer(status=response.status_code, headers=answer_headers, body=content, place=place)

    def _no_answer(self, error: Exception, place: str) -> Unavailable:
        """What went wrong on the wire. Only where no connection came about is it certain that nothing was sent."""
        connect_s, read_s = self._timeout
        reason = _root(error)
        match error:
            case requests.ConnectTimeout():
                return Unavailable(
                    f"{place}: no connection within {connect_s:g} s",
                    hint="check the address and firewalls",
                    unsent=True,
                )
            case requests.Timeout() | urllib3.exceptions.ReadTimeoutError():
                return Unavailable(f"{place}: no answer within {read_s:g} s")
            case requests.exceptions.SSLError():
                return Unavailable(
                    f"{place}: TLS failed: {self._clean(str(reason))}",
                    hint="check the server's certificate, and ca_file if it is signed by your own authority",
                )
        if isinstance(reason, urllib3.exceptions.NewConnectionError | urllib3.exceptions.ProxyError):
            return Unavailable(
                f"{place}: no connection: {self._clean(str(reason))}", hint="check the address", unsent=True
            )
        return Unavailable(f"{place}: the connection broke: {type(reason).__name__}: {self._clean(str(reason))}")

    def _refusal(self, response: requests.Response, content: bytes, place: str) -> ForeshockError:
        status = response.status_code
        detail = self._clean(_TAGS.sub(" ", content.decode("utf-8", "replace")))
        message = f"{place} answered HTTP {status}" + (f": {detail}" if detail else "")
        retry_after_s = read_retry_after(response.headers.get("Retry-After", ""), self._now())
        if self._read_refusal is not None:
            refusal = Refusal(
                status=status,
                headers={name.lower(): value for name, value in response.headers.items()},
                body=content,
                place=place,
                message=message,
                retry_after_s=retry_after_s,
            )
            meant = self._read_refusal(refusal)
            if meant is not None:
                return meant
        match status:
            case 401 | 403 | 407:
                return Denied(message, hint="check the account, its password or token, and what it is allowed to do")
            case 429:
                return Unavailable(message, retry_after_s=retry_after_s or DEFAULT_429_WAIT_S, unsent=True)
            case _ if status in _LATER or status >= 500:
                return Unavailable(message, retry_after_s=retry_after_s, answered=status not in _OF_GATEWAYS)
            case _ if 400 <= status < 500:
                return Rejected(message)
            case _:
                return Unavailable(
                    message,
                    hint="redirects are not followed; check the address, and that no login page stands before it",
                )

    def _redact(self, text: str) -> str:
        known = {secret for secret in (*self._secrets, *getattr(self._auth, "secrets", ())) if secret}
        for secret in sorted(known, key=len, reverse=True):
            text = text.replace(secret, "***")
        return text

    def _clean(self, text: str) -> str:
        """One printable line without secrets, short enough for a log line. Secrets first: a cut one would be missed."""
        return " ".join(_UNPRINTABLE.sub(" ", self._redact(text)).split())[:_DETAIL_CHARS]


def read_retry_after(value: str, now: datetime) -> float | None:
    """Seconds that a Retry-After header asks for: None where it is absent, unreadable or not ahead, an hour at most.

    Source: RFC 9110 section 10.2.3: delay in seconds or an HTTP date.
    """
    value = value.strip()
    if re.fullmatch(r"[0-9]{1,20}(\.[0-9]{1,20})?", value):
        seconds = float(value)
    else:
        try:
            moment = parsedate_to_datetime(value)
        except (ValueError, TypeError, OverflowError):
            return None
        seconds = ((moment if moment.tzinfo else moment.replace(tzinfo=UTC)) - now).total_seconds()
    return min(seconds, MAX_RETRY_AFTER_S) if seconds > 0 else None


def read_date(value: str) -> datetime | None:
    """A Date header (RFC 9110 section 5.6.7); None where it is absent or none."""
    try:
        return parsedate_to_datetime(value).astimezone(UTC)
    except (TypeError, ValueError, OverflowError):
        return None


def _check_authorities(ca_file: Path, instance: str) -> None:
    try:
        ssl.create_default_context(cafile=str(ca_file))
    except OSError as error:
        problem = Problem(
            file=str(ca_file),
            line=None,
            path="ca_file",
            message=f"{instance} cannot use it: {error}",
            hint="name a readable file with certificates in PEM form",
        )
        raise ConfigError([problem]) from None


def _check_pair(client_cert: tuple[Path, Path], instance: str) -> None:
    certificate, key = client_cert
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key, password=lambda: b"")
    except (OSError, ValueError) as error:
        problem = Problem(
            file=str(certificate),
            line=None,
            path="client_cert_file",
            message=f"{instance} cannot use it with {key}: {error}",
            hint="name a certificate and its own key, both in PEM form, the key without a password",
        )
        raise ConfigError([problem]) from None


def _read_body(raw: Any, limit: int, deadline: float) -> tuple[bytes, bool]:
    """At most ``limit`` decoded bytes, and whether that is all there was. ``read1`` returns what has come so far, so a
    body that drips in meets the deadline."""
    parts: list[bytes] = []
    size = 0
    while True:
        part = raw.read1(_CHUNK_BYTES, decode_content=True)
        if not part:
            return b"".join(parts), True
        parts.append(part)
        size += len(part)
        if size > limit or time.monotonic() > deadline:
            return b"".join(parts)[:limit], False


def _root(error: BaseException) -> BaseException:
    """The error under the wrappers of requests and urllib3."""
    inner = error.args[0] if error.args and isinstance(error.args[0], BaseException) else None
    if isinstance(error, urllib3.exceptions.MaxRetryError) and error.reason is not None:
        inner = error.reason
    if isinstance(error, urllib3.exceptions.ProtocolError) and len(error.args) > 1:
        inner = error.args[1] if isinstance(error.args[1], BaseException) else None
    return error if inner is None else _root(inner)
