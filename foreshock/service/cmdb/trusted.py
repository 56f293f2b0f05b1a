"""How far the topology can be trusted, for who only looks: worked out when a new version came, shown until the next.

A large topology takes seconds and memory to look through, so a process of its own does that.
"""

import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from os import PRIO_PROCESS, setpriority

import msgspec
from msgspec import Struct
from prometheus_client.core import GaugeMetricFamily, Metric

from foreshock.core.cmdb import CmdbConfig
from foreshock.core.errors import Missing, Unavailable
from foreshock.service import metrics as gauges
from foreshock.service.cmdb.health import Doubt, Doubtful, Health, Sighting, graph_of, health, unbound
from foreshock.service.cmdb.status import CmdbStatus
from foreshock.service.runner import Runner
from foreshock.service.settings import CMDB_FILE, Settings, SettingsSource, SourceInstance
from foreshock.store.cmdb import CmdbStore
from foreshock.store.cmdb_trust import keep_health, kept_health

_REST = timedelta(minutes=10)
"""A large topology is looked through again after so long, however often it changes."""
_OLD = timedelta(days=1)
"""And after so long where it did not: ages grow."""
_SMALL = 5000
"""CIs and relationships that are looked through in this process."""
_FEW_NAMES = 20_000
"""Where there are more CIs, the names that are nearest are left to `foreshock cmdb health`."""
_MOST_UNBOUND = 20
_NICE = 10
_FOUND = 4
_ERROR_CHARS = 2000


class Shown(Struct, frozen=True, kw_only=True):
    """status: None where no source is set up. health: what was found last; None where nobody looked yet. unbound: by
    the alerts that fire now."""

    status: CmdbStatus | None
    health: Health | None
    unbound: tuple[Doubtful, ...] = ()


class Trusted:
    """Args:
    settings: those in force, asked each time. source: where they come from; None: from no file, and then this process
        does it all.
    store, status: of the CMDB; asked only where there is one.
    """

    def __init__(
        self,
        settings: Callable[[], Settings],
        source: SettingsSource | None,
        runner: Runner,
        store: Callable[[], CmdbStore],
        status: Callable[[], CmdbStatus],
        clock: Callable[[], datetime],
    ) -> None:
        self._settings, self._source, self._runner = settings, source, runner
        self._store, self._status, self._clock = store, status, clock
        self._child: subprocess.Popen[bytes] | None = None

    def shown(self) -> Shown:
        if not self._exists():
            return Shown(status=None, health=None)
        return Shown(status=self._status(), health=self._kept(), unbound=tuple(self._unbound()))

    def health(self) -> Health:
        """What was found last, with the alerts that fire now. Raises Missing where nobody looked yet."""
        shown = self.shown()
        if shown.health is None:
            raise Missing("nobody has looked at the topology yet", hint="wait a minute, or: foreshock cmdb health")
        rest = (one for one in shown.health.found if one.doubt is not Doubt.UNBOUND)
        return msgspec.structs.replace(shown.health, found=(*shown.unbound, *rest))

    def look(self) -> None:
        """Look through a topology that is new, or was not looked at for long."""
        newest = self._store().newest() if self._exists() else None
        if newest is None:
            return
        kept, now = self._kept(), self._clock()
        is_small = newest.cis + newest.relationships <= _SMALL
        if kept is not None:
            patience = _OLD if kept.version == newest.name else timedelta(0) if is_small else _REST
            if now - kept.at < patience:
                return
        if is_small or self._source is None:
            store = self._store()
            keep_health(store, health(graph_of(store, intervals(self._settings().topology)), None, now))
        else:
            self._look_apart(self._source)

    def stop(self) -> None:
        if (child := self._child) is not None:
            child.terminate()

    def families(self) -> Iterator[Metric]:
        found = self._kept() if self._exists() else None
        if found is not None:
            counts = [((doubt.value,), float(found.counts.get(doubt.value, 0))) for doubt in Doubt]
            help = "Findings about the topology, by what is doubtful; what needs a history of alerts is not among them."
            yield gauges.labelled(GaugeMetricFamily, "foreshock_cmdb_doubts", help, ("doubt",), counts)

    def _look_apart(self, source: SettingsSource) -> None:
        command = [sys.executable, "-m", "foreshock.service.cli", "cmdb", "health", "--no-alerts", "--save"]
        child = self._child = subprocess.Popen(
            [*command, *source.options()], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE
        )
        with suppress(OSError):
            setpriority(PRIO_PROCESS, child.pid, _NICE)
        said = child.communicate()[1].decode("utf-8", "replace").strip()
        self._child = None
        if child.returncode not in (0, _FOUND) and child.returncode > 0:
            raise Unavailable(f"the look at the topology ended with {child.returncode}: {said[-_ERROR_CHARS:]}")

    def _unbound(self) -> Iterator[Doubtful]:
        with self._runner.looking() as engine:
            cis = engine.topology.cis
            strangers = [
                Sighting(alert.ci, alert.count, alert.origin or alert.source, alert.read_labels())
                for alert in engine.alerts.values()
                if alert.firing and alert.ci not in cis
            ]
            few = len(cis) <= _FEW_NAMES
            names = {name for ci in cis.values() for name in (ci.id, ci.name, *ci.aliases)} if few and strangers else ()
        yield from sorted(unbound(strangers, names), key=lambda one: (-one.weight, one.seen))[:_MOST_UNBOUND]

    def _kept(self) -> Health | None:
        text = kept_health(self._store())
        try:
            return msgspec.json.decode(text, type=Health) if text else None
        except msgspec.ValidationError:
            return None  # of another version of Foreshock; the next look replaces it

    def _exists(self) -> bool:
        settings = self._settings()
        return bool(settings.topology or (settings.state / CMDB_FILE).exists())


def intervals(instances: Sequence[SourceInstance]) -> dict[str, timedelta]:
    """How often each source is read in full."""
    return {one.name: one.config.full_every for one in instances if isinstance(one.config, CmdbConfig)}
