"""Everything collected is hostile, and inert on each way out: pages, tickets, our log, what commands print, CSV."""

from __future__ import annotations

import csv
import io
import json
import logging
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from typing import Any

import pytest
import structlog

from foreshock.service import logs
from foreshock.testing.servers import ForeshockServer, eventually, run_foreshock

TEXTS = {
    "controls": "nul\x00bell\x07back\x08del\x7fc1\x9b31m",
    "terminal": "\x1b[31mred\x1b]0;owned\x07\x1b[2J",
    "bidi": "\u202egnp.exe\u2066x\u2069\u200f\ufeff",
    "lines": "first\r\nsecond\u2028third\u2029fourth\x0bfifth\x85sixth",
    "script": "<script>window.pwned=1</script><img src=x onerror=window.pwned=1>\"'><svg/onload=window.pwned=1>",
    "template": "{{7*7}}{% raw %}${7*7}#{7*7}<%= 7*7 %>",
    "formula": '=HYPERLINK("http://attacker.example","x")',
    "plus": "+1+cmd|' /C calc'!A0",
    "minus": "-2+3+cmd|' /C calc'!A0",
    "at": "@SUM(1+1)*cmd|' /C calc'!A0",
    "tab": "\t=1+1",
    "markup": "h1. [x|http://a.example] *b* {html}<b>{html} [~admin] `code` ![i](http://a.example/p.png) @everyone",
    "long": "w" * 900,
    "astral": "\U0001f4a5\ufffe\uffff",
}
# Half a character: only the escapes of JSON can carry it.
HALF = '{"labels": {"alertname": "half", "host": "half-\\ud800-\\udc00"}, "annotations": {"summary": "\\udead"}}'

OBEYED = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u2028\u2029"  # a terminal or an editor obeys these
    "\u202a-\u202e\u2066-\u2069\ud800-\udfff]"  # and these turn what stands beside them
)
LONGEST_LINE = 20_000


def inert(text: str) -> str:
    """The text again; raises AssertionError where something in it would be obeyed."""
    found = OBEYED.search(text)
    assert found is None, f"U+{ord(found[0]):04X} in {text[max(0, found.start() - 60) : found.end() + 20]!r}"
    return text


def event(name: str, text: str) -> dict[str, Any]:
    return {
        "labels": {
            "alertname": f"{name} {text}",
            "host": f"{name}-{text}",
            "severity": text,
            "team": text,
            "service": text,
        },
        "annotations": {"summary": text, "description": text, "runbook_url": f"javascript:alert(1)//{text}"},
        "url": f"javascript:alert(1)//{text}",
    }


@pytest.fixture(scope="module")
def server() -> Iterator[ForeshockServer]:
    quick = {"ticket": {"delay": "300ms", "delay_by_priority": {1: "300ms"}}, "group": {"quiet": "300ms"}}
    with ForeshockServer(config={"correlation": quick}) as server:
        for name, text in TEXTS.items():
            reply = server.post("/s/hostile/api/v1/events", [event(name, text)])
            assert reply.status in (202, 400), (name, reply.body)
            server.post("/s/hostile/api/v1/events", [{"labels": {}, "annotations": {"summary": text}}])
            server.ask("POST", "/s/hostile/api/v1/events", text.encode(), {"Content-Type": "application/json"})
        server.ask("POST", "/s/hostile/api/v1/events", f"[{HALF}]".encode())
        server.post("/s/hostile/api/v1/changes", [{"summary": text, "service": text} for text in TEXTS.values()])
        eventually(lambda: any(row["tickets"] for row in server.incidents()), what="a ticket")
        yield server


class _Page(HTMLParser):
    """What a browser would run or load of it."""

    def __init__(self) -> None:
        super().__init__()
        self.bad: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        for name, value in attrs:
            given = (value or "").strip().lower()
            if name.startswith("on") or given.startswith("javascript:"):
                self.bad.append(f"<{tag} {name}={value!r}>")
            if name in ("src", "href", "action") and "a.example" in given:
                self.bad.append(f"<{tag} {name}={value!r}>")


