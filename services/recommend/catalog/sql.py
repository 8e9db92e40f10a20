"""The catalog in PostgreSQL."""

from collections.abc import Callable, Collection
from datetime import timedelta
from typing import Any, Final

from libs.database import Connection, Database
from libs.database.tables import Age, Kept, Nobodys
from services.recommend.catalog.model import FIELDS, KEPT_DAYS, Price, Product, Statements

TABLES: Final = (
    Kept(
        "recommend.products",
        Age("seen_day", timedelta(days=KEPT_DAYS), unit="days"),
        Nobodys("products, and what the shop's own servers say of them"),
    ),
)

_SECONDS_A_DAY: Final = 86_400
# The columns of a field beside its time, and their types.
_COLUMNS: Final = {
    name: (("price", "numeric"), ("price_currency", "text")) if name == "price" else ((name, "text"),)
    for name in FIELDS
}


def _add_sql() -> str:
    """An upsert in which each field takes what was said last.

    At equal times the greater value holds, compared as Python does, so that any order of arrival
    gives the same catalog.
    """
    columns, types, changes, newer = ["product_id", "seen_day"], ["text", "integer"], [], []
    for field, values in _COLUMNS.items():
        names = [f"{field}_time", *(name for name, _ in values)]
        columns += names
        types += ["bigint", *(kind for _, kind in values)]
        new, old = (
            ", ".join(
                f'{row}.{name} collate "C"' if kind == "text" else f"{row}.{name}"
                for name, kind in ((names[0], "bigint"), *values)
            )
            for row in ("excluded", "p")
        )
        is_newer = f"(excluded.{names[0]} is not null and (p.{names[0]} is null or ({new}) > ({old})))"
        newer.append(is_newer)
        changes += [f"{n} = case when {is_newer} then excluded.{n} else p.{n} end" for n in names]
    given = ", ".join(f"${number}::{kind}[]" for number, kind in enumerate(types, 1))
    return (
        f"insert into recommend.products as p ({', '.join(columns)}) "  # noqa: S608 - composed of constants
        f"select * from unnest({given}) on conflict (product_id) do update "
        f"set seen_day = greatest(p.seen_day, excluded.seen_day), {', '.join(changes)} "
        f"where p.seen_day < excluded.seen_day or {' or '.join(newer)}"
    )


_ADD: Final = _add_sql()
# A row that somebody else holds is left to the next who touches it: nobody waits for a day's stamp.
_TOUCH: Final = """
with due as (
  select product_id from recommend.products
  where product_id = any($1::text[]) and seen_day < $2 for update skip locked
)
update recommend.products as p set seen_day = $2 from due where p.product_id = due.product_id
"""
_SELECT: Final = (
    "select product_id, name, price, price_currency, url, image_url, category from recommend.products "
)
_SOME: Final = _SELECT + "where product_id = any($1::text[])"
_PAGE: Final = _SELECT + "where product_id > $1 order by product_id limit $2"


class SqlStatements:
    """What is said of products, inside a batch's transaction."""

    def __init__(self, connection: Connection, clock: Callable[[], float]) -> None:
        self._connection = connection
        self._clock = clock

    async def add(self, statements: Statements, touched: Collection[str]) -> None:
        today = int(self._clock() // _SECONDS_A_DAY)
        # In one order everywhere, or two batches could wait for each other.
        product_ids = sorted(statements.named)
        if product_ids:
            rows = [_row(statements, product_id, today) for product_id in product_ids]
            await self._connection.execute(_ADD, *map(list, zip(*rows, strict=True)))
        others = set(touched).difference(product_ids)
        if others:
            await self._connection.execute(_TOUCH, list(others), today)


def _row(statements: Statements, product_id: str, today: int) -> list[object]:
    row: list[object] = [product_id, today]
    for field in FIELDS:
        time, value = statements.facts.get((product_id, field), (None, None))
        row.append(time)
        if field == "price":
            row += (None, "") if value is None else (value.amount, value.currency)
        else:
            row.append(value)
    return row


class SqlProducts:
    """The products that are known."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def some(self, product_ids: Collection[str]) -> dict[str, Product]:
        rows = await self._database.pool.fetch(_SOME, list(product_ids))
        return {row["product_id"]: _product(row) for row in rows}

    async def page(self, after: str, limit: int) -> list[Product]:
        return [_product(row) for row in await self._database.pool.fetch(_PAGE, after, limit)]

    async def ids(self) -> set[str]:
        """Of all of them."""
        rows = await self._database.pool.fetch("select product_id from recommend.products")
        return {row["product_id"] for row in rows}


def _product(row: Any) -> Product:
    price = None if row["price"] is None else Price(row["price"], row["price_currency"])
    return Product(
        product_id=row["product_id"],
        name=row["name"],
        price=price,
        url=row["url"],
        image_url=row["image_url"],
        category=row["category"],
    )
