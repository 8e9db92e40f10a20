"""The names of events and traits that were seen, and how often."""

import time
from collections.abc import Callable, Mapping, Sequence

from libs.database import Connection, Database
from services.segment.membership.model import Update
from services.segment.model import Named

_MOST_NAMES = 5000
_MOST_LENGTH = 200
_SAVE_SECONDS = 10.0

# Beyond the bound no name is added; what is known goes on being counted.
_SAVE = """
insert into segment.event_names as n (kind, name, count)
select i.kind, i.name, i.count from unnest($1::text[], $2::text[], $3::bigint[]) as i (kind, name, count)
where exists (select from segment.event_names as o where o.kind = i.kind and o.name = i.name)
   or (select count(*) from segment.event_names as o where o.kind = i.kind) < $4
order by i.kind, i.name
on conflict (kind, name) do update set count = n.count + excluded.count
"""
_KNOWN = "select kind, name from segment.event_names order by count desc, kind, name"


class EventNames:
    """Counts names in memory, and adds them up in the table now and then: a new name at once."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        # By kind, the names that are known, and how often each came since they were saved.
        self._counted: dict[str, dict[str, int]] = {"event": {}, "page": {}, "screen": {}, "trait": {}}
        self._has_new = False
        self._saved = 0.0

    def count(self, update: Update) -> None:
        """Note what was seen in a step."""
        events = self._counted["event"]
        for trait, _ in update.traits:
            self._add("trait", trait)
        for occurrence in update.occurrences:
            name = occurrence.name
            if name in events:
                events[name] += 1
            elif name:
                self._add("event", name)
            if occurrence.view and occurrence.viewed:
                self._add(occurrence.view, occurrence.viewed)

    def _add(self, kind: str, name: str) -> None:
        counted = self._counted[kind]
        if name in counted:
            counted[name] += 1
            return
        if len(counted) < _MOST_NAMES and len(name) <= _MOST_LENGTH and "\0" not in name:
            counted[name] = 1
            self._has_new = True

    def forget(self) -> None:
        """Start over: what was saved may have been rolled back."""
        for counted in self._counted.values():
            counted.clear()

    async def save(self, connection: Connection) -> None:
        """Add what was counted to the table, if it is time; counts that a failure loses are no matter."""
        now = self._clock()
        if not (self._has_new or abs(now - self._saved) >= _SAVE_SECONDS):
            return
        # In one order everywhere, or two workers could wait for each other.
        counted = sorted(
            (kind, name, count)
            for kind, names in self._counted.items()
            for name, count in names.items()
            if count
        )
        if not counted:
            return
        for names in self._counted.values():
            names.update(dict.fromkeys(names, 0))
        self._has_new, self._saved = False, now
        await connection.execute(_SAVE, *map(list, zip(*counted, strict=True)), _MOST_NAMES)


class SqlEventNames:
    """The names that were seen, for those who define something."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def seen(self) -> Mapping[Named, Sequence[str]]:
        """Those of each kind, most frequent first."""
        seen: dict[Named, list[str]] = {"event": [], "page": [], "screen": [], "trait": []}
        for kind, name in await self._database.pool.fetch(_KNOWN):
            seen[kind].append(name)
        return seen
