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
