"""Settings and rules again, while everything goes on: read, checked, and only then put into force, as one record."""

import hashlib
import threading
from collections.abc import Callable, Sequence
from datetime import datetime

import msgspec
import structlog
from msgspec import Struct

from correlation.rule import RuleInstance
from foreshock.core.errors import ConfigError, Problem
from foreshock.core.model import Moment
from foreshock.service.rule_files import load_rules
from foreshock.service.settings import LIVE, Settings, SettingsSource

log = structlog.get_logger("reload")

Rules = Sequence[RuleInstance]


class LastReload(Struct, frozen=True, kw_only=True):
    """How the last reload went; the start counts as one.

    Attributes:
        succeeded_at: the last one that was put into force; None if none was since the start.
        error: every problem of a reload that was refused, one a line; empty if it went well.
        digest: 48 bits of what is in force, to compare processes that should have the same; 0 before the start.
    """

    succeeded_at: Moment | None = None
    error: str = ""
    digest: int = 0


class Reloader:
    """Reads settings and rules again. What is wrong leaves everything as it is.

    Args:
        settings: those of the start. source: where they come from; None where they come from no file.
        put: puts settings and rules into force for the person named; whether they differ from what was in force.
            Raises ConfigError for what only shows when it is used.
    """

    def __init__(
        self,
        settings: Settings,
        source: SettingsSource | None,
        put: Callable[[Settings, Rules, str], bool],
        clock: Callable[[], datetime],
    ) -> None:
        self._settings, self._source, self._put, self._clock = settings, source, put, clock
        self._one_at_a_time = threading.Lock()
        self.last = LastReload()

    def started(self, rules: Rules, error: str = "") -> None:
        """The start is through; with an error where it went on with the ``rules`` from before."""
        self.last = LastReload(
            succeeded_at=None if error else self._clock(), error=error, digest=_digest(self._settings, rules)
        )

    def reload(self, actor: str) -> bool:
        """Whether anything changed. Raises ConfigError with every problem; then all is as before."""
        with self._one_at_a_time:
            try:
                settings = self._read()
                rules = load_rules(settings.rules)
                self._refuse_what_needs_a_restart(settings)
                changed = self._put(settings, rules, actor)
            except ConfigError as error:
                self.last = msgspec.structs.replace(self.last, error=str(error))
                log.error("the settings were not reloaded, the old ones stay in force", error=str(error), actor=actor)
                raise
            self._settings = settings
            self.last = LastReload(succeeded_at=self._clock(), digest=_digest(settings, rules))
            log.info("settings reloaded", changed=changed, actor=actor)
            return changed

    def _read(self) -> Settings:
        if self._source is None:
            return self._settings
        settings = self._source.load()
        if settings.port == 0:  # any free one: it has one since the start
            return settings.model_copy(update={"listen": self._settings.listen})
        return settings

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


def _digest(settings: Settings, rules: Rules) -> int:
    """Secrets do not enter it."""
    content = settings.model_dump_json().encode() + msgspec.json.encode(rules, order="deterministic")
    return int.from_bytes(hashlib.sha256(content).digest()[:6], "big")
