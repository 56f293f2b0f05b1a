"""How products prove that a call they make to us is their own: schemes of signatures, and the one way to check them.

Facts:
    https://github.com/standard-webhooks/standard-webhooks (signature of id, time and body; several, after a rotation);
    docs.github.com "Validating webhook deliveries"; docs.sentry.io "Webhooks" (Sentry-Hook-Signature);
    developer.pagerduty.com "Verifying webhook signatures" (v3); grafana.com "Configure the webhook notifier" (HMAC);
    docs.aws.amazon.com "Verifying the signatures of Amazon SNS messages". Read 2026-11-22.
"""

import base64
import binascii
import hmac
import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from foreshock.core.contracts import Greeting, Hook
from foreshock.core.errors import Malformed

AHEAD = timedelta(minutes=5)
"""How far another clock may run ahead of ours."""
_MAX_PROOFS = 8
"""In one call; a product sends two while one secret takes the place of another."""


class Unproven(Exception):
    """A call is not to be believed. reason: one word for counts; the text is for whoever runs Foreshock, not for who
    called."""

    def __init__(self, reason: str, text: str) -> None:
        super().__init__(text)
        self.reason = reason


def matching(given: Sequence[str], secrets: Sequence[str]) -> int | None:
    """Which of ``secrets`` one of ``given`` is; None if none is. Takes as long for any wrong one."""
    found = None
    for one in given:
        shown = one.encode("utf-8", "surrogatepass")
        for index, secret in enumerate(secrets):
            if hmac.compare_digest(shown, secret.encode()):
                found = index
    return found


def proven(
    hook: Hook, secrets: Sequence[str], headers: Mapping[str, str], body: bytes, now: datetime
) -> tuple[int, str]:
    """Which secret made the proof, and the header that held it. Raises Unproven."""
    given = headers.get(hook.header, "").strip()
    if not given:
        raise Unproven("signature", f"the header {hook.header}, which proves who sends, is missing")
    made = [hook.proof(secret, headers, body) for secret in secrets]
    found = matching(hook.split(given)[:_MAX_PROOFS], made)
    if found is None:
        raise Unproven(
            "signature", f"{hook.header} is not what the secret here makes it: check the secret on both sides"
        )
    if hook.sent_at is None:
        return found, given
    at = hook.sent_at(headers, body)
    if at is None:
        if hook.undated:
            return found, given
        raise Unproven("replay", "what was signed does not say when it was sent, so that anybody could send it again")
    if not -AHEAD <= now - at <= hook.max_age:
        raise Unproven(
            "replay",
            f"it was sent at {at:%Y-%m-%d %H:%M:%S} UTC, here it is {now:%H:%M:%S}, and {hook.max_age} are allowed: "
            "an old call that was sent again, or a clock that is wrong",
        )
    return found, given


def hex_digest(secret: str, signed: bytes) -> str:
    return hmac.digest(secret.encode(), signed, "sha256").hex()


# ---- Standard Webhooks ----------------------------------------------------------------------------------------------


def _standard(secret: str, headers: Mapping[str, str], body: bytes) -> str:
    try:
        key = base64.b64decode(secret.removeprefix("whsec_"), validate=True)
    except (binascii.Error, ValueError):
        key = secret.encode()
    signed = (
        f"{headers.get('webhook-id', '')}.{headers.get('webhook-timestamp', '')}.".encode("latin-1", "replace") + body
    )
    return f"v1,{base64.b64encode(hmac.digest(key, signed, 'sha256')).decode()}"


def _from_seconds(header: str) -> Callable[[Mapping[str, str], bytes], datetime | None]:
    """A time of sending in seconds since 1970."""

    def read(headers: Mapping[str, str], body: bytes) -> datetime | None:
        text = headers.get(header, "")
        return datetime.fromtimestamp(int(text), UTC) if re.fullmatch("[0-9]{1,11}", text) else None

    return read


STANDARD_WEBHOOKS = Hook(
    header="webhook-signature", proof=_standard, split=str.split, sent_at=_from_seconds("webhook-timestamp")
)

# ---- products -------------------------------------------------------------------------------------------------------

GITHUB = Hook(header="x-hub-signature-256", proof=lambda secret, headers, body: f"sha256={hex_digest(secret, body)}")
SENTRY = Hook(header="sentry-hook-signature", proof=lambda secret, headers, body: hex_digest(secret, body))
"""Its header Sentry-Hook-Timestamp is not signed, so it proves nothing."""
PAGERDUTY = Hook(
    header="x-pagerduty-signature",
    proof=lambda secret, headers, body: f"v1={hex_digest(secret, body)}",
    split=lambda header: [one.strip() for one in header.split(",")],
)

GRAFANA_TIMESTAMP = "x-grafana-alerting-timestamp"
"""Our choice for the contact point's "Timestamp header", which is empty by default: then nothing says when."""


def _grafana(secret: str, headers: Mapping[str, str], body: bytes) -> str:
    at = headers.get(GRAFANA_TIMESTAMP)
    return hex_digest(secret, body if at is None else at.encode("latin-1", "replace") + b":" + body)


GRAFANA = Hook(
    header="x-grafana-alerting-signature", proof=_grafana, sent_at=_from_seconds(GRAFANA_TIMESTAMP), undated=True
)

