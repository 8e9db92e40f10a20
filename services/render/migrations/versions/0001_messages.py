"""Templates, campaigns and messages."""

from alembic import op

from services.render.campaigns import sql as campaigns
from services.render.delivery import sql as messages
from services.render.library import sql as library

revision = "0001"
down_revision = None

_METADATA = (library.METADATA, campaigns.METADATA, messages.METADATA)


def upgrade() -> None:
    for metadata in _METADATA:
        metadata.create_all(op.get_bind())
    op.execute(campaigns.FOREIGN_KEY)


def downgrade() -> None:
    for metadata in reversed(_METADATA):
        metadata.drop_all(op.get_bind())
