"""Declares every topic: the one place that says who writes it, who reads it, and how it is kept."""

from dataclasses import dataclass
from datetime import timedelta

RETENTION = timedelta(days=7)
LETTERS_RETENTION = timedelta(days=28)
UNREAD_RETENTION = timedelta(days=28)
"""How long the log in PostgreSQL keeps what a declared reader has not read, where that is longer than its
topic's retention. Kafka knows no such difference: there retention alone decides."""


@dataclass(frozen=True, slots=True)
class Topic:
    """A declared topic. Partitions and replicas are the deployment's: every topic has the same."""

    name: str
    owner: str
    """The service that writes it, creates it, and alone may."""
    readers: tuple[str, ...] = ()
    """The groups that read it on, wherever they stand. Nobody else's offsets keep a record."""
    retention: timedelta = RETENTION
    types: frozenset[str] = frozenset()
    """The CloudEvents types of its records. Readers leave out and count any other; none: all are taken."""


_COLLECTED = frozenset({"tessera.ingest.v1.EventCollected"})
INGEST_EVENTS = Topic("ingest.events", owner="ingest", readers=("profile",), types=_COLLECTED)
INGEST_IMPORTS = Topic("ingest.imports", owner="ingest", readers=("profile",), types=_COLLECTED)
PROFILE_UPDATES = Topic(
    "profile.updates",
    owner="profile",
    readers=("segment", "recommend"),
    types=frozenset({"tessera.profile.v1.ProfileUpdated", "tessera.profile.v1.ClockAdvanced"}),
)
SEGMENT_TRANSITIONS = Topic(
    "segment.transitions",
    owner="segment",
    readers=("render",),
    types=frozenset({"tessera.segment.v1.TransitionOccurred"}),
)
# Connectors are handed what is in render's own tables; the topic is for others, who find it on Kafka.
RENDER_MESSAGES = Topic("render.messages", owner="render")
# Each consumer owns its dead letters, since an outbox numbers its topics alone. People look at them.
PROFILE_DEAD_LETTERS = Topic("profile.dead_letters", owner="profile", retention=LETTERS_RETENTION)
SEGMENT_DEAD_LETTERS = Topic("segment.dead_letters", owner="segment", retention=LETTERS_RETENTION)
RECOMMEND_DEAD_LETTERS = Topic("recommend.dead_letters", owner="recommend", retention=LETTERS_RETENTION)
RENDER_DEAD_LETTERS = Topic("render.dead_letters", owner="render", retention=LETTERS_RETENTION)

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
