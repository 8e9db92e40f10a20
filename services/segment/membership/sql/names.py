"""The names of events that were seen, and how often."""

import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

from libs.database import Connection, Database
from libs.expressions import Kind
from services.segment.membership.model import Occurrence

_MOST_NAMES = 5000
_MOST_LENGTH = 200
_SAVE_SECONDS = 10.0

# Beyond the bound no name is added; what is known goes on being counted.
_SAVE = """
insert into segment.event_names as n (kind, name, count)
select i.kind, i.name, i.count from unnest($1::text[], $2::text[], $3::bigint[]) as i (kind, name, count)
where exists (select from segment.event_names as o where o.kind = i.kind and o.name = i.name)
   or (select count(*) from segment.event_names) < $4
order by i.kind, i.name
on conflict (kind, name) do update set count = n.count + excluded.count
"""
_KNOWN = "select kind, name from segment.event_names order by count desc, kind, name"

Name = tuple[str, str]
"""A kind, as rules know it, and a name."""


class EventNames:
    """Counts names in memory, and adds them up in the table now and then: a new name at once."""

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._counted: Counter[Name] = Counter()
        self._known: set[Name] = set()
        self._has_new = False
        self._saved = 0.0

    def count(self, occurrences: Iterable[Occurrence]) -> None:
        """Note that events were seen."""
        for occurrence in occurrences:
            if occurrence.name:
                self._add(("event", occurrence.name))
            if occurrence.view and occurrence.viewed:
                self._add((occurrence.view, occurrence.viewed))

    def _add(self, name: Name) -> None:
        if name not in self._known:
            if len(self._known) >= _MOST_NAMES or len(name[1]) > _MOST_LENGTH or "\0" in name[1]:
                return
            self._known.add(name)
            self._has_new = True
        self._counted[name] += 1

    def forget(self) -> None:
        """Start over: what was saved may have been rolled back."""
        self._known.clear()
        self._counted.clear()

    async def save(self, connection: Connection) -> None:
        """Add what was counted to the table, if it is time; counts that a failure loses are no matter."""
        now = self._clock()
        if not self._counted or not (self._has_new or abs(now - self._saved) >= _SAVE_SECONDS):
            return
        # In one order everywhere, or two workers could wait for each other.
        counted = sorted(self._counted.items())
        self._counted.clear()
        self._has_new, self._saved = False, now
        columns = [k for (k, _), _ in counted], [n for (_, n), _ in counted], [c for _, c in counted]
        await connection.execute(_SAVE, *columns, _MOST_NAMES)


class SqlEventNames:
    """The names that were seen, for those who define something."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def seen(self) -> Mapping[Kind, Sequence[str]]:
        """Those of each kind, most frequent first."""
        seen: dict[Kind, list[str]] = {"event": [], "page": [], "screen": []}
        for kind, name in await self._database.pool.fetch(_KNOWN):
            seen[kind].append(name)
        return seen
