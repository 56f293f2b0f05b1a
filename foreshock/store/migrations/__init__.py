"""Schema versions, through alembic. ``upgrade`` brings a database to this program's version, ``check`` says whether it
is there."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Engine

    from foreshock.store.journal import Journal

HEAD = "0009"
"""The revision this program works with; a test holds it against the scripts."""


def upgrade_journal(journal: "Journal") -> bool:
    """The same as ``upgrade`` for a start: where there is nothing to do, neither alembic nor SQLAlchemy is imported."""
    if journal.revision() == HEAD:
        return False
    from foreshock.store.store import Store

    store = Store(journal.url)
    try:
        return upgrade(store.migration_engine)
    finally:
        store.close()


def current(engine: "Engine") -> str:
    """The database's revision; empty for an empty database. Does not import alembic, so a start stays quick."""
    from sqlalchemy import inspect, text

    with engine.connect() as connection:
        if not inspect(connection).has_table("alembic_version"):
            return ""
        return str(connection.execute(text("SELECT version_num FROM alembic_version")).scalar() or "")


def upgrade(engine: "Engine") -> bool:
    """Bring the schema to HEAD; true if anything was done. Safe to repeat."""
    if current(engine) == HEAD:
        return False
    from alembic import command

    with engine.begin() as connection:
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, HEAD)
    return True


def differences(engine: "Engine") -> list[str]:
    """What the tables in the database have that ``tables.py`` has not, and the other way round; empty when they
    agree."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    from foreshock.store.tables import metadata

    def ours(name: str | None, kind: str, parent: object) -> bool:
        return kind != "table" or name is None or not name.startswith("cmdb_")  # the CMDB store may be beside this one

    with engine.connect() as connection:
        opts = {"compare_type": False, "include_name": ours}
        context = MigrationContext.configure(connection, opts=opts)
        return [str(difference) for difference in compare_metadata(context, metadata)]


def _config() -> "Config":
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config
