"""What a worker remembers of the batches that it has committed."""

from collections.abc import Mapping
from itertools import islice


class Cache:
    """Owners of identifiers, and stored profiles. An entry counts only at the locked row's revision."""

    def __init__(self, most: int = 50_000) -> None:
        self.owners: dict[str, str | None] = {}
        self.states: dict[str, tuple[int, bytes]] = {}
        self._most = most

    def forget(self) -> None:
        """Drop everything."""
        self.owners.clear()
        self.states.clear()

    def update(self, owners: Mapping[str, str | None], states: Mapping[str, tuple[int, bytes]]) -> None:
        """Remember what a commit made true; the oldest entries go first."""
        self.owners.update(owners)
        self.states.update(states)
        for entries in (self.owners, self.states):
            for key in list(islice(entries, max(0, len(entries) - self._most))):
                del entries[key]
