"""What render keeps in PostgreSQL, and what it asks of the other services."""

from services.render.repository.decisions import SqlDecisions
from services.render.repository.library import SqlCampaigns, SqlTemplates
from services.render.repository.messages import SqlMessages
from services.render.repository.neighbours import GrpcNeighbours
from services.render.repository.queue import CHANNEL, SqlQueue

__all__ = [
    "CHANNEL",
    "GrpcNeighbours",
    "SqlCampaigns",
    "SqlDecisions",
    "SqlMessages",
    "SqlQueue",
    "SqlTemplates",
]
