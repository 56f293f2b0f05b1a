"""Settings and rules again, while everything goes on: read, checked, and only then put into force, as one record."""

import hashlib
import threading
from collections.abc import Callable
from datetime import datetime

import msgspec
import structlog
from msgspec import Struct

from foreshock.core.errors import ConfigError, Problem
from foreshock.core.model import Moment
from foreshock.service import rule_files
from foreshock.service.applying import Files, read_files
from foreshock.service.settings import LIVE, Settings, SettingsSource

log = structlog.get_logger("reload")


class LastReload(Struct, frozen=True, kw_only=True):
    """How the last reload went; the start counts as one.

    Attributes:
        succeeded_at: the last one that was put into force; None if none was since the start.
        error: every problem of a reload that was refused, one a line; empty if it went well.
    """

    succeeded_at: Moment | None = None
    error: str = ""


class Reloader:
    """Reads settings and rules again. What is wrong leaves everything as it is.

    Args:
        settings: those of the start. source: where they come from; None where they come from no file.
        put: puts settings and what the files say of rules into force for the person named; whether they differ from
            what was in force. Raises ConfigError for what only shows when it is used.
        refused: is told why a reload was refused.
    """

    def __init__(
        self,
        settings: Settings,
        source: SettingsSource | None,
        put: Callable[[Settings, Files, str], bool],
        refused: Callable[[str], None],
        clock: Callable[[], datetime],
    ) -> None:
        self._settings, self._source, self._put, self._refused, self._clock = settings, source, put, refused, clock
        self._one_at_a_time = threading.Lock()
        self._stamp: object = None
        self._known = ""
        self._looked: tuple[object, Files | ConfigError] = (None, ConfigError(()))
        self.last = LastReload()

    def first(self) -> Files:
        """What the rules files say at the start. Raises ConfigError."""
        stamp = self._stamp_of(self._settings)
        files = files_of(self._settings)
        self._stamp, self._known = stamp, files.written
        return files

    def started(self, error: str = "") -> None:
        """The start is through; with an error where it went on with the rules from before."""
        self.last = LastReload(succeeded_at=None if error else self._clock(), error=error)

    def unread(self) -> Files | None:
        """What the files say now, where that is not what they said when they were read. Raises ConfigError."""
        stamp = self._stamp_of(self._settings)
        if stamp == self._stamp:
            return None
        if self._looked[0] != stamp:
            self._looked = stamp, self._look()
        found = self._looked[1]
        if isinstance(found, ConfigError):
            raise found
        return None if found.written == self._known else found

    def _look(self) -> Files | ConfigError:
        try:
            return files_of(self._read())
        except ConfigError as error:
            return error

    def reload(self, actor: str) -> bool:
        """Whether anything changed. Raises ConfigError with every problem; then all is as before."""
        with self._one_at_a_time:
            try:
                settings = self._read()
                stamp = self._stamp_of(settings)
                files = files_of(settings)
                self._refuse_what_needs_a_restart(settings)
                changed = self._put(settings, files, actor)
            except ConfigError as error:
                self.last = msgspec.structs.replace(self.last, error=str(error))
                log.error("the settings were not reloaded, the old ones stay in force", error=str(error), actor=actor)
                self._refused(str(error))
                raise
            self._settings, self._stamp, self._known = settings, stamp, files.written
            self.last = LastReload(succeeded_at=self._clock())
            log.info("settings reloaded", changed=changed, actor=actor)
            return changed

    def _read(self) -> Settings:
        if self._source is None:
            return self._settings
        settings = self._source.load()
        if settings.port == 0:  # any free one: it has one since the start
            return settings.model_copy(update={"listen": self._settings.listen})
        return settings

    def _stamp_of(self, settings: Settings) -> object:
        config = self._source.file if self._source is not None else None
        return rule_files.stamp(config), rule_files.stamp(settings.rules)

    def _refuse_what_needs_a_restart(self, settings: Settings) -> None:
        changed = [
            name
            for name in Settings.model_fields
            if name not in LIVE and getattr(settings, name) != getattr(self._settings, name)
        ]
        if changed:
            raise ConfigError([self._needs_a_restart(name) for name in changed])

    def _needs_a_restart(self, name: str) -> Problem:
        assert self._source is not None
        return self._source.where(name).problem(
            "has changed, and comes into force at a start only", "restart Foreshock, or put it back"
        )


def files_of(settings: Settings) -> Files:
    """Raises ConfigError with every problem of the rules files."""
    rules = rule_files.load_rules(settings.rules)
    return read_files(settings.correlation, rules, rule_files.written(settings.rules))


def digest(settings: Settings, version: str) -> int:
    """48 bits of the settings and of the version of rules in force, to compare processes that should have the same.
    Secrets do not enter it."""
    content = settings.model_dump_json(exclude={"correlation"}) + version
    return int.from_bytes(hashlib.sha256(content.encode()).digest()[:6], "big")
