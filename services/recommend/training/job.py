"""Reads what people did, trains, and stores the model."""

import asyncio
from dataclasses import dataclass
from datetime import datetime

import msgspec
from sqlalchemy import delete, func, insert, select, text

from libs.database import Database
from libs.errors import FailedPrecondition
from services.recommend.domain import Interest
from services.recommend.tables import MODELS
from services.recommend.training.data import Touches, gather
from services.recommend.training.evaluation import best_blend, evaluate, window_of
from services.recommend.training.graph import export
from services.recommend.training.model import fit

_KEPT = 20
_ROWS_AT_ONCE = 10_000
_decode = msgspec.msgpack.Decoder(Interest).decode
# Two trainings that end together must not take one version.
_LOCK = text("select pg_advisory_xact_lock(hashtext('recommend models'))")


@dataclass(frozen=True, slots=True)
class Trained:
    """A model before it has a version."""

    interactions: int
    profiles: int
    products: int
    metrics: dict[str, float]
    graph: bytes
    product_ids: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Summary:
    """What a training made."""

    version: int
    create_time: datetime
    interactions: int
    profiles: int
    products: int
    metrics: dict[str, float]
    bytes: int


async def train(database: Database) -> Summary:
    """Train on everything and store the model as the next version.

    FailedPrecondition where nobody has touched anything yet.
    """
    interests = await _read(database)
    trained = await asyncio.to_thread(_train, interests)
    return await _store(database, trained)


async def _read(database: Database) -> list[tuple[object, str, Interest]]:
    async with (
        database.pool.acquire() as connection,
        connection.transaction(isolation="repeatable_read", readonly=True),
    ):
        query = "select profile_id, product_id, state from recommend.interactions where weight > 0"
        return [
            (profile_id, product_id, _decode(state))
            async for profile_id, product_id, state in connection.cursor(query, prefetch=_ROWS_AT_ONCE)
        ]


def _train(interests: list[tuple[object, str, Interest]]) -> Trained:
    touches = gather(interests)
    if not len(touches.days):
        raise FailedPrecondition("nobody has touched a product yet: there is nothing to learn from")
    end = _just_after(touches)
    window = window_of(touches)
    report = evaluate(touches, end - window, end, window)
    model = fit(touches, end, best_blend(touches, end, window))
    metrics = report.metrics if report else {}
    products = len(touches.product_ids)
    return Trained(len(interests), touches.profiles, products, metrics, export(model), touches.product_ids)


def _just_after(touches: Touches) -> float:
    return float(touches.days.max()) + 1e-9


async def _store(database: Database, trained: Trained) -> Summary:
    async with database.query() as connection:
        await connection.execute(_LOCK)
        version = (
            await connection.execute(select(func.coalesce(func.max(MODELS.c.version), 0)))
        ).scalar_one() + 1
        row = insert(MODELS).values(
            version=version,
            interactions=trained.interactions,
            profiles=trained.profiles,
            products=trained.products,
            metrics=trained.metrics,
            graph=trained.graph,
            product_ids=list(trained.product_ids),
        )
        create_time = (await connection.execute(row.returning(MODELS.c.create_time))).scalar_one()
        await connection.execute(delete(MODELS).where(MODELS.c.version <= version - _KEPT))
    return Summary(
        version,
        create_time,
        trained.interactions,
        trained.profiles,
        trained.products,
        trained.metrics,
        len(trained.graph),
    )
