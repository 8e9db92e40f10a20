"""What is wrong with a rule, and where."""


class RuleError(ValueError):
    """A rule that cannot be used; line and column count from 1, in characters."""

    def __init__(self, line: int, column: int, problem: str) -> None:
        super().__init__(f"line {line}, column {column}: {problem}")
        self.line = line
        self.column = column
        self.problem = problem

    def __reduce__(self) -> tuple[type["RuleError"], tuple[int, int, str]]:
        return RuleError, (self.line, self.column, self.problem)


def error_at(text: str, offset: int, problem: str) -> RuleError:
    before = text[:offset].replace("\r\n", "\n").replace("\r", "\n")
    return RuleError(before.count("\n") + 1, len(before) - before.rfind("\n"), problem)
