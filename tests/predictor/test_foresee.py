"""Incidents of CIs, foreseen from what happened there."""

import math

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from foreshock.core.errors import Malformed, Rejected
from foreshock.core.learned import Facts, Happening, Incident
from predictor.foresee import Ahead, Fitted, Question, compared, drifted, fit
from predictor.reality import Seen, history
from predictor.words import said

HOUR_S, DAY_S = 3600.0, 86_400.0
DAYS = 24
CIS = {f"n{number:02}": Facts(kind="db" if number % 2 else "host") for number in range(12)}
QUESTION = Question(horizon_s=DAY_S, false_alarms=0.1)


def world(seed: int = 0, days: int = DAYS) -> Seen:
    """Errors of disks come in the hours before an incident; what is slow means nothing."""
    chance = np.random.default_rng(seed)
    happenings, incidents = [], []
    for ci in CIS:
        slow = chance.uniform(0, days * DAY_S, chance.poisson(days * 0.3)).tolist()
        happenings += [Happening(ci, at, at + 600, "Slow", 2) for at in slow]
        for at in chance.uniform(0, days * DAY_S, chance.poisson(days * 0.15)):
            signs = (float(at - before) for before in chance.uniform(600, 10 * HOUR_S, 3))
            happenings += [Happening(ci, sign, sign + 300, "DiskErrors", 3) for sign in signs]
            incidents.append(Incident(ci=ci, onset=float(at), until=float(at) + HOUR_S, situation="S", priority=2))
    return Seen(since=0.0, until=days * DAY_S, cis=CIS, happenings=happenings, incidents=incidents)


@pytest.fixture(scope="module")
def fitted() -> Fitted:
    return fit(world(), QUESTION)


def test_what_comes_before_incidents_is_learned_and_the_simple_model_knows_less(fitted: Fitted):
    full, simple = fitted.judged["model"], fitted.judged["simple"]

    assert full["average_precision"] > 2 * full["average_precision_by_chance"]
    assert full["average_precision"] > simple["average_precision"]


def test_what_is_written_is_read_as_it_was(fitted: Fitted):
    read = Fitted.read(fitted.files())
    x = np.random.default_rng(1).random((50, len(fitted.model.names))).astype(np.float32)

    np.testing.assert_array_equal(read.model.probability(x), fitted.model.probability(x))
    assert (read.question, read.inputs, read.lead_s, read.usual) == (
        fitted.question, fitted.inputs, fitted.lead_s, fitted.usual,
    )  # fmt: skip


@pytest.mark.parametrize("name", ["model.npz", "simple.npz", "fitted.json"])
@pytest.mark.parametrize("body", [None, b"", b"{}", b"PK\x03\x04 nonsense"])
def test_what_is_no_model_is_refused(fitted: Fitted, name: str, body: bytes | None):
    files = {**fitted.files(), name: body} if body is not None else {}

    with pytest.raises(Malformed):
        Fitted.read({key: value for key, value in files.items() if value is not None})


HAPPENINGS = st.lists(
    st.builds(
        lambda ci, at, lasts, name, severity: Happening(
            ci, at * HOUR_S, None if lasts is None else (at + lasts) * HOUR_S, name, severity
        ),
        st.sampled_from(sorted(CIS)),
        st.floats(0, 70, allow_nan=False),
        st.none() | st.floats(0, 40),
        st.sampled_from(["DiskErrors", "Slow", "Odd"]),
        st.integers(0, 5),
    ),
    max_size=40,
    unique_by=lambda each: (each.ci, each.name, each.at),
)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(happenings=HAPPENINGS, pauses=st.lists(st.floats(0.5, 30), max_size=6))
def test_what_a_running_service_knows_is_exactly_what_training_would_have_seen(
    fitted: Fitted, happenings: list[Happening], pauses: list[float]
):
    ahead, now = Ahead(fitted, CIS, since=0.0), 0.0
    for pause in (*pauses, 72.0):
        now = min(72.0, now + pause)
        known = [each for each in happenings if each.at < now * HOUR_S]
        ahead.hear(
            each if each.until is not None and each.until < now * HOUR_S
            else Happening(each.ci, each.at, None, each.name, each.severity)
            for each in known
        )  # fmt: skip
        ahead.go_on(now * HOUR_S)
    seen = Seen(since=0.0, until=72 * HOUR_S, cis=CIS, happenings=happenings, incidents=())
    laid_out = history(seen, QUESTION.step_s)
    entity = np.arange(len(CIS))

    assert ahead.asked_at == 72 * HOUR_S
    np.testing.assert_array_equal(
        ahead.features(), fitted.inputs.features(laid_out, entity, laid_out.entities.asked_last)
    )


