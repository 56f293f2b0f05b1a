"""Python clients that others wrote, each in a virtual environment of its own: they judge our stand-ins, and their old
pins stay out of our lock."""

from __future__ import annotations

import fcntl
import hashlib
import os
import subprocess
import sys
from pathlib import Path

import pytest

_TIMEOUT_S = 600
"""For the largest: half a gigabyte from a slow index."""


def python_with(*requirements: str) -> Path:
    """The interpreter of an environment with these packages (``pysnc==1.2.1``), made once and kept in the user's cache.

    Skips the test where they cannot be installed; with ``CI=true`` it fails instead.
    """
    name = hashlib.sha256(" ".join((sys.version, *requirements)).encode()).hexdigest()[:16]
    folder = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "foreshock-test-clients"
    folder.mkdir(parents=True, exist_ok=True)
    python, done = folder / name / "bin" / "python", folder / name / "complete"
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            _install(folder / name, python, requirements)
            done.touch()
    return python


def _install(folder: Path, python: Path, requirements: tuple[str, ...]) -> None:
    try:
        subprocess.run([sys.executable, "-m", "venv", "--clear", str(folder)], check=True, capture_output=True)
        pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *requirements]
        subprocess.run(pip, check=True, capture_output=True, timeout=_TIMEOUT_S)
    except (subprocess.SubprocessError, OSError) as error:
        said = getattr(error, "stderr", b"") or str(error).encode()
        message = f"{', '.join(requirements)} cannot be installed: {said.decode(errors='replace')[-500:]}"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)


def drive(python: Path, script: str, *arguments: str) -> list[str]:
    """Run a script with a client; the lines it printed. Fails with what it complained of."""
    command = [str(python), "-W", "ignore", "-c", script, *arguments]
    # A bundle or proxy of this machine would come before the certificate that the test names.
    settings = {name: value for name, value in os.environ.items() if not name.lower().endswith(("_bundle", "_proxy"))}
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=60, env=settings)
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout.splitlines()
