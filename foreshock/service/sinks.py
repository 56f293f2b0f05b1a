"""Makes sinks of what the configuration says."""

from collections.abc import Callable, Mapping
from functools import partial

from foreshock.connect.http import Http
from foreshock.core.contracts import DeskBook, Sink, SinkParts
from foreshock.service.settings import SinkInstance, sink_kinds


def build_sink(
    instance: SinkInstance,
    console: str,
    book: DeskBook,
    heard: Callable[[Mapping[str, str]], None] = lambda headers: None,
) -> Sink:
    """A sink as it stands in the configuration; ``heard`` gets the headers of each answer to it. Raises ConfigError,
    for example where a secret cannot be read."""
    parts = SinkParts(http=partial(Http, heard=heard), book=book, console=console)
    return sink_kinds()[instance.kind].build(instance.name, instance.config, parts)
