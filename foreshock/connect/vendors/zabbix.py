"""The API of Zabbix: JSON-RPC over one address.

Facts: https://www.zabbix.com/documentation/current/en/manual/api, read 2026-11-22, and answers of Zabbix 6.0.14 as
    recorded in tests/samples. Tokens go into the body (``auth``) before 6.4, into a header from then on.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import Field, field_validator

from foreshock.connect.auth import CaFile, web_address
from foreshock.core.contracts import ConnectorConfig
from foreshock.core.errors import Denied, Rejected, Unavailable

if TYPE_CHECKING:
    from foreshock.connect.http import Http

MAX_ANSWER_BYTES = 64 * 2**20
_HEADER_SINCE = (6, 4)
_REFUSED = re.compile(
    r"not authori[sz]ed|session terminated|re-login|token expired|blocked|no permissions", re.IGNORECASE
)
"""All errors of calls have the same numbers; what they say tells them apart."""


class ZabbixAccount(ConnectorConfig):
    url: str = Field(
        default="",
        description="address of the frontend; empty: nothing is asked, and problems are only posted to us",
        examples=["https://zabbix.example.com/zabbix"],
    )
    token_file: Path | None = Field(default=None, description="file with an API token, mode 0600")
    ca_file: CaFile = None

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        url = url.removesuffix("/api_jsonrpc.php")
        return web_address(url, like="https://zabbix.example.com/zabbix", instead="token_file") if url else ""


class ZabbixApi:
    """One server. Not for several threads at once."""

    def __init__(self, http: "Http", token: str) -> None:
        self._http, self._token = http, token
        self._in_header: bool | None = None

    def call(self, method: str, parameters: Any) -> Any:
        """The result. Raises Denied, Rejected with what Zabbix says is wrong, or Unavailable."""
        if self._in_header is None:
            self._in_header = self._version() >= _HEADER_SINCE
        return self._call(method, parameters, proof=True)

    def rows(self, method: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        """The result of a ``get``."""
        found = self.call(method, parameters)
        if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
            raise Unavailable(f"{self._http.instance} answered {method} with something that is no list of objects")
        return found

    def _version(self) -> tuple[int, int]:
        text = str(self._call("apiinfo.version", {}, proof=False))
        found = re.match(r"(\d{1,3})\.(\d{1,3})", text)
        if found is None:
            raise Unavailable(f"{self._http.instance} says that its version is {text[:40]!r}")
        return int(found[1]), int(found[2])

    def _call(self, method: str, parameters: Any, *, proof: bool) -> Any:
        body: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": parameters, "id": 1}
        headers = {"Content-Type": "application/json-rpc"}
        if proof and self._in_header:
            headers["Authorization"] = f"Bearer {self._token}"
        elif proof:
            body["auth"] = self._token
        answer = self._http.post("/api_jsonrpc.php", json=body, headers=headers, safe=True)
        found = answer.json()
        if isinstance(found, dict) and isinstance(error := found.get("error"), dict):
            said = f"{error.get('message', '')} {error.get('data', '')}".strip()[:300]
            text = f"{self._http.instance} refused {method}: {said}"
            if _REFUSED.search(said):
                raise Denied(text, hint="check token_file, and that the token is enabled and has not run out")
            raise Rejected(text)
        if not isinstance(found, dict) or "result" not in found:
            raise Unavailable(
                f"{answer.place} gave no answer of the API", hint="check that url is that of the frontend"
            )
        return found["result"]
