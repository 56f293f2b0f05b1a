"""The fingerprint: which events are the same alert."""

from collections.abc import Mapping
from hashlib import blake2b

import msgspec

FINGERPRINT_VERSION = 1
"""Enters the hash, so that a changed rule can never meet an old fingerprint by accident."""

_DIGEST_BYTES = 16
_canonical = msgspec.json.Encoder(order="sorted").encode


def fingerprint(labels: Mapping[str, str], *, namespace: str = "") -> str:
    """Identity of the alert that carries ``labels``: 32 hexadecimal digits.

    Independent of the order of labels: what is hashed is their JSON with sorted names, in which no two different label
        sets
    look the same. ``namespace`` separates families of sources whose equal labels mean different things; sources that
    report the same alerts on several ways share one.

    BLAKE2b with a 128-bit digest (RFC 7693): a collision by chance needs about 2**64 alerts.
    """
    return blake2b(_canonical((FINGERPRINT_VERSION, namespace, labels)), digest_size=_DIGEST_BYTES).hexdigest()
