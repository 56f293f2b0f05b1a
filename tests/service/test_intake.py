"""The way in of each source: what it must prove, what a record then holds, and that a refusal gives nothing away."""

import asyncio
import base64
import gzip
import json
import zlib
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import Encoding
from starlette.testclient import TestClient

from foreshock.connect.proofs import (
    GITHUB,
    GRAFANA,
    GRAFANA_TIMESTAMP,
    PAGERDUTY,
    SENTRY,
    STANDARD_WEBHOOKS,
    cloudevents_handshake,
    event_grid_handshake,
    sns_certificate,
    sns_handshake,
    sns_unproven,
)
from foreshock.connect.selecting import Metered, Selected
from foreshock.core.contracts import (
    Certified,
    Collector,
    Greeting,
    Hook,
    Items,
    Measured,
    NewRecord,
    Receive,
    ReceiveConfig,
    split_head,
)
from foreshock.core.errors import ConfigError, Malformed, Unavailable
from foreshock.core.model import Event, Samples, Series
from foreshock.service.access import Access
from foreshock.service.gates import Fetched, Gates
from foreshock.service.intake import Intake, Limits
from foreshock.service.pressure import Bounds, Lag, Pressure, seldom
from foreshock.service.settings import CollectorInstance

NOW = datetime(2026, 11, 22, 12, 0, tzinfo=UTC)
TOKEN, NEW_TOKEN, OF_THE_API = "source-token-1234567890", "source-token-new-67890", "api-token-12345678901234"
SECRET, NEW_SECRET = "the secret of the sender", "the secret that follows"


class MappedConfig(ReceiveConfig):
    team: str = "nobody"


class NeededConfig(ReceiveConfig):
    team: str


class TopicsConfig(ReceiveConfig):
    topics: tuple[str, ...]


class MeasuringConfig(ReceiveConfig):
    metrics: tuple[Selected, ...] = ()


def decode(body: bytes) -> list[Any]:
    try:
        return [json.loads(body)]
    except ValueError as error:
        raise Malformed(str(error)) from None


def decode_headed(body: bytes) -> list[Any]:
    head, rest = split_head(body)
    return [{**head, **decode(rest)[0]}]


def translate(item: Any, received_at: datetime) -> Event:
    labels = msgspec.Raw(json.dumps({"alertname": str(item.get("name"))}).encode())
    return Event(labels=labels, severity=item.get("severity", ""), ends_at=received_at if item.get("over") else None)


def decode_all(body: bytes) -> list[Any]:
    """Of ``[…]`` each: what has a key ``m`` is a point of a counter of that name."""
    return [Malformed("no object") if not isinstance(item, dict) else item for item in json.loads(body)]


def measured(item: Any) -> Measured | None:
    if "m" not in item:
        return None
    return Measured(labels={"__name__": item["m"], "instance": "web1"}, at_s=item["at"], value=item["v"], counts=True)


def translate_all(item: Any, received_at: datetime) -> Event | Samples:
    if (point := measured(item)) is None:
        return translate(item, received_at)
    return Samples(series=Series(ci="web1", metric=item["m"]), times=[point.at_s], values=[point.value])


def kind(name: str, *, headed: bool = False, **options: Any) -> Collector:
    return Collector(
        kind=name,
        title=name,
        facts="a test",
        decode=decode_headed if headed else decode,
        translate=translate,
        sample="",
        receive=Receive(path=f"/api/v1/collect/{name}", schema={}, **options),
    )


def ask(method: str, headers: Mapping[str, str], body: bytes) -> Greeting | None:
    return Greeting(visit="https://example.com/confirm") if b"confirm" in body else None


KINDS = {
    each.kind: each
    for each in (
        kind("plain"),
        Collector(
            kind="measuring",
            title="measuring",
            facts="a test",
            decode=decode_all,
            translate=translate_all,
            sample="",
            receive=Receive(path="/api/v1/collect/measuring", schema={}, config=MeasuringConfig, measured=measured),
        ),
        kind("texts", texts=("text/plain",)),
        kind("github", signed=GITHUB),
        kind("standard", signed=STANDARD_WEBHOOKS),
        kind("gitlab", token_header="x-gitlab-token"),
        kind("azure", token_query="code"),
        kind(
            "mapped",
            headed=True,
            config=MappedConfig,
            head=lambda config, headers: {"team": config.team, "about": headers.get("x-event", "")},
        ),
        kind("needed", headed=True, config=NeededConfig, head=lambda config, headers: {"team": config.team}),
        kind("grid", handshake=event_grid_handshake),
        kind("cloud", handshake=cloudevents_handshake),
        kind("confirmed", handshake=ask),
        kind("patient", busy=503),
        kind("prometheus", answer="alertmanager"),
        kind(
            "sns",
            config=TopicsConfig,
            certified=Certified(
                sns_certificate, lambda config, certificate, body: sns_unproven(config.topics, certificate, body)
            ),
            handshake=sns_handshake,
            texts=("text/plain",),
        ),
    )
}


