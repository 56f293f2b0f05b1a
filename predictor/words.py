"""What a feature says, in operators' words."""

import math
from datetime import timedelta

from foreshock.core.quantities import format_duration

_DAY_S = 86_400.0
_WHOSE = {
    "rate": "here",
    "shrunk": "here",
    "mixed": "here",
    "group": "on CIs of its kind",
    "near": "on CIs named alike",
}
_WHAT = {
    "any": "alerts",
    "alone": "alerts of its own",
    "wave": "alerts together with many of its kind",
    "downtime": "time in alert",
}
_SINCE = {
    "1": "last alert", "2": "last alert but one", "3": "third last alert", "4": "fourth last alert",
    "5": "fifth last alert", "first": "first alert", "group_wave": "wave of alerts on its kind",
}  # fmt: skip


def said(name: str, value: float, step_s: float) -> str:
    """name: of a feature as ``recurrence.event_names`` and ``inputs.Inputs.names`` have it; value: of it, with steps of
    ``step_s`` seconds; NaN where nothing is known."""
    family, *rest = name.split(":")
    if family in _WHOSE:
        return _rate(family, rest, value, step_s)
    if family == "since":
        which = _SINCE.get(rest[0], rest[0])
        return f"no {which} yet" if math.isnan(value) else f"{which} {_time(value * step_s)} ago"
    if name in _PLAIN:
        return _PLAIN[name].format(value="unknown" if math.isnan(value) else f"{value:g}")
    if name == "age":
        return f"known for {_time(value * step_s)}"
    if name == "last_repair":
        return "no alert is over yet" if math.isnan(value) else f"its last alert took {_time(60 * math.expm1(value))}"
    column, is_word, word = name.partition("=")
    if is_word:
        return f"{column} is {'' if value else 'not '}{word or 'unknown'}"
    return f"{name} {value:g}"


_PLAIN = {
    "open": "{value} alerts are open",
    "total": "{value} alerts in all",
    "group_hit": "share of its kind with alerts now {value}",
    "group_size": "{value} CIs of its kind",
    "criticality": "criticality {value}",
    "needs": "depends on {value} CIs",
    "needed_by": "{value} CIs depend on it",
}


def _rate(family: str, rest: list[str], value: float, step_s: float) -> str:
    what = rest[0]
    word = _WHAT.get(what) or f"alerts with {what.replace('=', ' ')}"
    over = f" over about {_time(2 * float(rest[1]) * step_s)}" if len(rest) > 1 else ""
    much = "unknown" if math.isnan(value) else _often(value / step_s * _DAY_S)
    return f"{word} {_WHOSE[family]}{over}: {much}"


def _often(a_day: float) -> str:
    if a_day >= 0.95:
        return f"{a_day:.1f} a day"
    return f"{a_day * 7:.1f} a week" if a_day * 7 >= 0.095 else "hardly any"


def _time(seconds: float) -> str:
    if math.isnan(seconds):
        return "unknown time"
    unit = 86_400 if seconds >= 2 * 86_400 else 3600 if seconds >= 7200 else 60 if seconds >= 120 else 1
    return format_duration(timedelta(seconds=round(seconds / unit) * unit))
