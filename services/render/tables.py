"""The schema `render`. Times are microseconds since 1970."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
    text,
)

METADATA = MetaData(schema="render")

TEMPLATES = Table(
    "templates",
    METADATA,
    Column("template_id", Text, primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("subject", Text, nullable=False),
    Column("preheader", Text, nullable=False),
    Column("html", Text, nullable=False),
    Column("text", Text, nullable=False),
    Column("created", BigInteger, nullable=False),
)

CAMPAIGNS = Table(
    "campaigns",
    METADATA,
    Column("campaign_id", Text, primary_key=True),
    Column("display_name", Text, nullable=False),
    Column("start", SmallInteger, nullable=False),
    Column("definition_id", Text, nullable=False),
    Column("template_id", Text, nullable=False),
    Column("sender", Text, nullable=False),
    Column("reply_to", Text, nullable=False),
    Column("stream", SmallInteger, nullable=False),
    Column("max_age_seconds", Integer, nullable=False),
    Column("expire_after_seconds", Integer, nullable=False),
    Column("recommendations", Integer, nullable=False),
    Column("paused", Boolean, nullable=False),
)

# Every decision, also those that sent nothing. The states are the contract's DeliveryState.
_WAITING = text("delivery_state in (1, 2)")
MESSAGES = Table(
    "messages",
    METADATA,
    # Follows from the campaign and the cause.
    Column("message_id", Uuid, primary_key=True),
    Column("number", BigInteger, Identity(always=True), nullable=False),
    Column("campaign_id", Text, nullable=False),
    Column("cause_id", LargeBinary, nullable=False),
    Column("profile_id", Uuid, nullable=False),
    Column("outcome", SmallInteger, nullable=False),
    Column("stream", SmallInteger, nullable=False),
    Column("address", Text, nullable=False),
    # Why it was not rendered, withdrawn, or not delivered.
    Column("reason", Text, nullable=False),
    # The contract's Message as it was decided.
    Column("body", LargeBinary, nullable=False),
    Column("expire_time", BigInteger, nullable=False),
    Column("delivery_state", SmallInteger, nullable=False),
    # From when on it may be leased: at once, after a lease's end, after a pause.
    Column("due_time", BigInteger, nullable=False),
    Column("lease_id", Uuid),
    # The stream that the lease was given to.
    Column("holder", Uuid),
    Column("attempts", Integer, nullable=False, server_default="0"),
    # An effect is named by its cause.
    UniqueConstraint("campaign_id", "cause_id", name="messages_of_cause"),
    Index("messages_by_number", "number"),
    Index("messages_of_campaign", "campaign_id", "number"),
    Index("messages_of_profile", "profile_id", "number"),
    Index("messages_due", "due_time", postgresql_where=_WAITING),
    Index("messages_expiring", "expire_time", postgresql_where=_WAITING),
    Index("messages_held", "holder", postgresql_where=text("delivery_state = 2")),
)