class Kept:
    """An inbox that keeps what it is given."""

    def __init__(self) -> None:
        self.records: list[NewRecord] = []

    async def append(self, record: NewRecord, items: Items | None = None) -> int:
        self.records.append(record)
        return len(self.records)


class Bench:
    def __init__(
        self, folder: Path, *, tokens: Mapping[str, str], bounds: Bounds | None = None, **instances: Mapping[str, Any]
    ) -> None:
        self.lag = 0
        self.inbox, self.fetched, self.now = Kept(), list[str](), NOW
        self.unreachable, self.content = False, b""
        self.measured: list[tuple[str, Metered]] = []
        self.intake = Intake(
            _nothing,
            self.inbox,  # type: ignore[arg-type]
            KINDS,
            self.gates(instances),
            Pressure(bounds or Bounds(), lambda: self.lag),
            limits=Limits(body=6000),
            clock=lambda: self.now,
            closed=lambda: None,
            actor=Access(tokens, ()).actor,
            fetch=self.fetch,
            measure=self.measure,
            observe=lambda *_: None,
        )
        self.client = TestClient(self.intake, base_url="http://127.0.0.1", client=("192.0.2.7", 5000))

    def gates(self, instances: Mapping[str, Mapping[str, Any]]) -> Gates:
        made = []
        for name, given in instances.items():
            collector = KINDS[given["kind"]]
            config = collector.config.model_validate({key: value for key, value in given.items() if key != "kind"})
            made.append(CollectorInstance.model_construct(name=name, kind=given["kind"], config=config))
        return Gates(made, KINDS, self.fetch)

    async def fetch(self, url: str, proxy: str) -> bytes:
        if self.unreachable:
            raise Unavailable("nobody is there")
        self.fetched.append(url)
        return self.content

    async def measure(self, source: str, kind: str, metered: Metered) -> None:
        if self.unreachable:
            raise Unavailable("nothing can be kept now")
        self.measured.append((source, metered))

    def post(self, path: str, *, body: bytes = b'{"name": "a"}', name: str = "", **headers: str) -> int:
        found = {key.replace("_", "-"): value for key, value in headers.items()}
        path = f"/s/{name}" * bool(name) + f"/api/v1/collect/{path}"
        self.answer = self.client.post(path, content=body, headers=found)
        return self.answer.status_code

    def refused(self, source: str) -> dict[str, int]:
        return self.intake.rejections[source].by


async def _nothing(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 404, "headers": []})
    await send({"type": "http.response.body", "body": b""})


