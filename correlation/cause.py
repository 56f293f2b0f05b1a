"""Where a problem most likely started.

Each candidate collects evidence in nats (logarithm of how much likelier it makes what is seen) from what can be said of
it in words: its own symptoms and metrics, the symptoms that all things of one kind behind it share, what else depends
on it, a change shortly before. The score is its share of all evidence, so it falls as others become as likely, and
its contributions are visible. CIs without alerts are candidates where what depends on them failed.

Sources: Poisson surprise of rare events (``correlation.usual``); the entropy of which members fail as the price of
blaming what they share (minimum description length, Rissanen 1978, doi:10.1016/0005-1098(78)90005-5).
"""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from statistics import median
from types import MappingProxyType
from typing import Protocol

from msgspec import Struct

from correlation.bind import named
from correlation.settings import BindSettings, CauseSettings, RelateSettings
from foreshock.core.model import Alert, Anomaly, Cause, Change, Contribution
from foreshock.core.severity import Severity
from foreshock.core.topology import Topology

MAX_CAUSES = 5
MAX_AFFECTED = 500
"""CIs whose surroundings are looked at; of more, those with the strongest evidence."""

_RARE = 5.0  # nats: what begins by chance once in 150 such spans is rare, though all others here may be as rare
_MOST_NATS = 3.0  # of a symptom: twenty times rarer than that, or than half of those here, says no more
_SHOWN_BY_MORE = 0.5  # of the nats (a logarithm) that it takes to say which of those that show a symptom is meant
_BY_CHANCE = 0.2  # of the CIs may have begun before the first, for other reasons
_PRESENT = 0.1  # nats of a symptom that is as usual as the others
_BESIDE = 0.5  # an alert that names a second CI says so much of it, compared with the CI it is about
_REPEATED = 0.8  # each further symptom of a CI says so much of the one before: they seldom come alone
_TOGETHER = 1.0  # nats that a coincidence of one symptom on several members must be worth at least
_MOST = 0.5  # share of its members that must show a symptom before the symptom is theirs in common
_AT_MOST = 0.5  # nats that one affected CI gives to what it depends on
_STEP = 0.5  # chance that a failure spreads along one unit of cost
_REACH = 2.0  # units of cost
_MAX_STEPS = 128  # CIs reached from one affected CI, about
_SPREAD = 0.5  # what depends on a candidate counts so much beside what it shows itself
_EXPLAINED = 0.7  # of a symptom that also shows on something the CI depends on
_FOLLOWS = 0.5  # of that, where what it depends on failed before in another way
_UNKNOWN = 0.2  # of a candidate that only labels name: the topology cannot say how it would reach the others
_SURE = 10.0  # spreads; a metric that far off gives all that metrics can
_METRIC = 3.0  # nats
_ASIDE = 0.3  # of a metric, where another one is known to be what broke
_CHANGE = 2.0  # nats of a change just before the first alert
_SAID = 1.0  # nats, where people have often said that it was the cause; half of it for the first time
_SEVERE = 0.002  # nats for each level of severity: it decides where nothing else does
_SHARPNESS = 2.0  # the share of the evidence is taken of its square
_SAME_MOMENT_S = 1.0


class Rarity(Protocol):
    """See ``correlation.usual.Usual``."""

    def surprise(
        self, fingerprint: str, name: str, now: datetime, span_s: float, cis: float, among: float, here: int, /
    ) -> float: ...


class _Symptom(Struct, gc=False):
    """The strongest sign of one name on one CI. gap_s: how long after ``_onset`` it began."""

    name: str
    nats: float
    nearness: float
    gap_s: float


class _Candidate(Struct):
    """What speaks for one CI, in nats.

    Attributes:
        direct: signs on itself, by name. metrics: the same from metrics.
    """

    direct: dict[str, _Symptom] = {}
    metrics: dict[str, tuple[float, Anomaly]] = {}
    severity: Severity = Severity.UNKNOWN
    change: tuple[float, str] = (0.0, "")
    said: int = 0


