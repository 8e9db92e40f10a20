"""People, interactions, catalog and models in PostgreSQL."""

import time
from collections.abc import Callable, Collection, Mapping, Sequence

import msgspec
from sqlalchemy import RowMapping, select

from libs.database import Connection, Database
from services.recommend.domain import (
    FIELDS,
    Facts,
    Interest,
    Liking,
    Person,
    Product,
    Scored,
    weight_of,
)
from services.recommend.ports import ModelInfo, StoredModel
from services.recommend.tables import MODELS, PRODUCTS

_encode = msgspec.msgpack.Encoder().encode
_decode_interest = msgspec.msgpack.Decoder(Interest).decode
_decode_orders = msgspec.msgpack.Decoder(set[str]).decode

_MICROS_A_DAY = 86_400_000_000
_POPULAR_DAYS = 30
_POPULAR_PRODUCTS = 500
_POPULAR_SECONDS = 30.0

_PEOPLE = """
select profile_id::text, revision, merged_into::text, refunded from recommend.profiles
where profile_id = any($1::uuid[])
"""
_INTERESTS = """
select i.profile_id::text, i.product_id, i.state
from unnest($1::uuid[], $2::text[]) as w (profile_id, product_id)
join recommend.interactions as i using (profile_id, product_id)
"""
_ALL_INTERESTS = """
select profile_id::text, product_id, state from recommend.interactions where profile_id = any($1::uuid[])
"""
_FORGET = "delete from recommend.interactions where profile_id = any($1::uuid[])"
_SAVE_PEOPLE = """
insert into recommend.profiles as p (profile_id, revision, merged_into, refunded)
select * from unnest($1::uuid[], $2::bigint[], $3::uuid[], $4::bytea[])
on conflict (profile_id) do update set
  revision = excluded.revision, merged_into = excluded.merged_into, refunded = excluded.refunded
"""
_SAVE_INTERESTS = """
insert into recommend.interactions as i
  (profile_id, product_id, weight, views, adds, purchases, last_time, state)
select * from unnest(
  $1::uuid[], $2::text[], $3::real[], $4::int[], $5::int[], $6::int[], $7::bigint[], $8::bytea[])
on conflict (profile_id, product_id) do update set
  weight = excluded.weight, views = excluded.views, adds = excluded.adds, purchases = excluded.purchases,
  last_time = excluded.last_time, state = excluded.state
"""
_SURVIVORS = """
with recursive lineage (asked, profile_id, depth) as (
  select asked, asked, 0 from unnest($1::uuid[]) as a (asked)
  union all
  select l.asked, p.merged_into, l.depth + 1
  from lineage as l join recommend.profiles as p using (profile_id)
  where p.merged_into is not null and l.depth < 100
)
select distinct on (asked) asked, profile_id from lineage order by asked, depth desc
"""
_LIKINGS = f"""
select s.asked::text, i.product_id, i.weight, i.last_time, i.purchases > 0 as purchased
from ({_SURVIVORS}) as s join recommend.interactions as i using (profile_id)
where i.weight > 0
"""  # noqa: S608 - composed of constants
_POPULAR = """
select product_id, sum(weight)::float8 as score from recommend.interactions
where last_time >= (select max(last_time) from recommend.interactions) - $1 and weight > 0
group by product_id order by score desc, product_id limit $2
"""
_NEWER = """
(excluded.{0}_time is not null
  and (p.{0}_time is null or (excluded.{0}_time, excluded.{0}{1}) > (p.{0}_time, p.{0}{1})))
"""


def _list_products_sql() -> str:
    """An upsert in which each field takes what was said last.

    At equal times the greater value holds, compared as Python does, so that any order of arrival
    gives the same catalog.
    """
    newer = {name: _NEWER.format(name, "" if name == "price" else ' collate "C"') for name in FIELDS}
    columns = ", ".join(f"{name}, {name}_time" for name in FIELDS)
    types = ", ".join(
        f"${2 * i + 2}::{_type_of(name)}[], ${2 * i + 3}::bigint[]" for i, name in enumerate(FIELDS)
    )
    changes = ", ".join(
        f"{column} = case when {newer[name]} then excluded.{column} else p.{column} end"
        for name in FIELDS
        for column in (name, f"{name}_time")
    )
    return (
        f"insert into recommend.products as p (product_id, {columns}) "  # noqa: S608 - composed of constants
        f"select * from unnest($1::text[], {types}) on conflict (product_id) do update set {changes} "
        f"where {' or '.join(newer.values())}"
    )


