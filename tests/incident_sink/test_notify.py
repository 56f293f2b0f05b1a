"""Messages to people, through Apprise, to receivers on real sockets."""

import json
import socketserver
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email import message_from_bytes, policy
from pathlib import Path
from typing import Any

import pytest

from foreshock.connect.http import Http
from foreshock.core.contracts import Receipt, SinkParts, Verb
from foreshock.core.errors import ConfigError, Unavailable
from foreshock.testing.receiver import Receiver
from foreshock.testing.tickets import make_order
from incident_sink.notify import SINK, NotifySink


def sink_for(url: str, folder: Path, **config: Any) -> NotifySink:
    file = folder / "receiver"
    file.touch(mode=0o600)
    file.write_text(url + "\n")
    settings = SINK.config.model_validate({"url_file": str(file), **config})
    parts = SinkParts(http=Http, book=None, console="https://noc.example")  # type: ignore[arg-type]
    made = SINK.build("oncall", settings, parts)
    assert isinstance(made, NotifySink)
    return made


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver(status=200) as receiver:
        yield receiver


def url_of(receiver: Receiver) -> str:
    return f"json://127.0.0.1:{receiver.server_port}/hook"


def told(receiver: Receiver) -> list[tuple[str, str]]:
    """Title and text of what arrived."""
    messages = [json.loads(body) for _, _, body in receiver.got]
    return [(message["title"], message["message"]) for message in messages]


def test_an_incident_is_told_when_it_opens_worsens_comes_back_and_is_over(receiver, tmp_path):
    sink = sink_for(url_of(receiver), tmp_path)
    fields = {"title": "Down on db1", "description": "1 alert on 1 CI", "priority": 3}

    ticket = sink.deliver(make_order(Verb.OPEN, **fields, note="Opened by Foreshock"), None)
    ticket = sink.deliver(make_order(Verb.UPDATE, **fields, note="+1 alert"), ticket)
    ticket = sink.deliver(make_order(Verb.UPDATE, **(fields | {"priority": 1}), note="priority rose"), ticket)
    ticket = sink.deliver(make_order(Verb.RESOLVE, note="Resolved by Foreshock"), ticket)
    sink.deliver(make_order(Verb.REOPEN, note="Reopened by Foreshock"), ticket)

    assert [title for title, _ in told(receiver)] == [
        "New: Down on db1 (P3)",
        "More urgent: Down on db1 (P1)",
        "Resolved: Down on db1 (P1)",
        "Again: Down on db1 (P1)",
    ]
    assert told(receiver)[0][1].splitlines() == [
        "Opened by Foreshock", "", "1 alert on 1 CI", "", "https://noc.example/incidents/S-1",
    ]  # fmt: skip


def test_what_is_not_urgent_enough_is_told_once_it_is(receiver, tmp_path):
    sink = sink_for(url_of(receiver), tmp_path, min_priority=2)
    fields = {"title": "Slow on web", "priority": 4}

    ticket = sink.deliver(make_order(Verb.OPEN, **fields), None)
    assert told(receiver) == []
    sink.deliver(make_order(Verb.UPDATE, **(fields | {"priority": 2})), ticket)

    assert [title for title, _ in told(receiver)] == ["New: Slow on web (P2)"]


def test_nobody_is_told_of_the_end_of_what_they_never_heard_of(receiver, tmp_path):
    sink = sink_for(url_of(receiver), tmp_path, min_priority=2)

    ticket = sink.deliver(make_order(Verb.OPEN, title="Slow", priority=4), None)
    sink.deliver(make_order(Verb.RESOLVE), ticket)

    assert told(receiver) == []


