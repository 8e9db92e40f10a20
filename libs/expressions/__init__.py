"""The rule language of segments: CEL over traits, consent and event aggregates, compiled to Python.

A rule is parsed (`lexer`, `parser`), checked (`checker`), and generated together with others (`codegen`).
It holds if it evaluates to exactly true; what CEL calls an error (a missing key, a wrong type) does not.
The language is defined in google/cel-spec, `doc/langdef.md`. What differs here:

- Numbers of different types compare, and values of different types are unequal instead of an error.
- `sum`, `min`, `max` and `avg` are doubles: the numbers of events are kept as such.
- Patterns of `matches` are literals, in the part of RE2's syntax that `regexp` has; a subject of more than
  1,000 characters is an error.
- `string` writes a double as Python does, without a closing `.0`.
- There are no bytes, maps written out, messages, timestamps or durations.
"""

from libs.expressions.errors import RuleError
from libs.expressions.features import ANY, Feature, Kind, Series, number_at
from libs.expressions.rule import Rule, parse_rule
from libs.expressions.ruleset import RuleSet, compile_predicate

__all__ = [
    "ANY",
    "Feature",
    "Kind",
    "Rule",
    "RuleError",
    "RuleSet",
    "Series",
    "compile_predicate",
    "number_at",
    "parse_rule",
]
