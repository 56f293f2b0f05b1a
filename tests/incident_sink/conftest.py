from contextlib import ExitStack, contextmanager

import pytest

from foreshock.store.store import Store
from foreshock.store.tables import metadata
from foreshock.testing.sinks import STAGED, staged
from foreshock.testing.ticket_servers import TICKET_SERVERS, staged_before


@pytest.fixture
def store(tmp_path):
    opened = Store(f"sqlite:///{tmp_path}/foreshock.db")
    metadata.create_all(opened.migration_engine)
    yield opened
    opened.close()


@pytest.fixture(scope="session")
def ticket_server(require):
    """``ticket_server("request_tracker")`` is the real one, started once; without its programs the test is skipped."""
    running = {}

    def of(kind):
        if kind not in running:
            require(*TICKET_SERVERS[kind].programs())
            running[kind] = servers.enter_context(TICKET_SERVERS[kind]())
        return running[kind]

    with ExitStack() as servers:
        yield of


@pytest.fixture
def staged_kind(ticket_server, tmp_path):
    """``staged_kind(kind)``: the kind before its stand-in, or before the real system."""

    @contextmanager
    def of(kind, **options):
        if kind in STAGED:
            opened = staged(STAGED[kind], tmp_path, **options)
        else:
            opened = staged_before(ticket_server(kind), tmp_path, **options)
        with opened as stage:
            yield stage

    return of


@pytest.fixture
def stage(request, staged_kind):
    """The kind that the test file is named after."""
    with staged_kind(request.path.stem.removeprefix("test_")) as made:
        yield made
