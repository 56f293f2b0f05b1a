"""Identity rules that are too coarse: one alert that is about several CIs at once."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

from correlation import variants
from foreshock.core.model import Alert
from foreshock.service.timers import Due

if TYPE_CHECKING:
    from foreshock.service.engine import Engine

AFTER = timedelta(minutes=6)  # longer than what is over but was not resolved goes on to fire


def look(engine: "Engine", key: str) -> None:
    """Two label sets of one alert are about different CIs, and both still fire: the identity rules are too coarse.
    What binds all of them alike is no clash."""
    alert = engine.alerts.get(key)
    if alert is None or alert.variants is None or alert.clashes:
        return
    family = engine.family(alert)
    binder = engine.binder
    if binder.bind(family.identifying(alert.read_labels()), alert.source, alert.origin).ci:
        return
    found = variants.clash(
        alert,
        family,
        lambda labels: binder.bind(labels, alert.source, alert.origin),
        seen_by=engine.now - AFTER,
    )
    source = engine.sources.get(alert.origin)
    if not found or source is None:
        return
    alert.clashes = True
    engine.dirty_alerts[key] = None
    engine.counts["clashes"] += 1
    source.clashes += 1
    source.clash = found
    if source.clashes == 1:
        engine.say("source", alert.origin, "clash", found)


def was_seen_at(engine: "Engine", key: str, first_seen: datetime) -> bool:
    """Whether a timer is about a label set that is still there."""
    alert = engine.alerts.get(key)
    return alert is not None and any(unit.first_seen == first_seen for unit in variants.units(alert))


def watch(engine: "Engine", alert: Alert) -> None:
    """Note when each of its label sets has fired for long enough."""
    for unit in variants.units(alert) if alert.variants is not None and not alert.clashes else ():
        if unit.first_seen + AFTER > engine.now:
            engine.timers.at(unit.first_seen + AFTER, Due.CLASH, alert.fingerprint)
