"""Signed webhooks: each ticket write as one POST, for automation and for tools without a sink of their own.

Facts:    https://www.standardwebhooks.com, specification 1.0.0, and its library ``standardwebhooks`` 1.1.0, read
          2026-11-22: headers webhook-id, webhook-timestamp and webhook-signature over ``id.timestamp.body``.
Delivery: at least once. webhook-id is the order's id and stays the same in every repeat, so a receiver that remembers
          ids takes each order once; that is why no search comes before a repeat (``find`` knows nothing).
Messages: what people are told beside tickets (docs/escalation.md) comes as type ``foreshock.notice``, its text and whom
          it is for among the fields.
Answer:   any 2xx within 30 s counts; its body is not read. The ticket's number is the situation's key.
Needs:    an address, and a file with the shared secret (``whsec_`` and base64 of 24 to 64 bytes) that only its owner
          can read.
"""

import base64
import binascii
import json
import stat
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from pydantic import Field, field_validator
from standardwebhooks import Webhook

from foreshock.connect.auth import CaFile
from foreshock.core.contracts import (
    ConnectorConfig,
    Finding,
    Order,
    Receipt,
    SinkKind,
    SinkParts,
    TicketChange,
)
from foreshock.core.errors import ConfigError, Invalid, Problem

if TYPE_CHECKING:
    from foreshock.connect.http import Http  # built for us; importing it takes a tenth of a second of each start

_PREFIX = "whsec_"
_SECRET_BYTES = range(24, 65)  # the specification's bounds


class WebhookConfig(ConnectorConfig):
    url: str = Field(description="where to post; https unless the receiver is on this machine")
    secret_file: Path = Field(description="file with the secret shared with the receiver, whsec_ and base64, mode 0600")
    ca_file: CaFile = None

    @field_validator("url")
    @classmethod
    def _is_an_address(cls, url: str) -> str:
        parts = urlsplit(url)
        local = parts.hostname in ("localhost", "127.0.0.1", "::1")
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise Invalid(f"{url!r} is no web address", hint="write https://, the host and the path")
        if parts.username or parts.password:
            raise Invalid("it holds a user or a password", hint="leave them out: the signature proves who sends")
        if parts.scheme == "http" and not local:
            raise Invalid(f"{parts.hostname} would be reached without encryption", hint="write https://")
        return url


class WebhookSink:
    def __init__(self, http: "Http", path: str, secret: str, console: str, now: Callable[[], datetime]) -> None:
        self._http = http
        self._console = console
        self._path = path
        self._signer = Webhook(secret)
        self._now = now

    def find(self, key: str) -> Receipt | None:
        """Nothing can be asked, and need not be: the receiver recognises a repeat by its webhook-id."""
        return None

    def deliver(self, order: Order, ticket: Receipt | None) -> Receipt:
        body = payload(order, self._console)
        sent_at = self._now()
        headers = {
            "Content-Type": "application/json",
            "webhook-id": order.id,
            "webhook-timestamp": str(int(sent_at.timestamp())),
            "webhook-signature": self._signer.sign(msg_id=order.id, timestamp=sent_at, data=body),
        }
        self._http.post(self._path, body=body.encode(), headers=headers)
        return Receipt(number=order.key)

    def changes(self, cursor: int) -> Sequence[TicketChange]:
        """A receiver tells nothing back."""
        return ()

    def check(self) -> Sequence[Finding]:
        """A receiver can be asked nothing without posting to it."""
        return [Finding(subject="receiver", observed="only --create posts to it: nothing else can be asked")]


def payload(order: Order, console: str) -> str:
    """Pure: the body, ASCII only, so that no proxy can change a byte of what was signed."""
    content: dict[str, Any] = {
        "type": "foreshock.notice" if "notice" in order.fields else f"foreshock.incident.{order.verb.value}",
        "id": order.id,
        "situation": order.situation,
        "key": order.key,
        "version": order.version,
        "at": order.at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
        "note": order.note,
        "fields": order.fields,
        "url": console + order.url,
    }
    return json.dumps(content, ensure_ascii=True, separators=(",", ":"))


def read_secret(path: Path, instance: str) -> str:
    """The secret in ``path``. Raises ConfigError where it is missing, open to others or no secret."""

    def wrong(message: str, hint: str) -> ConfigError:
        return ConfigError(
            [Problem(file=str(path), line=None, path=f"{instance}.secret_file", message=message, hint=hint)]
        )

    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        secret = path.read_text().strip()
    except (OSError, UnicodeDecodeError) as error:
        raise wrong(f"cannot be read: {error}", "write the secret into it and make Foreshock its owner") from None
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise wrong(f"its mode is {mode:04o}, so others than its owner may read it", f"run: chmod 600 {path}")
    example = f"make one with: echo {_PREFIX}$(head -c 32 /dev/urandom | base64)"
    if not secret.startswith(_PREFIX):
        raise wrong(f"the secret does not start with {_PREFIX}", example)
    try:
        size = len(base64.b64decode(secret.removeprefix(_PREFIX), validate=True))
    except binascii.Error:
        raise wrong(f"what follows {_PREFIX} is not base64", example) from None
    if size not in _SECRET_BYTES:
        raise wrong(f"the secret has {size} bytes, {_SECRET_BYTES[0]} to {_SECRET_BYTES[-1]} are allowed", example)
    return secret


def _build(name: str, config: WebhookConfig, parts: SinkParts) -> WebhookSink:
    secret = read_secret(config.secret_file, f"incident_sink.{name}")
    address = urlsplit(config.url)
    http = parts.http(
        f"webhook {name!r}",
        f"{address.scheme}://{address.netloc}",
        ca_file=config.ca_file,
        secrets=(secret, secret.removeprefix(_PREFIX)),
    )
    path = (address.path or "/") + (f"?{address.query}" if address.query else "")
    return WebhookSink(http, path, secret, parts.console, now=lambda: datetime.now(UTC))


SINK = SinkKind(
    kind="webhook",
    title="Signed webhook (Standard Webhooks)",
    facts="https://www.standardwebhooks.com, specification 1.0.0, read 2026-11-22",
    config=WebhookConfig,
    build=_build,
    searches=False,
    messages=True,
)
