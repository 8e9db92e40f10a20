"""Sources with their keys and versions, and rejected events."""

from alembic import op

from services.ingest.rejections import sql as rejections
from services.ingest.sources import sql as sources

revision = "0001"
down_revision = None


def upgrade() -> None:
    for statement in (*sources.STATEMENTS, *rejections.STATEMENTS):
        op.execute(statement)


def downgrade() -> None:
    for table in (*rejections.TABLES, *reversed(sources.TABLES)):
        op.execute(f"drop table {table.table}")
