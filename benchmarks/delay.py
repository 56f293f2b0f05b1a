"""How long it takes from an alert's arrival until its situation is updated on disk, with very many open alerts."""

import http.client
import json
import random
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

import product
from estates import alert, moment, write_topology


class Sizes(NamedTuple):
    """CIs, each with an open alert; seconds of measured load, and at least so many of rest before it."""

    cis: int = 100_000
    rate_s: int = 30
    calm_s: int = 150


QUICK = Sizes(cis=20_000, rate_s=8, calm_s=10)


def estate(folder: Path, cis: int) -> list[str]:
    """A tree of regions, racks, hosts and services with some cross links; the names of all CIs."""
    chance = random.Random(1)
    layers = [("region", 10), ("rack", cis // 200), ("host", cis // 20), ("vm", cis // 3)]
    layers.append(("service", cis - sum(count for _, count in layers)))
    names, kinds, needs, above = [], [], [], list[str]()
    for kind, count in layers:
        here = [f"{kind}-{number:06d}" for number in range(count)]
        for name in here:
            needs += [(name, chance.choice(above)) for _ in range(1 if kind != "service" else 2) if above]
        names += here
        kinds += [kind] * count
        above = here
    write_topology(folder, kinds, needs, names)
    return names


def measure(work: Path, sizes: Sizes) -> None:
    """From taking an alert in to the situation being updated on disk, while a thousand come each second."""
    names = estate(work / "delay" / "topology", sizes.cis)
    chance = random.Random(2)
    long_ago = moment(datetime.now(UTC) - timedelta(days=1))
    with product.Running(work / "delay") as foreshock:
        foreshock.ready()
        foreshock.settle()
        sender = Sender()
        for start in range(0, len(names), 500):
            sender.post([alert(ci, "Degraded", long_ago) for ci in names[start : start + 500]])
        foreshock.settle(within_s=600)
        calm(sizes.calm_s)
        sender = Sender()  # the other connection was idle for longer than a server keeps one
        before, waits, burning = reflected(), [], list[dict[str, Any]]()
        began = time.monotonic()
        batches = sizes.rate_s * 50
        for batch in range(batches):
            time.sleep(max(0.0, began + batch * 0.02 - time.monotonic()))
            now = datetime.now(UTC)
            new = [alert(chance.choice(names), "Down", moment(now)) for _ in range(3)]
            over = [{**burning.pop(0), "endsAt": moment(now)} for _ in range(2) if len(burning) > 500]
            burning += new
            again = [alert(chance.choice(names), "Degraded", long_ago) for _ in range(20 - len(new) - len(over))]
            waits.append(sender.post([*new, *over, *again]))
        took = time.monotonic() - began
        foreshock.settle()
        after = reflected()
        foreshock.stop()
    counts = {bound: after[bound] - before.get(bound, 0.0) for bound in after}
    waits.sort()
    quantiles = (0.5, 0.99)
    print(
        f"### Delay with {sizes.cis:,} open alerts on as many CIs, {batches * 20 / took:.0f} alerts/s (3 in 20 new)\n"
    )
    product.table(
        ("", "p50 ms", "p99 ms", "target"),
        [
            ("accepted to situation updated", *(f"{quantile(counts, q) * 1000:.0f}" for q in quantiles), "p99 <= 100"),
            ("answer", *(f"{waits[int(len(waits) * q)] * 1000:.1f}" for q in quantiles), ""),
        ],
    )


def calm(least_s: float) -> None:
    """Wait until all that the filling led to is over: each situation comes up again when its ticket is due, and so many
    at once is what nobody asked about."""
    began, quiet = time.monotonic(), 0
    while quiet < 3 or time.monotonic() - began < least_s:
        before = busy_s()
        time.sleep(2)
        quiet = quiet + 1 if busy_s() - before < 0.2 else 0


def busy_s() -> float:
    """Seconds the engine has worked."""
    name = "foreshock_engine_busy_seconds "
    return sum(
        float(line.split()[-1]) for line in product.get("/metrics").decode().splitlines() if line.startswith(name)
    )


class Sender:
    """One connection that is kept."""

    def __init__(self) -> None:
        self._connection = http.client.HTTPConnection("127.0.0.1", product.PORT, timeout=60)

    def post(self, alerts: Sequence[dict[str, Any]]) -> float:
        """Seconds to the answer."""
        body, began = json.dumps(alerts), time.monotonic()
        self._connection.request("POST", "/api/v2/alerts", body, {"Content-Type": "application/json"})
        answer = self._connection.getresponse()
        answer.read()
        if answer.status != 200:
            raise SystemExit(f"an alert was answered with {answer.status}")
        return time.monotonic() - began


def reflected() -> dict[float, float]:
    """Requests so far by the upper bound of how long they took to be reflected, seconds; cumulative."""
    name, found = "foreshock_reflect_duration_seconds_bucket{le=", {}
    for line in product.get("/metrics").decode().splitlines():
        if line.startswith(name):
            bound, _, count = line.removeprefix(name).partition("}")
            found[float(bound.strip('"'))] = float(count)
    return found


def quantile(cumulative: dict[float, float], q: float) -> float:
    """Linear within a bucket, as Prometheus does."""
    total, below, lower = max(cumulative.values()), 0.0, 0.0
    for bound in sorted(cumulative):
        if cumulative[bound] >= q * total:
            if bound == float("inf"):
                return lower
            return lower + (bound - lower) * (q * total - below) / max(1e-9, cumulative[bound] - below)
        below, lower = cumulative[bound], bound
    return lower
