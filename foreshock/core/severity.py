"""How bad a source says a condition is, on one scale for all sources."""

from enum import IntEnum


class Severity(IntEnum):
    """Higher is worse, so ``max()`` gives the worst. The five levels are what a NOC can tell apart at a glance;
    UNKNOWN sorts lowest but is treated as WARNING wherever urgency is decided, because silence is no evidence."""

    UNKNOWN = 0
    INFO = 1
    WARNING = 2
    MINOR = 3
    MAJOR = 4
    CRITICAL = 5

    @property
    def word(self) -> str:
        return self.name.lower()


# Words seen in the field, lower case: Prometheus rules, X.733, syslog, Zabbix, Nagios, cloud vendors.
_WORDS: dict[str, Severity] = {
    **dict.fromkeys(
        (
            "critical",
            "crit",
            "fatal",
            "emergency",
            "emerg",
            "alert",
            "disaster",
            "page",
            "down",
            "p1",
            "sev1",
            "blocker",
        ),
        Severity.CRITICAL,
    ),
    **dict.fromkeys(("major", "error", "err", "high", "p2", "sev2", "failure", "severe"), Severity.MAJOR),
    **dict.fromkeys(("minor", "average", "medium", "p3", "sev3"), Severity.MINOR),
    **dict.fromkeys(("warning", "warn", "low", "p4", "sev4", "degraded"), Severity.WARNING),
    **dict.fromkeys(
        ("info", "information", "informational", "notice", "none", "ok", "debug", "p5", "sev5"), Severity.INFO
    ),
}


def parse_severity(text: str) -> Severity:
    """The level a source's word stands for; UNKNOWN for a word not in the table, never an error:
    an odd decoration must not lose an alert."""
    return _WORDS.get(text.strip().lower(), Severity.UNKNOWN)
