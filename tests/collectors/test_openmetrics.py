"""Targets are scraped side by side; what they expose is selected, and one that fails costs nothing else."""

from datetime import UTC, datetime, timedelta

import pytest

from collectors import openmetrics
from collectors.openmetrics import OpenMetrics, OpenMetricsConfig, read
from foreshock.connect.config import strictly
from foreshock.connect.http import Answer
from foreshock.core.errors import ForeshockError, Malformed, Unavailable
from foreshock.testing.servers import NodeExporter, missing

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
ALL = {"match": '{__name__=~".+"}'}
CLASSIC = """\
# HELP reads_total How many.
# TYPE reads_total counter
reads_total{device="sda"} %d
# TYPE depth gauge
depth 7
odd NaN
"""
OPEN = """\
# TYPE reads counter
reads_total{device="sda"} 5 1795317523.5
# EOF
"""


class Target:
    def __init__(self, *bodies: str | ForeshockError, content_type: str = "text/plain; version=0.0.4") -> None:
        self.bodies, self.content_type, self.paths = list(bodies), content_type, []

    def get(self, path: str, *, headers: dict[str, str]) -> Answer:
        assert "openmetrics-text" in headers["Accept"]
        self.paths.append(path)
        body = self.bodies.pop(0)
        if isinstance(body, ForeshockError):
            raise body
        return Answer(status=200, headers={"content-type": self.content_type}, body=body.encode(), place="target")


def poller(*metrics, **targets: Target) -> OpenMetrics:
    given = {"targets": [f"http://{name}:9100" for name in targets], "metrics": list(metrics or (ALL,))}
    http = dict(zip(given["targets"], targets.values(), strict=True))
    return OpenMetrics(strictly(given, OpenMetricsConfig), http)


def fetched(found: OpenMetrics, after_s: float = 0.0):
    """{(ci, metric, dimension): [(seconds after noon, value)]}, and problems."""
    page = found.fetch("", NOON + timedelta(seconds=after_s))
    samples = [openmetrics.translate(item, NOON) for body in page.payloads for item in openmetrics.decode(body)]
    return {
        (each.series.ci, each.series.metric, each.series.dimension): [
            (at - NOON.timestamp(), value) for at, value in zip(each.times, each.values, strict=True)
        ]
        for each in samples
    }, page.problems


def test_gauges_are_kept_as_they_are_and_counters_as_growth_a_second():
    found = poller(db1=Target(CLASSIC % 100, CLASSIC % 160))

    first, _ = fetched(found)
    second, _ = fetched(found, 60)

    assert first == {("db1:9100", "depth", ""): [(0.0, 7.0)], ("db1:9100", "up", ""): [(0.0, 1.0)]}
    assert second[("db1:9100", "reads_total", "device=sda")] == [(60.0, 1.0)]


def test_a_target_that_fails_is_named_and_down_and_the_others_are_scraped():
    found = poller(db1=Target(CLASSIC % 1), db2=Target(Unavailable("db2 does not answer")), db3=Target("x{"))

    samples, problems = fetched(found)

    assert samples[("db1:9100", "up", "")] == [(0.0, 1.0)]
    assert samples[("db2:9100", "up", "")] == [(0.0, 0.0)]
    assert any("db2 does not answer" in problem for problem in problems)
    assert any("http://db3:9100: what it exposes cannot be read" in problem for problem in problems)


def test_where_no_target_answers_the_visit_fails():
    with pytest.raises(Unavailable):
        poller(db1=Target(Unavailable("no"))).fetch("", NOON)


def test_openmetrics_says_itself_when_a_sample_was_taken():
    [(name, labels, counts, at, value)] = read("application/openmetrics-text; version=1.0.0; charset=utf-8",
                                               OPEN.encode())  # fmt: skip

    assert (name, labels, counts, at, value) == ("reads_total", {"device": "sda"}, True, 1795317523.5, 5.0)


@pytest.mark.parametrize(
    "body", [b"\xff\xfe", b'x{a="b" 1', b"x{} y", b"# TYPE", b'{"json": 1}', b"<html>", b"x" * 5000]
)
@pytest.mark.parametrize("content_type", ["text/plain", "application/openmetrics-text"])
def test_what_is_no_exposition_is_refused_or_nothing(body, content_type):
    try:
        assert read(content_type, body) == []
    except Malformed as error:
        found = error
        assert len(str(found)) < 400


@pytest.mark.skipif(bool(missing("prometheus-node-exporter")), reason="the node exporter is not installed")
def test_a_real_node_exporter_is_scraped():
    with NodeExporter() as node:
        node.write("lab_fault 1\n")
        given = {"targets": [f"http://{node.target}"], "metrics": [{"match": "lab_fault"}]}
        config = strictly(given, OpenMetricsConfig)
        samples, problems = fetched(openmetrics.COLLECTOR.poll.build("node", config))

    assert samples == {(node.target, "lab_fault", ""): [(0.0, 1.0)]}
    assert problems == ()
