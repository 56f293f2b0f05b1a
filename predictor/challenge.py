"""Whether a new model foresees later incidents better than the one in use, or only by luck.

Method:  on data later than either was fitted on, the logarithmic loss of each row under both; rows of one entity and of
         one stretch of time are wrong together, so differences are summed by block and only the blocks' signs are dealt
         anew (sign-flip permutation test, one-sided). The interval of the gain is a bootstrap of whole blocks.
Sources: Good 2005, doi:10.1007/b138696 (permutation tests); Künsch 1989, doi:10.1214/aos/1176347265 (blocks); Gneiting
         and Raftery 2007, doi:10.1198/016214506000001437 (the logarithmic loss is proper).
Limits:  fewer than ``MIN_BLOCKS`` blocks with an incident say nothing, and the model in use stays.
"""

import numpy as np
from numpy.typing import NDArray

from foreshock.core.learned import Verdict

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MIN_BLOCKS = 8
ALPHA = 0.05
"""How often a model that is no better may be taken for a better one."""

_DRAWS = 4000
_EDGE = 1e-9  # a probability of 0 that was wrong would outweigh everything else


def compare(began: NDArray[np.bool_], champion: Floats, challenger: Floats, block: Ints, seed: int = 0) -> Verdict:
    """Of rows that neither model was fitted on.

    Args:
        began: (n,) an incident came. champion, challenger: (n,) the probabilities that they gave it.
        block: (n,) number of the stretch of time and part of the estate that a row belongs to.
    """
    rows, incidents = len(began), int(began.sum())
    worse, better = _loss(began, champion), _loss(began, challenger)
    _, place = np.unique(block, return_inverse=True)
    count = int(place.max()) + 1 if rows else 0
    of_champion = np.bincount(place, worse, minlength=count)
    saved = of_champion - np.bincount(place, better, minlength=count)
    telling = int(np.count_nonzero(np.bincount(place, began, minlength=count))) if rows else 0
    if telling < MIN_BLOCKS:
        reason = f"too little came since to tell: incidents in {telling} of {MIN_BLOCKS} stretches that it takes"
        return Verdict(better=False, telling=False, reason=reason, rows=rows, incidents=incidents, blocks=count)
    random = np.random.default_rng(seed)
    gain = float(saved.sum() / of_champion.sum())
    signs = random.choice(np.array([-1.0, 1.0]), size=(_DRAWS, count))
    p_value = float((1 + np.count_nonzero(signs @ saved >= saved.sum())) / (_DRAWS + 1))
    drawn = random.integers(0, count, size=(_DRAWS, count))
    low, high = np.quantile(saved[drawn].sum(axis=1) / of_champion[drawn].sum(axis=1), (0.025, 0.975))
    is_better = gain > 0 and p_value <= ALPHA
    told = (
        f"{abs(gain):.1%} {'less' if gain >= 0 else 'more'} loss on {rows} later rows, {incidents} of them before an "
        f"incident, p = {p_value:.3f}"
    )
    return Verdict(
        better=is_better,
        reason=f"{'better' if is_better else 'not shown to be better'}: {told}",
        gain=gain,
        low=float(low),
        high=float(high),
        p_value=p_value,
        rows=rows,
        incidents=incidents,
        blocks=count,
    )


def _loss(began: NDArray[np.bool_], probability: Floats) -> Floats:
    sure = np.clip(probability, _EDGE, 1 - _EDGE)
    return np.where(began, -np.log(sure), -np.log1p(-sure))
