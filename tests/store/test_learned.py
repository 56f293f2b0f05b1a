"""Versions of what was learned, kept to go back to."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from foreshock.core.errors import Rejected
from foreshock.core.learned import CoOccurrence, Learned, Side, versioned
from foreshock.store.learned import LearnedVersions


def learned(together: int) -> Learned:
    pair = CoOccurrence(
        a=Side(ci="a"), b=Side(ci="b"), together=together, times=20, expected=0.1, strength=0.9, window_s=20,
        lag_s=(0, 1, 2),
    )  # fmt: skip
    return versioned(Learned(until=datetime(2026, 3, 2, tzinfo=UTC), occurrences=9, pairs=(pair,)))


@pytest.fixture
def versions(tmp_path: Path) -> LearnedVersions:
    return LearnedVersions(tmp_path / "learned", keep=2)


def add(versions: LearnedVersions, one: Learned, tmp_path: Path, at_s: int) -> None:
    versions.add(one)
    os.utime(tmp_path / "learned" / f"{one.version}.json.zst", (at_s, at_s))


def test_a_version_comes_back_as_it_was(versions: LearnedVersions):
    versions.add(learned(17))

    assert versions.get(learned(17).version) == learned(17)
    assert learned(17).version.startswith("20260302-")


def test_the_newest_come_first_and_only_so_many_stay(versions: LearnedVersions, tmp_path: Path):
    for number in (1, 2, 3):
        add(versions, learned(number), tmp_path, at_s=number)
    versions.add(learned(2))

    assert [one.pairs[0].together for one in versions.all()] == [2, 3]


def test_before_the_first_there_is_none(versions: LearnedVersions):
    assert list(versions.all()) == []
    assert versions.newest_at_s() is None
    with pytest.raises(Rejected, match="no version 'x'"):
        versions.get("x")


def test_a_file_that_was_changed_is_refused_and_left_out(versions: LearnedVersions, tmp_path: Path):
    versions.add(learned(1))
    other = tmp_path / "learned" / f"{learned(2).version}.json.zst"
    other.write_bytes((tmp_path / "learned" / f"{learned(1).version}.json.zst").read_bytes())

    with pytest.raises(Rejected, match="holds version"):
        versions.get(learned(2).version)
    other.write_bytes(b"nonsense")
    assert [one.version for one in versions.all()] == [learned(1).version]
