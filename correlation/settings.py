"""What an SRE tunes. Every number has its unit and its reason here; the reference page and the example file come from
this."""

from collections.abc import Iterator, Mapping
from copy import deepcopy
from datetime import date, timedelta
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from correlation.calendars import Hours, hours_of, read_holiday, read_hours
from correlation.closing import Label
from foreshock.core.errors import Invalid, Malformed
from foreshock.core.matchers import Matcher, parse_matcher
from foreshock.core.naming import canonical
from foreshock.core.quantities import Duration, ZoneName, parse_duration
from foreshock.core.topology import DIRECTIONS


class _Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


def _duration(text: str, description: str) -> Any:
    return Field(default=parse_duration(text), description=description)


def _are_matchers(texts: tuple[str, ...]) -> tuple[str, ...]:
    for index, text in enumerate(texts):
        try:
            parse_matcher(text)
        except Malformed as error:
            raise Invalid(str(error.args[0]), hint=error.hint, path=(index,)) from None
    return texts


def _are_domains(texts: tuple[str, ...]) -> tuple[str, ...]:
    """In the spelling in which names are looked up."""
    domains = tuple(canonical(text).strip(".") for text in texts)
    for index, domain in enumerate(domains):
        if not domain or "/" in domain or " " in domain:
            raise Invalid(
                f"{texts[index]!r} is no domain", hint="write it as in a host name: corp.example", path=(index,)
            )
    return domains


ByPriority = dict[Annotated[int, Field(ge=1, le=5)], Duration]
"""Times that hold for some priorities in place of the general one."""

Matchers = Annotated[tuple[str, ...], AfterValidator(_are_matchers), Field(max_length=100)]
"""Matchers as Alertmanager writes them: ``severity="warning"``, with one of ``= != =~ !~``."""


def have_own_names(entries: tuple[Any, ...]) -> tuple[Any, ...]:
    """The same; raises Invalid where two have one name."""
    for index, entry in enumerate(entries):
        if any(other.name == entry.name for other in entries[:index]):
            raise Invalid(f"two are called {entry.name!r}", hint="give each its own name", path=(index, "name"))
    return entries


def read_matchers(texts: tuple[str, ...]) -> tuple[Matcher, ...]:
    return tuple(parse_matcher(text) for text in texts)


class _About(_Section):
    """Which sources an entry is for; with neither it is for all."""

    collector: str = Field(default="", description="kind of collector; any where empty")
    source: str = Field(default="", description="name of the source: NAME of /s/NAME, else the kind; any where empty")

    def about(self, collector: str, source: str) -> bool:
        return self.collector in ("", collector) and self.source in ("", source)


class IdentityRule(_About):
    """Which labels identify an alert. Give ``by`` or ``without``."""

    match: Matchers = Field(
        default=(), description='only alerts whose labels fit all of these, written as in Alertmanager: team=~"db|web"'
    )
    by: tuple[str, ...] = Field(default=(), description="only these labels identify")
    without: tuple[str, ...] = Field(default=(), description="all labels but these identify")

    @model_validator(mode="after")
    def _says_one_thing(self) -> Self:
        if bool(self.by) == bool(self.without):
            said = "both `by` and `without`" if self.by else "neither `by` nor `without`"
            raise Invalid(f"an identity rule has {said}", hint="name the labels that identify, or those that do not")
        return self


class SourceRule(_About):
    """What is special about a source."""

    expire_after: Duration | None = Field(default=None, description="instead of fold.expire_after", examples=["30m"])
    late_is_clock: bool = Field(
        default=False, description="where its events are dated long before they come, its clock is behind: correct that"
    )


class FoldSettings(_Section):
    identity: tuple[IdentityRule, ...] = Field(
        default=(),
        description="which labels identify an alert, where not all do; the first entry that fits counts, for example "
        "{source: prom-eu, without: [pod, prometheus_replica]}",
    )
    expire_after: Duration = _duration(
        "5m", "an alert whose source names no end is over after this long without being sent again"
    )
    learn_expiry: Duration = _duration(
        "1h",
        "where alerts of a source turn out to fire on after they ran out, its expire_after is raised, up to this; "
        "0s: never",
    )
    sources: tuple[SourceRule, ...] = Field(
        default=(),
        description="sources that need something else; the first entry that fits counts, for example "
        "{source: nightly, expire_after: 26h}",
    )
    max_skew: Duration = _duration("5m", "the clock of a source is corrected if it is wrong by no more than this")
    flap_changes: int = Field(
        default=4, ge=2, le=20, description="changes between firing and resolved that make an alert flapping …"
    )
    flap_within: Duration = _duration("10m", "… if they happen within this time")
    flap_hold: Duration = _duration("5m", "a flapping alert counts as active until it has kept still for this long")

    def about(self, collector: str, source: str) -> SourceRule:
        """What is special about a source."""
        return next((rule for rule in self.sources if rule.about(collector, source)), _NOTHING_SPECIAL)


