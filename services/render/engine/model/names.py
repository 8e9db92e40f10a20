"""What a template can name, and what is near to a name that nothing has."""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches

# What `deciding` fills templates with. What stands under traits and an event is the shop's own.
_ROOTS = ("profile", "segments", "recommendations", "event", "campaign", "unsubscribe_url")
_FIELDS = {
    "profile": ("id", "traits"),
    "campaign": ("id", "name"),
}
_ITEM_FIELDS = ("product_id", "name", "price", "currency", "url", "image_url", "category", "reason")
_ALL = (*_ROOTS, *(f"{root}.{name}" for root, names in _FIELDS.items() for name in names))
# What other systems call what we have.
_ELSEWHERE = {
    **dict.fromkeys(
        (
            "user",
            "customer",
            "person",
            "people",
            "contact",
            "recipient",
            "subscriber",
            "traits",
            "attributes",
        ),
        "profile.traits",
    ),
    **dict.fromkeys(("properties", "order", "cart", "data", "event_properties"), "event"),
    **dict.fromkeys(("segment", "lists", "groups"), "segments"),
    **dict.fromkeys(("products", "items", "recommended", "recommendation"), "recommendations"),
    **dict.fromkeys(("unsubscribe", "unsubscribe_link", "unsubscribeUrl"), "unsubscribe_url"),
}
_MOST = 3
_SIZES = frozenset({"size", "first", "last"})

_TAGS_ELSEWHERE = {
    **dict.fromkeys(("elif", "elseif", "else_if", "elsif"), "elsif"),
    **dict.fromkeys(("set", "let", "var"), "assign"),
    **dict.fromkeys(("foreach", "each"), "for"),
    **dict.fromkeys(("endforeach", "endeach"), "endfor"),
    **dict.fromkeys(("switch",), "case"),
    **dict.fromkeys(("endswitch",), "endcase"),
}
_FILTERS_ELSEWHERE = {
    **dict.fromkeys(("upper", "uppercase"), "upcase"),
    **dict.fromkeys(("lower", "lowercase"), "downcase"),
    **dict.fromkeys(("title", "titleize", "capfirst", "titlecase"), "capitalize"),
    **dict.fromkeys(("length", "count"), "size"),
    **dict.fromkeys(("strftime", "format_date", "date_format", "format_date_string"), "date"),
    **dict.fromkeys(("currency", "intcomma", "floatformat", "money_with_currency", "format_number"), "money"),
    **dict.fromkeys(("urlencode", "url_escape"), "url_encode"),
    **dict.fromkeys(("to_json", "tojson", "dump"), "json"),
    **dict.fromkeys(("trim",), "strip"),
    **dict.fromkeys(("defaultIfEmpty", "fallback", "or"), "default"),
    **dict.fromkeys(("add",), "plus"),
    **dict.fromkeys(("subtract",), "minus"),
    **dict.fromkeys(("multiply",), "times"),
    **dict.fromkeys(("divide",), "divided_by"),
}


def is_known(path: Sequence[object]) -> bool:
    """Whether what a template is filled with has, or may have, this name."""
    root, rest = path[0], list(path[1:])
    if not isinstance(root, str):
        # It is worked out when the template is filled.
        return True
    if root == "event":
        # What an event is about stands at once under `event`: who writes this means another system's.
        return rest[:1] != ["properties"] or len(rest) < 2
    if root == "recommendations":
        fields = [part for part in rest if isinstance(part, str)]
        return not fields or fields[0] in _SIZES or fields[0] in _ITEM_FIELDS
    if root in _FIELDS and rest:
        return not isinstance(rest[0], str) or rest[0] in _FIELDS[root] or rest[0] in _SIZES
    return root in _ROOTS


def nearest(path: Sequence[object]) -> list[str]:
    """The names that may be meant, the nearest first; at most three."""
    found: list[str] = []
    for name in _near([part for part in path if isinstance(part, str)]):
        if name not in found:
            found.append(name)
    return found[:_MOST]


def _near(parts: Sequence[str]) -> Iterator[str]:
    root, rest = parts[0], parts[1:]
    if root == "event":
        yield ".".join(["event", *rest[1:]])
        return
    if root == "campaign":
        yield from (f"campaign.{name}" for name in get_close_matches(parts[-1], _FIELDS["campaign"]))
        return
    if root == "recommendations":
        yield from (f"recommendations.{name}" for name in get_close_matches(parts[-1], _ITEM_FIELDS))
        return
    if root == "profile" and rest:
        if len(rest) == 1 or rest[0] not in _FIELDS["profile"]:
            yield from (
                f"profile.{name}" for name in get_close_matches(rest[0], _FIELDS["profile"], cutoff=0.8)
            )
            yield f"profile.traits.{rest[-1]}"
        return
    last = parts[-1]
    # `user.segment` means that which we call segments, rather than a trait.
    if rest:
        yield from get_close_matches(last, _ROOTS, cutoff=0.8)
        yield from [_ELSEWHERE[last]] if last in _ELSEWHERE and _ELSEWHERE[last] in _ROOTS else []
    if root in _ELSEWHERE:
        yield (
            ".".join([_ELSEWHERE[root], *rest])
            if _ELSEWHERE[root] in ("profile.traits", "event")
            else (_ELSEWHERE[root])
        )
    for name in get_close_matches(root, _ROOTS, cutoff=0.6):
        yield ".".join([name, *rest])
    yield from get_close_matches(".".join(parts), _ALL, cutoff=0.6)
    if not rest and root not in _ELSEWHERE:
        yield f"profile.traits.{root}"


def near_tag(name: str, known: Sequence[str]) -> str:
    """The tag that may be meant; empty where none is near."""
    return _TAGS_ELSEWHERE.get(name) or next(iter(get_close_matches(name, known, n=1, cutoff=0.75)), "")


def near_filter(name: str, known: Sequence[str]) -> str:
    """The filter that may be meant; empty where none is near."""
    return _FILTERS_ELSEWHERE.get(name) or next(iter(get_close_matches(name, known, n=1, cutoff=0.75)), "")
