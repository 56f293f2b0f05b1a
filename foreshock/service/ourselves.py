"""What Foreshock reports about itself: alerts like any other, on the CI ``foreshock``, from the source of that name."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from foreshock.core.contracts import Collector, Ignored
from foreshock.core.errors import Malformed

NAME = "foreshock"
CMDB_DENIED, CMDB_REFUSED, CMDB_STALE = "ForeshockCmdbDenied", "ForeshockCmdbRefused", "ForeshockCmdbStale"
SOURCE_SILENT = "ForeshockSourceSilent"


def _decode(body: bytes) -> Sequence[Any]:
    raise Malformed("nobody sends these")


def _translate(item: Any, at: datetime) -> Ignored:
    return Ignored("nobody sends these")


OURSELVES = Collector(
    kind=NAME, title="Foreshock about itself", facts="", decode=_decode, translate=_translate, sample="", namespace=NAME
)
"""What these alerts have in place of a collector: their labels are nobody else's."""


def suspension(rule: str) -> dict[str, str]:
    """Labels of the alert that a rule (name@version) was suspended."""
    return {
        "alertname": "ForeshockRuleSuspended", "ci": NAME, "rule": rule.partition("@")[0], "severity": "warning",
    }  # fmt: skip


def refusal() -> dict[str, str]:
    """Labels of the alert that settings or rules were refused, and the old ones stay in force."""
    return {"alertname": "ForeshockFilesRefused", "ci": NAME, "severity": "warning"}


def topology_refusal() -> dict[str, str]:
    """Labels of the alert that a new version of the topology was refused, and the old one stays in force."""
    return {"alertname": "ForeshockTopologyRefused", "ci": NAME, "severity": "warning"}


def cmdb_denied(source: str) -> dict[str, str]:
    """Labels of the alert that a CMDB source refuses our credentials, and the topology ages."""
    return {"alertname": CMDB_DENIED, "ci": NAME, "source": source, "severity": "warning"}


def cmdb_refused(source: str) -> dict[str, str]:
    """Labels of the alert that a reading of a CMDB source would retire too much, and the topology stays as it was."""
    return {"alertname": CMDB_REFUSED, "ci": NAME, "source": source, "severity": "warning"}


def cmdb_stale(source: str) -> dict[str, str]:
    """Labels of the alert that a CMDB source was not read for long, and the topology ages."""
    return {"alertname": CMDB_STALE, "ci": NAME, "source": source, "severity": "warning"}


def source_silent(source: str) -> dict[str, str]:
    """Labels of the alert that a source is not heard although it should be, so that what it would say is unknown."""
    return {"alertname": SOURCE_SILENT, "ci": NAME, "source": source, "severity": "warning"}
