"""What syncs of a large estate cost: time and memory of a whole reading, of a small one, and a year of them on disk.

``make bench-cmdb`` reads 100,000 CIs with 400,000 relationships from a source that answers at once, page by page,
through a whole sync into an SQLite store; then a hundredth of both changes each day, as the delta of one sync a day.
Before, ``cmdb_chain.py`` measures the way of such a delta into a running Foreshock.
"""

import argparse
import random
import resource
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import product  # noqa: F401 (puts the checkout before this folder, whose correlation.py is not the package)
from cmdb_chain import measure

from foreshock.core.cmdb import CmdbPage, Identifier, IdType, Item, Tie
from foreshock.core.contracts import Finding
from foreshock.service.cmdb.run import Sync
from foreshock.service.settings import Settings
from foreshock.store.cmdb import CmdbStore

PAGE = 1000


class Estate:
    """Servers like those of a CMDB: ids of 32 digits, a serial number, a full name, an address."""

    def __init__(self, cis: int, ties: int) -> None:
        self._random = random.Random(1)
        self._cis, self._ties = cis, ties
        self._live = list(range(ties))
        self._next = ties
        self._revision = 0
        self._delta = CmdbPage()

    def page(self, cursor: str, mark: str) -> CmdbPage:
        if mark:
            return self._delta
        first = int(cursor or 0)
        if first < self._cis:
            items = [self._item(number, 0) for number in range(first, min(first + PAGE, self._cis))]
            return CmdbPage(items=items, next=str(first + PAGE), expected=self._cis + self._ties)
        first -= self._cis
        last = first + PAGE >= self._ties
        return CmdbPage(
            ties=[self._tie(number) for number in range(first, min(first + PAGE, self._ties))],
            next="" if last else str(first + PAGE + self._cis),
            mark="1" if last else "",
            whole=last,
            expected=self._cis + self._ties,
        )

    def check(self) -> Sequence[Finding]:
        return ()

    def change(self) -> None:
        """A day: a hundredth of the CIs is other, a hundredth of the relationships goes or comes."""
        self._revision += 1
        changed = [
            self._item(number, self._revision) for number in self._random.sample(range(self._cis), self._cis // 100)
        ]
        gone = []
        for _ in range(self._ties // 200):
            place = self._random.randrange(len(self._live))
            gone.append(_id(self._live[place]))
            self._live[place] = self._live[-1]
            self._live.pop()
        fresh = range(self._next, self._next + self._ties // 200)
        self._live += fresh
        self._next = fresh.stop
        self._delta = CmdbPage(
            items=changed, ties=[self._tie(number) for number in fresh], gone_ties=gone, mark=str(self._revision + 1)
        )

    def _item(self, number: int, revision: int) -> Item:
        name = f"host-{number:06d}"
        return Item(
            id=_id(number),
            name=name,
            kind="server",
            class_name="cmdb_ci_linux_server",
            identifiers=(
                Identifier(IdType.SERIAL, f"SN{number:08d}"),
                Identifier(IdType.FQDN, f"{name}.example.com"),
                Identifier(IdType.IP, f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"),
            ),
            owner=f"team-{number % 50}-{revision}",
            environment="production",
            url=f"https://cmdb.example.com/ci/{_id(number)}",
            updated_at=datetime(2026, 1, 1, tzinfo=UTC) + timedelta(days=revision),
        )

    def _tie(self, number: int) -> Tie:
        ends = (_id(self._random.randrange(self._cis)) for _ in range(2))
        source, target = ends
        return Tie(id=_id(number), source=source, type="depends_on", target=target, class_name="Depends on::Used by")


def _id(number: int) -> str:
    return f"{number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % 2**128:032x}"


def _peak_mb() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cis", type=int, default=100_000)
    parser.add_argument("--relationships", type=int, default=400_000)
    parser.add_argument("--days", type=int, default=365)
    given = parser.parse_args()
    measure(given.cis, given.relationships)
    now = datetime(2026, 1, 1, tzinfo=UTC)
    with tempfile.TemporaryDirectory() as folder:
        entry = {"name": "estate", "kind": "file", "path": "unused.yaml", "full_every": "31d"}
        settings = Settings.model_validate({"state": folder, "topology": [entry]})
        store = CmdbStore(f"sqlite:///{folder}/cmdb.db")
        estate = Estate(given.cis, given.relationships)
        sync = Sync(store, settings, clock=lambda: now, sources={"estate": estate})
        before_mb = _peak_mb()
        begun, cpu = time.perf_counter(), time.process_time()
        found = sync.run("estate")
        print(
            f"whole: {found.counts.put_cis} CIs, {found.counts.put_relationships} relationships in "
            f"{time.perf_counter() - begun:.1f} s ({time.process_time() - cpu:.1f} s of a processor), peak "
            f"{_peak_mb()} MB ({before_mb} MB before), {store.size() / 2**20:.0f} MB on disk",
            flush=True,
        )
        taken: list[tuple[float, float]] = []
        for day in range(1, given.days + 1):
            now += timedelta(days=1)
            estate.change()
            begun, cpu = time.perf_counter(), time.process_time()
            found = sync.run("estate")
            taken.append((time.perf_counter() - begun, time.process_time() - cpu))
            if day in (1, 2, 7, 30) or day % 73 == 0:
                print(
                    f"day {day}: {found.counts.put_cis} CIs, +{found.counts.put_relationships} "
                    f"-{found.counts.gone_relationships} in {taken[-1][0]:.2f} s ({taken[-1][1]:.2f} s of a "
                    f"processor), {store.size() / 2**20:.0f} MB on disk",
                    flush=True,
                )
        newest = store.newest()
        assert newest is not None
        for name, work in (
            ("the last difference", lambda: store.between(newest.number - 1, newest.number)),
            ("all as of the first day", lambda: store.as_of(datetime(2026, 1, 1, tzinfo=UTC))),
            ("all as of now", lambda: store.as_of(now)),
        ):
            begun = time.perf_counter()
            work()
            print(f"{name}: {time.perf_counter() - begun:.2f} s", flush=True)
        size = (Path(folder) / "cmdb.db").stat().st_size
        median = sorted(taken)[len(taken) // 2] if taken else (0.0, 0.0)
        print(
            f"a day's change: median {median[0]:.2f} s ({median[1]:.2f} s of a processor); file {size / 2**20:.0f} MB"
        )
        store.close()


if __name__ == "__main__":
    main()
