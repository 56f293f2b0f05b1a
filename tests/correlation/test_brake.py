"""How many tickets may be opened within a minute."""

from datetime import timedelta

from correlation.brake import Brake
from foreshock.testing.records import NOON


def at(seconds: float):
    return NOON + timedelta(seconds=seconds)


def opened(*times_and_priorities: tuple[float, int]) -> Brake:
    brake = Brake()
    for seconds, priority in times_and_priorities:
        brake.open(priority, at(seconds))
    return brake


def test_a_minute_after_the_oldest_there_is_room_again():
    brake = opened((0, 3), (10, 3))

    assert brake.full_until(3, at(20), most=2) == at(60)
    assert brake.full_until(3, at(60), most=2) is None
    assert brake.full_until(3, at(20), most=3) is None


def test_what_is_less_urgent_takes_the_place_of_nothing():
    brake = opened((0, 4), (10, 4))

    assert brake.full_until(4, at(20), most=2) == at(60)
    assert brake.full_until(3, at(20), most=2) is None


def test_not_even_the_most_urgent_are_more_than_twice_as_many():
    brake = opened((0, 4), (1, 4), (2, 3), (3, 3))

    assert brake.full_until(1, at(20), most=2) == at(60)


def test_only_the_last_minute_is_remembered():
    brake = opened(*((second, 3) for second in range(500)))

    assert len(brake.opened) == 60


def test_a_storm_goes_on_while_half_as_many_come():
    brake = opened((0, 3), (1, 3), (2, 3), (3, 3))
    brake.begin(3, at(4), most=4)
    assert brake.over_at(most=4) == at(63)

    brake.want(at(30), most=4)
    brake.want(at(55), most=4)
    assert brake.over_at(most=4) == at(90)


def test_a_storm_holds_back_what_is_as_urgent_or_less_and_then_what_is_more_urgent_if_that_comes_too_fast_too():
    brake = opened((0, 4))
    brake.begin(4, at(1), most=1)
    assert [brake.stops(priority) for priority in (3, 4, 5)] == [False, True, True]

    brake.begin(2, at(2), most=1)
    assert [brake.stops(priority) for priority in (1, 2, 3)] == [False, True, True]
    assert brake.since == at(1)
