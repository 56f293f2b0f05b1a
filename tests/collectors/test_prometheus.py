"""Range reads: what is asked, in which pieces, and what becomes of bad answers. The real server is asked at the end."""

import json
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qs

import msgspec
import pytest

from collectors import prometheus
from collectors.prometheus import COLLECTOR, Prometheus, PrometheusConfig, decode, translate
from foreshock.connect.config import strictly
from foreshock.connect.http import Answer
from foreshock.core.errors import Denied, ForeshockError, Malformed, Rejected, Unavailable
from foreshock.core.model import Direction
from foreshock.testing.mimir import Mimir
from foreshock.testing.servers import NodeExporter, VictoriaMetrics, eventually
from foreshock.testing.servers import Prometheus as PrometheusServer

NOON = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
NOON_S = NOON.timestamp()
CPU = {"metric": "cpu", "query": "cpu", "unit": "%", "worse": "up"}


def config(*queries: dict[str, Any], **changed: Any) -> PrometheusConfig:
    given = {"url": "http://prometheus:9090", "lookback": "10m", "queries": list(queries or (CPU,)), **changed}
    return strictly(given, PrometheusConfig)


class Server:
    """Answers each query with one series that has a point at every step; or with what a test says."""

    def __init__(self, **answers: Any) -> None:
        self.answers = answers
        self.asked: list[dict[str, str]] = []
        self.headers: list[dict[str, str]] = []

    def post(self, path: str, *, body: bytes, headers: dict[str, str]) -> Answer:
        assert path == "/api/v1/query_range"
        form = {name: values[0] for name, values in parse_qs(body.decode()).items()}
        self.asked.append(form)
        self.headers.append(headers)
        answer = self.answers.get(form["query"])
        if isinstance(answer, Exception):
            raise answer
        if answer is None:
            start, end, step = (float(form[name]) for name in ("start", "end", "step"))
            times = [start + step * n for n in range(round((end - start) / step) + 1)]
            answer = matrix({"instance": "db1"}, *((at, "1.5") for at in times))
        return Answer(status=200, headers={}, body=json.dumps(answer).encode(), place="prometheus 'prom'")


def matrix(labels: dict[str, str], *values: tuple[float, str]) -> dict[str, Any]:
    result = [{"metric": labels, "values": [list(value) for value in values]}]
    return {"status": "success", "data": {"resultType": "matrix", "result": result}}


def poller(server: Server, *queries: dict[str, Any], **changed: Any) -> Prometheus:
    return Prometheus("prom", config(*queries, **changed), server)  # type: ignore[arg-type]


def samples_of(payload: bytes) -> list[Any]:
    return [translate(item, NOON) for item in decode(payload) if not isinstance(item, Malformed)]


def payload(answer: Any, **asked: Any) -> bytes:
    return json.dumps({"query": {"metric": "cpu", "ci": ["instance"], **asked}, "answer": answer}).encode()


# ---- what is asked --------------------------------------------------------------------------------------------------


def test_the_first_visit_reads_the_lookback_up_to_what_has_settled():
    server = Server()

    page = poller(server).fetch("", NOON)

    assert [(form["start"], form["end"], form["step"]) for form in server.asked] == [
        (f"{NOON_S - 660:.3f}", f"{NOON_S - 60:.3f}", "60")
    ]
    assert not page.more
    [samples] = samples_of(page.payloads[0])
    assert (samples.series.ci, samples.series.metric, samples.series.unit) == ("db1", "cpu", "%")
    assert samples.series.worse is Direction.UP
    assert len(samples.times) == 11


def test_visits_follow_each_other_without_a_gap_or_a_point_twice():
    server, times, cursor = Server(), [], ""
    source = poller(server)
    for minutes in (0, 1, 1.5, 4, 9):
        page = source.fetch(cursor, NOON + timedelta(minutes=minutes))
        cursor = page.cursor
        times += [at for payload in page.payloads for samples in samples_of(payload) for at in samples.times]

    assert times == [NOON_S - 660 + 60 * n for n in range(len(times))]
    assert times[-1] == NOON_S + 480


def test_a_long_way_back_is_read_in_pages():
    server, cursor, pages = Server(), "", 0
    source = poller(server, lookback="6h")
    times: list[float] = []
    while True:
        page = source.fetch(cursor, NOON)
        cursor, pages = page.cursor, pages + 1
        times += [at for payload in page.payloads for samples in samples_of(payload) for at in samples.times]
        if not page.more:
            break

    assert pages > 1
    assert times == [NOON_S - 60 - 6 * 3600 + 60 * n for n in range(361)]