@pytest.fixture
def secret(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / str(len(list(tmp_path.iterdir())))
        path.write_text(text)
        path.chmod(0o600)
        return path

    return write


@pytest.fixture
def bench(tmp_path: Path) -> Callable[..., Bench]:
    return lambda *, tokens={}, **instances: Bench(tmp_path, tokens=tokens, **instances)


# ---- which instance it is for ---------------------------------------------------------------------------------------


def test_a_source_without_an_entry_is_taken_in_with_the_defaults_of_its_kind(bench):
    at = bench()

    assert at.post("mapped", x_event="push") == 202
    assert at.inbox.records[0].source == "mapped"
    assert split_head(at.inbox.records[0].body) == ({"team": "nobody", "about": "push"}, b'{"name": "a"}')


def test_what_settings_and_headers_add_stands_in_the_record(bench):
    at = bench(shop={"kind": "mapped", "team": "shop"})

    assert at.post("mapped", name="shop", x_event="push") == 202
    assert at.inbox.records[0].source == "shop"
    assert split_head(at.inbox.records[0].body)[0] == {"team": "shop", "about": "push"}


def test_an_entry_called_like_its_kind_stands_for_the_path_without_a_name(bench):
    at = bench(mapped={"kind": "mapped", "team": "all"})

    assert at.post("mapped") == 202
    assert split_head(at.inbox.records[0].body)[0]["team"] == "all"


def test_a_kind_with_settings_that_have_no_default_needs_an_entry(bench):
    at = bench(mine={"kind": "needed", "team": "shop"})

    assert at.post("needed") == 401
    assert at.post("needed", name="other") == 401
    assert at.post("needed", name="mine") == 202
    assert at.refused("needed") == {"unknown": 2}


def test_a_source_of_another_kind_is_refused(bench):
    at = bench(mine={"kind": "mapped"})

    assert at.post("plain", name="mine") == 401
    assert at.refused("mine") == {"kind": 1}
    assert "post to /s/mine/api/v1/collect/mapped" in at.intake.rejections["mine"].last_error


# ---- tokens ---------------------------------------------------------------------------------------------------------


def basic(password: str) -> str:
    return "Basic " + base64.b64encode(f"anyone:{password}".encode()).decode()


@pytest.mark.parametrize(
    ("path", "headers"),
    [
        ("plain", {"authorization": f"Bearer {TOKEN}"}),
        ("plain", {"authorization": basic(TOKEN)}),
        ("plain", {"x_foreshock_token": TOKEN}),
        ("gitlab", {"x_gitlab_token": TOKEN}),
    ],
)
def test_a_source_shows_its_token_where_its_product_can(bench, secret, path, headers):
    at = bench(mine={"kind": path, "token_files": [secret(TOKEN)]})

    assert at.post(path, name="mine", **headers) == 202
    assert at.post(path, name="mine", **{key: value[:-1] for key, value in headers.items()}) == 401
    assert at.post(path, name="mine") == 401
    assert at.refused("mine") == {"token": 2}
    assert len(at.inbox.records) == 1


def test_only_a_product_that_can_do_nothing_else_shows_its_token_in_the_address(bench, secret):
    at = bench(
        one={"kind": "azure", "token_files": [secret(TOKEN)]}, two={"kind": "plain", "token_files": [secret(TOKEN)]}
    )

    assert at.post(f"azure?code={TOKEN}", name="one") == 202
    assert at.post(f"azure?code={TOKEN}x", name="one") == 401
    assert at.post(f"plain?code={TOKEN}", name="two") == 401


def test_two_tokens_are_good_while_one_replaces_the_other_and_it_shows_which_is_used(bench, secret):
    at = bench(mine={"kind": "plain", "token_files": [secret(TOKEN), secret(NEW_TOKEN)]})

    for token in (TOKEN, NEW_TOKEN, NEW_TOKEN):
        assert at.post("plain", name="mine", authorization=f"Bearer {token}") == 202

    assert at.intake.gates.named["mine"].used == {"token 1": 1, "token 2": 2}


def test_a_source_that_proves_itself_needs_no_token_of_the_api_and_one_of_the_api_is_none_of_its_own(bench, secret):
    at = bench(tokens={"ann": OF_THE_API}, mine={"kind": "plain", "token_files": [secret(TOKEN)]})

    assert at.post("plain", name="mine", authorization=f"Bearer {TOKEN}") == 202
    assert at.inbox.records[0].actor == "mine"
    assert at.post("plain", name="mine", authorization=f"Bearer {OF_THE_API}") == 401
    assert at.post("plain", name="other", authorization=f"Bearer {TOKEN}") == 401
    assert at.post("plain", authorization=f"Bearer {TOKEN}") == 401
    assert at.post("plain", name="other", authorization=f"Bearer {OF_THE_API}") == 202
    assert at.inbox.records[1].actor == "ann"


def test_a_source_nobody_knows_and_a_wrong_secret_are_answered_alike(bench, secret):
    at = bench(
        tokens={"ann": OF_THE_API},
        mine={"kind": "plain", "token_files": [secret(TOKEN)]},
        signed={"kind": "github", "secret_files": [secret(SECRET)]},
        near={"kind": "plain", "allow_from": ["198.51.100.0/24"]},
        needed={"kind": "needed", "team": "x"},
    )
    answers = set()
    for name, path in [
        ("mine", "plain"), ("nobody", "plain"), ("", "plain"), ("signed", "github"), ("mine", "github"),
        ("near", "plain"), ("other", "needed"),
    ]:  # fmt: skip
        at.post(path, name=name, authorization="Bearer guess")
        answers.add((at.answer.status_code, at.answer.content, tuple(at.answer.headers.items())))

    assert len(answers) == 1
    assert next(iter(answers))[0] == 401
    assert at.inbox.records == []


# ---- signatures -----------------------------------------------------------------------------------------------------


def signed(hook: Hook, secret: str, body: bytes, **headers: str) -> dict[str, str]:
    named = {key.replace("_", "-"): value for key, value in headers.items()}
    return {**headers, hook.header.replace("-", "_"): hook.proof(secret, named, body)}


def test_a_signature_covers_the_body_as_it_came(bench, secret):
    at, body = bench(mine={"kind": "github", "secret_files": [secret(SECRET)]}), b'{"name": "a"}'

    assert at.post("github", name="mine", body=body, **signed(GITHUB, SECRET, body)) == 202
    assert at.post("github", name="mine", body=body + b" ", **signed(GITHUB, SECRET, body)) == 401
    assert at.post("github", name="mine", body=body, **signed(GITHUB, NEW_SECRET, body)) == 401
    assert at.post("github", name="mine", body=body) == 401
    packed = gzip.compress(body)
    assert at.post("github", name="mine", body=packed, content_encoding="gzip", **signed(GITHUB, SECRET, packed)) == 202
    assert at.refused("mine") == {"signature": 3}


def test_a_bomb_is_not_opened_before_it_is_proven(bench, secret):
    at = bench(mine={"kind": "github", "secret_files": [secret(SECRET)]})
    broken = zlib.compress(b"x" * 100_000)[:-9]

    assert at.post("github", name="mine", body=broken, content_encoding="deflate") == 401
    proof = signed(GITHUB, SECRET, broken)
    assert at.post("github", name="mine", body=broken, content_encoding="deflate", **proof) == 400


@pytest.mark.parametrize("which", [1, 2])
def test_either_of_two_secrets_signs(bench, secret, which):
    at, body = bench(mine={"kind": "github", "secret_files": [secret(SECRET), secret(NEW_SECRET)]}), b'{"name": "a"}'

    assert at.post("github", name="mine", body=body, **signed(GITHUB, (SECRET, NEW_SECRET)[which - 1], body)) == 202
    assert at.intake.gates.named["mine"].used == {f"secret {which}": 1, f"secret {3 - which}": 0}


def at_time(at: datetime) -> dict[str, str]:
    return {"webhook_id": "m1", "webhook_timestamp": str(int(at.timestamp()))}


def test_a_signed_call_that_comes_again_is_answered_well_and_kept_once(bench, secret):
    at, body = bench(mine={"kind": "standard", "secret_files": [secret(SECRET)]}), b'{"name": "a"}'
    call = signed(STANDARD_WEBHOOKS, SECRET, body, **at_time(NOW))

    assert at.post("standard", name="mine", body=body, **call) == 202
    assert at.post("standard", name="mine", body=body, **call) == 200
    assert len(at.inbox.records) == 1


@pytest.mark.parametrize("seconds", [-301, 301])
def test_a_call_outside_the_window_is_refused(bench, secret, seconds):
    at, body = bench(mine={"kind": "standard", "secret_files": [secret(SECRET)]}), b'{"name": "a"}'
    call = signed(STANDARD_WEBHOOKS, SECRET, body, **at_time(NOW + timedelta(seconds=seconds)))

    assert at.post("standard", name="mine", body=body, **call) == 401
    assert at.refused("mine") == {"replay": 1}


def test_a_token_and_a_signature_are_both_needed_where_both_are_set(bench, secret):
    at = bench(mine={"kind": "github", "secret_files": [secret(SECRET)], "token_files": [secret(TOKEN)]})
    body = b'{"name": "a"}'
    proof = signed(GITHUB, SECRET, body)

    assert at.post("github", name="mine", body=body, **proof) == 401
    assert at.post("github", name="mine", body=body, authorization=f"Bearer {TOKEN}") == 401
    assert at.post("github", name="mine", body=body, authorization=f"Bearer {TOKEN}", **proof) == 202


# ---- networks -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("allowed", "status"),
    [(["192.0.2.0/24"], 202), (["2001:db8::/32", "192.0.2.7"], 202), (["192.0.3.0/24"], 401), (["2001:db8::/32"], 401)],
)
def test_a_source_may_send_from_its_networks_only(bench, allowed, status):
    at = bench(mine={"kind": "plain", "allow_from": allowed})

    assert at.post("plain", name="mine", x_forwarded_for="192.0.3.1") == status


