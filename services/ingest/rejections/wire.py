"""Between the contract's messages and the model."""

from libs.times import timestamp
from services.ingest.rejections.model import KeptRejection
from tessera.ingest.v1 import rejection_service_pb2 as pb


def rejected_pb(kept: KeptRejection) -> pb.RejectedEvent:
    """To the contract."""
    rejected = kept.rejected
    return pb.RejectedEvent(
        rejection_id=str(kept.rejection_id),
        source_id=rejected.source_id,
        received_time=timestamp(rejected.received),
        field=rejected.field,
        reason=rejected.reason,
        body=rejected.body,
    )
