"""Messages in PostgreSQL: the decisions, what they say, and the queue of those that wait."""

from services.render.delivery.sql.tables import METADATA, TABLES

__all__ = ["METADATA", "TABLES"]
