"""How well situations fit what is known to belong together, while history is replayed."""

import csv
import importlib.util
from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from types import ModuleType

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from correlation.settings import CorrelationSettings
from foreshock.core.model import Alert, Label, Witness
from foreshock.service.plan.compare import Plan
from foreshock.service.plan.run import plan, survey
from foreshock.service.recorded import Input
from foreshock.service.replay import Version, replay, write
from foreshock.service.scoring import Fit
from foreshock.service.settings import collector_kinds, rule_kinds
from foreshock.service.tickets import Ticket
from foreshock.service.truth import Truth, count_pairs, read_truth
from foreshock.testing.records import NOON, Story, seconds

SCORER = Path(__file__).parents[3] / "shared" / "eval" / "grouping.py"
SHOP = ("shop depends_on api", "api depends_on db1")


def story() -> Story:
    """Two CIs of one problem, and later a third that has nothing to do with it."""
    return Story(*SHOP, "mail depends_on disk").fire("db1").at(20).fire("api").at(4000).fire("mail").after(600).tick()


def planned(history: Story, truth: Truth, *, since_s: float | None = None, threshold: float = 0.9) -> Plan:
    inputs = [Input(record=record, ids=(f"{record.number}.0",)) for record in history.records]
    known = survey(inputs).present
    strict = Version(
        settings=CorrelationSettings.model_validate({"group": {"threshold": threshold}}), rules=known.rules
    )
    since = None if since_s is None else history.start + seconds(since_s)
    return plan(inputs, collector_kinds(), rule_kinds(), before=known, after=strict, since=since, truth=truth)


def fits(found: Plan) -> tuple[Fit, Fit]:
    assert found.before.fit is not None
    assert found.after.fit is not None
    return found.before.fit, found.after.fit


def test_items_are_known_by_the_ids_that_a_replay_gives_them():
    one, other = fits(planned(story(), Truth(incidents={"3.0": "I1", "4.0": "I1", "5.0": ""})))

    assert (one.items, one.precision, one.recall, one.f1) == (3, 1, 1, 1)
    assert (other.precision, other.recall, other.f1) == (1, 0, 0)


def test_noise_that_joins_costs_precision():
    one, other = fits(planned(story(), Truth(incidents={"3.0": "I1", "4.0": ""})))

    assert (one.precision, one.recall, one.f1) == (0, 1, 0)
    assert other.f1 == 1


def test_of_what_truth_does_not_know_nothing_is_counted():
    assert fits(planned(story(), Truth(incidents={"5.0": "I2", "9.9": "I2"})))[0].items == 1


def test_what_came_before_the_time_asked_for_is_not_counted():
    truth = Truth(incidents={"3.0": "I1", "4.0": "I1", "5.0": "I2"})

    assert fits(planned(story(), truth, since_s=3000))[1] == Fit(items=1, precision=1, recall=1, f1=1)


def label(says: str, one: Alert, other: Alert, onset: datetime | None = None) -> Label:
    sides = (Witness(fingerprint=each.fingerprint, name="Down", ci=each.ci, onset=onset or each.starts_at)
             for each in (one, other))  # fmt: skip
    alert, second = sides
    return Label(says=says, alert=alert, other=second, by="anna", at=NOON, judgement="J-1")


def test_what_people_said_counts_only_for_the_pairs_they_spoke_of():
    history = story()
    db1, api, mail = (history.alert(ci) for ci in ("db1", "api", "mail"))
    one, other = fits(planned(history, Truth(said=(label("same", db1, api), label("apart", db1, mail)))))

    assert (one.precision, one.recall, other.recall) == (1, 1, 0)


def test_people_spoke_of_one_occurrence_and_not_of_all():
    history = story()
    long_ago = label("same", history.alert("db1"), history.alert("api"), onset=NOON - seconds(86_400))

    assert fits(planned(history, Truth(said=(long_ago,))))[0].items == 0


def test_the_last_word_on_a_pair_holds():
    history = story()
    db1, api = history.alert("db1"), history.alert("api")
    one, _ = fits(planned(history, Truth(said=(label("same", db1, api), label("apart", api, db1)))))

    assert one.precision == 0


def ticket(
    number: str, opened_s: float, *cis: str, resolved_s: float | None = None, incident: str = "", **fields: str
) -> Ticket:
    return Ticket(
        number=number, incident=incident or number, cis=cis, opened_at=NOON + seconds(opened_s),
        resolved_at=None if resolved_s is None else NOON + seconds(resolved_s), **fields,
    )  # fmt: skip


def test_alerts_belong_to_the_ticket_that_was_opened_for_their_ci():
    tickets = (ticket("INC1", 120, "db1", resolved_s=900), ticket("INC2", 130, "API", incident="INC1"))
    one, other = fits(planned(story(), Truth(tickets=tickets)))

    assert (one.items, one.recall, other.recall) == (2, 1, 0)


