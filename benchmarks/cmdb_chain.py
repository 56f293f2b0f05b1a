"""How long it takes from the moment at which a CMDB source is due until a running Foreshock decides with what changed
there: a hundredth of a large ServiceNow, step by step, with the time of processors and the memory of both processes.

Part of ``make bench-cmdb``; alone:  python benchmarks/cmdb_chain.py [--cis 100000] [--relationships 400000]

The system is its stand-in (``foreshock sandbox``) in a process of its own. Nothing is measured from within: the steps
are told by the stand-in's ledger, the CMDB store, the inbox and the kernel.
"""

import argparse
import itertools
import json
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import product
from sinks import ledger, sandbox

from foreshock.core.contracts import RecordKind
from foreshock.sandbox.system import simulators
from foreshock.store.cmdb import CmdbStore
from foreshock.store.journal import Journal

KIND, NAME = "servicenow", "prod"
CHURN, ROUNDS = 0.01, 3
TARGET_S = 2.0
_FILL_S = 900
_OVERLAP_S = 125
"""The source reads again what changed in the two minutes before its last reading; what filled the stand-in is not to be
among that."""


def tell(url: str, do: str, **details: Any) -> Any:
    """What a person does in the stand-in."""
    body = json.dumps({"do": do, **details}).encode()
    with urllib.request.urlopen(f"{url}/_sim/cmdb", data=body, timeout=_FILL_S) as answer:
        return json.load(answer)["result"]


