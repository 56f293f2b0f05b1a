"""A store on each database, with its tables."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from foreshock.store import migrations
from foreshock.store.store import Store


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Store]:
    if request.param == "sqlite":
        url = f"sqlite:///{tmp_path}/foreshock.db"
    else:
        url = request.getfixturevalue("postgresql_database")
    opened = Store(url)
    migrations.upgrade(opened.migration_engine)
    yield opened
    opened.close()
