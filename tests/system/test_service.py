"""``foreshock run`` as an operator meets it: starting, stopping, refusing, limits, and what it shows of itself."""

from __future__ import annotations

import base64
import gzip
import http.client
import json
import os
import signal
import sqlite3
import threading
import time
import zlib
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zstandard
from prometheus_client.parser import text_string_to_metric_families

from foreshock.testing.servers import ForeshockServer, ServerFailed, eventually, free_port, run_foreshock

ANN, BOB = "ann-0123456789abcdef0123456789", "bob-0123456789abcdef0123456789"

ONE = "version: 1\ncis:\n- {id: db-1, kind: database, owner: dba}\n"
TWO = ONE + "- {id: shop, kind: service, owner: web}\nrelationships:\n- {source: shop, type: uses, target: db-1}\n"

QUICK = {
    "correlation": {"ticket": {"delay": "300ms", "delay_by_priority": {1: "300ms"}}, "group": {"quiet": "300ms"}},
}


@pytest.fixture(scope="module")
def foreshock():
    """One for the tests that leave nothing behind but alerts of their own."""
    with ForeshockServer(config=QUICK) as server:
        yield server


def fire(server: ForeshockServer, name: str, **labels: str) -> None:
    assert server.post("/api/v2/alerts", [{"labels": {"alertname": name, **labels}}]).status == 200


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def write_config(path: Path, **settings: object) -> Path:
    path.write_text(json.dumps(settings))
    return path


def refused(*arguments: str) -> tuple[int, str]:
    """Exit code and message of a start that must fail by itself."""
    done = run_foreshock("run", *arguments)
    return done.returncode, done.stderr


# ---- reloading ----------------------------------------------------------------------------------------------------


def test_sighup_puts_new_rules_into_force_and_bad_ones_leave_it_as_it_is(tmp_path: Path):
    rules = tmp_path / "rules.yaml"
    rules.write_text("[]\n")
    with ForeshockServer(config={"rules": str(rules)}) as server:
        rules.write_text("- {name: same-app, kind: attribute, equal: [app], strength: 0.9}\n")
        os.kill(server.pid, signal.SIGHUP)
        eventually(lambda: any(tag.startswith("same-app@") for tag in server.get("/api/v1/status")["rules"]))
        fire(server, "A", app="shop", host="web1")
        fire(server, "B", app="shop", host="web2")
        assert [row["alerts"] for row in server.incidents()] == [2]

        rules.write_text("- {name: same-app, kind: attribute, equals: [app]}\n")
        os.kill(server.pid, signal.SIGHUP)
        eventually(lambda: f"{rules}:1:37: [0].equals: unknown key" in server.get("/api/v1/status")["reload_error"])
        fire(server, "C", app="shop", host="web3")
        ours, shop = server.incidents()
        assert "ForeshockFilesRefused" in ours["title"]
        assert shop["alerts"] == 3

        asked = run_foreshock("reload", "--server", server.url)
        assert (asked.returncode, f"{rules}:1:37: [0].equals: unknown key" in asked.stderr) == (1, True)
        rules.write_text("[]\n")
        asked = run_foreshock("reload", "--server", server.url)
        assert (asked.returncode, asked.stdout) == (0, "The new settings and rules are in force.\n")


# ---- starting and stopping ------------------------------------------------------------------------------------------


