"""The listener for remote write answers as the specification says, and keeps what is selected."""

import asyncio
import time
from contextlib import asynccontextmanager

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st

from collectors import remote_write
from collectors.remote_write import RemoteWriteConfig
from foreshock.connect.histograms import Growths, Observed
from foreshock.connect.vendors.remote_write import Decoder
from foreshock.core.contracts import Outcome
from foreshock.core.errors import ConfigError, Malformed, Unavailable
from foreshock.testing.fakes import Taken
from foreshock.testing.native_histograms import NativeTarget
from foreshock.testing.remote_write import STALE, compressed, field, histogram, request, request_2
from foreshock.testing.servers import NodeExporter, Prometheus, VmAgent, missing

FIRST = {"Content-Encoding": "snappy", "Content-Type": "application/x-protobuf"}
SECOND = FIRST | {"Content-Type": "application/x-protobuf;proto=io.prometheus.write.v2.Request"}
METRICS = [{"match": "up"}, {"match": "reads_total", "dimension": ()}]


def up(*points, name="up", instance="a"):
    return {"__name__": name, "instance": instance}, list(points)


def now_ms() -> int:
    return round(time.time() * 1000)


async def until(holds) -> None:
    deadline = time.monotonic() + 30
    while not holds() and time.monotonic() < deadline:  # noqa: ASYNC110
        await asyncio.sleep(0.01)


@asynccontextmanager
async def listening(outlet: Taken, **settings):
    config = RemoteWriteConfig.model_validate({"listen": "127.0.0.1:0", "metrics": METRICS, **settings})
    listener = remote_write.COLLECTOR.listen.build("prom", config)
    running = asyncio.create_task(listener.run(outlet))
    await until(lambda: outlet.addresses or running.done())

    async def post(body: bytes, headers=FIRST, method="POST", **options):
        url = f"{outlet.addresses[-1]}/api/v1/write"
        return await asyncio.to_thread(requests.request, method, url, data=body, headers=headers, timeout=10, **options)

    try:
        yield post
    finally:
        running.cancel()
        await asyncio.wait([running])


def exchange(*calls, outlet=None, **settings):
    """Answers to (body, headers), and the outlet."""
    outlet = outlet or Taken()

    async def run():
        async with listening(outlet, **settings) as post:
            return [await post(*call) for call in calls]

    return asyncio.run(run()), outlet


def test_selected_series_are_kept_with_their_points_and_others_counted():
    at = now_ms()
    body = request([up((at, 1.0), (at - 1000, 0.0)), up((at, 5.0), name="down"), up((at, 2.0), instance="b")])

    [answer], outlet = exchange((compressed(body),))

    assert (answer.status_code, answer.content) == (204, b"")
    assert {each.series.ci: list(each.values) for each in outlet.samples} == {"a": [0.0, 1.0], "b": [2.0]}
    assert outlet.samples[0].times[1] == pytest.approx(at / 1000)
    assert outlet.counts[Outcome.RECEIVED] == 4
    assert outlet.counts[Outcome.IGNORED] == 1


def test_counters_are_kept_as_growth_and_not_spoilt_by_samples_that_come_again():
    at = now_ms()
    first, second = (compressed(request([up((at + 10_000 * n, 100.0 * n), name="reads_total")])) for n in range(2))

    _, outlet = exchange((first,), (second,), (second,), (first,))

    assert [list(each.values) for each in outlet.samples] == [[10.0]]


def test_version_2_is_told_what_was_written():
    behind = field(3, histogram(now_ms(), {1: 5}, total=5.0))
    [answer], outlet = exchange((compressed(request_2([up((now_ms(), 1.0))], behind)), SECOND))

    assert answer.status_code == 204
    assert answer.headers["X-Prometheus-Remote-Write-Samples-Written"] == "1"
    assert answer.headers["X-Prometheus-Remote-Write-Histograms-Written"] == "1"
    assert answer.headers["X-Prometheus-Remote-Write-Exemplars-Written"] == "0"
    assert len(outlet.samples) == 1


def test_metadata_alone_is_taken():
    [answer], outlet = exchange((compressed(field(3, field(2, b"up"))),))

    assert answer.status_code == 204
    assert outlet.samples == []


