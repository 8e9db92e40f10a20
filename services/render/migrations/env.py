"""Alembic's entry point: the connection is configured by libs.database.migrations."""

from alembic import context

with context.begin_transaction():
    context.run_migrations()
