"""What accounts have in common: addresses, secrets in files of their own, tokens that are fetched with them."""

import stat
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlencode, urlsplit
from weakref import WeakValueDictionary

from pydantic import Field

from foreshock.core.errors import ConfigError, Denied, Invalid, Problem, Rejected, Unavailable

if TYPE_CHECKING:
    from requests import PreparedRequest

    from foreshock.connect.http import Http  # importing it takes a tenth of a second of each start

_TOKEN_LIFETIME_S = 1800.0
_LIMITED_S = 60.0
_EARLY_S = 60.0
"""A token is fetched again so long before it runs out: clocks differ, and a request takes its time."""


CaFile = Annotated[Path | None, Field(description="authorities to trust instead of the public ones, PEM")]
Proxy = Annotated[str, Field(description="address of an HTTP proxy")]


def web_address(url: str, *, like: str, instead: str) -> str:
    """``url`` of an account, without a slash at the end.

    Args:
        like: an example. instead: the settings that credentials belong into.
    Raises: Invalid where it is none, holds credentials, or would be reached without encryption.
    """
    parts = urlsplit(url)
    local = parts.hostname in ("localhost", "127.0.0.1", "::1")
    if parts.scheme not in ("http", "https") or not parts.hostname or parts.query or parts.fragment:
        raise Invalid(f"{url!r} is no web address", hint=f"write it like {like}")
    if parts.username or parts.password:
        raise Invalid("it holds a user or a password", hint=f"write them as {instead}")
    if parts.scheme == "http" and not local:
        raise Invalid(f"{parts.hostname} would be reached without encryption", hint="write https://")
    return url.rstrip("/")


def read_secret(path: Path, place: str) -> str:
    """The one line in ``path``.

    Args:
        place: the setting that names the file, for messages.
    Raises: ConfigError where it is missing, open to others than its owner, or empty.
    """
    secret = read_private(path, place).strip()
    if not secret or "\n" in secret or not secret.isprintable():
        raise _wrong(path, place, "does not hold one line of text", "write the secret into it, and nothing else")
    return secret


def read_private(path: Path, place: str) -> str:
    """All that is in ``path``. Raises ConfigError where it is missing, or open to others than its owner."""
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        content = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        hint = "write the secret into it and make Foreshock its owner"
        raise _wrong(path, place, f"cannot be read: {error}", hint) from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        message = f"its mode is {mode:04o}, so others than its owner may read it"
        raise _wrong(path, place, message, f"run: chmod 600 {path}")
    return content


def _wrong(path: Path, place: str, message: str, hint: str) -> ConfigError:
    return ConfigError([Problem(file=str(path), line=None, path=place, message=message, hint=hint)])


class TokenRefused(Denied):
    """The credentials of one call were refused as such (401): a fetched token may have run out before its time."""


class _Grant:
    """What all connections with the same credentials share: servers give few tokens (Zoho ten in ten minutes)."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.token = self.refresh = ""
        self.until = 0.0


_GRANTS: WeakValueDictionary[tuple[object, ...], _Grant] = WeakValueDictionary()


class OAuth:
    """``Authorization`` with a token that is fetched when it is needed and again before it runs out (RFC 6749).

    Connections of one process that are made with the same values use one token.

    Args:
        http: for the token's own server, without authentication.
        path: of the token endpoint below it.
        form: grant_type and what it needs; where the answer brings a refresh token, that one is used from then on.
        secrets: the values in ``form`` that no message may show.
        scheme: the word before the token, for servers that want another one than Bearer.
    """

    def __init__(
        self,
        http: "Http",
        path: str,
        form: Mapping[str, str],
        secrets: tuple[str, ...],
        now: Callable[[], float] = time.monotonic,
        scheme: str = "Bearer",
    ) -> None:
        self._scheme = scheme
        self._http = http
        self._path = path
        self._form = dict(form)
        self._given = secrets
        self._now = now
        self._grant = _GRANTS.setdefault((http.base_url, path, *sorted(form.items())), _Grant())
        self._used = ""

    @property
    def secrets(self) -> tuple[str, ...]:
        return (*self._given, self._used, self._grant.token, self._grant.refresh)

    def __call__(self, request: "PreparedRequest") -> "PreparedRequest":
        with self._grant.lock:
            if not self._grant.token or self._now() >= self._grant.until:
                self._fetch()
            self._used = self._grant.token
        request.headers["Authorization"] = f"{self._scheme} {self._used}"
        return request

    def drop(self) -> None:
        """The token was refused: fetch another one for the next call, unless somebody has."""
        with self._grant.lock:
            if self._grant.token == self._used:
                self._grant.token = ""

    def _fetch(self) -> None:
        if self._grant.refresh:
            form = {"grant_type": "refresh_token", "refresh_token": self._grant.refresh}
            form |= {name: self._form[name] for name in ("client_id", "client_secret") if name in self._form}
            self._grant.refresh = ""  # refused or used up: the next attempt begins from the credentials
            try:
                return self._take(form)
            except (Denied, Rejected):
                pass
        try:
            self._take(self._form)
        except Rejected as error:  # RFC 6749 section 5.2 answers 400 to wrong credentials
            raise Denied(str(error), hint="check client_id and the secrets, and that this grant is enabled") from None

    def _take(self, form: Mapping[str, str]) -> None:
        headers = {"Content-Type": "application/x-www-form-urlencoded"}
        answer = self._http.post(self._path, body=urlencode(form).encode(), headers=headers).json()
        if not isinstance(answer, dict) or not isinstance(answer.get("access_token"), str):
            raise self._without_token(answer)
        self._grant.token = answer["access_token"]
        self._grant.refresh = str(answer.get("refresh_token") or "")
        try:
            lifetime_s = float(answer.get("expires_in") or _TOKEN_LIFETIME_S)
        except (TypeError, ValueError):
            lifetime_s = _TOKEN_LIFETIME_S
        self._grant.until = self._now() + max(1.0, lifetime_s - min(_EARLY_S, lifetime_s / 2))

    def _without_token(self, answer: object) -> Denied | Unavailable:
        """What an answer means that is a success and holds no token: Zoho refuses like that. Its words for wrong
        credentials are those of RFC 6749 section 5.2, and invalid_code; a limit is no fault of theirs."""
        error = str(answer.get("error") or "") if isinstance(answer, dict) else ""
        message = f"{self._http.instance} at POST {self._path} gave no access_token"
        message += f": {error[:100]!r}" if error else ""
        if error.startswith(("invalid_", "unauthorized_", "unsupported_")):
            return Denied(message, hint="check client_id and the secrets, and that they are of this server")
        return Unavailable(message, retry_after_s=_LIMITED_S if error else None, unsent=True)
