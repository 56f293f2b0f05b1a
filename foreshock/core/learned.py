"""What was learned from history, as plain tables: which alerts begin together, and what a rule's strength is worth.

Fitted in ``predictor``, read in ``correlation``: both meet in these values and in the three words they share, the class
of an alert, how two CIs stand to each other, and the curve of a calibration.
"""

import hashlib
import re
from bisect import bisect_right
from collections.abc import Container, Mapping
from enum import StrEnum
from heapq import nsmallest

import msgspec
from msgspec import Struct

from foreshock.core.errors import Malformed
from foreshock.core.model import Moment
from foreshock.core.topology import Topology

MAX_AROUND = 256
"""Most CIs that count as standing in some way to one CI; what stands nearest comes first."""
MAX_FAMILY = 64
"""A CI that more than this many depend on relates none of them, nor does a stem that more than this many names share:
a core switch is no family."""


class Standing(StrEnum):
    """How the CI of the second alert of a pair stands to the CI of the first."""

    SAME = "same"
    NEEDED = "needed"  # the first depends on it
    NEEDS = "needs"  # it depends on the first
    SHARES = "shares"  # both depend on a third
    ALIKE = "alike"  # nothing else ties them but the stem of their names
    UNKNOWN = "unknown"  # the topology does not know one of them


_MIRROR = {Standing.NEEDED: Standing.NEEDS, Standing.NEEDS: Standing.NEEDED}


def mirrored(standing: Standing) -> Standing:
    """The same from the other end."""
    return _MIRROR.get(standing, standing)


class Side(Struct, frozen=True, gc=False):
    """One side of a pair: alerts of this class on this CI, or on any CI of this kind. Empty means any."""

    name: str = ""
    ci: str = ""
    kind: str = ""

    def __str__(self) -> str:
        where = self.ci or (f"any {self.kind}" if self.kind else "")
        return f"{self.name or 'anything'} on {where}" if where else self.name


class CoOccurrence(Struct, frozen=True, kw_only=True, gc=False):
    """Two kinds of occurrences that began together more often than chance explains.

    Attributes:
        standing: how ``b`` stands to ``a``; None where both name their CIs.
        together, times: in so many of the last so many times one of them began (the one that the other follows more
            reliably), the other began too.
        expected: how many of them chance would have brought.
        strength: 0..1, lower bound of the share of their meetings that chance does not explain; older ones weigh less.
        window_s: both began within so many seconds.
        lag_s: onset of ``b`` minus that of ``a`` in seconds: the lowest tenth, the middle, the highest tenth.
    """

    a: Side
    b: Side
    together: int
    times: int
    expected: float
    strength: float
    window_s: float
    lag_s: tuple[float, float, float]
    standing: Standing | None = None


class Curve(Struct, frozen=True, kw_only=True):
    """What a rule's strength is worth: the probability that both alerts are the same problem.

    Attributes:
        strength, probability: the corners of a line that never falls, equally many, ``strength`` rising.
        pairs: labelled pairs it was fitted on.
        brier, brier_raw: mean squared error of the probability, and of the bare strength, on later pairs.
        ece, ece_raw: expected calibration error on them, over ten bins.
    """

    strength: tuple[float, ...]
    probability: tuple[float, ...]
    pairs: int = 0
    brier: float = 0.0
    brier_raw: float = 0.0
    ece: float = 0.0
    ece_raw: float = 0.0

    def at(self, strength: float) -> float:
        """The probability for ``strength``; beyond the ends the line goes on level."""
        xs, ys = self.strength, self.probability
        upper = bisect_right(xs, strength)
        if upper == 0:
            return ys[0]
        if upper == len(xs):
            return ys[-1]
        lower = upper - 1
        return ys[lower] + (ys[upper] - ys[lower]) * (strength - xs[lower]) / (xs[upper] - xs[lower])


class Learned(Struct, frozen=True, kw_only=True):
    """One version of what was learned.

    Attributes:
        version: date of the newest occurrence and a digest of the content; empty: nothing was learned yet.
        since, until: the span of the history; None without any.
        occurrences: in that history. tested: pairs that could have been found. fdr: accepted share of false ones.
        half_life_s: an occurrence this old weighs half.
        pairs: the strongest evidence first.
        curves: by the name of the rule.
    """

    version: str = ""
    since: Moment | None = None
    until: Moment | None = None
    occurrences: int = 0
    tested: int = 0
    fdr: float = 0.0
    half_life_s: float = 0.0
    pairs: tuple[CoOccurrence, ...] = ()
    curves: dict[str, Curve] = {}


NOTHING = Learned()
_DIGEST_CHARACTERS = 8
_AT_HOME = 0.25
"""The least share of the CIs it names that an estate's own CMDB knows: many a CMDB lacks half of what sends."""


