"""PostgreSQL: connections, transactions, migrations, and the embedded server."""

from libs.database.connection import Connection, Database, open_connection, open_database, probe
from libs.database.failures import is_record_fault, is_transient
from libs.database.schemas import Schema, prepare_schemas

__all__ = [
    "Connection",
    "Database",
    "Schema",
    "is_record_fault",
    "is_transient",
    "open_connection",
    "open_database",
    "prepare_schemas",
    "probe",
]
