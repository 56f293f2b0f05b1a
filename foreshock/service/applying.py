"""Rules and settings put into force: from the files, by a person who planned them, or back to what was there before.

What somebody asked for last is in force. Files ask when what they say has changed since they were read; a comment or
another version's defaults do not. So what was applied stays over restarts and reloads until the files say something
new, and every difference between them and what runs can be seen.

One record of the inbox is the whole change: what is not in it has not happened, what is in it comes into force, even if
the power goes the moment after. The file of a version is written before, and is nothing by itself.
"""

import hashlib
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Protocol

import msgspec
import structlog
from msgspec import Struct

from correlation.rule import RuleInstance
from correlation.settings import CorrelationSettings, read_recorded
from foreshock.connect.config import Origin, path_text, validate
from foreshock.core.contracts import NewRecord, RecordKind
from foreshock.core.errors import ConfigError, Malformed, Problem, Rejected, Unavailable
from foreshock.core.model import Moment
from foreshock.service import in_force
from foreshock.service.inbox import Inbox
from foreshock.service.lineage import before
from foreshock.service.ourselves import NAME, refusal
from foreshock.service.records import How, OperatorRecord, OwnAlert, SettingsRecord, Source
from foreshock.service.ruleset import Ruleset, decoded, differences, ruleset, version_of
from foreshock.service.runner import Runner
from foreshock.service.settings import RuleEntry
from foreshock.store.journal import Journal
from foreshock.store.rulesets import RulesetVersions

log = structlog.get_logger("rules")

MIN_VERSION = 4
"""The beginning of a version is enough to name it, if it has so many characters."""
_MAX_NOTICE = 1000
_DIGEST_CHARACTERS = 12


class Files(Struct, frozen=True, kw_only=True):
    """What the files say. written: digest of what stands in them, without what they leave to the defaults."""

    ruleset: Ruleset
    written: str


def read_files(settings: CorrelationSettings, rules: Iterable[RuleInstance], data: Sequence[Any]) -> Files:
    """data: of the rules files."""
    said = msgspec.json.encode([settings.model_dump(mode="json", exclude_unset=True), data], order="deterministic")
    written = hashlib.sha256(said).hexdigest()[:_DIGEST_CHARACTERS]
    return Files(ruleset=ruleset(settings, rules), written=written)


# ---- what people see ------------------------------------------------------------------------------------------------


class VersionRow(Struct, frozen=True, kw_only=True):
    """One version that came into force.

    Attributes:
        previous: the one before; empty for the first that is known. how: files, applied or rolled back.
        in_force: it is what runs now. kept: one can go back to it.
    """

    version: str
    previous: str
    at: Moment
    actor: str
    how: str
    reason: str
    in_force: bool
    kept: bool


class RulesView(Struct, frozen=True, kw_only=True):
    """What runs, and how that differs from the files.

    Attributes:
        since: when and how it came into force; None where nobody knows any more. files: version of what the files said
            when they were read last; empty where they could not be read since the start.
        applied: what the files say, and what runs in its place, one difference a line.
        unread: what is on disk now would change so much in what runs at a reload; empty if the files are as they were
            read. error: why the files were refused, at the last reload or now on disk.
    """

    version: str
    since: VersionRow | None
    files: str
    applied: tuple[str, ...]
    unread: tuple[str, ...]
    error: str


class Changed(Struct, frozen=True, kw_only=True):
    """A version came into force. reflected: the engine decides by it already; else it will in a moment."""

    version: str
    previous: str
    changes: tuple[str, ...]
    reflected: bool


class Rules(Protocol):
    """What the API and the console ask and do. All raise Unavailable where the store does not answer."""

    def status(self) -> RulesView: ...

    def history(self) -> list[VersionRow]:
        """Newest first."""

    def get(self, version: str) -> Ruleset:
        """Empty: what runs. Raises Rejected."""

    def apply(self, proposed: Ruleset, *, version: str, against: str, reason: str, actor: str) -> Changed:
        """Raises Rejected, and changes nothing, where ``proposed`` is not that version, where something else than
        ``against`` runs, or where this program cannot read all of it."""

    def roll_back(self, version: str, *, reason: str, actor: str) -> Changed:
        """To the version before the present one, or to the one that is named. Raises Rejected."""


