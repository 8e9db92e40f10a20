"""The log that is also the outbox, offsets, and the members of groups."""

from alembic import op

revision = "0001"
down_revision = None

_STATEMENTS = """
create table event_log.topics (
  topic_id smallint generated always as identity primary key,
  name text not null unique,
  partitions int not null,
  retention interval not null
);
create table event_log.partitions (
  topic_id smallint not null references event_log.topics,
  partition int not null,
  next_offset bigint not null default 0,
  primary key (topic_id, partition)
) with (fillfactor = 50);
create table event_log.shipped (
  topic_id smallint not null,
  partition int not null,
  next_offset bigint not null,
  primary key (topic_id, partition)
) with (fillfactor = 50);
create table event_log.chunks (
  topic_id smallint not null,
  partition int not null,
  next_offset bigint not null,
  records int not null,
  ephemeral boolean not null,
  create_time timestamptz not null default clock_timestamp(),
  payload bytea not null,
  primary key (topic_id, partition, next_offset)
);
create index chunks_ephemeral on event_log.chunks (topic_id, partition, next_offset) where ephemeral;
alter table event_log.chunks alter column payload set storage external;
create table event_log.offsets (
  group_name text not null,
  topic text not null,
  partition int not null,
  next_offset bigint not null default 0,
  outbox_number bigint not null default -1,
  read_through bigint not null default 0,
  lost_through bigint not null default 0,
  primary key (group_name, topic, partition)
) with (fillfactor = 50);
create table event_log.members (
  group_name text not null,
  member_id uuid not null,
  backend_id int not null,
  heartbeat timestamptz not null,
  primary key (group_name, member_id)
) with (fillfactor = 50);
create table event_log.ownerships (
  group_name text not null,
  partition int not null,
  member_id uuid not null,
  primary key (group_name, partition),
  foreign key (group_name, member_id) references event_log.members on delete cascade
);
create table event_log.leases (
  name text primary key,
  holder uuid not null,
  expire_time timestamptz not null
)
"""


def upgrade() -> None:
    for statement in _STATEMENTS.split(";\n"):
        op.execute(statement)


def downgrade() -> None:
    op.execute("drop schema event_log cascade")
