"""What is known of a person, by name: which of two values stays, and how much of it there may be."""

import msgspec

# A profile is read and written whole with every event: what grows without end would stop its partition.
MOST_TRAIT_BYTES = 256 * 1024
# What a trait takes up beside its name and value.
_TRAIT_BYTES = 40

# The traits that hold the address that mail and messages go to.
ADDRESS_TRAITS = frozenset({"email", "phone"})


class Trait(msgspec.Struct, array_like=True, gc=False):
    """A trait's value and what decides the last writer. A removed trait stays, with None.

    The value is JSON as it came, so that no number loses a digit.
    """

    value: bytes | None
    time: int
    event_id: bytes
    trusted: bool
    """Whether a server said so, of a profile that it knows by more than claims."""


def trait_wins(name: str, new: Trait, old: Trait | None) -> bool:
    """Whether `new` replaces `old`: the later event time wins, at equal times the greater event id.

    An address that a server did not give never replaces one, and gives way to whatever a server says.
    """
    if name in ADDRESS_TRAITS:
        if not new.trusted:
            return old is None and new.value is not None
        if old is not None and not old.trusted:
            return True
    return old is None or (new.time, new.event_id) > (old.time, old.event_id)


def size_of(name: str, trait: Trait | None) -> int:
    """The bytes that a trait takes up, of the most that a profile may have."""
    return 0 if trait is None else _TRAIT_BYTES + len(name) + len(trait.value or b"")
