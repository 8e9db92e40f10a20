"""Calls to what runs in a home, with the administrator's key; or elsewhere, with a key that is given."""

import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from cli.access import ADMIN, key_name
from cli.home import Home
from cli.running import Running
from cli.secret_files import SecretFiles
from libs.errors import FailedPrecondition
from libs.rpc import Tls, open_channel
from tessera.ingest.v1 import (
    import_service_pb2_grpc,
    ingest_service_pb2_grpc,
    rejection_service_pb2_grpc,
    source_service_pb2_grpc,
)
from tessera.operations.v1 import operation_service_pb2_grpc, set_aside_service_pb2_grpc
from tessera.profile.v1 import history_service_pb2_grpc, profile_service_pb2_grpc
from tessera.recommend.v1 import model_service_pb2_grpc, recommend_service_pb2_grpc
from tessera.render.v1 import (
    campaign_service_pb2_grpc,
    delivery_service_pb2_grpc,
    message_service_pb2_grpc,
    preview_service_pb2_grpc,
    template_service_pb2_grpc,
)
from tessera.segment.v1 import (
    membership_service_pb2_grpc,
    segment_service_pb2_grpc,
    trigger_service_pb2_grpc,
)

API_KEY = "TESSERA_API_KEY"


@dataclass(slots=True)
class Clients:
    """A stub for each service, connected when first used."""

    running: Running
    api_key: str
    tls: Tls | None
    _stack: AsyncExitStack
    _deadline_seconds: float
    _channels: dict[str, grpc.aio.Channel] = field(default_factory=dict)

    async def ingest(self) -> "ingest_service_pb2_grpc.IngestServiceAsyncStub":
        """Collects events."""
        return ingest_service_pb2_grpc.IngestServiceStub(await self._channel("ingest"))

    async def imports(self) -> "import_service_pb2_grpc.ImportServiceAsyncStub":
        """Takes old events in."""
        return import_service_pb2_grpc.ImportServiceStub(await self._channel("ingest"))

    async def sources(self) -> "source_service_pb2_grpc.SourceServiceAsyncStub":
        """Knows where events come from, and with which keys."""
        return source_service_pb2_grpc.SourceServiceStub(await self._channel("ingest"))

    async def rejections(self) -> "rejection_service_pb2_grpc.RejectionServiceAsyncStub":
        """Knows what was refused at the door."""
        return rejection_service_pb2_grpc.RejectionServiceStub(await self._channel("ingest"))

    async def profile(self) -> "profile_service_pb2_grpc.ProfileServiceAsyncStub":
        """Knows people."""
        return profile_service_pb2_grpc.ProfileServiceStub(await self._channel("profile"))

    async def history(self) -> "history_service_pb2_grpc.HistoryServiceAsyncStub":
        """Knows what happened to people."""
        return history_service_pb2_grpc.HistoryServiceStub(await self._channel("profile"))

    async def segment(self) -> "segment_service_pb2_grpc.SegmentServiceAsyncStub":
        """Keeps the definitions of segments."""
        return segment_service_pb2_grpc.SegmentServiceStub(await self._channel("segment"))

    async def triggers(self) -> "trigger_service_pb2_grpc.TriggerServiceAsyncStub":
        """Keeps the definitions of triggers."""
        return trigger_service_pb2_grpc.TriggerServiceStub(await self._channel("segment"))

    async def memberships(self) -> "membership_service_pb2_grpc.MembershipServiceAsyncStub":
        """Knows who is in what."""
        return membership_service_pb2_grpc.MembershipServiceStub(await self._channel("segment"))

    async def recommend(self) -> "recommend_service_pb2_grpc.RecommendServiceAsyncStub":
        """Knows who may like what."""
        return recommend_service_pb2_grpc.RecommendServiceStub(await self._channel("recommend"))

    async def models(self) -> "model_service_pb2_grpc.ModelServiceAsyncStub":
        """Knows what recommend has learnt."""
        return model_service_pb2_grpc.ModelServiceStub(await self._channel("recommend"))

    async def templates(self) -> "template_service_pb2_grpc.TemplateServiceAsyncStub":
        """Keeps templates."""
        return template_service_pb2_grpc.TemplateServiceStub(await self._channel("render"))

    async def campaigns(self) -> "campaign_service_pb2_grpc.CampaignServiceAsyncStub":
        """Keeps campaigns."""
        return campaign_service_pb2_grpc.CampaignServiceStub(await self._channel("render"))

    async def previews(self) -> "preview_service_pb2_grpc.PreviewServiceAsyncStub":
        """Shows what templates and campaigns would say, and sends it to those who write them."""
        return preview_service_pb2_grpc.PreviewServiceStub(await self._channel("render"))

    async def messages(self) -> "message_service_pb2_grpc.MessageServiceAsyncStub":
        """Tells what was sent, and why."""
        return message_service_pb2_grpc.MessageServiceStub(await self._channel("render"))

    async def deliveries(self) -> "delivery_service_pb2_grpc.DeliveryServiceAsyncStub":
        """Hands out messages."""
        return delivery_service_pb2_grpc.DeliveryServiceStub(await self._channel("render"))

    async def operations(self, service: str) -> "operation_service_pb2_grpc.OperationServiceAsyncStub":
        """Knows a service's long-running work."""
        return operation_service_pb2_grpc.OperationServiceStub(await self._channel(service))

    async def set_aside(self, service: str) -> "set_aside_service_pb2_grpc.SetAsideServiceAsyncStub":
        """Knows whom a service can't work with for now."""
        return set_aside_service_pb2_grpc.SetAsideServiceStub(await self._channel(service))

    def _missing(self, service: str) -> str:
        if self.running.process_id is None:
            return f"{service.upper()}_ADDRESS is not set"
        return "it was left out with --without"

    async def _channel(self, service: str) -> grpc.aio.Channel:
        if service not in self._channels:
            there = self.running.services.get(service)
            if there is None:
                raise FailedPrecondition(f"{service} does not run here: {self._missing(service)}")
            self._channels[service] = await self._stack.enter_async_context(
                open_channel(
                    there.grpc, api_key=self.api_key, tls=self.tls, deadline_seconds=self._deadline_seconds
                )
            )
        return self._channels[service]


@asynccontextmanager
async def connect(folder: Path, deadline_seconds: float = 10.0) -> AsyncIterator[Clients]:
    """Reach what runs in a home; FailedPrecondition where nothing does.

    With TESSERA_API_KEY in the environment it is what <SERVICE>_ADDRESS name instead, over TLS where
    TLS_CA_FILE says whom to trust.
    """
    key, tls = os.environ.get(API_KEY, ""), None
    if key:
        running = Running.told_by(os.environ)
        files = (os.environ.get(name) for name in ("TLS_CERTIFICATE_FILE", "TLS_KEY_FILE", "TLS_CA_FILE"))
        tls = Tls.of(*(Path(file) if file else None for file in files))
    else:
        home = Home.at(folder)
        running = Running.read(home)
        key = SecretFiles(home.secrets).get(key_name(ADMIN))
    async with AsyncExitStack() as stack:
        yield Clients(running, key, tls, stack, deadline_seconds)
