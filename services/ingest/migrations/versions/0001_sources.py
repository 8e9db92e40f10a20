"""Sources with their keys and versions, rejected events, and imports."""

from alembic import op

from libs.operations import sql as operations
from services.ingest.rejections import sql as rejections
from services.ingest.sources import sql as sources

revision = "0001"
down_revision = None


def upgrade() -> None:
    for statement in (*sources.STATEMENTS, *rejections.STATEMENTS, *operations.statements("ingest")):
        op.execute(statement)


def downgrade() -> None:
    for table in (operations.table("ingest"), *rejections.TABLES, *reversed(sources.TABLES)):
        op.execute(f"drop table {table.table}")
