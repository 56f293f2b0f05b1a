"""Why two outcomes differ: looked up in the stories of the situations concerned, as they were decided."""

from collections import Counter
from collections.abc import Iterable, Sequence

from foreshock.core.model import Alert, Ended, Member
from foreshock.service.plan.outcome import Incident, Outcome
from foreshock.service.plan.tickets import SINK

_LISTED = 3


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

    def text(self, one: Incident, other: Incident) -> tuple[str, str] | None:
        """How what their tickets said at first differs, by sink, and why; None if it does not."""
        if one.ticket is None or other.ticket is None:
            return None
        found: dict[str, list[str]] = {}
        templates = False
        for sink, text in one.ticket.texts.items():
            other_text = other.ticket.texts.get(sink, text)
            was, now = (side.engine.settings.ticket.text_of(sink) for side in (self._before, self._after))
            if text.title != other_text.title:
                found.setdefault(f"{text.title!r} becomes {other_text.title!r}", []).append(sink)
            elif was != now and text.digest != other_text.digest:
                found.setdefault("another description", []).append(sink)
            else:
                continue
            templates = templates or was != now
        if not found:
            return None
        what = "; ".join(f"{said}{_in(sinks)}" for said, sinks in found.items())
        return what, "its template is another" if templates else "each tells what there was when it was opened"

    def told(self, one: Incident, other: Incident) -> tuple[str, str] | None:
        """Who is told of something by one of them alone, and why; None if nobody is."""
        was, now = (Counter(each.ticket.notices if each.ticket is not None else ()) for each in (one, other))
        if was == now:
            return None
        said = (("no longer", _listed((was - now).elements())), ("now", _listed((now - was).elements())))
        what = "; ".join(f"{when} {listed}" for when, listed in said if listed)
        before, after = (side.engine.settings for side in (self._before, self._after))
        if before.sla != after.sla or before.escalation != after.escalation:
            return what, "`sla` or `escalation` of the settings are others"
        return what, f"before: {_whose(one)}; after: {_whose(other)}"

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


def _in(sinks: Sequence[str]) -> str:
    return "" if SINK in sinks else f" in {', '.join(sinks)}"


def _listed(notices: Iterable[str]) -> str:
    found = list(notices)
    more = f" and {len(found) - _LISTED} more" if len(found) > _LISTED else ""
    return ", ".join(found[:_LISTED]) + more


def _whose(incident: Incident) -> str:
    return f"P{incident.priority} of {incident.group or 'nobody'}, ticket after {incident.wait_s:.0f} s"


def _in_order(story: Ended) -> list[tuple[str, Member]]:
    return sorted(story.situation.members.items(), key=lambda entry: (entry[1].joined_at, entry[0]))
