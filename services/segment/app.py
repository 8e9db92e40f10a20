"""Wires segment: the only module that knows everything."""

from pathlib import Path

from libs import rpc
from libs.database import Database, Schema
from libs.hosting import open_foundations
from libs.lifecycle import Component
from libs.messaging import Consumer, ConsumerSettings
from libs.messaging.topics import PROFILE_UPDATES, SEGMENT_DEAD_LETTERS
from libs.operations import sql as operations
from libs.operations.api import OperationServicer
from libs.operations.sql import SqlOperations
from libs.operations.use_cases import Operations
from libs.profile_feed import ProfileHistories, SetAside
from libs.profile_feed.api import SetAsideServicer
from libs.rpc.server import Service
from libs.settings import Role
from services.segment.definitions import sql as segments
from services.segment.definitions.api import SegmentServicer
from services.segment.definitions.use_cases import Segments
from services.segment.membership import sql as membership
from services.segment.membership.api import MembershipServicer
from services.segment.membership.sql import Plans, SqlEventNames, SqlMembers
from services.segment.membership.stream import UpdateHandler
from services.segment.membership.use_cases import Memberships
from services.segment.membership.wire import update_of
from services.segment.settings import Settings
from services.segment.triggers import sql as triggers
from services.segment.triggers.api import TriggerServicer
from services.segment.triggers.use_cases import Triggers
from tessera.operations.v1 import operation_service_pb2_grpc, set_aside_service_pb2_grpc
from tessera.segment.v1 import (
    membership_service_pb2_grpc,
    segment_service_pb2_grpc,
    trigger_service_pb2_grpc,
)

SCHEMA = Schema(
    "segment",
    Path(__file__).parent / "migrations",
    tables=(*segments.TABLES, *triggers.TABLES, *membership.TABLES, operations.table("segment")),
)


async def run(settings: Settings, role: Role) -> None:
    """Build the service and run it until it is asked to stop."""
    async with open_foundations(settings, role, SCHEMA) as base:
        if role == "migrate":
            return
        channel = rpc.open_channel(settings.profile_address, api_key=settings.service_api_key, tls=base.tls)
        async with channel as profile:
            plans = plans_of(base.database, settings.topic_partitions)
            components: list[Component] = []
            if base.consumes:
                consumed = ConsumerSettings(
                    group="segment",
                    topics=(PROFILE_UPDATES,),
                    dead_letters=SEGMENT_DEAD_LETTERS,
                    workers=settings.consumer_workers,
                    batch_records=settings.batch_records,
                )
                histories = ProfileHistories(profile, update_of)

                def handler() -> UpdateHandler:
                    return UpdateHandler(plans, histories, settings.topic_partitions)

                components.append(Consumer(base.database, base.event_log, consumed, handler))
            services = services_of(base.database, plans, settings.topic_partitions)
            await base.run(services, components)


def plans_of(database: Database, partitions: int) -> Plans:
    """The plan that all definitions make together."""
    return Plans(database, segments.all_segments, triggers.all_triggers, partitions)


def services_of(database: Database, plans: Plans, partitions: int) -> list[Service]:
    """The gRPC services."""
    names = SqlEventNames(database)
    return [
        (
            segment_service_pb2_grpc.add_SegmentServiceServicer_to_server,
            SegmentServicer(Segments(segments.SqlSegments(database, plans), names)),
        ),
        (
            trigger_service_pb2_grpc.add_TriggerServiceServicer_to_server,
            TriggerServicer(Triggers(triggers.SqlTriggers(database, plans), names)),
        ),
        (
            operation_service_pb2_grpc.add_OperationServiceServicer_to_server,
            OperationServicer(Operations(SqlOperations(database, "segment"))),
        ),
        (
            membership_service_pb2_grpc.add_MembershipServiceServicer_to_server,
            MembershipServicer(Memberships(SqlMembers(database))),
        ),
        (
            set_aside_service_pb2_grpc.add_SetAsideServiceServicer_to_server,
            SetAsideServicer(database, SetAside("segment", partitions)),
        ),
    ]
