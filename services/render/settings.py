"""What render is told by its environment."""

from typing import ClassVar

from pydantic import Field

from libs.settings import ServiceSettings


class Settings(ServiceSettings):
    """Names begin with `RENDER_`, or are shared by all services."""

    service: ClassVar[str] = "render"

    profile_address: str
    """Where profile answers, as `host:port`."""
    segment_address: str
    """Where segment answers, as `host:port`."""
    recommend_address: str
    """Where recommend answers, as `host:port`."""
    public_url: str = Field("http://127.0.0.1:8080", pattern=r"^https?://[!-~]{1,200}$")
    """Where the world reaches ingest's HTTP API: what unsubscribe links begin with. HTTPS in production."""
    unsubscribe_keys: str = ""
    """The secrets of unsubscribe links, newest first, with commas between; the same as ingest's, each of at
    least 16 characters."""
    engine_processes: int = Field(1, ge=1, le=64)
    """How many processes fill templates for the consumer; previews have one of their own."""
    engine_seconds: float = Field(1.0, gt=0, le=10)
    """The processor time that one message may take."""
