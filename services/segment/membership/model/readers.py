"""Which rules read what: of all segments, only those are asked that a change can concern."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Set
from itertools import chain
from typing import TypeAlias

from libs.expressions import Feature, Rule, RuleSet
from services.segment.membership.model.features import Features
from services.segment.membership.model.state import State, values_at
from services.segment.membership.model.tracking import ALL_TRAITS

Key: TypeAlias = tuple[int, ...] | str
"""What a change concerns: the series of an event, by their ids; a trait, by its name; or CONSENT."""
CONSENT = ()
# Events fall into sets of series by their conditions: beyond so many sets, a set is asked series by series.
_MOST_SETS = 500
# Keys of which it is remembered who reads them: as many as come often, whatever comes.
_MOST_KEYS = 2000


class _Part:
    """Some segments whose rules are evaluated together."""

    def __init__(self, rules: Mapping[str, Rule], located: Callable[[Iterable[Feature]], Features]) -> None:
        self.ids = frozenset(rules)
        self._rules = RuleSet(rules)
        self._features = located(self._rules.features)
        names = {name for rule in rules.values() for name in rule.traits}
        self._traits = None if ALL_TRAITS in names else tuple(sorted(names))
        self._uses_consent = any(rule.uses_consent for rule in rules.values())

    def holding(self, state: State, at: int) -> list[str]:
        """The segments whose rules hold at a time."""
        traits = values_at(state.traits, names=self._traits)
        consent = values_at(state.consent) if self._uses_consent else {}
        return self._rules.evaluate(traits, consent, self._features.values(state, at))


class Readers:
    """All segments, by what their rules read."""

    def __init__(
        self,
        rules: Mapping[str, Rule],
        located: Callable[[Iterable[Feature]], Features],
    ) -> None:
        self._rules = rules
        self._located = located
        self._whole = _Part(rules, located)
        self.by_default = frozenset(self._whole.holding(State(""), 0))
        """The segments of somebody of whom nothing is known."""
        self._parts: dict[Key, _Part] = {}
        self._of_one: dict[Key, list[_Part]] = {}
        self._sets = 0
        self._of_series: dict[int, set[str]] = defaultdict(set)
        self._of_trait: dict[str, set[str]] = defaultdict(set)
        self._of_consent = {segment_id for segment_id, rule in rules.items() if rule.uses_consent}
        windows: dict[int, set[int]] = defaultdict(set)
        for segment_id, rule in rules.items():
            for name in rule.traits:
                self._of_trait[name].add(segment_id)
            for f in located(rule.features).located:
                self._of_series[f.series_id].add(segment_id)
                if f.window is not None:
                    windows[f.series_id].add(f.window)
        # By series, the windows through which rules look at it, in microseconds.
        self.windows: Mapping[int, tuple[int, ...]] = {
            series_id: tuple(sorted(found)) for series_id, found in windows.items()
        }

    def holding(self, state: State, at: int, touched: Collection[Key] | None) -> tuple[Set[str], Set[str]]:
        """The segments that read something of `touched`, and those of them whose rules hold at a time."""
        parts = [self._whole] if touched is None else self._parts_of(touched)
        if len(parts) == 1:
            return parts[0].ids, set(parts[0].holding(state, at))
        ids: set[str] = set()
        held: set[str] = set()
        for part in parts:
            ids |= part.ids
            held.update(part.holding(state, at))
        return ids, held

    def _parts_of(self, touched: Collection[Key]) -> list[_Part]:
        if len(touched) != 1:
            return self._joined(touched)
        # Most changes are one event.
        (key,) = touched
        parts = self._of_one.get(key)
        if parts is None:
            parts = self._joined(touched)
            if len(self._of_one) < _MOST_KEYS:
                self._of_one[key] = parts
        return parts

    def _joined(self, touched: Collection[Key]) -> list[_Part]:
        parts: dict[Key, _Part] = {}
        count = 0
        for key in chain.from_iterable(map(self._normal, touched)):
            if key in parts:
                continue
            part = parts[key] = self._parts.get(key) or self._make(key)
            count += len(part.ids)
            # Whoever reads of two keys is asked twice: beyond some, asking all once is less work.
            if part is self._whole or 2 * count > len(self._rules):
                return [self._whole]
        return list(parts.values())

    def _normal(self, key: Key) -> Iterable[Key]:
        """The keys by which its readers are kept; nothing where nobody reads it.

        There are as many as rules read names and series, and a bounded number of sets of series: what
        events and traits there are makes no difference.
        """
        if isinstance(key, str):
            if key in self._of_trait:
                return (key,)
            return (ALL_TRAITS,) if ALL_TRAITS in self._of_trait else ()
        if key == CONSENT:
            return (key,) if self._of_consent else ()
        read = tuple([series_id for series_id in key if series_id in self._of_series])
        if len(read) < 2 or read in self._parts or self._sets < _MOST_SETS:
            return (read,) if read else ()
        return [(series_id,) for series_id in read]

    def _make(self, key: Key) -> _Part:
        if isinstance(key, str):
            ids = self._of_trait[key] | self._of_trait.get(ALL_TRAITS, set())
        elif key == CONSENT:
            ids = self._of_consent
        else:
            ids = {segment_id for series_id in key for segment_id in self._of_series[series_id]}
            self._sets += len(key) > 1
        rules = {segment_id: rule for segment_id, rule in self._rules.items() if segment_id in ids}
        part = self._whole if 2 * len(rules) > len(self._rules) else _Part(rules, self._located)
        self._parts[key] = part
        return part
