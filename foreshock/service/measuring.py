"""Everything about metrics that runs by itself: sources are asked, deviations become records, the history is tidied."""

import asyncio
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta
from pathlib import Path

import msgspec
import structlog
from prometheus_client.core import CounterMetricFamily, Metric

from foreshock.core.contracts import Collector, NewRecord, RecordKind
from foreshock.core.errors import Unavailable
from foreshock.service import metrics as gauges
from foreshock.service.anomaly_alerts import KIND, alerts
from foreshock.service.capacity import PredictSettings, bounds_of, every, limits_of
from foreshock.service.metric_process import MetricProcess
from foreshock.service.polling import Polling
from foreshock.service.records import AnomaliesRecord, ForecastsRecord
from foreshock.service.scheduler import Scheduler
from foreshock.service.settings import CollectorInstance, MetricSettings
from foreshock.service.views import SourceView

log = structlog.get_logger("metrics")

_DETECT = timedelta(minutes=1)
_TIDY = timedelta(hours=1)
_MAX_IN_RECORD = 100
_MAX_AT_ONCE = 500
"""Anomalies told of in one round, the strongest; more of them is a storm that they would not explain."""


class Measuring:
    """Args:
        folder: of the metric history.
        predict: which series have a limit.
        append: puts a record into the inbox and returns once it is on disk.
    Raises: ConfigError with the problems of all instances.
    """

    def __init__(
        self,
        instances: tuple[CollectorInstance, ...],
        settings: MetricSettings,
        predict: PredictSettings,
        folder: Path,
        kinds: Mapping[str, Collector],
        append: Callable[[NewRecord], object],
        clock: Callable[[], datetime],
    ) -> None:
        self._settings, self._append, self._clock = settings, append, clock
        self._predict, self._limits, self._bounds = predict, limits_of(predict), bounds_of(predict)
        self._process = MetricProcess(folder, most_series=settings.series, of_source=settings.series_of_source)
        self._listens = any(_selects(instance, kinds[instance.kind]) for instance in instances)
        self.append_encoded = self._process.append_encoded
        self._polling = Polling(instances, kinds, self._process, append, clock)
        self._anomalies = self._left_out = 0

    def schedule(self, scheduler: Scheduler, *, listens: bool = False) -> None:
        """Nothing where no metrics can come: then there is no process either."""
        self._listens = self._listens or listens
        if self._polling.polled or self._listens:
            self._polling.schedule(scheduler)
            scheduler.every(_DETECT, "detect", self.detect)
            scheduler.every(_TIDY, "metric history", self.tidy)
            if self._limits:
                scheduler.every(every(self._predict), "capacity", self.foresee)

    def stop(self) -> None:
        self._process.stop()

    async def append_posted(self, append: bytes) -> None:
        """``append_encoded``, from an event loop."""
        await asyncio.to_thread(self.append_encoded, append)

    def detect(self) -> None:
        """What left its usual band becomes records, for the engine to weigh."""
        settings = self._settings
        found = self._process.detect(
            self._clock(),
            learn=settings.learn,
            window=settings.window,
            detectors=settings.detectors,
            limits=self._bounds,
        )
        told = sorted(found, key=lambda anomaly: -anomaly.score)[:_MAX_AT_ONCE]
        self._left_out += len(found) - len(told)
        for first in range(0, len(told), _MAX_IN_RECORD):
            part = tuple(told[first : first + _MAX_IN_RECORD])
            body = msgspec.json.encode(AnomaliesRecord(anomalies=part))
            self._append(NewRecord(kind=RecordKind.ANOMALIES, body=body, source="detectors", items=len(part)))
            self._anomalies += len(part)
        if events := alerts(told, self._settings.alerts, self._clock()):
            body = msgspec.json.encode(events)
            self._append(
                NewRecord(kind=RecordKind.EVENTS, body=body, collector=KIND, source="detectors", items=len(events))
            )

    def foresee(self) -> None:
        """What is likely to reach its limit becomes records, for the engine to weigh."""
        found = self._process.foresee(self._clock(), self._limits)
        for first in range(0, len(found), _MAX_IN_RECORD):
            part = tuple(found[first : first + _MAX_IN_RECORD])
            body = msgspec.json.encode(ForecastsRecord(forecasts=part))
            self._append(NewRecord(kind=RecordKind.FORECASTS, body=body, source="capacity", items=len(part)))

    def tidy(self) -> None:
        now = self._clock()
        self._process.tidy(now, before=now - self._settings.age, max_bytes=self._settings.size)
        if damaged := self._process.last.damaged:
            raise Unavailable(
                f"{len(damaged)} files of the metric history are damaged and were set aside: "
                + ", ".join(sorted(damaged)[:5]),
                hint="their points are missing; remove the folder `damaged` when you have seen it, and restart",
            )
        if refused := self._process.last.refused:
            first = refused[0]
            raise Unavailable(
                f"{sum(each.points for each in refused)} points of {len(refused)} metrics were left out, as there are "
                f"more series than are kept; {first.metric} of {first.source} has most, {first.series}",
                hint="select less there, or raise metrics.series or metrics.series_of_source",
            )

    def sources(self) -> Iterable[SourceView]:
        for polled in list(self._polling.polled.values()):
            yield SourceView(
                name=polled.name,
                collector=polled.kind,
                title=polled.title,
                path="",
                last_seen=polled.last_seen,
                batches=polled.pages,
                events=polled.items,
                rejected=polled.rejected,
                last_error=polled.last_error,
            )

    def families(self) -> Iterable[Metric]:
        polled = list(self._polling.polled.values())
        if not polled and not self._listens:
            return
        points = [((each.name,), float(each.points)) for each in polled]
        yield gauges.labelled(
            CounterMetricFamily, "foreshock_metric_points", "Points read into the metric history.", ("source",), points
        )
        yield gauges.gauge("foreshock_metric_series", "Series judged in the last round.", self._process.last.series)
        yield gauges.gauge("foreshock_metric_history_bytes", "Bytes of the metric history.", self._process.last.bytes)
        yield gauges.gauge(
            "foreshock_metric_history_damaged_files", "Files set aside.", len(self._process.last.damaged)
        )
        yield gauges.labelled(
            CounterMetricFamily,
            "foreshock_metric_points_refused",
            "Points beyond the bounds on series.",
            ("source", "metric"),
            [((each.source, each.metric), float(each.points)) for each in self._process.last.refused],
        )
        yield gauges.labelled(
            CounterMetricFamily,
            "foreshock_anomalies",
            "Anomalies found, by what became of them.",
            ("outcome",),
            [(("told",), float(self._anomalies)), (("left_out",), float(self._left_out))],
        )


def _selects(instance: CollectorInstance, kind: Collector) -> bool:
    """Whether it posts points that are kept."""
    posts = kind.receive is not None and kind.receive.measured is not None
    return posts and bool(getattr(instance.config, "metrics", ()))
