"""Clouds and services on the Internet prove themselves at the door, each as it can; through the intake as it stands."""

import base64
import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import Encoding
from starlette.testclient import TestClient

import collectors
from foreshock.connect.proofs import GITHUB, PAGERDUTY, SENTRY
from foreshock.core.contracts import Collector, Hook, Items, NewRecord
from foreshock.core.model import Event
from foreshock.core.registry import kinds
from foreshock.service.access import Access
from foreshock.service.gates import Gates
from foreshock.service.intake import Intake, Limits
from foreshock.service.pressure import Bounds, Pressure
from foreshock.service.settings import CollectorInstance
from foreshock.testing.payloads import sample

KINDS = kinds(collectors, "COLLECTOR", Collector)
NOW = datetime(2025, 11, 22, 3, 20, tzinfo=UTC)
SECRET = "the secret of both sides"
TOPIC = "arn:aws:sns:eu-west-1:123456789012:alarms"


async def _no_points(source: str, kind: str, metered: Any) -> None:
    """Nobody posts any."""


class Kept:
    """An inbox that keeps what it is given."""

    def __init__(self) -> None:
        self.records: list[NewRecord] = []

    async def append(self, record: NewRecord, items: Items | None = None) -> int:
        self.records.append(record)
        return len(self.records)


class Door:
    """The intake with one instance of a kind. answers: what is fetched from where; fetched: addresses, in order."""

    def __init__(self, kind: str, answers: Mapping[str, bytes] | None = None, **given: Any) -> None:
        self.inbox, self.answers, self.fetched = Kept(), answers or {}, list[str]()
        collector = KINDS[kind]
        config = collector.config.model_validate(given)
        instance = CollectorInstance.model_construct(name=kind, kind=kind, config=config)
        intake = Intake(
            _nothing,
            self.inbox,  # type: ignore[arg-type]
            KINDS,
            Gates([instance], KINDS, self._fetch),
            Pressure(Bounds(), lambda: 0),
            limits=Limits(),
            clock=lambda: NOW,
            closed=lambda: None,
            actor=Access({}, ()).actor,
            fetch=self._fetch,
            measure=_no_points,
            observe=lambda *_: None,
        )
        self.kind, self.receive = collector, collector.receive
        self.client = TestClient(intake, base_url="http://127.0.0.1")

    async def _fetch(self, url: str, proxy: str) -> bytes:
        self.fetched.append(url)
        return self.answers.get(url, b"")

    def post(self, body: bytes, query: str = "", **headers: str) -> int:
        assert self.receive
        named = {"content-type": "application/json", **{key.replace("_", "-"): value for key, value in headers.items()}}
        return self.client.post(self.receive.path + query, content=body, headers=named).status_code

    def kept(self) -> list[Any]:
        """What was taken in, translated from what stands in the records."""
        return [
            self.kind.translate(item, NOW) for record in self.inbox.records for item in self.kind.decode(record.body)
        ]