_NOTHING = _Candidate()
"""Of a CI for which only what depends on it speaks: most of those that are weighed."""

_Signs = dict[tuple[str, str, str], list[_Symptom]]
"""By (kind, relationship, name) those of each CI."""


class _Spread(Struct):
    """What affected CIs say of what they depend on.

    Attributes:
        reach: by affected CI what it depends on nearby, and the cost of the way there.
        behind: nats from all that depend on a CI. affected: how many CIs that are.
        shared: signs of what directly depends on a CI. several: of these CIs, those with a sign that several show.
    """

    reach: dict[str, dict[str, float]] = {}
    behind: dict[str, float] = {}
    affected: dict[str, int] = {}
    shared: dict[str, _Signs] = {}
    several: dict[str, None] = {}


def rank(
    alerts: Sequence[Alert],
    topology: Topology,
    *,
    settings: CauseSettings | None = None,
    binding: BindSettings | None = None,
    timing: RelateSettings | None = None,
    usual: Rarity | None = None,
    anomalies: Iterable[Anomaly] = (),
    changes: Iterable[Change] = (),
    said: Mapping[str, int] = MappingProxyType({}),
    focus: str = "",
    first_so_far: str = "",
) -> tuple[Cause, ...]:
    """Candidates, the most likely first, at most ``MAX_CAUSES``; ``doubt`` says whether that is worth a name.

    The order never depends on the order of ``alerts``, and saying one again changes nothing.

    Args:
        timing: how near in time what belongs together begins, and how long after the first alert one says half as
            much of the cause.
        usual: how rare conditions are; without it all are equally rare.
        said: how often people said of a CI that it was the cause of another problem.
        focus: the metric that broke, where that is known: other metrics say less then.
        first_so_far: the candidate that stood first when it was last told. It stays there until another one has
            ``settings.margin`` more, so that people are not sent from one to the other while alerts trickle in.
    """
    settings, binding, timing = settings or CauseSettings(), binding or BindSettings(), timing or RelateSettings()
    candidates = _direct(alerts, topology, timing, binding, usual)
    _add_metrics(candidates, anomalies, focus)
    spread = _spread(candidates, topology)
    named = {**candidates, **spread.behind, **spread.shared}
    if candidates and alerts:
        began = min(alert.starts_at for alert in alerts)
        for change in changes:
            for ci in change.cis:
                if ci in named and change.at <= began:
                    _note_change(_candidate(candidates, ci), change, began, settings)
    for ci, times in said.items():
        if ci in named:
            _candidate(candidates, ci).said = times
    weighed = [_weigh(ci, candidates, topology, spread) for ci in named]
    return _shares([each for each in weighed if each.total > 0], topology, settings, first_so_far)


def doubt(causes: Sequence[Cause], settings: CauseSettings) -> str:
    """Why no cause should be named, in words; empty where the first is likely enough."""
    if not causes:
        return "not enough evidence for a cause: no alert is bound to a CI"
    first = causes[0]
    if first.said_by or first.score >= settings.enough:
        return ""
    asked = f"{settings.enough:.0%} are asked for"
    return f"not enough evidence for one cause: {first.ci} has {first.score:.0%} of it, {asked}"


# ---- evidence -------------------------------------------------------------------------------------------------------


