"""The wall clock; the one place where the service reads it by default."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    return datetime.now(UTC)
