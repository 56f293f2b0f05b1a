"""What is learned of how alerts end."""

import pytest

from correlation.settings import TransientSettings
from correlation.suppression import transients
from correlation.suppression.transients import Transients
from foreshock.core.model import CI, Alert, encode_texts
from foreshock.core.severity import Severity
from foreshock.core.topology import Topology
from foreshock.testing.records import NOON, seconds

DAY_S = 86_400.0


def learner(**settings: object) -> Transients:
    found = Transients()
    found.use(TransientSettings.model_validate(settings), Topology([CI(id="vm1", kind="vm")]))
    return found


def over(name: str = "HighCpu", *, took_s: float = 60, ci: str = "vm1") -> Alert:
    return Alert(
        fingerprint=name,
        source="alertmanager",
        labels=bytes(encode_texts({"alertname": name})),
        annotations=b"{}",
        severity=Severity.WARNING,
        starts_at=NOON,
        ends_at=NOON + seconds(took_s),
        first_seen=NOON,
        last_seen=NOON,
        firing=False,
        ci=ci,
    )


def test_a_class_is_an_alertname_on_a_type_of_ci():
    assert learner().class_of(over()) == "HighCpu on vm"
    assert learner().class_of(over(ci="nobody knows it")) == "HighCpu"


def test_what_ended_soon_and_by_itself_is_told_from_what_did_not():
    learning = learner()
    for alert, by_itself in ((over(), True), (over(took_s=300), True), (over(took_s=301), True), (over(), False)):
        learning.ended(alert, NOON, by_itself=by_itself)
    flapping = over()
    flapping.held_until = NOON
    learning.ended(flapping, NOON, by_itself=True)

    known = learning.classes["HighCpu on vm"]
    assert (known.ended, known.soon) == (5.0, 2.0)
    assert learning.unsaved() == ["HighCpu on vm"]


def test_older_ends_count_less():
    learning = learner(half_life="7d")
    learning.ended(over(), NOON, by_itself=True)
    learning.ended(over(took_s=4000), NOON + seconds(7 * DAY_S), by_itself=True)

    known = learning.classes["HighCpu on vm"]
    assert (known.ended, known.soon) == (1.5, 0.5)


def test_classes_are_bounded_the_ones_not_heard_of_for_the_longest_go(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(transients, "MAX_CLASSES", 10)
    learning = learner()
    for index in range(11):
        learning.ended(over(f"A{index:02}"), NOON + seconds(index), by_itself=True)

    assert sorted(learning.classes) == [f"A{index:02} on vm" for index in range(1, 11)]
    assert "A00 on vm" in learning.unsaved()


def test_switched_off_it_learns_nothing():
    learning = learner(enabled=False)
    learning.ended(over(), NOON, by_itself=True)

    assert learning.classes == {}
