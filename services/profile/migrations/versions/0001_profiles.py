"""Profiles, identities, history and event ids."""

from alembic import op

revision = "0001"
down_revision = None

_STATEMENTS = """
create table profile.profiles (
  profile_id uuid primary key,
  revision bigint not null,
  merged_into uuid,
  state bytea not null
) with (fillfactor = 70);
create table profile.identities (
  identifier text primary key,
  profile_id uuid
) with (fillfactor = 90);
create table profile.address_refusals (
  address text not null,
  purpose text not null,
  moment bigint not null,
  event_id uuid not null,
  trusted boolean not null,
  primary key (address, purpose)
);
create table profile.shared_addresses (
  address text not null,
  profile_id uuid not null,
  primary key (address, profile_id)
);
create index shared_addresses_profile_id on profile.shared_addresses (profile_id);
create table profile.unassigned_events (
  event_id uuid primary key,
  received bigint not null,
  identifiers text[] not null,
  body bytea not null
);
create index unassigned_events_received on profile.unassigned_events (received, event_id);
create table profile.history (
  profile_id uuid not null,
  revision bigint not null,
  moved boolean not null,
  origin uuid,
  body bytea not null,
  primary key (profile_id, revision)
);
alter table profile.history alter column body set storage external;
create table profile.event_ids (
  event_id uuid not null,
  day smallint not null,
  primary key (event_id)
) partition by hash (event_id);
create index event_ids_day on profile.event_ids using brin (day) with (autosummarize);
"""
_PARTITIONS = 8


def upgrade() -> None:
    for statement in _STATEMENTS.strip().rstrip(";").split(";\n"):
        op.execute(statement)
    for number in range(_PARTITIONS):
        op.execute(
            f"create table profile.event_ids_{number} partition of profile.event_ids "
            f"for values with (modulus {_PARTITIONS}, remainder {number})"
        )


def downgrade() -> None:
    op.execute("drop schema profile cascade")
