"""What recommend is told by its environment."""

from typing import ClassVar

from pydantic import Field

from libs.settings import ServiceSettings


class Settings(ServiceSettings):
    """Names begin with `RECOMMEND_`, or are shared by all services."""

    service: ClassVar[str] = "recommend"

    profile_address: str = Field(pattern=r"^.+:\d+$")
    """Where profile answers, as `host:port`: histories are read there where the stream has a gap."""
    model_poll_seconds: float = Field(2.0, gt=0, le=600)
    """How often the models are looked at: a new one serves after about this time."""
    currency: str = Field("", pattern="^([A-Z]{3})?$")
    """What prices are in that were told without a currency, such as `EUR`; empty: it stays open."""
