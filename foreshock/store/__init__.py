"""The only SQL: tables, migrations, and the contracts of core that need them. SQLite embedded, PostgreSQL beyond one
machine."""
