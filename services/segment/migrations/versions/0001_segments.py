"""Definitions, states, timers, memberships and what has been triggered."""

from alembic import op

revision = "0001"
down_revision = None

_STATEMENTS = """
create table segment.plans (single boolean primary key default true check (single), version bigint not null);
insert into segment.plans (version) values (0);
create table segment.segments (
  segment_id text primary key,
  display_name text not null,
  expression text not null,
  version bigint not null,
  plan bigint not null,
  created bigint not null
);
create table segment.triggers (
  trigger_id text primary key,
  display_name text not null,
  event_name text not null,
  unless text[] not null,
  delay bigint not null,
  condition text not null,
  version bigint not null,
  plan bigint not null,
  created bigint not null
);
create table segment.series (
  series_id int generated always as identity primary key,
  event text not null,
  value text,
  predicate text,
  keep bigint not null,
  since bigint not null
);
create table segment.partitions (
  partition int primary key,
  clock bigint not null default 0,
  plan bigint not null default 0
) with (fillfactor = 50);
create table segment.states (
  profile_id uuid primary key,
  slot smallint not null,
  plan bigint not null,
  writes bigint not null,
  state bytea not null
) with (fillfactor = 70);
create index states_of_plan on segment.states (plan);
create table segment.timers (
  profile_id uuid primary key,
  slot smallint not null,
  due bigint not null
);
create index timers_due on segment.timers (due);
create table segment.memberships (
  segment_id text not null,
  profile_id uuid not null,
  entered bigint not null,
  cause_id bytea not null,
  event_id bytea not null,
  primary key (segment_id, profile_id)
);
create index memberships_of_profile on segment.memberships (profile_id);
create table segment.triggered (
  trigger_id text not null,
  cause_id bytea not null,
  primary key (trigger_id, cause_id)
);
"""


def upgrade() -> None:
    for statement in _STATEMENTS.strip().rstrip(";").split(";\n"):
        op.execute(statement)


def downgrade() -> None:
    op.execute("drop schema segment cascade")
