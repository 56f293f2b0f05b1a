"""What a detector kind promises."""

from collections.abc import Mapping, Sequence
from typing import Protocol

from msgspec import Struct

from foreshock.core.model import Anomaly, Direction
from predictor.frames import Panel


class Detect(Protocol):
    def __call__(self, history: Panel, window: Panel, worse: Mapping[str, Direction] = ..., /) -> Sequence[Anomaly]:
        """Anomalies of ``window``, given ``history`` that is mostly normal; both have the same series in one order.

        Args:
            worse: by metric, the one direction that matters; both where a metric is not named.
        """


class Detector(Struct, frozen=True, kw_only=True):
    """Declaration of a detector kind.

    Attributes:
        kind: the file's name. version: rises when its meaning changes; anomalies carry kind@version.
    """

    kind: str
    version: int
    title: str
    detect: Detect

    @property
    def name(self) -> str:
        return f"{self.kind}@{self.version}"
