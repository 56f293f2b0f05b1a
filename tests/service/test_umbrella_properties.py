"""What must hold of umbrellas for every story of a site where much goes wrong, on generated ones."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

from hypothesis import HealthCheck, event, given, settings
from hypothesis import strategies as st

from foreshock.core.model import HeldKind, JudgementKind, SituationState
from foreshock.testing.records import (
    UNTIL_FORGOTTEN_S,
    Story,
    check_bounds,
    check_equal,
    check_forgotten,
    check_nothing_is_due,
    check_resolutions,
    check_structure,
    check_tickets,
    check_umbrellas,
    replay,
)

HOSTS = tuple(f"h{number}" for number in range(6))
SITE = (
    *(f"{host} runs_on {rack}" for host, rack in zip(HOSTS, ("r1", "r1", "r1", "r2", "r2", "r2"), strict=True)),
    "r1 depends_on site",
    "r2 depends_on site",
    "site depends_on provider",
    "h0 depends_on disk",
    "h3 depends_on disk",
)
OTHER_SITE = (*SITE[1:], "h0 runs_on r2")
APART = {"threshold": 1.0}
SETTINGS: tuple[dict[str, Any], ...] = (
    {"group": APART, "umbrella": {"situations": 2, "share": 0.2, "within": "3m", "grace": "1m"}},
    {"group": APART, "umbrella": {"situations": 3, "share": 0.5, "many": 4}, "ticket": {"delay": "0s"}},
    {"group": {**APART, "quiet": "0s", "reopen": "4m"}, "umbrella": {"situations": 2, "share": 0.1, "within": "1m"}},
    {"group": {"threshold": 0.6, "max_alerts": 2, "merge": 0.1}, "umbrella": {"situations": 2, "share": 0.3}},
    {"group": APART, "umbrella": {"situations": 0}},
)

Move = Callable[[Story], Any]


def pick(*options: Any) -> st.SearchStrategy[Any]:
    return st.sampled_from(options)


@st.composite
def firing(draw: Any) -> Move:
    cis = draw(st.lists(pick(*HOSTS, *HOSTS, "r1", "r2", "site"), min_size=1, max_size=5, unique=True))
    name, severity, holds = draw(pick("Down", "Slow")), draw(pick("critical", "warning")), draw(pick(40, 200, 3600))
    return lambda story: story.fire(*cis, name=name, severity=severity, holds_s=holds)


@st.composite
def resolving(draw: Any) -> Move:
    cis = draw(st.lists(pick(*HOSTS, "r1", "site"), min_size=1, max_size=6, unique=True))
    name, severity = draw(pick("Down", "Slow")), draw(pick("critical", "warning"))
    return lambda story: story.resolve(*cis, name=name, severity=severity)


@st.composite
def ticketing(draw: Any) -> Move:
    """A person, or the sink, says something of a ticket: mostly of one that stands for many."""
    which, sink = draw(st.integers(0, 3)), draw(pick("desk", "desk", "other"))
    state, number = draw(pick("closed", "resolved", "reopened", "confirmed", "rejected")), draw(pick("", "INC7"))

    def move(story: Story) -> None:
        holders = [each.id for each in story.engine.situations.values() if each.umbrella is not None]
        named = (*holders[:2], "S-1", "S-2", "S-3", "S-4")[which]
        if state in ("confirmed", "rejected"):
            story.sink_says(state, named, sink=sink, sequence=len(story.records), number=number)
        else:
            story.person(state, named, sink=sink)

    return move


@st.composite
def judging(draw: Any) -> Move:
    kind = draw(pick(JudgementKind.MERGE, JudgementKind.SPLIT, JudgementKind.NOT_RELATED, JudgementKind.MOVE))
    which = draw(st.tuples(st.integers(0, 5), st.integers(0, 5)))

    def move(story: Story) -> None:
        engine = story.engine
        names = [s.id for s in engine.situations.values() if s.state is SituationState.OPEN] + ["S-1"]
        one, two = (names[number % len(names)] for number in which)
        members = tuple(engine.situations[one].members)[:1] if one in engine.situations else ()
        parting = kind in (JudgementKind.SPLIT, JudgementKind.MOVE)
        story.judge(kind, situation=one, other=two, alerts=members if parting else ())

    return move


@st.composite
def tuning(draw: Any) -> Move:
    chosen, sinks = draw(pick(*SETTINGS)), draw(pick(("desk",), ("desk", "other")))
    return lambda story: story.settings(chosen, sinks=sinks)


loading: st.SearchStrategy[Move] = pick(SITE, OTHER_SITE).map(lambda ties: lambda story: story.topology(*ties))
patching: st.SearchStrategy[Move] = st.tuples(
    st.lists(pick(*SITE, *OTHER_SITE), max_size=3), st.lists(pick(*SITE, *OTHER_SITE), max_size=3)
).map(lambda ties: lambda story: story.delta(*ties[0], gone=ties[1]))
silencing: st.SearchStrategy[Move] = pick('host="site"', 'host=~"h.*"').map(
    lambda matcher: lambda story: story.silence("q", matcher, for_s=100)
)
ticking: st.SearchStrategy[Move] = st.just(lambda story: story.tick())
MOVES = st.one_of(
    firing(), firing(), firing(), firing(), resolving(), resolving(), ticketing(), ticketing(), judging(), tuning(),
    loading, patching, patching, silencing, ticking,
)  # fmt: skip
PAUSES = pick(0, 0, 1, 5, 5, 29, 31, 61, 120, 121, 180, 301, 1000)


@st.composite
def stories(draw: Any) -> Story:
    story = Story(*SITE, settings=draw(pick(*SETTINGS[:-1])), sinks=draw(pick(("desk",), ("desk", "other"))))
    story.fire(*draw(st.permutations(HOSTS))[: draw(st.integers(0, 6))])
    for pause, move in draw(st.lists(st.tuples(PAUSES, MOVES), min_size=2, max_size=14)):
        move(story.after(pause))
        check_umbrellas(story.engine)
    event(f"umbrellas: {min(2, story.engine.counts['umbrellas'])}")
    event(f"merged while there is one: {bool(story.engine.counts['umbrellas'] and story.engine.counts['merged'])}")
    return story


modest = settings(max_examples=120, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


@modest
@given(stories(), st.integers(2, 7), st.data())
def test_who_is_under_whose_umbrella_is_the_same_however_the_records_are_read(story: Story, step: int, data: Any):
    records = story.after(2000).tick().records
    span_s = int((records[-1].at - story.start).total_seconds())
    ticks = [
        story.start + timedelta(seconds=second)
        for second in data.draw(st.lists(st.integers(0, span_s), max_size=8), label="ticks")
    ]
    restarts = data.draw(st.lists(st.integers(0, len(records) - 1), max_size=4), label="restarts")

    plain = replay(records)
    ways: tuple[dict[str, Any], ...] = ({"step_records": step}, {"ticks": ticks, "restarts": restarts})
    for way in ways:
        check_equal(plain, replay(records, **way), f"when read with {way}")


@modest
@given(stories())
def test_an_umbrella_holds_back_no_resolution_and_nothing_that_is_due(story: Story):
    check_nothing_is_due(story.engine)
    check_structure(story.engine)
    check_bounds(story.engine, story.in_force)
    check_nothing_is_due(story.after(61).tick().engine)
    story.after(4000).tick().after(4000).tick()

    check_tickets(story.told.orders, story.touched)
    check_resolutions(story.engine)


@modest
@given(stories())
def test_a_situation_is_held_only_while_its_parent_has_the_ticket_or_a_person_just_closed_that(story: Story):
    grace = story.engine.settings.umbrella.grace
    for situation in story.engine.situations.values():
        for held in situation.held:
            if held.kind is HeldKind.UMBRELLA:
                parent = story.engine.situations[situation.parent]
                assert held.id == parent.id
                assert any(
                    ticket.open or (ticket.closed_at is not None and story.now < ticket.closed_at + grace)
                    for ticket in parent.tickets.values()
                )


@modest
@given(stories())
def test_nothing_of_an_umbrella_stays_once_all_is_over(story: Story):
    for name in ("Down", "Slow"):
        for severity in ("critical", "warning"):
            story.after(0).resolve(*HOSTS, "r1", "r2", "site", name=name, severity=severity)
    story.after(8000).tick().after(UNTIL_FORGOTTEN_S).tick()

    check_forgotten(story.engine)
