"""What people make of Problems becomes a record, once, and a bounded number of them is looked at in a run."""

import pytest

from correlation.problem import ProblemRecord, as_read
from foreshock.core.contracts import ProblemReading, Receipt
from foreshock.core.errors import Unavailable
from foreshock.service import problem_reading
from foreshock.service.problem_reading import ProblemReader


class Shelf:
    """Problems of a system, by key, and an engine that believes what it is told of them."""

    def __init__(self, *keys):
        self.held = {key: ProblemReading() for key in keys}
        self.known = {key: ProblemRecord(key=key, number=f"N-{key}", state="confirmed") for key in keys}
        self.told, self.asked = [], []
        self.reader = ProblemReader("prod", self, lambda: list(self.known.values()), self.receipt, self.report)

    def receipt(self, key):
        return Receipt(number=f"N-{key}")

    def read_problem(self, problem):
        self.asked.append(problem.number.removeprefix("N-"))
        return self.held[self.asked[-1]]

    def report(self, change):
        self.told.append(change)
        read = change.problem
        self.known[change.situation] = as_read(self.known[change.situation], read.ended, read.by, read.known_error)


def test_what_differs_from_what_is_known_is_told_once():
    shelf = Shelf("P-1", "P-2")
    shelf.held["P-2"] = ProblemReading(known_error="restart the pool")

    assert [shelf.reader.run(), shelf.reader.run()] == [1, 0]

    (change,) = shelf.told
    assert (change.sink, change.situation, change.number) == ("prod", "P-2", "N-P-2")
    assert change.problem == ProblemReading(known_error="restart the pool")


def test_a_problem_that_is_gone_is_ended():
    shelf = Shelf("P-1")
    shelf.held["P-1"] = None

    shelf.reader.run()

    assert [change.problem.ended for change in shelf.told] == ["deleted"]


def test_one_run_looks_at_some_and_the_next_goes_on_with_the_others(monkeypatch):
    monkeypatch.setattr(problem_reading, "MAX_LOOKS", 2)
    shelf = Shelf("P-1", "P-2", "P-3")

    for _ in range(4):
        shelf.reader.run()

    assert shelf.asked == ["P-1", "P-2", "P-3", "P-1", "P-2", "P-3"]


def test_one_that_was_never_delivered_is_not_asked_for():
    shelf = Shelf("P-1")
    shelf.reader = ProblemReader("prod", shelf, lambda: list(shelf.known.values()), lambda key: None, shelf.report)

    assert shelf.reader.run() == 0
    assert shelf.asked == []


def test_what_was_told_before_an_outage_stays_and_the_rest_follows_after_it():
    shelf = Shelf("P-1", "P-2")
    shelf.held = {key: ProblemReading(ended="closed") for key in shelf.held}
    read = shelf.read_problem

    def fails(problem):
        if problem.number == "N-P-2":
            raise Unavailable("prod does not answer")
        return read(problem)

    shelf.read_problem = fails
    with pytest.raises(Unavailable):
        shelf.reader.run()
    shelf.read_problem = read
    for _ in range(2):
        shelf.reader.run()

    assert [change.situation for change in shelf.told] == ["P-1", "P-2"]
