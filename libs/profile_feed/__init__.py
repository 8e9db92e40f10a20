"""Reads `tessera.profile.updates` and whole histories, for every service downstream of profile.

A batch of the log is sorted into steps by profile and clocks by partition (`records`). A reader keeps, for
each person, the revision that it has applied: steps up to it are repetitions, and where the next one is
missing it reads on in the person's history (`revisions`, `histories`). Histories are read in portions: what
came within a call's time is applied and kept, and the next call goes on behind it.

Each person stands alone. Whoever's step or history can't be read is set aside (`set_aside`): told in the
log, by a metric and in a list, tried again later and later, and at once where somebody asks for it.
"""

from libs.profile_feed.histories import ProfileHistories
from libs.profile_feed.ports import Histories, HistoryPart
from libs.profile_feed.records import CLOCK, UPDATED, Feed, feed_of, step_of
from libs.profile_feed.revisions import Step, has_gap, unseen
from libs.profile_feed.set_aside import SetAside, SetAsideProfile

__all__ = [
    "CLOCK",
    "UPDATED",
    "Feed",
    "Histories",
    "HistoryPart",
    "ProfileHistories",
    "SetAside",
    "SetAsideProfile",
    "Step",
    "feed_of",
    "has_gap",
    "step_of",
    "unseen",
]