def test_sigterm_ends_it_after_everything_acknowledged_is_reflected():
    acknowledged = 0
    stopping = threading.Event()

    with ForeshockServer() as server:

        def load() -> None:
            nonlocal acknowledged
            while not stopping.is_set():
                batch = [{"labels": {"alertname": "Load", "n": f"{acknowledged}-{n}"}} for n in range(200)]
                try:
                    if server.post("/api/v2/alerts", batch).status != 200:
                        return
                except OSError:
                    return
                acknowledged += 1

        loader = threading.Thread(target=load)
        loader.start()
        eventually(lambda: acknowledged >= 10)
        code = server.terminate()
        stopping.set()
        loader.join()

        assert code == 0
        with closing(sqlite3.connect(f"file:{server.database}?mode=ro", uri=True)) as store:
            [(last, stored)] = store.execute(
                "select max(number), sum(items) filter (where kind = 'events') from inbox"
            ).fetchall()
            assert store.execute("select position, checkpoint from engine").fetchall() == [(last, last)]
            blocks = [body for (body,) in store.execute("select body from checkpoint_block")]
        # The one request that was on its way may have been stored without an answer that came through.
        assert 200 * acknowledged <= stored <= 200 * (acknowledged + 1)
        assert len(alerts_in(blocks)) == stored


def the_front_of(server: ForeshockServer) -> int:
    """The process that takes events in."""
    (child,) = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    return int(child)


def runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_where_one_of_the_two_processes_is_killed_the_other_ends_and_a_start_goes_on_with_what_was_acknowledged():
    with ForeshockServer() as server:
        fire(server, "A", host="web1")
        front = the_front_of(server)
        os.kill(server.pid, signal.SIGKILL)
        assert server.wait() == -signal.SIGKILL
        eventually(lambda: not runs(front), within_s=10)
        server.start()
        fire(server, "B", host="web1")
        assert {alert["labels"]["alertname"] for alert in server.get("/api/v2/alerts")} == {"A", "B"}

        os.kill(the_front_of(server), signal.SIGKILL)
        assert server.wait() == 1
        server.start()
        assert {alert["labels"]["alertname"] for alert in server.get("/api/v2/alerts")} == {"A", "B"}


def alerts_in(blocks: list[bytes]) -> set[str]:
    items = (item for body in blocks for item in msgspec.msgpack.decode(zstandard.ZstdDecompressor().decompress(body)))
    return {key for kind, key, _ in items if kind == "alert"}


def test_a_second_process_on_the_same_state_is_told_who_holds_it(foreshock):
    code, message = refused("--state", str(foreshock.state), "--listen", f"127.0.0.1:{free_port()}")

    assert code == 75
    assert f"{foreshock.state} is in use by process {foreshock.pid} on " in message
    assert "--state" in message


def test_a_taken_address_is_told(foreshock, tmp_path):
    code, message = refused("--state", str(tmp_path), "--listen", foreshock.target)

    assert code != 0
    assert f"cannot listen on {foreshock.target}" in message


def test_a_wrong_configuration_is_78_and_names_every_problem(tmp_path):
    config = tmp_path / "foreshock.yaml"
    config.write_text("listen: nowhere\nretention:\n  age: soon\nlimts: {}\n")

    code, message = refused("--config", str(config), "--state", str(tmp_path / "state"))

    assert code == 78
    for problem in (":1:1: listen:", ":3:3: retention.age:", ":4:1: limts:", "did you mean 'limits'?"):
        assert problem in message
    assert not (tmp_path / "state").exists()


def test_a_topology_that_cannot_be_read_is_78_at_the_start(tmp_path):
    (tmp_path / "topology.yaml").write_text("version: 1\ncis:\n- {kind: service}\n")
    config = write_config(tmp_path / "foreshock.yaml", topology="topology.yaml", listen=f"127.0.0.1:{free_port()}")

    code, message = refused("--config", str(config), "--state", str(tmp_path / "state"))

    assert code == 78
    assert "topology.yaml:3" in message


def test_a_topology_that_broke_later_does_not_keep_it_from_starting():
    with ForeshockServer(topology=ONE) as server:
        server.kill()
        server.write_topology("version: 1\ncis:\n- {kind: service}\n")
        server.start()

        status = server.get("/api/v1/status")

        assert status["cis"] == 1
        assert "topology.yaml:3" in status["topology_error"]


# ---- who may -------------------------------------------------------------------------------------------------------


