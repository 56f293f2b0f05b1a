"""The schema in the scripts is the schema in the code, on each database."""

from pathlib import Path

import pytest
from sqlalchemy import text

from foreshock.store import migrations
from foreshock.store.store import Store


@pytest.fixture(params=["sqlite", "postgresql"])
def empty(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "sqlite":
        return Store(f"sqlite:///{tmp_path}/foreshock.db")
    return Store(request.getfixturevalue("postgresql_database"))


def test_an_upgrade_of_an_empty_database_gives_the_tables_of_the_code(empty: Store):
    assert migrations.current(empty.migration_engine) == ""

    assert migrations.upgrade(empty.migration_engine)

    assert migrations.current(empty.migration_engine) == migrations.HEAD
    assert migrations.differences(empty.migration_engine) == []
    empty.close()


def test_an_upgrade_can_be_repeated(empty: Store):
    migrations.upgrade(empty.migration_engine)

    assert not migrations.upgrade(empty.migration_engine)
    empty.close()


def test_a_missing_column_is_told(empty: Store):
    migrations.upgrade(empty.migration_engine)
    with empty.write() as connection:
        connection.execute(text("ALTER TABLE job_run DROP COLUMN error"))

    assert any(
        "job_run" in difference and "error" in difference
        for difference in migrations.differences(empty.migration_engine)
    )
    empty.close()


def test_the_program_works_with_the_newest_script():
    scripts = Path(migrations.__file__).parent / "versions"

    assert max(path.name.partition("_")[0] for path in scripts.glob("[0-9]*.py")) == migrations.HEAD
