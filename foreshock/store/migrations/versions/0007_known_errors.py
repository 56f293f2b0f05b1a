"""what people know of a problem on the desk"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("desk_record", sa.Column("known_error", sa.Text(), nullable=False, server_default=""))


def downgrade() -> None:
    op.drop_column("desk_record", "known_error")
