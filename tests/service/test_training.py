"""The child process that trains, on values in place of its pipes."""

import io

import msgspec

from foreshock.core.learned import Learned
from foreshock.core.model import Label, Witness
from foreshock.service import in_force
from foreshock.service.training import Task, feed, piece, work
from foreshock.testing.records import Story
from predictor.settings import CalibrationSettings, LearnSettings

DAY_S = 86_400.0


class Pipe(io.BytesIO):
    """Stays readable after it was closed for writing."""

    def close(self) -> None:
        self.seek(0)


def trained(story: Story, settings: LearnSettings, *labels: Label, records: bool = False) -> Learned:
    pipe, out = Pipe(), io.BytesIO()
    task = Task(
        settings=settings.model_dump(mode="json"), topology=in_force.topology_record(story.engine), labels=labels
    )
    pieces = [piece("ended", body) for body in story.told.ended.values()]
    pieces += [piece("ended", story.engine.encode(open_)) for open_ in story.engine.situations.values()]
    pieces += [piece("record", msgspec.json.encode(record)) for record in story.records if records]
    feed(pipe, task, pieces)
    work(pipe, out)
    return msgspec.json.decode(out.getvalue(), type=Learned)


def outages(days: int) -> Story:
    """Once a day a link goes down and, shortly after, a disk is slow, while other things fail at other times."""
    story = Story("web depends_on api")
    for day in range(days):
        story.at(day * DAY_S + day * 997).fire("sw1", name="LinkDown").after(8).fire("db1", name="DiskSlow")
        story.after(3000).resolve("sw1", name="LinkDown").resolve("db1", name="DiskSlow")
        story.after(4000).fire(f"n{day % 5}", name=f"Odd{day % 5}")
        story.after(3000).fire("api").after(2).fire("web").after(3000).resolve("api", "web")
    return story.after(DAY_S).tick()


def test_what_ended_situations_have_in_common_is_learned():
    learned = trained(outages(10), LearnSettings())

    assert learned.version
    assert {pair.a.ci for pair in learned.pairs} & {"sw1", "db1"}
    assert learned.curves == {}, "nobody has judged anything"


def test_nothing_comes_of_nothing():
    assert trained(Story(), LearnSettings()) == Learned()


def test_what_people_said_calibrates_the_rules():
    """They hold links over a hundred seconds for chance, and those over five for true."""
    story, said = Story(*(f"a{n} depends_on b{n}" for n in range(60))), []
    for n in range(60):
        close = n % 2 == 0
        story.at(n * 1200.0).fire(f"b{n}", holds_s=1e6).after(5 if close else 100).fire(f"a{n}", holds_s=1e6)
        one, other = (
            Witness(fingerprint=alert.fingerprint, name="Down", ci=alert.ci, onset=alert.starts_at)
            for alert in (story.alert(f"a{n}"), story.alert(f"b{n}"))
        )
        says = "same" if close else "apart"
        said.append(Label(says=says, alert=one, other=other, by="mira", at=story.now, judgement=f"J-{n}"))
    few = LearnSettings(calibration=CalibrationSettings(min_pairs=5, prior=5))

    curve = trained(story.tick(), few, *said, records=True).curves["topology"]

    assert curve.at(0.95) > 0.7 > 0.5 > curve.at(0.55)
    assert curve.brier < curve.brier_raw