_NOTHING_SPECIAL = SourceRule()


class BindRule(_About):
    """How the labels of a source are read, where its words are others. What is not given is as for all."""

    labels: tuple[str, ...] | None = Field(default=None, description="instead of bind.labels")
    peers: tuple[str, ...] | None = Field(default=None, description="instead of bind.peers")
    scope: tuple[str, ...] | None = Field(default=None, description="instead of bind.scope")


class BindSettings(_Section):
    labels: tuple[str, ...] = Field(
        default=(
            "ci", "ci_id", "cmdb_ci", "service_instance", "pod", "deployment", "statefulset", "daemonset", "replicaset",
            "cronjob", "job_name", "persistentvolumeclaim", "ingress", "container_id", "device", "hostname", "host",
            "node", "nodename", "vm", "instance", "server", "database", "service", "application", "app",
        ),
        description="labels that may name the CI, the most specific first; those of Kubernetes workloads count only "
        "beside a namespace",
    )  # fmt: skip
    peers: tuple[str, ...] = Field(
        default=("peer", "peer_ci", "peer_service", "peer.service", "upstream", "destination"),
        description="labels that name a second CI the alert is about, for example the other end of a slow call, or the "
        "host of a pod: evidence for what belongs together and for causes",
    )
    scope: tuple[str, ...] = Field(
        default=(
            "cluster", "namespace", "site", "location", "datacenter", "dc", "region", "vrf", "tenant", "environment",
            "env",
        ),
        description="labels that say where the CI is, the most specific first: where a name means several, the one "
        "whose environment, location, cluster or the like has this name",
    )  # fmt: skip
    strip_domain: bool = Field(
        default=True, description="also try a host name without its domain: db1.example.com as db1"
    )
    domains: Annotated[tuple[str, ...], AfterValidator(_are_domains), Field(max_length=50)] = Field(
        default=(),
        description="domains of ours: web.eu.corp.example is also tried as web.eu, and db1 as db1.corp.example",
        examples=[["corp.example"]],
    )
    sources: tuple[BindRule, ...] = Field(
        default=(),
        description="sources whose labels have other names; the first entry that fits counts, for example "
        "{source: zabbix-emea, labels: [zabbix_host]}",
    )
    implied: bool = Field(
        default=True,
        description="where the topology knows no name, take the value of the first such label as a CI of its own",
    )

    def about(self, collector: str, source: str) -> BindRule | None:
        """What is special about a source; None: nothing."""
        return next((rule for rule in self.sources if rule.about(collector, source)), None)


class RelateSettings(_Section):
    window: Duration = _duration("20m", "alerts whose onsets are further apart are not related")
    half_gap: Duration = _duration(
        "150s",
        "a time of this length halves the strength of a link; it is the mean of the gap between the two onsets and of "
        "the time since the situation last grew",
    )
    half_gap_late: Duration = _duration("1m", "the same where the cause shows later than what it explains")
    fade: Duration = _duration("5m", "nearness without an explanation falls to 1/e over a gap of this length")
    delays: dict[str, Duration] = Field(
        default_factory=dict,
        description="how long a failure may take to pass a relationship of this type; within that time, being late "
        "costs a link nothing",
        examples=[{"powered_by": "10m"}],
    )
    tempo: float = Field(
        default=16.0,
        gt=0,
        description="a situation that has been quiet for so many of its usual gaps between alerts takes others half as "
        "readily",
    )
    step: float = Field(
        default=0.7,
        gt=0,
        lt=1,
        description="a failure explains an alert on what depends on it this strongly, once more for each further unit "
        "of cost",
    )
    least: float = Field(default=0.2, gt=0, lt=1, description="what explains less than this is left out")
    restart: float = Field(
        default=0.4, gt=0, lt=1, description="probability that a random walk from a CI ends with each step"
    )
    noticeable: float = Field(
        default=0.004, ge=0.0001, le=0.1, description="ends of a walk that are less probable are left out"
    )
    explains: float = Field(
        default=0.5, gt=0, le=1, description="an alert that explains a small situation this strongly merges it"
    )
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


