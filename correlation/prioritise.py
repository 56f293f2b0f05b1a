"""Priority from impact and urgency, as ITIL has it."""

from correlation.settings import PrioritySettings
from foreshock.core.severity import Severity

HIGH, MEDIUM, LOW = 1, 2, 3


def impact(criticality: int, affected_cis: int, settings: PrioritySettings) -> int:
    """How much is hurt: 1 (high) .. 3 (low).

    Args:
        criticality: of the most critical business service that depends on an affected CI, 1..4; 0 if none is known.
    """
    by_service = {0: LOW, 1: HIGH, 2: MEDIUM, 3: MEDIUM}.get(criticality, LOW)
    by_spread = HIGH if affected_cis >= settings.wide else MEDIUM if affected_cis >= settings.several else LOW
    return min(by_service, by_spread)


def urgency(severity: Severity) -> int:
    """How soon: 1 (high) .. 3 (low). A severity nobody stated counts as a warning."""
    if severity is Severity.CRITICAL:
        return HIGH
    return MEDIUM if severity in (Severity.MAJOR, Severity.MINOR) else LOW


def priority(impact: int, urgency: int, settings: PrioritySettings) -> int:
    """1 (highest) .. 5, from the matrix."""
    return settings.matrix[impact - 1][urgency - 1]
