"""Reaches a running Foreshock through its API; the command line has no other way in."""

import os
import re
from pathlib import Path
from typing import Any

import requests

from foreshock.connect.config import read_text
from foreshock.core.errors import ConfigError, Denied, Problem, Rejected, Unavailable

_TIMEOUT_S = (5, 60)


class Client:
    """Args:
    server: base address. token_file: holds the token and nothing else; None where none is needed.
    Raises ConfigError where that file is no such file.
    """

    def __init__(self, server: str, token_file: Path | None) -> None:
        self.server = server.rstrip("/")
        self._session = requests.Session()
        self._session.headers["X-Foreshock-Actor"] = os.environ.get("USER", "local")
        if token_file is not None:
            self._session.headers["Authorization"] = f"Bearer {_token(token_file)}"

    def get(self, path: str, **query: Any) -> Any:
        """The answer's JSON; None for 404. Raises Unavailable where nobody answers, Denied without a valid token."""
        response = self._ask(path, query)
        return None if response is None else response.json()

    def answer(self, path: str, **query: Any) -> Any:
        """As ``get``, but raises Rejected, with what there is instead, for 404."""
        return self._checked(self._send("GET", path, params=query), path).json()

    def post(self, path: str, body: Any, *, timeout_s: float = _TIMEOUT_S[1]) -> Any:
        """The answer's JSON; ``body`` is sent as JSON, which bytes are already. Raises Rejected with the reason where
        the request was refused, else as ``get`` does."""
        content = {"data": body} if isinstance(body, bytes) else {"json": body}
        response = self._send("POST", path, timeout_s, **content)
        return self._checked(response, path).json()

    def lines(self, path: str, **query: Any) -> bytes:
        response = self._ask(path, query)
        return b"" if response is None else response.content

    def _ask(self, path: str, query: dict[str, Any]) -> requests.Response | None:
        response = self._send("GET", path, params=query)
        return None if response.status_code == 404 else self._checked(response, path)

    def _send(self, method: str, path: str, timeout_s: float = _TIMEOUT_S[1], **content: Any) -> requests.Response:
        timeouts = (_TIMEOUT_S[0], timeout_s)
        try:
            return self._session.request(
                method, f"{self.server}{path}", timeout=timeouts, allow_redirects=False, **content
            )
        except requests.RequestException as error:
            raise Unavailable(
                f"no Foreshock answers at {self.server} ({type(error).__name__})",
                hint="start one with `foreshock run`, or name it with --server",
            ) from None

    def _checked(self, response: requests.Response, path: str) -> requests.Response:
        if response.status_code in (401, 403, 421):
            raise Denied(
                f"{self.server} refused the request: {response.text[:300]}", hint="name a token file with --token-file"
            )
        if response.status_code == 503:
            raise Unavailable(f"{self.server} answers {response.text[:300]}", hint="try again in a moment")
        if response.status_code != 200:
            raise _refusal(response, f"{self.server}{path}")
        return response


def _refusal(response: requests.Response, where: str) -> Rejected:
    """With the reason and the remedy that came in the answer."""
    try:
        said = response.json()
        return Rejected(said["error"], hint=said["hint"])
    except (ValueError, TypeError, KeyError):
        return Rejected(f"{where} answered {response.status_code}: {response.text[:300]}")


def _token(path: Path) -> str:
    token = read_text(path).strip()
    if not re.fullmatch("[!-~]+", token):
        hint = "write your token into it and nothing else, without the name that stands before it on the server"
        raise ConfigError([Problem(file=str(path), line=None, path="", message="does not hold a token", hint=hint)])
    return token