class WaveSettings(_Section):
    alerts: int = Field(default=20, ge=2, le=250, description="so many alerts …")
    within: Duration = _duration("15s", "… within this time …")
    rise: float = Field(default=8.0, ge=1, description="… at so many times the rate of the five such times before …")
    after: Duration = _duration(
        "2m", "… in a situation that got as many alerts longer than this ago are split off as a situation of their own"
    )


class GroupSettings(_Section):
    threshold: float = Field(
        default=0.4, gt=0, le=1, description="a link at least this strong makes an alert join a situation"
    )
    merge: float = Field(
        default=0.2,
        gt=0,
        le=1,
        description="two situations are merged when this share of the random walks from the smaller one ends in the "
        "larger",
    )
    part: float = Field(
        default=0.05,
        ge=0,
        lt=1,
        description="a situation falls apart where less than this share of the smaller side's walks crosses; 0: never",
    )
    part_cis: int = Field(default=4, ge=2, description="a side with fewer CIs than this is not split off")
    wave: WaveSettings = Field(
        default_factory=WaveSettings,
        description="when many new alerts at once are a new problem in the same place",
    )
    join: Duration = _duration("15m", "a situation takes new alerts until this long after the last one joined")
    join_by_priority: ByPriority = Field(
        default_factory=dict, description="the same for situations of these priorities", examples=[{1: "30m"}]
    )
    quiet: Duration = _duration("2m", "a situation is resolved when none of its alerts has been active for this long")
    quiet_by_priority: ByPriority = Field(
        default_factory=dict, description="the same for situations of these priorities", examples=[{1: "10m"}]
    )
    reopen: Duration = _duration(
        "30m",
        "a resolved situation is reopened when one of its alerts fires again within this time; later it gets a new one",
    )
    max_alerts: int = Field(default=500, ge=1, description="a situation with this many alerts takes no more")
    max_away: int = Field(
        default=16,
        ge=1,
        description="what is related only to a CI this many relationships from where a situation began, counted along "
        "its links, opens a situation of its own",
    )
    max_age: Duration = _duration("24h", "a situation older than this takes no more alerts")
    keep_apart: Duration = _duration(
        "30d", "what a person said does not belong together is not joined or merged for this long"
    )

    def join_of(self, priority: int) -> timedelta:
        return self.join_by_priority.get(priority, self.join)

    def quiet_of(self, priority: int) -> timedelta:
        return self.quiet_by_priority.get(priority, self.quiet)


class UmbrellaSettings(_Section):
    """When very many situations get one ticket."""

    situations: int = Field(
        default=10,
        ge=0,
        description="when so many situations open, or reopen, on what depends on one CI …; 0: no umbrellas",
    )
    within: Duration = _duration("10m", "… within this time …")
    share: float = Field(
        default=0.6,
        gt=0,
        le=1,
        description="… with alerts on at least this share of all that depends on it, one of them has the ticket for "
        "all of them",
    )
    many: int = Field(default=200, ge=2, description="a sixth of that share is enough for so many situations")
    grace: Duration = _duration(
        "5m",
        "what still fires this long after a person closed the ticket of an umbrella gets a ticket of its own: by then "
        "the rest has told that it is over",
    )


class TextSettings(_Section):
    """Templates of what a ticket says (docs/tickets.md); the usual text where one is empty."""

    title: str = Field(default="", description="template of the title, in one line; empty: the usual one")
    description: str = Field(default="", description="template of the description; empty: the usual one")

    @field_validator("title", "description")
    @classmethod
    def _is_a_template(cls, source: str) -> str:
        if source:
            from correlation.body import compiled  # most have none, and reading templates takes an import

            compiled(source)
        return source


