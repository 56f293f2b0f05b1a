"""Versions of models, kept with a signed manifest."""

import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest

from foreshock.core.errors import Rejected, Unavailable
from foreshock.store.models import ModelVersions, StoredModel, stored_model

AT = datetime(2026, 3, 2, tzinfo=UTC)


def model(coefficient: bytes = b"\x01") -> StoredModel:
    return stored_model(AT, b'{"horizon_h": 24}', {"model.json": b"{}", "arrays.npz": coefficient})


@pytest.fixture
def versions(tmp_path: Path) -> ModelVersions:
    return kept_in(tmp_path)


def kept_in(folder: Path, key: str = "key") -> ModelVersions:
    return ModelVersions(folder / "models", folder / key, keep=2)


def add(versions: ModelVersions, one: StoredModel, folder: Path, at_s: int, in_use: str = "") -> None:
    versions.add(one, in_use=in_use)
    os.utime(folder / "models" / one.version, (at_s, at_s))


def test_a_version_comes_back_as_it_was(versions: ModelVersions):
    versions.add(model())

    assert versions.get(model().version) == model()
    assert model().version.startswith("20260302-")
    assert list(versions.all()) == [(model().version, b'{"horizon_h": 24}')]


def test_other_arrays_are_another_version():
    assert model(b"\x01").version != model(b"\x02").version


def test_of_the_old_ones_only_that_in_use_stays(versions: ModelVersions, tmp_path: Path):
    first, *others = [model(bytes([number])) for number in range(4)]
    for at_s, one in enumerate([first, *others]):
        add(versions, one, tmp_path, at_s, in_use=first.version)

    assert versions.versions() == [others[2].version, others[1].version, first.version]


def test_only_its_owner_can_read_the_key(versions: ModelVersions, tmp_path: Path):
    versions.add(model())

    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600


def test_a_version_that_is_not_there_is_named(versions: ModelVersions):
    for name in ("x", "../models", ""):
        with pytest.raises(Rejected, match="there is no model"):
            versions.get(name)


@pytest.mark.parametrize("name", ["model.json", "arrays.npz"])
@pytest.mark.parametrize("body", [b"", b"\x01 and more", b"{ "])
def test_a_file_that_was_changed_is_refused(versions: ModelVersions, tmp_path: Path, name: str, body: bytes):
    versions.add(model())
    (tmp_path / "models" / model().version / name).write_bytes(body)

    with pytest.raises(Rejected, match=name):
        versions.get(model().version)


def test_a_manifest_that_was_changed_is_refused_and_left_out_of_the_list(versions: ModelVersions, tmp_path: Path):
    versions.add(model())
    manifest = tmp_path / "models" / model().version / "manifest.json"
    manifest.write_bytes(manifest.read_bytes().replace(b"24", b"25"))

    with pytest.raises(Rejected, match="not signed by this installation"):
        versions.get(model().version)
    assert list(versions.all()) == []


def test_what_another_installation_signed_is_refused(versions: ModelVersions, tmp_path: Path):
    versions.add(model())
    other = kept_in(tmp_path, key="other")
    other.add(model(b"\x02"))

    with pytest.raises(Rejected, match="not signed by this installation"):
        other.get(model().version)


@pytest.mark.parametrize("gone", ["manifest.json", "manifest.sig", "arrays.npz"])
def test_a_version_with_a_file_missing_is_refused_by_its_name(versions: ModelVersions, tmp_path: Path, gone: str):
    versions.add(model())
    (tmp_path / "models" / model().version / gone).unlink()

    with pytest.raises(Rejected, match=gone):
        versions.get(model().version)


@pytest.mark.parametrize("body", [None, b"no key", b""])
def test_without_its_key_nothing_is_read_and_the_key_is_named(versions: ModelVersions, tmp_path: Path, body: bytes):
    versions.add(model())
    (tmp_path / "key").unlink()
    if body is not None:
        (tmp_path / "key").write_bytes(body)

    with pytest.raises(Rejected, match=r"key|PEM"):
        versions.get(model().version)


def test_a_version_in_the_place_of_another_is_refused(versions: ModelVersions, tmp_path: Path):
    versions.add(model())
    there = tmp_path / "models" / model().version
    shutil.copytree(there, there.with_name("20260302-00000000"))

    with pytest.raises(Rejected, match=f"holds version {model().version}"):
        versions.get("20260302-00000000")


def test_what_was_cut_off_while_it_was_written_is_no_version(versions: ModelVersions, tmp_path: Path):
    half = tmp_path / "models" / f".{model().version}.new"
    half.mkdir(parents=True)
    (half / "arrays.npz").write_bytes(b"half")
    versions.add(model())

    assert versions.versions() == [model().version]
    assert versions.get(model().version) == model()


def test_a_disk_that_takes_nothing_is_said(tmp_path: Path):
    (tmp_path / "models").write_bytes(b"in the way")

    with pytest.raises(Unavailable, match="takes no model"):
        kept_in(tmp_path).add(model())
