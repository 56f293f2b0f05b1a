"""Priority from impact and urgency, as ITIL has it. Levels are 1 (high) .. 3 (low)."""

from collections.abc import Sequence
from datetime import datetime

from correlation.settings import PrioritySettings, TrendSettings
from foreshock.core.model import Trend, Urged
from foreshock.core.severity import Severity

HIGH, MEDIUM, LOW = 1, 2, 3
WORDS = {HIGH: "high", MEDIUM: "medium", LOW: "low"}
_FEW = 4  # of fewer alerts a share says nothing of a trend


def impact(criticality: int, services: int, cis: int, settings: PrioritySettings) -> int:
    """How much is hurt: the highest of what the three say.

    Args:
        criticality: of the most critical business service that depends on an affected CI, 1..4; 0 if none is known.
        services: how many depend on one. cis: how many are affected.
    """
    return min(
        settings.criticality[criticality - 1] if 1 <= criticality <= len(settings.criticality) else LOW,
        _by_number(services, settings.several_services, settings.wide_services),
        _by_number(cis, settings.several, settings.wide),
    )


def _by_number(count: int, several: int, wide: int) -> int:
    return HIGH if count >= wide else MEDIUM if count >= several else LOW


def urgency(severity: Severity, settings: PrioritySettings) -> int:
    """How soon, by severity alone. A severity nobody stated counts as a warning."""
    word = "warning" if severity is Severity.UNKNOWN and "unknown" not in settings.severity else severity.word
    return settings.severity.get(word, LOW)  # type: ignore[call-overload, no-any-return]


def is_growing(joins: Sequence[datetime], onset: datetime, now: datetime, settings: TrendSettings) -> bool:
    """joins: when the latest alerts joined, the newest last, as many as ``settings.alerts`` if there are so many."""
    if not settings.alerts or len(joins) < settings.alerts:
        return False
    return joins[-settings.alerts] > now - settings.within >= onset


def is_falling(active: int, alerts: int, settings: TrendSettings) -> bool:
    return alerts >= _FEW and active <= alerts * settings.falling


def with_trend(urgency: int, trend: Trend) -> int:
    return max(HIGH, urgency - 1) if trend is Trend.GROWING else min(LOW, urgency + (trend is Trend.FALLING))


def priority(impact: int, urgency: int, settings: PrioritySettings) -> int:
    """1 (highest) .. 5, from the matrix."""
    return settings.matrix[impact - 1][urgency - 1]


# ---- in words -------------------------------------------------------------------------------------------------------


def impact_in_words(level: int, cis: int, services: int, most: str, criticality: int) -> str:
    """most: name of the most critical business service that depends on it; empty if none is known."""
    if not most:
        hurt = "no business service is known to depend on it"
    else:
        hurt = f"{most} (criticality {criticality}) depends on it"
        hurt += f", and {services - 1} more business service{'s' if services > 2 else ''}" if services > 1 else ""
    return f"impact {WORDS[level]}: {cis} CI{'s' if cis != 1 else ''} affected, {hurt}"


def urgency_in_words(level: int, severity: Severity, urged: Urged | None) -> str:
    said = [f"the worst alert is {severity.word}"]
    if urged is not None and urged.trend is Trend.GROWING:
        said.append(f"it went on growing at {urged.at:%Y-%m-%d %H:%M} UTC, which is one higher")
    if urged is not None and urged.trend is Trend.FALLING:
        said.append("most of its alerts were over already, which is one lower")
    if urged is not None and urged.wanted < level:
        when = f", which begin {urged.until:%Y-%m-%d %H:%M} UTC" if urged.until is not None else ""
        said.append(f"outside service hours of {urged.outside}{when}: {WORDS[level]} instead of {WORDS[urged.wanted]}")
    return f"urgency {WORDS[level]}: {'; '.join(said)}"
