"""Declares every topic: the one place that says who owns it and how it is kept."""

from dataclasses import dataclass
from datetime import timedelta

RETENTION = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Topic:
    """A declared topic. Partitions and replicas are the deployment's: every topic has the same."""

    name: str
    owner: str
    """The service that writes it, creates it, and alone may."""
    retention: timedelta = RETENTION


INGEST_EVENTS = Topic("ingest.events", owner="ingest")
INGEST_IMPORTS = Topic("ingest.imports", owner="ingest")
PROFILE_UPDATES = Topic("profile.updates", owner="profile")
SEGMENT_TRANSITIONS = Topic("segment.transitions", owner="segment")
RENDER_MESSAGES = Topic("render.messages", owner="render")
# Each consumer owns its dead letters, since an outbox numbers its topics alone.
PROFILE_DEAD_LETTERS = Topic("profile.dead_letters", owner="profile", retention=timedelta(days=28))
SEGMENT_DEAD_LETTERS = Topic("segment.dead_letters", owner="segment", retention=timedelta(days=28))
RECOMMEND_DEAD_LETTERS = Topic("recommend.dead_letters", owner="recommend", retention=timedelta(days=28))
RENDER_DEAD_LETTERS = Topic("render.dead_letters", owner="render", retention=timedelta(days=28))

ALL = (
    INGEST_EVENTS,
    INGEST_IMPORTS,
    PROFILE_UPDATES,
    SEGMENT_TRANSITIONS,
    RENDER_MESSAGES,
    PROFILE_DEAD_LETTERS,
    SEGMENT_DEAD_LETTERS,
    RECOMMEND_DEAD_LETTERS,
    RENDER_DEAD_LETTERS,
)


def owned_by(service: str) -> list[Topic]:
    """The topics that a service creates at its start."""
    return [topic for topic in ALL if topic.owner == service]
