"""Sources that went silent: an instance that is to be heard, and is not, opens an incident about itself.

What an instance promises: ``expect_every`` where it is set; one that is asked answers, and one that is listened to has
its socket or connection, in any case.
"""

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta

from msgspec import Struct

from foreshock.core.contracts import CollectorConfig, PollConfig
from foreshock.core.quantities import format_duration
from foreshock.service.ourselves import source_silent
from foreshock.service.settings import CollectorInstance
from foreshock.service.views import SourceView
from foreshock.service.worries import Labels, Worries, as_labels

LOOK = timedelta(seconds=10)
_PATIENCE = timedelta(minutes=5)
"""A source that answers with errors, or a connection that is down, is waited for so long at least."""
_VISITS = 3
"""Of a source that is asked, so many must have failed."""


class Promise(Struct, frozen=True, kw_only=True):
    """What an instance is to do.

    Attributes:
        within: something comes from it at least this often; None: only what it complains of counts.
        asked: it need not send anything, only answer.
    """

    name: str
    within: timedelta | None
    asked: bool = False


def promises(instances: Iterable[CollectorInstance], asked: Collection[str]) -> Sequence[Promise]:
    """asked: names of instances that are visited."""
    return [_promise(instance, instance.name in asked) for instance in instances]


def _promise(instance: CollectorInstance, asked: bool) -> Promise:
    config = instance.config
    within = config.expect_every if isinstance(config, CollectorConfig) else None
    if within is None and asked and isinstance(config, PollConfig):
        return Promise(name=instance.name, within=max(_VISITS * config.every, _PATIENCE), asked=True)
    return Promise(name=instance.name, within=within)


def silent(
    promised: Iterable[Promise],
    seen: Mapping[str, SourceView],
    troubled: Mapping[str, datetime],
    firing: Collection[Labels],
    *,
    since: datetime,
    now: datetime,
) -> Mapping[Labels, str]:
    """What must be told: labels of an alert about ourselves, and its summary.

    Args:
        seen: sources by name. troubled: since when a listener has complained, by name.
        firing: what was told and is not over: that holds until the source is heard again.
        since: when Foreshock started; nobody could be heard before.
    """
    found = {}
    for promise in promised:
        source, labels = seen.get(promise.name), as_labels(source_silent(promise.name))
        heard = source.last_seen if source is not None else None
        if source is not None and source.listening is not None:
            trouble_since = troubled.get(promise.name)
            if trouble_since is not None and (now - trouble_since >= _PATIENCE or labels in firing):
                found[labels] = _words(promise, heard, source.listening.problem or "its process does not run")
                continue
        if promise.within is None:
            continue
        last = heard if labels in firing else max(filter(None, (heard, since)))
        if last is None or now - last > promise.within:
            found[labels] = _words(promise, heard, source.last_error if source is not None else "")
    return found


def _words(promise: Promise, heard: datetime | None, why: str) -> str:
    last = f"since {heard:%Y-%m-%d %H:%M:%S} UTC" if heard is not None else "since Foreshock started"
    wanted = "" if promise.within is None else f"; it should be heard every {format_duration(promise.within)}"
    what = "has not answered" if promise.asked else "has sent nothing"
    return f"source {promise.name!r} {what} {last}{wanted}" + (f": {why}" if why else "")


class SourceHealth:
    """Args: seen: what is known of all sources. asked: names of instances that are visited."""

    def __init__(
        self,
        instances: Sequence[CollectorInstance],
        asked: Collection[str],
        seen: Callable[[], Iterable[SourceView]],
        worries: Worries,
        clock: Callable[[], datetime],
    ) -> None:
        self._promised, self._seen, self._worries, self._clock = promises(instances, asked), seen, worries, clock
        self._since = clock()
        self._troubled: dict[str, datetime] = {}

    def look(self) -> None:
        now, firing = self._clock(), self._worries.firing()
        seen = {source.name: source for source in self._seen()} if self._promised else {}
        in_trouble = {
            name for name, source in seen.items()
            if source.listening is not None and (source.listening.problem or not source.listening.running)
        }  # fmt: skip
        self._troubled = {name: self._troubled.get(name, now) for name in in_trouble}
        wanted = silent(self._promised, seen, self._troubled, firing, since=self._since, now=now)
        self._worries.settle(wanted, firing)
