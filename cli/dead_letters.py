"""Finds dead letters over either log, and replays each as what it is."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from uuid import UUID

from cli.clients import Clients
from cli.running import Running
from libs.database import open_database
from libs.errors import FailedPrecondition
from libs.messaging import EventLog, TopicDiffers, TopicMissing
from libs.messaging.dead_letters import DeadLetter, read_letters, settle
from libs.messaging.opening import open_log
from libs.messaging.topics import (
    ALL,
    PROFILE_DEAD_LETTERS,
    PROFILE_UPDATES,
    RECOMMEND_DEAD_LETTERS,
    RENDER_DEAD_LETTERS,
    SEGMENT_DEAD_LETTERS,
    Topic,
)
from tessera.profile.v1 import history_service_pb2 as history_pb

LETTERS = {
    topic.owner: topic
    for topic in (PROFILE_DEAD_LETTERS, SEGMENT_DEAD_LETTERS, RECOMMEND_DEAD_LETTERS, RENDER_DEAD_LETTERS)
}
_TOPICS = {topic.name: topic for topic in ALL}
# On Kafka nothing here needs the database: a URL that leads nowhere is never followed.
_NOWHERE = "postgresql://"
_PROFILES_AT_ONCE = 1000


@dataclass(slots=True)
class Replayed:
    """What became of some letters."""

    appended: list[DeadLetter] = field(default_factory=list)
    """They are in their topics once more."""
    rebuilt: list[DeadLetter] = field(default_factory=list)
    """Their profiles' last steps were sent again: whoever lacks something rebuilds."""
    left: list[DeadLetter] = field(default_factory=list)
    """Their keys name no profile: they stay open."""


@asynccontextmanager
async def open_running_log(running: Running) -> AsyncIterator[EventLog]:
    """The log of what runs."""
    url, log_url = running.database_url, running.event_log_url
    if not url and not log_url:
        raise FailedPrecondition(
            "which event log? set EVENT_LOG_URL, or DATABASE_URL where it is PostgreSQL's"
        )
    access = running.kafka_access
    if access.servers:
        await access.probe()
    async with (
        open_database(url or _NOWHERE, "tessera dead-letters", pool_size=4) as database,
        open_log(database, access, running.partitions, running.namespace) as event_log,
    ):
        yield event_log


async def find(event_log: EventLog, services: Sequence[str]) -> list[DeadLetter]:
    """All letters of some services; one that has never been started has none."""

    async def of(topic: Topic) -> list[DeadLetter]:
        try:
            return await read_letters(event_log, topic)
        except TopicMissing:
            return []
        except TopicDiffers as error:
            raise FailedPrecondition(str(error)) from error

    found = await asyncio.gather(*(of(LETTERS[service]) for service in services))
    return [letter for letters in found for letter in letters]


async def replay(clients: Clients, event_log: EventLog, letters: Sequence[DeadLetter]) -> Replayed:
    """Append events and transitions again, which their readers know by their ids; have profiles rebuilt.

    A letter is settled after it was replayed: what is interrupted is replayed twice, which is harmless.
    """
    done = Replayed()
    for letter in letters:
        topic = _TOPICS[letter.origin[0]]
        if topic is not PROFILE_UPDATES:
            await event_log.publish(topic, [letter.again()])
            done.appended.append(letter)
        elif _profile_id(letter):
            done.rebuilt.append(letter)
        else:
            done.left.append(letter)
    ids = sorted({_profile_id(letter) for letter in done.rebuilt})
    for start in range(0, len(ids), _PROFILES_AT_ONCE):
        request = history_pb.ResendProfilesRequest(profile_ids=ids[start : start + _PROFILES_AT_ONCE])
        await (await clients.history()).ResendProfiles(request)
    await settle(event_log, [*done.appended, *done.rebuilt])
    return done


def _profile_id(letter: DeadLetter) -> str:
    """The profile that a letter's key names; empty for none."""
    try:
        return str(UUID(letter.record.key.decode()))
    except ValueError:
        return ""
