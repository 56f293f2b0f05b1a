"""Which alerts begin together: what is found, and what must not be."""

from collections.abc import Iterable, Iterator
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from foreshock.core.learned import CoOccurrence, Occurrence, Standing
from foreshock.core.model import CI, Relationship
from foreshock.core.topology import Topology
from predictor.cooccurrence import fit
from predictor.settings import CoOccurrenceSettings

DAY_S, HOUR_S = 86_400.0, 3600.0
NOTHING_KNOWN = Topology()
DEFAULTS = CoOccurrenceSettings()


def poisson(names: Iterable[str], rng: np.random.Generator, *, days: float, every_h: float) -> Iterator[Occurrence]:
    """Alerts that know nothing of each other, each on a CI of its own."""
    for name in names:
        for at_s in rng.uniform(0, days * DAY_S, rng.poisson(days * 24 / every_h)):
            yield Occurrence(float(at_s), name, f"on-{name}")


def alerts_of(pairs: Iterable[CoOccurrence]) -> set[frozenset[str]]:
    return {frozenset((pair.a.name, pair.b.name)) for pair in pairs if pair.a.name and pair.a.ci}


def planted(rng: np.random.Generator, *, times: int = 12, days: float = 30, lag_s: float = 10.0) -> list[Occurrence]:
    """``Effect`` follows ``Cause`` by about ``lag_s`` each time, among forty alerts that are independent."""
    found = list(poisson([f"n{i}" for i in range(40)], rng, days=days, every_h=24))
    for at_s in rng.uniform(0, days * DAY_S, times):
        found.append(Occurrence(float(at_s), "Cause", "sw1"))
        found.append(Occurrence(float(at_s + lag_s + rng.uniform(-2, 2)), "Effect", "db1"))
    return found


def test_two_alerts_that_always_begin_together_are_found_with_their_lag():
    found = fit(planted(np.random.default_rng(1)), NOTHING_KNOWN, DEFAULTS).pairs

    (pair,) = [pair for pair in found if pair.a.ci and pair.standing is None]
    assert {pair.a.ci, pair.b.ci} == {"sw1", "db1"}
    assert (pair.together, pair.times) == (12, 12)
    assert pair.window_s == 20
    assert pair.strength > 0.9
    sign = 1 if pair.a.ci == "sw1" else -1
    assert sign * pair.lag_s[1] == pytest.approx(10, abs=1)


@pytest.mark.parametrize("every_h", [3, 24])
def test_alerts_that_know_nothing_of_each_other_make_no_pair_more_often_than_promised(every_h: float):
    histories = 20
    surprised = 0
    for seed in range(histories):
        history = poisson([f"n{i}" for i in range(25)], np.random.default_rng(seed), days=15, every_h=every_h)
        surprised += bool(fit(history, NOTHING_KNOWN, DEFAULTS).pairs)

    # At a false discovery rate of 5 % one history in twenty may hold any pair; four or more are due once in sixty.
    assert surprised <= 3


def test_what_is_kept_beside_a_true_pair_is_seldom_false():
    kept = false = 0
    for seed in range(5):
        rng = np.random.default_rng(seed)
        history = planted(rng)
        for number in range(15):
            for at_s in rng.uniform(0, 30 * DAY_S, 10):
                history += [
                    Occurrence(at_s, f"c{number}", f"x{number}"),
                    Occurrence(at_s + 5, f"e{number}", f"y{number}"),
                ]
        for pair in fit(history, NOTHING_KNOWN, DEFAULTS).pairs:
            true = {pair.a.name or pair.a.ci, pair.b.name or pair.b.ci}
            kept += 1
            false += not any(true in ({f"c{n}", f"e{n}"}, {f"x{n}", f"y{n}"}) for n in range(15)) and true not in (
                {"Cause", "Effect"},
                {"sw1", "db1"},
            )

    assert kept >= 5 * 16
    assert false <= 0.05 * kept


def test_two_nightly_jobs_are_no_pair_because_both_run_at_night():
    rng = np.random.default_rng(3)
    nights = [day * DAY_S + 2 * HOUR_S for day in range(40)]
    jobs = [f"job{i}" for i in range(12)]
    history = [Occurrence(night + rng.uniform(0, HOUR_S), job, f"on-{job}") for night in nights for job in jobs]
    history += poisson(["a", "b", "c"], rng, days=40, every_h=12)

    assert fit(history, NOTHING_KNOWN, DEFAULTS).pairs == ()


def test_what_fails_in_a_storm_is_no_pair_for_being_in_it():
    rng = np.random.default_rng(4)
    history = []
    for start in np.arange(20) * DAY_S * 1.3:
        hit = rng.permutation(200)[:100]
        history += [Occurrence(start + rng.uniform(0, 60), f"n{i}", f"on-n{i}") for i in hit]

    assert fit(history, NOTHING_KNOWN, DEFAULTS).pairs == ()


def test_one_storm_of_repeats_is_one_meeting():
    once = [Occurrence(1000.0, "Cause", "sw1"), Occurrence(1005.0, "Effect", "db1")]
    again = [Occurrence(o.at_s + 60 * i, o.name, o.ci) for o in once for i in range(100)]
    quiet = list(poisson([f"n{i}" for i in range(20)], np.random.default_rng(5), days=20, every_h=24))

    assert fit(again + quiet, NOTHING_KNOWN, DEFAULTS).pairs == ()