# ---- what is in force ------------------------------------------------------------------------------------------------


class _Current(Struct, frozen=True, kw_only=True):
    """What the newest record puts into force; its number, or that of one before it."""

    number: int
    ruleset: Ruleset
    source: Source | None
    sinks: tuple[str, ...]
    problem_sinks: tuple[str, ...]


class LiveRules:
    """Implements ``Rules``.

    Args:
        on_disk: what the files hold now, if it is not what they held when they were read; None if it is. Raises
            ConfigError.
    """

    def __init__(
        self,
        *,
        runner: Runner,
        inbox: Inbox,
        journal: Journal,
        versions: RulesetVersions,
        on_disk: Callable[[], Files | None],
    ) -> None:
        self._runner, self._inbox, self._journal, self._versions = runner, inbox, journal, versions
        self._on_disk = on_disk
        self._one_at_a_time = threading.Lock()
        self._now: _Current | None = None
        self._files: Files | None = None
        self._error = ""

    # ---- files ----

    def take(
        self,
        files: Files,
        sinks: tuple[str, ...],
        problem_sinks: tuple[str, ...] = (),
        *,
        actor: str,
        again: bool = False,
    ) -> bool:
        """What a start or a reload has read: into force, unless something else was applied since the files said so
        already; whether rules or settings are others now. ``again``: a record even if they are not."""
        with self._one_at_a_time:
            self._files = files
            now = self._current()
            stays = now.source is not None and now.source.how is not How.FILES and now.source.files == files.written
            wanted, source = files.ruleset, Source(files=files.written)
            if stays:
                assert now.source is not None
                wanted, source = now.ruleset, now.source
                if wanted != files.ruleset:
                    log.info("what was applied stays in force: the files say what they said then", **_names(now))
            hear = (sinks, problem_sinks)
            changed = wanted != now.ruleset or hear != (now.sinks, now.problem_sinks)
            if changed or source != now.source or again:
                self._record(wanted, source, *hear, actor=actor)
            self._keep()
        self.refused("")
        return changed

    def refused(self, error: str) -> None:
        """The files were read and refused, for this reason; or, empty, they were not. A person is told of the first."""
        self._error = error
        with self._runner.looking() as engine:
            known = any(
                alert.firing and alert.source == NAME and alert.read_labels() == refusal()
                for alert in engine.alerts.values()
            )
        if error or known:
            notice = OwnAlert(labels=refusal(), summary=error and _told(error))
            body = msgspec.json.encode(OperatorRecord(notice=notice))
            self._inbox.append_now(NewRecord(kind=RecordKind.OPERATOR, body=body, source="rules", actor="foreshock"))

    # ---- people ----

    def apply(self, proposed: Ruleset, *, version: str, against: str, reason: str, actor: str) -> Changed:
        with self._one_at_a_time:
            self.examine(proposed, version=version, against=against)
            return self._put(proposed, How.APPLIED, reason, actor)

    def examine(self, proposed: Ruleset, *, version: str, against: str) -> None:
        """Raises Rejected for what cannot be put into force as it was planned."""
        if (found := version_of(proposed)) != version:
            raise Rejected(
                f"the plan says version {version}, and what it holds is {found}: it was changed since it was made",
                hint="plan again with `foreshock rules plan … --save`",
            )
        try:
            readable = checked(proposed)
        except ConfigError as error:
            raise Rejected(f"not all of it can be read here: {error}", hint="plan with the version that runs") from None
        if readable != proposed:
            told = "; ".join(differences(proposed, readable))
            raise Rejected(
                f"another version of Foreshock made the plan: {told}", hint="plan again with the version that runs"
            )
        if (runs := version_of(self._current().ruleset)) != against:
            raise Rejected(
                f"the plan was made against version {against}, and {runs} runs{self._by_whom()}",
                hint="plan again: what the plan shows is not what would change",
            )

    def roll_back(self, version: str, *, reason: str, actor: str) -> Changed:
        with self._one_at_a_time:
            target = self._named(version) if version else self._before()
            try:
                wanted = checked(_as_known(decoded(self._versions.get(target))))
            except (ConfigError, Malformed) as error:
                raise Rejected(
                    f"version {target} cannot be read any more: {error}", hint="choose another one, or plan anew"
                ) from None
            return self._put(wanted, How.ROLLED_BACK, reason or f"back to {target}", actor)

    def status(self) -> RulesView:
        unread: tuple[str, ...] = ()
        error = self._error
        now = self._current()
        try:
            if (on_disk := self._on_disk()) is not None:
                unread = tuple(differences(now.ruleset, on_disk.ruleset))
        except ConfigError as found:
            error = str(found)
        files = self._files
        rows = self.history()
        return RulesView(
            version=version_of(now.ruleset),
            since=rows[0] if rows else None,
            files=version_of(files.ruleset) if files else "",
            applied=tuple(differences(files.ruleset, now.ruleset)) if files else (),
            unread=unread,
            error=error,
        )

    def history(self) -> list[VersionRow]:
        kept, runs = self._versions.kept(), version_of(self._current().ruleset)
        with self._runner.looking() as engine:
            lineage = engine.lineage
        return [
            VersionRow(
                version=each.version,
                previous=each.previous,
                at=each.at,
                actor=each.actor,
                how=each.source.how.value,
                reason=each.source.reason,
                in_force=each is lineage[-1] and each.version == runs,
                kept=each.version in kept,
            )
            for each in reversed(lineage)
        ]

    def get(self, version: str) -> Ruleset:
        return decoded(self._versions.get(self._named(version))) if version else self._current().ruleset

    # ---- parts ----

    def _current(self) -> _Current:
        """The newest record that puts something into force decides, reflected or not. Only this object writes such, so
        only what was on its way at the start has to be looked for."""
        if self._now is None:
            with self._runner.looking() as engine:
                last = engine.lineage[-1] if engine.lineage else None
                found, position = ruleset(engine.settings, engine.rule_instances), self._runner.position
                hear = {"sinks": engine.sinks, "problem_sinks": engine.problem_sinks}
            source = last.source if last is not None else None
            self._now = _Current(number=position, ruleset=found, source=source, **hear)
            if (newer := self._journal.newest(RecordKind.SETTINGS, after=position)) is not None:
                read = msgspec.json.decode(newer.body, type=SettingsRecord)
                rules = in_force.rules_of(read, self._runner.engine.rule_kinds)
                found = ruleset(read_recorded(read.correlation)[0], rules)
                hear = {"sinks": read.sinks, "problem_sinks": read.problem_sinks}
                self._now = _Current(number=newer.number, ruleset=found, source=read.source, **hear)
        return self._now

    def _put(self, wanted: Ruleset, how: How, reason: str, actor: str) -> Changed:
        now = self._current()
        previous, version = version_of(now.ruleset), version_of(wanted)
        if previous == version:
            raise Rejected(f"version {version} is in force already{self._by_whom()}", hint="there is nothing to do")
        written = self._files.written if self._files is not None else now.source.files if now.source else ""
        source = Source(how=how, files=written, reason=reason)
        number = self._record(wanted, source, now.sinks, now.problem_sinks, actor=actor)
        reflected = self._runner.caught_up(number)
        self._keep()
        log.info("rules and settings in force", version=version, previous=previous, how=how.value, actor=actor)
        changes = tuple(differences(now.ruleset, wanted))
        return Changed(version=version, previous=previous, changes=changes, reflected=reflected)

    def _record(
        self, wanted: Ruleset, source: Source, sinks: tuple[str, ...], problem_sinks: tuple[str, ...], *, actor: str
    ) -> int:
        self._versions.add(version_of(wanted), msgspec.json.encode(wanted))
        read = SettingsRecord(
            correlation=wanted.correlation,
            sinks=sinks,
            problem_sinks=problem_sinks,
            rules=wanted.rules,
            source=source,
        )
        self._now = None  # until it is known that the record is on disk
        number = self._inbox.append_now(
            NewRecord(kind=RecordKind.SETTINGS, body=msgspec.json.encode(read), source="settings", actor=actor)
        )
        self._now = _Current(number=number, ruleset=wanted, source=source, sinks=sinks, problem_sinks=problem_sinks)
        return number

    def _keep(self) -> None:
        """The versions that are remembered, and no others. An engine that lags behind does not know all of them yet."""
        if self._runner.position < self._current().number:
            return
        with self._runner.looking() as engine:
            known = {version for each in engine.lineage for version in (each.version, each.previous)}
        self._versions.keep_only({*known, version_of(self._current().ruleset)})

    def _named(self, text: str) -> str:
        found = [version for version in sorted(self._versions.kept()) if version.startswith(text)]
        if len(found) != 1 or len(text) < MIN_VERSION:
            raise Rejected(
                f"{len(found) or 'no'} kept version{'s begin' if len(found) > 1 else ' begins'} with {text!r}",
                hint=f"see `foreshock rules history`; {MIN_VERSION} characters and more name one",
            )
        return found[0]

    def _before(self) -> str:
        if not self._runner.caught_up(self._current().number):
            raise Unavailable(
                f"{self._runner.lag} records are not reflected yet, and which version was before follows from them",
                hint="try again in a moment, or name the version",
                retry_after_s=5,
            )
        with self._runner.looking() as engine:
            lineage = engine.lineage
        if not lineage or not (found := before(lineage)):
            raise Rejected("there is no version before the one in force", hint="see `foreshock rules history`")
        return found

    def _by_whom(self) -> str:
        with self._runner.looking() as engine:
            last = engine.lineage[-1] if engine.lineage else None
        return f" ({last.source.how.value}, {last.actor}, {last.at:%Y-%m-%d %H:%M} UTC)" if last is not None else ""


