from datetime import timedelta

import msgspec
import pytest

from correlation import evidence
from correlation.evidence import Heard, Known, attach, describe, fits, near, one
from foreshock.core.model import Anomaly, Direction, Evidence, Situation
from foreshock.testing.records import NOON

WINDOW = timedelta(minutes=15)


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


def anomaly(ci: str = "db1", metric: str = "latency", **changed) -> Anomaly:
    made = Anomaly(
        ci=ci, metric=metric, unit="s", onset=NOON, at=NOON + minutes(2), score=8.0, direction=Direction.UP,
        observed=2.5, expected=0.5, detector="robust@1",
    )  # fmt: skip
    return msgspec.structs.replace(made, **changed)


def situation() -> Situation:
    """Took shape from noon to ten past."""
    return Situation(id="S-1", opened_at=NOON, onset=NOON, updated_at=NOON, last_joined_at=NOON + minutes(10))


def found(*path: str, **changed) -> Evidence:
    return Evidence(anomaly=anomaly(path[-1], **changed), path=path)


@pytest.mark.parametrize(
    ("onset", "until", "is_evidence"),
    [
        (-300, None, True),  # lasts, however long already
        (-60, -14, True),
        (-60, -16, False),
        (24, None, True),
        (26, None, False),
    ],
)
def test_what_was_there_while_a_situation_took_shape_is_evidence_for_it(onset, until, is_evidence):
    deviation = anomaly(onset=NOON + minutes(onset), until=None if until is None else NOON + minutes(until))

    assert fits(deviation, situation(), WINDOW) is is_evidence


def test_the_strongest_evidence_comes_first_and_each_metric_of_a_ci_counts_once():
    kept = attach((), found("shop", "db1", score=5.0))
    kept = attach(kept, found("shop", score=9.0))
    kept = attach(kept, found("shop", "db1", score=7.0, dimension="p99"))
    kept = attach(kept, found("shop", "db1", score=6.0, dimension="p50"))

    assert [(each.anomaly.ci, each.anomaly.score) for each in kept] == [("shop", 9.0), ("db1", 7.0)]


def test_a_situation_keeps_a_bounded_number_of_the_strongest():
    kept: tuple[Evidence, ...] = ()
    for score in range(2 * evidence.MAX_EVIDENCE):
        kept = attach(kept, found("shop", metric=f"m{score}", score=float(score)))

    assert len(kept) == evidence.MAX_EVIDENCE
    assert kept[0].anomaly.score == 2 * evidence.MAX_EVIDENCE - 1
    assert kept[-1].anomaly.score == evidence.MAX_EVIDENCE


def test_of_two_ways_to_the_same_metric_the_shorter_is_told():
    kept = attach(attach((), found("shop", "api", "db1")), found("api", "db1"))

    assert [each.path for each in kept] == [("api", "db1")]


def test_a_deviation_that_goes_on_keeps_its_onset_and_its_worst():
    first = anomaly(score=9.0, observed=4.0)
    later = anomaly(score=6.0, observed=3.0, onset=NOON + minutes(1), until=NOON + minutes(9))

    told = one(first, later)

    assert (told.onset, told.until, told.score, told.observed) == (NOON, NOON + minutes(9), 9.0, 4.0)


def test_a_new_deviation_replaces_a_weaker_one_that_is_over():
    over, new = anomaly(score=3.0, until=NOON + minutes(5)), anomaly(score=8.0, onset=NOON + minutes(30))

    assert one(over, new) == new
    assert one(new, msgspec.structs.replace(over, direction=Direction.DOWN)) == new


def test_evidence_stays_with_the_alerts_it_was_found_through():
    kept = (found("shop", "db1"), found("mail", "disk"))

    assert near(kept, {"mail"}) == (kept[1],)


def test_what_is_known_is_bounded_and_the_oldest_goes_first(monkeypatch):
    monkeypatch.setattr(evidence, "MAX_KNOWN", 2)
    known = Known()

    gone = [known.hear(anomaly(ci), NOON, number) for number, ci in enumerate(("a", "b", "a", "c"))]

    assert gone == [[], [], [], [("b", "latency", "")]]
    assert [heard.anomaly.ci for heard in known] == ["a", "c"]
    assert list(known.on("b")) == []


def test_what_is_not_heard_of_again_is_forgotten():
    known = Known()
    known.hear(anomaly("a"), NOON, 1)
    known.hear(anomaly("b"), NOON, 1)
    known.hear(anomaly("a"), NOON + minutes(5), 2)

    assert known.forget(NOON + minutes(4)) == [("b", "latency", "")]
    assert len(known) == 1


def test_what_was_saved_comes_back_in_the_order_it_was_heard_in():
    heard = [Heard(anomaly("b"), NOON, 2), Heard(anomaly("z"), NOON, 1), Heard(anomaly("a"), NOON, 2)]

    assert [each.anomaly.ci for each in Known(heard)] == ["z", "a", "b"]


def test_an_anomaly_in_words():
    lasting = anomaly(dimension="p99")
    over = anomaly(until=NOON + minutes(9), direction=Direction.DOWN)

    assert describe(lasting) == (
        "db1: latency (p99) is up, 2.5 s where 0.5 s is usual, score 8, from 12:00 UTC"
    )  # fmt: skip
    assert describe(over) == "db1: latency was down, 2.5 s where 0.5 s is usual, score 8, from 12:00 to 12:09 UTC"


def test_what_numbers_do_not_say_is_told_in_words():
    full = anomaly(metric="disk_used", dimension="/var", said="92 % of 100 %, full about 12:44 UTC")

    assert describe(full) == (
        "db1: disk_used (/var): 92 % of 100 %, full about 12:44 UTC, score 8, from 12:00 UTC"
    )  # fmt: skip


def test_words_are_those_that_were_said_last():
    rising, now = anomaly(score=9.0, said="80 % of 100 %"), anomaly(score=5.0, said="92 % of 100 %")

    assert one(rising, now).said == "92 % of 100 %"
    assert one(rising, now).score == 9.0
