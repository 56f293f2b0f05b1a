"""Boosted trees without the library that fitted them."""

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier

from predictor.trees import _arrays, fit_trees


@pytest.fixture(scope="module")
def table():
    rng = np.random.default_rng(3)
    x = rng.normal(size=(3000, 5)).astype(np.float32)
    x[rng.random(x.shape) < 0.2] = np.nan
    began = np.nan_to_num(x[:, 0]) + np.nan_to_num(x[:, 1]) * np.isnan(x[:, 2]) + rng.normal(size=3000) > 1.2
    return x, began


def test_the_arrays_say_what_scikit_learn_says(table):
    x, began = table
    model = HistGradientBoostingClassifier(max_iter=40, max_leaf_nodes=9, random_state=0).fit(x, began)

    ours = _arrays(model, np.arange(5)).log_odds(x)

    assert np.abs(ours - model.decision_function(x)).max() < 1e-9


def test_contributions_add_up_to_the_prediction(table):
    x, began = table
    trees = fit_trees(x, began, np.ones(len(x)), seed=0, leaves=6, rounds=30)
    said = trees.log_odds(x[:50])

    for row, log_odds in zip(x[:50], said, strict=True):
        begin, added = trees.contributions(row)
        assert begin + added.sum() == pytest.approx(log_odds, abs=1e-9)


def test_a_column_that_decides_contributes_and_one_of_noise_hardly_does(table):
    x, began = table
    trees = fit_trees(x, began, np.ones(len(x)), seed=0, leaves=6, rounds=30)

    size = np.mean([np.abs(trees.contributions(row)[1]) for row in x[:200]], axis=0)

    assert size[0] > 5 * size[4]


@pytest.mark.parametrize("value", [np.nan, 7.0, np.inf], ids=["never measured", "constant", "infinite"])
def test_a_column_that_says_nothing_is_left_out(table, value):
    x, began = table
    x = x.copy()
    x[:, 3] = value

    trees = fit_trees(np.where(np.isfinite(x), x, np.nan), began, np.ones(len(x)), seed=0, leaves=6, rounds=5)

    assert 3 not in trees.feature
