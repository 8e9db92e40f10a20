"""What a person allows or forbids, by purpose, and who has the last word on it."""

import msgspec

MOST_PURPOSES = 100


class Choice(msgspec.Struct, array_like=True, gc=False):
    """What a person allows or forbids for one purpose, and what decides the last writer."""

    granted: bool
    time: int
    event_id: bytes
