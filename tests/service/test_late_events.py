"""Events that come late, twice, or in another order than they happened: what the alerts are in the end."""

from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from correlation.variants import units
from foreshock.core.model import Moment
from foreshock.testing.records import Story, check_counted, check_same, check_structure

HOSTS = ("db1", "db2")
REPLICAS = ("", "a")
ONE_OF_BOTH = {"fold": {"identity": [{"without": ["replica"]}]}}


@st.composite
def histories(draw: Any) -> list[dict[str, Any]]:
    """What a source that dates each occurrence once says of a few conditions, in order: seconds after the start."""
    told = []
    for host in HOSTS:
        for replica in REPLICAS:
            at = 0
            for _ in range(draw(st.integers(0, 3))):
                began = at + draw(st.integers(1, 60))
                at = began + draw(st.integers(1, 60))
                labels = {"alertname": "Down", "host": host, **({"replica": replica} if replica else {})}
                told.append((began, {"labels": labels, "starts": began}))
                told.append((at, {"labels": labels, "starts": draw(st.sampled_from([began, None])), "ends": at}))
            if told and draw(st.booleans()) and "ends" in told[-1][1]:
                told.pop()
    return [event for _, event in sorted(told, key=lambda each: each[0])]


def tell(events: list[dict[str, Any]], rules: dict[str, Any]) -> Story:
    """The events, one a second, long after they happened and before anything runs out."""
    story = Story(settings=rules).at(1000)
    for event in events:
        item: dict[str, Any] = {"labels": event["labels"], "annotations": {"summary": "it is down"}}
        if event["starts"] is not None:
            item["startsAt"] = story._text(event["starts"])
        item["endsAt"] = story._text(event.get("ends", 50_000))
        story.after(1).post(item)
    return story


def outcome(story: Story) -> dict[bytes, tuple[bool, Moment, Moment | None]]:
    """Of each label set: whether it fires, since when, and when it ended."""
    return {
        unit.labels: (unit.firing, unit.starts_at, unit.ends_at)
        for alert in story.engine.alerts.values()
        for unit in units(alert)
    }


@settings(max_examples=150, suppress_health_check=[HealthCheck.too_slow])
@given(histories(), st.sampled_from([{}, ONE_OF_BOTH]), st.data())
def test_any_order_and_repetition_leads_to_the_alerts_that_the_order_leads_to(
    events: list[dict[str, Any]], rules: dict[str, Any], data: Any
):
    again = data.draw(st.lists(st.sampled_from(events), max_size=6) if events else st.just([]), label="again")
    shuffled = data.draw(st.permutations([*events, *again]), label="as they come")

    story = tell(shuffled, rules)

    assert outcome(story) == outcome(tell(events, rules))
    for alert in story.engine.alerts.values():
        assert alert.firing is any(unit.firing for unit in units(alert))
    check_counted(story.engine, story.sent)
    check_structure(story.engine)
    check_same(story.records, restarts=[len(story.records) // 2])
