"""What is read of CloudWatch, as moto answers for it: alarms that changed, points since the last visit."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from collectors import sns
from collectors.cloudwatch import COLLECTOR, CloudWatch, CloudWatchConfig, _build, decode, translate
from foreshock.connect.config import strictly
from foreshock.core.contracts import Page
from foreshock.core.errors import ConfigError, Denied, ForeshockError, Malformed, Rejected, Unavailable
from foreshock.core.model import Direction, Event, Samples, read_labels
from foreshock.testing.payloads import sample

boto3 = pytest.importorskip("boto3")
moto = pytest.importorskip("moto")

CPU = {"metric": "cpu", "namespace": "AWS/EC2", "name": "CPUUtilization", "dimensions": ["InstanceId"], "worse": "up"}
ALARM: dict[str, Any] = {
    "AlarmName": "web-1 CPU",
    "AlarmDescription": "CPU of web-1 is above 90 %",
    "MetricName": "CPUUtilization",
    "Namespace": "AWS/EC2",
    "Dimensions": [{"Name": "InstanceId", "Value": "i-1"}],
    "ComparisonOperator": "GreaterThanThreshold",
    "Statistic": "Average",
    "Threshold": 90.0,
    "Period": 300,
    "EvaluationPeriods": 1,
}


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.setenv(name, "testing")
    with moto.mock_aws():
        yield boto3.client("cloudwatch", region_name="eu-west-1")


def poller(client: Any, **given: Any) -> CloudWatch:
    return CloudWatch("aws", strictly({"region": "eu-west-1", **given}, CloudWatchConfig), client)


def now() -> datetime:
    return datetime.now(UTC)


def read(page: Page) -> list[Any]:
    return [
        translate(item, now())
        for payload in page.payloads
        for item in decode(payload)
        if not isinstance(item, Malformed)
    ]


def set_state(client: Any, state: str) -> None:
    client.set_alarm_state(AlarmName="web-1 CPU", StateValue=state, StateReason="a test")


# ---- alarms ---------------------------------------------------------------------------------------------------------


def test_an_alarm_is_told_of_once_when_it_fires_and_once_when_it_is_over(client: Any):
    client.put_metric_alarm(**ALARM)
    source = poller(client)
    quiet = source.fetch("", now())

    set_state(client, "ALARM")
    fired = source.fetch(quiet.cursor, now())
    still = source.fetch(fired.cursor, now())
    set_state(client, "OK")
    over = source.fetch(still.cursor, now())
    after = source.fetch(over.cursor, now())

    assert (quiet.payloads, still.payloads, after.payloads) == ((), (), ())
    (began,), (ended,) = read(fired), read(over)
    assert read_labels(began.labels) == {
        "alertname": "web-1 CPU",
        "account": "123456789012",
        "region": "eu-west-1",
        "instance": "i-1",
    }
    assert began.labels == ended.labels
    assert (began.ends_at is None, ended.ends_at is None) == (True, False)


def test_the_first_visit_tells_of_what_fires_already_and_a_visit_again_of_the_same(client: Any):
    client.put_metric_alarm(**ALARM)
    set_state(client, "ALARM")

    assert poller(client).fetch("", now()).payloads == poller(client).fetch("", now()).payloads
    assert len(read(poller(client).fetch("", now()))) == 1


def test_an_alarm_that_was_deleted_is_over(client: Any):
    client.put_metric_alarm(**ALARM)
    set_state(client, "ALARM")
    source = poller(client)
    fired = source.fetch("", now())

    client.delete_alarms(AlarmNames=["web-1 CPU"])

    (ended,) = read(source.fetch(fired.cursor, now()))
    assert isinstance(ended, Event)
    assert ended.ends_at is not None
    assert ended.labels == read(fired)[0].labels


def test_too_little_data_is_no_end(client: Any):
    client.put_metric_alarm(**ALARM)
    set_state(client, "ALARM")
    source = poller(client)
    fired = source.fetch("", now())

    set_state(client, "INSUFFICIENT_DATA")
    unknown = source.fetch(fired.cursor, now())
    set_state(client, "OK")

    assert unknown.payloads == ()
    assert len(read(source.fetch(unknown.cursor, now()))) == 1


def test_what_comes_by_sns_and_by_the_api_is_one_alert():
    (posted,) = sns.decode(sample("sns-firing.json").payload)
    assert isinstance(posted, sns.Told)

    assert sns.COLLECTOR.namespace == COLLECTOR.namespace
    told, asked = sns.translate(posted, now()), translate(posted.said, now())
    assert isinstance(told, Event)
    assert isinstance(asked, Event)
    assert told.labels == asked.labels


# ---- metrics --------------------------------------------------------------------------------------------------------


def put(client: Any, instance: str, at: datetime, value: float, **more: str) -> None:
    dimensions = [{"Name": name, "Value": said} for name, said in {"InstanceId": instance, **more}.items()]
    client.put_metric_data(
        Namespace="AWS/EC2",
        MetricData=[{"MetricName": "CPUUtilization", "Dimensions": dimensions, "Timestamp": at, "Value": value}],
    )


def test_visits_read_each_point_once_and_leave_the_youngest_for_later(client: Any):
    noon = now().replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    for minutes in (0, 5, 10, 15):
        put(client, "i-1", noon + timedelta(minutes=minutes), 10.0 + minutes)
    put(client, "i-1", noon, 99.0, AutoScalingGroupName="web")
    source = poller(client, metrics=[CPU], lookback="1h", alarms=False)

    first = source.fetch("", noon + timedelta(minutes=12))
    second = source.fetch(first.cursor, noon + timedelta(minutes=22))
    third = source.fetch(second.cursor, noon + timedelta(minutes=23))

    (before,), (after,) = read(first), read(second)
    assert isinstance(before, Samples)
    assert (before.series.ci, before.series.metric, before.series.worse) == ("i-1", "cpu", Direction.UP)
    assert list(before.values) == [10.0, 15.0]
    assert list(after.values) == [20.0, 25.0]
    assert third.payloads == ()


def test_a_break_longer_than_the_lookback_is_said(client: Any):
    put(client, "i-1", now(), 1.0)
    source = poller(client, metrics=[CPU], lookback="1h", alarms=False)
    first = source.fetch("", now() - timedelta(days=1))

    assert "was not read" in source.fetch(first.cursor, now()).problems[0]


# ---- what goes wrong ------------------------------------------------------------------------------------------------


class Failing:
    """A client whose every question fails."""

    def __init__(self, error: Exception) -> None:
        self._error = error

    def get_paginator(self, name: str) -> "Failing":
        return self

    def paginate(self, **asked: Any) -> Iterator[Any]:
        raise self._error


def refused(code: str) -> Exception:
    from botocore.exceptions import ClientError

    return ClientError({"Error": {"Code": code, "Message": "no"}}, "DescribeAlarms")


def unreachable() -> Exception:
    from botocore.exceptions import EndpointConnectionError

    return EndpointConnectionError(endpoint_url="https://monitoring.eu-west-1.amazonaws.com")


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (lambda: refused("AccessDenied"), Denied),
        (lambda: refused("ExpiredTokenException"), Denied),
        (lambda: refused("Throttling"), Unavailable),
        (lambda: refused("InvalidParameterValue"), Rejected),
        (unreachable, Unavailable),
    ],
)
def test_a_failure_says_what_happens_next(error: Any, told: type[ForeshockError]):
    with pytest.raises(told, match="cloudwatch 'aws'"):
        poller(Failing(error())).fetch("", now())


def test_a_secret_that_others_may_read_is_refused(tmp_path: Path):
    path = tmp_path / "secret"
    path.write_text("x" * 40)
    path.chmod(0o644)

    with pytest.raises(ConfigError, match="chmod 600"):
        _build("aws", strictly({"region": "eu-west-1", "key_id": "AK", "secret_key_file": str(path)}, CloudWatchConfig))


@pytest.mark.parametrize(
    "given",
    [{"period": "90s"}, {"metrics": [CPU, CPU]}, {"metrics": [{**CPU, "dimensions": []}]}, {"region": ""}],
    ids=["no whole minutes", "the same name twice", "no dimensions", "no region"],
)
def test_settings_that_cannot_work_are_refused(given: dict[str, Any]):
    with pytest.raises(ValidationError):
        strictly({"region": "eu-west-1", **given}, CloudWatchConfig)
