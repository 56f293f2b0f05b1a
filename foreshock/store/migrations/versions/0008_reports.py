"""what reports need of situations, and how much came in"""

import sqlalchemy as sa
from alembic import op

from foreshock.store.columns import Instant

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_COLUMNS = (
    ("ticketed_at", Instant, None),
    ("acknowledged_at", Instant, None),
    ("team", lambda: sa.String(length=128), ""),
    ("services", sa.Text, "[]"),
    ("events", sa.BigInteger, "0"),
    ("reopened", sa.Integer, "0"),
    ("acknowledged_in_time", sa.Integer, None),
    ("resolved_in_time", sa.Integer, None),
)


def upgrade() -> None:
    for name, kind, default in _COLUMNS:
        op.add_column("situation", sa.Column(name, kind(), nullable=default is None, server_default=default))
    op.create_index("ix_situation_opened_at", "situation", ["opened_at"], unique=False)
    op.create_table(
        "tally",
        sa.Column("hour", Instant(), autoincrement=False, nullable=False),
        sa.Column("name", sa.String(length=32), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("hour", "name", name=op.f("pk_tally")),
    )


def downgrade() -> None:
    op.drop_table("tally")
    op.drop_index("ix_situation_opened_at", "situation")
    with op.batch_alter_table("situation", schema=None) as batch_op:
        for name, _, _ in _COLUMNS:
            batch_op.drop_column(name)