def test_what_is_told_adds_up_to_what_the_experts_say_together(fitted: Fitted):
    ahead = Ahead(fitted, CIS, since=0.0)
    ahead.hear(world(3).happenings)
    ahead.go_on(DAYS * DAY_S)
    x = ahead.features()
    for found in ahead.look(simple=False, most=len(CIS)):
        told = sum(part.points for part in found.told(QUESTION.step_s, 3))
        row = sorted(CIS).index(found.ci)
        worth = fitted.model.curve.at(np.array([told]))[0]

        assert 1 / (1 + math.exp(-worth)) == pytest.approx(found.probability, abs=1e-6)
        assert found.probability == pytest.approx(fitted.model.probability(x[row : row + 1])[0])


def test_the_likeliest_come_first_and_alarms_are_never_left_out(fitted: Fitted):
    ahead = Ahead(fitted, CIS, since=0.0)
    ahead.hear(Happening("n03", (30 + hour) * HOUR_S, (30.2 + hour) * HOUR_S, "DiskErrors", 3) for hour in range(4))
    ahead.go_on(36 * HOUR_S)
    one, two = ahead.look(simple=False, most=2)

    assert one.ci == "n03"
    assert one.probability > two.probability
    assert one.alarm == (one.probability >= fitted.model.threshold)


def test_too_few_incidents_are_counted():
    with pytest.raises(Rejected, match=r"not enough incidents yet: \d+ of 500 on \d+ of 12 CIs"):
        fit(world(), Question(horizon_s=DAY_S, false_alarms=0.1, least=500))


def test_nothing_is_learned_of_nothing():
    with pytest.raises(Rejected, match="not enough incidents yet: 0 of 20 on 0 of 12 CIs"):
        fit(Seen(since=0.0, until=DAY_S, cis=CIS, happenings=(), incidents=()), QUESTION)


def test_later_data_judge(fitted: Fitted):
    later = world(5, days=40)

    assert not compared(later, fitted, fitted, later=20 * DAY_S).better
    assert compared(later, fitted, fitted, later=39 * DAY_S).telling is False
    assert drifted(later, fitted, later=39.5 * DAY_S) == [], "too little to tell"


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("rate:any:3", 0.5, "alerts here over about 12h: 6.0 a day"),
        ("rate:name=DiskErrors:1", 0.0, "alerts with name DiskErrors here over about 4h: hardly any"),
        ("group:alone:8", 0.01, "alerts of its own on CIs of its kind over about 1d8h: 0.8 a week"),
        ("since:1", 3.0, "last alert 6h ago"),
        ("since:first", math.nan, "no first alert yet"),
        ("open", 2.0, "2 alerts are open"),
        ("age", 24.0, "known for 2d"),
        ("last_repair", math.log1p(30), "its last alert took 30m"),
        ("kind=db", 1.0, "kind is db"),
        ("kind=db", 0.0, "kind is not db"),
        ("needed_by", 3.0, "3 CIs depend on it"),
    ],
)
def test_features_are_told_in_words(name: str, value: float, words: str):
    assert said(name, value, 2 * HOUR_S) == words


def test_every_feature_has_words(fitted: Fitted):
    for name in fitted.model.names:
        for value in (0.0, 1.5, math.nan):
            assert said(name, value, 2 * HOUR_S)
