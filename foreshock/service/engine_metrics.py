"""What /metrics says of the engine's state."""

from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from correlation import forecast as foresight
from correlation import problem as recurrence
from correlation.clock import State
from foreshock.core.model import HeldKind, SituationState
from foreshock.service.metrics import gauge, labelled
from foreshock.service.sources import reading

if TYPE_CHECKING:
    from foreshock.service.engine import Engine


def families(engine: "Engine") -> Iterator[Metric]:
    yield gauge("foreshock_alerts_firing", "Alerts that fire now.", engine.active)
    yield gauge("foreshock_alerts_known", "Alerts held in memory, resolved ones included.", len(engine.alerts))
    yield labelled(
        CounterMetricFamily,
        "foreshock_fold",
        "What events were to their alerts.",
        ("outcome",),
        [((outcome,), count) for outcome, count in engine.counts.items()],
    )
    yield from _of_situations(engine)
    states = Counter(recurrence.state(pattern) for pattern in engine.patterns.by_id.values())
    yield labelled(
        GaugeMetricFamily,
        "foreshock_problems",
        "Patterns of incidents that are remembered: problems by their state, and those that are watched and are none.",
        ("state",),
        [((state,), states[state]) for state in recurrence.STATES],
    )
    expected = Counter(each.state for each in engine.forecasts.problems.values())
    yield labelled(
        GaugeMetricFamily,
        "foreshock_proactive_problems",
        "Problems made of forecasts that are remembered, by state.",
        ("state",),
        [((state,), expected[state]) for state in foresight.STATES],
    )
    yield labelled(
        CounterMetricFamily,
        "foreshock_prediction_announcements",
        "What models announced, by what became of it; announced: all of it.",
        ("model", "outcome"),
        [((model, what), count) for model, found in engine.foretold.items() for what, count in found.items()],
    )
    yield from _of_sources(engine)
    yield gauge(
        "foreshock_suppression_walks_cut",
        "Walks up the topology, in search of what explains an alert, that were ended by their bound.",
        engine.suppression.walks_cut,
    )
    yield gauge("foreshock_learned_pairs", "Learned pairs of alerts in force.", len(engine.learned.learned.pairs))
    yield gauge("foreshock_rules_suspended", "Rules that took more than their budget.", len(engine.budget.suspended))


def _of_situations(engine: "Engine") -> Iterator[Metric]:
    states: Counter[str] = Counter()
    held: Counter[HeldKind] = Counter()
    under = 0
    for situation in engine.situations.values():
        states[situation.state.value] += 1
        under += bool(situation.parent) and situation.state is SituationState.OPEN
        held.update({one.kind for one in situation.held})
    yield labelled(
        GaugeMetricFamily,
        "foreshock_situations",
        "Situations held in memory.",
        ("state",),
        [((state,), count) for state, count in states.items()],
    )
    yield gauge("foreshock_situations_under_umbrella", "Open situations for which another one has the ticket.", under)
    storm = float(engine.brake.since is not None)
    yield gauge("foreshock_storm", "1 while tickets are due too fast, so that one is opened for the rest.", storm)
    yield labelled(
        GaugeMetricFamily,
        "foreshock_situations_held",
        "Situations whose ticket write suppression holds back, by what does; one may be held by several.",
        ("kind",),
        [((kind.value,), held[kind]) for kind in HeldKind],
    )


def _of_sources(engine: "Engine") -> Iterator[Metric]:
    clocks = {name: reading(engine, name) for name in engine.sources}
    sources = engine.sources.items()
    for name, help, rows in (
        (
            "foreshock_source_last_seen_timestamp_seconds",
            "When a source last sent something.",
            [((name,), source.last_seen.timestamp()) for name, source in sources],
        ),
        (
            "foreshock_source_clock_lag_seconds",
            "Receipt minus date of what should be fresh; below zero its clock is ahead.",
            [((name,), found.lag_s) for name, found in clocks.items() if found.state is not State.UNKNOWN],
        ),
        (
            "foreshock_source_silent",
            "1 while a source is silent and its alerts run out.",
            [((name,), float(source.silent_since is not None)) for name, source in sources],
        ),
        (
            "foreshock_source_clashes",
            "Alerts about several CIs at once under the identity rules.",
            [((name,), float(source.clashes)) for name, source in sources],
        ),
    ):
        yield labelled(GaugeMetricFamily, name, help, ("source",), rows)
