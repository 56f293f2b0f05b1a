from datetime import timedelta

import msgspec
import pytest

from foreshock.core.model import Anomaly, Direction
from foreshock.testing.records import NOON
from predictor.detect import REPEAT, Detector, news, place, together


def minutes(number: float) -> timedelta:
    return timedelta(minutes=number)


LASTING = Anomaly(
    ci="db1", metric="latency", onset=NOON, at=NOON + minutes(2), score=8.0, direction=Direction.UP, observed=2.5,
    expected=0.5, detector="robust@1",
)  # fmt: skip
OVER = msgspec.structs.replace(LASTING, until=NOON + minutes(20))
AGAIN = msgspec.structs.replace(LASTING, onset=NOON + minutes(40), until=NOON + minutes(45))


@pytest.mark.parametrize(
    ("before", "now", "is_news"),
    [
        pytest.param(None, LASTING, True, id="the first time"),
        pytest.param(LASTING, LASTING, False, id="the same again"),
        pytest.param(LASTING, msgspec.structs.replace(LASTING, score=11.9), False, id="a little stronger"),
        pytest.param(LASTING, msgspec.structs.replace(LASTING, score=12.0), True, id="much stronger"),
        pytest.param(LASTING, msgspec.structs.replace(LASTING, direction=Direction.DOWN), True, id="the other way"),
        pytest.param(LASTING, OVER, True, id="it ended"),
        pytest.param(OVER, OVER, False, id="its end again"),
        pytest.param(OVER, AGAIN, True, id="another one that is over too"),
        pytest.param(OVER, LASTING, True, id="it came back"),
    ],
)
def test_what_is_worth_telling(before, now, is_news):
    told = {} if before is None else {place(before): (before, NOON + minutes(30))}

    assert news([now], told, NOON + minutes(31)) == ([now] if is_news else [])


def test_what_lasts_is_told_again_after_a_while():
    told = {place(LASTING): (LASTING, NOON)}

    assert news([LASTING], told, NOON + REPEAT - minutes(1)) == []
    assert news([LASTING], told, NOON + REPEAT) == [LASTING]


def kind(name: str, *, yields: bool = False, told_of_cis=None) -> Detector:
    return Detector(
        kind=name, version=1, title="", fit=lambda _: None, plant=lambda course: course, yields=yields,
        told_of_cis=told_of_cis,
    )  # fmt: skip


ROBUST, LIMIT, LEVEL = kind("robust"), kind("saturation"), kind("change_point", yields=True)
FULL = msgspec.structs.replace(LASTING, score=5.0, said="92 % of 100 %", detector="saturation@1")


def test_of_each_series_one_thing_is_told_and_it_is_the_strongest_in_the_words_of_the_other():
    [told] = together([(ROBUST, [LASTING]), (LIMIT, [FULL])])

    assert (told.detector, told.score, told.said) == ("robust@1", 8.0, "92 % of 100 %")


def test_what_lasts_goes_before_what_is_over_and_keeps_to_its_own_words():
    over = msgspec.structs.replace(FULL, until=NOON + minutes(20), score=9.0)

    assert together([(LIMIT, [over]), (ROBUST, [LASTING])]) == [LASTING]


def test_a_detector_that_yields_is_heard_where_no_other_says_anything():
    level = msgspec.structs.replace(LASTING, score=50.0, said="level 3 -> 4", detector="change_point@1")
    elsewhere = msgspec.structs.replace(level, ci="db2")

    assert together([(LEVEL, [level, elsewhere]), (ROBUST, [LASTING])]) == [LASTING, elsewhere]


def test_findings_of_all_metrics_come_together_before_they_are_told_of_their_cis():
    counted = kind("silence", told_of_cis=lambda found: [msgspec.structs.replace(found[0], score=float(len(found)))])
    other = msgspec.structs.replace(LASTING, metric="cpu")

    assert [each.score for each in together([(counted, [LASTING]), (counted, [other])])] == [2.0]