def native(at_ms: int, positive, *, total: float, second: bool = False, **options) -> bytes:
    """A request with the native histogram ``up``."""
    place, ask = (3, request_2) if second else (4, request)
    behind = field(place, histogram(at_ms, positive, total=total, **options))
    if second:
        return compressed(ask([up()], behind))
    return compressed(field(1, field(1, field(1, b"__name__") + field(2, b"up"))
                               + field(1, field(1, b"instance") + field(2, b"a")) + behind))  # fmt: skip


def kept(outlet: Taken) -> dict[str, list[float]]:
    return {each.series.metric: [round(value, 3) for value in each.values] for each in outlet.samples}


@pytest.mark.parametrize("second", [False, True])
def test_a_native_histogram_is_kept_as_count_sum_and_quantiles_of_what_came_since(second):
    at, headers = now_ms() - 20_000, SECOND if second else FIRST
    first = native(at, {2: 5, 3: 1}, total=20.0, second=second)
    then = native(at + 10_000, {2: 5, 3: 21, 9: 20}, total=120.0, second=second)

    answers, outlet = exchange((first, headers), (then, headers))

    assert [answer.status_code for answer in answers] == [204, 204]
    # 20 of 4 < value <= 8, and 20 of 256 < value <= 512
    assert kept(outlet) == {
        "up_count": [4.0],
        "up_sum": [10.0],
        "up_p50": [8.0],
        "up_p95": [477.713],
        "up_p99": [504.951],
    }
    assert {each.series.ci for each in outlet.samples} == {"a"}
    assert outlet.counts[Outcome.RECEIVED] == 2
    assert outlet.counts[Outcome.IGNORED] == 0


def test_a_histogram_with_bounds_of_its_own_is_read_too():
    at = now_ms() - 20_000
    first = native(at, {0: 1}, total=1.0, schema=-53, bounds=[1.0, 2.0])
    then = native(at + 10_000, {0: 1, 1: 50, 2: 50}, total=101.0, schema=-53, bounds=[1.0, 2.0])

    _, outlet = exchange((first,), (then,))

    assert kept(outlet) == {"up_count": [10.0], "up_sum": [10.0], "up_p50": [2.0], "up_p95": [2.0], "up_p99": [2.0]}


def test_a_histogram_that_could_not_be_kept_loses_nothing_when_it_comes_again():
    at, outlet = now_ms() - 20_000, Taken()
    first, then = native(at, {1: 5}, total=5.0), native(at + 10_000, {1: 25}, total=25.0)

    async def run():
        async with listening(outlet) as post:
            answers = [await post(first)]
            outlet.refuse = Unavailable("full")
            answers.append(await post(then))
            outlet.refuse = None
            return [*answers, await post(then)]

    assert [answer.status_code for answer in asyncio.run(run())] == [204, 503, 204]
    assert kept(outlet)["up_count"] == [2.0]


@pytest.mark.parametrize(
    ("behind", "why"),
    [
        (histogram(0, {1: 5}, total=1.0, schema=99), "schema 99"),
        (field(11, b"\x08\x02\x10\xff\xff\x03") + field(12, b"\x02"), "spans for others"),
    ],
)
def test_a_histogram_that_cannot_be_is_refused_and_what_stands_beside_it_kept(behind, why):
    body = compressed(request([up((now_ms(), 1.0), instance="b")]) + field(
        1, field(1, field(1, b"__name__") + field(2, b"up")) + field(1, field(1, b"instance") + field(2, b"a"))
        + field(4, behind)
    ))  # fmt: skip

    [answer], outlet = exchange((body,))

    assert answer.status_code == 400
    assert why in answer.text
    assert [each.series.ci for each in outlet.samples] == ["b"]


WHOLE = histogram(1_700_000_000_000, {2: 5, 9: 3}, total=9.0, schema=3)


