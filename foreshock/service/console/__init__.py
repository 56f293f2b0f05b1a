"""The console: pages made on the server from ``Views`` and ``Actions`` alone, so another front end could replace it."""

from foreshock.service.console.pages import console, not_found

__all__ = ["console", "not_found"]
