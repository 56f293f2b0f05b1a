"""An alert of several label sets, where not all labels identify: it fires while any of them does.

Each label set is an alert in small (a *variant*) with the same fingerprint, folded as any alert is: so a resolve of one
replica does not end what another still reports, and other identity rules can take the alert apart again without a
loss. An alert of one label set has no variants and is its own. What moves with each re-send (``count``, ``last_seen``,
``expires_at``) is brought up to date by ``whole``; everything else is at once.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

import msgspec

from correlation import fold
from correlation.bind import Binding
from correlation.clock import NO_SKEW
from correlation.fold import Outcome
from correlation.identity import Family
from correlation.settings import FoldSettings
from foreshock.core.identity import fingerprint
from foreshock.core.model import Alert, Event

MAX_VARIANTS = 32
MAX_ENDED = 8
"""Of the label sets that are over so many are kept, so that their late and repeated events are known as such."""


def units(alert: Alert) -> tuple[Alert, ...]:
    """Its label sets."""
    return (alert,) if alert.variants is None else tuple(alert.variants.values())


def whole(alert: Alert) -> Alert:
    """``alert``, brought up to date."""
    if alert.variants is not None:
        found = alert.variants.values()
        ends = [one.expires_at for one in found if one.firing]
        alert.count = sum(one.count for one in found)
        alert.last_seen = max(one.last_seen for one in found)
        alert.expires_at = None if None in ends else max(filter(None, ends), default=None)
    return alert


def variant_of(alert: Alert, labels: Mapping[str, str]) -> Alert | None:
    """The label set of ``alert`` that is ``labels``; None where it has none such."""
    if alert.variants is None:
        return alert if alert.read_labels() == labels else None
    return alert.variants.get(variant_key(labels))


def variant_key(labels: Mapping[str, str]) -> str:
    return fingerprint(labels)


def due(alert: Alert) -> datetime | None:
    """When the first of its label sets runs out; None where none does."""
    if alert.variants is None:
        return alert.expires_at
    return min((one.expires_at for one in alert.variants.values() if one.expires_at is not None), default=None)


def expire(alert: Alert, now: datetime, settings: FoldSettings) -> bool:
    """End the label sets that ran out by ``now``; whether that ended the alert."""
    for one in units(alert):
        if one.expires_at is not None and one.expires_at <= now:
            fold.resolve(one, one.expires_at, now, settings)
            one.expired = True
    if alert.variants is None:
        return True
    _keep_still(alert.variants.values())
    return _follow(alert, now, settings) is Outcome.RESOLVED


def fold_one(
    alert: Alert,
    one: Alert,
    event: Event,
    at: datetime,
    settings: FoldSettings,
    expire_after: timedelta | None,
    ahead: timedelta = NO_SKEW,
) -> Outcome:
    """Fold ``event`` into ``one`` of the label sets of ``alert``; what it was to the alert."""
    said = fold.fold(one, event, at, settings, expire_after, ahead)
    _keep_still((one,))
    return _told(alert, one, said, at, settings)


def join(alert: Alert, one: Alert, at: datetime, settings: FoldSettings) -> tuple[Alert, Outcome, Alert | None]:
    """A first event of another label set comes. Gives the alert (another object where it had one label set until now),
    what the event was to it, and the label set that had to go for the new one."""
    if alert.variants is None:
        first = alert
        alert = msgspec.structs.replace(first, variants={variant_key(first.read_labels()): first})
        _keep_still((first,))
    assert alert.variants is not None
    gone = _make_room(alert.variants)
    alert.variants[variant_key(one.read_labels())] = one
    return alert, _told(alert, one, Outcome.NEW, at, settings), gone


def clash(alert: Alert, family: Family, bound: Callable[[Mapping[str, str]], Binding], *, seen_by: datetime) -> str:
    """Why two label sets that fire, both seen by then, should not be one alert: they are about different CIs. In words,
    with the remedy; empty if there are no two such."""
    firing = sorted((one.first_seen, key) for key, one in (alert.variants or {}).items() if one.firing)
    known: tuple[str, dict[str, str]] | None = None
    for first_seen, key in firing:
        labels = (alert.variants or {})[key].read_labels()
        ci = bound(labels).ci
        if first_seen > seen_by or not ci:
            continue
        if known is None:
            known = ci, labels
        elif ci != known[0]:
            one, other = sorted((ci, known[0]))
            differ = sorted(name for name in {*labels, *known[1]} if labels.get(name) != known[1].get(name))
            name = labels.get("alertname") or next(iter(labels.values()))
            return (
                f"{name} is one alert for {one} and {other}: {family.because(labels) or 'the identity of alerts'} "
                f"leaves out {', '.join(differ[:5])}; let what tells them apart identify, or add a label that names "
                "what they share to correlation.bind.labels"
            )
    return ""


def combine(found: Sequence[Alert], key: str, settings: FoldSettings) -> Alert:
    """One alert of the label sets of ``found``, which other identity rules hold to be one: it fires if any does, since
    the earliest onset of those that fire. Its place, and what it is bound to, is left to the caller."""
    found = sorted(found, key=lambda alert: (alert.first_seen, alert.fingerprint))
    variants: dict[str, Alert] = {}
    for one in (one for alert in found for one in units(alert)):
        variant = variant_key(one.read_labels())
        variants[variant] = _same(variants[variant], one) if variant in variants else one
    variants = _bounded(variants)
    oldest = min(variants.items(), key=lambda item: (item[1].first_seen, item[0]))[1]
    firing = [alert for alert in found if alert.firing]
    last = firing or [max(found, key=lambda alert: (alert.ends_at or alert.last_seen, alert.fingerprint))]
    alert = msgspec.structs.replace(
        oldest,
        fingerprint=key,
        variants=variants if len(variants) > 1 else None,
        firing=bool(firing),
        starts_at=min(alert.starts_at for alert in last),
        ends_at=None if firing else last[0].ends_at,
        expired=not firing and last[0].expired,
        occurrences=max(alert.occurrences for alert in found),
        severity=max(alert.severity for alert in last),
        held_until=max((alert.held_until for alert in found if alert.held_until is not None), default=None),
        flips=tuple(sorted(flip for alert in found for flip in alert.flips))[-settings.flap_changes :],
        flaps=max(alert.flaps for alert in found),
        clashes=False,
    )
    _keep_still(variants.values())
    return whole(alert)


def _same(one: Alert, other: Alert) -> Alert:
    """One label set that was two alerts, sent by two sources with different identity rules. Where one of them holds
    until its source resolves it, it goes on as that source's."""
    lasts = other.expires_at is None and one.expires_at is not None
    kept, left = (other, one) if other.firing and (lasts or not one.firing) else (one, other)
    both = kept.firing and left.firing
    return msgspec.structs.replace(
        kept,
        count=kept.count + left.count,
        first_seen=min(kept.first_seen, left.first_seen),
        last_seen=max(kept.last_seen, left.last_seen),
        starts_at=min(kept.starts_at, left.starts_at) if both else kept.starts_at,
        expires_at=None
        if both and (kept.expires_at is None or left.expires_at is None)
        else max(filter(None, (kept.expires_at, left.expires_at)), default=None)
        if both
        else kept.expires_at,
    )