@given(st.one_of(st.binary(max_size=80), st.tuples(st.integers(0, len(WHOLE) - 1), st.binary(max_size=9)).map(
    lambda change: WHOLE[: change[0]] + change[1] + WHOLE[change[0] + len(change[1]) :]
)))  # fmt: skip
def test_whatever_stands_in_a_histogram_is_read_or_refused(found):
    for body in (request([up()], b"") + field(1, field(1, field(1, b"__name__") + field(2, b"up")) + field(4, found)),
                 request_2([up()], field(3, found))):  # fmt: skip
        growths = Growths()
        try:
            read = Decoder(lambda labels: 0).read(body)
        except Malformed:
            continue
        for place, observed in read.observed:
            growths.of(place, Observed(-1.0, 0.0, 0.0, None))
            grown = growths.of(place, observed)
            assert grown is None or all(isinstance(value, float) for _, value in grown.parts())


def test_the_end_of_a_histogram_is_none():
    at = now_ms() - 20_000
    answers, outlet = exchange(
        (native(at, {1: 5}, total=5.0),),
        (native(at + 5_000, {}, total=STALE),),
        (native(at + 10_000, {1: 25}, total=25.0),),
    )

    assert [answer.status_code for answer in answers] == [204] * 3
    assert kept(outlet)["up_count"] == [2.0]


@pytest.mark.parametrize(
    ("body", "headers", "method", "status"),
    [
        pytest.param(b"\x05hello", FIRST, "POST", 400, id="no Snappy"),
        pytest.param(compressed(b"\x0a\x7f"), FIRST, "POST", 400, id="no request"),
        pytest.param(b"\xff\xff\xff\xff\x0f" + b"\0" * 20, FIRST, "POST", 400, id="a bomb"),
        pytest.param(b"", FIRST | {"Content-Encoding": "gzip"}, "POST", 415, id="another compression"),
        pytest.param(b"", FIRST | {"Content-Type": "application/json"}, "POST", 415, id="another type"),
        pytest.param(b"", SECOND | {"Content-Type": "application/x-protobuf;proto=x"}, "POST", 415, id="another proto"),
        pytest.param(b"", {}, "GET", 405, id="a question"),
    ],
)
def test_what_will_never_do_is_refused_for_good(body, headers, method, status):
    [answer], outlet = exchange((body, headers, method))

    assert answer.status_code == status
    assert outlet.samples == []


def test_samples_that_are_too_old_or_ahead_are_refused_and_the_others_kept():
    at = now_ms()
    body = request([up((at, 1.0)), up((at - 2 * 86_400_000, 1.0), instance="b"), up((at + 86_400_000, 1.0))])

    [answer], outlet = exchange((compressed(body),))

    assert answer.status_code == 400
    assert "2 samples were refused" in answer.text
    assert [each.series.ci for each in outlet.samples] == ["a"]
    assert outlet.counts[Outcome.LATE] == 2


def test_what_cannot_be_kept_now_is_to_be_sent_again_and_loses_no_growth():
    at, outlet = now_ms(), Taken()
    first, second = (compressed(request([up((at + 1000 * n, 7.0 * n), name="reads_total")])) for n in range(2))

    async def run():
        async with listening(outlet) as post:
            await post(first)
            outlet.refuse = Unavailable("the disk is full")
            refused = await post(second)
            outlet.refuse = None
            return refused, await post(second)

    refused, taken = asyncio.run(run())

    assert (refused.status_code, refused.headers["Retry-After"], taken.status_code) == (503, "5", 204)
    assert [list(each.values) for each in outlet.samples] == [[7.0]]


def test_who_posts_must_show_the_token_or_the_password(tmp_path):
    token, password = tmp_path / "token", tmp_path / "password"
    for path in (token, password):
        path.write_text(f"{path.name}-1\n")
        path.chmod(0o600)
    settings = {"token_files": [token], "user": "prom", "password_files": [password]}
    body = compressed(request([up((now_ms(), 1.0))]))

    async def run():
        outlet = Taken()
        async with listening(outlet, **settings) as post:
            return [
                await post(body),
                await post(body, FIRST | {"Authorization": "Bearer wrong"}),
                await post(body, FIRST | {"Authorization": "bearer token-1"}),
                await post(body, auth=("prom", "password-1")),
                await post(body, auth=("prom", "wrong")),
            ], outlet

    answers, outlet = asyncio.run(run())

    assert [answer.status_code for answer in answers] == [401, 401, 204, 204, 401]
    assert len(outlet.samples) == 2


