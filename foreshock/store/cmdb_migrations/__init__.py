"""Schema versions of the CMDB store, through alembic. They stand in a table of their own, because the main store
may be in the same database."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Engine

HEAD = "0002"
"""The revision this program works with; a test holds it against the scripts."""
VERSION_TABLE = "cmdb_schema"


def current(engine: "Engine") -> str:
    """The database's revision; empty for one without our tables."""
    from sqlalchemy import inspect, text

    with engine.connect() as connection:
        if not inspect(connection).has_table(VERSION_TABLE):
            return ""
        query = f"SELECT version_num FROM {VERSION_TABLE}"  # noqa: S608 (our own name)
        return str(connection.execute(text(query)).scalar() or "")


def upgrade(engine: "Engine") -> bool:
    """Bring the schema to HEAD; true if anything was done. An empty one is made as it should be, without alembic: that
    takes longer to import than a small installation to start."""
    found = current(engine)
    if found == HEAD:
        return False
    if not found:
        _make(engine)
        return True
    from alembic import command

    with engine.begin() as connection:
        given = config()
        given.attributes["connection"] = connection
        command.upgrade(given, HEAD)
    return True


def config() -> "Config":
    from alembic.config import Config

    found = Config()
    found.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    found.set_main_option("path_separator", "os")
    return found


def _make(engine: "Engine") -> None:
    from sqlalchemy import Column, MetaData, String, Table, insert

    from foreshock.store.cmdb_tables import metadata

    revision = Table(VERSION_TABLE, MetaData(), Column("version_num", String(32), primary_key=True))
    with engine.begin() as connection:
        metadata.create_all(connection)
        revision.create(connection)
        connection.execute(insert(revision).values(version_num=HEAD))
