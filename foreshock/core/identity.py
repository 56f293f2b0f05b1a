"""The fingerprint: which events are the same alert."""

from collections.abc import Mapping
from hashlib import blake2b

FINGERPRINT_VERSION = 1
"""Enters the hash, so that a changed rule can never meet an old fingerprint by accident."""

_DIGEST_BYTES = 16


def fingerprint(labels: Mapping[str, str], *, namespace: str = "") -> str:
    """Identity of the alert that carries ``labels``: 32 hexadecimal digits.

    Independent of the order of labels. Every name and value enters with its length before it, so that no two different
    label sets serialise to the same bytes. ``namespace`` separates families of sources whose equal labels mean
    different things; sources that report the same alerts on several ways share one.

    BLAKE2b with a 128-bit digest (RFC 7693): a collision by chance needs about 2**64 alerts.
    """
    parts = [b"%d:%d:" % (FINGERPRINT_VERSION, len(namespace.encode())), namespace.encode()]
    for name in sorted(labels):
        key, value = name.encode("utf-8", "surrogatepass"), labels[name].encode("utf-8", "surrogatepass")
        parts.append(b"%d:%d:" % (len(key), len(value)))
        parts.append(key)
        parts.append(value)
    return blake2b(b"".join(parts), digest_size=_DIGEST_BYTES).hexdigest()
