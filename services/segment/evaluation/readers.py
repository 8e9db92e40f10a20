"""Which rules read what: of all segments, only those are asked that a change can concern."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Set
from typing import TypeAlias

from services.segment.domain import State, values_at
from services.segment.evaluation.features import Features
from services.segment.rules import Feature, Rule, RuleSet

Key: TypeAlias = int | str
"""What a rule may read: a series by its id, a trait by its name, or CONSENT."""
CONSENT = -1
_ANY_TRAIT = "*"
_NO_IDS: frozenset[str] = frozenset()


class _Part:
    """Some segments whose rules are evaluated together."""

    def __init__(self, rules: Mapping[str, Rule], located: Callable[[Iterable[Feature]], Features]) -> None:
        self.ids = frozenset(rules)
        self._rules = RuleSet(rules)
        self._features = located(self._rules.features)
        names = {name for rule in rules.values() for name in rule.traits}
        self._traits = None if _ANY_TRAIT in names else tuple(sorted(names))
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
        self._of: dict[Key, list[str]] = defaultdict(list)
        windows: dict[int, set[int]] = defaultdict(set)
        for segment_id, rule in rules.items():
            features = located(rule.features).located
            keys: set[Key] = {*(f.series_id for f in features), *rule.traits}
            for key in keys:
                self._of[key].append(segment_id)
            if rule.uses_consent:
                self._of[CONSENT].append(segment_id)
            for f in features:
                if f.window is not None:
                    windows[f.series_id].add(f.window)
        # By series, the windows through which rules look at it, in microseconds.
        self.windows: Mapping[int, tuple[int, ...]] = {
            series_id: tuple(sorted(found)) for series_id, found in windows.items()
        }

    def holding(self, state: State, at: int, touched: Collection[Key] | None) -> tuple[Set[str], Set[str]]:
        """The segments that read something of `touched`, and those of them whose rules hold at a time."""
        keys = () if touched is None else self._read(touched)
        # Whoever reads two of the keys is asked twice: beyond some, asking all is less work.
        if touched is None or 2 * sum(len(self._of[key]) for key in keys) > len(self._rules):
            return self._whole.ids, set(self._whole.holding(state, at))
        if not keys:
            return _NO_IDS, _NO_IDS
        parts = [self._part(key) for key in keys]
        if len(parts) == 1:
            return parts[0].ids, set(parts[0].holding(state, at))
        held: set[str] = set()
        for part in parts:
            held.update(part.holding(state, at))
        return _NO_IDS.union(*(part.ids for part in parts)), held

    def _read(self, touched: Collection[Key]) -> list[Key]:
        keys = [key for key in touched if key in self._of]
        if _ANY_TRAIT in self._of and any(type(key) is str for key in touched):
            keys.append(_ANY_TRAIT)
        return keys

    def _part(self, key: Key) -> _Part:
        part = self._parts.get(key)
        if part is None:
            rules = {segment_id: self._rules[segment_id] for segment_id in self._of[key]}
            part = self._parts[key] = _Part(rules, self._located)
        return part
