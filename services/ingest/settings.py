"""What ingest is told by its environment."""

from typing import ClassVar

from pydantic import Field

from libs.settings import ServiceSettings


class Settings(ServiceSettings):
    """Names begin with `INGEST_`, or are shared by all services."""

    service: ClassVar[str] = "ingest"

    http_address: str = "127.0.0.1:8080"
    """Where the tracking API listens, as `host:port`."""
    unsubscribe_key: str = Field("", pattern=r"^(.{16,})?$")
    """The secret that signs unsubscribe links, the same as render's; at least 16 characters. Without it
    there is no unsubscribe page."""
