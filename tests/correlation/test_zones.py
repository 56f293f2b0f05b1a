"""Histories in which one source writes local time."""

import random
from datetime import timedelta

import pytest

from correlation.zones import ahead

HOUR = 3600.0


def faults(count: int = 40, seed: int = 1) -> list[tuple[str, float]]:
    """What goes wrong where and when, over two days."""
    chance = random.Random(seed)
    return [(f"host-{chance.randrange(10)}", chance.uniform(0, 48 * HOUR)) for _ in range(count)]


def seen(faults: list[tuple[str, float]], *, shift_s: float = 0.0, late_s: float = 20.0) -> list[tuple[str, float]]:
    return [(ci, at_s + shift_s + late_s) for ci, at_s in faults]


@pytest.mark.parametrize("hours", [8, -5, 5.75, -9.5])
def test_a_source_in_another_time_zone_is_found(hours: float):
    known = faults()
    sources = {"metrics": [*seen(known), *seen(known, late_s=5)], "logs": seen(known, shift_s=hours * HOUR)}

    assert ahead(sources) == {"logs": timedelta(hours=hours)}


def test_sources_of_one_time_zone_are_left_alone():
    known = faults()

    assert ahead({"metrics": seen(known), "logs": seen(known), "traces": seen(known, late_s=40)}) == {}


def test_several_sources_may_be_in_that_other_zone():
    known = faults(60)
    sources = {
        "metrics": [*seen(known), *seen(known, late_s=3)],
        "logs": seen(known, shift_s=8 * HOUR),
        "traces": seen(known[:50], shift_s=8 * HOUR),
    }

    assert ahead(sources) == {"logs": timedelta(hours=8), "traces": timedelta(hours=8)}


def test_the_source_with_the_most_rows_is_right():
    known = faults()

    assert ahead({"a": seen(known, shift_s=8 * HOUR), "b": [*seen(known), *seen(known)]}) == {"a": timedelta(hours=8)}


def test_a_clock_that_is_only_late_is_no_time_zone():
    known = faults()

    assert ahead({"metrics": [*seen(known), *seen(known)], "logs": seen(known, shift_s=600)}) == {}


def test_what_meets_nobody_says_nothing():
    elsewhere = [(f"pod-{index}", at_s) for index, (_, at_s) in enumerate(faults())]

    assert ahead({"metrics": seen(faults()), "logs": elsewhere}) == {}


def test_a_few_meetings_are_no_proof():
    known = faults(60)

    assert ahead({"metrics": [*seen(known), *seen(known)], "logs": seen(known[:15], shift_s=8 * HOUR)}) == {}


def test_where_something_is_wrong_all_the_time_no_shift_is_better_than_another():
    always = [("host-1", 30.0 * index) for index in range(5000)]

    assert ahead({"metrics": always, "logs": [("host-1", 600.0 * index) for index in range(200)]}) == {}


def test_nothing_comes_of_nothing():
    assert ahead({}) == {}
    assert ahead({"metrics": []}) == {}
