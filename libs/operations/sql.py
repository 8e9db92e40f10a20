"""Operations in PostgreSQL, in a table of the service's own schema."""

from datetime import timedelta
from typing import Any

from libs.database import Connection, Database
from libs.database.tables import Age, Kept, Nobodys
from libs.operations.model import Operation, State
from libs.operations.ports import Filter

_KEPT = timedelta(days=90)
_COLUMNS = (
    "operation_id::text, number, kind, subject, state, done, total, detail, cancellable, cancel_requested, "
    "created, updated, ended, result"
)


def statements(schema: str) -> list[str]:
    """What a migration executes to make the table in a schema."""
    return [
        f"""
        create table {schema}.operations (
          operation_id uuid primary key,
          number bigint generated always as identity unique,
          request_id text unique,
          kind text not null,
          subject text not null,
          state smallint not null,
          done bigint not null default 0,
          total bigint not null,
          detail text not null default '',
          cancellable boolean not null,
          cancel_requested boolean not null default false,
          -- Whether a process is at work that tells so: else nothing is known from its silence.
          watched boolean not null default false,
          created bigint not null,
          updated bigint not null,
          ended bigint,
          result bytea not null default ''
        )
        """,
        f"create index operations_running on {schema}.operations (updated) where state = 1",
    ]


def table(schema: str) -> Kept:
    """How long the rows of a schema's table are kept."""
    return Kept(
        f"{schema}.operations",
        Age("ended", _KEPT, where="ended is not null"),
        Nobodys("what was done, when, and how much of it"),
    )


async def add(connection: Connection, schema: str, operation: Operation, request_id: str = "") -> Operation:
    """Store a new one inside the caller's transaction, or return what the same request has made before."""
    row = await connection.fetchrow(
        f"insert into {schema}.operations "  # noqa: S608 - the schema is the service's own
        "(operation_id, request_id, kind, subject, state, total, cancellable, created, updated) "
        "values ($1, $2, $3, $4, $5, $6, $7, $8, $8) "
        f"on conflict (request_id) do update set request_id = excluded.request_id returning {_COLUMNS}",
        operation.operation_id,
        request_id or None,
        operation.kind,
        operation.subject,
        int(operation.state),
        operation.total,
        operation.cancellable,
        operation.created,
    )
    assert row is not None
    return _operation(row)


class SqlOperations:
    """The operations of a service's schema."""

    def __init__(self, database: Database, schema: str) -> None:
        self._database = database
        self._schema = schema
        self._table = f"{schema}.operations"

    async def add(self, operation: Operation, request_id: str = "") -> Operation:
        async with self._database.begin() as connection:
            return await add(connection, self._schema, operation, request_id)

    async def get(self, operation_id: str) -> Operation | None:
        return await self._one(f"select {_COLUMNS} from {self._table} where operation_id = $1", operation_id)  # noqa: S608

    async def page(self, wanted: Filter, before: int, limit: int) -> list[Operation]:
        rows = await self._database.pool.fetch(
            f"select {_COLUMNS} from {self._table} where number < $1 "  # noqa: S608
            "and ($2 = '' or kind = $2) and ($3 = '' or subject = $3) "
            "and ($4::smallint is null or state = $4) order by number desc limit $5",
            before,
            wanted.kind,
            wanted.subject,
            None if wanted.state is None else int(wanted.state),
            limit,
        )
        return [_operation(row) for row in rows]

    async def advance(
        self, operation_id: str, done: int, total: int, detail: str, now: int
    ) -> Operation | None:
        return await self._one(
            f"update {self._table} set done = $2, total = $3, detail = $4, updated = $5, watched = true "  # noqa: S608
            f"where operation_id = $1 and state = 1 returning {_COLUMNS}",
            operation_id,
            done,
            total,
            detail,
            now,
        )

    async def end(self, operation_id: str, state: State, detail: str, result: bytes, now: int) -> None:
        await self._database.pool.execute(
            f"update {self._table} set state = $2, detail = $3, result = $4, updated = $5, ended = $5 "  # noqa: S608
            "where operation_id = $1 and state = 1",
            operation_id,
            int(state),
            detail,
            result,
            now,
        )

    async def request_cancel(self, operation_id: str, now: int) -> Operation | None:
        await self._database.pool.execute(
            f"update {self._table} set cancel_requested = true, updated = $2 "  # noqa: S608
            "where operation_id = $1 and state = 1 and cancellable",
            operation_id,
            now,
        )
        return await self.get(operation_id)

    async def fail_silent(self, last_update: int, detail: str, now: int) -> int:
        status = await self._database.pool.execute(
            f"update {self._table} set state = 3, detail = $2, updated = $3, ended = $3 "  # noqa: S608
            "where state = 1 and watched and updated < $1",
            last_update,
            detail,
            now,
        )
        return int(status.split()[1])

    async def _one(self, query: str, *arguments: object) -> Operation | None:
        row = await self._database.pool.fetchrow(query, *arguments)
        return None if row is None else _operation(row)


def _operation(row: Any) -> Operation:
    return Operation(
        operation_id=row["operation_id"],
        kind=row["kind"],
        subject=row["subject"],
        created=row["created"],
        updated=row["updated"],
        number=row["number"],
        state=State(row["state"]),
        done=row["done"],
        total=row["total"],
        detail=row["detail"],
        cancellable=row["cancellable"],
        cancel_requested=row["cancel_requested"],
        ended=row["ended"],
        result=row["result"],
    )
