"""Makes sinks of what the configuration says."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from foreshock.connect.calls import Made, RetryBudget
from foreshock.connect.http import Http
from foreshock.core.contracts import DeskBook, RemoteSinkConfig, Sink, SinkParts
from foreshock.service.settings import SinkInstance, sink_kinds


def build_sink(
    instance: SinkInstance,
    console: str,
    book: DeskBook,
    heard: Callable[[Mapping[str, str]], None] = lambda headers: None,
    made: Callable[[Made], None] = lambda made: None,
) -> Sink:
    """A sink as it stands in the configuration; ``heard`` gets the headers of each answer to it, ``made`` each call.
    Raises ConfigError, for example where a secret cannot be read."""
    http = partial(Http, heard=heard, made=made, retries=RetryBudget())
    parts = SinkParts(http=http, book=book, console=console)
    return sink_kinds()[instance.kind].build(instance.name, instance.config, parts)


def who_hears(sinks: Sequence[SinkInstance]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of the sinks that hear of situations, and of those that are to keep Problems too."""
    kinds = sink_kinds()
    keep = [
        sink.name
        for sink in sinks
        if kinds[sink.kind].problems and (not isinstance(sink.config, RemoteSinkConfig) or sink.config.problems)
    ]
    return tuple(sink.name for sink in sinks), tuple(keep)