def test_beyond_loopback_it_does_not_start_without_tokens(tmp_path):
    code, message = refused("--listen", f"0.0.0.0:{free_port()}", "--state", str(tmp_path))

    assert code == 78
    assert "tokens_file" in message


def test_a_token_file_that_others_may_read_is_refused(tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text(f"ann {ANN}\n")
    tokens.chmod(0o644)
    config = write_config(tmp_path / "foreshock.yaml", tokens_file="tokens")

    code, message = refused("--config", str(config), "--state", str(tmp_path / "state"))

    assert code == 78
    assert "chmod 600" in message
    assert ANN not in message


def test_with_a_token_file_only_its_people_get_in_and_their_actions_carry_their_names(tmp_path):
    tokens = tmp_path / "tokens"
    tokens.write_text(f"ann {ANN}\nbob {BOB}\n")
    tokens.chmod(0o600)
    port = free_port()
    settings = {**QUICK, "listen": f"0.0.0.0:{port}", "tokens_file": str(tokens), "allowed_hosts": ["127.0.0.1"]}
    with ForeshockServer(config=settings, port=port) as server:
        alert = json.dumps([{"labels": {"alertname": "Guarded"}}]).encode()
        silence = {
            "matchers": [{"name": "alertname", "value": "Other", "isRegex": False}],
            "startsAt": "2026-01-01T00:00:00Z",
            "endsAt": "2100-01-01T00:00:00Z",
            "createdBy": "whoever",
            "comment": "work",
        }

        for path in ("/api/v2/alerts", "/api/v1/incidents", "/metrics", "/api/openapi.json", "/"):
            reply = server.ask("GET", path)
            assert (reply.status, reply.headers["WWW-Authenticate"][:5]) == (401, "Basic"), path
            assert server.ask("GET", path, headers=bearer(ANN)).status == 200, path
        assert server.ask("POST", "/api/v2/alerts", alert).status == 401
        assert server.ask("POST", "/api/v2/alerts", alert, bearer(ANN + "x")).status == 401
        assert server.ask("POST", "/api/v2/alerts", alert, bearer(BOB)).status == 200
        by_name = {"Authorization": "Basic " + base64.b64encode(f"ann:{ANN}".encode()).decode()}
        assert server.ask("GET", "/api/v1/incidents", headers=by_name).status == 200
        by_name = {"Authorization": "Basic " + base64.b64encode(f"bob:{ANN}".encode()).decode()}
        assert server.ask("GET", "/api/v1/incidents", headers=by_name).status == 401
        assert server.ask("GET", "/-/ready").status == 200
        foreign = server.ask("GET", "/api/v1/incidents", headers={**bearer(ANN), "Host": "evil.example"})
        assert foreign.status == 421

        assert server.post("/api/v2/silences", silence, bearer(ANN)).status == 200

        def record() -> dict[str, object] | None:
            found = server.ask("GET", "/api/v1/incidents/S-1", headers=bearer(ANN)).json()
            return found["records"][0] if found["records"] else None

        eventually(record, what="the ticket")
        taken = server.post("/api/v1/records/INC0000001/take", {}, {**bearer(BOB), "X-Foreshock-Actor": "mallory"})
        assert taken.status == 200
        assert taken.json()["assignee"] == "bob"

        def actors() -> set[tuple[str, str, str]]:
            with closing(sqlite3.connect(f"file:{server.database}?mode=ro", uri=True)) as store:
                return set(store.execute("select actor, kind, action from audit where actor != 'foreshock'"))

        eventually(lambda: len(actors()) >= 2, what="audit rows")
        assert actors() == {("ann", "silence", "set"), ("bob", "ticket", "taken")}
        assert ANN not in server.log
        assert BOB not in server.log


def test_the_command_line_brings_a_token(tmp_path):
    tokens, mine = tmp_path / "tokens", tmp_path / "mine"
    for path, text in ((tokens, f"ann {ANN}\n"), (mine, ANN)):
        path.write_text(text)
        path.chmod(0o600)
    with ForeshockServer(config={"tokens_file": str(tokens)}) as server:
        without = run_foreshock("incidents", "list", "--server", server.url)
        having = run_foreshock("incidents", "list", "--server", server.url, "--token-file", str(mine), "-o", "json")

    assert (without.returncode, "--token-file" in without.stderr) == (5, True)
    assert (having.returncode, json.loads(having.stdout)) == (0, [])


# ---- the disk -------------------------------------------------------------------------------------------------------


def test_a_full_disk_closes_the_intake_and_nothing_else():
    with ForeshockServer(config=QUICK) as server:
        fire(server, "Before", ci="db-1")
        server.kill()
        settings = json.loads(server.config_file.read_text())
        settings["disk_guard"] = {"min_free_percent": 0, "min_free": "1000000GiB"}
        settings["correlation"]["ticket"] = {"delay": "1s", "delay_by_priority": {1: "1s"}}
        server.config_file.write_text(json.dumps(settings))
        server.ready_path = "/-/healthy"
        server.start()

        reply = server.post("/api/v2/alerts", [{"labels": {"alertname": "After"}}])
        ready = server.ask("GET", "/-/ready")

        assert reply.status == 503
        assert int(reply.headers["Retry-After"]) > 0
        assert "1024000000 MiB" in reply.json()
        assert ready.status == 503
        assert "1024000000 MiB" in server.get("/api/v1/status")["intake"]
        assert [row["title"] for row in server.incidents("open")] == ["Before on db-1"]
        assert server.ask("GET", "/metrics").status == 200
        eventually(lambda: server.incident("S-1")["records"], what="the ticket, delivered in spite of the disk")


# ---- limits ---------------------------------------------------------------------------------------------------------


def alerts(count: int, **labels: str) -> bytes:
    return json.dumps([{"labels": {"alertname": "Limit", "n": str(n), **labels}} for n in range(count)]).encode()


ENCODED = {
    "gzip": gzip.compress,
    "x-gzip": gzip.compress,
    "deflate": zlib.compress,
    "zstd": zstandard.ZstdCompressor().compress,
    "identity": bytes,
}


@pytest.mark.parametrize("encoding", ENCODED)
def test_every_known_content_encoding_is_taken_off(foreshock, encoding):
    name = f"Encoded-{encoding}"
    body = ENCODED[encoding](json.dumps([{"labels": {"alertname": name}}]).encode())

    reply = foreshock.ask("POST", "/api/v2/alerts", body, {"Content-Encoding": encoding})

    assert reply.status == 200
    assert len(foreshock.get("/api/v2/alerts", filter=f"alertname={name}")) == 1


MIB = 1024 * 1024
BLANKS = b"[" + b" " * (20 * MIB) + b"]"


@pytest.mark.parametrize(
    ("body", "headers", "status", "words"),
    [
        (b"[" + b" " * (5 * MIB) + b"]", {}, 413, ("5242882 bytes", "5242880")),
        (alerts(5001), {}, 413, ("5001 items", "5000")),
        (gzip.compress(BLANKS), {"Content-Encoding": "gzip"}, 413, ("20971520 bytes when decompressed",)),
        (zlib.compress(BLANKS), {"Content-Encoding": "deflate"}, 413, ("20971520 bytes when decompressed",)),
        (ENCODED["zstd"](BLANKS), {"Content-Encoding": "zstd"}, 413, ("20971520 bytes when decompressed",)),
        (b"not gzip", {"Content-Encoding": "gzip"}, 400, ("not valid gzip",)),
        (gzip.compress(alerts(9))[:-20], {"Content-Encoding": "gzip"}, 400, ("not valid gzip",)),
        (b"not zstd", {"Content-Encoding": "zstd"}, 400, ("not valid zstd",)),
        (alerts(1), {"Content-Encoding": "br"}, 415, ("'br'", "gzip, deflate, zstd")),
        (alerts(1), {"Content-Type": "text/plain"}, 415, ("text/plain", "application/json")),
        (b'{"labels": {}}', {}, 400, ("not an array",)),
        (b"[{]", {}, 400, ("not a JSON array",)),
        (b"[" * 100_000, {}, 400, ("nested too deep",)),
        (b"\xff\xfe", {}, 400, ("not",)),
        (alerts(1, **{f"l{n}": "x" for n in range(63)}), {}, 400, ("65 labels", "64")),
        (alerts(1, long="x" * 2049), {}, 400, ("'long' has 2049 bytes", "2048")),
        (alerts(1, long="é" * 1025), {}, 400, ("'long' has 2050 bytes", "2048")),
    ],
    ids=[
        "body", "batch", "gzip-bomb", "deflate-bomb", "zstd-bomb", "no-gzip", "cut-gzip", "no-zstd", "brotli", "form",
        "object", "broken", "deep", "binary", "labels", "value", "value-in-bytes",
    ],
)  # fmt: skip
def test_what_passes_a_limit_is_refused_naming_the_limit_and_the_value(foreshock, body, headers, status, words):
    reply = foreshock.ask("POST", "/api/v2/alerts", body, headers)

    assert reply.status == status
    for word in words:
        assert word in reply.json()


def test_what_just_keeps_the_limits_is_taken(foreshock):
    for body in (
        alerts(5000, kind="many"),
        alerts(1, **{f"l{n}": "x" for n in range(62)}),
        alerts(1, long="x" * 2048),
        b"[" + b" " * (5 * MIB - 2) + b"]",
    ):
        reply = foreshock.ask("POST", "/api/v2/alerts", body)
        assert reply.status == 200, reply.body


def test_a_body_without_a_length_is_cut_at_the_limit(foreshock):
    connection = http.client.HTTPConnection("127.0.0.1", foreshock.port, timeout=30)
    with closing(connection):
        connection.request(
            "POST",
            "/api/v1/events",
            iter([b"[", *[b" " * MIB] * 5, b"]"]),
            {"Content-Type": "application/json"},
            encode_chunked=True,
        )
        answer = connection.getresponse()
        assert (answer.status, json.load(answer)["error"][:34]) == (413, "the body has more than 5242880 byt")


def test_every_item_of_a_batch_of_events_has_its_own_result(foreshock):
    events = [
        {"labels": {"alertname": "ItemGood"}},
        {"labels": {"alertname": "ItemBad"}, "status": "burning"},
        {"labels": {}},
        {"labels": {"alertname": "ItemFine"}, "severity": "x" * 65},
    ]

    mixed = foreshock.post("/api/v1/events", events)
    good = foreshock.post("/api/v1/events", events[0])
    bad = foreshock.post("/api/v1/events", events[1:3])

    assert (mixed.status, good.status, bad.status) == (207, 202, 400)
    results = mixed.json()["results"]
    assert [each["status"] for each in results] == ["accepted", "rejected", "rejected", "rejected"]
    assert "burning" in results[1]["error"]
    assert "no labels" in results[2]["error"]
    assert "65 characters, 64" in results[3]["error"]
    assert good.json() == {"accepted": 1, "rejected": 0, "results": [{"index": 0, "status": "accepted"}]}
    assert [each["error"] for each in foreshock.get("/api/v1/dead-letters")][-1:] != []


# ---- silences and maintenance ---------------------------------------------------------------------------------------


def ask(foreshock: ForeshockServer, *command: str) -> Any:
    """A command's answer as JSON; one that is refused says why on standard error."""
    done = run_foreshock(*command, "--server", foreshock.url)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout) if "--output" in command else done.stdout


