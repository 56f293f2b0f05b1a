"""A fitted model as a value: several experts, how far each is believed, and what their common word is worth.

It is written as arrays and JSON, so that reading a file runs nothing that stands in it.
"""

import io
import json
import zipfile
from typing import Any, ClassVar

import numpy as np
from msgspec import Struct
from numpy.typing import NDArray

from foreshock.core.errors import Malformed
from predictor.history import Floats
from predictor.linear import Linear
from predictor.trees import Trees

FORMAT = 1


class LogOddsCurve(Struct, frozen=True):
    """A line that never falls from log-odds as said to log-odds as they turned out; both arrays of one length."""

    said: Floats
    true: Floats

    def at(self, log_odds: Floats) -> Floats:
        """Beyond the ends the distance to the line stays."""
        inside = np.clip(log_odds, self.said[0], self.said[-1])
        return np.interp(inside, self.said, self.true) + (log_odds - inside)


class Model(Struct, frozen=True, kw_only=True):
    """Foresees an onset from the features ``names``.

    Attributes:
        experts: by name; trust: the weight of each one's log-odds, in their order. base: added to their sum.
        curve: what the sum is worth on later data. threshold: on later data than was fitted, a probability from it on
        kept to the budget as an alarm. factor: how many false alarms came there of one that was expected.
    """

    names: tuple[str, ...]
    experts: dict[str, Linear | Trees]
    trust: tuple[float, ...]
    base: float
    curve: LogOddsCurve
    threshold: float
    factor: float
    kinds: ClassVar[dict[str, type[Linear] | type[Trees]]] = {"linear": Linear, "trees": Trees}

    def probability(self, x: NDArray[np.float32]) -> Floats:
        """Of an onset within the horizon, for each row of features."""
        said = {name: expert.log_odds(x) for name, expert in self.experts.items()}
        return probability(self.curve.at(blend(said, self.trust, self.base)))

    def contributions(self, row: NDArray[np.float32]) -> tuple[float, Floats]:
        """In log-odds before the curve: what one row begins with, and what each feature adds; together they are the
        experts' common word."""
        begin, added = self.base, np.zeros(len(self.names))
        for trust, expert in zip(self.trust, self.experts.values(), strict=True):
            own, parts = expert.contributions(row)
            begin += trust * own
            added += trust * parts
        return begin, added

    def to_bytes(self) -> bytes:
        arrays: dict[str, Any] = {"curve.said": self.curve.said, "curve.true": self.curve.true}
        plain: dict[str, Any] = {}
        for name, expert in self.experts.items():
            plain[name] = {"kind": type(expert).__name__.lower()}
            for field in expert.__struct_fields__:
                value = getattr(expert, field)
                if isinstance(value, np.ndarray):
                    arrays[f"{name}.{field}"] = value
                else:
                    plain[name][field] = value
        head = {
            "format": FORMAT, "names": self.names, "experts": plain, "trust": self.trust, "base": self.base,
            "threshold": self.threshold, "factor": self.factor,
        }  # fmt: skip
        arrays["head"] = np.frombuffer(json.dumps(head).encode(), np.uint8)
        written = io.BytesIO()
        np.savez_compressed(written, allow_pickle=False, **arrays)
        return written.getvalue()

    @classmethod
    def from_bytes(cls, data: bytes) -> "Model":
        """Raises Malformed for what ``to_bytes`` did not write."""
        try:
            with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
                return cls._read({name: arrays[name] for name in arrays.files})
        except (ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
            raise Malformed(f"this is no model: {error}", hint="train it again") from None

    @classmethod
    def _read(cls, arrays: dict[str, Any]) -> "Model":
        head = json.loads(arrays["head"].tobytes())
        if head["format"] != FORMAT:
            raise ValueError(f"format {head['format']}, this version reads {FORMAT}")
        experts = {}
        for name, plain in head["experts"].items():
            kind = cls.kinds[plain.pop("kind")]
            own = {field: arrays[f"{name}.{field}"] for field in kind.__struct_fields__ if f"{name}.{field}" in arrays}
            plain = {field: tuple(value) if isinstance(value, list) else value for field, value in plain.items()}
            experts[name] = kind(**own, **plain)
        return cls(
            names=tuple(head["names"]),
            experts=experts,
            trust=tuple(head["trust"]),
            base=head["base"],
            curve=LogOddsCurve(arrays["curve.said"], arrays["curve.true"]),
            threshold=head["threshold"],
            factor=head["factor"],
        )


def blend(said: dict[str, Floats], trust: tuple[float, ...], base: float) -> Floats:
    """The experts' common word, in log-odds."""
    total: Floats = np.stack(list(said.values())).T @ np.array(trust) + base
    return total


def probability(log_odds: Floats) -> Floats:
    found: Floats = 1 / (1 + np.exp(-np.clip(log_odds, -_WIDEST, _WIDEST)))
    return found


_WIDEST = 30.0
