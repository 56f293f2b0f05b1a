"""A stand-in of Prometheus' API, as far as targets go.

Facts: answers of Prometheus 2.42, which tests/cmdb_sync/test_prometheus.py starts itself.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from foreshock.sandbox.cmdb import Cmdb, Relation, Trait
from foreshock.sandbox.faults import Fault
from foreshock.sandbox.system import Answering, Clock, Reply, Request, Simulator, secret_file

TOKEN = "sandbox-token"  # noqa: S105
_POOL_ROWS = 1000
_Labels = tuple[Mapping[str, str], Mapping[str, str]]
"""Of a target, and what was discovered before relabelling."""
_Scraped = tuple[str, Mapping[str, str]] | tuple[str, str] | _Labels
"""A CI by id with its labels, the two ends of a relation, or a target as it is."""
_SHOWN = {"owner": "team", "environment": "environment", "criticality": "tier"}


class PrometheusSystem(Answering):
    """One server that scrapes machines (pools of the node exporter) and applications on them.

    Attributes:
        page_rows: not heeded: a scrape pool is answered as a whole. has_pools: whether it lists scrape pools.
    """

    cmdb = Cmdb(
        class_name="host",
        kind="server",
        relation=Relation("target", "application", "host", "runs_on"),
        shows={"owner": ("Database", "Network"), "environment": ("production", "test"), "criticality": (1, 3)},
        lacks={
            Trait.DELTA: "Prometheus does not say what changed",
            Trait.TOMBSTONES: "each reading is whole",
            Trait.RENAMES: "a target is its labels",
            Trait.PAGES: "the targets of a pool are answered at once, and all together make one page",
            Trait.EXPIRY: "there are no cursors",
            Trait.FLAWS: "a target has no id beside the labels that cannot be read",
            Trait.FREE_NAMES: "instances are addresses",
            Trait.TWINS: "names of machines do not differ by case",
            Trait.LOOPS: "an application is no machine",
            Trait.CLASSES: "there are machines, applications and services only",
            Trait.RELATIONS: "relations follow from targets only",
            Trait.PERMISSIONS: "who may ask may ask for all",
        },
    )

    def __init__(self, clock: Clock, seed: int = 1) -> None:
        super().__init__(clock, seed)
        self.page_rows = 0
        self.has_pools = True
        self._more: list[_Labels] = []
        self._made: dict[str, list[_Scraped]] = {}
        self._cis: dict[str, dict[str, str]] = {}
        self._ties: dict[str, tuple[str, str]] = {}
        self.put_ci("there-from-the-start")

    # ---- what people do ----

    def put_target(self, labels: Mapping[str, str], discovered: Mapping[str, str]) -> None:
        self._made = {}
        self._more.append((labels, discovered))

    def put_ci(self, name: str, class_name: str = "", **shown: Any) -> str:
        id = f"{class_name or self.cmdb.class_name}/{name}"
        self._cis[id] = {}
        self.change_ci(id, **shown)
        return id

    def change_ci(self, id: str, **shown: Any) -> None:
        self._made = {}
        self._cis[id] |= {_SHOWN[name]: str(value) for name, value in shown.items()}

    def delete_ci(self, id: str, *, trace: bool = True) -> None:
        self._made = {}
        del self._cis[id]
        self._ties = {key: ends for key, ends in self._ties.items() if id not in ends}

    def relate(self, source: str, target: str, word: str = "") -> str:
        key = f"{source} runs_on {target}"
        self._made = {}
        self._ties[key] = source, target
        return key

    def unrelate(self, key: str) -> None:
        self._made = {}
        del self._ties[key]

    # ---- requests ----

    def refuse(self, fault: Fault) -> Reply:
        match fault:
            case Fault.LIMITED:
                return Reply(status=429, body=b"too many requests\n", headers={"Retry-After": "1"})
            case Fault.DENIED:
                return Reply(status=401, body=b"Unauthorized\n", headers={"WWW-Authenticate": "Basic"})
            case Fault.FORBIDDEN:
                return Reply(status=403, body=b"Forbidden\n")
        return Reply(status=500, body={"status": "error", "errorType": "internal", "error": "TSDB not ready"})

    def _routed(self, request: Request) -> Reply:
        if request.headers.get("authorization") != f"Bearer {TOKEN}":
            return self.refuse(Fault.DENIED)
        pools = self._pools()
        match request.method, request.path:
            case "GET", "/api/v1/scrape_pools" if self.has_pools:
                return _success({"scrapePools": list(pools)})
            case "GET", "/api/v1/targets":
                wanted = request.parameters.get("scrapePool")
                chosen = [wanted] if wanted else list(pools)
                active = [_target(pool, each) for pool in chosen for each in pools.get(pool, ())]
                return _success({"activeTargets": active, "droppedTargets": []})
        return Reply(status=404, body=b"404 page not found\n")

    def _pools(self) -> Mapping[str, list[_Scraped]]:
        """What each scrapes, in the order of their names; a pool is written out only when it is asked for."""
        if not self._made:
            scraped: list[_Scraped] = [*self._cis.items(), *self._ties.values(), *self._more]
            starts = range(0, len(scraped), _POOL_ROWS)
            self._made = {f"pool-{start // _POOL_ROWS:04}": scraped[start : start + _POOL_ROWS] for start in starts}
        return self._made


def _labels(scraped: _Scraped) -> _Labels:
    first, second = scraped
    if not isinstance(first, str):
        assert not isinstance(second, str)
        return first, second
    kind, _, name = first.partition("/")
    if isinstance(second, str):
        address = f"{second.partition('/')[2]}:8080"
        return {"job": name, "instance": address}, {"__address__": address}
    where = {"job": "node", "instance": f"{name}:9100"} if kind == "host" else {"job": name}
    return {**where, **second}, {"__address__": f"{name}:9100" if kind == "host" else "127.0.0.1:8080"}


def _target(pool: str, scraped: _Scraped) -> dict[str, Any]:
    labels, discovered = _labels(scraped)
    url = f"http://{labels.get('instance', discovered.get('__address__', ''))}/metrics"
    return {
        "discoveredLabels": {"__metrics_path__": "/metrics", "__scheme__": "http", "job": labels["job"], **discovered},
        "labels": dict(labels),
        "scrapePool": pool,
        "scrapeUrl": url,
        "globalUrl": url,
        "lastError": "",
        "lastScrape": "0001-01-01T00:00:00Z",
        "lastScrapeDuration": 0,
        "health": "unknown",
        "scrapeInterval": "1m",
        "scrapeTimeout": "10s",
    }


def _success(data: Mapping[str, Any]) -> Reply:
    body = json.dumps({"status": "success", "data": data}).encode()
    return Reply(body=body, headers={"content-type": "application/json"})


def _settings(url: str, folder: Path) -> dict[str, Any]:
    return {"url": url, "token_file": secret_file(folder, "prometheus.token", TOKEN)}


SIMULATOR = Simulator(kind="prometheus", title="Prometheus", build=PrometheusSystem, source_settings=_settings)