def _bounded(variants: dict[str, Alert]) -> dict[str, Alert]:
    """As many as are kept, those that fire and were sent last before the others; no event is uncounted."""
    if len(variants) <= MAX_VARIANTS:
        return variants
    newest = sorted(variants.items(), key=lambda item: (item[1].firing, item[1].last_seen, item[0]), reverse=True)
    kept = dict(newest[:MAX_VARIANTS])
    newest[0][1].count += sum(one.count for _, one in newest[MAX_VARIANTS:])
    return kept


def _told(alert: Alert, one: Alert, said: Outcome, at: datetime, settings: FoldSettings) -> Outcome:
    """What an event that was ``said`` to ``one`` is to the alert."""
    turned = _follow(alert, at, settings)
    if said is Outcome.LATE or not one.firing:
        return turned or (Outcome.LATE if said in (Outcome.LATE, Outcome.NEW) else Outcome.REPEAT)
    alert.starts_at = min(alert.starts_at, one.starts_at)
    changed = said is Outcome.CHANGED or one.severity > alert.severity
    if changed or turned:
        alert.annotations, alert.said = one.annotations, one.said
        alert.severity = max(each.severity for each in units(alert) if each.firing)
    return turned or (Outcome.CHANGED if changed else Outcome.REPEAT)


def _follow(alert: Alert, at: datetime, settings: FoldSettings) -> Outcome | None:
    """Let ``alert`` fire or be over as its label sets are; how it turned, None if it did not."""
    firing = [one for one in units(alert) if one.firing]
    whole(alert)
    if bool(firing) == alert.firing:
        return None
    if firing:
        fold.begin(alert, min(one.starts_at for one in firing), at, settings)
        return Outcome.FIRED_AGAIN
    last = max(units(alert), key=lambda one: (one.ends_at or at, one.expired))
    fold.resolve(alert, last.ends_at or at, at, settings)
    alert.expired = last.expired
    return Outcome.RESOLVED


def _make_room(variants: dict[str, Alert]) -> Alert | None:
    """Before another label set is added: the one that goes, if there are too many. Its events stay counted."""
    ended = [(one.ends_at or one.last_seen, key) for key, one in variants.items() if not one.firing]
    if len(ended) > MAX_ENDED:
        _, key = min(ended)
    elif len(variants) >= MAX_VARIANTS:
        _, key = min(ended or [(one.last_seen, key) for key, one in variants.items()])
    else:
        return None
    gone = variants.pop(key)
    heir = min(variants.items(), key=lambda item: (item[1].first_seen, item[0]))[1]
    heir.count += gone.count
    return gone


def _keep_still(variants: Iterable[Alert]) -> None:
    """Flapping is judged of the alert, not of its label sets."""
    for one in variants:
        one.held_until, one.flaps = None, 0
