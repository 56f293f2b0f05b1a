"""What systems say of their rate limits in the headers of their answers."""

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from msgspec import Struct

DEFAULT_RESET_S = 15.0
"""A system that counts calls and does not say until when is asked again after so long: they count by the minute."""
MAX_RESET_S = 3600.0
_SPANS_END = 1_000_000.0  # a number below is a span, one above a time since 1970

# Names in lower case: what is left, what there is in all, when it begins anew. Sources, read 2026-11-22:
# developer.atlassian.com "Rate limiting" (X-RateLimit-*, the reset as ISO 8601); developer.zendesk.com "Rate limits"
# (ratelimit-*, the reset in seconds, and X-Rate-Limit-*); api.freshservice.com "Rate limit" (X-Ratelimit-Total and
# -Remaining, no reset). ServiceNow tells limit and reset, but not what is left.
_NAMES = (
    ("ratelimit-remaining", "ratelimit-limit", "ratelimit-reset"),
    ("x-ratelimit-remaining", "x-ratelimit-limit", "x-ratelimit-reset"),
    ("x-ratelimit-remaining", "x-ratelimit-total", ""),
    ("x-rate-limit-remaining", "x-rate-limit", ""),
)


class Allowance(Struct, frozen=True, kw_only=True):
    """How many calls are left of how many, and in how many seconds they begin anew."""

    remaining: int
    limit: int
    reset_s: float


def read_allowance(headers: Mapping[str, str], now: datetime) -> Allowance | None:
    """What an answer says, the tightest where it says several things; None where it says nothing that can be read.

    Args: headers: names in lower case. now: for an answer without a Date.
    """
    found = [each for names in _NAMES if (each := _read(headers, names, now)) is not None]
    return min(found, key=lambda each: each.remaining, default=None)


def _read(headers: Mapping[str, str], names: tuple[str, str, str], now: datetime) -> Allowance | None:
    remaining, limit = (_whole(headers.get(name, "")) for name in names[:2])
    if remaining is None or limit is None:
        return None
    return Allowance(remaining=remaining, limit=limit, reset_s=_reset_s(headers.get(names[2], ""), headers, now))


def _whole(text: str) -> int | None:
    text = text.strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _reset_s(text: str, headers: Mapping[str, str], now: datetime) -> float:
    try:
        server_now = parsedate_to_datetime(headers.get("date", "")).astimezone(UTC)
    except (TypeError, ValueError):
        server_now = now
    try:
        number = float(text)
        seconds = number if number < _SPANS_END else number - server_now.timestamp()
    except ValueError:
        try:
            seconds = (datetime.fromisoformat(text) - server_now).total_seconds()
        except (ValueError, TypeError):
            seconds = DEFAULT_RESET_S
    return min(max(seconds, 1.0), MAX_RESET_S) if seconds == seconds else DEFAULT_RESET_S  # NaN is not itself
