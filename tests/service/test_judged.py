"""What rules said, held against what people said."""

from foreshock.core.learned import Curve
from foreshock.core.model import Label, Witness
from foreshock.service.judged import Listener, by_labels, judged
from foreshock.testing.records import COLLECTORS, RULES, Story


def listen(story: Story) -> Listener:
    listener = Listener(COLLECTORS, RULES)
    for record in story.records:
        listener.read(record)
    return listener


def shop() -> Story:
    return Story("shop depends_on db1", "mail depends_on db1").fire("db1").after(10).fire("shop").after(10).fire("mail")


def witness(story: Story, ci: str) -> Witness:
    alert = story.alert(ci)
    return Witness(fingerprint=alert.fingerprint, name="Down", ci=ci, onset=alert.starts_at)


def label(story: Story, says: str, one: str, other: str) -> Label:
    return Label(
        says=says, alert=witness(story, one), other=witness(story, other), by="mira", at=story.now, judgement="J-1"
    )


def test_what_a_rule_says_of_a_new_alert_is_heard_and_changes_nothing():
    story = shop()
    listener = listen(story)

    first = [heard for heard in listener.heard if heard.alert == story.alert("shop").fingerprint]
    assert {heard.rule for heard in first} >= {"topology"}
    assert all(heard.members == (story.alert("db1").fingerprint,) for heard in first)
    assert listener.engine.situations == story.engine.situations


def test_a_persons_word_answers_for_the_pair_it_names():
    story = shop()
    listener = listen(story)
    say = by_labels([label(story, "apart", "shop", "db1")], listener.engine.alerts)

    known = list(judged(listener.heard, say))

    assert {(one.rule, one.same, one.weight) for one in known} >= {("topology", False, 1.0)}
    assert all(not one.same for one in known)


def test_people_who_disagree_say_nothing():
    story = shop()
    listener = listen(story)
    say = by_labels(
        [label(story, "apart", "mail", "db1"), label(story, "same", "mail", "shop")], listener.engine.alerts
    )

    assert [one for one in listener.heard if one.alert == story.alert("mail").fingerprint and say(one)] == []


def test_another_occurrence_of_the_alert_is_not_meant():
    story = shop()
    listener = listen(story)
    old = label(story, "apart", "shop", "db1")
    later = Story("shop depends_on db1").at(7200).fire("db1").after(5).fire("shop")

    assert by_labels([old], listener.engine.alerts)(listener.heard[0]) is not None
    assert all(by_labels([old], later.engine.alerts)(one) is None for one in listen(later).heard)


def test_a_situation_that_a_person_took_and_left_as_it_was_counts_a_little():
    untouched, taken = shop(), shop()
    taken.after(60).tick().person("taken").after(1).tick()

    assert [one for heard in listen(untouched).heard if (one := listen(untouched).tacitly(heard))] == []
    listener = listen(taken)
    answers = {listener.tacitly(heard) for heard in listener.heard}
    assert answers == {(True, 0.2)}


def test_what_a_person_closed_as_a_false_alarm_was_not_let_stand_as_a_problem():
    closed = shop()
    closed.after(60).tick().person("closed", code="False alarm").after(1).tick()
    listener = listen(closed)

    assert {listener.tacitly(heard) for heard in listener.heard} == {None}


def test_earlier_curves_do_not_judge_themselves():
    story = shop().learned(curves={"topology": Curve(strength=(0.0, 1.0), probability=(0.5, 0.6))})

    assert story.engine.learned.learned.curves
    assert listen(story).engine.learned.learned.curves == {}
