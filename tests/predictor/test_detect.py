from datetime import timedelta

import msgspec
import pytest

from foreshock.core.model import Anomaly, Direction
from foreshock.testing.records import NOON
from predictor.detect import REPEAT, news, place


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
