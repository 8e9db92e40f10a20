"""What profile is told by its environment."""

from typing import ClassVar

from pydantic import Field

from libs.settings import ServiceSettings


class Settings(ServiceSettings):
    """Names begin with `PROFILE_`, or are shared by all services."""

    service: ClassVar[str] = "profile"

    clock_seconds: float = Field(0.2, gt=0, le=10)
    """How often everybody downstream is told the time: timers fire with about this lateness."""
