"""The console's own files, read once; only these names exist, so no path can lead elsewhere."""

from dataclasses import dataclass
from hashlib import blake2b
from importlib.resources import files

_TYPES = {
    "console.css": "text/css; charset=utf-8",
    "console.js": "text/javascript; charset=utf-8",
    "icon.svg": "image/svg+xml",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class StaticFile:
    """digest: of the content; the address carries it, so a browser keeps the file until the next release."""

    body: bytes
    media_type: str
    digest: str


def load() -> dict[str, StaticFile]:
    folder = files("foreshock.service.console").joinpath("static")
    loaded = {}
    for name, media_type in _TYPES.items():
        body = folder.joinpath(name).read_bytes()
        digest = blake2b(body, digest_size=8).hexdigest()
        loaded[name] = StaticFile(body=body, media_type=media_type, digest=digest)
    return loaded
