"""Run by alembic: migrations in the transaction that ``upgrade`` opened."""

from alembic import context

from foreshock.store.cmdb_migrations import VERSION_TABLE
from foreshock.store.cmdb_tables import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    render_as_batch=True,
    version_table=VERSION_TABLE,
)
with context.begin_transaction():
    context.run_migrations()