def test_what_a_silence_would_hit_is_asked_before_it_is_set_and_it_is_ended_again(foreshock):
    fire(foreshock, "QuietPlease", host="quiet-1")

    tried = ask(foreshock, "silence", "preview", "alertname=QuietPlease", "--output", "json")
    assert (tried["matched"], [one["whole"] for one in tried["incidents"]]) == (1, [True])
    ask(foreshock, "silence", "add", "alertname=QuietPlease", "--for", "2h", "--comment", "a test")
    [mine] = [one for one in ask(foreshock, "silence", "list", "--output", "json") if one["comment"] == "a test"]
    assert (mine["state"], mine["matchers"]) == ("active", ['alertname="QuietPlease"'])
    assert mine["id"] in {one["id"] for one in foreshock.get("/api/v2/silences")}
    assert "is expired" in ask(foreshock, "silence", "expire", mine["id"])


def test_maintenance_is_planned_imported_and_ended_from_the_command_line(foreshock, tmp_path: Path):
    calendar = tmp_path / "changes.ics"
    soon = datetime.now(UTC).replace(microsecond=0) + timedelta(days=10)
    event = f"UID:1\r\nSUMMARY:Move\r\nDTSTART:{soon:%Y%m%dT%H%M%SZ}\r\nDURATION:PT1H\r\n"
    calendar.write_text(
        f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:x\r\nBEGIN:VEVENT\r\n{event}END:VEVENT\r\nEND:VCALENDAR\r\n"
    )
    scope = ("--ci", "rack-9")

    ask(foreshock, "maintenance", "add", "Cabling", "--comment", "c", "--starts", "2030-01-06 02:00", "--for", "2h",
        "--rrule", "FREQ=WEEKLY;BYDAY=SU", "--time-zone", "Europe/Berlin", *scope)  # fmt: skip
    ask(foreshock, "maintenance", "import", str(calendar), *scope)
    found = {one["title"]: one for one in ask(foreshock, "maintenance", "list", "--output", "json")}
    assert found["Cabling"]["schedule"] == "FREQ=WEEKLY;BYDAY=SU (Europe/Berlin)"
    assert found["Move"]["spans"][0]["starts_at"] == f"{soon:%Y-%m-%dT%H:%M:%SZ}"
    for one in found.values():
        ask(foreshock, "maintenance", "end", one["id"])

    wrong = run_foreshock("maintenance", "add", "x", "--comment", "c", "--starts", "soon", "--for", "2h", *scope,
                          "--server", foreshock.url)  # fmt: skip
    assert wrong.returncode == 1
    assert "'soon' is no time; write it as 2026-12-01 22:00" in wrong.stderr
    nothing = run_foreshock("maintenance", "import", str(tmp_path / "none.ics"), "--server", foreshock.url)
    assert (nothing.returncode, "cannot be read" in nothing.stderr) == (1, True)


