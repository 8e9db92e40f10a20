"""Brings the log's tables into a service's database."""

from pathlib import Path

from libs.database import migrate
from libs.database.migrations import SHARED_OWNER

_MIGRATIONS = Path(__file__).parent / "migrations"


async def migrate_log(url: str) -> None:
    """Create or upgrade the schema `event_log`; the first service to start does it for all."""
    await migrate(url, _MIGRATIONS, "event_log", owner=SHARED_OWNER)
