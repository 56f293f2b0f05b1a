"""the CMDB store"""

import sqlalchemy as sa
from alembic import op

from foreshock.store.columns import Instant

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "cmdb_ci",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("begin", sa.Integer(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=True),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_cmdb_ci")),
        sa.UniqueConstraint("id", name=op.f("uq_cmdb_ci_id")),
    )
    op.create_table(
        "cmdb_ci_past",
        sa.Column("end", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("ci", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("begin", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("end", "ci", name=op.f("pk_cmdb_ci_past")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "cmdb_conflict",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("ci", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_cmdb_conflict")),
    )
    op.create_index("ix_cmdb_conflict_ci", "cmdb_conflict", ["ci"], unique=False)
    op.create_table(
        "cmdb_flaw",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("source", sa.Integer(), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("error", sa.Text(), nullable=False),
        sa.Column("payload", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_cmdb_flaw")),
    )
    op.create_index("ix_cmdb_flaw_source_number", "cmdb_flaw", ["source", "number"], unique=False)
    op.create_table(
        "cmdb_item",
        sa.Column("key", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("source", sa.Integer(), nullable=False),
        sa.Column("digest", sa.BigInteger(), nullable=False),
        sa.Column("since", Instant(), nullable=False),
        sa.Column("ci", sa.Integer(), nullable=True),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_cmdb_item")),
    )
    op.create_index("ix_cmdb_item_ci", "cmdb_item", ["ci"], unique=False)
    op.create_index("ix_cmdb_item_source", "cmdb_item", ["source"], unique=False)
    op.create_table(
        "cmdb_known_by",
        sa.Column("key", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("item", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.PrimaryKeyConstraint("key", "item", name=op.f("pk_cmdb_known_by")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "cmdb_meta",
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_cmdb_meta")),
    )
    op.create_table(
        "cmdb_page",
        sa.Column("reading", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("reading", "number", name=op.f("pk_cmdb_page")),
    )
    op.create_table(
        "cmdb_reading",
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False),
        sa.Column("source", sa.Integer(), nullable=False),
        sa.Column("full", sa.Boolean(), nullable=False),
        sa.Column("asked", sa.String(length=64), nullable=False),
        sa.Column("began_at", Instant(), nullable=False),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.Column("outcome", sa.String(length=16), server_default="", nullable=False),
        sa.Column("mark", sa.Text(), server_default="", nullable=False),
        sa.Column("cursor", sa.Text(), server_default="", nullable=False),
        sa.Column("pages", sa.Integer(), server_default="0", nullable=False),
        sa.Column("version", sa.Integer(), nullable=True),
        sa.Column("error", sa.Text(), server_default="", nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_cmdb_reading")),
    )
    op.create_index("ix_cmdb_reading_source_number", "cmdb_reading", ["source", "number"], unique=False)
    op.create_table(
        "cmdb_relationship",
        sa.Column("source", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("type", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("target", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("begin", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("source", "type", "target", name=op.f("pk_cmdb_relationship")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_cmdb_relationship_target", "cmdb_relationship", ["target"], unique=False)
    op.create_table(
        "cmdb_relationship_past",
        sa.Column("end", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("source", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("type", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("target", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("begin", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("end", "source", "type", "target", name=op.f("pk_cmdb_relationship_past")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "cmdb_source",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("kind", sa.String(length=64), server_default="", nullable=False),
        sa.Column("asked", sa.String(length=64), server_default="", nullable=False),
        sa.Column("mark", sa.Text(), server_default="", nullable=False),
        sa.Column("succeeded_at", Instant(), nullable=True),
        sa.Column("full_at", Instant(), nullable=True),
        sa.Column("holder", sa.Text(), server_default="", nullable=False),
        sa.Column("fence", sa.Integer(), server_default="0", nullable=False),
        sa.Column("held_until", Instant(), nullable=True),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_cmdb_source")),
        sa.UniqueConstraint("name", name=op.f("uq_cmdb_source_name")),
    )
    op.create_table(
        "cmdb_tie",
        sa.Column("key", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), autoincrement=False, nullable=False),
        sa.Column("by", sa.Integer(), nullable=False),
        sa.Column("source", sa.BigInteger(), nullable=False),
        sa.Column("type", sa.SmallInteger(), nullable=False),
        sa.Column("target", sa.BigInteger(), nullable=False),
        sa.Column("class_name", sa.SmallInteger(), nullable=False),
        sa.Column("since", Instant(), nullable=False),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_cmdb_tie")),
    )
    op.create_index("ix_cmdb_tie_source", "cmdb_tie", ["source"], unique=False)
    op.create_index("ix_cmdb_tie_target", "cmdb_tie", ["target"], unique=False)
    op.create_table(
        "cmdb_version",
        sa.Column("number", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("at", Instant(), nullable=False),
        sa.Column("content", sa.BigInteger(), nullable=False),
        sa.Column("cis", sa.Integer(), nullable=False),
        sa.Column("relationships", sa.Integer(), nullable=False),
        sa.Column("source", sa.Integer(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_cmdb_version")),
    )
    op.create_index("ix_cmdb_version_at", "cmdb_version", ["at"], unique=False)
    op.create_index("ix_cmdb_version_name", "cmdb_version", ["name"], unique=False)
    op.create_table(
        "cmdb_word",
        sa.Column("number", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("text", sa.String(length=512), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_cmdb_word")),
        sa.UniqueConstraint("text", name=op.f("uq_cmdb_word_text")),
    )


def downgrade() -> None:
    op.drop_table("cmdb_word")
    op.drop_index("ix_cmdb_version_name", table_name="cmdb_version")
    op.drop_index("ix_cmdb_version_at", table_name="cmdb_version")
    op.drop_table("cmdb_version")
    op.drop_index("ix_cmdb_tie_target", table_name="cmdb_tie")
    op.drop_index("ix_cmdb_tie_source", table_name="cmdb_tie")
    op.drop_table("cmdb_tie")
    op.drop_table("cmdb_source")
    op.drop_table("cmdb_relationship_past")
    op.drop_index("ix_cmdb_relationship_target", table_name="cmdb_relationship")
    op.drop_table("cmdb_relationship")
    op.drop_index("ix_cmdb_reading_source_number", table_name="cmdb_reading")
    op.drop_table("cmdb_reading")
    op.drop_table("cmdb_page")
    op.drop_table("cmdb_meta")
    op.drop_table("cmdb_known_by")
    op.drop_index("ix_cmdb_item_source", table_name="cmdb_item")
    op.drop_index("ix_cmdb_item_ci", table_name="cmdb_item")
    op.drop_table("cmdb_item")
    op.drop_index("ix_cmdb_flaw_source_number", table_name="cmdb_flaw")
    op.drop_table("cmdb_flaw")
    op.drop_index("ix_cmdb_conflict_ci", table_name="cmdb_conflict")
    op.drop_table("cmdb_conflict")
    op.drop_table("cmdb_ci_past")
    op.drop_table("cmdb_ci")
