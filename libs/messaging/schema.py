"""The log's tables in a service's database: the first service to start creates them for all."""

from pathlib import Path
from typing import Final

from libs.database.schemas import SHARED_OWNER, Schema
from libs.database.tables import ErasedBy, Kept, Lasting, Nobodys

_BOOKKEEPING: Final = Nobodys("how far who has read, and who is at work")

TABLES: Final = (
    Kept("event_log.topics", Lasting("a row a topic"), _BOOKKEEPING),
    Kept("event_log.partitions", Lasting("a row a partition"), _BOOKKEEPING),
    Kept("event_log.shipped", Lasting("a row a partition"), _BOOKKEEPING),
    Kept(
        "event_log.chunks",
        Lasting("by their topic's retention, in retention.py; on Kafka until they are shipped"),
        ErasedBy("retention: copies on a topic end with it, and the receipt of an erasure says when"),
    ),
    Kept("event_log.offsets", Lasting("a row a group and partition"), _BOOKKEEPING),
    Kept("event_log.members", Lasting("while the member lives, and a moment after"), _BOOKKEEPING),
    Kept("event_log.ownerships", Lasting("while the member lives, and a moment after"), _BOOKKEEPING),
    Kept("event_log.leases", Lasting("a row a relay"), _BOOKKEEPING),
)

SCHEMA = Schema("event_log", Path(__file__).parent / "migrations", SHARED_OWNER, TABLES)