def test_an_ipv4_sender_of_a_dual_stack_socket_is_known_by_its_ipv4_address(bench):
    at = bench(mine={"kind": "plain", "allow_from": ["192.0.2.0/24"]})
    at.client = TestClient(at.intake, base_url="http://127.0.0.1", client=("::ffff:192.0.2.7", 1))

    assert at.post("plain", name="mine") == 202


def test_a_network_is_no_proof_so_that_a_token_of_the_api_is_needed_as_well(bench):
    at = bench(tokens={"ann": OF_THE_API}, mine={"kind": "plain", "allow_from": ["192.0.2.0/24"]})

    assert at.post("plain", name="mine") == 401
    assert at.post("plain", name="mine", authorization=f"Bearer {OF_THE_API}") == 202


# ---- content types --------------------------------------------------------------------------------------------------


def test_text_is_taken_of_a_product_that_sends_it_where_it_proves_itself(bench, secret):
    at = bench(
        mine={"kind": "texts", "token_files": [secret(TOKEN)]}, other={"kind": "plain", "token_files": [secret(TOKEN)]}
    )
    call = {"content_type": "text/plain; charset=UTF-8", "authorization": f"Bearer {TOKEN}"}

    assert at.post("texts", name="mine", **call) == 202
    assert at.post("texts", **call) == 415
    assert at.post("plain", name="other", **call) == 415


# ---- what some products want to hear first --------------------------------------------------------------------------


