"""the ledger of forecasts"""

import sqlalchemy as sa
from alembic import op

from foreshock.store.columns import Instant

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "forecast",
        sa.Column("id", sa.String(length=32), nullable=False),
        sa.Column("model", sa.Text(), nullable=False),
        sa.Column("ci", sa.Text(), nullable=False),
        sa.Column("about", sa.Text(), nullable=False),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("services", sa.Text(), nullable=False),
        sa.Column("team", sa.String(length=128), nullable=False),
        sa.Column("heard_at", Instant(), nullable=False),
        sa.Column("until", Instant(), nullable=False),
        sa.Column("probability", sa.Double(), nullable=False),
        sa.Column("horizon_h", sa.Double(), nullable=False),
        sa.Column("lead_time_h", sa.Double(), nullable=False),
        sa.Column("problem", sa.String(length=32), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("ended_at", Instant(), nullable=True),
        sa.Column("situation", sa.String(length=32), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_forecast")),
    )
    op.create_index("ix_forecast_heard_at", "forecast", ["heard_at"], unique=False)


def downgrade() -> None:
    op.drop_table("forecast")
