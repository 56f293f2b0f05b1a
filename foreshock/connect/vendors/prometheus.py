"""How to reach Prometheus, or what speaks its HTTP API (VictoriaMetrics, Mimir, Thanos)."""

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from foreshock.connect.auth import CaFile, read_secret
from foreshock.core.contracts import ConnectorConfig
from foreshock.core.errors import Invalid

if TYPE_CHECKING:
    from foreshock.connect.http import Auth, Http  # importing it takes a tenth of a second of each start

MAX_ANSWER_BYTES = 64 * 2**20


class PrometheusAccount(ConnectorConfig):
    url: str = Field(description="address of the API without /api/v1", examples=["http://prometheus.example.com:9090"])
    token_file: Path | None = Field(default=None, description="file with a bearer token, mode 0600")
    user: str = Field(default="", description="user for basic authentication; its password stands in password_file")
    password_file: Path | None = Field(default=None, description="file with the password, mode 0600")
    ca_file: CaFile = None
    tenant: str = Field(default="", description="sent as X-Scope-OrgID, which Mimir asks for")

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Invalid(f"{url!r} is no web address", hint="write http:// or https://, the host and the port")
        if parts.username or parts.password:
            raise Invalid("it holds a user or a password", hint="write them as user and password_file")
        if parts.query or parts.path.rstrip("/").endswith("/api/v1"):
            raise Invalid(f"{url!r} is more than the address", hint="leave out /api/v1 and what follows")
        return url.rstrip("/")

    @model_validator(mode="after")
    def _has_one_proof(self) -> Self:
        if bool(self.user) != (self.password_file is not None):
            raise Invalid("user and password_file belong together", hint="set both, or neither", path=("user",))
        if self.user and self.token_file is not None:
            raise Invalid("there are a user and a token_file", hint="keep one of them", path=("token_file",))
        return self

    @property
    def headers(self) -> dict[str, str]:
        """That every call has."""
        return {"X-Scope-OrgID": self.tenant} if self.tenant else {}


def connect(account: PrometheusAccount, name: str, place: str, http: Callable[..., "Http"]) -> "Http":
    """The API of a server.

    Args:
        name: of the instance, for messages. place: where its settings stand, for messages.
        http: ``connect.http.Http`` or a factory like it.
    Raises ConfigError where a secret cannot be read.
    """
    from foreshock.connect.http import Basic, Bearer

    auth: Auth | None = None
    if account.token_file is not None:
        auth = Bearer(read_secret(account.token_file, f"{place}.token_file"))
    elif account.password_file is not None:
        auth = Basic(account.user, read_secret(account.password_file, f"{place}.password_file"))
    return http(
        f"prometheus {name!r}", account.url, auth=auth, ca_file=account.ca_file, max_body_bytes=MAX_ANSWER_BYTES
    )
