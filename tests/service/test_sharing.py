"""After a restart equal values are one value again, and nothing else is different."""

from foreshock.service.sharing import Sharing
from foreshock.testing.records import Story, new_engine


def test_a_restart_takes_no_more_memory_for_names_and_moments_than_before():
    story = Story("shop depends_on api", "api runs_on db1")
    story.fire("db1", "api", "shop").after(5).fire("shop", name="Slow")
    said = [(kind, key, body) for kind, key, body in story.engine.checkpoint() if body is not None]

    restored = new_engine()
    restored.restore([(kind, str(key.encode(), "ascii"), bytes(bytearray(body))) for kind, key, body in said])

    alerts = restored.alerts
    assert all(key is alert.fingerprint for key, alert in alerts.items())
    [situation] = restored.situations.values()
    assert all(key is alerts[key].fingerprint for key in situation.members)
    links = [member.link for member in situation.members.values() if member.link is not None]
    assert links
    assert all(link.other is alerts[link.other].fingerprint for link in links)
    moments = [alert.first_seen for alert in alerts.values()]
    assert len({id(moment) for moment in moments}) == len(set(moments)) < len(moments)
    assert len({id(alert.situation) for alert in alerts.values()}) == 1

    restored.save_again((kind, key) for kind, key, _ in said)
    again = {(kind, key): body for kind, key, body in restored.checkpoint()}
    assert again == {(kind, key): body for kind, key, body in said}


def test_equal_reasons_are_one_value_while_everything_runs():
    story = Story("shop depends_on api")
    for name in ("Slow", "Errors", "Down", "Late", "Full", "Old"):
        story.fire("api", name=name)

    [situation] = story.engine.situations.values()
    links = [member.link for member in situation.members.values() if member.link is not None]
    for values in ([link.path for link in links], [link.strength for link in links], [link.gap_s for link in links]):
        assert len({id(value) for value in values}) == len(set(values)) < len(values)


def test_what_speaks_for_the_causes_of_like_situations_is_one_value_before_and_after_a_restart():
    story = Story().fire("db1").at(600).fire("web7").at(1200).tick()
    restored = new_engine()
    restored.restore([(kind, key, body) for kind, key, body in story.engine.checkpoint() if body is not None])

    for engine in (story.engine, restored):
        one, other = (situation.causes[0].contributions for situation in engine.situations.values())
        assert one
        assert one is other


def test_what_is_remembered_is_bounded():
    sharing = Sharing(most=3)

    assert [sharing._of(value) for value in range(10)] == list(range(10))
    assert len(sharing._same) <= 3
