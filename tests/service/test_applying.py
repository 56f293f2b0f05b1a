"""What was planned comes into force, and goes back: whatever files say, whoever else changes something, whenever the
power goes."""

import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import settings as bounds
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from correlation.rule import RuleInstance, shipped
from correlation.settings import CorrelationSettings
from foreshock.core.contracts import NewRecord, RecordKind
from foreshock.core.errors import Rejected, Unavailable
from foreshock.service.applying import Files, LiveRules, checked, read_files
from foreshock.service.engine import Engine
from foreshock.service.lineage import MAX_LINEAGE
from foreshock.service.records import SettingsRecord
from foreshock.service.ruleset import Ruleset, differences, ruleset, version_of
from foreshock.service.settings import collector_kinds, rule_kinds
from foreshock.store import migrations
from foreshock.store.journal import Journal
from foreshock.store.rulesets import RulesetVersions

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


class PowerCut(Exception):
    pass


class Machine:
    """One Foreshock as far as its rules go: inbox and versions on a real disk, an engine that may lag behind,
    power that can go before or after any write."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.journal = Journal(f"sqlite:///{folder / 'foreshock.db'}")
        migrations.upgrade_journal(self.journal)
        self.unread: Files | None = None
        self.start()

    def start(self) -> None:
        """A process with the state that is on disk. The engine has read everything: a function of the records."""
        self.engine = Engine(collector_kinds(), rule_kinds())
        self.position = 0
        self.cut: str = ""
        self.lags = False
        self.catch_up()
        self.rules = LiveRules(
            runner=self,  # type: ignore[arg-type]
            inbox=self,  # type: ignore[arg-type]
            journal=self.journal,
            versions=CutVersions(self),
            on_disk=lambda: self.unread,
        )

    # Stands for the runner.

    def catch_up(self) -> None:
        for record in self.journal.records(self.position, limit=1000):
            self.engine.step([(record, None)])
            self.position = record.number

    @contextmanager
    def looking(self) -> Iterator[Engine]:
        yield self.engine

    def caught_up(self, number: int) -> bool:
        if not self.lags:
            self.catch_up()
        return self.position >= number

    # Stands for the inbox.

    def append_now(self, record: NewRecord) -> int:
        self.maybe("before the record")
        number = self.journal.last_record()[0] + 1
        self.journal.append([(number, NOON + timedelta(seconds=number), record)])
        self.maybe("after the record")
        if not self.lags:
            self.catch_up()
        return number

    @property
    def lag(self) -> int:
        return self.journal.last_record()[0] - self.position

    def maybe(self, moment: str) -> None:
        if self.cut == moment:
            self.cut = ""
            raise PowerCut

    # What a test asks.

    @property
    def runs(self) -> Ruleset:
        return ruleset(self.engine.settings, self.engine.rule_instances)

    def take(self, files: Files, actor: str = "foreshock") -> bool:
        return self.rules.take(files, ("desk",), actor=actor)

    def apply(self, proposed: Ruleset, against: Ruleset | None = None, reason: str = "because") -> Any:
        against = against or self.runs
        return self.rules.apply(
            proposed, version=version_of(proposed), against=version_of(against), reason=reason, actor="anna"
        )


class CutVersions(RulesetVersions):
    def __init__(self, machine: Machine) -> None:
        super().__init__(machine.folder / "rules")
        self._machine = machine

    def add(self, version: str, body: bytes) -> None:
        self._machine.maybe("before the file")
        super().add(version, body)


def files(threshold: float, *rules: RuleInstance, comment: str = "") -> Files:
    found = CorrelationSettings.model_validate({"group": {"threshold": threshold}})
    del comment  # is not in what YAML gives
    return read_files(found, (*shipped(rule_kinds()), *rules), [[msgspec.to_builtins(each) for each in rules]])


def same_app(strength: float = 0.9) -> RuleInstance:
    kind = rule_kinds()["attribute"]
    config = kind.config.model_validate({"equal": ["app"], "strength": strength})
    return RuleInstance(name="same-app", kind="attribute", config=config.model_dump(mode="json"))


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    found = Machine(tmp_path)
    found.take(files(0.4))
    yield found
    found.journal.close()


def test_what_was_planned_is_in_force_with_who_when_and_why(machine: Machine):
    before, proposed = machine.runs, files(0.6, same_app()).ruleset

    changed = machine.apply(proposed, reason="too much in one")

    assert machine.runs == proposed
    assert changed.changes == ("group.threshold: 0.4 → 0.6", "rule same-app: added")
    newest, older = machine.rules.history()
    assert (newest.version, newest.previous) == (version_of(proposed), version_of(before))
    assert (newest.actor, newest.how, newest.reason) == ("anna", "applied", "too much in one")
    assert (newest.in_force, older.in_force, older.how) == (True, False, "files")


def test_a_plan_against_something_else_than_what_runs_is_refused(machine: Machine):
    stale = machine.runs
    machine.apply(files(0.6).ruleset)

    with pytest.raises(Rejected, match=r"made against version \w+, and \w+ runs \(applied, anna, .*; plan again"):
        machine.apply(files(0.7).ruleset, against=stale)

    assert machine.runs == files(0.6).ruleset


def test_a_plan_that_was_edited_by_hand_is_refused(machine: Machine):
    edited = files(0.7).ruleset

    with pytest.raises(Rejected, match="it was changed since it was made"):
        machine.rules.apply(
            edited, version=version_of(files(0.6).ruleset), against=version_of(machine.runs), reason="-", actor="anna"
        )


@pytest.mark.parametrize(
    ("proposed", "said"),
    [
        (lambda good: edited(good, correlation={"group": {"treshold": 0.3}}), "group.treshold: unknown key"),
        (lambda good: edited(good, rules=(RuleInstance(name="x", kind="magic"),)), "'magic' is no kind"),
        (lambda good: edited(good, rules=(RuleInstance(name="x", kind="attribute"),)), "the rule links everything"),
        (lambda good: edited(good, correlation={}), "another version of Foreshock made the plan"),
    ],
    ids=["an unknown setting", "an unknown kind", "a rule that cannot be", "defaults that are not written out"],
)
def test_what_this_program_cannot_read_whole_is_refused_whole(
    machine: Machine, proposed: Callable[[Ruleset], Ruleset], said: str
):
    before, records = machine.runs, machine.journal.last_record()

    with pytest.raises(Rejected, match=said):
        machine.apply(proposed(files(0.6).ruleset))

    assert (machine.runs, machine.journal.last_record()) == (before, records)


def edited(good: Ruleset, **parts: Any) -> Ruleset:
    return msgspec.structs.replace(good, **parts)


def test_what_runs_already_is_not_applied_again(machine: Machine):
    with pytest.raises(Rejected, match="is in force already"):
        machine.apply(machine.runs)


def test_rolled_back_is_the_version_before_and_a_named_one_from_further_back(machine: Machine):
    first = machine.runs
    machine.apply(files(0.5).ruleset)
    machine.apply(files(0.6).ruleset)

    machine.rules.roll_back("", reason="worse", actor="anna")
    assert machine.runs == files(0.5).ruleset
    machine.rules.roll_back(version_of(first)[:6], reason="much worse", actor="anna")
    assert machine.runs == first

    assert [row.how for row in machine.rules.history()][:2] == ["rolled back", "rolled back"]


@pytest.mark.parametrize(("version", "said"), [("ffffffff", "no kept version begins with"), ("", "no version before")])
def test_one_cannot_go_back_to_what_is_not_there(machine: Machine, version: str, said: str):
    with pytest.raises(Rejected, match=said):
        machine.rules.roll_back(version, reason="-", actor="anna")


def test_a_version_whose_file_is_gone_or_broken_is_refused_and_nothing_changes(machine: Machine):
    first = version_of(machine.runs)
    machine.apply(files(0.6).ruleset)
    path = machine.folder / "rules" / f"{first}.json.zst"
    path.write_bytes(b"not zstandard")

    with pytest.raises(Rejected, match="cannot be read"):
        machine.rules.roll_back("", reason="-", actor="anna")
    path.unlink()
    with pytest.raises(Rejected, match="is not kept; see `foreshock rules history`"):
        machine.rules.roll_back("", reason="-", actor="anna")

    assert machine.runs == files(0.6).ruleset


def test_only_so_many_versions_are_remembered_and_kept(machine: Machine):
    for number in range(MAX_LINEAGE + 5):
        machine.apply(files(0.5 + number / 1000).ruleset)

    history = machine.rules.history()
    assert len(history) == MAX_LINEAGE
    assert len(list((machine.folder / "rules").iterdir())) == MAX_LINEAGE + 1  # and what came before the oldest
    assert all(row.kept for row in history)


def test_versions_that_the_engine_has_not_read_yet_are_kept(machine: Machine):
    machine.lags = True
    for threshold in (0.5, 0.6, 0.7):
        machine.apply(files(threshold).ruleset, against=machine.rules.get(""))

    machine.catch_up()

    assert [row.kept for row in machine.rules.history()] == [True] * 4


def test_a_record_whose_answer_was_lost_counts(machine: Machine):
    machine.cut = "after the record"
    with pytest.raises(PowerCut):
        machine.apply(files(0.6).ruleset)

    assert machine.rules.status().version == version_of(files(0.6).ruleset)


def test_back_is_to_another_version_also_where_files_and_people_said_the_same(machine: Machine):
    machine.apply(files(0.6).ruleset)
    machine.take(files(0.6))

    machine.rules.roll_back("", reason="worse", actor="anna")

    assert machine.runs == files(0.4).ruleset


def test_the_history_is_part_of_a_checkpoint(machine: Machine):
    machine.apply(files(0.6).ruleset)
    items = [(kind, key, body) for kind, key, body in machine.engine.checkpoint() if body is not None]

    restored = Engine(collector_kinds(), rule_kinds())
    restored.restore(items)

    assert restored.lineage == machine.engine.lineage
    assert len(restored.lineage) == 2


# ---- files and what was applied -------------------------------------------------------------------------------------


def test_what_was_applied_stays_over_a_restart_and_a_reload_while_the_files_say_the_same(machine: Machine):
    machine.apply(files(0.6).ruleset)

    machine.start()
    assert not machine.take(files(0.4))
    assert not machine.take(files(0.4, comment="a remark"), actor="mira")

    assert machine.runs == files(0.6).ruleset
    assert len(machine.rules.history()) == 2
    status = machine.rules.status()
    assert (status.applied, status.files) == (("group.threshold: 0.4 → 0.6",), version_of(files(0.4).ruleset))


def test_files_that_say_something_new_take_over_from_what_was_applied(machine: Machine):
    machine.apply(files(0.6).ruleset)

    assert machine.take(files(0.5), actor="mira")

    assert machine.runs == files(0.5).ruleset
    assert machine.rules.status().applied == ()
    assert (machine.rules.history()[0].how, machine.rules.history()[0].actor) == ("files", "mira")


def test_once_the_files_say_what_was_applied_they_are_what_runs(machine: Machine):
    machine.apply(files(0.6).ruleset)

    assert not machine.take(files(0.6))

    assert machine.rules.history()[0].how == "files"
    machine.start()
    assert machine.take(files(0.4))  # so that going back in the files goes back


def test_another_version_with_other_defaults_does_not_undo_what_was_applied(machine: Machine):
    machine.apply(files(0.6).ruleset)
    upgraded = msgspec.structs.replace(files(0.4), ruleset=files(0.45).ruleset)

    machine.start()
    assert not machine.take(upgraded)

    assert machine.runs == files(0.6).ruleset


def test_files_on_disk_that_were_not_read_yet_are_told_as_what_would_change(machine: Machine):
    machine.apply(files(0.6).ruleset)
    machine.unread = files(0.4, same_app())

    assert machine.rules.status().unread == ("group.threshold: 0.6 → 0.4", "rule same-app: added")


def test_refused_files_are_an_alert_about_ourselves_until_they_are_read(machine: Machine):
    machine.rules.refused("rules.yaml:3: nonsense")
    (alert,) = machine.engine.alerts.values()
    assert (alert.firing, alert.read_labels()["alertname"]) == (True, "ForeshockFilesRefused")
    assert "rules.yaml:3: nonsense" in alert.read_annotations()["summary"]
    assert machine.rules.status().error == "rules.yaml:3: nonsense"

    machine.take(files(0.4))
    assert not alert.firing


def test_a_record_of_an_older_version_counts_as_read_from_files(machine: Machine):
    old = SettingsRecord(correlation={"group": {"threshold": 0.3}}, sinks=("desk",))
    machine.append_now(NewRecord(kind=RecordKind.SETTINGS, body=msgspec.json.encode(old), source="settings"))
    machine.start()

    assert machine.take(files(0.4))
    assert machine.runs == files(0.4).ruleset


def test_an_engine_that_lags_behind_does_not_make_an_old_plan_look_new(machine: Machine):
    first = machine.runs
    machine.lags = True
    assert not machine.apply(files(0.6).ruleset).reflected
    assert machine.runs == first

    with pytest.raises(Rejected, match="made against"):
        machine.apply(files(0.7).ruleset, against=first)


def test_a_restart_before_the_engine_has_read_what_was_applied_keeps_it(machine: Machine):
    machine.lags = True
    machine.apply(files(0.6).ruleset)
    position = machine.position
    machine.start()
    machine.engine, machine.position = Engine(collector_kinds(), rule_kinds()), 0
    for record in machine.journal.records(0, limit=1000, upto=position):
        machine.engine.step([(record, None)])
        machine.position = record.number

    machine.take(files(0.4))
    machine.rules.take(files(0.4), ("desk", "other"), actor="foreshock")  # a sink more writes a record anyway
    machine.catch_up()

    assert machine.runs == files(0.6).ruleset


# ---- any order of anything ------------------------------------------------------------------------------------------

THRESHOLDS = st.sampled_from([0.3, 0.4, 0.5, 0.6])
CUTS = st.sampled_from(["before the file", "before the record", "after the record"])


class AnyOrder(RuleBasedStateMachine):
    """People apply plans that were made some time ago, roll back, edit files, reload; the engine lags; power goes. The
    model is three lines: what runs, what the files said when they were read, what they say."""

    @initialize()
    def begin(self) -> None:
        self.folder = tempfile.TemporaryDirectory()
        self.machine = Machine(Path(self.folder.name))
        self.on_disk = self.read = files(0.4)
        self.machine.take(self.read)
        self.runs = self.read.ruleset
        self.plans: list[tuple[Ruleset, Ruleset]] = []
        self.order = [version_of(self.runs)]

    def teardown(self) -> None:
        self.machine.journal.close()
        self.folder.cleanup()

    def now(self, wanted: Ruleset) -> None:
        self.runs = wanted
        self.order.append(version_of(wanted))

    @rule(threshold=THRESHOLDS, with_rule=st.booleans())
    def plan(self, threshold: float, with_rule: bool) -> None:
        self.plans.append((files(threshold, *([same_app()] if with_rule else [])).ruleset, self.runs))

    @precondition(lambda self: self.plans)
    @rule(data=st.data())
    def apply(self, data: st.DataObject) -> None:
        proposed, against = data.draw(st.sampled_from(self.plans))
        try:
            self.machine.apply(proposed, against=against)
        except Rejected:
            assert against != self.runs or proposed == self.runs
        else:
            assert against == self.runs
            self.now(proposed)

    @precondition(lambda self: self.plans)
    @rule(data=st.data(), cut=CUTS)
    def power_goes_while_applying(self, data: st.DataObject, cut: str) -> None:
        proposed, against = data.draw(st.sampled_from(self.plans))
        self.machine.cut = cut
        try:
            self.machine.apply(proposed, against=against)
        except Rejected:
            pass
        except PowerCut:
            if cut == "after the record":
                self.now(proposed)
        self.restart()

    @rule()
    def roll_back(self) -> None:
        others = [version for version in self.order if version != version_of(self.runs)]
        try:
            self.machine.rules.roll_back("", reason="-", actor="anna")
        except Rejected:
            assert not others
        except Unavailable:
            assert self.machine.lags
        else:
            self.machine.catch_up()
            assert version_of(self.machine.runs) == others[-1]
            self.now(self.machine.runs)

    @rule(threshold=THRESHOLDS)
    def edit(self, threshold: float) -> None:
        self.on_disk = files(threshold)

    @rule()
    def reload(self) -> None:
        if self.on_disk != self.read:
            self.now(self.on_disk.ruleset)
        self.read = self.on_disk
        self.machine.take(self.read, actor="mira")

    @rule()
    def restart(self) -> None:
        self.machine.start()
        self.reload()

    @rule()
    def lag(self) -> None:
        self.machine.lags = not self.machine.lags

    @invariant()
    def what_was_asked_for_last_runs(self) -> None:
        assert self.machine.rules.get("") == self.runs
        status = self.machine.rules.status()
        assert status.version == version_of(self.runs)
        assert status.applied == tuple(differences(self.read.ruleset, self.runs))

    @invariant()
    def the_engine_comes_to_the_same(self) -> None:
        if self.machine.lags:
            return
        self.machine.catch_up()
        assert self.machine.runs == self.runs
        lineage = self.machine.engine.lineage
        assert lineage[-1].version == version_of(self.runs)
        assert all(b.previous == a.version for a, b in pairwise(lineage))

    @invariant()
    def every_version_that_is_remembered_can_be_gone_back_to(self) -> None:
        for row in self.machine.rules.history():
            assert row.kept
            assert version_of(checked(self.machine.rules.get(row.version))) == row.version


AnyOrder.TestCase.settings = bounds(max_examples=50, stateful_step_count=25)
test_in_any_order = AnyOrder.TestCase