def _type_of(name: str) -> str:
    return "float8" if name == "price" else "text"


_LIST_PRODUCTS = _list_products_sql()


class SqlPeople:
    """The people of one batch, inside its transaction."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    async def load(self, profile_ids: Collection[str]) -> dict[str, Person]:
        people = {profile_id: Person(profile_id) for profile_id in profile_ids}
        for profile_id, revision, merged_into, refunded in await self._connection.fetch(
            _PEOPLE, list(profile_ids)
        ):
            people[profile_id] = Person(profile_id, revision, merged_into, _decode_orders(refunded))
        return people

    async def load_interests(
        self, people: Mapping[str, Person], pairs: Collection[tuple[str, str]], whole: Collection[str]
    ) -> None:
        rows = []
        some = [(profile_id, product_id) for profile_id, product_id in pairs if profile_id not in whole]
        if some:
            rows += await self._connection.fetch(_INTERESTS, *_columns(some))
        if whole:
            rows += await self._connection.fetch(_ALL_INTERESTS, list(whole))
        for profile_id, product_id, state in rows:
            people[profile_id].interests[product_id] = _decode_interest(state)

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

    async def list_products(self, facts: Facts) -> None:
        product_ids = sorted({product_id for product_id, _ in facts})
        if not product_ids:
            return
        columns: list[list[object]] = []
        for name in FIELDS:
            said = [facts.get((product_id, name)) for product_id in product_ids]
            columns += [[fact and fact[1] for fact in said], [fact and fact[0] for fact in said]]
        await self._connection.execute(_LIST_PRODUCTS, product_ids, *columns)


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
        _encode(interest),
    )


class SqlShop:
    """Reads what people did, and the catalog."""

    def __init__(self, database: Database, clock: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self._clock = clock
        self._popular: Sequence[Scored] = ()
        self._popular_until = 0.0

    async def likings(self, profile_ids: Sequence[str]) -> dict[str, list[Liking]]:
        found: dict[str, list[Liking]] = {}
        for asked, *liking in await self._database.pool.fetch(_LIKINGS, list(set(profile_ids))):
            found.setdefault(asked, []).append(Liking(*liking))
        return found

    async def popular(self) -> Sequence[Scored]:
        # It reads everything: good for the time before the first model, and not for every call.
        if self._clock() >= self._popular_until:
            rows = await self._database.pool.fetch(_POPULAR, _POPULAR_DAYS * _MICROS_A_DAY, _POPULAR_PRODUCTS)
            self._popular = [Scored(product_id, score, similar=False) for product_id, score in rows]
            self._popular_until = self._clock() + _POPULAR_SECONDS
        return self._popular

    async def products(self, product_ids: Collection[str]) -> dict[str, Product]:
        if not product_ids:
            return {}
        columns = [PRODUCTS.c[name] for name in ("product_id", *FIELDS)]
        query = select(*columns).where(PRODUCTS.c.product_id.in_(product_ids))
        async with self._database.query() as connection:
            rows = (await connection.execute(query)).mappings().all()
        return {row["product_id"]: _product(row) for row in rows}


def _product(row: RowMapping) -> Product:
    return Product(**{name: value for name, value in row.items() if value is not None})


class SqlModels:
    """The trained models."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def newer_than(self, version: int) -> StoredModel | None:
        row = await self._database.pool.fetchrow(
            "select version, graph, product_ids from recommend.models where version > $1 "
            "order by version desc limit 1",
            version,
        )
        return None if row is None else StoredModel(*row)

    async def all(self) -> list[ModelInfo]:
        query = select(
            MODELS.c.version,
            MODELS.c.create_time,
            MODELS.c.interactions,
            MODELS.c.profiles,
            MODELS.c.products,
            MODELS.c.metrics,
        ).order_by(MODELS.c.version.desc())
        async with self._database.query() as connection:
            rows = (await connection.execute(query)).all()
        return [ModelInfo(row[0], int(row[1].timestamp() * 1_000_000), *row[2:]) for row in rows]
