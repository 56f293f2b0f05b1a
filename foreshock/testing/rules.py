"""Rules in force and a candidate beside them, made up: what people ask is remembered, what they do is done."""

from datetime import timedelta
from tempfile import TemporaryFile

import msgspec

from correlation.settings import CorrelationSettings
from foreshock.core.errors import Rejected
from foreshock.service.applying import Changed, RulesView, VersionRow
from foreshock.service.plan.report import verdict
from foreshock.service.proposal import proposed_by
from foreshock.service.replay import Version
from foreshock.service.ruleset import Ruleset, differences, version_of
from foreshock.service.settings import collector_kinds, rule_kinds
from foreshock.service.shadow import Report, Shadow, Task
from foreshock.service.shadowing import ShadowView, State
from foreshock.testing.factories import HOSTILE_SCRIPT, HOSTILE_TEMPLATE, NOW, RIGHT_TO_LEFT
from foreshock.testing.records import Story


def settings_of(**sections: object) -> Ruleset:
    return proposed_by(Version(settings=CorrelationSettings.model_validate(sections)))


class MemoryRules:
    """``Rules`` over what a test puts in."""

    def __init__(self, files: Ruleset, history: list[tuple[Ruleset, VersionRow]]) -> None:
        self.files, self.versions = files, history
        self.error = ""
        self.unread: tuple[str, ...] = ()

    @property
    def runs(self) -> Ruleset:
        return self.versions[0][0]

    def status(self) -> RulesView:
        return RulesView(
            version=version_of(self.runs),
            since=self.versions[0][1],
            files=version_of(self.files),
            applied=tuple(differences(self.files, self.runs)),
            unread=self.unread,
            error=self.error,
        )

    def history(self) -> list[VersionRow]:
        return [msgspec.structs.replace(row, in_force=not place) for place, (_, row) in enumerate(self.versions)]

    def get(self, version: str) -> Ruleset:
        return next((found for found, row in self.versions if row.version.startswith(version)), self.runs)

    def roll_back(self, version: str, *, reason: str, actor: str) -> Changed:
        found = [ruleset for ruleset, row in self.versions if row.version == version]
        if not found or found[0] == self.runs:
            raise Rejected(f"version {version} is not kept", hint="see `foreshock rules history`")
        return self._put(found[0], "rolled back", reason, actor)

    def apply(self, proposed: Ruleset, *, version: str, against: str, reason: str, actor: str) -> Changed:
        return self._put(proposed, "applied", reason, actor)

    def _put(self, wanted: Ruleset, how: str, reason: str, actor: str) -> Changed:
        previous, version = version_of(self.runs), version_of(wanted)
        changes = tuple(differences(self.runs, wanted))
        self.versions.insert(0, (wanted, _row(wanted, previous, how, reason, actor)))
        return Changed(version=version, previous=previous, changes=changes, reflected=True)


class MemoryShadows:
    """``Shadows`` with one that is there."""

    def __init__(self, rules: MemoryRules, candidate: Ruleset, shadow: ShadowView | None) -> None:
        self.rules, self.candidate, self.shadow = rules, candidate, shadow

    def status(self) -> ShadowView | None:
        if self.shadow is None:
            return None
        return msgspec.structs.replace(self.shadow, changes=tuple(differences(self.rules.runs, self.candidate)))

    def start(
        self, proposed: Ruleset, *, version: str, against: str, length: timedelta, reason: str, actor: str
    ) -> ShadowView:
        raise Rejected("one runs already", hint="stop it first")

    def stop(self, *, actor: str) -> ShadowView:
        if self.shadow is None or self.shadow.state is not State.RUNNING:
            raise Rejected("no shadow runs", hint="see `foreshock rules shadow status` for the last one")
        self.shadow = msgspec.structs.replace(self.shadow, state=State.STOPPED)
        return self.shadow

    def apply(self, *, reason: str, actor: str) -> Changed:
        return self.rules.apply(self.candidate, version="", against="", reason=reason, actor=actor)


def example_rules() -> tuple[MemoryRules, MemoryShadows]:
    """Something was applied over the files, by a stranger with bad manners; a candidate runs that splits an outage."""
    files, applied = settings_of(), settings_of(group={"threshold": 0.35}, ticket={"delay": "1m"})
    history = [
        (applied, _row(applied, version_of(files), "applied", f"{HOSTILE_SCRIPT} {RIGHT_TO_LEFT}", HOSTILE_TEMPLATE)),
        (files, _row(files, "", "files", "", "foreshock", hours=30)),
    ]
    candidate = settings_of(group={"threshold": 0.99}, ticket={"delay": "1m"})
    return (rules := MemoryRules(files, history)), MemoryShadows(rules, candidate, _shadow(applied, candidate))


def _row(found: Ruleset, previous: str, how: str, reason: str, actor: str, hours: float = 2) -> VersionRow:
    return VersionRow(
        version=version_of(found),
        previous=previous,
        at=NOW - timedelta(hours=hours),
        actor=actor,
        how=how,
        reason=reason,
        in_force=False,
        kept=True,
    )


def _shadow(runs: Ruleset, candidate: Ruleset) -> ShadowView:
    story = Story(
        "shop depends_on api", "api depends_on db1", settings=runs.correlation, start=NOW - timedelta(hours=1)
    )
    task = Task(
        proposed=candidate,
        version=version_of(candidate),
        against=version_of(runs),
        started_at=story.start + timedelta(seconds=1),
        until=NOW + timedelta(hours=47),
        actor="mira",
        reason="before it goes live",
    )
    items = [(kind, key, body) for kind, key, body in story.engine.checkpoint() if body is not None]
    seen = len(story.records)
    for ci in ("db1", "api", "shop"):
        story.after(10).fire(ci, name="Errors", severity="warning", holds_s=7200)
    story.after(10).fire("web7", name=HOSTILE_SCRIPT, severity="major", holds_s=7200).after(200).tick()
    with TemporaryFile() as one, TemporaryFile() as other:
        shadow = Shadow(task, items, collector_kinds(), rule_kinds(), (one, other))
        shadow.read(story.records[seen:])
        plan = shadow.finish(NOW)
    return ShadowView(
        version=task.version,
        against=task.against,
        changes=(),
        state=State.RUNNING,
        error="",
        started_at=task.started_at,
        until=task.until,
        actor=task.actor,
        reason=task.reason,
        behind=3,
        report=Report(at=NOW, position=9, behind=0, memory_bytes=2**26, plan=plan, left_out=0, verdict=verdict(plan)),
    )