# ---- what it shows of itself ----------------------------------------------------------------------------------------

METRICS = {
    "foreshock_build_info",
    "foreshock_intake_requests",
    "foreshock_intake_accepted_events",
    "foreshock_intake_bytes",
    "foreshock_intake_request_duration_seconds",
    "foreshock_inbox_lag_records",
    "foreshock_inbox_last_record",
    "foreshock_alerts_firing",
    "foreshock_alerts_known",
    "foreshock_situations",
    "foreshock_situations_held",
    "foreshock_suppression_walks_cut",
    "foreshock_fold",
    "foreshock_source_last_seen_timestamp_seconds",
    "foreshock_outbox_pending",
    "foreshock_outbox_oldest_age_seconds",
    "foreshock_sink_attempts",
    "foreshock_sink_held",
    "foreshock_dead_letters",
    "foreshock_engine_busy_seconds",
    "foreshock_store_bytes",
    "foreshock_topology_loaded",
    "foreshock_job_runs",
    "foreshock_job_failures",
}


def test_metrics_can_be_read_by_a_scraper_and_have_their_names(foreshock):
    fire(foreshock, "Metric")
    foreshock.get("/api/v2/alerts")
    eventually(lambda: foreshock.incident("S-1")["records"], what="a ticket")

    reply = foreshock.ask("GET", "/metrics")
    families = {family.name: family for family in text_string_to_metric_families(reply.body.decode())}

    assert reply.headers["Content-Type"].startswith("text/plain; version=0.0.4")
    assert families.keys() >= METRICS
    assert all(family.documentation for name, family in families.items() if name in METRICS)
    values = {sample.name: sample.value for family in families.values() for sample in family.samples}
    assert values["foreshock_alerts_firing"] >= 1
    assert values["foreshock_inbox_last_record"] >= 1
    accepted = [s.value for s in families["foreshock_intake_requests"].samples if s.labels.get("status") == "200"]
    assert accepted[0] >= 1

    openmetrics = foreshock.ask("GET", "/metrics", headers={"Accept": "application/openmetrics-text"})
    assert openmetrics.body.endswith(b"# EOF\n")