def versioned(learned: Learned) -> Learned:
    """With the version that its content has: equal content, equal version."""
    bare = msgspec.structs.replace(learned, version="")
    if bare == NOTHING:
        return NOTHING
    bare = msgspec.json.decode(msgspec.json.encode(bare), type=Learned)  # so that 20 and 20.0 are one
    digest = hashlib.sha256(msgspec.json.encode(bare, order="deterministic")).hexdigest()[:_DIGEST_CHARACTERS]
    return msgspec.structs.replace(bare, version=f"{bare.until:%Y%m%d}-{digest}" if bare.until else digest)


def decoded(body: bytes) -> Learned:
    """A version from its JSON. Raises Malformed where it is none, or not what its version says."""
    try:
        learned = msgspec.json.decode(body, type=Learned)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Malformed(f"this is nothing that was learned: {error}") from None
    if (sound := versioned(learned).version) != learned.version:
        raise Malformed(
            f"it says it is version {learned.version or 'nothing'}, its content is {sound or 'nothing'}",
            hint="it was changed after it was trained; train again",
        )
    return learned


def foreign(learned: Learned, cis: Container[str]) -> str:
    """Why it was learned in another estate than that of ``cis``, in words; empty if nothing says so. What another
    estate's names stand for here is chance."""
    named = {side.ci for pair in learned.pairs for side in (pair.a, pair.b) if side.ci}
    known = sum(ci in cis for ci in named)
    if known >= _AT_HOME * len(named):
        return ""
    return f"version {learned.version} names {len(named)} CIs, of which {known} are known here: another estate's"


class Occurrence(Struct, frozen=True, gc=False):
    """Once an alert began: seconds since 1970, the alert's class, its CI; empty if it is bound to none."""

    at_s: float
    name: str
    ci: str = ""


TICKET = "(ticket)"
"""Name of a ``Happening`` that is no alert: people were asked to look."""


class Happening(Struct, frozen=True, gc=False):
    """Once an alert began on a CI. Times in seconds since 1970; ``until`` is None while it lasts. severity: 0..5, of
    its last event. name: its class."""

    ci: str
    at: float
    until: float | None
    name: str
    severity: int


class Incident(Struct, frozen=True, kw_only=True):
    """An incident as one CI had it: its first and last sign there, in seconds since 1970; ``until`` is None while it
    lasts."""

    ci: str
    onset: float
    until: float | None
    situation: str
    priority: int
    services: tuple[str, ...] = ()


class Facts(Struct, frozen=True, gc=False):
    """What the topology says of a CI, for models. criticality: its own, 1..4, 0 where nobody said.
    needs, needed_by: how many CIs it depends on, and how many depend on it."""

    kind: str = ""
    environment: str = ""
    criticality: int = 0
    needs: int = 0
    needed_by: int = 0


class Verdict(Struct, frozen=True, kw_only=True):
    """What comparing a model with the one in use came to.

    Attributes:
        better: the challenger is to be used. reason: in words, with the figures. telling: enough came to tell.
        gain: how much of the champion's loss the challenger saves, as a share; negative where it loses more.
        low, high: 95 % interval of the gain. p_value: of a gain as large by chance. rows, blocks: compared; incidents:
            rows before one.
    """

    better: bool
    reason: str
    telling: bool = True
    gain: float = 0.0
    low: float = 0.0
    high: float = 0.0
    p_value: float = 1.0
    rows: int = 0
    incidents: int = 0
    blocks: int = 0


def class_of(labels: Mapping[str, str]) -> str:
    """What an alert says, wherever it says it: ``alertname``, or the value of the first label by name without one."""
    return labels.get("alertname") or (labels[min(labels)] if labels else "")


def around(topology: Topology, ci: str) -> dict[str, Standing]:
    """How other CIs stand to ``ci``, itself included, at most ``MAX_AROUND``; the nearest way counts."""
    found = {ci: Standing.SAME}
    needs = nsmallest(MAX_AROUND, topology.needs(ci))
    for other in needs:
        found.setdefault(other, Standing.NEEDED)
    for other in nsmallest(MAX_AROUND, topology.needed_by(ci)):
        found.setdefault(other, Standing.NEEDS)
    for needed in needs:
        sharing = topology.needed_by(needed)
        if len(sharing) <= MAX_FAMILY:
            for other in sorted(sharing):
                found.setdefault(other, Standing.SHARES)
    return dict(list(found.items())[:MAX_AROUND])


_NUMBER = re.compile(r"[0-9]+")


def stem(ci: str) -> str:
    """A name without its numbers: ``web-12`` and ``web-7`` have one stem."""
    return _NUMBER.sub("#", ci)
