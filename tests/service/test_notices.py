"""What the engine has people told beside tickets."""

from foreshock.core.contracts import NoticeKind
from foreshock.service import notices
from foreshock.service.engine import Effects
from foreshock.testing.records import NOON, Story


def told_of_one() -> Story:
    story = Story("shop depends_on db")
    story.fire("db", name="Disk")
    engine = story.engine
    engine.effects = Effects()
    notices.tell(engine, engine.situations["S-1"], NoticeKind.SLA, 75, "75 % of 15m are gone.", ("ann", "dba"))
    return story


def test_a_notice_says_what_who_and_of_which_incident():
    story = told_of_one()

    (notice,) = story.engine.effects.notices

    assert (notice.id, notice.at, notice.audience) == ("S-1/sla/1", NOON, ("ann", "dba"))
    assert (notice.title, notice.text, notice.url) == ("Disk on db", "75 % of 15m are gone.", "/incidents/S-1")


def test_a_notice_is_on_the_timeline_with_whom_it_is_for():
    (row,) = told_of_one().engine.effects.audit

    assert (row.kind, row.subject, row.action) == ("notice", "S-1", "sla")
    assert row.detail == "75 % of 15m are gone. (to ann, dba)"


def test_numbers_of_notices_go_on_after_a_restart():
    engine = told_of_one().engine
    pieces = [(kind, key, body) for kind, key, body in engine.checkpoint() if body is not None]
    restarted = Story().engine

    restarted.restore(pieces)

    assert restarted.last_notice == 1
