"""What an SRE tunes. Every number has its unit and its reason here; the reference page and the example file come from
this."""

from typing import Annotated, Any, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from foreshock.core.errors import Invalid, Malformed
from foreshock.core.matchers import parse_matcher
from foreshock.core.quantities import Duration, parse_duration


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _duration(text: str, description: str) -> Any:
    return Field(default=parse_duration(text), description=description)


class _About(_Section):
    """Which sources an entry is for; with neither it is for all."""

    collector: str = Field(default="", description="kind of collector; any where empty")
    source: str = Field(default="", description="name of the source: NAME of /s/NAME, else the kind; any where empty")

    def about(self, collector: str, source: str) -> bool:
        return self.collector in ("", collector) and self.source in ("", source)


class IdentityRule(_About):
    """Which labels identify an alert. Give ``by`` or ``without``."""

    match: tuple[str, ...] = Field(
        default=(), description='only alerts whose labels fit all of these, written as in Alertmanager: team=~"db|web"'
    )
    by: tuple[str, ...] = Field(default=(), description="only these labels identify")
    without: tuple[str, ...] = Field(default=(), description="all labels but these identify")

    @field_validator("match")
    @classmethod
    def _are_matchers(cls, match: tuple[str, ...]) -> tuple[str, ...]:
        for index, text in enumerate(match):
            try:
                parse_matcher(text)
            except Malformed as error:
                raise Invalid(error.args[0], hint=error.hint, path=(index,)) from None
        return match

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if bool(self.by) == bool(self.without):
            said = "both `by` and `without`" if self.by else "neither `by` nor `without`"
            raise Invalid(f"an identity rule has {said}", hint="name the labels that identify, or those that do not")
        return self


class FoldSettings(_Section):
    identity: tuple[IdentityRule, ...] = Field(
        default=(),
        description="which labels identify an alert, where not all do; the first entry that fits counts, for example "
        "{source: prom-eu, without: [pod, prometheus_replica]}",
    )
    expire_after: Duration = _duration(
        "5m", "an alert whose source names no end is over after this long without being sent again"
    )
    flap_changes: int = Field(
        default=4, ge=2, le=20, description="changes between firing and resolved that make an alert flapping …"
    )
    flap_within: Duration = _duration("10m", "… if they happen within this time")
    flap_hold: Duration = _duration("5m", "a flapping alert counts as active until it has been resolved for this long")


class BindSettings(_Section):
    labels: tuple[str, ...] = Field(
        default=(
            "ci", "ci_id", "cmdb_ci", "service_instance", "pod", "container_id", "device", "hostname", "host", "node",
            "nodename", "vm", "instance", "server", "database", "service", "application", "app",
        ),
        description="labels that may name the CI, the most specific first",
    )  # fmt: skip
    strip_domain: bool = Field(
        default=True, description="also try a host name without its domain: db1.example.com as db1"
    )
    implied: bool = Field(
        default=True,
        description="where the topology knows no name, take the value of the first such label as a CI of its own",
    )


class RelateSettings(_Section):
    window: Duration = _duration("10m", "alerts whose onsets are further apart are not related")
    half_gap: Duration = _duration("2m", "a gap between onsets of this length halves the strength of a link")
    max_cost: float = Field(
        default=3.0,
        gt=0,
        le=12,
        description="longest walk along relationships; one step costs 1 unless `costs` says otherwise",
    )
    costs: dict[str, Annotated[float, Field(ge=1, le=12)]] = Field(
        default_factory=lambda: {"connects_to": 2.0},
        description="cost of a step per relationship type; 1 for a type not named. What is just connected says little: "
        "two hosts behind one switch must not be one problem",
    )
    budget: int = Field(
        default=10_000,
        ge=100,
        description="steps that a rule may take for a new alert, on average: an open alert looked at is one, a "
        "condition as many as it has parts; a rule that takes more for long is suspended until the next reload",
    )


class GroupSettings(_Section):
    threshold: float = Field(
        default=0.4, gt=0, le=1, description="a link at least this strong makes an alert join a situation"
    )
    merge_threshold: float = Field(
        default=0.9,
        gt=0,
        le=1,
        description="an alert that explains a second situation at least this strongly merges it with its own",
    )
    merge_alerts: int = Field(
        default=8,
        ge=0,
        description="a situation with more alerts than this is not merged into another: by then it stands for itself",
    )
    join: Duration = _duration("15m", "a situation takes new alerts until this long after the last one joined")
    quiet: Duration = _duration("2m", "a situation is resolved when none of its alerts has been active for this long")
    reopen: Duration = _duration(
        "30m",
        "a resolved situation is reopened when one of its alerts fires again within this time; later it gets a new one",
    )
    max_alerts: int = Field(default=500, ge=1, description="a situation with this many alerts takes no more")
    max_age: Duration = _duration("24h", "a situation older than this takes no more alerts")
    keep_apart: Duration = _duration(
        "30d", "what a person said does not belong together is not joined or merged for this long"
    )


class TicketSettings(_Section):
    delay: Duration = _duration(
        "30s", "a situation opens its ticket this long after its first alert, so that it may gather or recover"
    )
    delay_p1: Duration = _duration("5s", "the same for priority 1")
    update_every: Duration = _duration(
        "1m", "changes are gathered into one ticket update at most this often; a rise in priority is told at once"
    )
    min_priority: int = Field(
        default=5,
        ge=1,
        le=5,
        description="situations below this priority (a larger number) open no ticket; they stay in the console",
    )


class PrioritySettings(_Section):
    matrix: tuple[tuple[int, int, int], ...] = Field(
        default=((1, 2, 3), (2, 3, 4), (3, 4, 5)),
        description="priority by impact (row) and urgency (column), both from high to low, as ITIL has it",
    )
    wide: int = Field(
        default=20,
        ge=2,
        description="this many affected CIs raise the impact to 1 even where no business service is known",
    )
    several: int = Field(default=4, ge=2, description="this many affected CIs raise the impact to 2")
    default_group: str = Field(default="", description="assignment group where the causing CI has no owner")


class EvidenceSettings(_Section):
    window: Duration = Field(
        default=parse_duration("15m"),
        le=parse_duration("1h"),
        description="a metric anomaly is evidence for a situation if it was over at most this long before the first "
        "alert began, and began at most this long after the last one joined",
    )


class CorrelationSettings(_Section):
    """How alerts become situations, and situations tickets."""

    fold: FoldSettings = Field(default_factory=FoldSettings, description="what is the same alert, and when it is over")
    bind: BindSettings = Field(default_factory=BindSettings, description="which CI an alert is about")
    relate: RelateSettings = Field(default_factory=RelateSettings, description="what makes two alerts one problem")
    group: GroupSettings = Field(default_factory=GroupSettings, description="how situations grow and end")
    ticket: TicketSettings = Field(default_factory=TicketSettings, description="when tickets are written")
    evidence: EvidenceSettings = Field(
        default_factory=EvidenceSettings, description="which metric anomalies are shown with a situation"
    )
    priority: PrioritySettings = Field(default_factory=PrioritySettings, description="how priority is computed")