def test_the_api_document_has_the_intake_routes(foreshock):
    document = foreshock.get("/api/openapi.json")

    assert document["openapi"].startswith("3.")
    for path in ("/api/v2/alerts", "/api/v1/events", "/api/v1/collect/alertmanager"):
        assert (
            "200" in document["paths"][path]["post"]["responses"]
            or "202" in document["paths"][path]["post"]["responses"]
        )
        assert document["paths"][path]["post"]["requestBody"]
    assert "get" in document["paths"]["/api/v2/alerts"]
    assert "/api/v1/incidents" in document["paths"]


# ---- topology -------------------------------------------------------------------------------------------------------


def test_a_topology_file_is_read_again_when_it_changes_and_a_broken_one_changes_nothing():
    with ForeshockServer(config=QUICK, topology=ONE) as server:

        def status() -> dict[str, object]:
            return server.get("/api/v1/status")

        first = status()
        assert (first["cis"], first["relationships"]) == (1, 0)

        server.write_topology(TWO)
        eventually(lambda: status()["topology_version"] != first["topology_version"], what="the new topology")
        second = status()
        assert (second["cis"], second["relationships"], second["topology_error"]) == (2, 1, "")

        server.write_topology(TWO + "- {source: shop, type: uses, target: nothing}\n")
        error = eventually(lambda: status()["topology_error"], what="the error")
        assert "topology.yaml:7" in str(error)
        assert "nothing" in str(error)
        assert status()["topology_version"] == second["topology_version"]
        assert b"foreshock_topology_loaded 0.0" in server.ask("GET", "/metrics").body
        fire(server, "Down", ci="db-1")
        fire(server, "Errors", ci="shop")
        [incident] = server.incidents("open")
        assert (incident["alerts"], incident["cause"]) == (2, "db-1")


# ---- PostgreSQL -----------------------------------------------------------------------------------------------------


def test_the_whole_chain_runs_on_postgresql_and_one_foreshock_owns_the_database(postgresql_database, tmp_path):
    settings = {**QUICK, "store": {"url": postgresql_database}}
    with ForeshockServer(config=settings, topology=TWO) as server:
        fire(server, "Down", ci="db-1", severity="critical")
        fire(server, "Errors", ci="shop")
        eventually(lambda: server.incident("S-1")["records"], what="the ticket")
        config = write_config(tmp_path / "second.yaml", **settings, state="state", listen=f"127.0.0.1:{free_port()}")
        code, message = refused("--config", str(config))
        server.kill()
        # The database notices the end of a killed client within moments.
        eventually(lambda: _starts(server), what="a start after the kill")
        found = server.incident("S-1")
        assert server.terminate() == 0

    assert code == 75
    assert "owned by database session" in message
    assert (found["row"]["alerts"], found["records"][0]["ci"]) == (2, "db-1")
    assert found["notes"][0]["text"].startswith("Opened by Foreshock: ")


def _starts(server: ForeshockServer) -> bool:
    try:
        server.start()
    except ServerFailed:
        time.sleep(0.2)
        return False
    return True
