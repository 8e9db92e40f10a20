"""PostgreSQL: connections, transactions, migrations, and the embedded server."""

from libs.database.connection import Connection, Database, open_connection, open_database
from libs.database.failures import is_record_fault, is_transient
from libs.database.migrations import migrate

__all__ = [
    "Connection",
    "Database",
    "is_record_fault",
    "is_transient",
    "migrate",
    "open_connection",
    "open_database",
]
