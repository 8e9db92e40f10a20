"""Between the contract's campaigns and ours."""

from collections.abc import Callable

from google.protobuf.duration_pb2 import Duration

from libs.errors import Invalid, Required
from libs.rpc.resources import updated
from libs.times import timestamp
from services.render.campaigns.model import Campaign, Start
from services.render.model.people import Stream
from tessera.render.v1 import campaign_pb2
from tessera.render.v1 import campaign_service_pb2 as pb

_UPDATABLE = (
    "display_name",
    "segment_id",
    "trigger_id",
    "template_id",
    "sender",
    "reply_to",
    "stream",
    "max_age",
    "expire_after",
    "recommendations",
    "paused",
    "accept_untrusted",
)
_STREAMS = {
    campaign_pb2.STREAM_UNSPECIFIED: Stream.MARKETING,
    campaign_pb2.STREAM_MARKETING: Stream.MARKETING,
    campaign_pb2.STREAM_TRANSACTIONAL: Stream.TRANSACTIONAL,
}


def campaign_of(campaign: campaign_pb2.Campaign) -> Campaign:
    """What a caller can set of a campaign."""
    start = campaign.WhichOneof("start")
    if start is None:
        raise Required("campaign.start", "is required: segment_id or trigger_id")
    stream = _STREAMS.get(campaign.stream)
    if stream is None:
        raise Invalid("campaign.stream", "is not one that this version knows")
    return Campaign(
        campaign_id=campaign.campaign_id,
        display_name=campaign.display_name,
        start=Start.SEGMENT if start == "segment_id" else Start.TRIGGER,
        definition_id=campaign.segment_id or campaign.trigger_id,
        template_id=campaign.template_id,
        sender=campaign.sender,
        reply_to=campaign.reply_to,
        stream=stream,
        max_age_seconds=_seconds("max_age", campaign.max_age),
        expire_after_seconds=_seconds("expire_after", campaign.expire_after),
        recommendations=campaign.recommendations,
        paused=campaign.paused,
        accept_untrusted=campaign.accept_untrusted,
    )


def _seconds(name: str, duration: Duration) -> int:
    if duration.nanos:
        raise Invalid(f"campaign.{name}", "must be whole seconds")
    return duration.seconds


def change_of(request: pb.UpdateCampaignRequest) -> Callable[[Campaign | None], Campaign]:
    """What an update makes of a campaign: all of it where there is none."""

    def change(stored: Campaign | None) -> Campaign:
        if stored is None:
            return campaign_of(request.campaign)
        return campaign_of(updated(campaign_pb(stored), request.campaign, request.update_mask, _UPDATABLE))

    return change


def campaign_pb(campaign: Campaign) -> campaign_pb2.Campaign:
    """To the contract."""
    message = campaign_pb2.Campaign(
        campaign_id=campaign.campaign_id,
        display_name=campaign.display_name,
        template_id=campaign.template_id,
        sender=campaign.sender,
        reply_to=campaign.reply_to,
        stream=campaign_pb2.Stream.ValueType(int(campaign.stream)),
        max_age=Duration(seconds=campaign.max_age_seconds),
        expire_after=Duration(seconds=campaign.expire_after_seconds),
        recommendations=campaign.recommendations,
        paused=campaign.paused,
        accept_untrusted=campaign.accept_untrusted,
        version=campaign.version,
        create_time=timestamp(campaign.created),
        update_time=timestamp(campaign.updated),
        etag=campaign.etag if campaign.version else "",
    )
    if campaign.start is Start.SEGMENT:
        message.segment_id = campaign.definition_id
    else:
        message.trigger_id = campaign.definition_id
    return message