# ---- Amazon SNS: signed by a certificate that the message names -----------------------------------------------------

_SNS_HOST = re.compile(r"sns\.[a-z]{2}(?:-[a-z]+)+-[0-9]+\.amazonaws\.com(?:\.cn)?")
_SNS_SIGNED = {
    "Notification": ("Message", "MessageId", "Subject", "Timestamp", "TopicArn", "Type"),
    "SubscriptionConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
    "UnsubscribeConfirmation": ("Message", "MessageId", "SubscribeURL", "Timestamp", "Token", "TopicArn", "Type"),
}


def sns_certificate(body: bytes) -> str:
    """Where the certificate is that signed this message. Raises Malformed where that is not Amazon's."""
    message = _sns_message(body)
    return _sns_address(message, "SigningCertURL", path=r"/SimpleNotificationService-[0-9a-zA-Z]+\.pem")


def sns_unproven(topics: Sequence[str], certificate: bytes, body: bytes) -> str:
    """Why an SNS message is not to be believed; empty if it is. topics: ARNs whose messages are; anybody may have a
    topic at Amazon, so one must be named."""
    from cryptography.exceptions import InvalidSignature
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
    from cryptography.x509 import load_pem_x509_certificate

    message = _sns_message(body)
    topic = str(message.get("TopicArn", ""))
    if topic not in topics:
        return f"the topic {topic[:200]!r} is not among the topics of this source"
    version = message.get("SignatureVersion")
    if version not in ("1", "2"):
        return f"the signature version {str(version)[:20]!r} is not known"
    try:
        key = load_pem_x509_certificate(certificate).public_key()
        signature = base64.b64decode(str(message.get("Signature", "")), validate=True)
    except ValueError as error:
        return f"the certificate or signature cannot be read: {error}"
    if not isinstance(key, RSAPublicKey):
        return "the certificate holds no RSA key"
    names = [name for name in _SNS_SIGNED[message["Type"]] if name in message]
    signed = "".join(f"{name}\n{message[name]}\n" for name in names)
    try:
        # Version 1 is SHA-1, which Amazon uses unless the topic says otherwise.
        key.verify(signature, signed.encode(), PKCS1v15(), hashes.SHA1() if version == "1" else hashes.SHA256())  # noqa: S303
    except (InvalidSignature, UnicodeEncodeError):
        return "the signature is not that of the certificate"
    return ""


def sns_handshake(method: str, headers: Mapping[str, str], body: bytes) -> Greeting | None:
    """A subscription is confirmed by a visit to the address in the message; its end needs no more than an answer."""
    message = _sns_message(body)
    if message["Type"] == "Notification":
        return None
    if message["Type"] == "UnsubscribeConfirmation":
        return Greeting()
    return Greeting(visit=_sns_address(message, "SubscribeURL", path="/"))


def _sns_message(body: bytes) -> dict[str, Any]:
    try:
        message = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise Malformed(f"the body is not JSON: {error}") from None
    if not isinstance(message, dict) or message.get("Type") not in _SNS_SIGNED:
        raise Malformed("the body is no SNS message: `Type` is none of " + ", ".join(_SNS_SIGNED))
    if any(not isinstance(message.get(name, ""), str) for name in _SNS_SIGNED[message["Type"]]):
        raise Malformed("the body is no SNS message: what is signed must be text")
    return message


def _sns_address(message: Mapping[str, Any], name: str, *, path: str) -> str:
    text = str(message.get(name, ""))
    try:
        parts = urlsplit(text)
        port = parts.port
    except ValueError:
        raise Malformed(f"{name} is no address") from None
    ours = parts.scheme == "https" and _SNS_HOST.fullmatch(parts.hostname or "") and parts.netloc == parts.hostname
    if (
        not ours
        or port is not None
        or not re.fullmatch(path, parts.path)
        or not text.isascii()
        or not text.isprintable()
    ):
        raise Malformed(f"{name} does not lead to Amazon SNS: {text[:200]!r}")
    return text


# ---- CloudEvents and Azure Event Grid ask before they send ----------------------------------------------------------


def cloudevents_handshake(method: str, headers: Mapping[str, str], body: bytes) -> Greeting | None:
    """CloudEvents HTTP webhook 1.0, section 4: the sender asks with OPTIONS, and hears that its origin may send."""
    origin = headers.get("webhook-request-origin", "")
    if method != "OPTIONS" or not origin:
        return None
    allowed = [("WebHook-Allowed-Origin", origin), ("Allow", "POST, OPTIONS")]
    allowed += [("WebHook-Allowed-Rate", "*")] if "webhook-request-rate" in headers else []
    return Greeting(headers=tuple(allowed))


def event_grid_handshake(method: str, headers: Mapping[str, str], body: bytes) -> Greeting | None:
    """Azure Event Grid, schema "Event Grid": a code comes as the first event, and must come back."""
    if method != "POST" or headers.get("aeg-event-type", "").lower() != "subscriptionvalidation":
        return cloudevents_handshake(method, headers, body)
    try:
        code = json.loads(body)[0]["data"]["validationCode"]
    except (ValueError, TypeError, LookupError, RecursionError) as error:
        raise Malformed(f"the event of the validation has no data.validationCode: {error!r}") from None
    return Greeting(json.dumps({"validationResponse": str(code)}).encode())
