"""The log's tables in a service's database: the first service to start creates them for all."""

from pathlib import Path

from libs.database.schemas import SHARED_OWNER, Schema

SCHEMA = Schema("event_log", Path(__file__).parent / "migrations", SHARED_OWNER)
