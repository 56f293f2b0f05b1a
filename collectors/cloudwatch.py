"""Alarms and metrics of Amazon CloudWatch, read by its API.

Facts:    https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/ (DescribeAlarms, ListMetrics,
          GetMetricData), read 2026-11-22; boto3 1.44.
Delivery: at least once. The place of each metric, and which alarms fire, are kept once what was read is on disk. The
          first visit tells of all alarms that fire, and reads `lookback` of each metric.
Recovery: reported; an alarm is over when its state is OK, or when it was deleted. INSUFFICIENT_DATA is neither. The
          same alarm through Amazon SNS is the same alert.
Limits:   2,000 alarms that fire and 2,000 series of a metric; what is beyond is said. Points younger than two minutes
          may still change and are read later. GetMetricData costs money by the metric: ask for what you need, and not
          oftener than `period`.
Needs:    the extra ``aws``, and an account that may cloudwatch:DescribeAlarms, cloudwatch:ListMetrics and
          cloudwatch:GetMetricData: with a key, or without one as the environment, profile or instance role gives it.
"""

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Raw, Struct
from pydantic import BaseModel, ConfigDict, Field, field_validator

from collectors.sns import alarm
from foreshock.core.contracts import Collector, Ignored, Page, Poll, PollConfig
from foreshock.core.errors import (
    ConfigError,
    Denied,
    ForeshockError,
    Invalid,
    Malformed,
    Problem,
    Rejected,
    Unavailable,
)
from foreshock.core.model import Direction, Event, Samples, Series
from foreshock.core.payload import Object
from foreshock.core.quantities import Duration, parse_duration

T = TypeVar("T")

MAX_FIRING = 2000
MAX_SERIES = 2000
_SETTLE = timedelta(minutes=2)
_LISTED_FOR = timedelta(hours=1)
_BATCH = 500  # metrics in one GetMetricData
_POINTS = 100_000  # in one answer of it; AWS allows 100,800
_DENIED = ("AccessDenied", "InvalidClientToken", "SignatureDoesNotMatch", "UnrecognizedClient", "ExpiredToken")
_SLOW = ("Throttl", "RequestLimitExceeded", "LimitExceeded", "InternalFailure", "InternalServi", "ServiceUnavailable")