class TicketSettings(_Section):
    text: TextSettings = Field(default_factory=TextSettings, description="templates of what tickets say")
    text_by_sink: dict[str, TextSettings] = Field(
        default_factory=dict, description="other templates for the tickets of these sinks"
    )
    delay: Duration = _duration(
        "30s", "a situation opens its ticket this long after its first alert, so that it may gather or recover"
    )
    delay_by_priority: ByPriority = Field(
        default_factory=lambda: {1: parse_duration("5s")}, description="the same for situations of these priorities"
    )
    update_every: Duration = _duration(
        "1m", "changes are gathered into one ticket update at most this often; a rise in priority is told at once"
    )
    deleted: Literal["leave", "replace"] = Field(
        default="leave",
        description="a ticket that somebody deleted in the sink: as good as closed by them, or replaced by a new one",
    )
    min_priority: int = Field(
        default=5,
        ge=1,
        le=5,
        description="situations below this priority (a larger number) open no ticket; they stay in the console",
    )
    max_new_per_minute: int = Field(
        default=60,
        ge=0,
        le=1_000,
        description="where more tickets than this would be opened within a minute, one of them is for all the rest; "
        "what is more urgent than the rest has its own, up to twice as many; 0: no such brake",
    )
    close_codes: dict[Annotated[str, Field(min_length=1, max_length=100)], Label] = Field(
        default_factory=dict,
        description="what it means that people close a ticket with this code, in their system's words: real, no_fault, "
        "duplicate or false_alarm; the usual words of each system are known",
    )

    def text_of(self, sink: str) -> TextSettings:
        return self.text_by_sink.get(sink, self.text)

    def delay_of(self, priority: int) -> timedelta:
        return self.delay_by_priority.get(priority, self.delay)


class InhibitRule(_Section):
    """Inhibition by equal labels, as Alertmanager has it."""

    name: str = Field(min_length=1, max_length=100, description="what reasons call it")
    source_matchers: Matchers = Field(min_length=1, description="while an alert that matches all of these is active …")
    target_matchers: Matchers = Field(min_length=1, description="… alerts that match all of these open no ticket …")
    equal: tuple[str, ...] = Field(
        default=(), max_length=20, description="… if both have equal values of these labels; an absent one is empty"
    )


_DEPENDENCE = (
    "depends_on", "runs_on", "hosted_on", "uses", "calls", "member_of", "powered_by", "stored_on", "contains", "hosts",
    "supports", "powers",
)  # fmt: skip


class UpstreamSettings(_Section):
    """Inhibition along the topology."""

    enabled: bool = Field(
        default=True, description="an active alert upstream explains those on CIs that depend on its CI"
    )
    relationships: tuple[str, ...] = Field(
        default=_DEPENDENCE,
        description="types of relationships that explain; without connects_to, because a neighbour explains little",
    )
    min_severity: Literal["info", "warning", "minor", "major", "critical"] = Field(
        default="critical", description="the alert upstream is at least this severe"
    )
    max_cost: float = Field(
        default=3.0, gt=0, le=12, description="longest way up; a step costs what `relate.costs` says, else 1"
    )
    within: Duration = _duration(
        "30m", "the two onsets are at most this far apart: what has fired for days explains nothing new"
    )
    source_matchers: Matchers = Field(default=(), description="only alerts that match all of these explain others")
    target_matchers: Matchers = Field(default=(), description="only alerts that match all of these are explained")

    @field_validator("relationships")
    @classmethod
    def _are_types(cls, types: tuple[str, ...]) -> tuple[str, ...]:
        for index, name in enumerate(types):
            if name not in DIRECTIONS:
                hint = f"use some of {', '.join(DIRECTIONS)}"
                raise Invalid(f"{name!r} is no type of relationship", hint=hint, path=(index,))
        return types


class TransientSettings(_Section):
    """Auto-pause: what used to recover by itself gets time to do so again."""

    enabled: bool = Field(
        default=True,
        description="a ticket waits where every alert is of a class (alertname and CI type) that mostly recovered by "
        "itself; never at priority 1",
    )
    within: Duration = _duration(
        "5m", "what ended so soon after its onset recovered by itself; so long its ticket waits"
    )
    min_ended: float = Field(
        default=10, ge=1, description="a class is judged once it has ended this often; older ends count less"
    )
    min_share: float = Field(default=0.9, gt=0.5, le=1, description="share of them that recovered by themselves")
    half_life: Duration = _duration("7d", "an end counts half after this long")
    max_alerts: int = Field(default=5, ge=1, description="a situation with more active alerts than this does not wait")


class ThresholdRule(_Section):
    """Not before there are enough of them."""

    name: str = Field(min_length=1, max_length=100, description="what reasons call it")
    matchers: Matchers = Field(min_length=1, description="alerts that match all of these open a ticket only after …")
    alerts: int = Field(default=0, ge=0, le=500, description="… so many of them joined the situation …")
    cis: int = Field(default=0, ge=0, le=500, description="… or they came from so many CIs …")
    within: Duration = _duration("10m", "… within this time; either number is enough, 0 leaves it out")

    @model_validator(mode="after")
    def _counts_something(self) -> Self:
        if max(self.alerts, self.cis) < 2:
            raise Invalid("neither `alerts` nor `cis` is 2 or more", hint="say from how many alerts or CIs on to open")
        return self


