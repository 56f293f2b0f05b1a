"""Versions of what was learned, one file each in the state folder, so that a person can go back to one."""

import os
from collections.abc import Iterator
from pathlib import Path

import msgspec
import zstandard

from foreshock.core.errors import Malformed, Rejected, Unavailable
from foreshock.core.learned import Learned, decoded

_ENDING = ".json.zst"
_MAX_BYTES = 2**28


class LearnedVersions:
    """Args: keep: the newest so many stay; the one in force is known to the engine anyway."""

    def __init__(self, folder: Path, keep: int) -> None:
        self._folder, self._keep = folder, keep

    def add(self, learned: Learned) -> None:
        """Keep a version; one that is there already becomes the newest. Raises Unavailable if the disk refuses it."""
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            path = self._path(learned.version)
            fresh = path.with_suffix(".new")
            with fresh.open("wb") as file:
                file.write(zstandard.ZstdCompressor().compress(msgspec.json.encode(learned)))
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(path)
            for old in self._paths()[self._keep :]:
                old.unlink(missing_ok=True)
        except OSError as error:
            raise Unavailable(f"{self._folder} takes no file: {error}", hint="check the disk") from error

    def get(self, version: str) -> Learned:
        """Raises Rejected where there is no such version, or its file does not hold what its name says."""
        path = next((path for path in self._paths() if _version(path) == version), None)
        if path is None:
            raise Rejected(f"there is no version {version!r}", hint="see `foreshock learn list`")
        try:
            body = zstandard.ZstdDecompressor().decompress(path.read_bytes(), max_output_size=_MAX_BYTES)
            learned = decoded(body)
        except (OSError, zstandard.ZstdError, Malformed) as error:
            raise Rejected(f"{path} cannot be used: {error}", hint="train again with `foreshock learn`") from error
        if learned.version != version:
            raise Rejected(f"{path} holds version {learned.version}", hint="remove it")
        return learned

    def all(self) -> Iterator[Learned]:
        """Newest first; what cannot be read is left out."""
        for path in self._paths():
            try:
                yield self.get(_version(path))
            except Rejected:
                continue

    def newest_at_s(self) -> float | None:
        """When the newest was added, seconds since 1970; None while there is none."""
        paths = self._paths()
        return paths[0].stat().st_mtime if paths else None

    def _path(self, version: str) -> Path:
        return self._folder / f"{version}{_ENDING}"

    def _paths(self) -> list[Path]:
        return sorted(self._folder.glob(f"*{_ENDING}"), key=lambda path: (-path.stat().st_mtime_ns, path.name))


def _version(path: Path) -> str:
    return path.name.removesuffix(_ENDING)
