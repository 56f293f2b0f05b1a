"""A regularised logistic regression on features in shapes that suit it, as arrays."""

from collections.abc import Iterator, Sequence

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from predictor.history import Floats, Ints

_FLOOR = 3e-4
"""Below so many events a step a rate is as good as zero."""
_FADES = (3.0, 10.0, 30.0, 100.0)
_CAP = 8.0
"""Standard deviations: one value far out must not decide alone."""
_ROUNDS = 300


class Linear(Struct, frozen=True):
    """log-odds = base + Σ weight × shaped column, standardised.

    Attributes:
        columns: the columns of the features that are used; ``shapes`` tells how each is bent (``SHAPES``).
        source: for each shaped column its place in ``columns``.
    """

    columns: Ints
    shapes: tuple[str, ...]
    source: Ints
    mean: Floats
    scale: Floats
    weight: Floats
    base: float

    def log_odds(self, x: NDArray[np.float32]) -> Floats:
        found: Floats = self.base + self._standard(x) @ self.weight
        return found

    def contributions(self, row: NDArray[np.float32]) -> tuple[float, Floats]:
        """What one row begins with, and what each column adds to it: exact, against the mean of the fitted rows."""
        added = np.zeros(len(row))
        np.add.at(added, self.columns[self.source], (self._standard(row[None])[0] * self.weight))
        return self.base, added

    def _standard(self, x: NDArray[np.float32]) -> Floats:
        return np.clip((shaped(x[:, self.columns], self.shapes)[1] - self.mean) / self.scale, -_CAP, _CAP)


def shaped(x: NDArray[np.float32], shapes: Sequence[str]) -> tuple[Ints, Floats]:
    """Columns bent by their shapes, and from which column each came."""
    found = [
        (place, bent) for place, shape in enumerate(shapes) for bent in _bent(x[:, place].astype(np.float64), shape)
    ]
    return np.array([place for place, _ in found], np.int64), np.column_stack([bent for _, bent in found])


def _bent(value: Floats, shape: str) -> Iterator[Floats]:
    known = np.isfinite(value)
    if shape == "rate":
        yield np.log(np.where(known, np.maximum(value, 0), 0) + _FLOOR)
    elif shape == "since":
        for fade in _FADES:
            yield np.where(known, np.exp(-np.where(known, value, 0) / fade), 0.0)
    elif shape == "growth":
        yield np.sqrt(np.maximum(np.where(known, value, 0), 0))
        yield (known & (value > 0)).astype(np.float64)
    elif shape == "level":
        yield np.where(known, value, 0)
        yield (known & (value > 0)).astype(np.float64)
        yield (~known).astype(np.float64)
    else:
        value = np.where(known, value, 0)
        yield np.sign(value) * np.log1p(np.abs(value))


_SHAPE = {
    "rate": "rate", "group": "rate", "near": "rate", "shrunk": "rate", "mixed": "rate", "since": "since",
    "since_change": "since", "since_first": "since", "rise": "growth",
    "level": "level",
}  # fmt: skip


def shape_of(name: str) -> str:
    """The shape that suits a feature, by the first word of its name."""
    return _SHAPE.get(name.partition(":")[0], "size")


def fit_linear(
    x: NDArray[np.float32],
    began: NDArray[np.bool_],
    weight: Floats,
    names: Sequence[str],
    *,
    columns: Ints,
    ridge: float,
) -> Linear:
    """On ``columns`` of ``x``. ridge: strength of the L2 penalty (1/C)."""
    from sklearn.linear_model import LogisticRegression

    shapes = tuple(shape_of(names[column]) for column in columns)
    source, bent = shaped(x[:, columns], shapes)
    mean, scale = np.average(bent, axis=0, weights=weight), bent.std(axis=0)
    scale[scale < _SMALL] = np.inf  # says nothing, so it weighs nothing
    z = np.clip((bent - mean) / scale, -_CAP, _CAP)
    model = LogisticRegression(C=1 / ridge, max_iter=_ROUNDS).fit(z, began, sample_weight=weight)
    return Linear(columns, shapes, source, mean, scale, model.coef_[0], float(model.intercept_[0]))


_SMALL = 1e-9
