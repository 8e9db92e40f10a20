"""People and what they did with products, in PostgreSQL."""

from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from typing import Any, Final

import msgspec
import structlog

from libs.database import Connection, Database
from libs.database.tables import Erased, Kept, Lasting
from libs.profile_feed import SetAside
from services.recommend.interactions.model import (
    MOST_COUNTED,
    Interest,
    Liking,
    Person,
    Popular,
    weight_of,
)

log = structlog.get_logger(__name__)

TABLES: Final = (
    Kept("recommend.profiles", Lasting("one row a profile, for as long as profile keeps it"), Erased()),
    Kept(
        "recommend.interactions",
        Lasting("one row a person and product: what was bought years ago is still left out of what is new"),
        Erased(),
    ),
    SetAside.table("recommend"),
)

_encode = msgspec.msgpack.Encoder().encode
_decode_interest = msgspec.msgpack.Decoder(Interest).decode
_decode_orders = msgspec.msgpack.Decoder(set[str]).decode

_MICROS_A_DAY: Final = 86_400_000_000
_POPULAR_DAYS: Final = 30
_POPULAR_PRODUCTS: Final = 500
_ROWS_AT_ONCE: Final = 10_000
# A script may touch every product of the shop: what it touched last is enough to answer it.
_MOST_LIKINGS: Final = 5000

_PEOPLE: Final = """
select profile_id::text, revision, merged_into::text, refunded from recommend.profiles
where profile_id = any($1::uuid[])
"""
_INTERESTS: Final = """
select i.profile_id::text, i.product_id, i.state
from unnest($1::uuid[], $2::text[]) as w (profile_id, product_id)
join recommend.interactions as i using (profile_id, product_id)
"""
_ALL_INTERESTS: Final = """
select profile_id::text, product_id, state from recommend.interactions where profile_id = any($1::uuid[])
"""
_FORGET: Final = "delete from recommend.interactions where profile_id = any($1::uuid[])"
_SAVE_PEOPLE: Final = """
insert into recommend.profiles as p (profile_id, revision, merged_into, refunded)
select * from unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::bytea[])
on conflict (profile_id) do update set
  revision = excluded.revision, merged_into = excluded.merged_into, refunded = excluded.refunded
"""
_SAVE_INTERESTS: Final = """
insert into recommend.interactions as i
  (profile_id, product_id, weight, views, adds, purchases, last_time, cart_time, state)
select * from unnest(
  $1::uuid[], $2::text[], $3::real[], $4::int[], $5::int[], $6::int[], $7::bigint[], $8::bigint[],
  $9::bytea[])
on conflict (profile_id, product_id) do update set
  weight = excluded.weight, views = excluded.views, adds = excluded.adds, purchases = excluded.purchases,
  last_time = excluded.last_time, cart_time = excluded.cart_time, state = excluded.state
"""
_SURVIVORS: Final = """
with recursive lineage (asked, profile_id, depth) as (
  select asked, asked, 0 from unnest($1::uuid[]) as a (asked)
  union all
  select l.asked, p.merged_into, l.depth + 1
  from lineage as l join recommend.profiles as p using (profile_id)
  where p.merged_into is not null and l.depth < 100
)
select distinct on (asked) asked, profile_id from lineage order by asked, depth desc
"""
_LIKINGS: Final = f"""
select s.asked::text, i.product_id, i.weight, i.last_time, i.purchases > 0 as purchased, i.cart_time
from ({_SURVIVORS}) as s cross join lateral (
  select * from recommend.interactions as o
  where o.profile_id = s.profile_id and (o.weight > 0 or o.cart_time > 0)
  order by o.last_time desc limit {_MOST_LIKINGS}
) as i
"""  # noqa: S608 - composed of constants
_POPULAR: Final = """
select product_id, sum(least(weight, $3))::float8 as weight from recommend.interactions
where last_time >= (select max(last_time) from recommend.interactions) - $1 and weight > 0
group by product_id order by weight desc, product_id limit $2
"""
_ALL: Final = "select profile_id, product_id, state from recommend.interactions where weight > 0"


