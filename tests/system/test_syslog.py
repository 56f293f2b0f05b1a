"""A device reports by syslog, through rsyslog, to a Foreshock as it is installed: one alert that opens and resolves."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from foreshock.testing.servers import ForeshockServer, Rsyslog, eventually, free_port, run_foreshock

DOWN = "%LINK-3-UPDOWN: Interface GigabitEthernet0/1, changed state to down"
UP = "%LINK-3-UPDOWN: Interface GigabitEthernet0/1, changed state to up"


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def foreshock(port: int) -> Iterator[ForeshockServer]:
    pair = {
        "name": "Link down",
        "fails": r"Interface (?P<interface>\S+), changed state to down",
        "recovers": r"Interface (?P<interface>\S+), changed state to up",
    }
    collector = {
        "name": "network",
        "kind": "syslog",
        "tcp": f"127.0.0.1:{port}",
        "udp": f"127.0.0.1:{port}",
        "lines": {"pairs": [pair], "count_every": "10s"},
    }
    with ForeshockServer(config={"collectors": [collector]}) as server:
        eventually(lambda: source(server)["listening"]["address"], what="the listener")
        yield server


def source(foreshock: ForeshockServer) -> dict:
    return next(each for each in foreshock.get("/api/v1/sources") if each["name"] == "network")


def alerts(foreshock: ForeshockServer) -> dict[str, str]:
    """State by name, of all incidents."""
    return {
        alert["name"]: alert["state"]
        for row in foreshock.incidents()
        for alert in foreshock.incident(row["id"])["alerts"]
    }


def test_a_link_that_goes_down_and_up_is_one_alert_and_what_is_harmless_is_counted(foreshock, port, require):
    require("rsyslogd", "logger")
    action = (
        f'action(type="omfwd" target="127.0.0.1" port="{port}" protocol="tcp" TCP_Framing="octet-counted" '
        'template="RSYSLOG_SyslogProtocol23Format" action.resumeRetryCount="-1" action.resumeInterval="1")'
    )
    with Rsyslog(action) as rsyslog:
        rsyslog.write(DOWN, tag="sw1")
        eventually(lambda: alerts(foreshock) == {"Link down": "firing"}, what="the alert")
        for number in range(3):
            rsyslog.write(f"user {number} logged in", priority="auth.info")
        rsyslog.write(UP, tag="sw1")
        eventually(lambda: alerts(foreshock) == {"Link down": "resolved"}, what="its end")

    counted = eventually(lambda: source(foreshock)["listening"]["tops"], what="templates")
    assert [(top["of"], top["text"], top["count"]) for top in counted] == [("shop", "user * logged in", 3)]
    eventually(lambda: source(foreshock)["listening"]["points"], what="samples in the metric history")
    shown = run_foreshock("collectors", "templates", "network", "--server", foreshock.url)
    assert "user * logged in" in shown.stdout
    status = run_foreshock("collectors", "status", "--server", foreshock.url, "-o", "json")
    assert (status.returncode, f"tcp 127.0.0.1:{port}" in status.stdout) == (0, True)
    assert (
        'foreshock_source_items_total{outcome="counted",source="network"} 3.0'
        in foreshock.ask("GET", "/metrics").body.decode()
    )


def test_after_a_listener_and_then_foreshock_were_killed_what_was_kept_is_there_and_lines_are_heard_again(
    foreshock, port
):
    def send(text: str) -> None:
        with socket.create_connection(("127.0.0.1", port), timeout=5) as sock:
            sock.sendall(f"<11>app: {text}\n".encode())

    send("first")
    eventually(lambda: alerts(foreshock).get("first"), what="the first line")
    os.kill(listener_of(foreshock.pid), signal.SIGKILL)
    eventually(lambda: source(foreshock)["listening"]["restarts"] == 1, what="a restart")
    eventually(lambda: source(foreshock)["listening"]["address"], what="the listener again")
    send("second")
    eventually(lambda: alerts(foreshock).get("second"), what="the second line")

    foreshock.kill()
    foreshock.start()

    eventually(lambda: source(foreshock)["listening"]["address"], what="the listener after the start")
    send("third")
    assert eventually(lambda: alerts(foreshock).get("third"), what="the third line")
    assert set(alerts(foreshock)) == {"first", "second", "third"}


def listener_of(parent: int) -> int:
    """Of the children of a process the one that listens."""
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        for task in Path(f"/proc/{parent}/task").iterdir():
            for child in (task / "children").read_text().split():
                if b"listening_work" in Path(f"/proc/{child}/cmdline").read_bytes():
                    return int(child)
        time.sleep(0.05)
    raise AssertionError("there is no such process")
