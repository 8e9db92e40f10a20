"""The trained models in PostgreSQL."""

from collections.abc import Collection
from typing import Any, Final

import orjson

from libs.database import Database
from libs.database.tables import Kept, Lasting, Nobodys
from services.recommend.registry.model import KEPT_MODELS, ModelInfo, StoredModel, Trained

TABLES: Final = (
    Kept(
        "recommend.models",
        Lasting(f"the last {KEPT_MODELS}: training drops what is older"),
        Nobodys("weights between products: nobody can be told from them"),
    ),
)

# Two trainings that end together must not take one version.
_LOCK: Final = "select pg_advisory_xact_lock(hashtext('recommend models'))"
_ADD: Final = """
insert into recommend.models (version, interactions, profiles, products, metrics, graph, product_ids)
select coalesce(max(version), 0) + 1, $1, $2, $3, $4::jsonb, $5, $6 from recommend.models
returning version, create_time, interactions, profiles, products, metrics::text
"""
_INFO: Final = (
    "select version, create_time, interactions, profiles, products, metrics::text from recommend.models "
)


class SqlModels:
    """The models that are kept."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def newer_than(self, version: int, but: Collection[int]) -> StoredModel | None:
        row = await self._database.pool.fetchrow(
            "select version, graph, product_ids from recommend.models "
            "where version > $1 and version <> all($2::bigint[]) order by version desc limit 1",
            version,
            list(but),
        )
        return None if row is None else StoredModel(row["version"], row["graph"], row["product_ids"])

    async def get(self, version: int) -> ModelInfo | None:
        row = await self._database.pool.fetchrow(_INFO + "where version = $1", version)
        return None if row is None else _info(row)

    async def page(self, before: int, limit: int) -> list[ModelInfo]:
        rows = await self._database.pool.fetch(
            _INFO + "where version < $1 order by version desc limit $2", before, limit
        )
        return [_info(row) for row in rows]

    async def add(self, trained: Trained) -> ModelInfo:
        async with self._database.begin() as connection:
            await connection.execute(_LOCK)
            row = await connection.fetchrow(
                _ADD,
                trained.interactions,
                trained.profiles,
                trained.products,
                orjson.dumps(trained.metrics).decode(),
                trained.graph,
                list(trained.product_ids),
            )
            assert row is not None
            added = _info(row)
            await connection.execute(
                "delete from recommend.models where version <= $1", added.version - KEPT_MODELS
            )
        return added


def _info(row: Any) -> ModelInfo:
    return ModelInfo(
        version=row["version"],
        create_time=int(row["create_time"].timestamp() * 1_000_000),
        interactions=row["interactions"],
        profiles=row["profiles"],
        products=row["products"],
        metrics=orjson.loads(row["metrics"]),
    )
