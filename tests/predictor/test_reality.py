"""What Foreshock has seen, as a history for models."""

import numpy as np

from foreshock.core.learned import Facts, Happening, Incident
from predictor.outcomes import learnable
from predictor.reality import Seen, history

HOUR = 3600.0


def incident(ci: str, onset_h: float, until_h: float | None) -> Incident:
    until = None if until_h is None else until_h * HOUR
    return Incident(ci=ci, onset=onset_h * HOUR, until=until, situation="S-1", priority=2)


def seen(*happenings: Happening, incidents: tuple[Incident, ...] = (), until_h: float = 10.5) -> Seen:
    return Seen(
        since=0,
        until=until_h * HOUR,
        cis={"db1": Facts(kind="host", criticality=1), "web": Facts(kind="service")},
        happenings=happenings,
        incidents=incidents,
    )


def test_every_ci_is_asked_about_in_the_last_step_that_is_over():
    found = history(seen(Happening("stranger", 1 * HOUR, None, "Full", 4)), HOUR).entities

    assert found.names == ("db1", "stranger", "web")
    assert found.asked_first.tolist() == found.asked_last.tolist() == found.cutoff.tolist() == [9, 9, 9]
    assert [found.groups.names[code] for code in found.groups.codes] == ["host", "", "service"]
    assert found.numbers["criticality"].tolist() == [1, 0, 0]


def test_what_happened_has_a_step_and_what_became_of_it_is_known_once_it_is_over():
    first = Happening("web", 2.5 * HOUR, 5.1 * HOUR, "Slow", 3)
    lasts = Happening("db1", 1.0 * HOUR, None, "Full", 5)
    now = Happening("db1", 10.2 * HOUR, None, "Down", 5)
    found = history(seen(first, lasts, now), HOUR).events

    assert found is not None
    assert found.step.tolist() == [1, 2]
    assert found.known.tolist() == [10, 5]
    np.testing.assert_allclose(found.numbers["minutes"], [np.nan, 2.6 * 60])
    assert [found.kinds["name"].names[code] for code in found.kinds["name"].codes] == ["Full", "Slow"]


def test_incidents_of_a_ci_that_overlap_are_one_and_one_that_lasts_ends_with_what_is_known():
    found = history(seen(incidents=(incident("db1", 1, 3), incident("db1", 2, 4), incident("web", 8, None))), HOUR)

    assert found.incidents.start.tolist() == [1, 8]
    assert found.incidents.end.tolist() == [4, 10]


def test_what_was_over_before_the_beginning_is_left_out():
    assert not len(history(seen(incidents=(incident("db1", -5, -2),)), HOUR).incidents.entity)


def test_a_row_is_learned_from_only_where_its_horizon_is_over():
    known = history(seen(incidents=(incident("db1", 6, 7),)), HOUR)
    entity, step, began = learnable(known.entities, known.incidents, lead=1, horizon=2)
    rows = dict(zip(zip(entity.tolist(), step.tolist(), strict=True), began.tolist(), strict=True))

    assert rows == {
        **{(0, row): row in (4, 5) for row in (0, 1, 2, 3, 4, 5)},
        **{(1, row): False for row in range(8)},
    }


def test_a_moment_has_no_steps_and_nothing_to_learn_from():
    known = history(seen(until_h=0.5), HOUR)

    assert known.entities.asked_last.tolist() == [-1, -1]
    assert not len(learnable(known.entities, known.incidents, 1, 2)[0])
