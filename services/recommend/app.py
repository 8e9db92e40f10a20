"""Wires recommend: the only module that knows everything."""

import time
from contextlib import AsyncExitStack
from pathlib import Path

from libs import rpc
from libs.database import Connection, Schema
from libs.hosting import open_foundations
from libs.lifecycle import Component
from libs.messaging import Consumer, ConsumerSettings
from libs.messaging.topics import PROFILE_UPDATES, RECOMMEND_DEAD_LETTERS
from libs.operations import sql as operations_sql
from libs.operations.api import OperationServicer
from libs.operations.jobs import SilenceJob
from libs.operations.sql import SqlOperations
from libs.operations.use_cases import Operations
from libs.profile_feed import Histories, ProfileHistories, SetAside
from libs.profile_feed.api import SetAsideServicer
from libs.rpc.server import Service
from libs.settings import Role
from services.recommend.catalog import sql as catalog_sql
from services.recommend.catalog.api import CatalogServicer
from services.recommend.catalog.sql import SqlProducts, SqlStatements
from services.recommend.catalog.use_cases import Catalog
from services.recommend.catalog.wire import product_pb
from services.recommend.interactions import sql as interactions_sql
from services.recommend.interactions.model import Update
from services.recommend.interactions.sql import SqlAside, SqlInteractions, SqlPeople
from services.recommend.interactions.stream import UpdateHandler
from services.recommend.interactions.use_cases import Follower
from services.recommend.interactions.wire import update_of
from services.recommend.ranking.api import RecommendServicer
from services.recommend.ranking.clients import OnnxRanker
from services.recommend.ranking.jobs import ModelRefresh
from services.recommend.ranking.use_cases import Recommendations
from services.recommend.registry import sql as registry_sql
from services.recommend.registry.api import ModelServicer
from services.recommend.registry.sql import SqlModels
from services.recommend.registry.use_cases import Registry
from services.recommend.settings import Settings
from tessera.operations.v1 import operation_service_pb2_grpc, set_aside_service_pb2_grpc
from tessera.recommend.v1 import catalog_service_pb2_grpc, model_service_pb2_grpc, recommend_service_pb2_grpc

GROUP = "recommend"
SCHEMA = Schema(
    "recommend",
    Path(__file__).parent / "migrations",
    tables=(
        *catalog_sql.TABLES,
        *interactions_sql.TABLES,
        *registry_sql.TABLES,
        operations_sql.table("recommend"),
    ),
)


async def run(settings: Settings, role: Role) -> None:
    """Build the service and run it until it is asked to stop."""
    async with open_foundations(settings, role, SCHEMA) as base, AsyncExitStack() as stack:
        if role == "migrate":
            return
        components: list[Component] = []
        operations = Operations(SqlOperations(base.database, "recommend"))
        if base.consumes:
            channel = await stack.enter_async_context(
                rpc.open_channel(settings.profile_address, api_key=settings.service_api_key, tls=base.tls)
            )
            handler = handler_of(ProfileHistories(channel, update_of), settings.topic_partitions)
            consumed = ConsumerSettings(
                group=GROUP,
                topics=(PROFILE_UPDATES,),
                dead_letters=RECOMMEND_DEAD_LETTERS,
                workers=settings.consumer_workers,
                batch_records=settings.batch_records,
            )
            components += [
                Consumer(base.database, base.event_log, consumed, lambda: handler),
                SilenceJob(operations),
            ]
        models = SqlModels(base.database)
        ranker = OnnxRanker(models)
        if base.serves:
            components.append(ModelRefresh(ranker, settings.model_poll_seconds))
        catalog = Catalog(SqlProducts(base.database), settings.currency)
        recommendations = Recommendations(SqlInteractions(base.database), catalog, ranker)
        services: list[Service] = [
            (
                recommend_service_pb2_grpc.add_RecommendServiceServicer_to_server,
                RecommendServicer(recommendations, product_pb),
            ),
            (catalog_service_pb2_grpc.add_CatalogServiceServicer_to_server, CatalogServicer(catalog)),
            (model_service_pb2_grpc.add_ModelServiceServicer_to_server, ModelServicer(Registry(models))),
            (
                operation_service_pb2_grpc.add_OperationServiceServicer_to_server,
                OperationServicer(operations),
            ),
            (
                set_aside_service_pb2_grpc.add_SetAsideServiceServicer_to_server,
                SetAsideServicer(base.database, SetAside("recommend", settings.topic_partitions)),
            ),
        ]
        await base.run(services, components)


def handler_of(histories: Histories[Update], partitions: int) -> UpdateHandler:
    """What reads profile's stream, on a log whose topics have so many partitions."""
    aside = SetAside("recommend", partitions)

    def follower(connection: Connection) -> Follower:
        return Follower(
            SqlPeople(connection),
            SqlStatements(connection, time.time),
            SqlAside(connection, aside),
            histories,
        )

    return UpdateHandler(follower)
