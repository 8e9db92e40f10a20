"""Sources, keys and versions in PostgreSQL."""

from asyncio import Lock
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from typing import Final

import asyncpg
import orjson
import structlog

from libs.database import Connection, Database, is_transient
from libs.database.tables import Kept, Lasting, Nobodys
from services.ingest.sources.model import Key, Source, SourceVersion

log = structlog.get_logger(__name__)

TABLES: Final = (
    Kept("ingest.sources", Lasting("until somebody deletes the source"), Nobodys()),
    Kept("ingest.source_keys", Lasting("as long as its source, at most two each"), Nobodys()),
    Kept("ingest.source_versions", Lasting("as long as their source"), Nobodys()),
)

STATEMENTS: Final = (
    """
    create table ingest.sources (
      source_id text primary key,
      trusted boolean not null,
      display_name text not null,
      default_consent jsonb not null,
      version bigint not null,
      -- Microseconds since 1970.
      created bigint not null,
      updated bigint not null,
      request_id text not null
    )
    """,
    """
    create table ingest.source_keys (
      write_key text primary key,
      key_id text not null,
      source_id text not null references ingest.sources on delete cascade,
      created bigint not null,
      request_id text not null,
      number bigint generated always as identity,
      unique (source_id, key_id)
    )
    """,
    """
    create table ingest.source_versions (
      source_id text not null references ingest.sources on delete cascade,
      version bigint not null,
      display_name text not null,
      default_consent jsonb not null,
      since bigint not null,
      primary key (source_id, version)
    )
    """,
)

# One line a source, its keys side by side.
_SELECT: Final = """
select s.source_id, s.trusted, s.display_name, s.default_consent, s.version, s.created, s.updated,
  s.request_id, k.key_ids, k.write_keys, k.key_times, k.key_requests
from ingest.sources as s
cross join lateral (
  select array_agg(key_id order by number) as key_ids, array_agg(write_key order by number) as write_keys,
    array_agg(created order by number) as key_times, array_agg(request_id order by number) as key_requests
  from ingest.source_keys as k where k.source_id = s.source_id
) as k
"""
_ONE: Final = _SELECT + "where s.source_id = $1"
_ALL: Final = _SELECT + "order by s.source_id"
_PAGE: Final = _SELECT + "where s.source_id > $1 order by s.source_id limit $2"
_VERSIONS: Final = """
select version, display_name, default_consent, since from ingest.source_versions
where source_id = $1 and version < $2 order by version desc limit $3
"""
_INSERT: Final = """
insert into ingest.sources
  (source_id, trusted, display_name, default_consent, version, created, updated, request_id)
values ($1, $2, $3, $4, $5, $6, $7, $8) on conflict do nothing returning source_id
"""
_INSERT_KEY: Final = """
insert into ingest.source_keys (write_key, key_id, source_id, created, request_id)
values ($1, $2, $3, $4, $5) on conflict do nothing returning key_id
"""
_INSERT_VERSION: Final = """
insert into ingest.source_versions (source_id, version, display_name, default_consent, since)
values ($1, $2, $3, $4, $5)
"""
_UPDATE: Final = """
update ingest.sources set display_name = $2, default_consent = $3, version = $4, updated = $5
where source_id = $1
"""

# Sources rarely change. But a key that was just made elsewhere must work: a client that is told
# once that it is unknown never sends those events again.
_FORGET_SECONDS: Final = 10.0
_LOOK_AGAIN_SECONDS: Final = 0.5


