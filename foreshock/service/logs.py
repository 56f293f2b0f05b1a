"""Structured logs on stderr: one JSON object a line for machines, coloured lines on a terminal."""

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog


def configure(level: str, format: Literal["auto", "json", "console"]) -> None:
    """Set up structlog, and send the warnings of libraries the same way. Control characters of hostile text are
    escaped."""
    as_json = format == "json" or (format == "auto" and not sys.stderr.isatty())
    shared: list[structlog.typing.Processor] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True, key="ts"),
        structlog.processors.format_exc_info,
    ]
    render: list[structlog.typing.Processor] = (
        [structlog.processors.JSONRenderer(ensure_ascii=True)]
        if as_json
        else [_inert, structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), repr_native_str=True)]
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *render], foreign_pre_chain=shared
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger("foreshock").setLevel(level.upper())
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            structlog.stdlib.add_logger_name,
            *shared[:2],
            *shared[3:],
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=lambda *names: logging.getLogger(
            ".".join(("foreshock", *names)) if names != ("foreshock",) else "foreshock"
        ),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def _inert(logger: object, name: str, said: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Messages of libraries and texts of errors hold what strangers wrote, and may not look like lines of ours; other
    values are written as ``repr``."""
    for key in ("event", "exception", "stack"):
        if isinstance(text := said.get(key), str):
            shown = text.split("\n") if key != "event" else [text]
            said[key] = "\n    ".join(map(_printable, shown))
    return said


def _printable(text: str) -> str:
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)
