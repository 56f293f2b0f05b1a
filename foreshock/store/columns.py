"""Types of columns, and names of keys, that all tables share.

Apart from ``tables``, whose indexes have SQLAlchemy load all it knows of PostgreSQL: a sync of a CMDB starts without.
"""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Dialect, Integer, TypeDecorator

from foreshock.store.moments import from_micros, to_micros


class Instant(TypeDecorator[datetime]):
    """An aware UTC time as microseconds since 1970: SQLite has no type for it, and integers compare the same
    everywhere."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> Any:
        return None if value is None else to_micros(value)

    def process_result_value(self, value: Any, dialect: Dialect) -> datetime | None:
        return None if value is None else from_micros(value)


# SQLite gives a row its number by itself only where the key is spelt INTEGER.
Serial = BigInteger().with_variant(Integer(), "sqlite")

NAMING = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
"""Names of indexes and keys, the same on each database."""
