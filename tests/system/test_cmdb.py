"""CMDB sources of a real Foreshock: read by themselves, by a process of their own, and by a person's command; killed
anywhere, and on PostgreSQL."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from functools import partial
from itertools import groupby, pairwise
from pathlib import Path
from typing import Any

import msgspec
import pytest

from foreshock.core.contracts import Snapshot
from foreshock.core.errors import Unavailable
from foreshock.store.cmdb import CmdbStore, SourceState
from foreshock.testing.servers import (
    ForeshockServer,
    Sandbox,
    ServerFailed,
    eventually,
    foreshock_environment,
    foreshock_script,
    run_foreshock,
)

RARELY = {"every": "1h"}
PAGE_ROWS, CIS = 4, 12
HELD = 75
SLOWLY = "delay=1.0"
"""Each answer comes a second late, so that there is time to kill who waits for it."""


def estate(cis: int) -> str:
    """A hub and what uses it."""
    rows = [
        "version: 1",
        "cis:",
        *(f"- {{id: host-{number}, kind: server}}" for number in range(cis)),
        "relationships:",
    ]
    return "\n".join([*rows, *(f"- {{source: host-{number}, type: uses, target: host-0}}" for number in range(1, cis))])


@pytest.fixture
def inventory() -> Iterator[Sandbox]:
    """A CMDB in a process of its own, with CIs in a row and small pages."""
    with Sandbox("rest") as sandbox:
        ids = [sandbox.cmdb("put_ci", name=f"host-{number:02}") for number in range(CIS)]
        for source, target in pairwise(ids):
            sandbox.cmdb("relate", source=source, target=target)
        sandbox.set_habits(page_rows=PAGE_ROWS)
        yield sandbox


def asked_of(inventory: Sandbox) -> list[str]:
    """Every page that it was asked for, in order."""
    entries = map(json.loads, inventory.ledger.read_text().splitlines())
    return [f"{entry['path']}?{entry['query']}" for entry in entries if entry["method"] == "GET"]


def write_settings(folder: Path, *sources: dict[str, Any], **more: Any) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / "foreshock.yaml"
    path.write_text(json.dumps({"state": str(folder / "state"), "topology": list(sources), **more}))
    return path


def sync(config: Path, *options: str) -> tuple[int, Any, str]:
    """`foreshock cmdb sync`: its exit code, what it printed and what it complained of."""
    done = run_foreshock("cmdb", "sync", "--config", str(config), "-o", "json", *options, timeout_s=120)
    return done.returncode, json.loads(done.stdout) if done.stdout else None, done.stderr


def start_sync(config: Path, *names: str) -> subprocess.Popen[bytes]:
    command = [str(foreshock_script()), "cmdb", "sync", *names, "--config", str(config)]
    return subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        env=foreshock_environment({}),
    )  # fmt: skip


@contextmanager
def syncing(config: Path) -> Iterator[subprocess.Popen[bytes]]:
    """A sync that goes on meanwhile; killed at the end."""
    process = start_sync(config)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


@contextmanager
def reader(url: str) -> Iterator[Callable[[], SourceState | None]]:
    """Looks into a CMDB store that others write; nothing until it is made."""
    opened: list[CmdbStore] = []

    def look() -> SourceState | None:
        if not opened:
            if url.startswith("sqlite") and not Path(url.partition("///")[2]).exists():
                return None
            try:
                opened.append(CmdbStore(url, writing=False))
            except Unavailable:
                return None
        return opened[0].source("prod")

    try:
        yield look
    finally:
        for store in opened:
            store.close()


def staged(state: SourceState | None) -> int:
    """Pages of the reading that goes on, or was killed."""
    return state.going_on.pages if state is not None and state.going_on is not None else 0


def newest(url: str) -> Snapshot:
    with closing(CmdbStore(url, writing=False)) as store:
        return store.as_of(datetime.now(UTC))


def url_of(config: Path) -> str:
    return f"sqlite:///{config.parent / 'state' / 'cmdb.db'}"


def with_source(server: ForeshockServer, **options: object) -> dict[str, object]:
    return {"topology": [{"name": "estate", "kind": "file", "path": str(server.topology_file), **options}]}


def test_what_a_person_reads_by_hand_is_in_force_within_moments_and_a_refusal_opens_an_alert():
    server = ForeshockServer(topology=estate(10))
    server._config |= with_source(server, **RARELY)
    with server:

        def command(*arguments: str) -> tuple[int, str, str]:
            done = run_foreshock("cmdb", *arguments, "--config", str(server.config_file))
            return done.returncode, done.stdout, done.stderr

        first = server.get("/api/v1/status")["topology_version"]
        server.write_topology(estate(12))
        assert command("sync", "estate")[0] == 0
        eventually(lambda: server.get("/api/v1/status")["cis"] == 12, what="the new version")
        status = server.get("/api/v1/cmdb/status")
        assert status["in_force"] == status["version"]["name"] != first

        server.write_topology(estate(3))
        code, _, message = command("sync", "estate")
        assert (code, "--accept-retire 9" in message) == (4, True)
        assert server.get("/api/v1/status")["cis"] == 12
        told = eventually(
            lambda: [
                one for one in server.get("/api/v2/alerts") if one["labels"]["alertname"] == "ForeshockCmdbRefused"
            ],
            within_s=60,
            what="the alert about ourselves",
        )
        assert "would retire 9 of its 12 CIs" in told[0]["annotations"]["summary"]

        code, out, _ = command("sync", "estate", "--accept-retire", "9", "-o", "json")
        assert (code, json.loads(out)[0]["outcome"]) == (0, "changed")
        eventually(lambda: server.get("/api/v1/status")["cis"] == 3, what="the new version")
        assert [one["put_cis"] for one in server.get("/api/v1/cmdb/versions")] == [0, 2, 10]
        assert server.get("/api/v1/cmdb/path?one=host-1&other=host-2")[0]["target"] == "host-0"
        assert server.get("/api/v1/cmdb/ci?id=host-1")["said"][0]["source"] == "estate"


def rests(store: CmdbStore) -> bool:
    """Whether nothing is read for some seconds."""
    before = store.readings("estate")
    time.sleep(6)
    return [one.number for one in before] == [one.number for one in store.readings("estate")]


def test_a_large_file_is_put_into_force_by_a_process_of_its_own_and_not_refused_again_and_again():
    server = ForeshockServer(topology=estate(2))
    server._config |= with_source(server, every="1s")
    with server:
        server.write_topology(estate(7000))

        eventually(lambda: server.get("/api/v1/status")["cis"] == 7000, within_s=120, what="the new version")

        [source] = server.get("/api/v1/cmdb/status")["sources"]
        assert (source["outcome"], source["items"], source["ties"]) == ("changed", 7000, 6999)
        assert b"foreshock_cmdb_last_success_timestamp_seconds{" in server.ask("GET", "/metrics").body
        server.write_topology(estate(2900))

        eventually(
            lambda: server.get("/api/v1/cmdb/status")["sources"][0]["outcome"] == "refused",
            within_s=120,
            what="the refusal",
        )

        with closing(CmdbStore(f"sqlite:///{server.state / 'cmdb.db'}", writing=False)) as store:
            # Once more at most: a file that changed a moment ago is looked at again.
            eventually(partial(rests, store), within_s=90, what="the end of readings of what is refused")
        assert server.get("/api/v1/status")["cis"] == 7000


# ---- killed anywhere ------------------------------------------------------------------------------------------------


def test_a_sync_killed_in_mid_reading_goes_on_with_the_next_page_and_shows_nothing_before_it_ends(inventory, tmp_path):
    assert sync(write_settings(tmp_path / "undisturbed", inventory.source("prod")))[0] == 0
    undisturbed, pages = newest(url_of(tmp_path / "undisturbed" / "foreshock.yaml")), asked_of(inventory)
    assert len(pages) > 2 * CIS // PAGE_ROWS
    config = write_settings(tmp_path / "killed", inventory.source("prod"))
    url = url_of(config)
    inventory.set_faults(SLOWLY)
    for number in (2, 4, 5):
        with reader(url) as look, syncing(config) as process:
            eventually(lambda at=number, look=look: staged(look()) >= at, within_s=60, what=f"page {number}")
            process.send_signal(signal.SIGKILL)
            process.wait()
            reached = staged(look())
        assert number <= reached < len(pages)
        assert newest(url).version == ""
        status = json.loads(run_foreshock("cmdb", "status", "--config", str(config), "-o", "json").stdout)
        assert (status["version"], status["sources"][0]["pages"]) == (None, reached)
    inventory.set_faults("")

    code, [outcome], _ = sync(config)

    assert (code, outcome["outcome"], outcome["counts"]["items"]) == (0, "changed", CIS + 1)
    asked = asked_of(inventory)[len(pages) :]
    assert [page for page, _ in groupby(asked)] == pages, "pages that were kept were read again"
    assert len(asked) <= len(pages) + 3, "no more than the page at each kill is read twice"
    assert msgspec.structs.replace(newest(url), version="") == msgspec.structs.replace(undisturbed, version="")
    assert newest(url).version == undisturbed.version


def test_versions_that_a_sync_wrote_while_foreshock_was_killed_are_in_force_after_the_start(inventory):
    with ForeshockServer() as server:
        server.kill()
        server._config["topology"] = [inventory.source("prod", **RARELY)]
        server._prepare()
        url = url_of(server.config_file)
        versions = []
        for number in range(2):
            server.start()
            if number:
                eventually(lambda: in_force(server) == versions[-1], what="the newest version")
            inventory.cmdb("put_ci", name=f"new-{number}")
            eventually(partial(is_synced, server.config_file), what="a sync of our own beside that of the start")
            time.sleep(number)  # a version is published within a second: one kill comes before that, one after it
            server.kill()
            versions.append(newest(url).version)
        inventory.cmdb("put_ci", name="while nothing runs")
        assert sync(server.config_file)[0] == 0
        versions.append(newest(url).version)

        server.start()

        eventually(lambda: in_force(server) == versions[-1], what="the newest version")
        assert len(set(versions)) == 3
        assert server.get("/api/v1/status")["cis"] == CIS + 1 + 3
        assert [one["name"] for one in server.get("/api/v1/cmdb/versions")] == versions[::-1]


def is_synced(config: Path) -> bool:
    """False while another process reads."""
    code, _, message = sync(config)
    assert code in (0, HELD), message
    return code == 0


def in_force(server: ForeshockServer) -> str:
    found: str = server.get("/api/v1/status")["topology_version"]
    return found


def test_a_foreshock_killed_while_it_has_a_source_read_goes_on_from_the_page_it_had(inventory):
    inventory.set_faults(SLOWLY)
    with ForeshockServer(config={"topology": [inventory.source("prod", every="1h")]}) as server:
        url = url_of(server.config_file)
        with reader(url) as look:
            eventually(lambda: staged(look()) >= 2, within_s=60, what="two pages")
            holder = look().holder.split()[1]
            server.kill()
            eventually(lambda: not is_running(int(holder)), what="the end of who read for it")
        before = asked_of(inventory)
        inventory.set_faults("")

        server.start()

        eventually(lambda: server.get("/api/v1/status")["cis"] == CIS + 1, within_s=60, what="the topology")
    after = asked_of(inventory)[len(before) :]
    assert not set(before[:2]) & set(after)
    assert after[0] in before[-1:] or after[0] not in before


def is_running(pid: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False


def test_a_source_that_refuses_our_credentials_has_an_incident_until_it_takes_them_again(inventory):
    def told() -> list[str]:
        alerts = server.get("/api/v2/alerts")
        return [one["labels"]["source"] for one in alerts if one["labels"]["alertname"] == "ForeshockCmdbDenied"]

    inventory.set_faults("denied=1.0")
    with ForeshockServer(config={"topology": [inventory.source("prod", every="1s")]}) as server:
        eventually(lambda: told() == ["prod"], within_s=90, what="the alert about ourselves")
        assert b'foreshock_cmdb_denied{source="prod"} 1.0' in server.ask("GET", "/metrics").body

        inventory.set_faults("")

        eventually(lambda: server.get("/api/v1/status")["cis"] == CIS + 1, within_s=60, what="the topology")
        eventually(lambda: not told(), within_s=90, what="the end of the alert")


# ---- PostgreSQL -----------------------------------------------------------------------------------------------------


def test_on_postgresql_versions_are_read_published_and_known_as_of_a_moment(inventory, postgresql_database):
    settings = {"store": {"url": postgresql_database}, "topology": [inventory.source("prod", **RARELY)]}
    with ForeshockServer(config=settings) as server:
        eventually(lambda: server.get("/api/v1/status")["cis"] == CIS + 1, within_s=60, what="the first version")
        first, then = in_force(server), datetime.now(UTC)
        inventory.cmdb("put_ci", name="new")

        eventually(partial(is_synced, server.config_file), what="a sync of our own")

        eventually(lambda: server.get("/api/v1/status")["cis"] == CIS + 2, what="the second version")
        second = newest(postgresql_database)
        assert in_force(server) == second.version != first
        arguments = ("--config", str(server.config_file), "-o", "json")
        told = json.loads(run_foreshock("cmdb", "as-of", then.isoformat(), *arguments).stdout)
        assert told["version"] == server.get("/api/v1/cmdb/topology", as_of=then.isoformat())["version"] == first
        assert {ci.id for ci in second.cis} - {ci["id"] for ci in told["cis"]} == {"new"}
        assert len(told["relationships"]) == CIS - 1

        server.kill()
        inventory.cmdb("put_ci", name="while nothing runs")
        assert sync(server.config_file)[0] == 0
        eventually(partial(starts, server), what="a start after the kill")  # once the database has noticed that
        eventually(lambda: server.get("/api/v1/status")["cis"] == CIS + 3, what="the third version")
        assert in_force(server) == newest(postgresql_database).version


def starts(server: ForeshockServer) -> bool:
    try:
        server.start()
    except ServerFailed:
        return False
    return True


def test_on_postgresql_of_two_syncs_at_once_one_is_told_who_reads_and_goes_on_when_that_one_is_killed(
    inventory, postgresql_database, tmp_path
):
    config = write_settings(tmp_path, inventory.source("prod"), store={"url": postgresql_database})
    inventory.set_faults(SLOWLY)
    with reader(postgresql_database) as look, syncing(config) as process:
        eventually(lambda: staged(look()) >= 2, within_s=60, what="two pages")

        code, _, message = sync(config)

        assert code == HELD
        assert f"'prod' is being read by process {process.pid} on " in message
        assert newest(postgresql_database).version == ""
        process.send_signal(signal.SIGKILL)
        process.wait()
        before = asked_of(inventory)
        inventory.set_faults("")
        code, [outcome], _ = sync(config)
    assert (code, outcome["outcome"], outcome["counts"]["items"]) == (0, "changed", CIS + 1)
    assert not set(before[:2]) & set(asked_of(inventory)[len(before) :])
    assert len(newest(postgresql_database).cis) == CIS + 1


def test_several_sources_are_read_at_once_into_one_store(inventory, postgresql_database, tmp_path):
    names = ("one", "two", "three")
    sources = map(inventory.source, names)
    config = write_settings(tmp_path, *sources, store={"url": postgresql_database})
    processes = [start_sync(config, name) for name in names]
    ends = [(process.wait(), process.communicate()[1]) for process in processes]

    assert [code for code, _ in ends] == [0, 0, 0], ends
    found = newest(postgresql_database)
    with closing(CmdbStore(postgresql_database, writing=False)) as store:
        assert {one.name: (one.items, one.ties) for one in store.sources()} == dict.fromkeys(names, (CIS + 1, CIS - 1))
    assert len(found.relationships) == len({(one.source, one.target) for one in found.relationships})