def _direct(
    alerts: Sequence[Alert],
    topology: Topology,
    timing: RelateSettings,
    binding: BindSettings,
    usual: Rarity | None,
) -> dict[str, _Candidate]:
    """What each CI shows itself. A sign counts as far as it is rarer than half of those here, or rare at all, and less
    the more CIs show it: all but one of them are not the cause."""
    if not alerts:
        return {}
    alerts = list({alert.fingerprint: alert for alert in alerts}.values())
    onset, last = _onset(alerts), max(alert.starts_at for alert in alerts)
    span_s = max((last - min(alert.starts_at for alert in alerts)).total_seconds(), timing.window.total_seconds())
    half_s = timing.half_gap.total_seconds()
    named = [(alert, labels, name_of(labels)) for alert in alerts for labels in (alert.read_labels(),)]
    times, shown = Counter(name for *_, name in named), defaultdict(set)
    for alert, _, name in named:
        shown[name].add(alert.ci)

    everywhere = float(len(topology.cis))

    def rarity(alert: Alert, name: str) -> float:
        """In nats. A condition may belong to one kind of CI or to all: taken to be in the middle, by the logarithm."""
        if usual is None:
            return 0.0
        among = math.sqrt((topology.count(topology.kind(alert.ci)) or everywhere) * everywhere)
        return usual.surprise(alert.fingerprint, name, last, span_s, everywhere, among, times[name])

    read = [(alert, labels, name, rarity(alert, name)) for alert, labels, name in named]
    ordinary = _ordinary([(name, rare) for *_, name, rare in read])
    found: dict[str, _Candidate] = {}
    for alert, labels, name, rare in read:
        gap_s = (alert.starts_at - onset).total_seconds()
        nearness = 1.0 / (1.0 + (max(0.0, gap_s) / half_s) ** 2)
        rarer = rare - ordinary[name] - _SHOWN_BY_MORE * math.log(len(shown[name]))
        nats = nearness * (_PRESENT + min(_MOST_NATS, max(0.0, rarer)))
        if alert.ci:
            candidate = _note(found, alert.ci, _Symptom(name, nats, nearness, gap_s))
            candidate.severity = max(candidate.severity, alert.severity)
        for peer in _peers(alert, labels, topology, binding):
            _note(found, peer, _Symptom(name, nats * _BESIDE, nearness, gap_s))
    return found


def _ordinary(read: Sequence[tuple[str, float]]) -> dict[str, float]:
    """By name, how rare the others here are: the median, of what has other names where one name is half of them."""
    counts = Counter(name for name, _ in read)
    middle = median(rare for _, rare in read)
    found = {}
    for name, times in counts.items():
        others = [rare for other, rare in read if other != name] if times * 2 >= len(read) else []
        found[name] = min(_RARE, median(others) if others else middle)
    return found


def _onset(alerts: Iterable[Alert]) -> datetime:
    """When it began: a few CIs may have begun before by chance, and must not make all that follows look late."""
    first: dict[str, datetime] = {}
    for alert in alerts:
        known = first.get(alert.ci)
        if known is None or alert.starts_at < known:
            first[alert.ci] = alert.starts_at
    return sorted(first.values())[int(_BY_CHANCE * (len(first) - 1))]


def name_of(labels: Mapping[str, str]) -> str:
    """What kind of condition it is: the label alertname, or the first there is."""
    return labels.get("alertname") or next(iter(labels.values()), "")


def _peers(alert: Alert, labels: Mapping[str, str], topology: Topology, binding: BindSettings) -> list[str]:
    """Other CIs that the alert is about as well. What its CI depends on anyway gets its part by that."""
    peers = []
    for label in binding.peers:
        value = labels.get(label)
        peer = named(value, topology, binding) if value else ""
        if peer and peer != alert.ci and peer not in topology.needs(alert.ci):
            peers.append(peer)
    return peers


def _candidate(found: dict[str, _Candidate], ci: str) -> _Candidate:
    candidate = found.get(ci)
    if candidate is None:
        candidate = found[ci] = _Candidate()
    return candidate


def _note(found: dict[str, _Candidate], ci: str, symptom: _Symptom) -> _Candidate:
    candidate = _candidate(found, ci)
    known = candidate.direct.get(symptom.name)
    if known is None or (symptom.nats, -symptom.gap_s) > (known.nats, -known.gap_s):
        candidate.direct[symptom.name] = symptom
    return candidate


