import numpy as np
import pytest

from foreshock.core.model import Anomaly, Direction, Series
from predictor.detectors.saturation import DETECTOR
from predictor.frames import Bound, Panel

STEP_S = 60
NOON_S = 1_700_000_000 // 86_400 * 86_400 + 43_200


def at(level: float, rows: int, spread: float = 1.0, seed: int = 1) -> np.ndarray:
    return level + spread * np.random.default_rng(seed).standard_normal(rows)


def ramp(first: float, last: float, rows: int = 30, spread: float = 0.3) -> np.ndarray:
    return np.linspace(first, last, rows) + spread * np.random.default_rng(2).standard_normal(rows)


def found(
    history: np.ndarray, window: np.ndarray, *, unit: str = "%", worse: Direction | None = Direction.UP,
    bound: Bound | None = None, step_s: float = STEP_S,
) -> list[Anomaly]:  # fmt: skip
    """The window begins at noon."""
    series = [Series(ci="db1", metric="disk_used", unit=unit, worse=worse)]
    bounds = [bound] if bound else ()
    past = NOON_S - step_s * np.arange(len(history), 0, -1)
    now = NOON_S + STEP_S * np.arange(len(window), dtype=float)
    fitted = DETECTOR.fit(Panel(series, past, history[:, None], bounds))
    return list(fitted.detect(Panel(series, now, window[:, None])))


def test_a_disk_that_comes_near_its_limit_and_stays_is_told():
    [full] = found(at(60, 600), np.concatenate([at(60, 20), at(96, 10)]))

    assert (full.ci, full.direction, full.until) == ("db1", Direction.UP, None)
    assert full.onset.timestamp() == NOON_S + 20 * STEP_S
    assert full.said.endswith(" % of 100 %")
    assert full.observed == pytest.approx(96, abs=1)
    assert full.expected == pytest.approx(60, abs=1)
    assert full.score == pytest.approx(4 + 6 * 0.6, abs=0.7)


def test_one_that_will_soon_be_full_is_told_with_the_time():
    [soon] = found(at(40, 600), ramp(40, 70))

    assert soon.direction is Direction.UP
    assert soon.said.startswith("68.4 % of 100 %, there about ")
    there = NOON_S + 59 * STEP_S  # a point in a minute, a percent a minute
    assert soon.said.endswith(" UTC")
    said = soon.said.rpartition("about ")[2].removesuffix(" UTC")
    hours, minutes = divmod(there % 86_400 // 60, 60)
    assert abs(int(said[:2]) * 60 + int(said[3:]) - hours * 60 - minutes) <= 3


def test_near_and_still_rising_says_both():
    [full] = found(at(60, 600), ramp(85, 97))

    assert " % of 100 %, there about 12:" in full.said


@pytest.mark.parametrize(
    ("history", "window"),
    [
        pytest.param(at(60, 600), at(88, 30), id="not near yet"),
        pytest.param(at(60, 600), np.concatenate([at(60, 26), at(97, 4)]), id="near for four points"),
        pytest.param(at(94, 600), at(95, 30), id="always there"),
        pytest.param(at(60, 600), ramp(40, 50), id="rises too slowly"),
        pytest.param(at(60, 600), np.concatenate([at(40, 15), at(70, 15)]), id="a step is no trend"),
        pytest.param(at(50, 600, 20), at(50, 30, 20), id="noise"),
        pytest.param(at(250, 600, 30), at(290, 30), id="a CPU of four cores has no limit of 100 %"),
        pytest.param(at(60, 600), np.full(30, np.nan), id="no points"),
        pytest.param(at(60, 11), at(96, 30), id="hardly any history"),
        pytest.param(np.full(600, 100.0), np.full(30, 100.0), id="always full"),
    ],
)
def test_it_is_quiet_otherwise(history, window):
    assert found(history, window) == []


def test_what_is_full_every_night_is_usual():
    """Four days in steps of ten minutes; the backup takes an hour, and rises to it in another."""
    history = at(40, 4 * 144)
    for night in range(4):
        history[night * 144 : night * 144 + 6] = np.linspace(40, 95, 6)
        history[night * 144 + 6 : night * 144 + 12] = 97

    assert found(history, at(97, 30), step_s=600) == []
    assert found(history, ramp(40, 70), step_s=600) == []
    assert len(found(at(40, 4 * 144), at(97, 30), step_s=600)) == 1


def test_what_rises_as_fast_every_day_and_turns_back_in_time_is_usual():
    history = at(40, 4 * 144)
    for day in range(4):
        history[day * 144 : day * 144 + 6] = np.linspace(40, 88, 6)

    assert found(history, ramp(40, 70), step_s=600) == []


def test_half_of_what_was_usually_left_is_news_for_what_is_always_near():
    assert found(at(91, 600, 0.2), at(95, 30, 0.2)) == []
    assert len(found(at(91, 600, 0.2), at(97, 30, 0.2))) == 1


def test_where_down_is_worse_the_limit_is_the_floor():
    [empty] = found(at(60, 600), at(4, 30, 0.0), worse=Direction.DOWN)

    assert empty.direction is Direction.DOWN
    assert empty.said == "4 %, the limit is 0 %"
    assert found(at(60, 600), at(96, 30), worse=Direction.DOWN) == []


def test_a_ratio_ends_at_one():
    assert len(found(at(0.6, 600, 0.01), at(0.96, 30, 0.01), unit="ratio", worse=None)) == 1


def test_a_declared_limit_counts_whatever_the_unit():
    pool = Bound(200.0, up=True)
    assert found(at(90, 600), at(195, 30), unit="") == []
    assert [each.said for each in found(at(90, 600), at(195, 30, 0.0), unit="", bound=pool)] == ["195 of 200"]
    assert found(at(90, 600), at(170, 30), unit="", bound=pool) == []


def test_a_declared_floor_is_reached_from_above():
    [low] = found(at(300, 600), at(20, 30, 0.0), unit="d", worse=Direction.DOWN, bound=Bound(0.0, up=False))

    assert (low.direction, low.said) == (Direction.DOWN, "20 d, the limit is 0 d")
    assert found(at(300, 600), at(20, 30), unit="d", worse=Direction.UP, bound=Bound(0.0, up=False)) == []


def test_what_is_over_is_told_with_its_end():
    [over] = found(at(60, 600), np.concatenate([at(60, 5), at(97, 10), at(60, 15)]))

    assert over.until is not None
    assert over.until.timestamp() == NOON_S + 14 * STEP_S