def test_cloudevents_asks_whether_its_origin_may_send(bench):
    at = bench(tokens={"ann": OF_THE_API})
    asking = {"WebHook-Request-Origin": "eventgrid.azure.net", "WebHook-Request-Rate": "120"}

    refused = at.client.options("/api/v1/collect/cloud", headers=asking)
    answer = at.client.options("/api/v1/collect/cloud", headers={**asking, "Authorization": f"Bearer {OF_THE_API}"})

    assert refused.status_code == 401
    assert answer.status_code == 200
    assert answer.headers["webhook-allowed-origin"] == "eventgrid.azure.net"
    assert answer.headers["webhook-allowed-rate"] == "*"
    assert (
        at.client.options("/api/v1/collect/cloud", headers={"Authorization": f"Bearer {OF_THE_API}"}).status_code == 405
    )
    assert at.inbox.records == []


def test_event_grid_hears_its_code(bench):
    at = bench()
    event = {"eventType": "Microsoft.EventGrid.SubscriptionValidationEvent", "data": {"validationCode": "512d38b6"}}

    assert at.post("grid", body=json.dumps([event]).encode(), aeg_event_type="SubscriptionValidation") == 200
    assert at.answer.json() == {"validationResponse": "512d38b6"}
    assert at.post("grid", body=b"[]", aeg_event_type="SubscriptionValidation") == 400
    assert at.inbox.records == []


def test_an_address_that_confirms_is_visited_before_the_answer(bench):
    at = bench()

    assert at.post("confirmed", body=b'{"confirm": 1}') == 200
    assert at.fetched == ["https://example.com/confirm"]

    at.unreachable = True
    assert at.post("confirmed", body=b'{"confirm": 1}') == 503
    assert at.post("confirmed") == 202


# ---- files ----------------------------------------------------------------------------------------------------------


def test_every_file_that_is_wrong_is_named_with_its_remedy(bench, secret, tmp_path):
    open_to_all, short = secret(TOKEN), secret("short")
    open_to_all.chmod(0o644)

    with pytest.raises(ConfigError) as error:
        bench(
            one={"kind": "plain", "token_files": [open_to_all, tmp_path / "missing"]},
            two={"kind": "github", "secret_files": [short]},
            three={"kind": "plain", "secret_files": [secret(SECRET)]},
        )

    told = str(error.value)
    assert f"chmod 600 {open_to_all}" in told
    assert f"{tmp_path / 'missing'}: collectors.one.token_files: cannot be read" in told
    assert f"{short}: collectors.two.secret_files: holds 5 characters" in told
    assert "plain signs nothing" in told
    assert TOKEN not in told


# ---- schemes, with the examples their makers publish ----------------------------------------------------------------


def test_standard_webhooks_as_its_specification_shows_it():
    headers = {"webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek", "webhook-timestamp": "1614265330"}
    made = STANDARD_WEBHOOKS.proof("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", headers, b'{"test": 2432232314}')

    assert made == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


def test_github_as_its_documentation_shows_it():
    made = GITHUB.proof("It's a Secret to Everybody", {}, b"Hello, World!")

    assert made == "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"


def test_pagerduty_and_standard_webhooks_may_bring_several_signatures():
    assert list(PAGERDUTY.split("v1=aa, v1=bb")) == ["v1=aa", "v1=bb"]
    assert list(STANDARD_WEBHOOKS.split("v1,aa v1,bb")) == ["v1,aa", "v1,bb"]


def test_grafana_signs_the_time_as_well_where_it_sends_one():
    dated = GRAFANA.proof(SECRET, {GRAFANA_TIMESTAMP: "1700000000"}, b"{}")

    assert dated == GRAFANA.proof(SECRET, {}, b"1700000000:{}") != GRAFANA.proof(SECRET, {}, b"{}")
    assert SENTRY.proof(SECRET, {}, b"{}") == GRAFANA.proof(SECRET, {}, b"{}")


# ---- Amazon SNS -----------------------------------------------------------------------------------------------------

TOPIC = "arn:aws:sns:eu-central-1:123456789012:alarms"
CERTIFICATE = "https://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0123456789abcdef.pem"