class SuppressSettings(_Section):
    inhibit: tuple[InhibitRule, ...] = Field(
        default=(), max_length=200, description="inhibition by equal labels; list what is further upstream first"
    )
    upstream: UpstreamSettings = Field(default_factory=UpstreamSettings, description="inhibition along the topology")
    transient: TransientSettings = Field(
        default_factory=TransientSettings, description="time to recover for what mostly does so by itself"
    )
    thresholds: tuple[ThresholdRule, ...] = Field(
        default=(), max_length=200, description="open only after N alerts or N CIs"
    )

    @field_validator("inhibit", "thresholds")
    @classmethod
    def _have_own_names(cls, rules: tuple[Any, ...]) -> tuple[Any, ...]:
        return have_own_names(rules)


def _day(value: Any) -> Any:
    return value.isoformat() if isinstance(value, date) else value  # YAML reads 2026-12-25 as a date


class CalendarSettings(_Section):
    """Hours of work."""

    name: str = Field(min_length=1, max_length=100, description="what other settings call it")
    time_zone: ZoneName = Field(default="UTC", description="name of the IANA database: Europe/Berlin")
    hours: tuple[str, ...] = Field(
        default=("mon-fri 09:00-17:00",),
        min_length=1,
        max_length=50,
        description="days and times; mon-fri 08:00-18:00, or fri 22:00-06:00 into the next day",
    )
    holidays: Annotated[tuple[Annotated[str, BeforeValidator(_day)], ...], Field(max_length=500)] = Field(
        default=(), description="days on which no hours begin: 2026-12-25, or 12-25 for each year"
    )

    @field_validator("hours", "holidays")
    @classmethod
    def _can_be_read(cls, texts: tuple[str, ...], info: ValidationInfo) -> tuple[str, ...]:
        for index, text in enumerate(texts):
            try:
                read_hours(text) if info.field_name == "hours" else read_holiday(text)
            except Invalid as error:
                raise Invalid(str(error), hint=error.hint, path=(index,)) from None
        return texts

    @property
    def compiled(self) -> Hours:
        return hours_of(self.time_zone, self.hours, self.holidays)


class ServiceHoursSettings(_Section):
    """When a business service is needed; outside of that what hurts it is less urgent."""

    default: str = Field(
        default="",
        description="calendar of the services that `services` does not name, and of what no service is known to depend "
        "on; empty: needed at any time",
    )
    services: dict[str, str] = Field(
        default_factory=dict,
        description="calendar by id of the business service",
        examples=[{"shop": "office"}],
    )
    outside: int = Field(
        default=1, ge=0, le=2, description="outside the hours of all services it hurts the urgency is so much lower"
    )
    critical_always: bool = Field(
        default=True, description="services of criticality 1 are needed at any time, whatever their calendar"
    )


class TrendSettings(_Section):
    """What growing and falling means."""

    alerts: int = Field(
        default=5,
        ge=0,
        le=20,
        description="a situation grows while so many alerts joined it …; its urgency is one higher then; 0: never",
    )
    within: Duration = _duration("10m", "… in so long, which does not count before it is older than that itself")
    falling: float = Field(
        default=0.25,
        ge=0,
        lt=1,
        description="it falls while at most this share of its alerts is active; then its urgency does not rise as far "
        "by one; 0: never",
    )


SeverityWord = Literal["unknown", "info", "warning", "minor", "major", "critical"]
_Level = Annotated[int, Field(ge=1, le=3)]
_Priority = Annotated[int, Field(ge=1, le=5)]


