"""The wheel works away from the checkout: installed, with its configuration, from another folder."""

import os
import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def run(*command: object, cwd: Path) -> str:
    environment = {name: value for name, value in os.environ.items() if name not in {"PYTHONPATH", "VIRTUAL_ENV"}}
    done = subprocess.run([str(part) for part in command], cwd=cwd, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, f"{command} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder, ROOT, cwd=folder)
    (built,) = folder.glob("foreshock-*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A virtualenv with the wheel, and with the dependencies of the one that runs the tests."""
    venv = tmp_path_factory.mktemp("installed") / "venv"
    run(sys.executable, "-m", "venv", "--without-pip", venv, cwd=venv.parent)
    (site_packages,) = venv.glob("lib/python3*/site-packages")
    # A path that a .pth file adds has its own .pth files ignored: the editable checkout stays out of reach.
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    uv = Path(sys.executable).with_name("uv")
    python = venv / "bin" / "python"
    run(uv, "pip", "install", "--quiet", "--offline", "--no-deps", "--python", python, wheel, cwd=venv.parent)
    return venv


def test_the_wheel_carries_every_configuration_file_and_nothing_that_is_only_for_the_checkout(wheel: Path):
    names = set(zipfile.ZipFile(wheel).namelist())
    wanted = {f"foreshock/{path.relative_to(ROOT)}" for path in (ROOT / "config").rglob("*") if path.is_file()}

    assert wanted
    assert wanted - names == set()
    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {
        "foreshock", "collectors", "correlation", "predictor", "incident_sink", "cmdb_sync",
    }  # fmt: skip


def test_an_installed_wheel_is_used_instead_of_the_checkout(installed: Path, tmp_path: Path):
    where = run(installed / "bin" / "python", "-c", "import foreshock; print(foreshock.__file__)", cwd=tmp_path)

    assert Path(where.strip()).is_relative_to(installed)


def test_an_installed_foreshock_starts_from_any_folder(installed: Path, tmp_path: Path):
    assert "Usage" in run(installed / "bin" / "foreshock", "--help", cwd=tmp_path)
