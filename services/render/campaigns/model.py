"""What is sent, to whom, and when."""

from dataclasses import dataclass, replace
from enum import IntEnum

from libs.etags import etag_of
from services.render.model.people import Stream

MOST_RECOMMENDATIONS = 20


class Start(IntEnum):
    """What starts a campaign."""

    SEGMENT = 1
    TRIGGER = 2


@dataclass(frozen=True, slots=True)
class Campaign:
    """One version of a campaign."""

    campaign_id: str
    display_name: str
    start: Start
    definition_id: str
    """The segment's id, or the trigger's."""
    template_id: str
    sender: str
    """One mailbox, as RFC 5322 writes it."""
    reply_to: str
    """Likewise; empty for the sender."""
    stream: Stream
    max_age_seconds: int
    expire_after_seconds: int
    recommendations: int
    paused: bool
    accept_untrusted: bool = False
    """Of transactional mail: whether a cause counts that came with a public key."""
    version: int = 0
    """From 1; 0 where it is not stored."""
    created: int = 0
    """When the campaign was created."""
    updated: int = 0
    """When this version was made."""

    @property
    def etag(self) -> str:
        """Another one with each version."""
        return etag_of("campaign", self.campaign_id, self.version)

    def says_the_same(self, other: "Campaign") -> bool:
        """Whether both are alike in all that a caller can set."""
        return replace(self, version=0, created=0, updated=0) == replace(
            other, version=0, created=0, updated=0
        )