class SqlSources:
    """Sources as they are stored."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def get(self, source_id: str) -> Source | None:
        row = await self._database.pool.fetchrow(_ONE, source_id)
        return None if row is None else _source(row)

    async def page(self, after: str, limit: int) -> Sequence[Source]:
        return [_source(row) for row in await self._database.pool.fetch(_PAGE, after, limit)]

    async def all(self) -> Sequence[Source]:
        """All sources, by id."""
        return [_source(row) for row in await self._database.pool.fetch(_ALL)]

    async def versions(self, source_id: str, before: int, limit: int) -> Sequence[SourceVersion]:
        return [
            SourceVersion(
                row["version"],
                row["display_name"],
                orjson.loads(row["default_consent"]),
                row["since"],
            )
            for row in await self._database.pool.fetch(_VERSIONS, source_id, before, limit)
        ]

    @asynccontextmanager
    async def change(self) -> AsyncIterator["SqlSourceChange"]:
        async with self._database.begin() as connection:
            yield SqlSourceChange(connection)


class SqlSourceChange:
    """A transaction that changes sources."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def lock(self, source_id: str) -> Source | None:
        # Not in one statement with the keys: what waited for the lock would see the keys of before.
        await self._connection.execute(
            "select from ingest.sources where source_id = $1 for update", source_id
        )
        row = await self._connection.fetchrow(_ONE, source_id)
        return None if row is None else _source(row)

    async def insert(self, source: Source) -> bool:
        added = await self._connection.fetchval(
            _INSERT,
            source.source_id,
            source.trusted,
            source.display_name,
            _json(source),
            source.version,
            source.created,
            source.updated,
            source.request_id,
        )
        if added is None:
            return False
        await self._remember(source)
        return True

    async def update(self, source: Source) -> None:
        await self._connection.execute(
            _UPDATE,
            source.source_id,
            source.display_name,
            _json(source),
            source.version,
            source.updated,
        )
        await self._remember(source)

    async def _remember(self, source: Source) -> None:
        await self._connection.execute(
            _INSERT_VERSION,
            source.source_id,
            source.version,
            source.display_name,
            _json(source),
            source.updated,
        )

    async def delete(self, source_id: str) -> None:
        await self._connection.execute("delete from ingest.sources where source_id = $1", source_id)

    async def add_key(self, source_id: str, key: Key) -> bool:
        added = await self._connection.fetchval(
            _INSERT_KEY, key.write_key, key.key_id, source_id, key.created, key.request_id
        )
        return added is not None

    async def remove_key(self, source_id: str, key_id: str) -> None:
        await self._connection.execute(
            "delete from ingest.source_keys where source_id = $1 and key_id = $2", source_id, key_id
        )


class RememberedSources:
    """Sources as the front door knows them, remembered for a few seconds."""

    def __init__(self, sources: SqlSources, clock: Callable[[], float]) -> None:
        self._sources = sources
        self._clock = clock
        self._known: dict[str, Source] = {}
        self._by_key: dict[str, Source] = {}
        self._read = -_FORGET_SECONDS
        self._reading = Lock()

    async def by_key(self, write_keys: Sequence[str]) -> Source | None:
        await self._refresh(_FORGET_SECONDS)
        if self._by_keys(write_keys) is None:
            await self._refresh(_LOOK_AGAIN_SECONDS)
        return self._by_keys(write_keys)

    def _by_keys(self, write_keys: Sequence[str]) -> Source | None:
        return next((self._by_key[key] for key in write_keys if key in self._by_key), None)

    async def by_id(self, source_id: str) -> Source | None:
        await self._refresh(_FORGET_SECONDS)
        if source_id not in self._known:
            await self._refresh(_LOOK_AGAIN_SECONDS)
        return self._known.get(source_id)

    async def _refresh(self, most_age: float) -> None:
        """Read the sources anew where what is known is older. Without a database it has to do."""
        if self._clock() - self._read < most_age:
            return
        async with self._reading:
            now = self._clock()
            if now - self._read < most_age:
                return
            try:
                sources = await self._sources.all()
            except Exception as error:
                if not self._known or not is_transient(error):
                    raise
                log.warning("sources not read again", error=repr(error))
            else:
                self._known = {source.source_id: source for source in sources}
                self._by_key = {key.write_key: source for source in sources for key in source.keys}
            self._read = now


def _json(source: Source) -> str:
    return orjson.dumps(dict(source.default_consent)).decode()


def _source(row: asyncpg.Record) -> Source:
    keys = zip(
        row["key_ids"] or (),
        row["write_keys"] or (),
        row["key_times"] or (),
        row["key_requests"] or (),
        strict=True,
    )
    return Source(
        source_id=row["source_id"],
        trusted=row["trusted"],
        default_consent=orjson.loads(row["default_consent"]),
        display_name=row["display_name"],
        keys=tuple(Key(*key) for key in keys),
        version=row["version"],
        created=row["created"],
        updated=row["updated"],
        request_id=row["request_id"],
    )
