"""Membership's tables: states, timers, clocks, effects, members, the plan, and the names of events."""

from services.segment.membership.sql.members import SqlMembers
from services.segment.membership.sql.names import EventNames, SqlEventNames
from services.segment.membership.sql.plans import Plans
from services.segment.membership.sql.states import Cache, SqlStates
from services.segment.membership.sql.tables import TABLES

__all__ = ["TABLES", "Cache", "EventNames", "Plans", "SqlEventNames", "SqlMembers", "SqlStates"]
