"""The tables of the CMDB store, the same on SQLite and PostgreSQL. A change here goes with a migration in
``cmdb_migrations/versions``.

What is said is kept apart from what it means: ``item`` and ``tie`` hold what each source says now, ``ci`` and
``relationship`` the graph that comes of it, and the two ``past`` tables what that was before. Nothing repeats a text
that a number can stand for: a hundred thousand CIs that change a hundredth a day are small for years.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    false,
)

from foreshock.store.columns import NAMING, Instant, Serial

metadata = MetaData(naming_convention=NAMING)

meta = Table("cmdb_meta", metadata, Column("key", String(64), primary_key=True), Column("value", Text, nullable=False))

source = Table(
    "cmdb_source",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", String(64), nullable=False, unique=True),
    Column("kind", String(64), nullable=False, server_default=""),
    Column("asked", String(64), nullable=False, server_default=""),  # digest of the settings it was read with
    Column("mark", Text, nullable=False, server_default=""),
    Column("succeeded_at", Instant),
    Column("full_at", Instant),
    Column("holder", Text, nullable=False, server_default=""),
    Column("fence", Integer, nullable=False, server_default="0"),
    Column("held_until", Instant),
    Column("failures", Integer, nullable=False, server_default="0"),  # syncs in a row
    Column("denied", Boolean, nullable=False, server_default=false()),
)

reading = Table(
    "cmdb_reading",
    metadata,
    Column("number", Serial, primary_key=True),
    Column("source", Integer, nullable=False),
    Column("full", Boolean, nullable=False),
    Column("asked", String(64), nullable=False),
    Column("began_at", Instant, nullable=False),
    Column("ended_at", Instant),
    Column("outcome", String(16), nullable=False, server_default=""),  # empty while it goes on
    Column("mark", Text, nullable=False, server_default=""),
    Column("cursor", Text, nullable=False, server_default=""),
    Column("pages", Integer, nullable=False, server_default="0"),
    Column("version", Integer),
    Column("error", Text, nullable=False, server_default=""),
    Column("body", LargeBinary, nullable=False),  # JSON of what was counted
)
Index("ix_cmdb_reading_source_number", reading.c.source, reading.c.number)

page = Table(
    "cmdb_page",
    metadata,
    Column("reading", BigInteger, primary_key=True, autoincrement=False),
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("body", LargeBinary, nullable=False),  # zstd
)

flaw = Table(
    "cmdb_flaw",
    metadata,
    Column("number", Serial, primary_key=True),
    Column("source", Integer, nullable=False),
    Column("at", Instant, nullable=False),
    Column("id", Text, nullable=False),
    Column("error", Text, nullable=False),
    Column("payload", Text, nullable=False),
)
Index("ix_cmdb_flaw_source_number", flaw.c.source, flaw.c.number)

word = Table(
    "cmdb_word",
    metadata,
    Column("number", SmallInteger, primary_key=True, autoincrement=False),
    Column("text", String(512), nullable=False, unique=True),
)

item = Table(
    "cmdb_item",
    metadata,
    Column("key", Serial, primary_key=True, autoincrement=False),  # of source and id
    Column("source", Integer, nullable=False),
    Column("digest", BigInteger, nullable=False),
    Column("since", Instant, nullable=False),
    Column("ci", Integer),
    Column("body", LargeBinary, nullable=False),
)
Index("ix_cmdb_item_source", item.c.source)
Index("ix_cmdb_item_ci", item.c.ci)

known_by = Table(
    "cmdb_known_by",
    metadata,
    Column("key", BigInteger, primary_key=True, autoincrement=False),  # of what two items may share
    Column("item", BigInteger, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

tie = Table(
    "cmdb_tie",
    metadata,
    Column("key", Serial, primary_key=True, autoincrement=False),  # of source and id
    Column("by", Integer, nullable=False),  # which source says so
    Column("source", BigInteger, nullable=False),
    Column("type", SmallInteger, nullable=False),
    Column("target", BigInteger, nullable=False),
    Column("class_name", SmallInteger, nullable=False),
    Column("since", Instant, nullable=False),
)
Index("ix_cmdb_tie_source", tie.c.source)
Index("ix_cmdb_tie_target", tie.c.target)

version = Table(
    "cmdb_version",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("name", String(32), nullable=False),
    Column("at", Instant, nullable=False),
    Column("content", BigInteger, nullable=False),
    Column("cis", Integer, nullable=False),
    Column("relationships", Integer, nullable=False),
    Column("source", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),  # JSON of what was counted
)
Index("ix_cmdb_version_name", version.c.name)
Index("ix_cmdb_version_at", version.c.at)

ci = Table(
    "cmdb_ci",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("id", Text, nullable=False, unique=True),
    Column("begin", Integer),  # version; NULL: it is no part of the topology now
    Column("body", LargeBinary),
)

ci_past = Table(
    "cmdb_ci_past",
    metadata,
    Column("end", Integer, primary_key=True, autoincrement=False),  # the first version it is not in
    Column("ci", Integer, primary_key=True, autoincrement=False),
    Column("begin", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)

relationship = Table(
    "cmdb_relationship",
    metadata,
    Column("source", Integer, primary_key=True, autoincrement=False),
    Column("type", SmallInteger, primary_key=True, autoincrement=False),
    Column("target", Integer, primary_key=True, autoincrement=False),
    Column("begin", Integer, nullable=False),
    sqlite_with_rowid=False,
)
Index("ix_cmdb_relationship_target", relationship.c.target)

relationship_past = Table(
    "cmdb_relationship_past",
    metadata,
    Column("end", Integer, primary_key=True, autoincrement=False),
    Column("source", Integer, primary_key=True, autoincrement=False),
    Column("type", SmallInteger, primary_key=True, autoincrement=False),
    Column("target", Integer, primary_key=True, autoincrement=False),
    Column("begin", Integer, nullable=False),
    sqlite_with_rowid=False,
)

conflict = Table(
    "cmdb_conflict",
    metadata,
    Column("number", Serial, primary_key=True),
    Column("ci", Integer, nullable=False),
    Column("body", LargeBinary, nullable=False),  # JSON
)
Index("ix_cmdb_conflict_ci", conflict.c.ci)
