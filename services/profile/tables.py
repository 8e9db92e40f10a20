"""The schema `profile`."""

from sqlalchemy import BigInteger, Boolean, Column, LargeBinary, MetaData, SmallInteger, Table, Text, Uuid

METADATA = MetaData(schema="profile")

PROFILES = Table(
    "profiles",
    METADATA,
    Column("profile_id", Uuid, primary_key=True),
    Column("revision", BigInteger, nullable=False),
    # Absorbed: all that it was stands under this id.
    Column("merged_into", Uuid),
    # The domain's Profile in msgpack.
    Column("state", LargeBinary, nullable=False),
)

IDENTITIES = Table(
    "identities",
    METADATA,
    Column("identifier", Text, primary_key=True),
    # Null: seen under two user ids, it joins nobody.
    Column("profile_id", Uuid),
)

HISTORY = Table(
    "history",
    METADATA,
    Column("profile_id", Uuid, primary_key=True),
    Column("revision", BigInteger, primary_key=True),
    Column("moved", Boolean, nullable=False),
    # Whose step it was before a merge.
    Column("origin", Uuid),
    # A ProfileUpdated without profile id and revision.
    Column("body", LargeBinary, nullable=False),
)

# Hash-partitioned: the ids are random, and the oldest are found by a BRIN index of the days.
EVENT_IDS = Table(
    "event_ids",
    METADATA,
    Column("event_id", Uuid, primary_key=True),
    # Days since 1970: remembered for 35 days.
    Column("day", SmallInteger, nullable=False),
)
