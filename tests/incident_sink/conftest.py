import pytest

from foreshock.store.store import Store
from foreshock.store.tables import metadata


@pytest.fixture
def store(tmp_path):
    opened = Store(f"sqlite:///{tmp_path}/foreshock.db")
    metadata.create_all(opened.migration_engine)
    yield opened
    opened.close()
