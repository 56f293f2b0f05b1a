"""What the on-call person reads in the body of a ticket."""

import re
from datetime import timedelta
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from correlation.body import DESCRIPTION, Telling, compiled, example, fields
from correlation.problem import Past
from correlation.settings import TextSettings, TicketSettings
from foreshock.core.errors import Invalid
from foreshock.core.model import Change, Held, HeldKind
from foreshock.testing.records import NOON
from foreshock.testing.situations import alert, cause, situation

USUAL = TextSettings()


def described(text: TextSettings = USUAL, **told: Any) -> str:
    told.setdefault("situation", situation())
    told.setdefault("members", [alert("db1")])
    return str(fields(Telling(**told), text)["description"])


def test_a_ticket_names_the_cause_the_services_and_the_alerts():
    about = situation(causes=(cause("db1"),), services=("checkout",))
    members = [alert("db1"), alert("shop", starts_at=NOON + timedelta(seconds=4))]

    told = fields(Telling(situation=about, members=members), USUAL)

    assert told["title"] == "Down on db1, and 1 more alert"
    assert told["ci"] == "db1"
    assert told["description"].splitlines() == [
        "2 alerts on 2 CIs since 2026-03-02 12:00:00 UTC.",
        "Probable cause: db1 (score 0.75): it began first.",
        "Business services that depend on it: checkout.",
        "",
        "- 12:00:00 [major] Down on db1",
        "- 12:00:04 [major] Down on shop",
    ]


def test_a_ticket_of_one_alert_says_one():
    told = fields(Telling(situation=situation(), members=[alert("db1")]), USUAL)

    assert told["title"] == "Down on db1"
    assert told["description"].startswith("1 alert on 1 CI since")
    assert told["causes"] == []


def test_a_cause_that_is_not_likely_enough_is_a_candidate():
    about = situation(causes=(cause("db1"), cause("esx1")), cause_doubt="two are as likely")

    assert "No probable cause: two are as likely. Candidates: db1 (0.75), esx1 (0.75)." in described(situation=about)


def test_a_storm_does_not_fill_the_ticket():
    told = fields(Telling(situation=situation(), members=[alert(f"n{i}") for i in range(100)]), USUAL)

    assert told["title"] == "Down on db1, and 99 more alerts"
    assert told["description"].count("\n- ") == 21
    assert told["description"].endswith("- and 80 more, see the console")


def test_what_was_done_shortly_before_is_told():
    deploy = Change(
        id="c1", at=NOON - timedelta(minutes=9), title="Deploy 4.2", cis=("db1",), actor="ci-bot", url="https://ci/42"
    )
    patch = Change(id="c2", at=NOON - timedelta(hours=13), title="Patch", cis=("esx1",))

    assert described(changes=[("db1", deploy), ("esx1", patch)]).splitlines()[2:6] == [
        "Changes shortly before it:",
        "- 11:51:00 Deploy 4.2 on db1, by ci-bot: https://ci/42",
        "- 2026-03-01 23:00:00 Patch on esx1",
        "",
    ]


def test_maintenance_that_goes_on_and_runbooks_are_told():
    window = Held(kind=HeldKind.MAINTENANCE, id="w1", reason="in maintenance: patching of db1, until 14:00")
    member = alert("db1", annotations=b'{"runbook_url":"https://runbooks.example/db"}')

    told = described(members=[member, member], windows=[window]).splitlines()

    assert told[1:3] == [
        "Maintenance now: in maintenance: patching of db1, until 14:00.",
        "Runbook: https://runbooks.example/db",
    ]
    assert told.count("Runbook: https://runbooks.example/db") == 1


