"""CMDB sources of a real Foreshock: read by themselves, by a process of their own, and by a person's command."""

import json

from foreshock.testing.servers import ForeshockServer, eventually, run_foreshock

RARELY = {"every": "1h"}


def estate(cis: int) -> str:
    """A hub and what uses it."""
    rows = [
        "version: 1",
        "cis:",
        *(f"- {{id: host-{number}, kind: server}}" for number in range(cis)),
        "relationships:",
    ]
    return "\n".join([*rows, *(f"- {{source: host-{number}, type: uses, target: host-0}}" for number in range(1, cis))])


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


def test_a_large_file_is_read_by_a_process_of_its_own():
    server = ForeshockServer(topology=estate(2))
    server._config |= with_source(server, every="1s")
    with server:
        server.write_topology(estate(3000))

        eventually(lambda: server.get("/api/v1/status")["cis"] == 3000, within_s=90, what="the new version")

        [source] = server.get("/api/v1/cmdb/status")["sources"]
        assert (source["outcome"], source["items"], source["ties"]) == ("changed", 3000, 2999)
        assert b"foreshock_cmdb_last_success_timestamp_seconds{" in server.ask("GET", "/metrics").body