class CloudWatchMetric(BaseModel):
    """One metric of all CIs that have it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    metric: str = Field(min_length=1, max_length=100, description="what the metric is called here")
    namespace: str = Field(min_length=1, max_length=255, description="of CloudWatch, for example AWS/EC2")
    name: str = Field(min_length=1, max_length=255, description="of CloudWatch, for example CPUUtilization")
    dimensions: tuple[str, ...] = Field(
        min_length=1,
        max_length=10,
        description="exactly these; the value of the first names the CI, those of the others tell its series apart",
    )
    stat: str = Field(default="Average", max_length=20, description="statistic, for example Average, Sum or p99")
    unit: str = Field(default="", max_length=20, description="unit of the values, for people")
    worse: Literal["up", "down", "either"] = Field(
        default="either", description="which way is worse; the other way is then no anomaly"
    )


class CloudWatchConfig(PollConfig):
    region: str = Field(min_length=1, max_length=40, description="of the alarms and metrics", examples=["eu-west-1"])
    key_id: str = Field(default="", max_length=128, description="id of an access key; empty: as the environment says")
    secret_key_file: Path | None = Field(
        default=None, description="file with the secret access key of `key_id`, mode 0600"
    )
    url: str = Field(default="", description="another address of the API, for example of a VPC endpoint")
    alarms: bool = Field(default=True, description="whether alarms are read")
    metrics: tuple[CloudWatchMetric, ...] = Field(
        default=(),
        max_length=100,
        description="what to read into the metric history",
        examples=[
            [
                {
                    "metric": "cpu_busy",
                    "namespace": "AWS/EC2",
                    "name": "CPUUtilization",
                    "dimensions": ["InstanceId"],
                    "unit": "%",
                    "worse": "up",
                }
            ]
        ],
    )
    period: Duration = Field(
        default=parse_duration("5m"), ge=timedelta(minutes=1), le=timedelta(hours=1), description="time between points"
    )
    lookback: Duration = Field(
        default=parse_duration("1d"),
        ge=timedelta(minutes=1),
        le=timedelta(days=60),
        description="how far back the first visit reads",
    )

    @field_validator("period")
    @classmethod
    def _is_whole_minutes(cls, period: timedelta) -> timedelta:
        if period % timedelta(minutes=1):
            raise Invalid(f"{period} is no number of minutes", hint="CloudWatch keeps points by the minute")
        return period

    @field_validator("metrics")
    @classmethod
    def _have_own_names(cls, metrics: tuple[CloudWatchMetric, ...]) -> tuple[CloudWatchMetric, ...]:
        names = [each.metric for each in metrics]
        for index, name in enumerate(names):
            if name in names[:index]:
                raise Invalid(f"two are called {name!r}", hint="give each its own name", path=(index, "metric"))
        return metrics


class _Cursor(Struct):
    """firing: alarms told of and not over yet, by ARN, as told. places: by metric, the time of the next point."""

    firing: dict[str, Object] = {}
    places: dict[str, float] = {}


class CloudWatch:
    """Polls one region. client: a boto3 client for CloudWatch."""

    def __init__(self, instance: str, config: CloudWatchConfig, client: Any) -> None:
        self._instance, self._config, self._client = instance, config, client
        self._listed: dict[str, tuple[datetime, list[list[dict[str, str]]]]] = {}

    def fetch(self, cursor: str, now: datetime) -> Page:
        known = msgspec.json.decode(cursor, type=_Cursor) if cursor else _Cursor()
        payloads: list[bytes] = []
        problems: list[str] = []
        failed: list[ForeshockError] = []
        if self._config.alarms:
            try:
                changed, known.firing = self._alarms(known.firing, now)
                payloads += [msgspec.json.encode({"alarms": each}) for each in _batches(changed)]
            except Denied:
                raise
            except ForeshockError as error:
                failed.append(error)
        if len(known.firing) >= MAX_FIRING:
            problems.append(f"more than {MAX_FIRING} alarms fire; the others were not read")
        more = False
        for metric in self._config.metrics:
            try:
                series, place, reached = self._points(metric, known.places.get(metric.metric), now, problems)
            except Denied:
                raise
            except ForeshockError as error:
                failed.append(error)
                continue
            known.places[metric.metric] = place
            more |= not reached
            if series:
                payloads.append(msgspec.json.encode({"metric": _asked(metric), "series": series}))
        if failed and not payloads:
            raise failed[0]
        names = {metric.metric for metric in self._config.metrics}
        known.places = {name: place for name, place in known.places.items() if name in names}
        return Page(
            payloads=tuple(payloads),
            cursor=msgspec.json.encode(known).decode(),
            more=more,
            problems=(*problems, *map(str, failed)),
        )

    # ---- alarms ----

    def _alarms(self, told: Mapping[str, Object], now: datetime) -> tuple[list[Object], dict[str, Object]]:
        """What changed since it was told, and the alarms that fire now."""
        changed: list[Object] = []
        firing: dict[str, Object] = {}
        seen: set[str] = set()
        for found in self._pages("describe_alarms", AlarmTypes=["MetricAlarm", "CompositeAlarm"], MaxRecords=100):
            for each in (*found.get("MetricAlarms", ()), *found.get("CompositeAlarms", ())):
                arn, state = str(each.get("AlarmArn")), each.get("StateValue")
                seen.add(arn)
                if state == "ALARM" and len(firing) < MAX_FIRING:
                    firing[arn] = _as_told(each)
                    if told.get(arn, {}).get("StateChangeTime") != firing[arn]["StateChangeTime"]:
                        changed.append(firing[arn])
                elif state == "OK" and arn in told:
                    changed.append(_as_told(each))
                elif arn in told:
                    firing[arn] = told[arn]
        for arn in told.keys() - seen:
            over = {"NewStateValue": "OK", "NewStateReason": "The alarm was deleted.", "StateChangeTime": _text(now)}
            changed.append({**told[arn], **over})
        return sorted(changed, key=lambda each: str(each["AlarmArn"])), firing

    # ---- metrics ----

    def _points(
        self, metric: CloudWatchMetric, place: float | None, now: datetime, problems: list[str]
    ) -> tuple[list[Object], float, bool]:
        """Series with their new points, where to go on, and whether that is as far as there is."""
        period = self._config.period.total_seconds()
        end = math.floor((now - _SETTLE).timestamp() / period) * period
        earliest = end - math.ceil(self._config.lookback.total_seconds() / period) * period
        if place is not None and place < earliest:
            problems.append(f"{metric.metric}: what came before the lookback of {self._config.lookback} was not read")
        start = earliest if place is None else max(place, earliest)
        if start >= end:
            return [], start, True
        listed = self._list(metric, now, problems)
        steps = max(1, _POINTS // max(1, min(len(listed), _BATCH)))
        until = min(end, start + steps * period)
        series: list[Object] = []
        for batch in _batches(listed):
            series += self._read(metric, batch, start, until)
        return series, until, until >= end

    def _list(self, metric: CloudWatchMetric, now: datetime, problems: list[str]) -> list[list[dict[str, str]]]:
        """Dimensions of each series of a metric."""
        kept = self._listed.get(metric.metric)
        if kept is not None and now - kept[0] < _LISTED_FOR:
            return kept[1]
        wanted, found = set(metric.dimensions), []
        for page in self._pages("list_metrics", Namespace=metric.namespace, MetricName=metric.name):
            for each in page.get("Metrics", ()):
                dimensions = each.get("Dimensions", [])
                if {one["Name"] for one in dimensions} == wanted:
                    found.append(sorted(dimensions, key=lambda one: metric.dimensions.index(one["Name"])))
        if len(found) > MAX_SERIES:
            problems.append(f"{metric.metric}: it has {len(found)} series, {MAX_SERIES} are read")
        found = sorted(found, key=str)[:MAX_SERIES]
        self._listed[metric.metric] = (now, found)
        return found

    def _read(
        self, metric: CloudWatchMetric, batch: Sequence[list[dict[str, str]]], start: float, until: float
    ) -> Iterator[Object]:
        period = int(self._config.period.total_seconds())
        queries = [
            {
                "Id": f"m{index}",
                "MetricStat": {
                    "Metric": {"Namespace": metric.namespace, "MetricName": metric.name, "Dimensions": dimensions},
                    "Period": period,
                    "Stat": metric.stat,
                },
            }
            for index, dimensions in enumerate(batch)
        ]
        points: dict[str, dict[float, float]] = {}
        for page in self._pages(
            "get_metric_data",
            MetricDataQueries=queries,
            StartTime=datetime.fromtimestamp(start, UTC),
            EndTime=datetime.fromtimestamp(until, UTC),
            ScanBy="TimestampAscending",
        ):
            for result in page.get("MetricDataResults", ()):
                times = (at.timestamp() for at in result["Timestamps"])
                points.setdefault(result["Id"], {}).update(zip(times, result["Values"], strict=False))
        for index, dimensions in enumerate(batch):
            found = sorted(points.get(f"m{index}", {}).items())
            if found:
                yield {
                    "ci": dimensions[0]["Value"],
                    "dimension": ",".join(f"{one['Name']}={one['Value']}" for one in dimensions[1:]),
                    "times": [at for at, _ in found],
                    "values": [value for _, value in found],
                }

    def _pages(self, name: str, **asked: Any) -> Iterator[Mapping[str, Any]]:
        from botocore.exceptions import BotoCoreError, ClientError, NoCredentialsError, PartialCredentialsError

        place = f"cloudwatch {self._instance!r}"
        try:
            yield from self._client.get_paginator(name).paginate(**asked)
        except (NoCredentialsError, PartialCredentialsError) as error:
            raise Denied(f"{place}: {error}", hint="set key_id and secret_key_file, or give the host a role") from None
        except ClientError as error:
            code, said = str(error.response.get("Error", {}).get("Code", "")), f"{place} answered {name}: {error}"
            if code.startswith(_DENIED):
                raise Denied(said, hint="check the key, and that it may read as the documentation page says") from None
            if code.startswith(_SLOW):
                raise Unavailable(said, retry_after_s=60.0) from None
            raise Rejected(said, hint="check region and metrics") from None
        except BotoCoreError as error:
            raise Unavailable(f"{place} cannot be reached: {error}") from None


def _as_told(each: Mapping[str, Any]) -> Object:
    """An alarm as it is in a message of SNS, so that it is the same alert."""
    arn = str(each.get("AlarmArn", ""))
    changed = each.get("StateTransitionedTimestamp") or each.get("StateUpdatedTimestamp")
    return {
        "AlarmName": each.get("AlarmName"),
        "AlarmArn": arn,
        "AlarmDescription": each.get("AlarmDescription", ""),
        "AWSAccountId": (arn.split(":") + [""] * 5)[4],
        "NewStateValue": each.get("StateValue"),
        "NewStateReason": str(each.get("StateReason", ""))[:1000],
        "StateChangeTime": _text(changed) if isinstance(changed, datetime) else "",
        "Trigger": {
            "MetricName": each.get("MetricName", ""),
            "Namespace": each.get("Namespace", ""),
            "Dimensions": [{"name": one["Name"], "value": one["Value"]} for one in each.get("Dimensions", ())],
        },
    }


def _batches(many: Sequence[T]) -> Iterator[Sequence[T]]:
    return (many[start : start + _BATCH] for start in range(0, len(many), _BATCH))


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _asked(metric: CloudWatchMetric) -> Mapping[str, str]:
    return {"metric": metric.metric, "unit": metric.unit, "worse": "" if metric.worse == "either" else metric.worse}


# ---- payload to events and samples ----------------------------------------------------------------------------------


class _Asked(Struct):
    metric: str
    unit: str = ""
    worse: Literal["up", "down", ""] = ""


class _Found(Struct):
    ci: str
    times: list[float]
    values: list[float]
    dimension: str = ""


class _Payload(Struct):
    alarms: list[Raw] = []
    metric: _Asked | None = None
    series: list[Raw] = []


class Points(Struct):
    """New points of one series."""

    asked: _Asked
    found: _Found


_PAYLOAD = msgspec.json.Decoder(_Payload)
_ALARM, _SERIES = msgspec.json.Decoder(Object), msgspec.json.Decoder(_Found)


def decode(payload: bytes) -> list[Object | Points | Malformed]:
    """Alarms as SNS tells of them, or series of one metric."""
    try:
        read = _PAYLOAD.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Malformed(f"the payload cannot be read: {error}") from None
    if not read.alarms and read.metric is None:
        raise Malformed("there are neither alarms nor a metric")
    items: list[Object | Points | Malformed] = [*_each(read.alarms, _ALARM)]
    if read.metric is not None:
        asked, series = read.metric, _each(read.series, _SERIES)
        items += (one if isinstance(one, Malformed) else Points(asked, one) for one in series)
    return items


def _each(raws: Iterable[Raw], decoder: "msgspec.json.Decoder[Any]") -> Iterator[Any]:
    for raw in raws:
        try:
            yield decoder.decode(raw)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            yield Malformed(str(error), payload=bytes(raw)[:1000])


def translate(item: Object | Points, received_at: datetime) -> Event | Samples | Ignored:
    """Raises Malformed where an alarm has no name or state, or a series no CI."""
    if not isinstance(item, Points):
        return alarm(item, received_at)
    asked, found = item.asked, item.found
    if not (found.ci and asked.metric):
        raise Malformed("a series names no CI or metric")
    if len(found.times) != len(found.values) or any(a >= b for a, b in zip(found.times, found.times[1:], strict=False)):
        raise Malformed(f"{asked.metric}: the points of {found.ci[:100]} are not in order")
    worse = Direction(asked.worse) if asked.worse else None
    return Samples(
        series=Series(ci=found.ci, metric=asked.metric, dimension=found.dimension[:300], unit=asked.unit, worse=worse),
        times=found.times,
        values=found.values,
    )


def _build(name: str, config: CloudWatchConfig) -> CloudWatch:
    place = f"collectors.{name}"
    try:
        import boto3
        from botocore.config import Config
    except ImportError:
        raise ConfigError(
            [
                Problem(
                    file="",
                    line=None,
                    path=place,
                    message="reading CloudWatch needs boto3, which is not installed",
                    hint="install foreshock with the extra aws: pip install 'foreshock[aws]'",
                )
            ]
        ) from None
    from foreshock.connect.auth import read_secret

    secret = read_secret(config.secret_key_file, f"{place}.secret_key_file") if config.secret_key_file else None
    client = boto3.client(
        "cloudwatch",
        region_name=config.region,
        endpoint_url=config.url or None,
        aws_access_key_id=config.key_id or None,
        aws_secret_access_key=secret,
        config=Config(connect_timeout=5, read_timeout=30, retries={"max_attempts": 3, "mode": "standard"}),
    )
    return CloudWatch(name, config, client)


COLLECTOR = Collector(
    kind="cloudwatch",
    title="Alarms and metrics of Amazon CloudWatch",
    facts="Amazon CloudWatch API: DescribeAlarms, ListMetrics, GetMetricData",
    decode=decode,
    translate=translate,
    sample="cloudwatch-firing.json",
    poll=Poll(config=CloudWatchConfig, build=_build),
    namespace="aws",
)
