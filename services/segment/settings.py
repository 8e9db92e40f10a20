"""What segment is told by its environment."""

from typing import ClassVar

from libs.settings import ServiceSettings


class Settings(ServiceSettings):
    """Names begin with `SEGMENT_`, or are shared by all services."""

    service: ClassVar[str] = "segment"

    profile_address: str
    """Where profile answers, as `host:port`: histories are read from it."""
