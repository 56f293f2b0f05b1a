"""saved state in blocks"""

import msgspec
import sqlalchemy as sa
import zstandard
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

_BLOCK_ITEMS = 256


def upgrade() -> None:
    op.create_table(
        "checkpoint_block",
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("position", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_checkpoint_block")),
    )
    connection = op.get_bind()
    position = connection.execute(sa.text("SELECT checkpoint FROM engine")).scalar()
    items = connection.execute(sa.text("SELECT kind, key, body FROM checkpoint_item ORDER BY kind, key"))
    compress = zstandard.ZstdCompressor(level=1, write_content_size=True).compress
    for number, rows in enumerate(items.partitions(_BLOCK_ITEMS), 1):
        body = compress(msgspec.msgpack.encode([(kind, key, bytes(item)) for kind, key, item in rows]))
        insert = sa.text("INSERT INTO checkpoint_block (number, position, body) VALUES (:number, :position, :body)")
        connection.execute(insert, {"number": number, "position": position, "body": body})
    op.drop_table("checkpoint_item")


def downgrade() -> None:
    op.create_table(
        "checkpoint_item",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("key", sa.String(length=128), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "key", name=op.f("pk_checkpoint_item")),
    )
    op.drop_table("checkpoint_block")
