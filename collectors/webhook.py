"""Anything that posts JSON, a form or a text, as a mapping of yours reads it.

Facts:    the mapping is yours, in JMESPath: https://jmespath.org/specification.html, read 2026-11-22. `foreshock
          collectors test MAPPING PAYLOAD` shows what becomes of a payload, item by item.
Delivery: as the sender likes; sending an event again is always safe.
Recovery: reported, where the mapping has `resolved` or `ends_at`; with `expires_after` an alert is over when it was not
          sent again for so long; with neither only a person ends it.
Limits:   64 labels of 2 KiB each, 5,000 items and 5 MiB a request. The mapping goes with each record, so a long one
          takes room on disk. Forms and texts only from a source with a token or a secret, for any web page could send
          them.
Needs:    an entry in `collectors` with a mapping.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import Field

from foreshock.connect.mapping import Loaded, decode, load_mapping, translate
from foreshock.connect.proofs import STANDARD_WEBHOOKS
from foreshock.core.contracts import Collector, Receive, ReceiveConfig


class WebhookConfig(ReceiveConfig):
    mapping: Path = Field(description="file that says what its payloads mean", examples=["mapping.yaml"])


def _prepare(name: str, config: WebhookConfig) -> Loaded:
    return load_mapping(config.mapping)


def _head(loaded: Loaded, headers: Mapping[str, str]) -> Mapping[str, Any]:
    shown = {name: headers[name] for name in loaded.headers if name in headers}
    return loaded.head(headers=shown) if shown else loaded.head()


COLLECTOR = Collector(
    kind="webhook",
    title="Anything that posts, as a mapping of yours reads it",
    facts="your mapping, in JMESPath",
    decode=decode,
    translate=translate,
    receive=Receive(
        path="/api/v1/collect/webhook",
        schema={},
        config=WebhookConfig,
        prepare=_prepare,
        signed=STANDARD_WEBHOOKS,
        head=_head,
        texts=("application/x-www-form-urlencoded", "text/plain"),
    ),
    sample="webhook-firing.json",
)