@pytest.mark.parametrize(
    "tickets",
    [
        [ticket("INC1", 7300, "db1")],
        [ticket("INC1", -60, "db1", resolved_s=-30)],
        [ticket("INC1", -86_400, "db1")],
        [ticket("INC1", 60, "elsewhere")],
    ],
    ids=["opened hours later", "resolved before", "left open since yesterday", "about another CI"],
)
def test_a_ticket_of_another_time_or_place_is_not_theirs(tickets: Sequence[Ticket]):
    assert fits(planned(story(), Truth(tickets=tuple(tickets))))[0].items == 0


def test_of_several_tickets_the_one_opened_nearest_counts():
    tickets = (ticket("INC1", -1800, "db1"), ticket("INC2", 60, "db1"), ticket("INC3", 90, "api", incident="INC2"))

    assert fits(planned(story(), Truth(tickets=tickets)))[0].recall == 1


def test_a_ticket_that_names_no_ci_is_about_those_in_its_text():
    one = ticket("INC1", 120, text="Checkout is slow: DB1, and API.")
    found, _ = fits(planned(story(), Truth(tickets=(one,))))

    assert (found.items, found.recall) == (2, 1)


def test_a_ticket_is_that_of_the_alert_whose_key_it_has():
    history = story()
    keys = history.alert("db1").fingerprint, "api"
    tickets = tuple(ticket(f"INC{n}", 120, "elsewhere", incident="INC1", key=key) for n, key in enumerate(keys))
    found, _ = fits(planned(history, Truth(tickets=tickets)))

    assert (found.items, found.recall) == (2, 1)


def test_what_a_ticket_was_opened_for_in_vain_belongs_with_nothing():
    tickets = (ticket("INC1", 120, "db1"), msgspec.structs.replace(ticket("INC2", 120, "api"), incident=""))

    assert fits(planned(story(), Truth(tickets=tickets)))[0].precision == 0


def test_an_alert_that_is_sent_again_is_one_occurrence():
    history = story().after(30).fire("mail", started_s=4000).tick()

    assert fits(planned(history, Truth(tickets=(ticket("INC1", 4010, "mail"),))))[0].items == 1


def test_an_alert_that_begins_anew_after_it_was_forgotten_belongs_to_the_ticket_of_that_time():
    history = Story(*SHOP)
    for day in range(3):
        history.at(day * 86_400).fire("db1", holds_s=300)
    tickets = tuple(ticket(f"INC{day}", day * 86_400 + 60, "db1") for day in range(3))

    assert fits(planned(history.after(600).tick(), Truth(tickets=tickets)))[0].items == 3


# ---- against the yardstick ------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def yardstick() -> ModuleType:
    if not SCORER.is_file():
        pytest.skip("../shared/eval/grouping.py is not at hand")
    spec = importlib.util.spec_from_file_location("grouping", SCORER)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


TABLES = st.lists(st.tuples(st.sampled_from(["", "I1", "I2", "I3"]), st.sampled_from("abcd")), min_size=1, max_size=30)


@given(TABLES)
@settings(max_examples=30, deadline=None)
def test_counts_agree_with_the_yardstick(yardstick: ModuleType, rows: list[tuple[str, str]]):
    import pandas as pd

    ids = [str(index) for index in range(len(rows))]
    groups = pd.DataFrame({"alert_id": ids, "group_id": [group for _, group in rows]})
    truth = pd.DataFrame({"alert_id": ids, "issue_id": [issue for issue, _ in rows]})
    theirs, ours = yardstick.score_groups(groups, truth), count_pairs(rows)

    for name in ("precision", "recall", "f1"):
        assert round(getattr(ours, name), 4) == theirs[f"pairwise_{name}"]


def test_a_plan_agrees_with_the_yardstick_on_what_a_replay_writes(yardstick: ModuleType, tmp_path: Path):
    import pandas as pd

    history = Story(*SHOP)
    cis = ("db1", "api", "mail", "shop", "disk")
    for number in range(40):
        history.after(9 if number % 8 else 2000).fire(cis[number % 5], name=f"N{number}", holds_s=200)
    inputs = [Input(record=record, ids=(f"{record.number}.0",)) for record in history.records]
    ids = [each.ids[0] for each in inputs if each.record.collector]
    write_truth(tmp_path / "truth.csv", {id: f"I{place // 8}" if place % 5 else "" for place, id in enumerate(ids)})
    write(replay(inputs, collector_kinds(), rule_kinds()), tmp_path)

    tables = (pd.read_csv(tmp_path / name, dtype=str) for name in ("groups.csv", "truth.csv"))
    theirs = yardstick.score_groups(*tables)
    ours, _ = fits(planned(history, read_truth(tmp_path / "truth.csv")))

    assert 0 < theirs["pairwise_f1"] < 1
    assert round(ours.f1, 4) == theirs["pairwise_f1"]


def write_truth(path: Path, incidents: Mapping[str, str]) -> None:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([("alert_id", "issue_id"), *incidents.items()])