def test_a_notice_comes_as_it_is_whatever_the_priority(receiver, tmp_path):
    sink = sink_for(url_of(receiver), tmp_path, min_priority=1)
    fields = {"notice": "escalation", "title": "Down on db1 (P3)", "text": "Nobody took it within 10m.", "priority": 3}

    receipt = sink.deliver(make_order(Verb.OPEN, situation="S-1/escalation/1", **fields), None)

    assert told(receiver) == [
        ("Down on db1 (P3)", "Nobody took it within 10m.\n\nhttps://noc.example/incidents/S-1/escalation/1")
    ]
    assert receipt == Receipt(number="S-1/escalation/1", url="https://noc.example/incidents/S-1/escalation/1")


def test_text_of_strangers_calls_no_channel_and_hides_nothing(receiver, tmp_path):
    sink = sink_for(url_of(receiver), tmp_path)
    title = "@everyone <!channel> <@U123>\u202e\nsecond line"

    sink.deliver(make_order(Verb.OPEN, title=title, description="@here @HERE", priority=1), None)

    ((shown, text),) = told(receiver)
    assert shown == "New: @ everyone < !channel> < @U123> second line (P1)"
    assert "@ here @ HERE" in text


def test_a_text_is_cut_where_it_gets_too_long(receiver, tmp_path):
    sink = sink_for(url_of(receiver), tmp_path)

    sink.deliver(make_order(Verb.OPEN, title="x" * 900, description="y" * 90_000, priority=1), None)

    ((title, text),) = told(receiver)
    assert len(title) <= 200
    assert len(text) <= 4000


def test_a_receiver_that_refuses_is_tried_again(receiver, tmp_path):
    sink = sink_for(url_of(receiver), tmp_path)
    receiver.status = 503

    with pytest.raises(Unavailable, match=r"notify 'oncall': .*503"):
        sink.deliver(make_order(Verb.OPEN, title="Down", priority=1), None)


def test_an_address_that_apprise_does_not_know_is_a_mistake_in_the_configuration(tmp_path):
    with pytest.raises(ConfigError, match="no address that Apprise knows"):
        sink_for("carrierpigeon://roof", tmp_path)


def test_an_address_with_a_mistake_says_which(tmp_path):
    with pytest.raises(ConfigError, match="Pager Duty API Key"):
        sink_for("pagerduty://", tmp_path)


def test_the_check_shows_no_secret(tmp_path):
    sink = sink_for("mailtos://noc:hunter2@mail.example?to=ann@example.com", tmp_path)

    (finding,) = sink.check()

    assert finding.observed.startswith("E-Mail: mailtos://noc:****@mail.example")


@contextmanager
def mail_server() -> Iterator[tuple[int, list[bytes]]]:
    """As much of SMTP (RFC 5321) as a client needs that sends one mail."""
    mails: list[bytes] = []

    class Handler(socketserver.StreamRequestHandler):
        def handle(self) -> None:
            self.wfile.write(b"220 mail.example\r\n")
            while line := self.rfile.readline():
                word = line[:4].upper()
                if word == b"DATA":
                    self.wfile.write(b"354 go on\r\n")
                    mails.append(b"".join(iter(self.rfile.readline, b".\r\n")))
                self.wfile.write(b"221 bye\r\n" if word == b"QUIT" else b"250 ok\r\n")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server.server_address[1], mails
        server.shutdown()


def test_markup_of_strangers_arrives_in_a_mail_as_text(tmp_path):
    with mail_server() as (port, mails):
        sink = sink_for(
            f"mailto://127.0.0.1:{port}?from=foreshock@example.com&to=ann@example.com&mode=insecure", tmp_path
        )
        fields = {"title": "Down on <b>db1</b>", "description": "<script>alert(1)</script>", "priority": 1}
        sink.deliver(make_order(Verb.OPEN, **fields, note="Opened"), None)

    (mail,) = [message_from_bytes(each, policy=policy.default) for each in mails]
    assert mail["To"] == "ann@example.com"
    assert mail["Subject"] == "New: Down on <b>db1</b> (P1)"
    bodies = {part.get_content_type(): part.get_content() for part in mail.walk() if not part.is_multipart()}
    assert "<script>alert(1)</script>" in bodies["text/plain"]
    assert "<script>" not in bodies.get("text/html", "")
