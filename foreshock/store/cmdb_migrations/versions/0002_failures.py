"""how often in a row a source failed, and whether it refuses our credentials"""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("cmdb_source", sa.Column("failures", sa.Integer(), server_default="0", nullable=False))
    op.add_column("cmdb_source", sa.Column("denied", sa.Boolean(), server_default=sa.false(), nullable=False))


def downgrade() -> None:
    op.drop_column("cmdb_source", "denied")
    op.drop_column("cmdb_source", "failures")
