"""What segment keeps in PostgreSQL."""

from services.segment.repository.definitions import Plans, SqlDefinitions
from services.segment.repository.members import SqlMembers
from services.segment.repository.states import Cache, SqlStates

__all__ = ["Cache", "Plans", "SqlDefinitions", "SqlMembers", "SqlStates"]