def _add_metrics(found: dict[str, _Candidate], anomalies: Iterable[Anomaly], focus: str) -> None:
    for anomaly in anomalies:
        nats = _METRIC * min(1.0, math.log(max(anomaly.score, 1.0)) / math.log(_SURE))
        if focus and anomaly.metric != focus:
            nats *= _ASIDE
        if nats <= 0:
            continue
        candidate = _candidate(found, anomaly.ci)
        known = candidate.metrics.get(anomaly.metric)
        if known is None or (nats, anomaly.dimension) > (known[0], known[1].dimension):
            candidate.metrics[anomaly.metric] = (nats, anomaly)


def _spread(found: Mapping[str, _Candidate], topology: Topology) -> _Spread:
    """Each affected CI speaks for what it depends on: by name for its direct needs, and by the mere fact for all
    within reach."""
    spread = _Spread()
    reach, behind, counts, shared = spread.reach, spread.behind, spread.affected, spread.shared
    strength = {ci: _own(candidate) for ci, candidate in found.items()}
    affected = sorted(found, key=lambda ci: (-strength[ci], ci))[:MAX_AFFECTED]
    for ci in affected:
        symptoms = list(found[ci].direct.values())
        kind = topology.kind(ci)
        for needed, (_, relation) in topology.steps_up(ci).items():
            signs = shared.setdefault(needed, {})
            for symptom in symptoms:
                same = signs.setdefault((kind, relation, symptom.name), [])
                same.append(symptom)
                if len(same) > 1:
                    spread.several[needed] = None
        give = min(strength[ci], _AT_MOST)
        reach[ci] = _within_reach(ci, topology)
        for needed, cost in reach[ci].items():
            behind[needed] = behind.get(needed, 0.0) + give * _STEP**cost
            counts[needed] = counts.get(needed, 0) + 1
    return spread


def _within_reach(ci: str, topology: Topology) -> dict[str, float]:
    """What ``ci`` depends on within two steps and ``_REACH``, and the cost of the cheapest way there."""
    reached: dict[str, float] = {}
    for needed, (cost, _) in topology.steps_up(ci).items():
        if cost <= _REACH and cost < reached.get(needed, math.inf):
            reached[needed] = cost
        if cost < _REACH:
            for further, (step, _) in topology.steps_up(needed).items():
                if further != ci and cost + step <= _REACH and cost + step < reached.get(further, math.inf):
                    reached[further] = cost + step
        if len(reached) >= _MAX_STEPS:
            break
    return reached


def _note_change(candidate: _Candidate, change: Change, began: datetime, settings: CauseSettings) -> None:
    gap_s = (began - change.at).total_seconds()
    nats = _CHANGE / (1.0 + (gap_s / settings.change_half_gap.total_seconds()) ** 2)
    if (nats, change.id) > candidate.change:
        when = f"{gap_s:.0f} s" if gap_s < 120 else f"{gap_s / 60:.0f} min"
        candidate.change = (nats, f"{change.title or change.id} changed it {when} before")


# ---- what it adds up to ---------------------------------------------------------------------------------------------


def _together(nats: Iterable[float]) -> float:
    """Signs of one CI come together, so each further one adds less than it would alone."""
    return sum(each * _REPEATED**place for place, each in enumerate(sorted(nats, reverse=True)))


def _own(candidate: _Candidate) -> float:
    return _together([*(s.nats for s in candidate.direct.values()), *(nats for nats, _ in candidate.metrics.values())])


class _Weighed(Struct):
    """A candidate with what each kind of evidence is worth, in nats; what is worth nothing is left out."""

    ci: str
    candidate: _Candidate
    nats: dict[str, float]
    total: float
    affected: int
    members: Sequence[tuple[float, str]]
    explained_by: str


_NO_MEMBERS: Sequence[tuple[float, str]] = ()