def test_a_page_is_made_shorter_where_answers_are_large(monkeypatch):
    monkeypatch.setattr(prometheus, "_PAGE_BYTES", 200)
    server = Server()
    source = poller(server, lookback="6h")
    first = source.fetch("", NOON)
    source.fetch(first.cursor, NOON)

    def steps(form: dict[str, str]) -> float:
        return (float(form["end"]) - float(form["start"])) / 60 + 1

    assert steps(server.asked[0]) == 60
    assert 1 <= steps(server.asked[1]) < 20


def test_after_a_break_longer_than_the_lookback_the_gap_is_told():
    server = Server()
    source = poller(server)
    first = source.fetch("", NOON)

    page = source.fetch(first.cursor, NOON + timedelta(hours=2))

    assert float(server.asked[-1]["start"]) == NOON_S + 7200 - 660
    assert page.problems == ("cpu: what came before the lookback of 0:10:00 was not read",)


def test_a_query_that_fails_keeps_its_place_and_the_others_go_on():
    server = Server(broken=Rejected("prometheus 'prom' answered HTTP 400: parse error"))
    source = poller(server, CPU, {"metric": "odd", "query": "broken"})

    page = source.fetch("", NOON)

    assert list(json.loads(page.cursor)) == ["cpu"]
    assert page.problems == (
        "prometheus 'prom' answered HTTP 400: parse error; check the query of odd, and that the url is that of the API",
    )
    assert not page.more

    server.answers.clear()
    later = source.fetch(page.cursor, NOON + timedelta(minutes=2))
    assert {samples.series.metric: len(samples.times) for body in later.payloads for samples in samples_of(body)} == {
        "cpu": 2,
        "odd": 11,
    }


@pytest.mark.parametrize("error", [Denied("refused"), Unavailable("no connection"), Rejected("no such page")])
def test_where_nothing_can_be_read_the_reason_is_raised_and_the_cursor_stays(error):
    with pytest.raises(type(error), match=str(error)):
        poller(Server(cpu=error)).fetch("", NOON)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        ({"status": "success", "isPartial": True, "data": {}}, "only a part"),
        ({"status": "error", "error": "query timed out", "data": {}}, "query timed out"),
        (["<html>"], "not a login or proxy page"),
    ],
)
def test_an_answer_that_is_not_the_whole_one_leaves_the_cursor(answer, told):
    with pytest.raises(Unavailable, match=told):
        poller(Server(cpu=answer)).fetch("", NOON)


def test_warnings_of_the_server_are_passed_on():
    answer = {**matrix({"instance": "db1"}, (NOON_S, "1")), "warnings": ["results truncated"]}

    assert poller(Server(cpu=answer)).fetch("", NOON).problems == ("cpu: results truncated",)


def test_the_tenant_is_named():
    server = Server()
    poller(server, tenant="shop").fetch("", NOON)

    assert server.headers[0]["X-Scope-OrgID"] == "shop"


# ---- what becomes of an answer --------------------------------------------------------------------------------------


def test_labels_beside_that_of_the_ci_make_the_dimension():
    answer = matrix({"__name__": "disk", "instance": "db1", "mountpoint": "/var", "device": "sda"}, (NOON_S, "1"))

    [samples] = samples_of(payload(answer))

    assert (samples.series.ci, samples.series.dimension) == ("db1", "device=sda,mountpoint=/var")


def test_the_first_label_that_is_there_names_the_ci():
    answer = matrix({"instance": "db1:9100", "pod": ""}, (NOON_S, "1"))

    [samples] = samples_of(payload(answer, ci=["pod", "instance"]))

    assert samples.series.ci == "db1:9100"


def test_values_that_are_no_numbers_are_left_out():
    answer = matrix({"instance": "db1"}, (1.0, "NaN"), (2.0, "+Inf"), (3.0, "-Inf"), (4.0, "1e3"))

    [samples] = samples_of(payload(answer))

    assert (list(samples.times), list(samples.values)) == ([4.0], [1000.0])


@pytest.mark.parametrize(
    ("series", "told"),
    [
        ({"metric": {"job": "node"}, "values": [[1, "1"]]}, "cpu: the series {job=node} has no label instance"),
        ({"metric": {"instance": "a"}, "histograms": []}, "use histogram_quantile"),
        ({"metric": {"instance": "a"}, "values": [[1, "many"]]}, "could not convert"),
        ({"metric": {"instance": "a"}, "values": [["x"]]}, "cpu: "),
        (7, "cpu: "),
    ],
)
def test_a_bad_series_is_named_and_its_neighbours_are_read(series, told):
    answer = matrix({"instance": "db1"}, (NOON_S, "1"))
    answer["data"]["result"].insert(0, series)

    bad, good = decode(payload(answer))

    with pytest.raises(Malformed, match=told.replace("{", r"\{")):
        raise bad if isinstance(bad, Malformed) else AssertionError(translate(bad, NOON))
    assert not isinstance(good, Malformed)
    assert translate(good, NOON).series.ci == "db1"


