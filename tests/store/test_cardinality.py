"""Series beyond the bounds are left out, counted and named; the others are kept."""

from foreshock.core.model import Samples, Series
from foreshock.store.cardinality import Cardinality
from foreshock.store.points import Points, gather


def points(metric: str, *cis: str) -> Points:
    return gather(Samples(series=Series(ci=ci, metric=metric), times=[1.0, 2.0], values=[1.0, 2.0]) for ci in cis)


def kept(found: Points) -> list[str]:
    return sorted({found.names[place].ci for place in found.series.tolist()})


def test_series_that_are_known_stay_and_new_ones_beyond_the_bound_are_named():
    bounded = Cardinality(most=10, of_source=2)
    bounded.admitted("prom", points("cpu", "a", "b"))

    assert kept(bounded.admitted("prom", points("cpu", "b", "c", "a"))) == ["a", "b"]
    assert bounded.refused() == [("prom", "cpu", 2, 2)]


def test_the_metric_with_most_series_is_named_first():
    bounded = Cardinality(most=100, of_source=5)
    bounded.admitted("prom", points("session", "a", "b", "c"))
    bounded.admitted("prom", points("cpu", "a", "b", "c"))
    bounded.admitted("prom", points("session", "d"))

    assert bounded.refused() == [("prom", "session", 2, 3), ("prom", "cpu", 2, 2)]


def test_one_source_leaves_room_for_others_and_all_together_have_a_bound():
    bounded = Cardinality(most=3, of_source=2)

    assert kept(bounded.admitted("one", points("cpu", "a", "b", "c"))) == ["a", "b"]
    assert kept(bounded.admitted("two", points("cpu", "a", "b"))) == ["a"]


def test_a_series_that_is_heard_no_more_gives_its_place_to_another():
    bounded = Cardinality(most=1, of_source=1)
    bounded.admitted("prom", points("cpu", "a"))
    bounded.age()
    assert kept(bounded.admitted("prom", points("cpu", "b"))) == []
    bounded.age()

    assert kept(bounded.admitted("prom", points("cpu", "b"))) == ["b"]
