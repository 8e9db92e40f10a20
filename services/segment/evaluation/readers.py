"""Which rules read what: of all segments, only those are asked that a change can concern."""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Mapping, Set
from typing import TypeAlias

from libs.expressions import Feature, Rule, RuleSet
from services.segment.domain import State, values_at
from services.segment.evaluation.features import Features

Key: TypeAlias = tuple[int, ...] | str
"""What a change concerns: the series of an event, by their ids; a trait, by its name; or CONSENT."""
CONSENT = ()
_ANY_TRAIT = "*"
# Each is compiled: beyond so many, all segments are asked.
_MOST_PARTS = 500


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
        parts = []
        count = 0
        for key in touched:
            part = self._parts.get(key) or self._make(key)
            count += len(part.ids)
            # Whoever reads of two keys is asked twice: beyond some, asking all once is less work.
            if 2 * count > len(self._rules):
                return [self._whole]
            if part.ids:
                parts.append(part)
        return parts

    def _make(self, key: Key) -> _Part:
        if len(self._parts) == _MOST_PARTS:
            return self._whole
        if isinstance(key, str):
            ids = self._of_trait[key] | self._of_trait[_ANY_TRAIT]
        elif key == CONSENT:
            ids = self._of_consent
        else:
            ids = {segment_id for series_id in key for segment_id in self._of_series[series_id]}
        rules = {segment_id: rule for segment_id, rule in self._rules.items() if segment_id in ids}
        part = self._whole if 2 * len(rules) > len(self._rules) else _Part(rules, self._located)
        self._parts[key] = part
        return part
