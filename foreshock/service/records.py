"""Bodies of the records that are no events, as JSON."""

from typing import Any

from msgspec import Struct

from correlation.rule import RuleInstance
from foreshock.core.model import CI, Anomaly, Relationship, Silence


class TopologyRecord(Struct, frozen=True, kw_only=True):
    """Body of a TOPOLOGY record: a whole version, so that replay sees what the engine saw."""

    version: str
    cis: tuple[CI, ...]
    relationships: tuple[Relationship, ...]


class SettingsRecord(Struct, frozen=True, kw_only=True):
    """Body of a SETTINGS record.

    Attributes:
        sinks: instance names that hear of situations.
        rules: all in force, those that are not enabled too; None: the shipped ones.
    """

    correlation: dict[str, Any]
    sinks: tuple[str, ...]
    rules: tuple[RuleInstance, ...] | None = None


class AnomaliesRecord(Struct, frozen=True, kw_only=True):
    """Body of an ANOMALIES record. The CI of each is a name as its source has it; the engine binds it."""

    anomalies: tuple[Anomaly, ...]


class OperatorRecord(Struct, frozen=True, kw_only=True):
    """Body of an OPERATOR record: set a silence, or expire the one named."""

    set_silence: Silence | None = None
    expire_silence: str = ""
