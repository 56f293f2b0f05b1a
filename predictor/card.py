"""A model's card: what it learned from, how good it was on later data, and where it should not be believed."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from foreshock.core.quantities import format_duration
from predictor.history import History
from predictor.model import Model
from predictor.spec import BacktestSpec
from predictor.training import Learnable, Trained

_GROUPS = 30
_FEW = 10


def card(
    spec: BacktestSpec, history: History, rows: Learnable, trained: Trained, answered: dict[str, Any]
) -> dict[str, Any]:
    """Plain data. ``answered``: how the asked rows turned out, where that is known by now."""
    found = {
        "name": spec.name,
        "question": f"does an incident begin {spec.lead} to {spec.horizon} × {format_duration(spec.step)} ahead?",
        "labels": _labels(history, rows),
        "model": _model(trained.model),
        "judged": trained.judged,
        "answered": answered,
        "limits": list(_limits(history, rows, trained)),
    }
    return {**found, "summary": list(_summary(found))}


def _labels(history: History, rows: Learnable) -> dict[str, Any]:
    entities, incidents = history.entities, history.incidents
    usable = incidents.start <= entities.cutoff[incidents.entity]
    groups = entities.groups
    open_to = entities.cutoff >= entities.first
    return {
        "entities": len(entities),
        "entities_to_learn_from": int(open_to.sum()),
        "incidents": len(incidents.entity),
        "incidents_to_learn_from": int(usable.sum()),
        "entities_with_incidents": len(np.unique(incidents.entity[usable])),
        "rows": len(rows.entity),
        "rows_before_an_incident": int(rows.began.sum()),
        "groups": [
            {
                "group": groups.names[place] if len(groups.names) > 1 else "all",
                "entities": int((groups.codes == place).sum()),
                "rows": int((groups.codes[rows.entity] == place).sum()),
                "incidents": int((usable & (groups.codes[incidents.entity] == place)).sum()),
            }
            for place in range(min(len(groups.names), _GROUPS))
        ],
    }


def _model(model: Model) -> dict[str, Any]:
    return {
        "features": len(model.names),
        "trust": {name: round(trust, 3) for name, trust in zip(model.experts, model.trust, strict=True)},
        "threshold": round(model.threshold, 6) if np.isfinite(model.threshold) else None,
    }


def _limits(history: History, rows: Learnable, trained: Trained) -> Iterator[str]:
    entities = history.entities
    for group in _labels(history, rows)["groups"]:
        if not group["rows"]:
            yield f"nothing was learned from {group['group']}: its entities are answered as strangers"
        elif group["incidents"] < _FEW:
            yield f"{group['group']} had only {group['incidents']} incidents to learn from"
    if (frame := history.frame) is not None:
        for place, column in enumerate(frame.columns):
            measured = float(np.isfinite(frame.values[:, place]).mean()) if len(frame.values) else 0.0
            if measured < 1 / 2:
                yield f"{column} was measured in {measured:.0%} of the rows only"
    judged = trained.judged
    if judged.get("brier_skill_95", [1])[0] <= 0:
        yield "on later data the probabilities were not surely better than the constant base rate"
    if (plain := judged.get("alone", {}).get("rate")) is not None and judged["average_precision"] <= plain:
        yield "on later data it foresaw no better than the plain rate of past events"
    if not np.isfinite(trained.model.threshold):
        yield "no threshold keeps to the budget: it raises no alarm"
    if len(entities) and not (entities.asked_last >= entities.asked_first).any():
        yield "no row was asked"


def _summary(found: Mapping[str, Any]) -> Iterator[str]:
    labels = found["labels"]
    yield (
        f"learned from {labels['rows']} rows of {labels['entities_to_learn_from']} entities, "
        f"{labels['rows_before_an_incident']} of them before one of {labels['incidents_to_learn_from']} incidents"
    )
    for when, title in (("judged", "later part of what was learned from"), ("answered", "asked rows")):
        measured = found[when]
        if "average_precision" not in measured:
            continue
        low, high = measured["brier_skill_95"]
        yield (
            f"{title}: average precision {measured['average_precision']:.3f} (by chance "
            f"{measured['average_precision_by_chance']:.3f}), Brier skill {measured['brier_skill']:.3f} "
            f"({low:.3f} to {high:.3f})"
        )
        for budget, counted in measured["at_budget"].items():
            yield f"  {counted['recall']:.0%} of {counted['incidents']} foreseen at {budget} false alarms a week"
        own = measured["own_alarms"]
        yield f"  own alarms: {own['recall']:.0%} foreseen at {own['false_alarms_a_week']:g} false alarms a week"
    yield from found["limits"]


def markdown(found: Mapping[str, Any]) -> str:
    """The card for people."""
    lines = [
        f"# {found['name']}",
        "",
        f"Question: {found['question']}",
        "",
        *(f"- {line.strip()}" for line in found["summary"]),
    ]
    lines += ["", "| group | entities | rows | incidents |", "| --- | --- | --- | --- |"]
    lines += [
        f"| {row['group']} | {row['entities']} | {row['rows']} | {row['incidents']} |"
        for row in found["labels"]["groups"]
    ]
    for when, title in (("judged", "Later part of what was learned from"), ("answered", "Asked rows")):
        if "at_budget" not in found[when]:
            continue
        measured = found[when]
        lines += ["", f"## {title}", "", "| budget | recall | incidents | precision |", "| --- | --- | --- | --- |"]
        lines += [
            f"| {budget} | {row['recall']} | {row['incidents']} | {row['precision']} |"
            for budget, row in measured["at_budget"].items()
        ]
        expected = ", ".join(f"{name} {value}" for name, value in measured["expected_over_observed"].items())
        lines += ["", f"Expected over observed: {expected}."]
    trust = ", ".join(f"{name} {value}" for name, value in found["model"]["trust"].items())
    return "\n".join([*lines, "", f"{found['model']['features']} features; trust in the experts: {trust}.", ""])
