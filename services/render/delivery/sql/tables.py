"""The tables of messages. Times are microseconds since 1970."""

from datetime import timedelta

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

from libs.database.tables import Age, Erased, Kept

METADATA = MetaData(schema="render")

# Every decision, also those that sent nothing. The states are the contract's DeliveryState.
_WAITING = text("delivery_state in (1, 2)")
MESSAGES = Table(
    "messages",
    METADATA,
    # Follows from the campaign and the cause.
    Column("message_id", Uuid, primary_key=True),
    Column("number", BigInteger, Identity(always=True), nullable=False),
    Column("idempotency_key", Text, nullable=False),
    Column("profile_id", Uuid, nullable=False),
    Column("address", Text, nullable=False),
    Column("sender", Text, nullable=False),
    Column("reply_to", Text, nullable=False),
    Column("stream", SmallInteger, nullable=False),
    Column("campaign_id", Text, nullable=False),
    Column("campaign_version", BigInteger, nullable=False),
    Column("definition_id", Text, nullable=False),
    Column("cause_id", LargeBinary, nullable=False),
    Column("cause_time", BigInteger, nullable=False),
    Column("event_name", Text, nullable=False),
    Column("template_id", Text, nullable=False),
    Column("template_version", BigInteger, nullable=False),
    Column("inputs_hash", LargeBinary, nullable=False),
    Column("model_version", BigInteger, nullable=False),
    Column("profile_revision", BigInteger, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("expires", BigInteger, nullable=False),
    Column("outcome", SmallInteger, nullable=False),
    # Why it was not rendered, withdrawn, or not delivered.
    Column("reason", Text, nullable=False),
    # One a line.
    Column("omitted", Text, nullable=False),
    Column("test", Boolean, nullable=False),
    Column("delivery_state", SmallInteger, nullable=False),
    # From when on it may be leased: at once, after a lease's end, after a pause.
    Column("due_time", BigInteger, nullable=False),
    Column("lease_id", Uuid),
    # The stream that the lease was given to.
    Column("holder", Uuid),
    Column("attempts", Integer, nullable=False, server_default="0"),
    # Why it was withdrawn while somebody had it: it must not be handed out anew.
    Column("withdrawn", Text, nullable=False, server_default=""),
    # An effect is named by its cause.
    UniqueConstraint("cause_id", "campaign_id", name="messages_of_cause"),
    Index("messages_by_number", "number"),
    Index("messages_of_campaign", "campaign_id", "number"),
    Index("messages_of_profile", "profile_id", "number"),
    Index("messages_by_age", "created"),
    Index("messages_due", "due_time", postgresql_where=_WAITING),
    Index("messages_expiring", "expires", postgresql_where=_WAITING),
    Index("messages_held", "holder", postgresql_where=text("delivery_state = 2")),
)

# What rendered messages say: apart, since it is large, personal, and not needed for long.
CONTENTS = Table(
    "contents",
    METADATA,
    Column("message_id", Uuid, primary_key=True),
    Column("profile_id", Uuid, nullable=False),
    Column("created", BigInteger, nullable=False),
    Column("subject", Text, nullable=False),
    Column("preheader", Text, nullable=False),
    Column("html", Text, nullable=False),
    Column("text", Text, nullable=False),
    # JSON: a list of names and values.
    Column("headers", LargeBinary, nullable=False),
    # JSON: the properties of the deciding event; empty where there are none.
    Column("event", LargeBinary, nullable=False),
    Index("contents_of_profile", "profile_id"),
    Index("contents_by_age", "created"),
)

TABLES = (
    # Longer than a year: last Christmas's campaign can be explained at the next. Far longer than any
    # transition can come again, which the decision keeps from being made twice.
    Kept("render.messages", Age("created", timedelta(days=400)), Erased()),
    # Longer than a message can wait for a connector: 30 days.
    Kept("render.contents", Age("created", timedelta(days=35)), Erased()),
)
