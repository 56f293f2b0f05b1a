"""Features of events: what they say, that one step at a time is the same as years at once, and that the future does not
enter."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from predictor.history import Entities, Events, Words
from predictor.outcomes import rows_between
from predictor.recurrence import EventState, event_features, event_names

KINDS = (("cause", "disk"), ("cause", "power"))


def estate(n: int = 4, steps: int = 30) -> Entities:
    groups = Words(("a", "b"), np.arange(n) % 2)
    whole = np.full(n, steps - 1)
    return Entities(
        names=tuple(f"n{i}" for i in range(n)),
        groups=groups,
        clocks=groups.codes,
        order=np.arange(n, dtype=float),
        numbers={},
        kinds={},
        cutoff=whole,
        first=np.zeros(n, np.int64),
        last=whole,
        asked_first=np.zeros(n, np.int64),
        asked_last=whole,
        begins=np.full(n, np.nan),
    )


def log(rows) -> Events:
    """Of (entity, step, steps until known, cause, minutes)."""
    rows = sorted(rows, key=lambda row: row[1])
    entity, step, later, cause, minutes = (np.array([row[i] for row in rows]) for i in range(5))
    return Events(
        entity=entity.astype(np.int64),
        step=step.astype(np.int64),
        known=(step + later).astype(np.int64),
        numbers={"minutes": minutes.astype(float)},
        kinds={"cause": Words(("disk", "power"), cause.astype(np.int64))},
    )


def computed(events: Events, entity, step, entities: Entities | None = None) -> dict[str, np.ndarray]:
    names = event_names(KINDS)
    out = np.empty((len(entity), len(names)), np.float32)
    event_features(entities or estate(), events, np.array(entity), np.array(step), KINDS, out)
    return dict(zip(names, out.T, strict=True))


happenings = st.lists(
    st.tuples(st.integers(0, 3), st.integers(0, 29), st.integers(0, 5), st.integers(0, 1), st.floats(0, 1e4)),
    min_size=1,
    max_size=40,
)


@given(happenings, st.integers(0, 28))
@settings(max_examples=20, deadline=None)
def test_nothing_that_happens_or_becomes_known_later_changes_a_row(rows, now):
    entity, step = np.arange(4), np.full(4, now)
    until = [row for row in rows if row[1] <= now]
    # Of what was not yet known, cause and minutes are told otherwise.
    told = [row if row[1] + row[2] <= now else (*row[:3], 1 - row[3], 5.0) for row in until]
    other = [*told, (0, 29, 0, 1, 1.0), (2, now + 1, 0, 0, 9.0)]

    ours, theirs = computed(log([*rows, (1, 29, 0, 0, 0.0)]), entity, step), computed(log(other), entity, step)

    for name, values in ours.items():
        assert np.array_equal(values, theirs[name], equal_nan=True), name


@given(happenings, st.lists(st.tuples(st.integers(0, 3), st.integers(0, 29)), min_size=1, max_size=20, unique=True))
@settings(max_examples=20, deadline=None)
def test_some_rows_in_any_order_are_the_same_as_all_of_them(rows, asked):
    every = rows_between(np.zeros(4, np.int64), np.full(4, 29))
    whole = computed(log(rows), *every)
    some = computed(log(rows), [e for e, _ in asked], [s for _, s in asked])

    places = [e * 30 + s for e, s in asked]
    for name, values in some.items():
        assert np.array_equal(values, whole[name][places], equal_nan=True), name


@given(happenings)
@settings(max_examples=20, deadline=None)
def test_rates_are_decayed_counts_for_each_step_of_decayed_exposure(rows):
    found = computed(log(rows), [0, 1, 2, 3], [29] * 4)

    hit = {(entity, step) for entity, step, *_ in rows}
    for entity in range(4):
        decay = 0.5 ** (np.arange(29, -1, -1) / 8)
        happened = np.array([(entity, step) in hit for step in range(30)])
        assert found["rate:any:8"][entity] == pytest.approx(decay[happened].sum() / decay.sum(), rel=1e-5)


def test_what_is_known_of_the_last_steps_is_told():
    events = log([(0, 3, 0, 0, 10.0), (0, 9, 4, 1, 60.0), (1, 9, 0, 0, 5.0)])

    at_10, at_13 = computed(events, [0], [10]), computed(events, [0], [13])

    assert (at_10["since:1"][0], at_10["since:2"][0], at_10["total"][0]) == (1, 7, 2)
    assert (at_10["open"][0], at_13["open"][0]) == (1, 0)
    assert at_10["rate:cause=power:600"][0] == 0 < at_13["rate:cause=power:600"][0]
    assert at_13["last_repair"][0] == pytest.approx(np.log1p(60))


def test_neighbours_are_those_of_the_same_group_by_number():
    found = computed(log([(0, 5, 0, 0, 1.0)]), [1, 2], [5, 5])

    assert found["near:any:3:1"].tolist() == [0, pytest.approx(found["rate:any:3"][0] + 1 / 2.3, abs=0.5)]
    assert found["near:any:3:1"][1] > 0


def test_a_common_cause_is_told_from_the_entity_s_own():
    entities = estate(n=12)
    together = [(entity, 4, 0, 0, 1.0) for entity in range(0, 12, 2)]
    found = computed(log([*together, (1, 4, 0, 0, 1.0)]), [0, 1], [4, 4], entities)

    assert found["rate:wave:1"].tolist() == [found["rate:any:1"][0], 0]
    assert found["rate:alone:1"].tolist() == [0, found["rate:any:1"][1]]
    assert found["since:group_wave"][0] == 0


def test_a_state_may_be_asked_and_advanced_forever():
    state = EventState(estate())
    none = np.empty(0, np.int64)
    for _ in range(5000):
        state.advance(np.array([0]), none, [], np.empty(0))

    assert np.isfinite(state.features(np.array([0]))[0, : 4 * 7]).all()