class PrioritySettings(_Section):
    matrix: tuple[
        tuple[_Priority, _Priority, _Priority],
        tuple[_Priority, _Priority, _Priority],
        tuple[_Priority, _Priority, _Priority],
    ] = Field(
        default=((1, 2, 3), (2, 3, 4), (3, 4, 5)),
        description="priority by impact (row) and urgency (column), both from high to low, as ITIL has it",
    )
    criticality: tuple[_Level, _Level, _Level, _Level] = Field(
        default=(1, 2, 2, 3),
        description="impact by the criticality, 1 to 4, of the most critical business service that depends on it",
    )
    wide: int = Field(
        default=20,
        ge=2,
        description="this many affected CIs raise the impact to 1 even where no business service is known",
    )
    several: int = Field(default=4, ge=2, description="this many affected CIs raise the impact to 2")
    wide_services: int = Field(
        default=10, ge=2, description="this many business services that depend on it raise the impact to 1"
    )
    several_services: int = Field(
        default=3, ge=2, description="this many business services that depend on it raise the impact to 2"
    )
    severity: dict[SeverityWord, _Level] = Field(
        default={"critical": 1, "major": 2, "minor": 2},
        description="urgency by the worst severity; 3 for one that is not named",
    )
    trend: TrendSettings = Field(default_factory=TrendSettings, description="what a situation that grows or falls does")
    service_hours: ServiceHoursSettings = Field(
        default_factory=ServiceHoursSettings, description="when business services are needed"
    )

    @field_validator("matrix")
    @classmethod
    def _rises(cls, matrix: tuple[tuple[int, int, int], ...]) -> tuple[tuple[int, int, int], ...]:
        for row, line in enumerate(matrix):
            for column, value in enumerate(line):
                before = [matrix[row - 1][column]] * (row > 0) + [line[column - 1]] * (column > 0)
                if value < max(before, default=1):
                    raise Invalid(
                        f"priority {value} for impact {row + 1} and urgency {column + 1} is above that of more",
                        hint="priorities may not rise to the right or downwards",
                        path=(row, column),
                    )
        return matrix


class AssignmentRule(_Section):
    """A group for CIs and alerts that have no owner in the topology."""

    name: str = Field(min_length=1, max_length=100, description="what reasons call it")
    ci: str = Field(default="", description="pattern that the id or name of the CI fits, without regard to case: fra-*")
    kind: str = Field(default="", description="kind of the CI …")
    environment: str = Field(default="", description="… and its environment, as the topology has them")
    matchers: Matchers = Field(default=(), description="labels that an alert on the CI matches, site=~fra.*")
    group: str = Field(min_length=1, max_length=128, description="the group")

    @model_validator(mode="after")
    def _fits_something(self) -> Self:
        if not (self.ci or self.kind or self.environment or self.matchers):
            raise Invalid(f"rule {self.name!r} fits everything", hint="say what for, or set `assignment.default`")
        return self


class AssignmentSettings(_Section):
    """Who gets the ticket where the likeliest cause, and what depends on it, has no owner."""

    rules: tuple[AssignmentRule, ...] = Field(
        default=(),
        max_length=500,
        description="by name, kind, environment or labels; the first that fits counts, for example "
        "{name: frankfurt, ci: fra-*, group: dc-frankfurt}",
    )
    default: str = Field(default="", max_length=128, description="the group where nothing else names one")

    @field_validator("rules")
    @classmethod
    def _have_own_names(cls, rules: tuple[AssignmentRule, ...]) -> tuple[AssignmentRule, ...]:
        return have_own_names(rules)


class SlaTarget(_Section):
    """What is promised for incidents of one priority; what is left out is not promised."""

    priority: int = Field(ge=1, le=5, description="of which incidents")
    acknowledge: Duration | None = Field(
        default=None,
        gt=timedelta(0),
        description="somebody takes it, or writes on it, within this time",
        examples=["15m"],
    )
    resolve: Duration | None = Field(
        default=None, gt=timedelta(0), description="it is over within this time", examples=["4h"]
    )
    calendar: str = Field(default="", description="name of the hours in which the time runs; empty: at any time")


class SlaSettings(_Section):
    """Service levels: time that is promised, and when people are told that it runs out."""

    targets: tuple[SlaTarget, ...] = Field(
        default=(),
        max_length=5,
        description="for each priority that has one, for example {priority: 1, acknowledge: 15m, resolve: 4h}",
    )
    warn_at: tuple[Annotated[int, Field(ge=1, le=1000)], ...] = Field(
        default=(50, 75, 100), max_length=10, description="percent of a promised time at which people are told"
    )
    pause: tuple[Literal["pending", "maintenance"], ...] = Field(
        default=("pending", "maintenance"),
        description="the time stands while a ticket is pending, that is, waits for somebody, or while planned "
        "maintenance covers all that is active",
    )

    @field_validator("targets")
    @classmethod
    def _has_one_each(cls, targets: tuple[SlaTarget, ...]) -> tuple[SlaTarget, ...]:
        for index, target in enumerate(targets):
            if any(other.priority == target.priority for other in targets[:index]):
                raise Invalid(f"priority {target.priority} has two", hint="write one each", path=(index, "priority"))
        return targets

    @field_validator("warn_at")
    @classmethod
    def _rise(cls, levels: tuple[int, ...]) -> tuple[int, ...]:
        return tuple(sorted(set(levels)))

    def target(self, priority: int) -> SlaTarget | None:
        return next((target for target in self.targets if target.priority == priority), None)

    def calendar_of(self, priority: int) -> str:
        """The calendar in which time counts at this priority; where nothing is promised for it, that of the next higher
        one for which something is: it may rise to that."""
        above = [target for target in self.targets if target.priority <= priority]
        return max(above, key=lambda target: target.priority).calendar if above else ""


