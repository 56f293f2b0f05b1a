"""A fitted model as a value: written, read, explained."""

import numpy as np
import pytest

from foreshock.core.errors import Malformed
from predictor.model import LogOddsCurve, Model, blend
from predictor.training import fit_experts

NAMES = ("mixed:any", "since:1", "level:errors", "age")


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(1)
    x = np.column_stack([rng.exponential(0.1, 4000), rng.exponential(30, 4000), rng.normal(size=(4000, 2))])
    x = x.astype(np.float32)
    x[::7, 1] = np.nan
    return x, rng.random(4000) < 0.05 + np.minimum(x[:, 0], 0.8)


@pytest.fixture(scope="module")
def model(rows) -> Model:
    x, began = rows
    experts = fit_experts(NAMES, x, began, np.ones(len(x)), seed=0)
    curve = LogOddsCurve(np.array([-3.0, 0.0, 2.0]), np.array([-3.5, -0.2, 1.5]))
    return Model(names=NAMES, experts=experts, trust=(0.5, 0.1, 0.6), base=-0.1, curve=curve, threshold=0.3, factor=1.1)


def test_a_model_read_from_its_bytes_says_the_same(model, rows):
    again = Model.from_bytes(model.to_bytes())

    assert np.array_equal(again.probability(rows[0]), model.probability(rows[0]))
    assert (again.names, again.threshold) == (model.names, model.threshold)


@pytest.mark.parametrize("data", [b"", b"no model", b"PK\x03\x04 cut off"])
def test_bytes_that_are_no_model_are_refused(data):
    with pytest.raises(Malformed, match="this is no model"):
        Model.from_bytes(data)


def test_a_pickle_inside_is_refused_unread(tmp_path):
    np.savez(tmp_path / "foreign.npz", head=np.array([{"format": 1}], dtype=object))

    with pytest.raises(Malformed, match="this is no model"):
        Model.from_bytes((tmp_path / "foreign.npz").read_bytes())


def test_contributions_add_up_to_the_experts_common_word(model, rows):
    x = rows[0][:40]
    common = blend({name: expert.log_odds(x) for name, expert in model.experts.items()}, model.trust, model.base)

    for row, said in zip(x, common, strict=True):
        begin, added = model.contributions(row)
        assert begin + added.sum() == pytest.approx(said, abs=1e-9)


def test_the_curve_never_falls_and_keeps_its_distance_beyond_the_ends():
    curve = LogOddsCurve(np.array([-3.0, 0.0]), np.array([-3.5, -0.2]))

    assert curve.at(np.array([-4.0, -3.0, -1.5, 0.0, 1.0])) == pytest.approx([-4.5, -3.5, -1.85, -0.2, 0.8])