def checked(given: Ruleset) -> Ruleset:
    """What somebody sent or kept, as this program reads it. Raises ConfigError with everything that it cannot read:
    nothing comes into force by half."""
    problems: list[Problem] = []
    settings = CorrelationSettings()
    try:
        settings = validate(given.correlation, CorrelationSettings, where=_at("settings"))
    except ConfigError as error:
        problems += error.problems
    rules = []
    for rule in given.rules:
        data = {**rule.config, "name": rule.name, "kind": rule.kind, "enabled": rule.enabled}
        try:
            entry = validate(data, RuleEntry, where=_at(f"rule {rule.name}"))
        except ConfigError as error:
            problems += error.problems
            continue
        config = entry.config.model_dump(mode="json")
        rules.append(RuleInstance(name=entry.name, kind=entry.kind, enabled=entry.enabled, config=config))
    if problems:
        raise ConfigError(problems)
    return ruleset(settings, rules)


def _at(what: str) -> Callable[[Sequence[str | int]], Origin]:
    return lambda place: Origin(file=what, line=None, path=path_text(place))


def _as_known(kept: Ruleset) -> Ruleset:
    """Without settings that an older version of Foreshock had, and with the defaults of newer ones."""
    settings, _ = read_recorded(kept.correlation)
    return ruleset(settings, kept.rules)


def _told(error: str) -> str:
    said = error if len(error) <= _MAX_NOTICE else f"{error[:_MAX_NOTICE]}…"
    return f"settings or rules were refused, the old ones stay in force: {said}"


def _names(now: _Current) -> dict[str, str]:
    assert now.source is not None
    return {"version": version_of(now.ruleset), "how": now.source.how.value, "reason": now.source.reason}