class EscalationStep(_Section):
    """Who is told when nobody has taken an incident for so long."""

    after: Duration = Field(ge=timedelta(0), description="so long after its ticket was opened", examples=["15m"])
    tell: tuple[Annotated[str, Field(min_length=1)], ...] = Field(
        min_length=1,
        max_length=20,
        description="persons and groups, as `notify.contacts` and `on_call` call them; {group} is the assignment group",
        examples=[["{group}"]],
    )


class EscalationPolicy(_Section):
    """Who is told next. The first policy that fits an incident counts."""

    name: str = Field(min_length=1, max_length=100, description="what the timeline calls it")
    priorities: tuple[_Priority, ...] = Field(default=(1, 2), min_length=1, description="of which incidents")
    groups: tuple[str, ...] = Field(
        default=(), max_length=100, description="assignment groups it is for; none: all of them"
    )
    steps: tuple[EscalationStep, ...] = Field(min_length=1, max_length=20, description="in order of time")

    @field_validator("steps")
    @classmethod
    def _rise(cls, steps: tuple[EscalationStep, ...]) -> tuple[EscalationStep, ...]:
        for index in range(1, len(steps)):
            if steps[index].after <= steps[index - 1].after:
                raise Invalid("it is not later than the step before", hint="put them in order", path=(index, "after"))
        return steps


class CauseSettings(_Section):
    change_half_gap: Duration = _duration(
        "10m", "a change so long before the first alert counts half as much as one just before"
    )
    margin: float = Field(
        default=0.1,
        ge=0,
        le=2,
        description="another cause takes the first place from the one that was told last only if this much more speaks "
        "for it; 0.1 is a tenth",
    )
    enough: float = Field(
        default=0.25,
        ge=0,
        le=1,
        description="share of the evidence that the first cause needs to be named; below it the ticket says that there "
        "is not enough, and lists the candidates",
    )


class EvidenceSettings(_Section):
    window: Duration = Field(
        default=parse_duration("15m"),
        le=parse_duration("1h"),
        description="a metric anomaly is evidence for a situation if it was over at most this long before the first "
        "alert began, and began at most this long after the last one joined",
    )


class ForecastSettings(_Section):
    probability: float = Field(
        default=0.7, gt=0, le=1, description="a forecast at least this likely opens a proactive problem for its CI"
    )
    max_open: int = Field(
        default=10, ge=0, le=1000, description="so many of them at a time are expected at most; 0: forecasts open none"
    )
    update_every: Duration = _duration("1h", "sinks hear of a forecast that has changed at most so often")
    longest: Duration = _duration(
        "7d", "further forecasts keep one open for this long at most; what has not come true by then was a false alarm"
    )
    pause: Duration = _duration("1d", "after a false alarm this model opens none for the same CI for so long")


class ProblemSettings(_Section):
    occurrences: int = Field(
        default=3,
        ge=2,
        le=20,
        description="so many incidents with the same cause and pattern make a problem if they come …",
    )
    within: Duration = _duration("30d", "… within this time")
    min_priority: int = Field(
        default=4, ge=1, le=5, description="incidents below this priority (a larger number) do not count"
    )
    exclude: tuple[Matchers, ...] = Field(
        default=(),
        max_length=200,
        description="incidents whose first alert fits all matchers of one of these lists never make a problem",
    )
    quiet: Duration = _duration(
        "30d", "a problem that has not come back for this long is proposed for closing; people close it"
    )
    remember: Duration = _duration("365d", "what has not come back for this long is forgotten, with its problem")
    forecast: ForecastSettings = Field(
        default_factory=ForecastSettings, description="when a forecast makes a problem before there is an incident"
    )

    @model_validator(mode="after")
    def _remembers_long_enough(self) -> Self:
        for name in ("within", "quiet"):
            if self.remember < getattr(self, name):
                raise Invalid(f"`remember` is shorter than `{name}`", hint="raise `remember`", path=("remember",))
        return self


