"""Captures without the names of an estate, and still with the same grouping."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from foreshock.core.contracts import ProblemReading, Record, RecordKind, TicketChange
from foreshock.core.errors import ConfigError, Malformed
from foreshock.core.learned import CoOccurrence, Side, decoded
from foreshock.core.model import (
    CI,
    Anomaly,
    Contribution,
    Ended,
    Forecast,
    Judgement,
    JudgementKind,
    MaintenanceWindow,
    Relationship,
    Silence,
    Witness,
)
from foreshock.core.topology import TopologyDelta
from foreshock.service.anonymise import Tokens, anonymised, read_choice, read_key
from foreshock.service.recorded import inputs_of
from foreshock.service.records import (
    AnomaliesRecord,
    ForecastsRecord,
    LearnedRecord,
    OperatorRecord,
    OwnAlert,
    SettingsRecord,
    Statement,
    TopologyRecord,
)
from foreshock.service.replay import Result, replay
from foreshock.service.settings import collector_kinds, rule_kinds
from foreshock.store.capture import Entry
from foreshock.testing.payloads import sample
from foreshock.testing.records import Story

NOON = datetime(2026, 11, 22, 12, tzinfo=UTC)
KEY = b"a secret of the people who export"
HOSTS = ("web-1", "web-12", "Orders db", "DB7", "db7.prod.example.com:9100", "10.20.30.40", "10.20.30.40:9100", "mail")
NAMES = ("Down", "Full", "Slow on mail", "NodeDown web-1")
CHOICE = {"host": "hash", "annotations": "words"}
"""What is asked for; all names of CIs, people, teams and tickets come on top."""
SECRETS = ("web-1", "web-12", "Orders db", "DB7", "db7", "db7.prod.example.com", "10.20.30.40", "mail", "mira", "INC1",
           "storage team", "net-3")  # fmt: skip

tokens = Tokens(KEY)


def written(entries: Sequence[Entry], choice: dict[str, str] | None = None, key: bytes = KEY) -> list[Entry]:
    return list(anonymised(lambda: iter(entries), choice or CHOICE, key, collector_kinds()))


def outcome(entries: Sequence[Entry]) -> Result:
    return replay(inputs_of(enumerate(entries), "test", collector_kinds()), collector_kinds(), rule_kinds())


def shape(result: Result) -> list[Any]:
    """What the situations are, without names."""
    ended = [msgspec.json.decode(body, type=Ended) for body in result.situations.values()]
    return [
        (one.id, one.state, one.priority, len(one.members), one.version, [held.kind for held in one.held])
        for one in (each.situation for each in ended)
    ]


def partition(result: Result) -> list[tuple[str, str]]:
    """Of each item its situation; what is in none goes by the item that was first in its group."""
    first: dict[str, str] = {}
    return [(id, group if group.startswith("S-") else first.setdefault(group, id)) for id, group in result.groups]


def bytes_of(entries: Sequence[Entry]) -> str:
    """All that is written of them, bodies in plain text."""
    texts = [msgspec.json.encode(one) for one in entries if not isinstance(one, Record)]
    for one in entries:
        texts += [one.body, one.actor.encode(), one.source.encode()] if isinstance(one, Record) else []
    return b"\n".join(texts).decode()


def names_in(text: str) -> list[str]:
    return [name for name in SECRETS if re.search(rf"(?<![^\W_]){re.escape(name)}(?![^\W_])", text, re.IGNORECASE)]


def estate(**fields: Any) -> Story:
    relations = ("web-1 depends_on db7.prod.example.com", "web-12 depends_on db7.prod.example.com",
                 "db7.prod.example.com runs_on net-3", "mail connects_to net-3")  # fmt: skip
    return Story(*relations, owners={"net-3": "storage team"}, **fields)


steps = st.lists(
    st.tuples(
        st.sampled_from(["fire", "resolve", "silence", "window", "change", "person", "judge", "anomaly"]),
        st.integers(0, 400),
        st.sampled_from(HOSTS),
        st.sampled_from(NAMES),
    ),
    min_size=2,
    max_size=25,
)


def told(found: list[tuple[str, int, str, str]], **fields: Any) -> Story:
    story = estate(**fields).person("taken")
    for number, (what, pause_s, host, name) in enumerate(found):
        story.after(pause_s)
        if what == "fire":
            story.fire(
                host, name=name, summary=f"{host} is down, see mail", labels={"job": host.lower(), "note": "see INC1"}
            )
        elif what == "resolve":
            story.resolve(host, name=name, labels={"job": host.lower(), "note": "see INC1"})
        elif what == "silence":
            story.silence(f"s{number}", 'host=~"web.*|DB7"' if pause_s % 2 else f'host="{host}"', for_s=900)
        elif what == "window":
            story.window(f"w{number}", host, spans_s=[(pause_s, pause_s + 900.0)], title=f"work on {host}")
        elif what == "change":
            story.change(f"c{number}", host, title=f"deploy to {host}")
        elif what == "person":
            story.person("taken", f"S-{1 + number % 3}")
        elif what == "anomaly":
            story.anomaly(host)
        elif story.engine.alerts:
            story.judge(JudgementKind.SPLIT, situation="S-1", alerts=[next(iter(story.engine.alerts))], comment=host)
    return story.after(3600).tick()


@given(steps)
@settings(max_examples=60)
def test_a_replay_makes_the_same_situations_of_it(found: list[tuple[str, int, str, str]]):
    story = told(found, settings={"fold": {"identity": [{"match": ['host=~"web.*"'], "without": ["job"]}]}})
    entries = [*story.records, *story.told.judgements]
    without = written(entries)
    was, now = outcome(entries), outcome(without)

    assert partition(now) == partition(was)
    assert shape(now) == shape(was)
    assert (now.tickets, now.malformed) == (was.tickets, was.malformed)


@given(steps)
@settings(max_examples=40)
def test_no_name_is_left_in_it(found: list[tuple[str, int, str, str]]):
    story = told(found)

    assert names_in(bytes_of(written([*story.records, *story.told.judgements]))) == []


def test_settings_name_no_service_and_no_group_and_priorities_are_the_same():
    settings = {
        "calendars": [{"name": "office", "hours": ["mon-fri 14:00-18:00"]}],
        "priority": {"service_hours": {"default": "office", "services": {"mail": ""}}},
        "assignment": {"default": "mail", "rules": [{"name": "mail", "ci": "web*", "group": "mail"}]},
    }
    story = told([("fire", 1, host, "Slow") for host in HOSTS], settings=settings)
    without = written(story.records)

    assert "mail" in str(story.engine.settings)
    assert names_in(bytes_of(without)) == []
    assert shape(outcome(without)) == shape(outcome(story.records))


def test_names_are_there_before():
    story = told([("fire", 1, host, "Slow on mail") for host in HOSTS] + [("person", 1, "mail", "Down")])

    assert names_in(bytes_of(story.records)) == list(SECRETS)


def test_what_a_person_said_is_of_the_alerts_it_was_of():
    story = estate().fire("db7.prod.example.com").after(10).fire("web-1", "web-12").after(60).tick()
    story.judge(JudgementKind.SPLIT, situation="S-1", alerts=["web-12"]).after(60).tick()
    entries = [*story.records, *story.told.judgements]
    without = written(entries)
    was, now = outcome(entries), outcome(without)
    (said,) = (one for one in without if not isinstance(one, Record))

    assert shape(now) == shape(was)
    assert len(shape(now)) == 2
    assert {one.ci for one in (*said.one, *said.apart)} >= {tokens.name("web-1"), tokens.name("web-12")}
    of_situation = msgspec.json.decode(now.situations["S-2"], type=Ended)
    assert {one.fingerprint for one in said.one} == of_situation.situation.members.keys()


def test_another_key_gives_other_tokens_and_the_same_key_the_same():
    entries = estate().fire("web-1").records

    assert written(entries) == written(entries)
    assert bytes_of(written(entries)) != bytes_of(written(entries, key=b"the secret of somebody else"))


def test_the_key_is_not_in_it():
    assert KEY.decode() not in bytes_of(written(told([("fire", 1, "web-1", "Down")]).records))


def test_labels_nobody_asked_for_and_severities_stay_but_for_names_in_them():
    story = estate().fire("web-1", labels={"cluster": "blue", "path": "/mnt/web-1/data", "severity": "critical"})
    body = bytes_of(written(story.records))

    assert '"cluster":"blue"' in body
    assert '"severity":"critical"' in body
    assert f'"path":"/mnt/{tokens.name("web-1")}/data"' in body
    assert '"alertname":"Down"' in body


def test_an_expression_becomes_the_values_that_it_matched():
    story = estate().fire("web-1", "web-12", "mail").silence("s", 'host=~"web-.*"', for_s=60)
    last = written(story.records)[-1]
    assert isinstance(last, Record)
    silence = msgspec.json.decode(last.body, type=OperatorRecord).set_silence
    assert silence is not None

    (matcher,) = silence.matchers
    hosts = {tokens.name("web-1"), tokens.name("web-12")}
    assert matcher.is_regex
    assert set(matcher.value.replace("\\", "").split("|")) == hosts
    assert (silence.created_by, silence.comment) == (tokens.name("mira"), "")


def test_an_expression_that_matches_too_much_to_be_written_down_is_refused_with_its_silence():
    story = estate().silence("s", 'host=~"h.*"', for_s=60).fire(*(f"h{number}x{number}" for number in range(400)))

    with pytest.raises(ConfigError, match=r'silence s: host=~"h\.\*" matches 400 values of host.*leave host out'):
        written(story.records)


def test_a_forecast_names_its_ci_no_more_and_expects_the_same():
    story = estate().forecast("web-12", 0.9)
    body = msgspec.json.decode(written(story.records)[-1].body, type=ForecastsRecord)  # type: ignore[union-attr]

    (found,) = body.forecasts
    assert (found.ci, found.probability) == (tokens.name("web-12"), 0.9)


def test_a_delta_of_the_topology_names_nothing_any_more_and_fits_what_it_builds_on():
    story = estate().delta("web-99 runs_on db-1", gone_cis=["web-1"], gone=["web-1 depends_on db-1"])
    whole, part = (
        msgspec.json.decode(one.body, type=TopologyRecord)
        for one in written(story.records)
        if isinstance(one, Record) and one.kind is RecordKind.TOPOLOGY
    )
    delta = part.delta

    assert delta is not None
    assert part.base == whole.version
    assert delta.gone_cis == (tokens.name("web-1"),)
    assert delta.put_relationships[0].source == tokens.name("web-99")
    assert delta.gone_relationships[0].source == tokens.name("web-1")
    assert b"web-" not in msgspec.json.encode(part)


@pytest.mark.parametrize(
    ("name", "secret"),
    [
        ("github-deployment.json", "shop"),
        ("cloudevents-firing.json", "db1"),
        ("sns-firing.json", "i-0123456789abcdef0"),
        ("google_cloud-pubsub.json", "web-1"),
    ],
)
def test_names_in_what_a_payload_wraps_are_found_too(name: str, secret: str):
    kind = name.partition("-")[0]
    record = Record(number=1, at=NOON, kind=RecordKind.EVENTS, collector=kind, source=kind, body=sample(name).payload)
    named = Record(
        number=2,
        at=NOON,
        kind=RecordKind.EVENTS,
        collector="events",
        source="events",
        body=msgspec.json.encode([{"labels": {"host": secret}}]),
    )

    first, _ = written([record, named])

    assert isinstance(first, Record)
    items = collector_kinds()[kind].decode(first.body)
    said = [collector_kinds()[kind].translate(item, NOON) for item in items if not isinstance(item, Malformed)]
    assert len(said) == 1
    assert secret not in msgspec.json.encode(said).decode()


def test_what_nobody_could_read_says_nothing_any_more():
    story = estate().fire("web-1").body(b"web-1 is down")
    last = written(story.records)[-1]

    assert isinstance(last, Record)
    assert (last.kind, last.body) == (RecordKind.EVENTS, b"?")


BODIES: dict[type, str] = {
    TopologyRecord: "version cis relationships base delta",
    TopologyDelta: "put_cis gone_cis put_relationships gone_relationships",
    CI: "id kind name aliases owner criticality environment implied",
    Relationship: "source type target",
    SettingsRecord: "correlation sinks rules source problem_sinks",
    AnomaliesRecord: "anomalies",
    Anomaly: "ci metric dimension unit onset at until score direction observed expected detector course course_onset "
    "said",
    ForecastsRecord: "forecasts",
    Forecast: "ci made_at probability horizon_h lead_time_h model contributions about signs summary earliest_h "
    "latest_h state alarm",
    Contribution: "name points evidence",
    OperatorRecord: "set_silence expire_silence set_window end_window only_running judge notice remark past_ends",
    Silence: "id matchers starts_at ends_at created_by comment updated_at annotations",
    MaintenanceWindow: "id title owner comment spans cis descendants services matchers calendar schedule expanded_to "
    "origin updated_at",
    Statement: "kind situation other alerts cis comment past",
    Judgement: "id at actor kind situation other one same apart cis comment applied outcome until",
    Witness: "fingerprint name ci onset",
    TicketChange: "sink situation sequence state origin number url actor comment code problem alerts",
    ProblemReading: "ended by known_error",
    LearnedRecord: "learned pinned",
    Side: "name ci kind",
    OwnAlert: "labels summary",
    Record: "number at kind body collector source actor",
}


@pytest.mark.parametrize("body", BODIES, ids=lambda body: body.__name__)
def test_every_field_that_may_hold_a_name_has_been_thought_of(body: type):
    """A new field: see to it in ``foreshock.service.anonymise`` first, then add it here."""
    assert " ".join(field.name for field in msgspec.structs.fields(body)) == BODIES[body]


# ---- tokens ---------------------------------------------------------------------------------------------------------

names = st.text("aAZ09.-_:#[] ", max_size=12)


@given(names, names)
def test_different_names_have_different_tokens(one: str, other: str):
    assert (tokens.name(one) == tokens.name(other)) is (one == other)


@given(names, names)
@example("web-a", "WEB-a")
def test_names_that_differ_in_case_have_tokens_that_differ_in_case(one: str, other: str):
    same = one.lower() == other.lower()

    assert (tokens.name(one).lower() == tokens.name(other).lower()) is same


@given(st.text("0123456789", min_size=1, max_size=12), st.text("0123456789", min_size=1, max_size=12))
def test_numbers_stay_numbers_of_their_length_and_apart(one: str, other: str):
    token = tokens.number(one)

    assert len(token) == len(one)
    assert token.isdigit()
    assert (token == tokens.number(other)) is (one == other)


def test_a_token_keeps_what_is_read_in_a_name():
    web = tokens.name("web1")

    assert tokens.name("web1:9100") == f"{web}:9100"
    assert tokens.name("web1.example.com").partition(".")[0] == web
    assert re.sub("[0-9]+", "#", tokens.name("web1")) == re.sub("[0-9]+", "#", tokens.name("web7"))
    assert not tokens.name("10.0.0.1").replace(".", "").isdigit()


# ---- what is asked for ----------------------------------------------------------------------------------------------


def test_a_choice_names_labels_and_how():
    assert read_choice(["instance,host=hash", "annotations=words"]) == {
        "instance": "hash", "host": "hash", "annotations": "words",
    }  # fmt: skip


@pytest.mark.parametrize("text", ["host", "host=md5", "=", ""])
def test_what_is_no_choice_is_refused(text: str):
    with pytest.raises(Malformed, match="write instance,host=hash"):
        read_choice([text])


def test_a_short_key_is_refused(tmp_path: Path):
    key = tmp_path / "key"
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_key(key)
    key.write_text("short\n")
    with pytest.raises(ConfigError, match="holds 5 bytes, 16 are the least; make one with `openssl rand"):
        read_key(key)


def test_what_was_learned_of_names_is_learned_of_their_tokens():
    pair = CoOccurrence(
        a=Side(name="Down", ci="mail"), b=Side(name="Full", ci="web-12"), together=20, times=20, expected=0.1,
        strength=0.9, window_s=60.0, lag_s=(0.0, 10.0, 30.0),
    )  # fmt: skip
    story = Story("mail depends_on x", "web-12 depends_on y").learned(pair)
    story.fire("mail").after(10).fire("web-12", name="Full").after(600).tick()
    without = written(story.records)
    (learned,) = (one for one in without if isinstance(one, Record) and one.kind is RecordKind.LEARNED)

    assert names_in(bytes_of(without)) == []
    assert decoded(msgspec.json.encode(msgspec.json.decode(learned.body, type=LearnedRecord).learned)).pairs
    assert shape(outcome(without)) == shape(outcome(story.records))
    assert len(shape(outcome(without))) == 1
