"""Versions of trained models: a folder each, of arrays and JSON, with a manifest that is signed.

Nothing in a version is code, so loading one runs nothing. A version is read only if this installation's key signed its
manifest and each file is as the manifest says; what was copied in, cut short or changed is refused by name.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path

import msgspec
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from msgspec import Raw, Struct

from foreshock.core.errors import Rejected, Unavailable
from foreshock.core.model import Moment

FORMAT = 1
"""Of the manifest and of what its files hold; a version of another format is trained anew, not converted."""

_MANIFEST, _SIGNATURE = "manifest.json", "manifest.sig"
_MAX_MANIFEST_BYTES = 2**20
_MAX_FILE_BYTES = 2**28


class _File(Struct, frozen=True, kw_only=True):
    sha256: str
    bytes: int


class _Manifest(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    format: int
    version: str
    made_at: Moment
    about: Raw
    files: dict[str, _File]


class StoredModel(Struct, frozen=True, kw_only=True):
    """One version.

    Attributes:
        version: names what the files hold: ``YYYYMMDD-`` of ``made_at`` and the begin of their digest.
        about: JSON of what a person should know of it, which can be read without reading the files.
        files: by plain name.
    """

    version: str
    made_at: Moment
    about: bytes
    files: Mapping[str, bytes]


def stored_model(made_at: Moment, about: bytes, files: Mapping[str, bytes]) -> StoredModel:
    """With the version that its files give it."""
    digest = hashlib.sha256()
    for name in sorted(files):
        digest.update(b"%s\0%d\0" % (name.encode(), len(files[name])) + files[name])
    return StoredModel(
        version=f"{made_at:%Y%m%d}-{digest.hexdigest()[:8]}", made_at=made_at, about=about, files=dict(files)
    )


class ModelVersions:
    """Args: key: file of the Ed25519 key that signs; made with the first version. keep: the newest so many stay, and
    those that are asked to stay."""

    def __init__(self, folder: Path, key: Path, keep: int) -> None:
        self._folder, self._key_file, self._keep = folder, key, keep

    def add(self, model: StoredModel, *, in_use: str = "") -> None:
        """Keep a version, as the newest; the one ``in_use`` is not dropped for it. Raises Unavailable if the disk
        refuses it."""
        manifest = msgspec.json.encode(
            _Manifest(
                format=FORMAT,
                version=model.version,
                made_at=model.made_at,
                about=Raw(model.about),
                files={name: _File(sha256=_digest(body), bytes=len(body)) for name, body in model.files.items()},
            ),
            order="sorted",
        )
        try:
            signature = self._key(make=True).sign(manifest)
            fresh = self._folder / f".{model.version}.new"
            shutil.rmtree(fresh, ignore_errors=True)
            fresh.mkdir(parents=True)
            for name, body in {**model.files, _MANIFEST: manifest, _SIGNATURE: signature}.items():
                _write(fresh / name, body)
            shutil.rmtree(self._folder / model.version, ignore_errors=True)
            fresh.rename(self._folder / model.version)
            _sync(self._folder)
            for old in self.versions()[self._keep :]:
                if old not in (model.version, in_use):
                    shutil.rmtree(self._folder / old, ignore_errors=True)
        except OSError as error:
            raise Unavailable(f"{self._folder} takes no model: {error}", hint="check the disk") from error

    def get(self, version: str) -> StoredModel:
        """Raises Rejected where there is no such version, or it is not as it was when it was signed here."""
        manifest = self._manifest(version)
        files = {name: self._file(version, name, told) for name, told in manifest.files.items()}
        found = stored_model(manifest.made_at, bytes(manifest.about), files)
        if found.version != version or manifest.version != version:
            raise self._refused(version, f"it holds version {found.version}")
        return found

    def about(self, version: str) -> bytes:
        """As ``get`` has it, without reading the files."""
        return bytes(self._manifest(version).about)

    def versions(self) -> list[str]:
        """Newest first, sound or not."""
        if not self._folder.is_dir():
            return []
        there = [path for path in self._folder.iterdir() if path.is_dir() and not path.name.startswith(".")]
        return [path.name for path in sorted(there, key=lambda path: (-path.stat().st_mtime_ns, path.name))]

    def all(self) -> Iterator[tuple[str, bytes]]:
        """Versions with what they are about, newest first; what is not sound is left out."""
        for version in self.versions():
            try:
                yield version, self.about(version)
            except Rejected:
                continue

    def _manifest(self, version: str) -> _Manifest:
        if version not in self.versions():
            raise Rejected(f"there is no model {version!r}", hint="see `foreshock model list`")
        body = self._read(version, _MANIFEST, _MAX_MANIFEST_BYTES)
        try:
            self._key(make=False).public_key().verify(self._read(version, _SIGNATURE, 64), body)
            manifest = msgspec.json.decode(body, type=_Manifest)
        except FileNotFoundError:
            raise self._refused(version, f"the key that signed it, {self._key_file}, is gone") from None
        except InvalidSignature:
            raise self._refused(version, "its manifest was not signed by this installation, or was changed") from None
        except (OSError, ValueError, UnsupportedAlgorithm, msgspec.DecodeError) as error:
            raise self._refused(version, str(error)) from error
        if manifest.format != FORMAT:
            raise self._refused(version, f"its format is {manifest.format}, and {FORMAT} is read")
        return manifest

    def _file(self, version: str, name: str, told: _File) -> bytes:
        if "/" in name or name.startswith("."):  # the signature covers it: this is for our own mistakes
            raise self._refused(version, f"{name!r} is no plain name")
        body = self._read(version, name, min(told.bytes, _MAX_FILE_BYTES))
        if _digest(body) != told.sha256:
            raise self._refused(version, f"{name} is not as it was signed")
        return body

    def _read(self, version: str, name: str, at_most: int) -> bytes:
        try:
            with (self._folder / version / name).open("rb") as file:
                body = file.read(at_most + 1)
        except OSError as error:
            raise self._refused(version, f"{name} cannot be read: {error.strerror}") from error
        if len(body) > at_most:
            raise self._refused(version, f"{name} is longer than {at_most} bytes")
        return body

    def _refused(self, version: str, why: str) -> Rejected:
        return Rejected(
            f"the model in {self._folder / version} cannot be used: {why}", hint="train again, or remove it"
        )

    def _key(self, *, make: bool) -> Ed25519PrivateKey:
        """Raises FileNotFoundError where there is none and none is to be made."""
        if make and not self._key_file.exists():
            self._key_file.parent.mkdir(parents=True, exist_ok=True)
            body = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
            with os.fdopen(os.open(self._key_file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(body)
                file.flush()
                os.fsync(file.fileno())
        key = load_pem_private_key(self._key_file.read_bytes(), password=None)
        if not isinstance(key, Ed25519PrivateKey):
            raise OSError(f"{self._key_file} holds no Ed25519 key")
        return key


def _digest(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def _write(path: Path, body: bytes) -> None:
    with path.open("wb") as file:
        file.write(body)
        file.flush()
        os.fsync(file.fileno())


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
