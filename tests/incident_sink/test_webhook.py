import base64
import json
from datetime import UTC, datetime

import pytest
from pydantic import ValidationError
from standardwebhooks import Webhook, WebhookVerificationError

from foreshock.connect.http import Http
from foreshock.core.contracts import SinkParts, Verb
from foreshock.core.errors import ConfigError, Denied, Rejected, Unavailable
from foreshock.testing.receiver import Receiver
from foreshock.testing.tickets import NOON, make_order
from incident_sink.webhook import SINK, payload, read_secret

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()


@pytest.fixture
def receiver():
    with Receiver() as receiver:
        yield receiver


@pytest.fixture
def secret_file(tmp_path):
    path = tmp_path / "webhook.secret"
    path.write_text(SECRET + "\n")
    path.chmod(0o600)
    return path


@pytest.fixture
def sink(receiver, secret_file):
    config = SINK.config(
        url=f"http://127.0.0.1:{receiver.server_port}/hooks/foreshock?team=noc", secret_file=secret_file
    )
    return SINK.build("automation", config, SinkParts(http=Http, book=None, console="https://noc.example"))


def test_a_receiver_verifies_the_signature_with_the_standard_library(sink, receiver):
    order = make_order(
        id="S-1/automation/7", title="db1 ist weg ☠", services=["shop"], note="opened", version=3, at=NOON
    )

    receipt = sink.deliver(order, None)

    ((path, headers, body),) = receiver.got
    verified = Webhook(SECRET).verify(body, headers)
    assert path == "/hooks/foreshock?team=noc"
    assert headers["webhook-id"] == "S-1/automation/7"
    assert headers["Content-Type"] == "application/json"
    assert receipt.number == "S-1"
    assert verified == {
        "type": "foreshock.incident.open",
        "id": "S-1/automation/7",
        "situation": "S-1",
        "key": "S-1",
        "version": 3,
        "at": "2026-11-22T12:00:00Z",
        "note": "opened",
        "fields": {"title": "db1 ist weg ☠", "impact": 2, "urgency": 2, "priority": 3, "services": ["shop"]},
        "url": "https://noc.example/incidents/S-1",
    }


def test_a_changed_body_or_another_secret_does_not_verify(sink, receiver):
    sink.deliver(make_order(), None)
    ((_, headers, body),) = receiver.got

    with pytest.raises(WebhookVerificationError):
        Webhook(SECRET).verify(body.replace(b"db1", b"db2"), headers)
    with pytest.raises(WebhookVerificationError):
        Webhook("whsec_" + base64.b64encode(b"another secret of 24 bytes").decode()).verify(body, headers)


def test_a_repeat_carries_the_same_id_and_body_under_a_fresh_time(sink, receiver):
    moments = iter([datetime(2026, 11, 22, 12, tzinfo=UTC), datetime(2026, 11, 22, 13, tzinfo=UTC)])
    sink._now = lambda: next(moments)
    order = make_order()
    sink.deliver(order, None)
    sink.deliver(order, None)

    (_, first, body), (_, second, again) = receiver.got
    assert (first["webhook-id"], body) == (second["webhook-id"], again)
    assert int(second["webhook-timestamp"]) - int(first["webhook-timestamp"]) == 3600


@pytest.mark.parametrize(("verb", "word"), [(verb, verb.value) for verb in Verb])
def test_the_type_names_the_verb(verb, word):
    assert json.loads(payload(make_order(verb), ""))["type"] == f"foreshock.incident.{word}"


@pytest.mark.parametrize(("status", "error"), [(500, Unavailable), (401, Denied), (410, Rejected)])
def test_a_refusal_says_what_happens_next_and_keeps_the_secret(sink, receiver, status, error):
    receiver.status = status

    with pytest.raises(error, match=f"webhook 'automation' at POST /hooks/foreshock answered HTTP {status}") as raised:
        sink.deliver(make_order(), None)

    assert SECRET not in str(raised.value)


def test_a_secret_that_others_may_read_is_refused_with_the_remedy(secret_file):
    secret_file.chmod(0o640)

    with pytest.raises(ConfigError, match=r"its mode is 0640.*; run: chmod 600"):
        read_secret(secret_file, "incident_sink.automation")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "does not start with whsec_"),
        ("hunter2", "does not start with whsec_"),
        ("whsec_not base64!", "is not base64"),
        ("whsec_" + base64.b64encode(b"short").decode(), "the secret has 5 bytes, 24 to 64 are allowed"),
        ("whsec_" + base64.b64encode(b"x" * 65).decode(), "the secret has 65 bytes"),
    ],
)
def test_a_file_without_a_proper_secret_is_refused_and_its_content_not_shown(secret_file, content, message):
    secret_file.write_text(content)

    with pytest.raises(ConfigError, match=message) as raised:
        read_secret(secret_file, "incident_sink.automation")

    assert "incident_sink.automation.secret_file" in str(raised.value)
    assert "hunter2" not in str(raised.value)


def test_a_missing_secret_is_refused_naming_the_file(tmp_path):
    with pytest.raises(ConfigError, match=r"nowhere: incident_sink.a.secret_file: cannot be read"):
        read_secret(tmp_path / "nowhere", "incident_sink.a")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("ftp://receiver.example/", "is no web address"),
        ("https://", "is no web address"),
        ("receiver.example/hook", "is no web address"),
        ("http://receiver.example/hook", "receiver.example would be reached without encryption"),
        ("https://user:secret@receiver.example/", "it holds a user or a password"),
    ],
)
def test_an_address_that_is_none_or_unsafe_is_refused(secret_file, url, message):
    with pytest.raises(ValidationError, match=message):
        SINK.config(url=url, secret_file=secret_file)


def test_a_notice_is_of_a_type_of_its_own():
    order = make_order(Verb.OPEN, situation="S-1/escalation/1", notice="escalation", text="Nobody has taken S-1.")

    content = json.loads(payload(order, "https://noc.example"))

    assert (content["type"], content["fields"]["text"]) == ("foreshock.notice", "Nobody has taken S-1.")
