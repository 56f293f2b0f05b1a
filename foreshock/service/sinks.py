"""Makes sinks of what the configuration says."""

from foreshock.connect.http import Http
from foreshock.core.contracts import DeskBook, Sink, SinkParts
from foreshock.service.settings import SinkInstance, sink_kinds


def build_sink(instance: SinkInstance, console: str, book: DeskBook) -> Sink:
    """A sink as it stands in the configuration. Raises ConfigError, for example where a secret cannot be read."""
    parts = SinkParts(http=Http, book=book, console=console)
    return sink_kinds()[instance.kind].build(instance.name, instance.config, parts)