def test_beyond_this_machine_senders_must_prove_who_they_are():
    with pytest.raises(ValueError, match="nobody has to prove"):
        RemoteWriteConfig.model_validate({"listen": "0.0.0.0:9201", "metrics": METRICS})


def test_a_token_that_others_may_read_is_refused(tmp_path):
    path = tmp_path / "token"
    path.write_text("x")
    path.chmod(0o644)
    config = RemoteWriteConfig.model_validate({"metrics": METRICS, "token_files": [path]})

    with pytest.raises(ConfigError, match="chmod 600"):
        remote_write.COLLECTOR.listen.build("prom", config)


@pytest.mark.skipif(bool(missing("prometheus", "prometheus-node-exporter")), reason="Prometheus is not installed")
def test_prometheus_writes_into_it():
    outlet = Taken()
    metrics = [{"match": "lab_fault"}, {"match": "lab_reads_total", "dimension": []}]

    async def run():
        async with listening(outlet, metrics=metrics):
            url = f"{outlet.addresses[-1]}/api/v1/write"
            with NodeExporter() as node, Prometheus(scrape={"node": [node.target]}, remote_write=[url]):
                node.write("lab_fault 1\n# TYPE lab_reads_total counter\nlab_reads_total 5\n")
                wanted = {"lab_fault", "lab_reads_total"}
                await until(lambda: {each.series.metric for each in outlet.samples} >= wanted)
            return node.target

    target = asyncio.run(run())
    found = {each.series.metric: each for each in outlet.samples}

    assert found["lab_fault"].series.ci == target
    assert list(found["lab_fault"].values)[-1] == 1.0
    assert list(found["lab_reads_total"].values)[-1] == 0.0
    assert outlet.counts[Outcome.REJECTED] == 0
    assert outlet.counts[Outcome.IGNORED] > 0


def test_vmagent_writes_into_it(require):
    require("vmagent", "prometheus-node-exporter")
    outlet = Taken()

    async def run():
        async with listening(outlet, metrics=[{"match": "lab_fault"}]):
            url = f"{outlet.addresses[-1]}/api/v1/write"
            with NodeExporter() as node, VmAgent(scrape=[node.target], remote_write=url):
                node.write("lab_fault 1\n")
                await until(lambda: any(1.0 in each.values for each in outlet.samples))
            return node.target

    target = asyncio.run(run())

    assert {(each.series.ci, each.series.metric) for each in outlet.samples} == {(target, "lab_fault")}
    assert outlet.counts[Outcome.REJECTED] == 0


def test_prometheus_writes_native_histograms_into_it(require):
    require("prometheus")
    outlet = Taken()

    def newest(part: str) -> float:
        values = [each.values[-1] for each in outlet.samples if each.series.metric == f"lab_seconds_{part}"]
        return values[-1] if values else -1.0

    async def run():
        async with listening(outlet, metrics=[{"match": "lab_seconds"}]):
            url = f"{outlet.addresses[-1]}/api/v1/write"
            write = {"url": url, "send_native_histograms": True, "queue_config": {"batch_send_deadline": "1s"}}
            with NativeTarget() as program:
                program.observe(3, 10, 5.0)  # 4 < value <= 8
                scrape = {"go": [program.target]}
                options = ["--enable-feature=native-histograms"]
                with Prometheus(scrape=scrape, config={"remote_write": [write]}, options=options):
                    await until(lambda: newest("count") == 0.0)
                    program.observe(6, 40, 50.0)  # 32 < value <= 64
                    await until(lambda: newest("count") > 0)
                return program.target

    target = asyncio.run(run())

    found = {each.series.metric for each in outlet.samples}
    assert found == {f"lab_seconds_{part}" for part in ("count", "sum", "p50", "p95", "p99")}
    assert {each.series.ci for each in outlet.samples} == {target}
    assert newest("p50") == pytest.approx(32 * 2**0.5)
    assert outlet.counts[Outcome.REJECTED] == 0
