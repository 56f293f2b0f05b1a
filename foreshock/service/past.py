"""History to read: a file, or the inbox of a running Foreshock, as records that an engine reads."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
from msgspec import Struct

from correlation.settings import read_recorded
from foreshock.core.contracts import Collector, Record
from foreshock.core.errors import Rejected, Unavailable
from foreshock.core.model import Judgement
from foreshock.service.client import Client
from foreshock.service.period import Period
from foreshock.service.plan.run import survey
from foreshock.service.recorded import Input, ReplayMapping, inputs_of, read_input
from foreshock.service.records import SettingsRecord
from foreshock.service.renumbered import is_known
from foreshock.service.replay import Version
from foreshock.store import capture

_PAGE = 500


class Past(Struct, frozen=True, kw_only=True):
    """Attributes:
    read: begins to read it, anew each time.
    present: the settings and rules that were in force last.
    since: what began before is there only so that what was open then is known; None: all is to be told.
    notes: what a person should know of it.
    said: begins to read what people said of the structure, as it was understood then; empty where it holds none.
    """

    read: Callable[[], Iterator[Input]]
    present: Version
    since: datetime | None = None
    notes: tuple[str, ...] = ()
    said: Callable[[], Iterable[Judgement]] = tuple


def of_file(
    path: Path,
    mapping: ReplayMapping | None,
    collectors: Mapping[str, Collector],
    since: timedelta | None,
    tell: Callable[[str], None] = lambda _: None,
) -> Past:
    """since: how much of its end is to be told; None: all, or what it was captured for. Raises ConfigError."""
    is_table = mapping is not None and mapping.alerts is not None
    head = capture.head_of(path) if not is_table and path.is_file() else None
    if head is not None:
        settings, last_at = capture.last_settings(path)
        present = _version(None if settings is None else msgspec.json.decode(settings.body, type=SettingsRecord))
        begin = last_at - since if since is not None and last_at is not None else head.since
        return Past(
            read=lambda: read_input(path, mapping, collectors),
            present=present,
            since=begin,
            said=lambda: capture.judgements(path),
        )
    last_at = survey(read_input(path, mapping, collectors)).last_at if since is not None else None
    begin = last_at - since if since is not None and last_at is not None else None
    return Past(read=lambda: read_input(path, mapping, collectors, tell), present=Version(), since=begin)


def of_running(running: Client, collectors: Mapping[str, Collector], since: timedelta | None) -> Past:
    """The inbox as it is now; what comes later is not read. since: how much of its end is to be told; None: all."""
    found = ask(running, None, None)
    if since is not None and found.last_at is not None:
        found = ask(running, found.last_at - since, None)
    return Past(
        read=lambda: inputs_of(enumerate(records(running, found)), running.server, collectors),
        present=_version(found.settings),
        since=found.since,
        notes=notes(found),
        said=lambda: judgements(running, found),
    )


def _version(settings: SettingsRecord | None) -> Version:
    if settings is None:
        return Version()
    return Version(settings=read_recorded(settings.correlation)[0], rules=settings.rules)


def notes(found: Period) -> tuple[str, ...]:
    """What a person should know of it."""
    if not found.unknown:
        return ()
    return (
        f"{found.unknown} situations had been open for so long when the period began that they are not in it: what "
        "belongs to them is not known. A longer --since reads further back",
    )


# ---- a running Foreshock --------------------------------------------------------------------------------------------


def ask(running: Client, since: datetime | None, until: datetime | None) -> Period:
    """What a period begins with. Raises Rejected where the other side is too old to say."""
    query = {name: at.isoformat() for name, at in (("since", since), ("until", until)) if at is not None}
    lines = running.lines("/api/v1/history", **query)
    if not lines:
        raise Rejected(f"{running.server} cannot say what a period begins with", hint="update that Foreshock")
    return msgspec.json.decode(lines, type=Period)


def records(running: Client, wanted: Period) -> Iterator[Record]:
    """What was in force, and the records of the period, a page at a time. Raises Unavailable where some are forgotten
    before they are read.

    In a part of history situations have other numbers: what became of tickets is known there by their alerts, and left
    out where these are not known."""
    yield from wanted.head
    part = wanted.after > 0
    read = msgspec.json.Decoder(Record).decode
    after = wanted.after
    while after < wanted.upto:
        lines = running.lines("/api/v1/records", after=after, upto=wanted.upto, limit=_PAGE, alerts=part)
        found = [read(line) for line in lines.splitlines()]
        if not found or found[0].number != after + 1:
            raise Unavailable(
                f"{running.server} has forgotten record {after + 1} while its history was read",
                hint="try again; what is that old goes by `retention`",
            )
        yield from (record for record in found if not part or is_known(record))
        after = found[-1].number


def judgements(running: Client, wanted: Period) -> Iterator[Judgement]:
    """What people said in the period."""
    query = {name: at.isoformat() for name, at in (("since", wanted.since), ("until", wanted.until)) if at is not None}
    for line in running.lines("/api/v1/history/judgements", **query).splitlines():
        yield msgspec.json.decode(line, type=Judgement)


def entries(running: Client, wanted: Period) -> Iterator[capture.Entry]:
    """All that a capture holds."""
    yield from records(running, wanted)
    yield from judgements(running, wanted)
