"""Tickets that nobody ever does anything about, or that people close as no fault: open them only where several fail."""

import re
from collections import Counter

from correlation.closing import NO_INCIDENT
from foreshock.service.suggest.recall import Incident, Recalled
from foreshock.service.suggest.suggestion import Mined, Patch, SuggestionKind, suggestion

_LEAST_HANDLED = 10
"""Where people handled fewer tickets than this, they work elsewhere, and silence says nothing."""
_ACTED = 0.2
"""Of what is worth a ticket, people act on more than this share."""
_LEAST = 8
_CIS = 3
_URGENT = 1
_NO_FAULT = re.compile(
    r"\b(no fault|not a fault|no action|false (alarm|positive)|nothing (found|to do)|not an (issue|incident)|noise|"
    r"works as designed|known and accepted)\b",
    re.IGNORECASE,
)


def _mine(past: Recalled) -> Mined:
    from predictor.support import less_than

    handled = sum(one.handled for one in past.incidents.values())
    if handled < _LEAST_HANDLED:
        return Mined()
    had, acted, urgent = Counter[str](), Counter[str](), set[str]()
    for incident in past.incidents.values():
        if incident.over_s is None:
            continue  # somebody may still come
        for name in incident.names:
            had[name] += 1
            acted[name] += _is_acted_on(incident)
            if incident.priority == _URGENT:
                urgent.add(name)
    able = sorted(name for name, count in had.items() if count >= _LEAST and name not in urgent)
    known = {rule.name for rule in past.settings.suppress.thresholds}
    found = []
    for name in able:
        if name in known:
            continue
        quoted = name.replace("\\", "\\\\").replace('"', '\\"')
        rule = {"name": name[:100], "matchers": [f'alertname="{quoted}"'], "cis": _CIS, "within": "10m"}
        others = [one.model_dump(mode="json", exclude_defaults=True) for one in past.settings.suppress.thresholds]
        idle = had[name] - acted[name]
        found.append(
            suggestion(
                "unacted",
                Patch(settings={"suppress": {"thresholds": [*others, rule]}}),
                title=f"open no ticket for {name} before it comes from {_CIS} CIs",
                seen=f"nobody acted on {idle} of the {had[name]} tickets with {name}, or they were closed as no fault; "
                f"people acted on {handled} tickets in all",
                times=idle,
                of=had[name],
                p=less_than(_ACTED, acted[name], had[name]),
                weight=idle,
            )
        )
    return Mined(tuple(found), len(able))


def _is_acted_on(incident: Incident) -> bool:
    if incident.label in NO_INCIDENT:
        return False
    return incident.handled and not any(_NO_FAULT.search(comment) for comment in incident.comments)


KIND = SuggestionKind(kind="unacted", title="tickets that nobody acts on", mine=_mine)
