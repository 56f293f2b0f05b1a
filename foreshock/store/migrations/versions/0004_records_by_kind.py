"""records that put something in force are found without reading all of them"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_RARE = sa.text("kind NOT IN ('events', 'tick')")


def upgrade() -> None:
    op.create_index("ix_inbox_kind", "inbox", ["kind", "number"], sqlite_where=_RARE, postgresql_where=_RARE)


def downgrade() -> None:
    op.drop_index("ix_inbox_kind", "inbox")
