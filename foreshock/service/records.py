"""Bodies of the records that are no events, as JSON."""

from enum import StrEnum
from typing import Any

from msgspec import Struct

from correlation.rule import RuleInstance
from foreshock.core.learned import Learned
from foreshock.core.model import CI, Anomaly, Forecast, JudgementKind, MaintenanceWindow, Relationship, Silence, Witness
from foreshock.core.topology import TopologyDelta


class TopologyRecord(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Body of a TOPOLOGY record: a version of the topology, so that replay sees what the engine saw. ``topologies``
    says what comes of one after the other.

    Attributes:
        version: named so by whoever made it; it is compared with others, and nothing else.
        cis, relationships: all of it, where there is no delta.
        delta: what makes this version of the version ``base``, in place of all of it.
    """

    version: str
    cis: tuple[CI, ...] = ()
    relationships: tuple[Relationship, ...] = ()
    base: str = ""
    delta: TopologyDelta | None = None


class How(StrEnum):
    """How a version came into force."""

    FILES = "files"
    APPLIED = "applied"
    ROLLED_BACK = "rolled back"


class Source(Struct, frozen=True, kw_only=True):
    """Where the rules and settings of a record come from.

    Attributes:
        files: digest of what was written in the files at that time: as long as it stays the same, nobody has asked for
            anything else there since.
    """

    how: How = How.FILES
    files: str = ""
    reason: str = ""


class SettingsRecord(Struct, frozen=True, kw_only=True):
    """Body of a SETTINGS record.

    Attributes:
        sinks: instance names that hear of situations. problem_sinks: those of them that keep Problems too.
        rules: all in force, those that are not enabled too; None: the shipped ones.
        source: where settings and rules come from.
    """

    correlation: dict[str, Any]
    sinks: tuple[str, ...]
    rules: tuple[RuleInstance, ...] | None = None
    source: Source | None = None
    problem_sinks: tuple[str, ...] = ()


class AnomaliesRecord(Struct, frozen=True, kw_only=True):
    """Body of an ANOMALIES record. The CI of each is a name as its source has it; the engine binds it."""

    anomalies: tuple[Anomaly, ...]


class ForecastsRecord(Struct, frozen=True, kw_only=True):
    """Body of a FORECASTS record. The CI of each is a name as its source has it; the engine binds it."""

    forecasts: tuple[Forecast, ...]


class Statement(Struct, frozen=True, kw_only=True):
    """What a person says of the structure.

    Attributes:
        situation, other: MERGE: other goes over to situation. SPLIT: alerts leave situation. MOVE: alerts leave
            situation for other. NOT_RELATED: the two situations. CAUSE: the situation.
        alerts: fingerprints; of NOT_RELATED two of them.
        cis: of NOT_RELATED two CIs; of CAUSE the one.
        past: the alerts of situations that ended longer ago than the engine remembers.
    """

    kind: JudgementKind
    situation: str = ""
    other: str = ""
    alerts: tuple[str, ...] = ()
    cis: tuple[str, ...] = ()
    comment: str = ""
    past: dict[str, tuple[Witness, ...]] = {}


class LearnedRecord(Struct, frozen=True, kw_only=True):
    """Body of a LEARNED record: a whole version, so that replay decides with what the engine had.

    Attributes:
        pinned: a person chose this version; training does not replace it.
    """

    learned: Learned
    pinned: bool = False


class OwnAlert(Struct, frozen=True, kw_only=True):
    """An alert about ourselves. summary: empty when it is over."""

    labels: dict[str, str]
    summary: str


class Remark(Struct, frozen=True, kw_only=True):
    """A row of the audit about something that was done beside the engine."""

    kind: str
    subject: str
    action: str
    detail: str


class OperatorRecord(Struct, frozen=True, kw_only=True):
    """Body of an OPERATOR record: what a person did.

    Attributes:
        notice: something about Foreshock itself that a person must see. remark: something for the audit.
        expire_silence: the id of a silence that ends now.
        end_window: the id of a maintenance window that ends now and does not come again; with only_running just the
            span that runs.
        judge: what belongs together.
        past_ends: what came before was imported; what still fires there is over, for nobody will end it.
    """

    set_silence: Silence | None = None
    expire_silence: str = ""
    set_window: MaintenanceWindow | None = None
    end_window: str = ""
    only_running: bool = False
    judge: Statement | None = None
    notice: OwnAlert | None = None
    remark: Remark | None = None
    past_ends: bool = False
