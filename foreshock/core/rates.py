"""Shares and rates of what was counted, each with an interval that says how much so few cases tell.

No SciPy here, which has both: the service answers with them, and its memory is measured.
"""

import math

from msgspec import Struct

_Z95 = 1.959963984540054
"""Standard deviations of a normal distribution that hold 95 %."""
_TAIL = 0.025
_HALVINGS = 60


class Share(Struct, frozen=True, kw_only=True):
    """``count`` of ``of`` cases. share, low, high: 0..1, with a 95 % interval; None where there are no cases."""

    count: int
    of: int
    share: float | None = None
    low: float | None = None
    high: float | None = None


class Rate(Struct, frozen=True, kw_only=True):
    """``count`` cases in ``over`` units of exposure (weeks of a team). rate, low, high: of one, with a 95 % interval;
    None without exposure."""

    count: int
    over: float
    rate: float | None = None
    low: float | None = None
    high: float | None = None


def share(count: int, of: int) -> Share:
    """With Wilson's score interval. Source: Wilson 1927, doi:10.1080/01621459.1927.10502953."""
    if of == 0:
        return Share(count=count, of=of)
    found, square = count / of, _Z95 * _Z95
    middle = (found + square / (2 * of)) / (1 + square / of)
    half = _Z95 / (1 + square / of) * math.sqrt(found * (1 - found) / of + square / (4 * of * of))
    return Share(count=count, of=of, share=found, low=max(0.0, middle - half), high=min(1.0, middle + half))


def rate(count: int, over: float) -> Rate:
    """With the exact interval of a Poisson count. Source: Garwood 1936, doi:10.1093/biomet/28.3-4.437."""
    if over <= 0:
        return Rate(count=count, over=over)
    low = 0.0 if count == 0 else _mean_where(count - 1, 1 - _TAIL)
    high = _mean_where(count, _TAIL)
    return Rate(count=count, over=over, rate=count / over, low=low / over, high=high / over)


def _mean_where(count: int, probability: float) -> float:
    """The mean of the Poisson distribution in which at most ``count`` has this probability."""
    low, high = 0.0, count + 10 * math.sqrt(count + 1) + 10
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _at_most(count, middle) > probability else (low, middle)
    return (low + high) / 2


def _at_most(count: int, mean: float) -> float:
    if mean == 0:
        return 1.0
    return math.fsum(math.exp(k * math.log(mean) - mean - math.lgamma(k + 1)) for k in range(count + 1))