def _weigh(ci: str, found: Mapping[str, _Candidate], topology: Topology, spread: _Spread) -> _Weighed:
    candidate, members, by = found.get(ci, _NOTHING), _NO_MEMBERS, ""
    nats = {"dependents": _SPREAD * spread.behind.get(ci, 0.0)}
    if candidate is not _NOTHING or ci in spread.several:
        direct = [symptom.nats for symptom in candidate.direct.values()]
        metrics = [worth for worth, _ in candidate.metrics.values()]
        alone, measured = _together(direct), _together(direct + metrics)
        if ci in spread.several:
            members = _members(ci, spread.shared[ci], topology)
            nats["members"] = _together(direct + metrics + [worth for worth, _ in members]) - measured
        nats["change"], nats["history"] = candidate.change[0], _said_before(candidate)
        if measured:
            explained, by = _explained(ci, found, topology, spread.reach)
            nats |= {"symptoms": alone, "metrics": measured - alone, "explained": -explained}
            nats["severity"] = _SEVERE * candidate.severity if direct else 0.0
    total = sum(nats.values())
    known = topology.cis.get(ci)
    if known is None or known.implied:
        nats["unknown"] = (_UNKNOWN - 1.0) * total
        total += nats["unknown"]
    return _Weighed(ci, candidate, nats, total, spread.affected.get(ci, 0), members, by)


def _said_before(candidate: _Candidate) -> float:
    return _SAID * (1.0 - 0.5**candidate.said) if candidate.said else 0.0


def _members(ci: str, shared: _Signs, topology: Topology) -> list[tuple[float, str]]:
    """Symptoms that most of those of one kind share that depend on ``ci`` in one way.

    They are worth what they are worth on each, less what it takes to say which of them show it.
    """
    found = []
    sizes = topology.dependents_by_kind(ci)
    for (kind, relation, name), symptoms in shared.items():
        showing = len(symptoms)
        if showing < 2 or showing / (size := sizes[kind, relation]) < _MOST:
            continue
        share = showing / size
        which = 0.0 if share == 1 else -size * (share * math.log(share) + (1 - share) * math.log(1 - share))
        nearness = sum(sorted(symptom.nearness for symptom in symptoms)) / showing
        nats = sum(sorted(symptom.nats for symptom in symptoms)) - (_TOGETHER + which) * nearness
        if nats > 0:
            found.append((nats, f"{showing} of {size} {_plural(kind)} that depend on it show {name}"))
    found.sort(key=lambda member: (-member[0], member[1]))
    return found


def _explained(
    ci: str, found: Mapping[str, _Candidate], topology: Topology, reach: Mapping[str, Mapping[str, float]]
) -> tuple[float, str]:
    """What of its own signs is explained by something it depends on, in nats, and the strongest such CI: it shows the
    same, or it failed before in another way."""
    candidate = found[ci]
    here = {name: symptom.nats for name, symptom in candidate.direct.items()}
    here |= {name: nats for name, (nats, _) in candidate.metrics.items()}
    if not here:
        return 0.0, ""
    less: dict[str, tuple[float, str]] = {}
    for needed, cost in reach.get(ci, _NOWHERE).items():
        there = found.get(needed, _NOTHING)
        if not (there.direct or there.metrics) or ci in reach.get(needed, _NOWHERE):
            continue  # where each would explain the other, neither does
        known = topology.cis.get(needed)
        worth = _EXPLAINED * _STEP ** (cost - 1.0) * (_UNKNOWN if known is None or known.implied else 1.0)
        before = _FOLLOWS if _began(there) + _SAME_MOMENT_S < _began(candidate) else 0.0
        for name, nats in here.items():
            same = there.direct[name].nats if name in there.direct else there.metrics.get(name, (0.0,))[0]
            if same or before:
                told = min(nats, same) if same else nats * before
                less[name] = max(less.get(name, (0.0, "")), (worth * told, needed))
    if not less:
        return 0.0, ""
    rest = [nats - less[name][0] if name in less else nats for name, nats in here.items()]
    return _together(here.values()) - _together(rest), max(less.values())[1]


