"""What the word means with which a person closed a ticket: one table for the words of all systems; settings extend it.

Sources of the words: ServiceNow incident resolution codes (documentation, release "australia" 2026, and those of
releases before Rome), Jira's resolutions as shipped with Jira Service Management, ManageEngine's closure codes, BMC
Helix status reasons, and the desk's own.
"""

from collections.abc import Mapping
from enum import StrEnum


class Label(StrEnum):
    """How people closed an incident, for whoever learns from it. UNKNOWN: they did not say, or not in a known word."""

    UNKNOWN = ""
    REAL = "real"
    NO_FAULT = "no_fault"
    DUPLICATE = "duplicate"
    FALSE_ALARM = "false_alarm"


NO_INCIDENT = frozenset({Label.NO_FAULT, Label.DUPLICATE, Label.FALSE_ALARM})
"""What was closed so is no incident of its own."""

_USUAL: Mapping[Label, tuple[str, ...]] = {
    Label.REAL: (
        "real", "fixed", "done", "workaround", "workaround provided", "solution provided", "resolved by change",
        "resolved by problem", "known error", "hardware failure", "software failure", "solved work around",
        "solved permanently", "solved remotely work around", "solved remotely permanently", "success",
        "infrastructure change created",
    ),
    Label.NO_FAULT: (
        "no fault", "no fault found", "not solved not reproducible", "cannot reproduce", "can not reproduce",
        "unable to reproduce", "not reproducible", "user error",
    ),
    Label.DUPLICATE: ("duplicate", "duplicated", "duplicate incident", "duplicate ticket"),
    Label.FALSE_ALARM: ("false alarm", "false positive", "false alert", "monitoring error"),
}  # fmt: skip
_BY_WORD = {word: label for label, words in _USUAL.items() for word in words}


def label_of(code: str, more: Mapping[str, Label]) -> Label:
    """Of a close code in the system's own words, which are compared without case and punctuation. ``more``: settings,
    which come before the usual words."""
    word = plain(code)
    return {plain(each): label for each, label in more.items()}.get(word) or _BY_WORD.get(word, Label.UNKNOWN)


def plain(code: str) -> str:
    return " ".join("".join(letter if letter.isalnum() else " " for letter in code.lower()).split())