def change(url: str, cis: int, relationships: int) -> None:
    """A hundredth of the CIs is new, and as many relationships as a hundredth is."""
    ids = [tell(url, "put_ci", name=f"new-{time.time_ns()}", owner="Network") for _ in range(int(cis * CHURN))]
    for number in range(int(relationships * CHURN)):
        tell(url, "relate", source=ids[number % len(ids)], target=ids[(number * 7 + number // len(ids) + 1) % len(ids)])


def status() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(product.get("/api/v1/status"))
    return found


def ask_for_a_sync() -> None:
    body = json.dumps({"source": NAME}).encode()
    headers = {"Content-Type": "application/json"}
    address = f"http://127.0.0.1:{product.PORT}/api/v1/cmdb/sync"
    urllib.request.urlopen(urllib.request.Request(address, data=body, headers=headers), timeout=60).close()


class Watch(threading.Thread):
    """Looks at the process that reads until it has ended.

    Attributes:
        began, ended: seconds since 1970. cpu_s, peak_mib: as they were last seen.
    """

    def __init__(self, parent: int) -> None:
        super().__init__(daemon=True)
        self._parent = parent
        self.began = self.ended = self.cpu_s = self.peak_mib = 0.0

    def run(self) -> None:
        while not self.ended:
            reading = next(self._readers(), 0)
            if reading:
                self.began = self.began or time.time()
                with suppress(OSError):
                    self._look(reading)
            elif self.began:
                self.ended = time.time()
            time.sleep(0.005)

    def _readers(self) -> Iterator[int]:
        for child in product.children(self._parent) + self._threads_children():
            with suppress(OSError):
                if b"\0cmdb\0sync\0" in Path(f"/proc/{child}/cmdline").read_bytes():
                    yield child

    def _threads_children(self) -> list[int]:
        """The kernel lists a child with the thread that started it."""
        found: list[int] = []
        for task in Path(f"/proc/{self._parent}/task").iterdir():
            with suppress(OSError):
                found += map(int, (task / "children").read_text().split())
        return found

    def _look(self, pid: int) -> None:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        self.cpu_s = (int(words[11]) + int(words[12])) / 100
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        self.peak_mib = next((int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM:")), 0.0)


def memory_mib(pid: int) -> tuple[float, float]:
    """Of now, and at the peak."""
    lines = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line)
    return int(lines["VmRSS"].split()[0]) / 1024, int(lines["VmHWM"].split()[0]) / 1024


def one_round(running: product.Running, folder: Path) -> tuple[list[float], float, dict[str, float], float]:
    """Seconds of each step and of all; CPU seconds of the process that reads, and of the threads of the other; MiB at
    the peak of the first."""
    before, asked = status()["topology_version"], len(ledger(folder, KIND))
    used = product.thread_seconds(running.pid)
    watch = Watch(running.pid)
    watch.start()
    time.sleep(0.1)
    began = time.time()
    ask_for_a_sync()
    while status()["topology_version"] == before:
        time.sleep(0.05)
    in_force = time.time()
    watch.join(10)
    threads = {name: seconds - used.get(name, 0.0) for name, seconds in product.thread_seconds(running.pid).items()}
    pages = [datetime.fromisoformat(entry["at"]).timestamp() for entry in ledger(folder, KIND)[asked:]]
    with closing(CmdbStore(f"sqlite:///{running.state / 'cmdb.db'}", writing=False)) as store:
        newest = store.newest()
        assert newest is not None
        read = newest.at.timestamp()
    with closing(Journal(f"sqlite:///{running.state / 'foreshock.db'}", writing=False)) as journal:
        record = journal.newest(RecordKind.TOPOLOGY)
        assert record is not None
        published = record.at.timestamp()
    print(f"    {newest.put_cis} CIs, {newest.put_relationships} relationships; {len(pages)} requests", flush=True)
    moments = (began, watch.began, pages[0], read, published, in_force)
    steps = [later - earlier for earlier, later in itertools.pairwise(moments)]
    return [*steps, in_force - began], watch.cpu_s, threads, watch.peak_mib


def measure(cis: int, relationships: int) -> None:
    with product.scratch() as work:
        folder = work / "cmdb-chain"
        folder.mkdir(parents=True, exist_ok=True)
        with sandbox(KIND, folder) as (url, _):
            settings = simulators()[KIND].source_settings
            assert settings is not None
            tell(url, "fill", cis=cis, relationships=relationships)
            time.sleep(_OVERLAP_S)
            entry = {"name": NAME, "kind": KIND, "every": "7d", "full_every": "31d", **settings(url, folder)}
            guard = {"min_free": "1MiB", "min_free_percent": 0}
            whole = {"listen": f"127.0.0.1:{product.PORT}", "topology": [entry], "disk_guard": guard}
            (work / "foreshock.yaml").write_text(json.dumps(whole), encoding="utf-8")
            with product.Running(work) as running:
                running.ready()
                while status()["cis"] < cis:
                    time.sleep(1)
                product.about({})
                print(
                    f"{status()['cis']:,} CIs in force {time.monotonic() - running.began:.0f} s after the first start"
                )
                rounds = []
                for _ in range(ROUNDS):
                    change(url, cis, relationships)
                    time.sleep(2)
                    rounds.append(one_round(running, folder))
                    print(f"    load {', '.join(f'{value:.1f}' for value in product.os.getloadavg())}", flush=True)
                names = (
                    "the process is started", "it has started, to its first request",
                    "pages, with the system's answers", "reconciled, a new version, what differs: the record on disk",
                    "the engine's step, to the version in force", f"all (target {TARGET_S:.0f} s beyond the answers)",
                )  # fmt: skip
                product.table(
                    ("step of a delta of 1 %", "s"),
                    [(name, product.spread([found[0][at] for found in rounds], 2)) for at, name in enumerate(names)],
                )
                print(f"CPU of the process that reads: {product.spread([found[1] for found in rounds], 2)} s")
                for name in sorted(rounds[-1][2]):
                    taken = [found[2].get(name, 0.0) for found in rounds]
                    if max(taken) >= 0.05:
                        print(f"CPU of Foreshock, {name}: {product.spread(taken, 2)} s")
                now, peak = memory_mib(running.pid)
                print(
                    f"memory: {product.spread([found[3] for found in rounds], 0)} MiB at the peak of the process that "
                    f"reads; Foreshock {now:.0f} MiB, {peak:.0f} at its peak"
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cis", type=int, default=100_000)
    parser.add_argument("--relationships", type=int, default=400_000)
    given = parser.parse_args()
    measure(given.cis, given.relationships)


if __name__ == "__main__":
    main()
