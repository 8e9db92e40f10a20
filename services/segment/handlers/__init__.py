"""The use cases of segment: follow everybody, and keep what is defined."""

from services.segment.handlers.defining import InvalidExpression, Segments
from services.segment.handlers.following import Followed, Follower

__all__ = ["Followed", "Follower", "InvalidExpression", "Segments"]