class SqlPeople:
    """The people of one batch, inside its transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def load(self, profile_ids: Collection[str]) -> dict[str, Person]:
        people = {profile_id: Person(profile_id) for profile_id in profile_ids}
        for row in await self._connection.fetch(_PEOPLE, list(profile_ids)):
            people[row["profile_id"]] = _person(row)
        return people

    async def load_interests(
        self, people: Mapping[str, Person], pairs: Collection[tuple[str, str]], whole: Collection[str]
    ) -> set[str]:
        rows = []
        some = [(profile_id, product_id) for profile_id, product_id in pairs if profile_id not in whole]
        if some:
            rows += await self._connection.fetch(_INTERESTS, *_columns(some))
        if whole:
            rows += await self._connection.fetch(_ALL_INTERESTS, list(whole))
        unreadable = set()
        for row in rows:
            try:
                interest = _decode_interest(row["state"])
            except msgspec.DecodeError:
                unreadable.add(row["profile_id"])
            else:
                people[row["profile_id"]].interests[row["product_id"]] = interest
        return unreadable

    async def save(self, people: Collection[Person]) -> None:
        # In one order everywhere, or a worker and its successor could wait for each other.
        order = sorted(people, key=lambda person: person.profile_id)
        if not order:
            return
        await self._connection.execute(
            _SAVE_PEOPLE,
            *_columns(
                [(p.profile_id, p.revision, p.merged_into, _encode(sorted(p.refunded))) for p in order]
            ),
        )
        anew = [person.profile_id for person in order if person.anew]
        if anew:
            await self._connection.execute(_FORGET, anew)
        changed = [
            (person.profile_id, product_id, person.interests[product_id])
            for person in order
            for product_id in sorted(person.changed)
        ]
        if changed:
            await self._connection.execute(_SAVE_INTERESTS, *_columns([_row(*entry) for entry in changed]))


class SqlAside:
    """Who is set aside, inside a batch's transaction."""

    def __init__(self, connection: Connection, aside: SetAside) -> None:
        self._connection = connection
        self._aside = aside

    async def among(self, profile_ids: Collection[str]) -> set[str]:
        return await self._aside.among(self._connection, profile_ids)

    async def due(self, indexes: Sequence[int], limit: int) -> list[str]:
        return await self._aside.due(self._connection, indexes, limit)

    async def put(self, reasons: Mapping[str, str]) -> None:
        await self._aside.put(self._connection, reasons)

    async def ask(self, profile_ids: Sequence[str]) -> None:
        await self._aside.ask(self._connection, profile_ids)

    async def settle(self, profile_ids: Collection[str]) -> None:
        await self._aside.settle(self._connection, profile_ids)


def _person(row: Any) -> Person:
    person = Person(row["profile_id"], row["revision"], row["merged_into"])
    try:
        person.refunded = _decode_orders(row["refunded"])
    except msgspec.DecodeError:
        person.damaged = True
    return person


def _columns(rows: Sequence[tuple[object, ...]]) -> list[list[object]]:
    return [list(column) for column in zip(*rows, strict=True)]


def _row(profile_id: str, product_id: str, interest: Interest) -> tuple[object, ...]:
    return (
        profile_id,
        product_id,
        float(weight_of(interest)),
        interest.views,
        interest.adds,
        len(interest.purchases),
        interest.last_time,
        interest.cart_time,
        _encode(interest),
    )


class SqlInteractions:
    """What people did with products."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def likings(self, profile_ids: Collection[str]) -> dict[str, list[Liking]]:
        found: dict[str, list[Liking]] = {}
        for row in await self._database.pool.fetch(_LIKINGS, list(set(profile_ids))):
            found.setdefault(row["asked"], []).append(_liking(row))
        return found

    async def popular(self) -> list[Popular]:
        """The most popular products; it reads everything of the last days."""
        rows = await self._database.pool.fetch(
            _POPULAR, _POPULAR_DAYS * _MICROS_A_DAY, _POPULAR_PRODUCTS, float(MOST_COUNTED)
        )
        return [Popular(row["product_id"], row["weight"]) for row in rows]

    async def all(self) -> AsyncIterator[tuple[object, str, Interest]]:
        """Every person's interests that count, as they are at one moment: person, product, interest.

        One that can't be read is left out, and told.
        """
        unreadable = 0
        async with (
            self._database.pool.acquire() as connection,
            connection.transaction(isolation="repeatable_read", readonly=True),
        ):
            async for row in connection.cursor(_ALL, prefetch=_ROWS_AT_ONCE):
                try:
                    interest = _decode_interest(row["state"])
                except msgspec.DecodeError:
                    unreadable += 1
                else:
                    yield row["profile_id"], row["product_id"], interest
        if unreadable:
            log.error("interests can't be read: left out", interests=unreadable)


def _liking(row: Any) -> Liking:
    return Liking(
        product_id=row["product_id"],
        weight=row["weight"],
        last_time=row["last_time"],
        purchased=row["purchased"],
        cart_time=row["cart_time"],
    )
