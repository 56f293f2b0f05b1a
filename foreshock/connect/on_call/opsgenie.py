"""A schedule of Opsgenie."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlencode

from pydantic import Field, field_validator

from foreshock.connect.auth import read_secret, web_address
from foreshock.connect.on_call import OnCallKind
from foreshock.core.contracts import ConnectorConfig
from foreshock.core.errors import Unavailable


class OpsgenieConfig(ConnectorConfig):
    schedule: str = Field(description="name of the schedule", examples=["database"])
    key_file: Path = Field(description="file with the key of an API integration, mode 0600", examples=["opsgenie-key"])
    url: str = Field(default="https://api.opsgenie.com", description="the API; https://api.eu.opsgenie.com in the EU")

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        return web_address(url, like="https://api.opsgenie.com", instead="key_file")


class OpsgenieRoster:
    def __init__(self, name: str, config: OpsgenieConfig, http: Any) -> None:
        self._name = name
        self._config = config
        self._http = http

    def who(self, at: datetime) -> tuple[str, ...]:
        """By their user names, which are e-mail addresses there."""
        moment = at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S+00:00")
        query = urlencode({"scheduleIdentifierType": "name", "flat": "true", "date": moment})
        answer = self._http.get(f"/v2/schedules/{quote(self._config.schedule, safe='')}/on-calls?{query}").json()
        data = answer.get("data") if isinstance(answer, dict) else None
        names = data.get("onCallRecipients") if isinstance(data, dict) else None
        if not isinstance(names, list):
            raise Unavailable(f"on-call {self._name!r}: the answer has no `data.onCallRecipients`")
        return tuple(dict.fromkeys(map(str, names)))


def _build(name: str, config: OpsgenieConfig, http: Any) -> OpsgenieRoster:
    from foreshock.connect.http import KeyHeader

    key = read_secret(config.key_file, f"on_call.{name}.key_file")
    auth = KeyHeader("Authorization", f"GenieKey {key}")
    return OpsgenieRoster(name, config, http(f"on-call {name!r}", config.url, auth=auth, secrets=(key,)))


ON_CALL = OnCallKind(
    kind="opsgenie",
    title="A schedule of Opsgenie",
    facts="docs.opsgenie.com, Who is On Call API, read 2026-11-22",
    config=OpsgenieConfig,
    build=_build,
)
