"""The schema `ingest`."""

from sqlalchemy import BigInteger, Boolean, Column, Identity, Index, LargeBinary, MetaData, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

METADATA = MetaData(schema="ingest")

SOURCES = Table(
    "sources",
    METADATA,
    Column("source_id", Text, primary_key=True),
    Column("trusted", Boolean, nullable=False),
    Column("write_key", Text, nullable=False, unique=True),
    Column("default_consent", JSONB, nullable=False),
)

REJECTIONS = Table(
    "rejections",
    METADATA,
    Column("rejection_id", BigInteger, Identity(always=True), primary_key=True),
    Column("source_id", Text, nullable=False),
    # Microseconds since 1970.
    Column("received", BigInteger, nullable=False),
    Column("field", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("rejections_of_source", "source_id", "rejection_id"),
)
