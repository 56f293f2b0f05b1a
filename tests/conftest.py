"""Fixtures that more than one folder of tests uses."""

from __future__ import annotations

import itertools
import os
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

from foreshock.testing import outage
from foreshock.testing.servers import PostgreSQL, apt_line, missing

# No deadline anywhere: two busy cores say nothing about the code. CI draws the same examples each time, so
# that a red run can be repeated; a developer's machine keeps looking for new ones.
settings.register_profile("ci", derandomize=True, deadline=None, print_blob=True)
settings.register_profile("dev", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("ci" if os.environ.get("CI") == "true" else "dev")

# gRPC, once it is loaded, has its own say in each fork, and children of ours then died before their exec.
os.environ["GRPC_ENABLE_FORK_SUPPORT"] = "false"

_numbers = itertools.count(1)


def _require(*programs: str) -> None:
    absent = missing(*programs)
    if not absent:
        return
    reason = f"{', '.join(absent)} not installed; run: {apt_line(absent)}"
    if os.environ.get("CI") == "true":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


@pytest.fixture(scope="session")
def require() -> Callable[..., None]:
    """``require("prometheus", "promtool")`` skips the test where a program is missing, and fails it in CI."""
    return _require


@pytest.fixture(scope="session")
def certificate(require: Callable[..., None], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for 127.0.0.1 that signed itself, with its key in the same file."""
    require("openssl")
    path = tmp_path_factory.mktemp("certificate") / "server.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=loopback"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path), "-out", str(path)]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    return path


@pytest.fixture(scope="session")
def recorded_outage() -> bytes:
    """What a capture of the demo holds."""
    return outage.recorded_outage()


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """One PostgreSQL for the whole run; ``.url`` is SQLAlchemy's (``postgresql+psycopg://...``)."""
    _require("postgres", "initdb")
    with PostgreSQL() as server:
        yield server


@pytest.fixture
def postgresql_database(postgresql: PostgreSQL) -> Iterator[str]:
    """The URL of an empty database that this test has for itself."""
    name = f"test_{next(_numbers)}"
    yield postgresql.create_database(name)
    postgresql.drop_database(name)
