"""The schema in the scripts is the schema in the code, on each database."""

from pathlib import Path

import msgspec
import pytest
import zstandard
from alembic import command
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


def test_saved_state_of_an_older_schema_is_kept(empty: Store):
    items = [("alert", f"{number:03}", b"body") for number in range(300)]
    with empty.migration_engine.begin() as connection:
        config = migrations._config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        connection.execute(text("INSERT INTO engine (partition, position, checkpoint) VALUES (0, 9, 7)"))
        row = text("INSERT INTO checkpoint_item (kind, key, body) VALUES (:kind, :key, :body)")
        connection.execute(row, [{"kind": kind, "key": key, "body": body} for kind, key, body in items])

    migrations.upgrade(empty.migration_engine)

    unpack = zstandard.ZstdDecompressor().decompress
    kept = [tuple(item) for _, body in empty.journal.blocks() for item in msgspec.msgpack.decode(unpack(body))]
    assert sorted(kept) == items
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