class CorrelationSettings(_Section):
    """How alerts become situations, and situations tickets."""

    fold: FoldSettings = Field(default_factory=FoldSettings, description="what is the same alert, and when it is over")
    bind: BindSettings = Field(default_factory=BindSettings, description="which CI an alert is about")
    relate: RelateSettings = Field(default_factory=RelateSettings, description="what makes two alerts one problem")
    group: GroupSettings = Field(default_factory=GroupSettings, description="how situations grow and end")
    umbrella: UmbrellaSettings = Field(
        default_factory=UmbrellaSettings, description="when very many situations get one ticket"
    )
    ticket: TicketSettings = Field(default_factory=TicketSettings, description="when tickets are written")
    calendars: tuple[CalendarSettings, ...] = Field(
        default=(), max_length=100, description="hours of work, for `priority.service_hours` and `sla`"
    )
    evidence: EvidenceSettings = Field(
        default_factory=EvidenceSettings, description="which metric anomalies are shown with a situation"
    )
    suppress: SuppressSettings = Field(
        default_factory=SuppressSettings, description="what is real but must not disturb anyone now"
    )
    cause: CauseSettings = Field(default_factory=CauseSettings, description="how causes are ranked")
    priority: PrioritySettings = Field(default_factory=PrioritySettings, description="how priority is computed")
    assignment: AssignmentSettings = Field(
        default_factory=AssignmentSettings, description="which group gets the ticket where no CI says it"
    )
    problem: ProblemSettings = Field(
        default_factory=ProblemSettings, description="when incidents that come back make a problem"
    )
    sla: SlaSettings = Field(default_factory=SlaSettings, description="service levels: what is promised, and warnings")
    escalation: tuple[EscalationPolicy, ...] = Field(
        default=(), max_length=100, description="who is told next while nobody takes an incident"
    )

    @field_validator("calendars", "escalation")
    @classmethod
    def _have_own_names(cls, calendars: tuple[CalendarSettings, ...]) -> tuple[CalendarSettings, ...]:
        return have_own_names(calendars)

    @model_validator(mode="after")
    def _knows_its_calendars(self) -> Self:
        names = [calendar.name for calendar in self.calendars]
        for path, name in self._named_calendars():
            if name and name not in names:
                known = ", ".join(names) or "none"
                raise Invalid(f"there is no calendar {name!r}", hint=f"`calendars` has {known}", path=path)
        return self

    def _named_calendars(self) -> Iterator[tuple[tuple[str | int, ...], str]]:
        hours = self.priority.service_hours
        yield ("priority", "service_hours", "default"), hours.default
        for service, name in hours.services.items():
            yield ("priority", "service_hours", "services", service), name
        for index, target in enumerate(self.sla.targets):
            yield ("sla", "targets", index, "calendar"), target.calendar

    def calendar(self, name: str) -> Hours | None:
        """The hours of that name; None, which is at any time, for an empty one."""
        return next((each.compiled for each in self.calendars if each.name == name), None)


def differing(section: BaseModel) -> dict[str, Any]:
    """What is not as it ships, as a settings file holds it: such a file says nothing of the rest. Costs of relations
    and times by priority are one value: whoever changes one of them has to write all."""
    data, shipped = section.model_dump(mode="json"), type(section)()
    found: dict[str, Any] = {}
    for name in type(section).model_fields:
        value = getattr(section, name)
        if isinstance(value, BaseModel):
            if inner := differing(value):
                found[name] = inner
        elif value != getattr(shipped, name):
            found[name] = data[name]
    return found


def read_recorded(recorded: Mapping[str, Any]) -> tuple[CorrelationSettings, tuple[str, ...]]:
    """Settings as a record holds them, and the keys in it that this version does not know: another version wrote them,
    and what they said is gone with it. Raises pydantic's ValidationError where a value cannot be read."""
    try:
        return CorrelationSettings.model_validate(recorded), ()
    except ValidationError as error:
        unknown = [found["loc"] for found in error.errors() if found["type"] == "extra_forbidden"]
        if not unknown:
            raise
    known = deepcopy(dict(recorded))
    for *way, key in unknown:
        section: Any = known
        for step in way:
            section = section[step]
        del section[key]
    settings, more = read_recorded(known)
    return settings, (*(".".join(map(str, path)) for path in unknown), *more)
