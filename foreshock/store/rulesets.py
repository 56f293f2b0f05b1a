"""Versions of rules and settings that were in force, one file each in the state folder, so that a person can go back to
one."""

import os
from collections.abc import Container
from pathlib import Path

import zstandard

from foreshock.core.errors import Rejected, Unavailable

_ENDING = ".json.zst"
_MAX_BYTES = 2**24


class RulesetVersions:
    """Each is bytes under a name that says what is in them: writing one twice changes nothing."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def add(self, version: str, body: bytes) -> None:
        """Returns when it is on disk, whole: a power cut leaves the file or none. Raises Unavailable if the disk
        refuses it."""
        path = self._folder / f"{version}{_ENDING}"
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            fresh = path.with_suffix(".new")
            with fresh.open("wb") as file:
                file.write(zstandard.ZstdCompressor().compress(body))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
            folder = os.open(self._folder, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
        except OSError as error:
            raise Unavailable(f"{self._folder} takes no file: {error}", hint="check the disk") from error

    def get(self, version: str) -> bytes:
        """Raises Rejected where it is not kept, or cannot be read."""
        path = self._folder / f"{version}{_ENDING}"
        try:
            return zstandard.ZstdDecompressor().decompress(path.read_bytes(), max_output_size=_MAX_BYTES)
        except FileNotFoundError:
            raise Rejected(
                f"version {version} is not kept", hint="see `foreshock rules history` for those that are"
            ) from None
        except (OSError, zstandard.ZstdError) as error:
            raise Rejected(f"{path} cannot be read: {error}", hint="choose another version") from None

    def kept(self) -> frozenset[str]:
        return frozenset(path.name.removesuffix(_ENDING) for path in self._folder.glob(f"*{_ENDING}"))

    def keep_only(self, versions: Container[str]) -> None:
        """Remove what is not among them, and what a power cut left half written."""
        for path in [*self._folder.glob(f"*{_ENDING}"), *self._folder.glob("*.new")]:
            if path.name.removesuffix(_ENDING) not in versions:
                path.unlink(missing_ok=True)
