"""A calendar, from a file or an address: whoever an event that goes on is called after is on duty.

PagerDuty, Opsgenie, Grafana OnCall and every calendar program give out such calendars (RFC 5545). An address is read
again every few minutes; the last calendar that could be read counts as long as it is not older than a day.
"""

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from foreshock.connect.auth import CaFile, read_secret
from foreshock.connect.on_call import OnCallKind
from foreshock.core.contracts import ConnectorConfig
from foreshock.core.errors import Invalid, Unavailable

if TYPE_CHECKING:
    from icalendar import Calendar  # takes a while to load; only who has a calendar needs it

_READ_EVERY = timedelta(minutes=5)
_KEPT = timedelta(days=1)


class CalendarConfig(ConnectorConfig):
    file: Path | None = Field(default=None, description="calendar on this machine", examples=["rota.ics"])
    url_file: Path | None = Field(
        default=None,
        description="file with the calendar's address, mode 0600: such addresses are secret",
        examples=["rota-url"],
    )
    ca_file: CaFile = None

    @model_validator(mode="after")
    def _has_one(self) -> "CalendarConfig":
        if (self.file is None) == (self.url_file is None):
            raise Invalid("a calendar has a file or an address", hint="write `file` or `url_file`")
        return self


class CalendarRoster:
    """Args: read: the calendar's text; raises Unavailable."""

    def __init__(self, name: str, read: Callable[[], bytes]) -> None:
        self._name = name
        self._read = read
        self._calendar: Calendar | None = None
        self._read_at: datetime | None = None

    def who(self, at: datetime) -> tuple[str, ...]:
        import recurring_ical_events  # type: ignore[import-untyped]  # it brings no types

        events: Sequence[Any] = recurring_ical_events.of(self._current(at)).between(at, at + timedelta(seconds=1))
        names = (_name(str(event.get("SUMMARY", ""))) for event in sorted(events, key=lambda one: str(one.get("UID"))))
        return tuple(dict.fromkeys(name for name in names if name))

    def _current(self, at: datetime) -> "Calendar":
        age = None if self._read_at is None else at - self._read_at
        if self._calendar is None or age is None or age >= _READ_EVERY:
            try:
                self._calendar, self._read_at = self._parsed(self._read()), at
            except Unavailable:
                if self._calendar is None or age is None or age > _KEPT:
                    raise
        return self._calendar

    def _parsed(self, text: bytes) -> "Calendar":
        from icalendar import Calendar

        try:
            found = Calendar.from_ical(text)
        except ValueError as error:
            raise Unavailable(f"on-call {self._name!r}: is no calendar: {error}") from None
        assert isinstance(found, Calendar)
        return found


def _name(summary: str) -> str:
    """PagerDuty and Opsgenie put the person first: ``On Call - Ann - Database``, ``ann@example.com``."""
    return summary.removeprefix("On Call - ").split(" - ")[0].strip()


def _build(name: str, config: CalendarConfig, http: Any) -> CalendarRoster:
    if config.file is not None:
        file = config.file

        def read_file() -> bytes:
            try:
                return file.read_bytes()
            except OSError as error:
                raise Unavailable(f"on-call {name!r}: {file} cannot be read: {error.strerror}") from None

        return CalendarRoster(name, read_file)
    assert config.url_file is not None
    address = urlsplit(read_secret(config.url_file, f"on_call.{name}.url_file"))
    secret = address.path.lstrip("/")
    client = http(
        f"on-call {name!r}", f"{address.scheme}://{address.netloc}", ca_file=config.ca_file, secrets=(secret,)
    )
    path = address.path + (f"?{address.query}" if address.query else "")
    return CalendarRoster(name, lambda: bytes(client.get(path).body))


ON_CALL = OnCallKind(
    kind="icalendar",
    title="A calendar whose events are called after who is on duty (RFC 5545)",
    facts="RFC 5545; support.pagerduty.com and docs.opsgenie.com, calendar exports; read 2026-11-22",
    config=CalendarConfig,
    build=_build,
)