def test_how_similar_ones_ended_is_told():
    past = Past(
        situation="S-0", title="Down on db1", opened_at=NOON - timedelta(days=3), ended_at=NOON - timedelta(days=2),
        how="resolved by mira as Fixed", note="replaced the disk", label="real", ticket="INC7",
    )  # fmt: skip
    other = msgspec.structs.replace(past, situation="S-9", ticket="", how="recovered by itself", note="")

    assert described(similar=[past, other]).splitlines()[2:6] == [
        "Similar before:",
        "- 2026-02-27 12:00:00 UTC S-0 (INC7): resolved by mira as Fixed: replaced the disk",
        "- 2026-02-27 12:00:00 UTC S-9: recovered by itself",
        "",
    ]


def test_a_template_may_name_the_problem_and_what_is_known_of_it():
    text = TextSettings(description="{{ problem }}: {{ known_error }}")

    assert described(text, problem="PRB7", known_error="restart the pool") == "PRB7: restart the pool"


# ---- templates of one's own -----------------------------------------------------------------------------------------


def test_a_template_of_ones_own_is_used():
    text = TextSettings(
        title="[P{{ priority }}] {{ title }}",
        description="""\
Since {{ onset|time('Europe/Berlin') }}
{% for each in alerts if each.labels.team %}
* {{ each.title }} ({{ each.labels['team']|upper }})
{% endfor %}
""",
    )
    members = [alert("db1"), alert("web", b'{"alertname":"Slow","team":"shop"}')]

    told = fields(Telling(situation=situation(), members=members), text)

    assert told["title"] == "[P3] Down on db1, and 1 more alert"
    assert told["description"] == "Since 2026-03-02 13:00:00 CET\n* Slow on web (SHOP)"


def test_each_sink_may_have_its_own():
    settings = TicketSettings(
        text=TextSettings(title="A {{ id }}"), text_by_sink={"jira": TextSettings(title="B {{ id }}")}
    )

    assert settings.text_of("jira").title == "B {{ id }}"
    assert settings.text_of("servicenow").title == "A {{ id }}"


def test_what_a_situation_has_not_is_empty_in_a_template():
    assert described(TextSettings(description="cause: {{ cause.ci }}, umbrella: {{ umbrella.total }}")) == (
        "cause: , umbrella:"
    )


def test_a_template_that_fails_delays_no_ticket():
    text = TextSettings(description="{{ services - 1 }}")

    told = described(text)

    assert told.startswith("1 alert on 1 CI since")
    assert "(The template for this text failed here: unsupported operand" in told


def test_what_strangers_wrote_is_no_template():
    hostile = alert("db1", b'{"alertname":"{{ id }}{% for x in alerts %}"}')

    assert "{{ id }}{% for x in alerts %} on db1" in described(members=[hostile])


@given(st.text(max_size=40), st.text(max_size=40))
def test_whatever_alerts_say_a_ticket_can_be_written(name: str, summary: str):
    labels = msgspec.json.encode({"alertname": name or "x"})
    member = alert("db1", labels, annotations=msgspec.json.encode({"summary": summary}))

    assert described(members=[member]).startswith("1 alert on 1 CI since")


@pytest.mark.parametrize(
    ("source", "problem"),
    [
        ("{{ titel }}", "line 1: there is no value 'titel'"),
        ("\n{{ cause.score.real.cii }}{{ cause.cii }}", "line 2: there is no field 'cii'; known: ci, reason, score"),
        ("{% for each in alerts %}{{ each.name }}{% endfor %}", "line 1: there is no field 'name'"),
        ("{{ title|uper }}", "line 1: there is no filter 'uper'; known: capitalize"),
        ("{{ title", "line 1: unexpected end of template"),
    ],
)
def test_a_mistake_in_a_template_is_found_when_the_settings_are_read(source: str, problem: str):
    with pytest.raises(ValidationError, match=re.escape(problem)):
        TextSettings(description=source)
    with pytest.raises(Invalid) as error:
        compiled(source)
    assert str(error.value).startswith(problem)


def test_every_value_is_described_by_its_example():
    empty = {name for name, value in example().items() if not value}

    assert empty <= {"evidence", "doubt", "group", "part_of"}
    assert compiled(DESCRIPTION).names <= set(example())
