"""Why two outcomes differ: looked up in the stories of the situations concerned, as they were decided."""

from collections.abc import Iterable, Sequence

from foreshock.core.model import Alert, Ended, Member
from foreshock.service.plan.outcome import Incident, Outcome


class Reasons:
    """Reads the stories of both sides."""

    def __init__(self, before: Outcome, after: Outcome) -> None:
        self._before, self._after = before, after

    def merged(self, ones: Sequence[Incident], target: Incident) -> str:
        """What holds the alerts of ``ones`` together now, and what was too little before."""
        homes = self._homes(self._before, ones)
        story = self._after.story(target.id)
        for key, member in _in_order(story):
            if member.moved is not None and member.moved.reason:
                return f"{self._name(story, key)} came over: {member.moved.reason}"
            other = member.link.other if member.link is not None else ""
            if key in homes and other in homes and homes[key] != homes[other]:
                said = f"{self._name(story, key)} joins: {self._link(self._after, member)}"
                return f"{said}{self._kept_out(self._before, homes[key], key)}"
        return "what joined later relates them"

    def split(self, origin: Incident, others: Sequence[Incident]) -> str:
        """What held them together before, and is too little now."""
        homes = self._homes(self._after, others)
        story = self._before.story(origin.id)
        for key, member in _in_order(story):
            other = member.link.other if member.link is not None else ""
            if key in homes and other in homes and homes[key] != homes[other]:
                said = f"{self._name(story, key)} had joined: {self._link(self._before, member)}"
                return f"{said}{self._kept_out(self._after, homes[key], key)}"
        for each in others:
            for _, member in _in_order(self._after.story(each.id)):
                if member.moved is not None and member.moved.source in {other.id for other in others}:
                    return member.moved.reason
        return "what related them is no more"

    def moved(self, one: Incident, other: Incident) -> tuple[str, str] | None:
        """What of ``one`` is not in ``other``, or the other way round, and why; None if they hold the same alerts."""
        before, after = set(self._before.alerts[one.id]), set(self._after.alerts[other.id])
        if before == after:
            return None
        counts = [f"{len(after - before)} more" if after - before else "", f"{len(before - after)} fewer"]
        what = f"{', '.join(filter(None, counts if before - after else counts[:1]))} alerts"
        mine, theirs = self._before.story(one.id), self._after.story(other.id)
        for story, side, elsewhere in ((theirs, self._after, mine), (mine, self._before, theirs)):
            for key, member in _in_order(story):
                if key in elsewhere.situation.members or member.link is None:
                    continue
                verb = "joins" if side is self._after else "had joined"
                return what, f"{self._name(story, key)} {verb}: {self._link(side, member)}"
        return what, "alerts that were placed elsewhere"

    def _homes(self, side: Outcome, incidents: Iterable[Incident]) -> dict[str, str]:
        """By fingerprint, which of the situations holds it."""
        return {key: each.id for each in incidents for key in side.story(each.id).situation.members}

    def _kept_out(self, side: Outcome, situation: str, key: str) -> str:
        """Why the alert did not join another situation on that side."""
        member = side.story(situation).situation.members[key]
        when = "before" if side is self._before else "now"
        if member.considered:
            best = member.considered[0]
            return f"; {when} {best.strength:.2f} for {best.situation}: {best.why}"
        if member.link is not None:
            return f"; {when} it joins: {self._link(side, member)}"
        return f"; {when} nothing open was related to it"

    def _link(self, side: Outcome, member: Member) -> str:
        return side.words(member.link) if member.link is not None else "it was the first"

    def _name(self, story: Ended, key: str) -> str:
        alert = next((alert for alert in story.alerts if alert.fingerprint == key), None)
        return key if alert is None else _name(alert)


def _name(alert: Alert) -> str:
    name = alert.read_labels().get("alertname", "an alert")
    return f"{name} on {alert.ci}" if alert.ci else name


def _in_order(story: Ended) -> list[tuple[str, Member]]:
    return sorted(story.situation.members.items(), key=lambda entry: (entry[1].joined_at, entry[0]))
