"""A schedule of PagerDuty."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from pydantic import Field, field_validator

from foreshock.connect.auth import read_secret, web_address
from foreshock.connect.on_call import OnCallKind
from foreshock.core.contracts import ConnectorConfig
from foreshock.core.errors import Unavailable


class PagerDutyConfig(ConnectorConfig):
    schedule: str = Field(description="id of the schedule, the end of its page's address", examples=["P1A2B3C"])
    key_file: Path = Field(description="file with a read-only REST API key, mode 0600", examples=["pagerduty-key"])
    url: str = Field(default="https://api.pagerduty.com", description="the API; https://api.eu.pagerduty.com in the EU")

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        return web_address(url, like="https://api.pagerduty.com", instead="key_file")


class PagerDutyRoster:
    def __init__(self, name: str, config: PagerDutyConfig, http: Any) -> None:
        self._name = name
        self._config = config
        self._http = http

    def who(self, at: datetime) -> tuple[str, ...]:
        """By the names that PagerDuty shows."""
        moment = at.astimezone(UTC).isoformat()
        query = urlencode({"schedule_ids[]": self._config.schedule, "since": moment, "until": moment})
        headers = {"Accept": "application/vnd.pagerduty+json;version=2"}
        answer = self._http.get(f"/oncalls?{query}", headers=headers).json()
        entries = answer.get("oncalls") if isinstance(answer, dict) else None
        if not isinstance(entries, list):
            raise Unavailable(f"on-call {self._name!r}: the answer has no `oncalls`")
        entries.sort(key=lambda entry: entry.get("escalation_level") or 0)
        return tuple(dict.fromkeys(str(entry["user"]["summary"]) for entry in entries if entry.get("user")))


def _build(name: str, config: PagerDutyConfig, http: Any) -> PagerDutyRoster:
    from foreshock.connect.http import KeyHeader

    key = read_secret(config.key_file, f"on_call.{name}.key_file")
    auth = KeyHeader("Authorization", f"Token token={key}")
    return PagerDutyRoster(name, config, http(f"on-call {name!r}", config.url, auth=auth, secrets=(key,)))


ON_CALL = OnCallKind(
    kind="pagerduty",
    title="A schedule of PagerDuty",
    facts="developer.pagerduty.com, REST API v2, GET /oncalls, read 2026-11-22",
    config=PagerDutyConfig,
    build=_build,
)
