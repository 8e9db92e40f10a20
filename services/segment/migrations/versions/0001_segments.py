"""Definitions, the plan, states, timers, memberships, what has been triggered, names of events."""

from alembic import op

from libs.operations import sql as operations
from libs.profile_feed import SetAside

revision = "0001"
down_revision = None

_STATEMENTS = """
create table segment.plans (
  single boolean primary key default true check (single),
  version bigint not null,
  changes bigint not null default 0
);
insert into segment.plans (version) values (0);
create table segment.segments (
  segment_id text primary key,
  display_name text not null,
  expression text not null,
  version bigint not null,
  plan bigint not null,
  created bigint not null,
  updated bigint not null,
  request_id text not null
);
create table segment.segment_versions (
  segment_id text not null references segment.segments on delete cascade,
  version bigint not null,
  display_name text not null,
  expression text not null,
  created bigint not null,
  primary key (segment_id, version)
);
create table segment.triggers (
  trigger_id text primary key,
  display_name text not null,
  event_name text not null,
  unless text[] not null,
  delay bigint not null,
  condition text not null,
  mode text not null,
  withdraws boolean not null,
  version bigint not null,
  plan bigint not null,
  since bigint not null,
  created bigint not null,
  updated bigint not null,
  request_id text not null
);
create table segment.trigger_versions (
  trigger_id text not null references segment.triggers on delete cascade,
  version bigint not null,
  display_name text not null,
  event_name text not null,
  unless text[] not null,
  delay bigint not null,
  condition text not null,
  mode text not null,
  withdraws boolean not null,
  created bigint not null,
  primary key (trigger_id, version)
);
create table segment.series (
  series_id int generated always as identity primary key,
  kind text not null,
  event text not null,
  value text,
  predicate text,
  keep bigint not null,
  since bigint not null
);
create table segment.traits (name text primary key, since bigint not null);
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
create table segment.parts (
  profile_id uuid not null,
  series_id int not null,
  part int not null,
  body bytea not null,
  primary key (profile_id, series_id, part)
);
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
create table segment.member_counts (
  segment_id text not null,
  partition int not null,
  members bigint not null,
  primary key (segment_id, partition)
) with (fillfactor = 50);
create table segment.triggered (
  trigger_id text not null,
  cause_id bytea not null,
  profile_id uuid not null,
  due bigint not null,
  withdrawn boolean not null default false,
  primary key (trigger_id, cause_id)
);
create index triggered_of_profile on segment.triggered (profile_id);
create index triggered_due on segment.triggered (due);
create table segment.backfills (
  plan bigint primary key,
  operation_id uuid not null,
  created bigint not null
);
create table segment.event_names (
  kind text not null,
  name text not null,
  count bigint not null,
  primary key (kind, name)
);
"""


def upgrade() -> None:
    statements = _STATEMENTS.strip().rstrip(";").split(";\n")
    for statement in [*statements, SetAside.ddl("segment"), *operations.statements("segment")]:
        op.execute(statement)


def downgrade() -> None:
    op.execute("drop schema segment cascade")
