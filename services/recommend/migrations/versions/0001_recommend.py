"""Profiles, interactions, catalog, models and operations."""

from alembic import op

from libs.operations import sql as operations_sql
from libs.profile_feed import SetAside

revision = "0001"
down_revision = None

TABLES = (
    """
    create table recommend.profiles (
      profile_id uuid primary key,
      -- The last step of `tessera.profile.updates` that was applied.
      revision bigint not null,
      -- Absorbed: all that it did is this profile's.
      merged_into uuid,
      -- The orders that were refunded whole, in msgpack.
      refunded bytea not null
    ) with (fillfactor = 80)
    """,
    """
    create table recommend.interactions (
      profile_id uuid not null,
      product_id text not null,
      weight real not null,
      views integer not null,
      adds integer not null,
      purchases integer not null,
      -- Times are microseconds since 1970; 0 where it lies in no cart.
      last_time bigint not null,
      cart_time bigint not null,
      -- The model's Interest in msgpack; the columns before are what follows from it.
      state bytea not null,
      primary key (profile_id, product_id)
    ) with (fillfactor = 80)
    """,
    """
    create table recommend.products (
      -- Listed in the order of bytes, which is the same on every machine.
      product_id text collate "C" primary key,
      -- The last day on which somebody named or touched it, in days since 1970.
      seen_day integer not null,
      -- Each field has the time of the event that said so, in microseconds since 1970.
      name text,
      name_time bigint,
      price numeric,
      price_currency text not null default '',
      price_time bigint,
      url text,
      url_time bigint,
      image_url text,
      image_url_time bigint,
      category text,
      category_time bigint
    ) with (fillfactor = 70)
    """,
    "create index products_seen on recommend.products (seen_day)",
    """
    create table recommend.models (
      version bigint primary key,
      create_time timestamptz not null default now(),
      interactions bigint not null,
      profiles bigint not null,
      products bigint not null,
      metrics jsonb not null,
      -- The ONNX graph, and the products by their index in it.
      graph bytea not null,
      product_ids text[] not null
    )
    """,
)


def upgrade() -> None:
    for statement in (*TABLES, SetAside.ddl("recommend"), *operations_sql.statements("recommend")):
        op.execute(statement)


def downgrade() -> None:
    for table in ("operations", "set_aside", "models", "products", "interactions", "profiles"):
        op.execute(f"drop table recommend.{table}")
