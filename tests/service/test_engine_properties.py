"""What must hold for every story, on generated ones."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from correlation.rule import RuleInstance
from foreshock.core.contracts import RecordKind, Verb
from foreshock.core.learned import CoOccurrence, Side, Standing
from foreshock.core.model import CI, Direction, ForecastState, JudgementKind, SituationState
from foreshock.service.engine import Engine
from foreshock.service.records import TopologyRecord
from foreshock.testing.records import (
    UNTIL_FORGOTTEN_S,
    Story,
    census,
    check_bounds,
    check_brake,
    check_counted,
    check_equal,
    check_forecasts,
    check_forgotten,
    check_identity,
    check_nothing_is_due,
    check_only_creation_is_held,
    check_problems,
    check_resolutions,
    check_structure,
    check_tickets,
    check_umbrellas,
    check_words_kept,
    replay,
    shipped_rules,
    with_whole_topologies,
)

CIS = ("shop", "api", "db1", "web", "mail", "stray")
CHAIN = ("shop depends_on api", "api runs_on db1", "web depends_on db1", "mail depends_on disk")
OTHER_CHAIN = ("shop depends_on web", "web runs_on disk", "mail depends_on disk", "api connects_to mail")
SETTINGS: tuple[dict[str, Any], ...] = (
    {},
    {"group": {"max_alerts": 3, "join": "1m", "quiet": "30s", "reopen": "10m"}, "ticket": {"update_every": "5m"}},
    {
        "relate": {"costs": {"runs_on": 1.5}},
        "group": {"reopen": "45m", "merge": 0.3},
        "fold": {"flap_changes": 2, "flap_hold": "90s"},
    },
    {"group": {"threshold": 0.1}},
    {"group": {"wave": {"alerts": 2, "within": "5s", "rise": 1, "after": "20s"}, "quiet": "4m"}},
    {"group": {"threshold": 1.0}, "umbrella": {"situations": 2, "share": 0.1, "within": "5m", "grace": "90s"}},
    {
        "group": {"threshold": 0.9, "max_alerts": 2, "merge": 0.1},
        "umbrella": {"situations": 3, "share": 0.2, "within": "2m"},
        "ticket": {"delay": "0s"},
    },
    {
        "calendars": [
            {"name": "short", "hours": ["mon-sun 12:01-12:03", "mon-sun 12:06-12:20", "mon-sun 13:00-23:59"]},
            {"name": "early", "hours": ["mon-sun 11:00-12:04", "mon-sun 12:30-13:30"]},
        ],
        "priority": {
            "service_hours": {"default": "short", "services": {"mail": "early"}, "critical_always": False},
            "trend": {"alerts": 2, "within": "40s", "falling": 0.5},
            "several_services": 2,
        },
        "sla": {
            "targets": [
                {"priority": 1, "acknowledge": "1m", "resolve": "5m", "calendar": "early"},
                {"priority": 2, "acknowledge": "2m", "resolve": "10m", "calendar": "short"},
                {"priority": 3, "resolve": "7m"},
                {"priority": 4, "acknowledge": "90s", "resolve": "11m", "calendar": "short"},
            ]
        },
        "ticket": {"delay": "5s", "delay_by_priority": {}},
    },
    {"fold": {"identity": [{"without": ["severity", "pod"]}]}},
    {"fold": {"identity": [{"by": ["host"]}], "sources": [{"late_is_clock": True}], "expire_after": "1m"}},
    {"fold": {"identity": [{"source": "eu", "match": ["alertname=Down"], "without": ["host"]}, {"by": ["alertname"]}]}},
)
BRAKING: tuple[dict[str, Any], ...] = (
    {"group": {"threshold": 1.0}, "ticket": {"max_new_per_minute": 1, "delay": "5s"}, "umbrella": {"grace": "90s"}},
    {
        "group": {"threshold": 0.9, "max_alerts": 2, "reopen": "10m"},
        "umbrella": {"situations": 2, "share": 0.1, "within": "2m", "grace": "30s"},
        "ticket": {"max_new_per_minute": 2, "delay": "0s", "deleted": "replace"},
    },
    {
        "group": {"threshold": 1.0, "quiet": "30s"},
        "fold": {"identity": [{"without": ["severity", "pod"]}]},
        "priority": {"several": 2, "wide": 3},
        "ticket": {"max_new_per_minute": 1, "delay": "0s", "delay_by_priority": {}},
    },
)
"""More tickets become due than may be opened."""
RECURRING: tuple[dict[str, Any], ...] = tuple(
    {
        "problem": {"occurrences": 2, "within": "3h", "quiet": quiet, "remember": "5h", "min_priority": 5},
        "group": {"reopen": "1m", "quiet": "30s"},
        "ticket": {"delay": "0s", "delay_by_priority": {}},
    }
    for quiet in ("30m", "3h")
)
SUPPRESSING: tuple[dict[str, Any], ...] = (
    {
        "ticket": {"delay": "5s"},
        "suppress": {
            "upstream": {"min_severity": "warning", "within": "10m"},
            "transient": {"min_ended": 1, "min_share": 0.6, "within": "2m"},
        },
    },
    {
        "group": {"threshold": 1.0},
        "suppress": {
            "inhibit": [
                {"name": "db", "source_matchers": ['host="db1"'], "target_matchers": ['alertname="Slow"']},
                {
                    "name": "worse",
                    "source_matchers": ['severity="critical"'],
                    "target_matchers": ['severity="warning"'],
                    "equal": ["alertname"],
                },
            ],
            "upstream": {"relationships": ["depends_on", "runs_on"], "min_severity": "minor", "max_cost": 1},
            "thresholds": [{"name": "few", "matchers": ['alertname="Down"'], "alerts": 2, "within": "2m"}],
        },
    },
)
RULES: tuple[tuple[RuleInstance, ...] | None, ...] = (
    None,
    None,
    (
        *shipped_rules(text={"strength": 1.0, "min_words": 1, "window": "20m"}),
        RuleInstance(name="pods", kind="attribute", config={"equal": ["pod"], "strength": 0.7}),
    ),
    (
        *shipped_rules(),
        RuleInstance(
            name="worse-first",
            kind="attribute",
            config={
                "equal": ["alertname"],
                "when": 'a.severity == "warning" && b.severity == "critical" && b.annotations.summary == "a"',
                "window": "30m",
            },
        ),
    ),
)
WORDS = ("critical", "warning", "odd")

Move = Callable[[Story], Any]


def pick(*options: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(options)


@st.composite
def firing(draw: Any) -> Move:
    cis = draw(st.lists(pick(*CIS), min_size=1, max_size=3))
    started, holds = draw(pick(None, 0, -40, -700, 20)), draw(pick(None, 30, 65, 240, 3600))
    name, severity, summary = draw(pick("Down", "Slow")), draw(pick(*WORDS[:2])), draw(pick("a", "b"))
    collector, source = draw(pick(("alertmanager", ""), ("alertmanager", "eu"), ("alertmanager_webhook", "")))
    pod = draw(pick("", "", "p1", "p2")) if collector == "alertmanager" else ""

    def move(story: Story) -> None:
        at = (story.now - story.start).total_seconds()
        begun = None if started is None else at + started if started else 0.0
        story.fire(
            *cis, name=name, severity=severity, summary=summary, started_s=begun, holds_s=holds,
            labels={"pod": pod}, collector=collector, source=source,
        )  # fmt: skip

    return move


@st.composite
def resolving(draw: Any) -> Move:
    cis = draw(st.lists(pick(*CIS), min_size=1, max_size=3))
    name, severity, ended = draw(pick("Down", "Slow")), draw(pick(*WORDS[:2])), draw(pick(0, 0, -20, -400))
    source, pod = draw(pick("", "", "eu")), draw(pick("", "", "p1"))
    return lambda story: story.resolve(
        *cis, name=name, severity=severity, ended_s=(story.now - story.start).total_seconds() + ended,
        labels={"pod": pod}, source=source,
    )  # fmt: skip


@st.composite
def changing(draw: Any) -> Move:
    """Somebody changes something, now or a while ago."""
    id, ci, ago_s = draw(pick("C1", "C2")), draw(pick(*CIS)), draw(pick(0, 30, 900))

    def move(story: Story) -> None:
        story.change(id, ci, at_s=(story.now - story.start).total_seconds() - ago_s)

    return move


@st.composite
def own_event(draw: Any) -> Move:
    """Events in our own format: another namespace, a severity that changes, times in another zone."""
    event = {
        "labels": dict(draw(st.permutations([("host", draw(pick(*CIS))), ("alertname", "Hot")]))),
        "severity": draw(pick(*WORDS)),
        "status": draw(pick("firing", "firing", "resolved")),
        "starts_at": draw(pick("2026-03-02T13:59:00+02:00", "2026-03-02T12:00:30Z", "2031-01-01T00:00:00Z")),
    }

    def move(story: Story) -> None:
        story.sent += 1
        story.body(msgspec.json.encode([event]), collector="events")

    return move


@st.composite
def bad_batch(draw: Any) -> Move:
    item = draw(
        pick(
            {"labels": {}},
            {"labels": {"a": 1}},
            {"labels": {"host": "db1"}, "annotations": {"a": None}},
            7,
            {"labels": {"": "x"}},
        )
    )
    return lambda story: story.post({"labels": {"alertname": "Good", "host": "db1"}}, item)


@st.composite
def silencing(draw: Any) -> Move:
    name, expire = draw(pick("q1", "q2")), draw(st.booleans())
    matcher, for_s, starts = (
        draw(pick('host=~".*"', 'host="db1"', 'alertname!="Down"')),
        draw(pick(60, 600, 4000)),
        draw(pick(0, 200)),
    )
    if expire:
        return lambda story: story.expire_silence(name)
    return lambda story: story.silence(
        name, matcher, for_s=for_s, starts_s=(story.now - story.start).total_seconds() + starts
    )


@st.composite
def planning(draw: Any) -> Move:
    name, end = draw(pick("w1", "w2")), draw(pick("", "", "all", "running"))
    cis, services = draw(pick((), ("db1",), ("disk", "api"))), draw(pick((), ("shop",)))
    matchers = draw(pick((), ('alertname="Down"',))) if cis or services else ('alertname="Down"',)
    spans = draw(pick([(0, 60)], [(30, 400)], [(-100, 30), (61, 200), (600, 2000)]))
    if end:
        return lambda story: story.end_window(name, only_running=end == "running")

    def move(story: Story) -> None:
        now = (story.now - story.start).total_seconds()
        spans_s = [(now + start, now + end) for start, end in spans]
        story.window(name, *cis, services=services, matchers=matchers, spans_s=spans_s)

    return move


@st.composite
def ticketing(draw: Any) -> Move:
    situation, sink = draw(pick("S-1", "S-2", "S-3")), draw(pick("desk", "desk", "other"))
    state, outcome = (
        draw(pick("taken", "commented", "pending", "resumed", "resolved", "reopened", "closed", "")),
        draw(pick("confirmed", "rejected")),
    )
    if state:
        return lambda story: story.person(state, situation, sink=sink)
    return lambda story: story.sink_says(outcome, situation, sink=sink, sequence=len(story.records))


@st.composite
def recurring(draw: Any) -> Move:
    """What comes back again and again, each time with a ticket that is confirmed, and with an end."""
    ci, times, pause_s = draw(pick("db1", "stray")), draw(st.integers(1, 4)), draw(pick(0, 600, 5000))
    sink, closed = draw(pick("desk", "desk", "other")), draw(pick("", "", "resolved", "closed"))
    code, problem = draw(pick("", "False alarm", "Fixed")), draw(pick("", "", "confirmed", "rejected"))

    def move(story: Story) -> None:
        for _ in range(times):
            story.fire(ci).after(61).tick()
            newest = list(story.engine.situations)[-1]
            story.sink_says("confirmed", newest, sink=sink, sequence=len(story.records), number=f"INC{newest[2:]}")
            if problem:
                story.sink_says(problem, "P-1", sink=sink, sequence=len(story.records), number="PRB1")
            if closed:
                story.person(closed, newest, sink=sink, code=code, comment="restarted it")
            story.after(5).resolve(ci).after(181 + pause_s).tick()

    return move


@st.composite
def measuring(draw: Any) -> Move:
    """A metric leaves its usual band, on a CI of the chain or on what it stands on."""
    ci, metric, score = draw(pick(*CIS, "disk")), draw(pick("latency", "errors")), draw(pick(3.0, 8.0, 40.0))
    dimension, direction = draw(pick("", "p99")), draw(pick(*Direction))
    since, until = draw(pick(0, -60, -700, -2000)), draw(pick(None, None, 0, -50))

    def move(story: Story) -> None:
        at = (story.now - story.start).total_seconds()
        story.anomaly(
            ci, metric, score=score, dimension=dimension, direction=direction,
            since_s=at + since, until_s=None if until is None else at + until,
        )  # fmt: skip

    return move


@st.composite
def forecasting(draw: Any) -> Move:
    """An incident is expected, again, or is said to be no longer, or to be there; sometimes a sink refuses to hear of
    it."""
    about, signs = draw(pick(("", ()), ("", ()), ("disk", ("down",)), ("heap", ("heap",))))
    state = draw(pick(*[ForecastState.EXPECTED] * 3, ForecastState.WITHDRAWN, ForecastState.REACHED))
    ci, probability, model = draw(pick("db1", "db1", "mail", "shop")), draw(pick(0.2, 0.75, 0.95)), draw(pick("a", "b"))
    horizon_h, ago_s, outcome = draw(pick(0.02, 0.5, 2)), draw(pick(0, 0, 40, 9000)), draw(pick("", "", "rejected"))

    def move(story: Story) -> None:
        made_s = (story.now - story.start).total_seconds() - ago_s
        story.forecast(
            ci, probability, horizon_h=horizon_h, model=model, made_s=made_s, about=about, signs=signs, state=state
        )
        check_forecasts(story.told, story.engine)
        if outcome:
            story.sink_says(outcome, "P-1", sequence=len(story.records))

    return move


@st.composite
def judging(draw: Any) -> Move:
    """A person merges, splits, moves, keeps apart, names the cause: of what there is, and sometimes of what is not."""
    kind = draw(pick(*JudgementKind))
    which, alerts = draw(st.tuples(st.integers(0, 5), st.integers(0, 5))), draw(st.sets(st.integers(0, 6), max_size=3))
    cis, by = draw(st.permutations(CIS)), draw(pick("alerts", "situations", "cis"))

    def move(story: Story) -> None:
        engine = story.engine
        names = [s.id for s in engine.situations.values() if s.state is SituationState.OPEN] + ["S-1", "S-99"]
        one, two = (names[number % len(names)] for number in which)
        members = list(engine.situations[one].members) if one in engine.situations else ["none"]
        chosen = [members[number % len(members)] for number in sorted(alerts)]
        said: dict[str, Any] = {"situation": one, "other": two, "alerts": chosen}
        if kind is JudgementKind.CAUSE:
            said = {"situation": one, "cis": cis[:1]}
        elif kind is JudgementKind.NOT_RELATED and by == "cis":
            said = {"cis": cis[:2]}
        elif kind is JudgementKind.NOT_RELATED and by == "alerts":
            said = {"alerts": chosen}
        story.judge(kind, **{name: tuple(value) if name == "cis" else value for name, value in said.items()})

    return move


ticking: st.SearchStrategy[Move] = st.just(lambda story: story.tick())
loading: st.SearchStrategy[Move] = pick(CHAIN, OTHER_CHAIN).map(
    lambda chain: lambda story: story.topology(*chain, criticality={"shop": 1, "mail": 3})
)


@st.composite
def patching(draw: Any, bases: tuple[str | None, ...] = (None,)) -> Move:
    """Some of the topology changes; sometimes the record comes twice. bases: what it builds on; None: what is in
    force."""
    put = draw(st.lists(pick(*CHAIN, *OTHER_CHAIN, "stray uses db1"), max_size=3))
    gone = draw(st.lists(pick(*CHAIN, *OTHER_CHAIN), max_size=3))
    gone_cis = draw(st.lists(pick(*CIS), max_size=2, unique=True))
    criticality, alias = draw(pick(None, 0, 1, 3)), draw(pick("", "", "stray", "web"))
    base, again = draw(pick(*bases)), draw(st.booleans())

    def move(story: Story) -> None:
        aliases = (alias,) if alias else ()
        cis = () if criticality is None else (CI(id="shop", criticality=criticality, aliases=aliases),)
        story.delta(*put, gone=gone, cis=cis, gone_cis=gone_cis, base=base)
        if again:
            last = msgspec.json.decode(story.records[-1].body, type=TopologyRecord)
            story.delta("db1 runs_on nowhere", base=last.base, version=last.version)

    return move


def tune(
    story: Story, settings: dict[str, Any], sinks: tuple[str, ...], rules: tuple[RuleInstance, ...] | None
) -> None:
    before = census(story.tick().engine)
    story.settings(settings, sinks=sinks, rules=rules)
    assert census(story.engine) == before, "other identity rules lose or double something"


PAIRS = tuple(
    CoOccurrence(
        a=a,
        b=b,
        together=9,
        times=10,
        expected=0.1,
        strength=strength,
        window_s=60,
        lag_s=(-5, 0, 30),
        standing=standing,
    )
    for a, b, strength, standing in (
        (Side(name="Down", ci="mail"), Side(name="Slow", ci="web"), 0.9, None),
        (Side(ci="stray"), Side(ci="api"), 0.6, None),
        (Side(name="Down", kind="generic"), Side(name="Slow", kind="generic"), 0.8, Standing.NEEDED),
        (Side(name="Slow"), Side(name="Slow"), 0.7, Standing.UNKNOWN),
    )
)
learning: st.SearchStrategy[Move] = st.integers(0, len(PAIRS)).map(lambda n: lambda story: story.learned(*PAIRS[:n]))
tuning: st.SearchStrategy[Move] = st.tuples(
    pick(*SETTINGS, *SUPPRESSING, *BRAKING), pick(("desk",), ("desk", "other")), pick(*RULES)
).map(lambda chosen: lambda story: tune(story, *chosen))
MOVES = st.one_of(
    firing(),
    firing(),
    firing(),
    resolving(),
    resolving(),
    own_event(),
    bad_batch(),
    silencing(),
    measuring(),
    measuring(),
    forecasting(),
    changing(),
    planning(),
    ticketing(),
    recurring(),
    judging(),
    judging(),
    ticking,
    loading,
    patching(),
    patching(),
    learning,
    tuning,
)
PAUSES = pick(0, 0, 0.25, 1, 4, 5, 17, 30, 61, 119, 120, 121, 240, 301, 700, 1800, 3601)


@st.composite
def stories(
    draw: Any, settings: Any = (*SETTINGS, *SUPPRESSING, *BRAKING), moves: st.SearchStrategy[Move] = MOVES
) -> Story:
    story = Story(
        *CHAIN,
        criticality={"shop": 1, "mail": 3},
        settings=draw(pick(*settings)),
        rules=draw(pick(*RULES)),
    )
    for pause, move in draw(st.lists(st.tuples(PAUSES, moves), min_size=1, max_size=14)):
        move(story.after(pause))
    return story


modest = settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@modest
@given(stories(), st.integers(2, 7), st.data())
def test_the_same_records_give_the_same_situations_however_they_are_read(story: Story, step_records: int, data: Any):
    records = story.after(4000).tick().records
    span_s = int((records[-1].at - story.start).total_seconds())
    ticks = [
        story.start + timedelta(seconds=second)
        for second in data.draw(st.lists(st.integers(0, span_s), max_size=8), label="ticks")
    ]
    restarts = data.draw(st.lists(st.integers(0, len(records) - 1), max_size=4), label="restarts")

    plain = replay(records)
    ways: tuple[dict[str, Any], ...] = (
        {"step_records": step_records},
        {"ticks": ticks},
        {"restarts": restarts},
        {"ticks": ticks, "restarts": restarts},
    )
    for way in ways:
        check_equal(plain, replay(records, **way), f"when read with {way}")


drifting = stories(
    moves=st.one_of(
        firing(), firing(), resolving(), changing(), planning(), measuring(), patching(), patching(),
        patching((None, "another")), loading, judging(), ticking, tuning,
    )
)  # fmt: skip


@modest
@given(drifting, st.data())
def test_a_delta_comes_to_what_the_whole_version_comes_to(story: Story, data: Any):
    records = story.after(4000).tick().records
    restarts = data.draw(st.lists(st.integers(0, len(records) - 1), max_size=4), label="restarts")
    by_deltas = replay(records)

    check_equal(by_deltas, replay(records, restarts=restarts), f"after restarts at {restarts}")
    check_equal(by_deltas, replay(with_whole_topologies(records)), "when each version comes whole")
    check_structure(by_deltas.engine)
    check_umbrellas(by_deltas.engine)


@modest
@given(stories())
def test_a_situation_has_one_open_ticket_at_most_and_none_of_ours_once_it_is_over(story: Story):
    story.after(200).tick().after(4000).tick()

    check_tickets(story.told.orders, story.touched)
    check_resolutions(story.engine)


recurrences = stories(RECURRING, st.one_of(recurring(), recurring(), ticketing(), firing(), judging(), changing()))


@modest
@given(recurrences, st.data())
def test_a_problem_has_one_record_in_a_sink_and_is_told_of_each_incident_once(story: Story, data: Any):
    check_problems(story.told, story.engine)
    records = story.after(4 * 3600).tick().records
    check_problems(story.told, story.engine)
    restarts = data.draw(st.lists(st.integers(0, len(records) - 1), max_size=4), label="restarts")
    ticks = [story.start + timedelta(seconds=n) for n in data.draw(st.lists(st.integers(0, 9000), max_size=6))]

    check_equal(replay(records), replay(records, restarts=restarts, ticks=ticks), f"after restarts at {restarts}")


FORESEEN: tuple[dict[str, Any], ...] = (
    {"problem": {"forecast": {"max_open": 1, "update_every": "1m"}}},
    {"problem": {"forecast": {"longest": "20m", "pause": "5m", "update_every": "0s"}}},
    *RECURRING,
)
foreseen = stories(
    FORESEEN, st.one_of(forecasting(), forecasting(), recurring(), firing(), resolving(), judging(), loading)
)


@modest
@given(foreseen, st.data())
def test_a_ci_has_one_proactive_problem_at_most_that_comes_true_or_expires_once(story: Story, data: Any):
    check_forecasts(story.told, story.engine)
    check_problems(story.told, story.engine)
    records = story.after(4 * 3600).tick().records
    check_forecasts(story.told, story.engine)
    restarts = data.draw(st.lists(st.integers(0, len(records) - 1), max_size=4), label="restarts")
    ticks = [story.start + timedelta(seconds=n) for n in data.draw(st.lists(st.integers(0, 9000), max_size=6))]

    check_equal(replay(records), replay(records, restarts=restarts, ticks=ticks), f"after restarts at {restarts}")


@modest
@given(foreseen)
def test_a_forecast_opens_and_changes_no_incident(story: Story):
    records = story.after(4000).tick().records
    blind = replay([record for record in records if record.kind is not RecordKind.FORECASTS])

    def orders(told: Any) -> list[Any]:
        return [(order.situation, order.sink, order.verb, order.at, order.fields["priority"]) for order in told.orders]

    assert orders(story.told) == orders(blind.told)


@st.composite
def storming(draw: Any) -> Move:
    """More at once than tickets may be opened; then something happens to the one that is for the rest."""
    first, number, every_s = draw(pick(0, 0, 4)), draw(st.integers(2, 7)), draw(pick(0, 1, 20))
    severities, holds_s = draw(st.lists(pick(*WORDS[:2]), min_size=7, max_size=7)), draw(pick(120, 3600, 3600))
    what = draw(pick("", "", "rejected", "confirmed", "closed", "taken", "deleted", "over"))
    worse, pause_s = draw(pick("", "", "x4", "x5")), draw(pick(0, 20, 95))

    def move(story: Story) -> None:
        for each in range(number):
            story.fire(f"x{first + each}", severity=severities[each], holds_s=holds_s).after(every_s)
        story.after(pause_s).tick()
        holder = story.engine.brake.holder or "S-1"
        if what in ("rejected", "confirmed"):
            number_of = "" if what == "rejected" else "INC7"
            story.sink_says(what, holder, sequence=len(story.records), number=number_of)
        elif what == "over":
            story.resolve(*(alert.ci for alert in story.engine.alerts.values() if alert.situation == holder))
        elif what:
            story.person(what, holder)
        if worse:
            story.fire(worse, name="Worse", severity="critical").fire(*CIS[:3], name="Worse", severity="critical")

    return move


brakings = stories(
    BRAKING,
    st.one_of(storming(), storming(), storming(), firing(), resolving(), ticketing(), judging(), ticking),
)


@modest
@given(brakings)
def test_what_stands_back_in_a_storm_has_a_ticket_that_stands_for_it(story: Story):
    check_brake(story)
    check_brake(story.after(61).tick())
    check_nothing_is_due(story.engine)
    check_umbrellas(story.engine)
    check_tickets(story.told.orders, story.touched)
    check_equal(
        replay(story.records), replay(story.records, restarts=range(len(story.records))), "when saved after each record"
    )


@modest
@given(stories())
def test_each_event_is_counted_as_one_thing_and_bounds_hold(story: Story):
    check_counted(story.engine, story.sent)
    check_bounds(story.engine, story.in_force)
    check_identity(story.engine)
    check_structure(story.engine)
    check_umbrellas(story.engine)
    assert len(story.told.dead_letters) == story.engine.counts["malformed"]


@modest
@given(stories())
def test_what_a_person_said_to_be_apart_stays_apart(story: Story):
    check_words_kept(story.engine)


@modest
@given(stories())
def test_all_that_a_person_says_is_kept_and_audited_once(story: Story):
    said = [record.number for record in story.records if b'"judge":{' in record.body]

    assert [row.record for row in story.told.audit if row.kind == "feedback" and row.actor == "mira"] == said
    assert len(story.told.judgements) == len(said)
    assert all(judgement.outcome for judgement in story.told.judgements)


@modest
@given(stories())
def test_suppression_holds_back_no_resolution(story: Story):
    check_only_creation_is_held(story.after(4000).tick().records)


@modest
@given(stories())
def test_what_is_held_is_let_go_at_once_and_says_why(story: Story):
    check_nothing_is_due(story.engine)
    check_nothing_is_due(story.after(59).tick().engine)


@modest
@given(stories())
def test_anomalies_alone_decide_nothing(story: Story):
    """Read without its anomalies, the same story opens, joins, resolves and prioritises the same."""
    records = story.after(4000).tick().records
    blind = replay([record for record in records if record.kind is not RecordKind.ANOMALIES])

    def shape(engine: Engine, told: Any) -> tuple[Any, ...]:
        opened = {order.situation: order.at for order in told.orders if order.verb is Verb.OPEN}
        return opened, {s.id: (list(s.members), s.state, s.priority, s.resolved_at) for s in engine.situations.values()}

    assert shape(story.engine, story.told) == shape(blind.engine, blind.told)


@modest
@given(stories())
def test_priority_only_rises_while_a_situation_is_open(story: Story):
    """But for one whose evidence has gone to another situation."""
    best: dict[str, int] = {}
    split = {row.subject for row in story.told.audit if "priority fell" in row.detail}
    for order in story.told.orders:
        if order.situation in split:
            continue
        assert order.fields["priority"] <= best.get(order.situation, 5)
        best[order.situation] = order.fields["priority"]


@modest
@given(stories())
def test_in_the_end_nothing_is_left_in_memory(story: Story):
    story.after(60)  # longer than a clock is ahead: a resolve that is dated before the last firing would end nothing
    for ci in CIS:  # nobody sends these any more: say that they are over
        for name in ("Down", "Slow"):
            story.resolve(ci, name=name, severity="critical").resolve(ci, name=name, severity="warning")
    story.after(UNTIL_FORGOTTEN_S).tick()

    check_forgotten(story.engine)


@modest
@given(stories())
def test_all_that_was_saved_can_be_had_again(story: Story):
    """Whoever saves the state asks for it in parts, so that what was written long ago need not be kept."""
    engine = story.engine
    said = {(kind, key): body for kind, key, body in engine.checkpoint()}
    engine.saved()

    engine.save_again(said)

    assert {(kind, key): body for kind, key, body in engine.checkpoint()} == said
    assert engine.unsaved >= len(said) - 1  # the counters are in each checkpoint
