import itertools
from datetime import timedelta

from foreshock.service.heard import Heard
from foreshock.testing.tickets import NOON


def at(seconds):
    return NOON + timedelta(seconds=seconds)


def test_what_was_heard_is_due_when_it_has_settled_and_not_before():
    heard = Heard(timedelta(seconds=30))
    assert heard.due() is None
    heard.hear(at(0))

    assert heard.due() == at(31)


def test_a_reading_before_it_has_settled_leaves_it_due():
    heard = Heard(timedelta(seconds=30))
    heard.hear(at(0))
    heard.read(at(15))
    assert heard.due() == at(31)
    heard.read(at(31))
    assert heard.due() is None


def test_a_stream_of_calls_is_neither_put_off_nor_a_reading_each():
    heard = Heard(timedelta(seconds=3))
    readings = []
    for second in range(60):
        for part in range(10):
            heard.hear(at(second + part / 10))
        due = heard.due()
        if due is not None and due <= at(second):
            heard.read(at(second))
            readings.append(second)

    assert readings[0] == 4
    assert {later - earlier for earlier, later in itertools.pairwise(readings)} == {5}
