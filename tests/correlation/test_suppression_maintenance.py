"""Planned work: when it runs, what it covers."""

from typing import Any

import pytest

from correlation.suppression import maintenance
from correlation.suppression.asked import Asked
from correlation.suppression.maintenance import ActiveWindow, ended, in_words, scope
from foreshock.core.model import CI, MaintenanceWindow, Relationship, SilenceMatcher, Span
from foreshock.core.topology import Topology
from foreshock.testing.records import NOON, seconds

RELATIONS = (
    "shop depends_on app", "app runs_on host", "app uses db", "crm uses db", "db runs_on host2", "rack contains host",
    "host connects_to switch", "mail connects_to switch",
)  # fmt: skip
TOPOLOGY = Topology(
    [
        CI(id=name, name=f"{name}.example", criticality={"shop": 1, "crm": 2}.get(name, 0))
        for name in ("shop", "app", "db", "crm", "host", "host2", "rack", "switch", "mail")
    ],
    [Relationship(source=s, type=t, target=o) for s, t, o in map(str.split, RELATIONS)],
)


def window(*spans_s: tuple[float, float], **fields: Any) -> MaintenanceWindow:
    spans = tuple(Span(starts_at=NOON + seconds(a), ends_at=NOON + seconds(b)) for a, b in spans_s or [(0, 60)])
    defaults: dict[str, Any] = {"cis": ("host",), "title": "recabling", "owner": "netops", "comment": "", "id": "w"}
    return MaintenanceWindow(spans=spans, updated_at=NOON, **{**defaults, **fields})


@pytest.mark.parametrize(
    ("at_s", "runs", "next_s"), [(-1, False, 0), (0, True, 60), (59.9, True, 60), (60, False, 90), (120, False, None)]
)
def test_it_runs_from_each_start_until_before_the_end(at_s: float, runs: bool, next_s: float | None):
    active, now = ActiveWindow(window((0, 60), (90, 120))), NOON + seconds(at_s)

    assert (active.span(now) is not None) is runs
    assert active.next_change(now) == (None if next_s is None else NOON + seconds(next_s))


def test_what_depends_on_its_cis_is_in_scope_however_far_but_not_what_is_only_connected():
    found = scope(window(cis=("RACK.example",)), TOPOLOGY)

    assert found == (frozenset({"rack", "host", "app", "shop"}), False)
    assert scope(window(cis=("rack",), descendants=False), TOPOLOGY) == (frozenset({"rack"}), False)
    assert scope(window(cis=("unknown",)), TOPOLOGY) == (frozenset({"unknown"}), False)


def test_of_a_service_what_another_one_needs_too_stays_loud():
    only_shop = scope(window(cis=(), services=("shop",)), TOPOLOGY)
    both = scope(window(cis=(), services=("shop", "crm")), TOPOLOGY)

    assert only_shop == (frozenset({"shop", "app", "host", "rack"}), False)
    assert both == (frozenset({"shop", "crm", "app", "db", "host", "host2", "rack"}), False)


def test_a_scope_is_bounded_and_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(maintenance, "MAX_SCOPE", 2)

    found = scope(window(cis=("rack",)), TOPOLOGY)

    assert found == (frozenset({"rack", "host"}), True)


def test_ending_it_leaves_what_was():
    planned = window((0, 60), (90, 120), expanded_to=NOON + seconds(500))

    over = ended(planned, NOON + seconds(30), only_running=False)
    cut = ended(planned, NOON + seconds(30), only_running=True)

    assert [span.ends_at for span in over.spans] == [NOON + seconds(30)]
    assert over.expanded_to is None
    assert [span.ends_at for span in cut.spans] == [NOON + seconds(30), NOON + seconds(120)]
    assert cut.expanded_to == planned.expanded_to
    assert ended(planned, NOON, only_running=True).spans == planned.spans[1:]


def test_it_is_told_in_words():
    words = in_words(window(services=("shop",), matchers=(SilenceMatcher(name="a", value="b", is_regex=False),)))

    assert words == (
        'CI host and what depends on it, service shop, a="b"; 2026-03-02 12:00:00 UTC to 2026-03-02 12:01:00 UTC'
    )


def test_what_is_over_is_forgotten_after_a_day_a_recurring_one_is_not():
    asked = Asked()
    asked.set_window(window())
    asked.set_window(window(id="weekly", expanded_to=NOON + seconds(500)))

    assert asked.forget_the_past(NOON + seconds(86_000)) == []
    assert asked.forget_the_past(NOON + seconds(86_461)) == [("window", "w")]
    assert set(asked.windows) == {"weekly"}
