"""A rule: text that was parsed and type-checked."""

from dataclasses import dataclass, field

from libs.expressions import checked, checker, parser
from libs.expressions.errors import RuleError, error_at
from libs.expressions.features import Feature

MAX_TEXT = 10_000


@dataclass(frozen=True, slots=True)
class Rule:
    """A checked rule, ready to be compiled with others into a `RuleSet`."""

    text: str
    # In order of appearance, distinct.
    features: tuple[Feature, ...]
    # The top-level traits that it reads; {"*"} where they are not known before it runs.
    traits: frozenset[str]
    uses_consent: bool
    tree: checked.Node = field(repr=False, compare=False)


def parse_rule(text: str) -> Rule:
    """Parses and checks a rule; raises RuleError where it is wrong."""
    tree, findings = _checked(text, MAX_TEXT, ("traits", "consent"))
    traits = frozenset({"*"} if "*" in findings.traits else findings.traits)
    return Rule(text, tuple(findings.features), traits, findings.uses_consent, tree)


def parse_predicate(text: str) -> checked.Node:
    """Parses and checks what `where` holds, over the properties of one event."""
    # The canonical text may be longer than what it was part of: a control character takes six.
    return _checked(text, 8 * MAX_TEXT, ("properties",))[0]


def _checked(text: str, limit: int, roots: tuple[str, ...]) -> tuple[checked.Node, checker.Findings]:
    if len(text) > limit:
        raise error_at(text, limit, f"a rule has at most {limit:,} characters, and this has {len(text):,}")
    try:
        return checker.check(text, parser.parse(text), roots)
    except RecursionError:
        # The bounds on nesting fit into Python's stack unless the caller has used most of it.
        raise RuleError(1, 1, "the rule nests too deeply; split it up") from None