def pages(server: ForeshockServer) -> list[str]:
    tickets = {ticket["number"] for row in server.incidents() for ticket in row["tickets"]} - {""}
    paths = ["/", "/?state=all", "/sources", "/dead-letters", "/status", "/problems"]
    paths += [f"/incidents/{number}" for number in tickets]
    return paths + [f"/incidents/{row['id']}" for row in server.incidents()]


def test_pages_run_nothing_and_show_what_cannot_be_seen(server: ForeshockServer):
    for path in pages(server):
        reply = server.ask("GET", path, headers={"Accept": "text/html"})
        assert reply.status == 200, path
        text = inert(reply.body.decode("utf-8"))
        page = _Page()
        page.feed(text)
        assert page.bad == [], path
        assert "<script>window" not in text
        assert "<svg/onload" not in text


def incident_commands(server: ForeshockServer) -> list[list[str]]:
    ids = [row["id"] for row in server.incidents()]
    return [command for id in ids[:6] for command in (["incidents", "show", id], ["explain", id])]


LISTS = [
    ["incidents", "list", "--state", "all"],
    ["incidents", "list", "--state", "all", "-o", "json"],
    ["problems", "list"],
    ["sink", "plan"],
    ["sink", "dead-letters", "list", "desk"],
    ["silence", "list"],
    ["feedback", "list"],
    ["report"],
    ["report", "--by", "service"],
    ["report", "--by", "team"],
    ["rules", "status"],
]


@pytest.mark.parametrize("command", LISTS, ids=" ".join)
def test_what_commands_print_is_shown_and_never_obeyed(server: ForeshockServer, command: list[str]):
    printed(server, command)


def test_what_commands_print_of_each_incident_is_shown_and_never_obeyed(server: ForeshockServer):
    for command in incident_commands(server)[:4]:
        printed(server, command)


def printed(server: ForeshockServer, command: list[str]) -> None:
    done = run_foreshock(*command, "--server", server.url)
    assert done.returncode in (0, 4), done.stderr
    inert(done.stderr)
    for line in inert(done.stdout).splitlines():
        assert len(line) < LONGEST_LINE


@pytest.mark.parametrize("by", ["service", "team"])
def test_csv_holds_no_formula(server: ForeshockServer, by: str):
    done = run_foreshock("report", "--by", by, "-o", "csv", "--server", server.url)
    assert done.returncode == 0, done.stderr
    rows = list(csv.reader(io.StringIO(inert(done.stdout))))
    assert len(rows) > 2
    for row in rows:
        assert not row[0].lstrip().startswith(("=", "+", "-", "@")), row[0]


def test_our_log_is_one_line_for_each_thing_that_happened(server: ForeshockServer):
    for line in inert(server.log).splitlines():
        if line.startswith("{"):
            json.loads(line)


def test_metrics_can_be_read(server: ForeshockServer):
    inert(server.ask("GET", "/metrics").body.decode())


@pytest.mark.parametrize("format", ["json", "console"])
@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
def test_a_line_of_the_log_stays_one_line_whatever_it_tells(capsys: pytest.CaptureFixture[str], format: Any, text: str):
    before = logging.getLogger().handlers[:]
    logs.configure("info", format)
    try:
        structlog.get_logger("foreshock").warning("source_refused", error=text, source=text)
        logging.getLogger("a.library").warning("says %s", text)
        try:
            raise ValueError(text)
        except ValueError:
            structlog.get_logger("foreshock").exception("failed")
        told = capsys.readouterr().err
    finally:
        logging.getLogger().handlers[:] = before
        structlog.reset_defaults()

    inert(told)
    assert told.count("\n") >= 3
    assert not any(line.startswith(("second", "fourth", "sixth", "+1", "=1")) for line in told.splitlines())
