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
        self._parts: dict[frozenset[Key], _Part] = {}
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
        part = self._whole if touched is None else self._part(touched)
        return part.ids, set(part.holding(state, at))

    def _part(self, touched: Collection[Key]) -> _Part:
        """The segments that read any of these; most changes are of one event, so there are few parts."""
        keys = frozenset(key for key in touched if key in self._of)
        if _ANY_TRAIT in self._of and any(type(key) is str for key in touched):
            keys |= {_ANY_TRAIT}
        part = self._parts.get(keys)
        if part is None:
            ids = {segment_id for key in keys for segment_id in self._of[key]}
            if 2 * len(ids) > len(self._rules) or len(self._parts) == _MOST_PARTS:
                return self._whole
            rules = {segment_id: rule for segment_id, rule in self._rules.items() if segment_id in ids}
            part = self._parts[keys] = _Part(rules, self._located)
        return part
