"""What a worker remembers of the batches that it has committed."""

from collections.abc import Mapping
from typing import Final

# Of each worker, counted as stored (ADR 0013): some 10,000 to 30,000 people.
MOST_BYTES: Final = 16 << 20
# What an entry takes up in the dictionaries beside its content: key, tuple, number.
_ENTRY_BYTES: Final = 200
_OWNER_BYTES: Final = 250


class Cache:
    """Owners of identifiers, and stored profiles. An entry counts only at the locked row's revision."""

    def __init__(self, most_bytes: int = MOST_BYTES) -> None:
        self.owners: dict[str, str | None] = {}
        self.states: dict[str, tuple[int, bytes]] = {}
        self._most_bytes = most_bytes
        self._state_bytes = 0

    @property
    def size(self) -> int:
        """About the bytes that it takes up."""
        return self._state_bytes + len(self.states) * _ENTRY_BYTES + len(self.owners) * _OWNER_BYTES

    def forget(self) -> None:
        """Drop everything."""
        self.owners.clear()
        self.states.clear()
        self._state_bytes = 0

    def update(self, owners: Mapping[str, str | None], states: Mapping[str, tuple[int, bytes]]) -> None:
        """Remember what a commit made true; what was stored longest ago goes first."""
        self.owners.update(owners)
        for profile_id, state in states.items():
            known = self.states.pop(profile_id, None)
            if known is not None:
                self._state_bytes -= len(known[1])
            self.states[profile_id] = state
            self._state_bytes += len(state[1])
        # Two thirds are for profiles: without its profile an owner is looked up in vain.
        while self.states and self._state_bytes + len(self.states) * _ENTRY_BYTES > self._most_bytes * 2 // 3:
            _, oldest = self.states.pop(next(iter(self.states)))
            self._state_bytes -= len(oldest)
        while len(self.owners) * _OWNER_BYTES > self._most_bytes // 3:
            del self.owners[next(iter(self.owners))]
