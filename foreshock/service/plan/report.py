"""A plan for people: lines for a terminal, Markdown for a review, one HTML page that needs nothing else."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from foreshock.service.plan.compare import Kind, Plan
from foreshock.service.plan.outcome import Incident
from foreshock.service.plan.tickets import TicketTotals, Written
from foreshock.service.scoring import Fit

WORDS = {
    Kind.MERGED: "merge", Kind.SPLIT: "split", Kind.APPEARED: "appear", Kind.VANISHED: "vanish",
    Kind.MOVED: "hold other alerts", Kind.PRIORITY: "change priority", Kind.CAUSE: "change cause",
    Kind.ASSIGNMENT: "change assignment", Kind.TIME: "change time to ticket",
    Kind.TEXT: "change text", Kind.WRITES: "change updates", Kind.NOTICES: "change who is told",
    Kind.PROBLEM: "change problems",
}  # fmt: skip
_BARS = 560  # pixels
_TEAMS = 30


def rows(plan: Plan) -> list[tuple[str, str, str]]:
    """What is counted, before, after."""
    one, other = plan.before, plan.after
    return [
        ("tickets", f"{one.tickets:,}", f"{other.tickets:,}"),
        *(
            (f"of them P{each}", f"{one.by_priority.get(each, 0):,}", f"{other.by_priority.get(each, 0):,}")
            for each in sorted({*one.by_priority, *other.by_priority})
        ),
        *(
            (f"for {each or 'nobody'}", f"{one.by_group.get(each, 0):,}", f"{other.by_group.get(each, 0):,}")
            for each in sorted({*one.by_group, *other.by_group})
            if len({*one.by_group, *other.by_group}) > 1
        ),
        *_written(one.written, other.written),
        ("most in one hour", f"{one.busiest_hour:,}", f"{other.busiest_hour:,}"),
        ("situations", f"{one.situations:,}", f"{other.situations:,}"),
        ("noise reduction", f"{one.noise_reduction:.2%}", f"{other.noise_reduction:.2%}"),
        ("first alert to ticket, median", _seconds(one.wait_p50_s), _seconds(other.wait_p50_s)),
        ("first alert to ticket, 95 %", _seconds(one.wait_p95_s), _seconds(other.wait_p95_s)),
        *_fit(one.fit, other.fit),
    ]


_WRITTEN = {
    "opened": "opened", "updated": "updates", "reopened": "reopenings", "resolved": "resolutions",
    "sla": "SLA warnings", "escalations": "escalations",
}  # fmt: skip


def _written(one: TicketTotals, other: TicketTotals) -> Iterator[tuple[str, str, str]]:
    """What is written after tickets are opened, and whom that tells."""
    for name, words in _WRITTEN.items():
        was, now = getattr(one.all, name), getattr(other.all, name)
        if name != "opened" and (was or now):
            yield words, f"{was:,}", f"{now:,}"
    if one.problems or other.problems:
        yield "Problems opened", f"{one.problems:,}", f"{other.problems:,}"


def written(plan: Plan) -> tuple[tuple[str, ...], list[tuple[str, list[tuple[int, int]]]]]:
    """The columns, and for each priority and team that differs how much was written, before and after; of the teams
    those most concerned."""
    one, other = plan.before.written, plan.after.written
    shown = [name for name in _WRITTEN if any(getattr(side.all, name) for side in (one, other))]

    def cells(was: Written, now: Written) -> list[tuple[int, int]]:
        return [(getattr(was, name), getattr(now, name)) for name in shown]

    nothing = Written()
    priorities = [
        (f"P{each}", cells(one.by_priority.get(each, nothing), other.by_priority.get(each, nothing)))
        for each in sorted({*one.by_priority, *other.by_priority})
    ]
    groups = [
        (each or "nobody", cells(one.by_group.get(each, nothing), other.by_group.get(each, nothing)))
        for each in {*one.by_group, *other.by_group}
    ]
    groups.sort(key=lambda row: (-sum(abs(now - was) for was, now in row[1]), row[0]))
    rows = [row for row in (*priorities, *groups[:_TEAMS]) if any(was != now for was, now in row[1])]
    return tuple(_WRITTEN[name] for name in shown), rows


def _was_and_is(was: int, now: int) -> str:
    return f"{was:,}" if was == now else f"{was:,} → {now:,}"


def _fit(one: Fit | None, other: Fit | None) -> Iterator[tuple[str, str, str]]:
    """Against what is known to belong together, where anything is."""
    if one is None or other is None or not one.items:
        return
    yield "alerts that truth knows", f"{one.items:,}", f"{other.items:,}"
    yield "pairwise F1", f"{one.f1:.4f}", f"{other.f1:.4f}"
    yield "pairwise precision", f"{one.precision:.4f}", f"{other.precision:.4f}"
    yield "pairwise recall", f"{one.recall:.4f}", f"{other.recall:.4f}"


def teams(plan: Plan) -> list[tuple[str, list[tuple[int, int]], int, int]]:
    """(team, (before, after) for each hour of the day, before, after): who would be called when, the most concerned
    first; beyond ``_TEAMS`` together."""
    one, other = plan.before.by_group_and_hour, plan.after.by_group_and_hour
    found = [(team or "nobody", _hours(one.get(team, {}), other.get(team, {}))) for team in {*one, *other}]
    found.sort(key=lambda row: (-sum(max(pair) for pair in row[1]), row[0]))
    if len(found) > _TEAMS:
        rest = [row for _, row in found[_TEAMS - 1 :]]
        together = [(sum(row[hour][0] for row in rest), sum(row[hour][1] for row in rest)) for hour in range(24)]
        found = [*found[: _TEAMS - 1], (f"{len(rest)} others", together)]
    return [(team, row, sum(was for was, _ in row), sum(now for _, now in row)) for team, row in found]


def _hours(before: Mapping[int, int], after: Mapping[int, int]) -> list[tuple[int, int]]:
    return [(before.get(hour, 0), after.get(hour, 0)) for hour in range(24)]


def heading(plan: Plan) -> str:
    begun = "nothing" if plan.first_at is None else f"{plan.first_at:%Y-%m-%d %H:%M} UTC"
    return f"{plan.before.events:,} events from {begun} on, over {_span(plan.span_s)}"


def verdict(plan: Plan) -> str:
    if not plan.differences:
        return f"No incident would be different; {plan.same:,} are the same."
    counted = Counter(each.kind for each in plan.differences)
    said = ", ".join(f"{counted[kind]:,} {WORDS[kind]}" for kind in Kind if counted[kind])
    return f"{said}; {plan.same:,} incidents are the same."


def text(plan: Plan, shown: int) -> Iterator[str]:
    """Lines; at most ``shown`` differences."""
    yield heading(plan)
    yield from _versions(plan)
    table = [("", "before", "after"), *rows(plan)]
    wide = [max(len(row[column]) for row in table) for column in range(3)]
    for name, one, other in table:
        yield f"  {name:<{wide[0]}}  {one:>{wide[1]}}  {other:>{wide[2]}}"
    yield from _written_text(plan)
    yield ""
    yield from (f"note: {each}" for each in plan.notes)
    yield verdict(plan)
    for difference in plan.differences[:shown]:
        yield ""
        yield f"{WORDS[difference.kind]}: {difference.what}"
        yield from (f"  - {incident_line(incident)}" for incident in difference.before)
        yield from (f"  + {incident_line(incident)}" for incident in difference.after)
        yield f"  {difference.reason}"
    if (more := len(plan.differences) - shown) > 0:
        yield ""
        yield f"{more:,} more are not shown; --show says how many are."


def _written_text(plan: Plan) -> Iterator[str]:
    columns, found = written(plan)
    if not found:
        return
    table = [("", *columns), *((name, *(_was_and_is(*cell) for cell in cells)) for name, cells in found)]
    wide = [max(len(row[column]) for row in table) for column in range(len(columns) + 1)]
    yield ""
    yield "Tickets, where they differ:"
    for name, *cells in table:
        yield f"  {name:<{wide[0]}}  " + "  ".join(
            f"{cell:>{size}}" for cell, size in zip(cells, wide[1:], strict=True)
        )


def markdown(plan: Plan, shown: int) -> Iterator[str]:
    """For a pull request."""
    yield "### What would have been different"
    yield ""
    yield f"{heading(plan)}."
    yield ""
    yield "| | before | after |"
    yield "| --- | ---: | ---: |"
    yield from (f"| {name} | {one} | {other} |" for name, one, other in rows(plan))
    yield ""
    yield f"**{verdict(plan)}**"
    yield from _written_markdown(plan)
    yield from _calls(plan)
    for note in plan.notes:
        yield ""
        yield f"> {note}"
    for kind in Kind:
        found = [each for each in plan.differences if each.kind is kind]
        if not found:
            continue
        yield ""
        yield f"<details><summary>{len(found):,} {WORDS[kind]}</summary>"
        yield ""
        yield "| | before | after | why |"
        yield "| --- | --- | --- | --- |"
        for each in found[:shown]:
            cells = (each.what, _cell(each.before), _cell(each.after), each.reason)
            yield f"| {' | '.join(map(_escaped, cells))} |"
        if (more := len(found) - shown) > 0:
            yield ""
            yield f"{more:,} more."
        yield ""
        yield "</details>"


def _written_markdown(plan: Plan) -> Iterator[str]:
    columns, found = written(plan)
    if not found:
        return
    yield ""
    yield "<details><summary>What is written to tickets, by priority and team, where it differs</summary>"
    yield ""
    yield f"| | {' | '.join(columns)} |"
    yield f"| --- |{' ---: |' * len(columns)}"
    for name, cells in found:
        yield f"| {_escaped(name)} | {' | '.join(_was_and_is(*cell) for cell in cells)} |"
    yield ""
    yield "</details>"


def _calls(plan: Plan) -> Iterator[str]:
    """Markdown: the teams, and when they would be called."""
    found = teams(plan)
    if len(found) < 2 and plan.before.by_group_and_hour == plan.after.by_group_and_hour:
        return
    yield ""
    yield "<details><summary>Tickets by team and hour of the day (UTC)</summary>"
    yield ""
    yield "| team | before | after | hours that differ |"
    yield "| --- | ---: | ---: | --- |"
    for team, row, was, now in found:
        differ = ", ".join(f"{hour:02d}: {one} → {other}" for hour, (one, other) in enumerate(row) if one != other)
        yield f"| {_escaped(team)} | {was:,} | {now:,} | {differ} |"
    yield ""
    yield "</details>"


def html(plan: Plan) -> str:
    """One page without any other file."""
    from jinja2 import Environment, PackageLoader, StrictUndefined

    environment = Environment(
        loader=PackageLoader("foreshock.service.plan", "templates"), autoescape=True, undefined=StrictUndefined
    )
    one, other = plan.before.by_hour, plan.after.by_hour
    columns, found = written(plan)
    hours = [(hour, one.get(hour, 0), other.get(hour, 0)) for hour in sorted({*one, *other})]
    return environment.get_template("plan.html").render(
        plan=plan, heading=heading(plan), verdict=verdict(plan), rows=rows(plan), words=WORDS, kinds=list(Kind),
        line=incident_line, hours=_bars(hours), teams=teams(plan),
        columns=columns, written=found,
        priorities=_bars([(f"P{n}", plan.before.by_priority.get(n, 0), plan.after.by_priority.get(n, 0))
                          for n in range(1, 6)]),
    )  # fmt: skip


def _bars(counts: Sequence[tuple[Any, int, int]]) -> list[tuple[Any, int, int, float, float]]:
    """Each with its widths in pixels."""
    most = max((count for _, *both in counts for count in both), default=0) or 1
    return [(name, one, other, _BARS * one / most, _BARS * other / most) for name, one, other in counts]


def _versions(plan: Plan) -> Iterator[str]:
    gone = [each for each in plan.in_force_before if each not in plan.in_force_after]
    new = [each for each in plan.in_force_after if each not in plan.in_force_before]
    yield from (f"  - {each}" for each in gone)
    yield from (f"  + {each}" for each in new)


def incident_line(incident: Incident) -> str:
    ticket = "no ticket" if incident.wait_s is None else f"ticket after {incident.wait_s:.0f} s"
    alerts = "1 alert" if incident.alerts == 1 else f"{incident.alerts:,} alerts"
    cause = f", cause {incident.cause}" if incident.cause else ""
    said = f"{incident.onset:%m-%d %H:%M}, {alerts}, {ticket}{cause}"
    return f"{incident.id} P{incident.priority} {incident.title} ({said})"


def _cell(incidents: Sequence[Incident]) -> str:
    return "<br>".join(map(incident_line, incidents))


def _escaped(cell: str) -> str:
    return cell.replace("|", "\\|").replace("\n", " ")


def _seconds(value: float | None) -> str:
    return "–" if value is None else f"{value:,.0f} s"


def _span(seconds: float) -> str:
    for unit, size in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


class Told(Struct, frozen=True):
    """The plan for programs, with its verdict and all that a threshold may name."""

    verdict: str
    values: dict[str, float]
    plan: Plan


def as_json(plan: Plan) -> bytes:
    told = Told(verdict(plan), plan.values(), plan)
    return msgspec.json.format(msgspec.json.encode(told), indent=1)
