"""What ingest is told by its environment."""

from typing import ClassVar

from pydantic import Field

from libs.settings import ServiceSettings


class Settings(ServiceSettings):
    """Names begin with `INGEST_`, or are shared by all services."""

    service: ClassVar[str] = "ingest"

    http_address: str = "127.0.0.1:8080"
    """Where the tracking API listens, as `host:port`."""
    unsubscribe_keys: str = ""
    """The secrets of unsubscribe links, newest first, with commas between; the same as render's, each of at
    least 16 characters. Without them there is no unsubscribe page."""
    trace_public: bool = False
    """Whether a browser's key may have its calls traced, past `TRACE_RATIO`: for demonstrations."""
    rejections_kept: int = Field(5_000, ge=1)
    """The most rejected events that are kept of one source: the newest."""
