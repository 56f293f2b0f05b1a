"""what a sink keeps of its records, so that a person's edit is told from our own"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("ticket", sa.Column("kept", sa.Text(), nullable=False, server_default="{}"))


def downgrade() -> None:
    op.drop_column("ticket", "kept")
