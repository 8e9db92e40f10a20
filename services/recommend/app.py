"""Wires recommend: the only module that knows everything."""

from contextlib import AsyncExitStack
from pathlib import Path

from libs import rpc
from libs.database import Schema
from libs.hosting import open_foundations
from libs.lifecycle import Component
from libs.messaging import Consumer, ConsumerSettings
from libs.messaging.topics import PROFILE_UPDATES, RECOMMEND_DEAD_LETTERS
from libs.settings import Role
from services.recommend.consumer import UpdateHandler
from services.recommend.grpc_api import RecommendServicer
from services.recommend.handlers import Recommendations
from services.recommend.histories import ProfileHistories
from services.recommend.ranker import OnnxRanker
from services.recommend.repository import SqlModels, SqlPeople, SqlShop
from services.recommend.settings import Settings
from tessera.profile.v1 import profile_service_pb2_grpc
from tessera.recommend.v1 import recommend_service_pb2_grpc

GROUP = "recommend"
SCHEMA = Schema("recommend", Path(__file__).parent / "migrations")


async def run(settings: Settings, role: Role) -> None:
    """Build the service and run it until it is asked to stop."""
    async with open_foundations(settings, role, SCHEMA) as base, AsyncExitStack() as stack:
        if role == "migrate":
            return
        components: list[Component] = []
        if base.consumes:
            channel = await stack.enter_async_context(
                rpc.open_channel(settings.profile_address, api_key=settings.service_api_key, tls=base.tls)
            )
            histories = ProfileHistories(profile_service_pb2_grpc.ProfileServiceStub(channel))
            consumed = ConsumerSettings(
                group=GROUP,
                topics=(PROFILE_UPDATES,),
                dead_letters=RECOMMEND_DEAD_LETTERS,
                workers=settings.consumer_workers,
                batch_records=settings.batch_records,
            )
            handler = UpdateHandler(SqlPeople, histories)
            components.append(Consumer(base.database, base.event_log, consumed, lambda: handler))
        models = SqlModels(base.database)
        ranker = OnnxRanker(models, settings.model_poll_seconds)
        if base.serves:
            components.append(ranker)
        servicer = RecommendServicer(Recommendations(SqlShop(base.database), ranker, models))
        add = recommend_service_pb2_grpc.add_RecommendServiceServicer_to_server
        await base.run([(add, servicer)], components)