def _began(candidate: _Candidate) -> float:
    """Seconds from the onset to its own first alert; never, where it has none."""
    return min((symptom.gap_s for symptom in candidate.direct.values()), default=math.inf)


_NOWHERE: Mapping[str, float] = {}


def _shares(found: Sequence[_Weighed], topology: Topology, settings: CauseSettings, first: str) -> tuple[Cause, ...]:
    """Scores are shares of the squares of what speaks for each, so that twice the evidence is four times as likely."""
    whole = sum(sorted(each.total**_SHARPNESS for each in found))
    # Equal to the eye is equal: the last digits of a float must not decide.
    ranked = sorted(found, key=lambda each: (-round(each.total, 6), each.ci))
    so_far = next((each for each in ranked if each.ci == first), None)
    if so_far is not None and so_far.total * (1 + settings.margin) >= ranked[0].total:
        ranked.sort(key=lambda each: each.ci != first)
    causes = []
    for each in ranked[:MAX_CAUSES]:
        scale = each.total ** (_SHARPNESS - 1.0) / whole
        parts = tuple(
            Contribution(name=name, points=round(each.nats[name] * scale, 4), evidence=say(each, topology))
            for name, say in _WORDS.items()
            if each.nats.get(name)
        )
        score = min(1.0, round(sum(part.points for part in parts), 4))
        causes.append(Cause(ci=each.ci, score=score, contributions=parts))
    return tuple(causes)


# ---- in words -------------------------------------------------------------------------------------------------------


def _say_symptoms(each: _Weighed, topology: Topology) -> str:
    ordered = sorted(each.candidate.direct.values(), key=lambda symptom: (-symptom.nats, symptom.name))
    strongest, gap_s = ordered[0], min(symptom.gap_s for symptom in ordered)
    when = "among the first" if gap_s < _SAME_MOMENT_S else f"{gap_s:.0f} s after the first"
    more = f" and {len(ordered) - 1} more" if len(ordered) > 1 else ""
    return f"{strongest.name}{more}, {when}"


def _say_metrics(each: _Weighed, topology: Topology) -> str:
    ordered = sorted(each.candidate.metrics.values(), key=lambda entry: (-entry[0], entry[1].metric))
    return ", ".join(
        f"{anomaly.metric}: {anomaly.said}"
        if anomaly.said
        else f"{anomaly.metric} {anomaly.direction.value} by {anomaly.score:.1f} spreads"
        for _, anomaly in ordered[:3]
    )


def _say_members(each: _Weighed, topology: Topology) -> str:
    more = f" and {len(each.members) - 1} more signs" if len(each.members) > 1 else ""
    return each.members[0][1] + more


def _say_dependents(each: _Weighed, topology: Topology) -> str:
    n = each.affected
    return f"{n} affected CI{'s' if n != 1 else ''} depend{'s' if n == 1 else ''} on it"


def _say_said(each: _Weighed, topology: Topology) -> str:
    n = each.candidate.said
    return f"people said {n} time{'s' if n != 1 else ''} before that it was the cause"


def _say_unknown(each: _Weighed, topology: Topology) -> str:
    known = topology.cis.get(each.ci)
    return "the topology does not know it" if known is None else "it is known by what others say of it"


_WORDS: Mapping[str, Callable[[_Weighed, Topology], str]] = {
    "symptoms": _say_symptoms,
    "metrics": _say_metrics,
    "members": _say_members,
    "dependents": _say_dependents,
    "change": lambda each, _: each.candidate.change[1],
    "history": _say_said,
    "severity": lambda each, _: f"its worst alert is {each.candidate.severity.word}",
    "explained": lambda each, _: f"{each.explained_by}, which it depends on, failed too",
    "unknown": _say_unknown,
}
"""Each kind of evidence in words, in the order in which it is told."""


def _plural(kind: str) -> str:
    return "CIs" if kind in ("", "generic") else f"{kind} CIs"