@pytest.mark.parametrize("body", [b"", b"{}", b"[]", payload({"data": {"resultType": "vector", "result": []}})])
def test_what_is_no_answer_to_a_range_query_is_refused(body):
    with pytest.raises(Malformed):
        decode(body)


def test_more_series_than_the_bound_are_told(monkeypatch):
    monkeypatch.setattr(prometheus, "MAX_SERIES", 1)
    answer = matrix({"instance": "db1"}, (NOON_S, "1"))
    answer["data"]["result"] *= 3

    one, rest = decode(payload(answer))

    assert not isinstance(one, Malformed)
    assert str(rest).startswith("cpu: the query gives 3 series, 1 are read; aggregate it")


# ---- configuration --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"url": "prometheus:9090"}, "no web address"),
        ({"url": "http://me:secret@prometheus"}, "user or a password"),
        ({"url": "http://prometheus/api/v1"}, "more than the address"),
        ({"user": "me"}, "belong together"),
        ({"user": "me", "password_file": "p", "token_file": "t"}, "a user and a token_file"),
        ({"queries": [CPU, CPU]}, "two are called 'cpu'"),
        ({"queries": []}, "at least 1 item"),
        ({"queries": [{**CPU, "worse": "sideways"}]}, "up"),
    ],
)
def test_a_mistake_in_the_settings_is_named(changed, told):
    with pytest.raises(ValueError, match=told):
        config(**changed)


def test_a_secret_that_others_may_read_is_refused(tmp_path):
    secret = tmp_path / "token"
    secret.write_text("s3cret")
    secret.chmod(0o644)

    with pytest.raises(ForeshockError, match="chmod 600"):
        COLLECTOR.poll.build("prom", config(token_file=str(secret)))  # type: ignore[union-attr]


# ---- a real server --------------------------------------------------------------------------------------------------


def test_a_real_prometheus_is_read_up_to_the_newest_point(require):
    require("prometheus", "prometheus-node-exporter")
    query = {"metric": "latency", "query": "lab_latency", "ci": ["ci"], "unit": "s"}
    with NodeExporter() as node, PrometheusServer(scrape={"node": [node.target]}) as server:
        node.write('lab_latency{ci="orders-db"} 0.25')
        source = COLLECTOR.poll.build("prom", config(query, url=server.url, step="1s"))  # type: ignore[union-attr]

        def read() -> Any:
            page = source.fetch("", datetime.now(UTC) + timedelta(seconds=5))
            found = samples_of(page.payloads[0])
            return found if found and len(found[0].times) >= 3 else None

        [samples] = eventually(read, what="three points")
        assert samples.series.ci == "orders-db"
        assert set(samples.values) == {0.25}
        assert msgspec.json.decode(source.fetch("", datetime.now(UTC)).cursor).keys() == {"latency"}

    with pytest.raises(Unavailable, match="no connection"):
        source.fetch("", datetime.now(UTC))


def test_a_real_victoriametrics_is_read_as_prometheus_is(require):
    require("victoria-metrics")
    query = {"metric": "latency", "query": "lab_latency", "ci": ["ci"], "unit": "s"}
    now = datetime.now(UTC).timestamp() // 60 * 60
    times = [now - 60 * minute for minute in range(30, 0, -1)]
    with VictoriaMetrics() as server:
        server.remember("\n".join(f'lab_latency{{ci="orders-db",job="lab"}} {at % 7} {at * 1000:.0f}' for at in times))
        source = COLLECTOR.poll.build("prom", config(query, url=server.url, lookback="31m"))  # type: ignore[union-attr]
        page = source.fetch("", datetime.fromtimestamp(now + 6, UTC))

    [samples] = samples_of(page.payloads[0])
    assert (samples.series.ci, samples.series.dimension, samples.series.unit) == ("orders-db", "job=lab", "s")
    found = dict(zip(samples.times, samples.values, strict=True))
    assert {at: found[at] for at in times} == {at: at % 7 for at in times}


def test_mimir_is_asked_behind_its_prefix_and_for_its_tenant():
    with Mimir(tenant="ops") as server:
        asked = (config(CPU, url=server.url, **more) for more in ({"tenant": "ops"}, {}))
        source, nobody = (COLLECTOR.poll.build("prom", each) for each in asked)  # type: ignore[union-attr]
        [samples] = samples_of(source.fetch("", NOON).payloads[0])
        with pytest.raises(Denied, match="401"):
            nobody.fetch("", NOON)

    assert set(samples.values) == {1.5}
    assert samples.series.ci == "db1"
