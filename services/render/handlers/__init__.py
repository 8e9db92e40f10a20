"""The use cases of render: keep templates and campaigns, decide, preview, and hand messages out."""

from services.render.handlers.deciding import Decider
from services.render.handlers.delivering import Deliveries
from services.render.handlers.library import Library
from services.render.handlers.previewing import Previews

__all__ = ["Decider", "Deliveries", "Library", "Previews"]
