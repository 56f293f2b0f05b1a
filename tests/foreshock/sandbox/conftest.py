import subprocess

import pytest

from foreshock.sandbox.server import SandboxServer
from foreshock.sandbox.system import simulators
from foreshock.testing.tickets import SteppedClock


@pytest.fixture
def clock():
    return SteppedClock()


@pytest.fixture
def system(request, clock):
    """The stand-in that the test file is named after."""
    return simulators()[request.path.stem.removeprefix("test_")].build(clock, 1)


@pytest.fixture
def server(system, clock):
    with SandboxServer(system, clock=clock) as running:
        yield running
    assert running.failures == []


@pytest.fixture
def certificate(require, tmp_path):
    require("openssl")
    path = tmp_path / "server.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=loopback"
    names = ["-addext", "subjectAltName=IP:127.0.0.1", "-keyout", str(path), "-out", str(path)]
    subprocess.run([*command.split(), *names], check=True, capture_output=True)
    return path
