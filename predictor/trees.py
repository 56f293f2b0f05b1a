"""Boosted trees as arrays: fitted by scikit-learn, written, read and asked without it.

A prediction is a log-odds: the sum of one leaf of each tree. What each feature adds is read off the paths: a step from
a node to its child changes the expected value (the mean of the leaves below by training rows), and the feature that was
asked there gets the difference (Saabas 2014, "Interpreting random forests"). The parts add up to the prediction.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from predictor.history import Floats, Ints

_LEAF = -1


class Trees(Struct, frozen=True):
    """All nodes of all trees one after the other; a node's children are places in the same arrays.

    Attributes:
        feature: column that a node asks; -1 for a leaf. threshold: a value up to it goes left.
        missing_left: where a missing value goes.
        value: of a leaf what it adds, of a node the mean of the leaves below; log-odds.
        roots: the place of each tree's first node. base: what every prediction begins with.
    """

    feature: Ints
    threshold: Floats
    missing_left: NDArray[np.bool_]
    left: Ints
    right: Ints
    value: Floats
    roots: Ints
    base: float

    def log_odds(self, x: NDArray[np.float32]) -> Floats:
        """Of each row of ``x``."""
        columns = np.asfortranarray(x)
        total = np.full(len(x), self.base)
        everything = np.arange(len(x))
        for root in self.roots.tolist():
            ways = [(root, everything)]
            while ways:
                node, rows = ways.pop()
                feature = self.feature[node]
                if feature == _LEAF:
                    total[rows] += self.value[node]
                    continue
                left = self._goes_left(node, columns[rows, feature])
                ways += [
                    (int(child), there)
                    for child, there in ((self.left[node], rows[left]), (self.right[node], rows[~left]))
                    if len(there)
                ]
        return total

    def _goes_left(self, node: int, values: NDArray[np.float32]) -> NDArray[np.bool_]:
        below: NDArray[np.bool_] = values <= self.threshold[node]
        return below | np.isnan(values) if self.missing_left[node] else below

    def contributions(self, row: NDArray[np.float32]) -> tuple[float, Floats]:
        """What one row begins with, and what each column adds to it."""
        added = np.zeros(len(row))
        begin = self.base + float(self.value[self.roots].sum())
        for node in self.roots.tolist():
            while (feature := int(self.feature[node])) != _LEAF:
                value = row[feature]
                left = self.missing_left[node] if np.isnan(value) else value <= self.threshold[node]
                child = int(self.left[node] if left else self.right[node])
                added[feature] += self.value[child] - self.value[node]
                node = child
        return begin, added


def fit_trees(
    x: NDArray[np.float32], began: NDArray[np.bool_], weight: Floats, *, seed: int, leaves: int, rounds: int
) -> Trees:
    """Gradient boosting on log-loss (scikit-learn's HistGradientBoostingClassifier): the mean of ``_BAGS`` that draw
    other columns at their nodes.

    Columns that say nothing, because they are constant or never measured, are left out: binning refuses them.
    """
    told = np.flatnonzero([_tells(column) for column in x.T])
    return _mean(
        [_arrays(_fitted(x[:, told], began, weight, seed + bag, leaves, rounds), told) for bag in range(_BAGS)]
    )


def _fitted(
    x: NDArray[np.float32], began: NDArray[np.bool_], weight: Floats, seed: int, leaves: int, rounds: int
) -> Any:
    from sklearn.ensemble import HistGradientBoostingClassifier

    model = HistGradientBoostingClassifier(
        learning_rate=_RATE,
        max_iter=rounds,
        max_leaf_nodes=leaves,
        min_samples_leaf=_LEAST_ROWS,
        l2_regularization=_RIDGE,
        max_features=_SHARE_OF_COLUMNS,
        max_bins=_BINS,
        early_stopping=False,
        random_state=seed,
    )
    # weights of one size cost a slow binning, and say nothing
    return model.fit(x, began, sample_weight=None if (weight == weight[0]).all() else weight)


def _mean(trees: list[Trees]) -> Trees:
    """Of log-odds: all their nodes one after the other, each worth its share."""
    sizes = np.array([len(one.feature) for one in trees])
    offsets = (np.cumsum(sizes) - sizes).tolist()

    def moved(children: Sequence[Ints]) -> Ints:
        return np.concatenate(
            [np.where(child == _LEAF, _LEAF, child + offset) for child, offset in zip(children, offsets, strict=True)]
        )

    return Trees(
        feature=np.concatenate([one.feature for one in trees]),
        threshold=np.concatenate([one.threshold for one in trees]),
        missing_left=np.concatenate([one.missing_left for one in trees]),
        left=moved([one.left for one in trees]),
        right=moved([one.right for one in trees]),
        value=np.concatenate([one.value for one in trees]) / len(trees),
        roots=np.concatenate([one.roots + offset for one, offset in zip(trees, offsets, strict=True)]),
        base=sum(one.base for one in trees) / len(trees),
    )


_BAGS = 3
_RATE = 0.06
_LEAST_ROWS = 60
_RIDGE = 10.0
_SHARE_OF_COLUMNS = 0.3
_BINS = 63
_SAMPLE = 10_000


def _tells(column: NDArray[np.float32]) -> bool:
    """Has two values among those that a bin would be made of."""
    known = column[np.isfinite(column)]
    return len(known) > _LEAST_ROWS and bool(known.min() < known.max()) and _varies(known)


def _varies(known: NDArray[np.float32]) -> bool:
    """Also in a part of the rows: scikit-learn makes its bins of a sample."""
    value, count = np.unique(known[:: max(1, len(known) // _SAMPLE)], return_counts=True)
    return len(value) > 1 and int(count.sum() - count.max()) > 1


def _arrays(model: Any, told: Ints) -> Trees:
    """The nodes of a fitted HistGradientBoostingClassifier. It has no public way to them; a test compares with what it
    predicts."""
    trees = [stage[0].nodes for stage in model._predictors]
    sizes = np.array([len(tree) for tree in trees])
    roots = np.cumsum(sizes) - sizes
    nodes = np.concatenate(trees)
    offset = np.repeat(roots, sizes)
    leaf = nodes["is_leaf"].astype(bool)
    left = np.where(leaf, _LEAF, nodes["left"].astype(np.int64) + offset)
    right = np.where(leaf, _LEAF, nodes["right"].astype(np.int64) + offset)
    value, count = nodes["value"].astype(np.float64), nodes["count"].astype(np.float64)
    # A child stands behind its parent, so one pass from the end sees both children before their parent.
    for node in np.flatnonzero(~leaf)[::-1].tolist():
        a, b = left[node], right[node]
        value[node] = (count[a] * value[a] + count[b] * value[b]) / (count[a] + count[b])
    return Trees(
        feature=np.where(leaf, _LEAF, told[nodes["feature_idx"].astype(np.int64)]),
        threshold=nodes["num_threshold"].astype(np.float64),
        missing_left=nodes["missing_go_to_left"].astype(bool),
        left=left,
        right=right,
        value=value,
        roots=roots,
        base=float(np.ravel(model._baseline_prediction)[0]),
    )
