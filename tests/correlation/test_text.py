"""Alerts that say the same in rare words."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from correlation.relate import Candidate, Traces, View, link
from correlation.rule import Rule, RuleInstance, build
from correlation.rules.text import RULE
from correlation.settings import RelateSettings
from foreshock.core.model import Alert, encode_texts
from foreshock.core.severity import Severity
from foreshock.core.topology import Topology
from foreshock.testing.records import NOON, seconds

DAY = 86_400.0


def rule(**config: Any) -> Rule:
    (built,) = build([RuleInstance(name="text", kind="text", config=config)], {"text": RULE})
    return built


def alert(name: str, summary: str, at_s: float, started_s: float | None = None) -> Alert:
    at = NOON + seconds(at_s)
    return Alert(
        fingerprint=name, source="alertmanager", labels=bytes(encode_texts({"alertname": "Trouble", "id": name})),
        annotations=bytes(encode_texts({"summary": summary})), severity=Severity.MAJOR,
        starts_at=at if started_s is None else NOON + seconds(started_s), first_seen=at, last_seen=at,
    )  # fmt: skip


def view(at_s: float, threshold: float = 0.01) -> View:
    made = View(Traces(), Topology(), RelateSettings(), threshold)
    made.now = NOON + seconds(at_s)
    return made


class Watch:
    """A rule that sees alerts come, each placed in the situation it is told."""

    def __init__(self, **config: Any) -> None:
        self.rule = rule(**config)
        self.alerts = 0

    def comes(self, summary: str, situation: str, at_s: float) -> Sequence[Candidate]:
        assert self.rule.index is not None
        assert self.rule.memory is not None
        self.alerts += 1
        new = alert(f"a{self.alerts}", summary, at_s)
        found = self.rule.relate(new, view(at_s))
        self.rule.index.add(situation, new)
        self.rule.memory.learn(situation, new, new.last_seen)
        return found

    def a_month_of(self, summary: str, *, every_s: float) -> "Watch":
        for number in range(int(30 * DAY / every_s)):
            self.comes(summary, f"S-{number}", number * every_s - 31 * DAY)
        return self


ROUTINE = "disk usage high on host12"
RARE = "replica set rs17 lost its quorum"


def test_an_alert_without_a_ci_is_related_to_one_that_says_the_same_in_rare_words():
    watch = Watch().a_month_of(ROUTINE, every_s=3600)
    watch.comes(RARE, "S-1000", -2 * DAY)
    watch.comes(RARE, "S-1001", 0)

    (found,) = watch.comes("replica set rs18 lost its quorum", "S-1002", 30)

    assert (found.situation, found.via) == ("S-1001", "")
    assert found.strength > 0.4
    assert "quorum" in found.evidence


def test_common_words_glue_nothing():
    watch = Watch().a_month_of(ROUTINE, every_s=600)
    watch.comes(ROUTINE, "S-9000", 0)

    found = watch.comes("disk usage high on host99", "S-9001", 5)

    assert max((candidate.strength for candidate in found), default=0.0) < 0.3


def test_before_it_has_learned_anything_it_glues_nothing():
    watch = Watch()
    watch.comes(RARE, "S-1", 0)

    found = watch.comes(RARE, "S-2", 1)

    assert max(candidate.strength for candidate in found) < 0.4


def test_alerts_far_apart_in_time_are_not_compared():
    watch = Watch().a_month_of(ROUTINE, every_s=3600)
    watch.comes(RARE, "S-1000", 0)

    assert watch.comes(RARE, "S-1001", 601) == []


def test_a_text_of_one_word_is_too_short():
    watch = Watch(labels=()).a_month_of(ROUTINE, every_s=3600)
    watch.comes("quorum", "S-1000", 0)

    assert watch.comes("quorum", "S-1001", 1) == []


def test_a_word_that_comes_in_many_problems_at_once_loses_its_strength():
    watch = Watch().a_month_of(ROUTINE, every_s=3600)
    strengths = []
    for day in range(20):
        for number in range(3):
            found = watch.comes(RARE, f"S-{5000 + 3 * day + number}", day * DAY + number)
            strengths.append(max((candidate.strength for candidate in found), default=0.0))

    assert max(strengths[-6:]) < 0.4


def test_the_reason_names_the_words():
    text = rule()
    watch = Watch().a_month_of(ROUTINE, every_s=3600)
    watch.comes(RARE, "S-1000", 0)
    (found,) = watch.comes(RARE, "S-1001", 30)

    reason = link(alert("new", RARE, 30), found, alert("old", RARE, 0), Topology())

    assert reason.path == ()
    assert text.describe(reason).startswith("their texts share words that seldom come together: ")
    assert text.describe(reason).endswith("; 30 s apart")


TEXTS = [RARE, ROUTINE, "quorum lost", "usage of its quorum", "high"]


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["add", "move", "drop", "ask"]),
            st.integers(0, 7),
            st.integers(1, 3),
            st.sampled_from(TEXTS),
            st.integers(0, 400),
        ),
        max_size=40,
    )
)
def test_an_index_built_anew_answers_as_the_one_that_saw_everything(steps: list[tuple[str, int, int, str, int]]):
    """So that a restart, which builds it from the open situations, changes no decision."""
    lived = rule()
    open_: dict[str, tuple[str, Alert]] = {}
    now_s = 0.0
    assert lived.index is not None
    for what, number, situation, text, later_s in steps:
        now_s += later_s
        name = f"a{number}"
        if what == "drop" and name in open_:
            home, gone = open_.pop(name)
            lived.index.drop(home, [gone])
        elif what == "add" and name not in open_:
            open_[name] = (f"S-{situation}", alert(name, text, now_s, now_s - 2 * later_s))
            lived.index.add(*open_[name])
        elif what == "move" and name in open_:
            home, moved = open_[name]
            moved.annotate(bytes(encode_texts({"summary": text})))
            moved.starts_at = NOON + timedelta(seconds=now_s - later_s)
            lived.index.moved(home, moved)
        elif what == "ask":
            rebuilt = rule()
            assert rebuilt.index is not None
            for home, one in sorted(open_.values(), key=lambda entry: (entry[0], entry[1].fingerprint)):
                rebuilt.index.add(home, one)
            new = alert("new", text, now_s)
            answers = [sorted(each.relate(new, view(now_s, 0.001)), key=repr) for each in (lived, rebuilt)]
            assert answers[0] == answers[1]
