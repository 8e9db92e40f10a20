"""Green because nothing ran: a generated test tells what it has tried, and fails where that is not enough."""

from collections import Counter


def assert_tried(tried: Counter[str], *what: str, least: int = 1) -> None:
    """Each of these was tried so often at least."""
    assert what
    missing = {name: tried[name] for name in what if tried[name] < least}

    assert {} == missing, f"too little was tried (at least {least} times each): {tried}"
