"""Many rules as one function."""

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from typing import Any, Generic, TypeAlias, TypeVar

from libs.expressions import checked, codegen
from libs.expressions.features import Feature
from libs.expressions.rule import Rule, parse_predicate

# Characters of rules that become one Python function. Python compiles a function in time that grows faster
# than its length, while each function more computes again the values that it shares with others.
_FUSED_TEXT = 40_000

Key = TypeVar("Key", bound=Hashable)
Values: TypeAlias = Mapping[int, int | float | None] | Sequence[int | float | None]


class RuleSet(Generic[Key]):
    """Rules fused together, so that each value that several of them read is computed once."""

    def __init__(self, rules: Mapping[Key, Rule]) -> None:
        self.features: tuple[Feature, ...] = tuple(
            dict.fromkeys(feature for rule in rules.values() for feature in rule.features)
        )
        positions = {feature: position for position, feature in enumerate(self.features)}
        self._functions = [codegen.compile_rules(part, positions) for part in _parts(rules)]

    def evaluate(self, traits: Mapping[str, Any], consent: Mapping[str, bool], values: Values) -> list[Key]:
        """The keys of the rules that hold, in the order of definition.

        `values[i]` is the value of `features[i]`, None where it is undefined; only those are asked for
        on which something depends.
        """
        held: list[Key] = []
        traits, consent = _dict(traits), _dict(consent)
        for function in self._functions:
            function(traits, consent, values, held.append)
        return held


def compile_predicate(where: str) -> Callable[[Mapping[str, Any]], bool]:
    """A function of an event's properties that tells whether it belongs to a series."""
    holds = codegen.compile_condition(parse_predicate(where))
    return lambda properties: holds(_dict(properties))


def _dict(mapping: Mapping[str, Any]) -> dict[str, Any]:
    # Generated code knows maps by their type, as JSON has them.
    return mapping if type(mapping) is dict else dict(mapping)


def _parts(rules: Mapping[Key, Rule]) -> Iterator[list[tuple[Hashable, checked.Node]]]:
    part: list[tuple[Hashable, checked.Node]] = []
    length = 0
    for key, rule in rules.items():
        part.append((key, rule.tree))
        length += len(rule.text)
        if length > _FUSED_TEXT:
            yield part
            part, length = [], 0
    if part:
        yield part
