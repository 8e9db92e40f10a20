"""Histories of shops as calls of Segment's tracking API, to be replayed through the front door."""

from cli.replay import online_retail, sample_shop, timeline
from cli.replay.call import Call, SourcedCall
from cli.replay.history import History, Source, open_history

__all__ = [
    "Call",
    "History",
    "Source",
    "SourcedCall",
    "online_retail",
    "open_history",
    "sample_shop",
    "timeline",
]