class Amazon:
    """Signs messages as SNS does."""

    def __init__(self) -> None:
        self._key = rsa.generate_private_key(65537, 2048)
        name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "sns.amazonaws.com")])
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(self._key.public_key())
            .serial_number(1)
            .not_valid_before(NOW - timedelta(days=1))
            .not_valid_after(NOW + timedelta(days=1))
            .sign(self._key, hashes.SHA256())
            .public_bytes(Encoding.PEM)
        )

    def message(self, sort: str = "Notification", version: str = "2", **fields: Any) -> bytes:
        said = {
            "Type": sort,
            "MessageId": "m-1",
            "TopicArn": TOPIC,
            "Message": '{"AlarmName": "a"}',
            "Timestamp": "2026-11-22T12:00:00.000Z",
            "SignatureVersion": version,
            "SigningCertURL": CERTIFICATE,
            **fields,
        }
        # In the order that Amazon documents, each name and value on a line of its own.
        order = ["Message", "MessageId", "Subject", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"]
        text = "".join(f"{name}\n{said[name]}\n" for name in order if name in said)
        digest = hashes.SHA1() if version == "1" else hashes.SHA256()
        said["Signature"] = base64.b64encode(self._key.sign(text.encode(), PKCS1v15(), digest)).decode()
        return json.dumps(said).encode()

    def confirmation(self, url: str = "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription") -> bytes:
        return self.message("SubscriptionConfirmation", SubscribeURL=url, Token="t")


@pytest.fixture(scope="module")
def amazon() -> Amazon:
    return Amazon()


@pytest.fixture
def subscribed(bench, amazon):
    at = bench(cloud={"kind": "sns", "topics": [TOPIC]})
    at.content = amazon.certificate
    return at


@pytest.mark.parametrize("version", ["1", "2"])
def test_a_message_that_amazon_signed_for_our_topic_is_taken(subscribed, amazon, version):
    body = amazon.message(version=version, Subject="ALARM")

    assert subscribed.post("sns", name="cloud", body=body, content_type="text/plain; charset=UTF-8") == 202
    assert subscribed.fetched == [CERTIFICATE]


def test_a_subscription_is_confirmed_by_a_visit_and_leaves_no_record(subscribed, amazon):
    assert subscribed.post("sns", name="cloud", body=amazon.confirmation()) == 200
    assert subscribed.fetched == [CERTIFICATE, "https://sns.eu-central-1.amazonaws.com/?Action=ConfirmSubscription"]
    assert subscribed.inbox.records == []


def changed(body: bytes, **fields: Any) -> bytes:
    return json.dumps({**json.loads(body), **fields}).encode()


@pytest.mark.parametrize(
    "forge",
    [
        lambda amazon: changed(amazon.message(), Message="another"),
        lambda amazon: changed(amazon.message(), Subject="added"),
        lambda amazon: changed(amazon.message(), SignatureVersion="1"),
        lambda amazon: changed(amazon.message(), SignatureVersion="3"),
        lambda amazon: changed(amazon.message(), Signature="AAAA"),
        lambda amazon: changed(amazon.message(), Signature="no base64"),
        lambda amazon: amazon.message(TopicArn=TOPIC + "-of-somebody-else"),
        lambda amazon: Amazon().message(),
        lambda amazon: b"{}",
        lambda amazon: b"[" * 5000,
        lambda amazon: json.dumps({"Type": "Notification", "Message": {"a": 1}}).encode(),
    ],
)
def test_what_amazon_did_not_sign_for_our_topic_is_refused(subscribed, amazon, forge):
    assert subscribed.post("sns", name="cloud", body=forge(amazon)) == 401
    assert subscribed.refused("cloud") == {"signature": 1}
    assert subscribed.inbox.records == []


@pytest.mark.parametrize(
    "url",
    [
        "http://sns.eu-central-1.amazonaws.com/SimpleNotificationService-0.pem",
        "https://sns.eu-central-1.amazonaws.com.example.com/SimpleNotificationService-0.pem",
        "https://example.com/SimpleNotificationService-0.pem",
        "https://sns.eu-central-1.amazonaws.com@example.com/SimpleNotificationService-0.pem",
        "https://sns.eu-central-1.amazonaws.com:8443/SimpleNotificationService-0.pem",
        "https://sns.eu-central-1.amazonaws.com/../bucket/x.pem",
        "https://bucket.s3.amazonaws.com/SimpleNotificationService-0.pem",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1/",
        "https://sns.eu-central-1.amazonaws.com\\@example.com/SimpleNotificationService-0.pem",
    ],
)
def test_nothing_is_fetched_from_anywhere_but_amazon(subscribed, amazon, url):
    assert subscribed.post("sns", name="cloud", body=amazon.message(SigningCertURL=url)) == 401
    assert subscribed.fetched == []
    assert subscribed.post("sns", name="cloud", body=amazon.confirmation(url)) == 400
    assert subscribed.fetched == [CERTIFICATE]


def test_without_an_entry_that_names_topics_nothing_of_amazon_is_taken(subscribed, amazon):
    assert subscribed.post("sns", body=amazon.message()) == 401
    assert subscribed.refused("sns") == {"unknown": 1}


def test_while_amazon_cannot_be_reached_the_sender_is_asked_to_come_again(subscribed, amazon):
    subscribed.unreachable = True

    assert subscribed.post("sns", name="cloud", body=amazon.message()) == 503
    assert subscribed.answer.headers["retry-after"]


def test_a_certificate_is_fetched_once():
    fetched: list[str] = []

    async def fetch(url: str, proxy: str) -> bytes:
        fetched.append(url)
        return b"a certificate"

    remembering = Fetched(fetch)

    async def twice() -> list[bytes]:
        return [await remembering(CERTIFICATE, ""), await remembering(CERTIFICATE, "")]

    assert asyncio.run(twice()) == [b"a certificate"] * 2
    assert fetched == [CERTIFICATE]


# ---- a reload -------------------------------------------------------------------------------------------------------


def test_what_was_taken_before_a_reload_is_not_taken_again_after_it(bench, secret):
    path = secret(SECRET)
    at, body = bench(mine={"kind": "standard", "secret_files": [path]}), b'{"name": "a"}'
    call = signed(STANDARD_WEBHOOKS, SECRET, body, **at_time(NOW))
    assert at.post("standard", name="mine", body=body, **call) == 202

    again = at.gates({"mine": {"kind": "standard", "secret_files": [path]}})
    again.follow(at.intake.gates)
    at.intake.gates = again

    assert at.post("standard", name="mine", body=body, **call) == 200
    assert len(at.inbox.records) == 1
    assert again.named["mine"].used["secret 1"] == 2


# ---- more than can be worked on -------------------------------------------------------------------------------------


def test_beyond_the_bound_on_records_senders_are_asked_to_come_later(bench):
    at = bench(bounds=Bounds(lag=100))
    at.lag = 99
    assert at.post("plain") == 202

    at.lag = 100
    assert at.post("plain") == 429
    assert at.answer.headers["retry-after"] == "2"
    assert "100 records are not worked on yet, 100 may be (limits.lag)" in at.answer.json()["error"]
    assert at.refused("plain") == {"busy": 1}
    assert at.post("patient") == 503, "the status its product tries again after"

    at.lag = 50
    assert at.post("plain") == 202


def test_bodies_in_memory_are_bounded_whoever_sends_them_and_however_slowly(bench):
    at = bench(bounds=Bounds(waiting=3000))
    slow = asyncio.Event()

    async def several() -> tuple[list[int], int]:
        async def post(size: int, *, wait: bool) -> int:
            answered: list[int] = []
            parts = [b'{"name": "', b"x" * size, b'"}']

            async def receive() -> dict[str, Any]:
                if wait and len(parts) == 1:
                    await slow.wait()
                return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}

            async def send(message: Any) -> None:
                answered.append(message.get("status", 0))

            scope = {"type": "http", "method": "POST", "path": "/api/v1/collect/plain", "headers": []}
            await at.intake(scope, receive, send)
            return answered[0]

        first = [asyncio.create_task(post(1200, wait=True)) for _ in range(2)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        late = await post(1200, wait=False)
        slow.set()
        return [await each for each in first], late

    assert asyncio.run(several()) == ([202, 202], 429)
    assert at.intake.pressure.held == 0


def test_what_a_body_becomes_counts_as_well_and_all_is_given_back(bench):
    at = bench(bounds=Bounds(waiting=50_000))
    body = gzip.compress(b'{"name": "a"}' + b" " * 20_000)

    assert at.post("plain", body=body, content_encoding="gzip") == 202
    assert at.post("plain", body=b"no JSON") == 400
    assert at.intake.pressure.held == 0


@pytest.mark.parametrize(
    ("policy", "path", "event", "goes"),
    [
        ({"shed_sources": ("plain",)}, "plain", {}, True),
        ({"shed_sources": ("plain",)}, "patient", {}, False),
        ({"shed_severities": ("info", "unknown")}, "plain", {"severity": "notice"}, True),
        ({"shed_severities": ("info", "unknown")}, "plain", {}, True),
        ({"shed_severities": ("info",)}, "plain", {"severity": "critical"}, False),
        ({"shed_severities": ("info",), "shed_sources": ("plain",)}, "plain", {"severity": "warning"}, False),
        ({"shed_severities": ("info",), "shed_sources": ("plain",)}, "plain", {"severity": "info"}, True),
        ({"shed_sources": ("plain",)}, "plain", {"over": True}, False),
        ({}, "plain", {}, False),
    ],
)
def test_only_what_people_said_is_let_go_before_senders_are_refused_and_never_an_end(bench, policy, path, event, goes):
    at, body = bench(bounds=Bounds(lag=100, **policy)), json.dumps({"name": "a", **event}).encode()

    at.lag = 49
    assert at.post(path, body=body) == 202
    assert len(at.inbox.records) == 1

    at.lag = 50
    assert at.post(path, body=body) == 202
    assert len(at.inbox.records) == (1 if goes else 2)
    assert at.answer.json().get("shed", 0) == int(goes)
    assert at.intake.pressure.shed == ({path: 1} if goes else {})


def test_as_alertmanager_what_is_let_go_is_answered_well(bench):
    at = bench(bounds=Bounds(lag=100, shed_sources=("prometheus",)))
    at.lag = 60

    assert at.post("prometheus") == 200
    assert at.inbox.records == []


def test_the_lag_is_looked_up_by_another_thread_and_not_believed_when_it_is_old():
    last, clock = [100], [0.0]
    asked: list[int] = []

    def position() -> int:
        asked.append(1)
        return 60

    lag = Lag(lambda: last[0], position, lambda: clock[0])

    async def look() -> list[int]:
        seen = [lag()]
        lag.look()
        seen.append(lag())
        last[0] = 10_000
        clock[0] = 60.0
        seen.append(lag())
        return seen

    assert asyncio.run(look()) == [0, 40, 0]


def test_what_asks_the_store_is_asked_once_a_second():
    clock, asked = [0.0], list[float]()

    def look() -> bool:
        asked.append(clock[0])
        return True

    pressed = seldom(look, lambda: clock[0])
    answers = []
    for clock[0] in (0.0, 0.5, 0.9, 1.0, 1.5, 2.1):
        answers.append(pressed())

    assert all(answers)
    assert asked == [0.0, 1.0, 2.1]


# ---- points of metrics ----------------------------------------------------------------------------------------------

HITS = {"kind": "measuring", "metrics": [{"match": "hits_total"}]}


def points(*values: float, metric: str = "hits_total") -> list[dict[str, Any]]:
    """A point every ten seconds, the last now."""
    first = NOW.timestamp() - 10 * (len(values) - 1)
    return [{"m": metric, "at": first + 10 * place, "v": value} for place, value in enumerate(values)]


def test_points_that_are_selected_go_to_the_metric_history_and_are_no_record(tmp_path: Path):
    bench = Bench(tmp_path, tokens={}, collectd=HITS)

    body = json.dumps([*points(100, 150, 250), *points(1, metric="other_total")]).encode()
    assert bench.post("measuring", name="collectd", body=body) == 202

    [(source, metered)] = bench.measured
    assert (source, metered.ignored, metered.late) == ("collectd", 1, 0)
    [samples] = metered.samples
    assert samples.series == Series(ci="web1", metric="hits_total")
    assert list(zip(samples.times, samples.values, strict=True)) == [
        (NOW.timestamp() - 10, 5.0),
        (NOW.timestamp(), 10.0),
    ]
    assert bench.inbox.records == []
    assert bench.answer.json()["accepted"] == 4


def test_points_of_a_source_that_selects_none_are_counted_and_let_go(tmp_path: Path):
    bench = Bench(tmp_path, tokens={})

    assert bench.post("measuring", body=json.dumps(points(1, 2)).encode()) == 202

    [(_, metered)] = bench.measured
    assert (metered.points, metered.ignored) == (0, 2)
    assert bench.inbox.records == []


def test_what_comes_beside_points_is_a_record_and_what_is_wrong_costs_neither(tmp_path: Path):
    bench = Bench(tmp_path, tokens={}, collectd=HITS)

    body = json.dumps([{"name": "Disk"}, 7, *points(1, 11)]).encode()
    assert bench.post("measuring", name="collectd", body=body) == 207

    assert [(record.body, record.items) for record in bench.inbox.records] == [(body, 4)]
    assert bench.measured[0][1].points == 1
    assert [each["status"] for each in bench.answer.json()["results"]] == [
        "accepted", "rejected", "accepted", "accepted",
    ]  # fmt: skip


def test_points_that_cannot_be_kept_are_to_be_sent_again_and_then_count_as_if_for_the_first_time(tmp_path: Path):
    bench = Bench(tmp_path, tokens={}, collectd=HITS)
    first, second = (json.dumps([each]).encode() for each in points(100, 150))
    assert bench.post("measuring", name="collectd", body=first) == 202

    bench.unreachable = True
    assert bench.post("measuring", name="collectd", body=second) == 503
    assert bench.answer.headers["retry-after"] == "5"
    bench.unreachable = False
    assert bench.post("measuring", name="collectd", body=second) == 202

    assert [each.values for _, metered in bench.measured for each in metered.samples] == [(5.0,)]


def test_counters_go_on_over_a_reload_that_selects_the_same(tmp_path: Path):
    bench = Bench(tmp_path, tokens={}, collectd=HITS)
    first, second = (json.dumps([each]).encode() for each in points(100, 150))
    bench.post("measuring", name="collectd", body=first)

    gates = bench.gates({"collectd": HITS})
    gates.follow(bench.intake.gates)
    bench.intake.gates = gates
    bench.post("measuring", name="collectd", body=second)

    assert [metered.points for _, metered in bench.measured] == [0, 1]


def test_points_are_no_events_of_the_intake(tmp_path: Path):
    bench = Bench(tmp_path, tokens={}, collectd=HITS)
    seen: list[int] = []
    bench.intake._observe = lambda seconds, status, events, size: seen.append(events)

    bench.post("measuring", name="collectd", body=json.dumps([{"name": "Disk"}, *points(1, 2)]).encode())

    assert seen == [1]