def test_a_pair_that_no_longer_meets_fades():
    old = planted(np.random.default_rng(6))
    later = [Occurrence(120 * DAY_S, "Other", "zz")]

    (fresh,) = [p for p in fit(old, NOTHING_KNOWN, DEFAULTS).pairs if p.a.ci]
    faded = [p for p in fit(old + later, NOTHING_KNOWN, DEFAULTS).pairs if p.a.ci]

    assert all(pair.strength < fresh.strength for pair in faded)
    long = DEFAULTS.model_copy(update={"half_life": timedelta(days=3650)})
    (kept,) = [p for p in fit(old + later, NOTHING_KNOWN, long).pairs if p.a.ci]
    assert kept.strength == pytest.approx(fresh.strength, abs=0.02)


def test_a_relationship_of_the_topology_carries_over_to_all_machines_of_its_kinds():
    rng = np.random.default_rng(7)
    ties = [Relationship(source=f"vm{i}", type="runs_on", target=f"host{i}") for i in range(40)]
    cis = [CI(id=f"vm{i}", kind="vm") for i in range(40)] + [CI(id=f"host{i}", kind="host") for i in range(40)]
    history = []
    for at_s in rng.uniform(0, 60 * DAY_S, 80):
        i = rng.integers(40)
        history += [Occurrence(at_s, "HostDown", f"host{i}"), Occurrence(at_s + 8, "VmDown", f"vm{i}")]

    found = fit(history, Topology(cis, ties), DEFAULTS).pairs

    (pair,) = [pair for pair in found if pair.standing in (Standing.NEEDED, Standing.NEEDS)]
    assert {(pair.a.name, pair.a.kind), (pair.b.name, pair.b.kind)} == {("HostDown", "host"), ("VmDown", "vm")}
    assert pair.standing is (Standing.NEEDS if pair.a.kind == "host" else Standing.NEEDED)
    assert pair.strength > 0.8


def test_a_storm_on_all_machines_says_nothing_about_their_relationships():
    rng = np.random.default_rng(8)
    ties = [Relationship(source=f"vm{i}", type="runs_on", target=f"host{i}") for i in range(40)]
    cis = [CI(id=f"vm{i}", kind="vm") for i in range(40)] + [CI(id=f"host{i}", kind="host") for i in range(40)]
    history = []
    for start in rng.uniform(0, 60 * DAY_S, 30):
        history += [Occurrence(start + rng.uniform(0, 15), "HostDown", f"host{i}") for i in rng.permutation(40)[:20]]
        history += [Occurrence(start + rng.uniform(0, 15), "VmDown", f"vm{i}") for i in rng.permutation(40)[:20]]

    found = fit(history, Topology(cis, ties), DEFAULTS).pairs

    assert [pair for pair in found if pair.standing in (Standing.NEEDED, Standing.NEEDS)] == []


def test_names_alike_are_a_standing_where_the_topology_knows_nothing():
    rng = np.random.default_rng(9)
    history = []
    for at_s in rng.uniform(0, 60 * DAY_S, 60):
        site = rng.choice(["ams", "fra", "lon", "par", "rom", "oslo", "wien", "bern"])
        one, two = rng.permutation(4)[:2]
        history += [Occurrence(at_s, "Slow", f"{site}-web-{one}"), Occurrence(at_s + 4, "Queue", f"{site}-web-{two}")]

    found = fit(history, NOTHING_KNOWN, DEFAULTS).pairs

    assert [pair.standing for pair in found if pair.standing is Standing.ALIKE] == [Standing.ALIKE]


def test_an_empty_history_has_no_pairs():
    assert fit([], NOTHING_KNOWN, DEFAULTS).pairs == ()
    assert fit([Occurrence(5.0, "Down", "db1")], NOTHING_KNOWN, DEFAULTS).pairs == ()


_NAMES = st.sampled_from(["a", "b", "c", "d"])
_HISTORIES = st.lists(
    st.builds(Occurrence, st.integers(0, 400).map(lambda n: n * 15.0), _NAMES, st.sampled_from(["", "x1", "x2"])),
    max_size=60,
)


@settings(max_examples=20, deadline=None)
@given(history=_HISTORIES, seed=st.integers(0, 1000))
def test_neither_order_nor_repeats_change_what_is_found(history: list[Occurrence], seed: int):
    short = DEFAULTS.model_copy(
        update={"quiet": timedelta(seconds=60), "fdr": 0.9, "min_strength": 0.0, "min_times": 2}
    )
    order = np.random.default_rng(seed).permutation(len(history))

    assert fit([history[i] for i in order] + history, NOTHING_KNOWN, short) == fit(history, NOTHING_KNOWN, short)


@settings(max_examples=20, deadline=None)
@given(history=_HISTORIES)
def test_every_pair_is_within_its_bounds(history: list[Occurrence]):
    open_ = DEFAULTS.model_copy(
        update={"quiet": timedelta(seconds=60), "fdr": 0.9, "min_strength": 0.0, "min_times": 2}
    )

    for pair in fit(history, NOTHING_KNOWN, open_).pairs:
        assert 2 <= pair.together <= pair.times
        assert 0 <= pair.strength <= 1
        assert pair.lag_s[0] <= pair.lag_s[1] <= pair.lag_s[2]
        assert max(map(abs, pair.lag_s)) <= pair.window_s