async def _nothing(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    path = tmp_path / "secret"
    path.write_text(SECRET)
    path.chmod(0o600)
    return path


@pytest.mark.parametrize(
    ("kind", "hook", "name"),
    [
        ("github", GITHUB, "github-deployment.json"),
        ("sentry", SENTRY, "sentry-firing.json"),
        ("pagerduty", PAGERDUTY, "pagerduty-firing.json"),
    ],
)
def test_what_is_signed_with_another_secret_is_not_taken_in(kind: str, hook: Hook, name: str, secret: Path):
    door, body = Door(kind, secret_files=[secret]), sample(name).body
    header = hook.header.replace("-", "_")

    assert door.post(body, **{header: hook.proof(SECRET, {}, body)}) == 202
    assert door.post(body, **{header: hook.proof("another secret", {}, body)}) == 401
    assert door.post(body) == 401
    assert len(door.kept()) == 1


@pytest.mark.parametrize(
    ("kind", "name", "query", "headers"),
    [
        ("gitlab", "gitlab-deployment.json", "", {"x_gitlab_token": SECRET}),
        ("azure", "azure-firing.json", f"?token={SECRET.replace(' ', '+')}", {}),
        ("splunk", "splunk.json", f"?token={SECRET.replace(' ', '+')}", {}),
        ("datadog", "datadog-firing.json", "", {"authorization": f"Bearer {SECRET}"}),
        (
            "google_cloud",
            "google_cloud-firing.json",
            "",
            {"authorization": "Basic " + base64.b64encode(f"foreshock:{SECRET}".encode()).decode()},
        ),
        (
            "servicenow",
            "servicenow-firing.json",
            "",
            {"authorization": "Basic " + base64.b64encode(f"event.user:{SECRET}".encode()).decode()},
        ),
    ],
)
def test_a_token_is_shown_where_the_product_can_show_one(
    kind: str, name: str, query: str, headers: dict[str, str], secret: Path
):
    door, body = Door(kind, token_files=[secret]), sample(name).body

    assert door.post(body, query, **headers) == 202
    assert door.post(body) == 401
    assert door.kept()


def test_environments_of_the_settings_stand_in_the_record():
    door = Door("github", environments=["staging"])

    assert door.post(sample("github-deployment.json").body) == 202
    assert b"staging" in door.inbox.records[0].body.partition(b"\n")[0]


# ---- Amazon SNS -----------------------------------------------------------------------------------------------------


class Amazon:
    """Signs messages as SNS does, with a certificate of its own."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sns.amazonaws.com")])
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(self._key.public_key())
        builder = builder.serial_number(1).not_valid_before(NOW).not_valid_after(NOW + timedelta(days=9))
        self.certificate = builder.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM)

    def signed(self, message: dict[str, Any], version: str = "1") -> bytes:
        names = ["Message", "MessageId", "SubscribeURL", "Subject", "Timestamp", "Token", "TopicArn", "Type"]
        text = "".join(f"{name}\n{message[name]}\n" for name in names if name in message)
        hash = hashes.SHA1() if version == "1" else hashes.SHA256()
        signature = base64.b64encode(self._key.sign(text.encode(), PKCS1v15(), hash)).decode()
        return json.dumps(message | {"SignatureVersion": version, "Signature": signature}).encode()


@pytest.fixture(scope="module")
def amazon() -> Amazon:
    return Amazon()


@pytest.fixture
def sns(amazon: Amazon) -> Callable[..., Door]:
    url = sample("sns-firing.json").tree["SigningCertURL"]
    return lambda topics=(TOPIC,): Door("sns", {url: amazon.certificate}, topics=list(topics))


def post(door: Door, body: bytes) -> int:
    kind = json.loads(body)["Type"]
    return door.post(body, content_type="text/plain; charset=UTF-8", x_amz_sns_message_type=kind)


@pytest.mark.parametrize("version", ["1", "2"])
def test_an_alarm_that_amazon_signed_is_one_alert_from_alarm_to_ok(sns, amazon: Amazon, version: str):
    door = sns()

    assert post(door, amazon.signed(sample("sns-firing.json").tree, version)) == 202
    assert post(door, amazon.signed(sample("sns-resolved.json").tree, version)) == 202
    fired, resolved = door.kept()
    assert isinstance(fired, Event)
    assert fired.labels == resolved.labels
    assert (fired.ends_at, resolved.ends_at) == (None, NOW)


def test_what_amazon_did_not_sign_or_for_another_topic_is_refused(sns, amazon: Amazon):
    message = sample("sns-firing.json").tree
    forged = json.loads(amazon.signed(message)) | {"Message": "{}"}
    elsewhere = message | {"SigningCertURL": "https://sns.example.com/SimpleNotificationService-0.pem"}

    assert post(sns(), json.dumps(forged).encode()) == 401
    assert post(sns(topics=(TOPIC + "2",)), amazon.signed(message)) == 401
    door = sns()
    assert post(door, amazon.signed(elsewhere)) in (400, 401)
    assert door.fetched == []


def test_a_subscription_is_confirmed_where_amazon_says_once_it_is_proven(sns, amazon: Amazon):
    door, message = sns(), sample("sns-confirmation.json").tree

    assert post(door, amazon.signed(message)) == 200
    assert door.fetched == [message["SigningCertURL"], message["SubscribeURL"]]
    assert door.inbox.records == []


def test_a_subscription_of_another_topic_is_not_confirmed(sns, amazon: Amazon):
    door, message = sns(topics=(TOPIC + "2",)), sample("sns-confirmation.json").tree

    assert post(door, amazon.signed(message)) == 401
    assert message["SubscribeURL"] not in door.fetched


# ---- CloudEvents ----------------------------------------------------------------------------------------------------


def test_binary_and_structured_mode_are_the_same_alert():
    door, event = Door("cloudevents"), sample("cloudevents-firing.json").tree
    attributes = {f"ce_{name}": event[name] for name in ("specversion", "type", "source", "id", "subject", "time")}

    assert door.post(json.dumps(event).encode(), content_type="application/cloudevents+json") == 202
    assert door.post(json.dumps(event["data"]).encode(), **attributes) == 202
    structured, binary = door.kept()
    assert structured == binary


def test_a_sender_that_asks_whether_it_may_is_told_so():
    door = Door("cloudevents")

    answer = door.client.options("/api/v1/collect/cloudevents", headers={"WebHook-Request-Origin": "events.example"})

    assert answer.status_code == 200
    assert answer.headers["WebHook-Allowed-Origin"] == "events.example"
