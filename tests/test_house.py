"""Rules about the checkout as a whole."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
LOCKS = ["bootstrap.txt", "run.txt", "dev.txt"]


def committed() -> list[Path]:
    listing = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listing.split("\0") if name and (ROOT / name).is_file()]


def test_config_holds_no_python_because_an_importable_config_collides_with_a_published_package():
    assert list((ROOT / "config").rglob("*.py")) == []


def test_tests_hold_no_init_because_a_package_tests_collectors_would_hide_the_real_one():
    assert list((ROOT / "tests").rglob("__init__.py")) == []


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_names_no_address_and_no_index(name: str):
    lines = (ROOT / "requirements" / name).read_text().splitlines()

    assert [line for line in lines if "://" in line or line.startswith("-")] == []


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_a_hash(name: str):
    text = (ROOT / "requirements" / name).read_text().replace("\\\n", "")
    pins = [line for line in text.splitlines() if re.match(r"[a-z0-9]", line)]

    assert pins
    assert [pin for pin in pins if "--hash=sha256:" not in pin] == []


def test_the_lock_holds_every_dependency_that_pyproject_names():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())

    def names(requirements: list[str]) -> set[str]:
        found = (re.match(r"[A-Za-z0-9._-]+", requirement) for requirement in requirements)
        return {re.sub(r"[-_.]+", "-", name.group().lower()) for name in found if name}

    def locked(name: str) -> set[str]:
        return set(
            re.findall(r"^([a-z0-9-]+)(?:\[[^]]*\])?==", (ROOT / "requirements" / name).read_text(), re.MULTILINE)
        )

    run = names(project["project"]["dependencies"])
    assert run - locked("run.txt") == set()
    assert (run | names(project["dependency-groups"]["dev"])) - locked("dev.txt") == set()


# Written in pieces, so that this file does not find itself.
MACHINE_PATH = re.compile(r"(?<![\w.>/-])/(?:" + "work|root|home|Users" + r")/[\w.-]+")
REGISTRY_HOST = re.compile("|".join([r"pypi\." + "org", r"python" + r"hosted\.org", r"npm" + r"js\.(?:org|com)"]))


def test_no_committed_file_names_a_folder_of_somebodys_machine_or_a_package_registry():
    found = []
    for path in committed():
        try:
            text = path.read_text()
        except UnicodeDecodeError:
            continue
        found += [
            f"{path.relative_to(ROOT)}:{number}: {match.group()}"
            for number, line in enumerate(text.splitlines(), 1)
            for pattern in (MACHINE_PATH, REGISTRY_HOST)
            if (match := pattern.search(line))
        ]

    assert found == []
