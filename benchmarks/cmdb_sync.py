"""How long ``foreshock cmdb sync`` reads a large ServiceNow, and what memory it takes: whole, without news, with news.

    make bench-cmdb-sync         or    python benchmarks/cmdb_sync.py [--cis 100000] [--relationships 400000]

The system is its stand-in (``foreshock sandbox``) in a process of its own, whose work is in the seconds and whose
memory is not. Each sync is a process of its own, as in the product; the kernel says its peak when it ends.
"""

import argparse
import json
import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import product
from sinks import sandbox

from foreshock.sandbox.system import simulators

KIND = "servicenow"
TARGET_S, TARGET_MIB = 300, 600
CHURN = 0.01
_FILL_S = 900


def tell(url: str, do: str, **details: Any) -> Any:
    """What a person does in the stand-in."""
    body = json.dumps({"do": do, **details}).encode()
    with urllib.request.urlopen(f"{url}/_sim/cmdb", data=body, timeout=_FILL_S) as answer:
        return json.load(answer)["result"]


@contextmanager
def estate(work: Path, cis: int, relationships: int) -> Iterator[tuple[str, Path]]:
    """Address of a stand-in that is filled, and a configuration that reads it."""
    folder = work / "cmdb-sync"
    folder.mkdir(parents=True, exist_ok=True)
    with sandbox(KIND, folder) as (url, _):
        settings = simulators()[KIND].source_settings
        assert settings is not None
        tell(url, "fill", cis=cis, relationships=relationships)
        config = folder / "foreshock.yaml"
        entry = {"name": "prod", "kind": KIND, **settings(url, folder)}
        config.write_text(json.dumps({"state": str(folder / "state"), "topology": [entry]}), encoding="utf-8")
        yield url, config


def sync(config: Path, *options: str) -> tuple[dict[str, Any], float, float, float]:
    """What came of it, seconds, seconds of its CPU, and MiB at its peak."""
    words = product.command("cmdb", "sync", "prod", "--config", str(config), "-o", "json", *options)
    began = time.perf_counter()
    process = subprocess.Popen(words, env=product.environment(), stdout=subprocess.PIPE, stderr=sys.stderr)
    assert process.stdout is not None
    said = process.stdout.read()
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    took = time.perf_counter() - began
    assert process.returncode == 0, f"cmdb sync ended with {process.returncode}"
    (outcome,) = json.loads(said)
    return outcome, took, used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def churn(url: str, cis: int) -> int:
    """One per cent of the CIs is new; of these some have changed since, some are gone again, some are related."""
    many = int(cis * CHURN)
    added = [tell(url, "put_ci", name=f"new-{number}", owner="Network") for number in range(many)]
    for id in added[: many // 2]:
        tell(url, "change_ci", id=id, owner="Database")
    for id in added[many // 2 : many * 3 // 4]:
        tell(url, "delete_ci", id=id)
    for one, other in zip(added[: many // 4], added[many // 4 : many // 2], strict=True):
        tell(url, "relate", source=one, target=other)
    return many


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--cis", type=int, default=100_000)
    parser.add_argument("--relationships", type=int, default=400_000)
    given = parser.parse_args()
    product.about({})
    rows = []
    with product.scratch() as work, estate(work, given.cis, given.relationships) as (url, config):
        for what, options in (("everything, into an empty store", ()), ("everything, nothing new", ("--full",))):
            rows.append((what, *_shown(*sync(config, *options))))
        time.sleep(125)  # what was updated within the overlap of two minutes is read again, and that was everything
        rows.append(("what changed: nothing", *_shown(*sync(config))))
        churn(url, given.cis)
        rows.append(("what changed: one per cent", *_shown(*sync(config))))
    product.table(("read", "outcome", "CIs", "relationships", "s", "s of its CPU", "MiB at its peak"), rows)
    print(f"target: {given.cis:,} CIs and {given.relationships:,} relationships in {TARGET_S} s and {TARGET_MIB} MiB")


def _shown(outcome: dict[str, Any], took_s: float, cpu_s: float, peak_mib: float) -> tuple[object, ...]:
    counts = outcome["counts"]
    what = outcome["outcome"]
    return (what, counts["items"], counts["ties"], f"{took_s:.1f}", f"{cpu_s:.1f}", f"{peak_mib:.0f}")


if __name__ == "__main__":
    main()
