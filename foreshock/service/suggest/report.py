"""Suggestions for people and programs, and as files that are ready to be used."""

import textwrap
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from correlation.settings import differing
from foreshock.service import proposal
from foreshock.service.clock import utc_now
from foreshock.service.plan import report as plan_report
from foreshock.service.replay import Version
from foreshock.service.suggest.recall import Recalled
from foreshock.service.suggest.suggestion import Patch, Suggestion, changed, dumped
from foreshock.service.suggest.trial import Suggested, Tried

_WIDTH = 110
_DIFFERENCES = 50
_SHORT_DAYS = 7.0
"""Over less than this nothing can be told from what the week brings anyway."""


def text(found: Suggested) -> Iterator[str]:
    """Lines for a terminal."""
    if found.split_at is None:
        yield (
            f"Too little history: {found.onsets:,} alerts began in it, {found.least:,} are needed to tell habit from "
            "chance. Give more of it, or a longer --since."
        )
        return
    yield (
        f"mined: {found.onsets:,} onsets over {_span(found.days)}; tried: on the {_span(found.later_days)} from "
        f"{found.split_at:%Y-%m-%d %H:%M} UTC on"
    )
    if found.days + found.later_days < _SHORT_DAYS:
        yield "This is less than a week: what only some days bring is not in it, and may speak against a suggestion."
    for place, one in enumerate(found.best, 1):
        yield ""
        yield from _told(place, one)
    yield ""
    yield _rest(found)


def _told(place: int, one: Tried) -> Iterator[str]:
    suggestion = one.suggestion
    yield f"{place}. {suggestion.id}: {suggestion.title}"
    yield from _wrapped("seen:", f"{suggestion.seen} ({support(suggestion)})")
    yield from _wrapped("plan:", f"{benefit(one)}; {plan_report.verdict(one.plan)}")
    yield from (f"     {line}" for line in suggestion.patch.yaml().splitlines())


def _wrapped(what: str, said: str) -> list[str]:
    return textwrap.wrap(said, _WIDTH, initial_indent=f"   {what}  ", subsequent_indent=" " * 10)


def support(suggestion: Suggestion) -> str:
    low, high = suggestion.share
    chance = f"{suggestion.p:.2g}" if suggestion.p >= 1e-6 else "below 0.000001"
    return f"{suggestion.times:,} of {suggestion.of:,}, 95 %: {low:.0%} to {high:.0%}; p = {chance}"


def benefit(one: Tried) -> str:
    said = [
        f"{abs(one.saved):,} {'ticket' if abs(one.saved) == 1 else 'tickets'} {'fewer' if one.saved >= 0 else 'more'}"
    ]
    if one.calm:
        said.append(f"{abs(one.calm):,} reopened {'less' if one.calm > 0 else 'more'}")
    if one.late:
        said.append(f"{one.late:,} a minute or more later")
    if one.right:
        said.append(f"{one.right:,} corrections by hand avoided")
    if one.wrong:
        said.append(f"{one.wrong:,} against what people said")
    if (before := one.plan.before.fit) is not None and (after := one.plan.after.fit) is not None:
        said.append(f"pairwise F1 {before.f1:.4f} becomes {after.f1:.4f}")
    if one.lost:
        said.append(f"{one.lost:,} incidents of priority 1 lost")
    return ", ".join(said)


def _rest(found: Suggested) -> str:
    counts = (
        (found.useless, "no better for it in the later part"),
        (found.harmful, "harmful there"),
        (found.untried, "not tried or not shown (--top)"),
    )
    said = ", ".join(f"{count} {what}" for count, what in counts if count)
    shown = "Nothing is suggested" if not found.best else f"{len(found.best)} suggested"
    return f"{shown}; others: {said}." if said else f"{shown}."


def _span(days: float) -> str:
    if days >= 2:
        return f"{days:.0f} days"
    for unit, parts in (("hours", 24), ("minutes", 1440)):
        if days * parts >= 2:
            return f"{days * parts:.0f} {unit}"
    return f"{days * 86_400:.0f} s"


def as_json(found: Suggested) -> bytes:
    told: dict[str, Any] = {
        "suggestions": [
            {
                **msgspec.structs.asdict(one.suggestion),
                "yaml": one.suggestion.patch.yaml(),
                "benefit": {
                    "saved": one.saved,
                    "calm": one.calm,
                    "right": one.right,
                    "wrong": one.wrong,
                    "lost": one.lost,
                },
                "worth": one.worth,
                "verdict": plan_report.verdict(one.plan),
                "plan": one.plan,
            }
            for one in found.best
        ],
        **{name: getattr(found, name) for name in ("useless", "harmful", "untried", "onsets", "days", "later_days")},
        "split_at": found.split_at,
        "enough": found.split_at is not None,
    }
    return msgspec.json.format(msgspec.json.encode(told), indent=1)


def write(found: Suggested, past: Recalled, folder: Path) -> list[Path]:
    """Each suggestion as files: its YAML, its plan in Markdown, and what ``rules apply`` takes. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    before = Version(settings=past.settings, rules=past.rules)
    written = []
    for one in found.best:
        for name, body in _files(one, before):
            (folder / name).write_bytes(body)
            written.append(folder / name)
    return written


def _files(one: Tried, before: Version) -> Iterator[tuple[str, bytes]]:
    id, patch, heading = one.suggestion.id, one.suggestion.patch, _heading(one)
    after = changed(before, patch, None)
    if patch.rules:
        yield f"{id}.yaml", (heading + Patch(rules=patch.rules).yaml()).encode()
    if patch.settings and after.settings is not None:
        yield f"{id}.settings.yaml", (heading + dumped(differing(after.settings))).encode()
    if patch.relationships:
        yield f"{id}.topology.yaml", (heading + Patch(relationships=patch.relationships).yaml()).encode()
    else:
        verdict = plan_report.verdict(one.plan)
        yield f"{id}.plan", proposal.written(proposal.proposal(before, after, verdict, utc_now()))
    yield f"{id}.plan.md", ("\n".join(plan_report.markdown(one.plan, _DIFFERENCES)) + "\n").encode()


def _heading(one: Tried) -> str:
    said = (one.suggestion.title, f"seen: {one.suggestion.seen}", support(one.suggestion), f"plan: {benefit(one)}")
    return "".join(f"# {line}\n" for line in said)
