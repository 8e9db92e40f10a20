"""The schema `recommend`."""

from sqlalchemy import (
    REAL,
    BigInteger,
    Column,
    DateTime,
    Double,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    Uuid,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB

METADATA = MetaData(schema="recommend")

PROFILES = Table(
    "profiles",
    METADATA,
    Column("profile_id", Uuid, primary_key=True),
    # The last step of `tessera.profile.updates` that was applied.
    Column("revision", BigInteger, nullable=False),
    # Absorbed: all that it did is this profile's.
    Column("merged_into", Uuid),
    # The orders that were refunded whole, in msgpack.
    Column("refunded", LargeBinary, nullable=False),
    postgresql_with={"fillfactor": 80},
)

INTERACTIONS = Table(
    "interactions",
    METADATA,
    Column("profile_id", Uuid, primary_key=True),
    Column("product_id", Text, primary_key=True),
    Column("weight", REAL, nullable=False),
    Column("views", Integer, nullable=False),
    Column("adds", Integer, nullable=False),
    Column("purchases", Integer, nullable=False),
    # Microseconds since 1970.
    Column("last_time", BigInteger, nullable=False),
    # The domain's Interest in msgpack; the columns before are what follows from it.
    Column("state", LargeBinary, nullable=False),
    postgresql_with={"fillfactor": 80},
)

PRODUCTS = Table(
    "products",
    METADATA,
    Column("product_id", Text, primary_key=True),
    # Each field has the time of the event that said so, in microseconds since 1970.
    Column("name", Text),
    Column("name_time", BigInteger),
    Column("price", Double),
    Column("price_time", BigInteger),
    Column("url", Text),
    Column("url_time", BigInteger),
    Column("image_url", Text),
    Column("image_url_time", BigInteger),
    Column("category", Text),
    Column("category_time", BigInteger),
    postgresql_with={"fillfactor": 70},
)

MODELS = Table(
    "models",
    METADATA,
    Column("version", BigInteger, primary_key=True, autoincrement=False),
    Column("create_time", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("interactions", BigInteger, nullable=False),
    Column("profiles", BigInteger, nullable=False),
    Column("products", BigInteger, nullable=False),
    Column("metrics", JSONB, nullable=False),
    # The ONNX graph, and the products by their index in it.
    Column("graph", LargeBinary, nullable=False),
    Column("product_ids", ARRAY(Text), nullable=False),
)
