"""What a template can name, and what is near to a name that nothing has."""

import re
from collections.abc import Iterable, Iterator, Sequence
from difflib import get_close_matches
from typing import Any

# What `deciding` fills templates with. What stands under traits and an event is the shop's own.
_ROOTS = ("profile", "segments", "recommendations", "event", "campaign", "unsubscribe_url")
_FIELDS = {
    "profile": ("id", "traits"),
    "campaign": ("id", "name"),
}
_ITEM_FIELDS = ("product_id", "name", "price", "currency", "url", "image_url", "category", "reason")
# What each name holds: an object by its fields, a list of one kind, nothing further, or anything at all.
_NOTHING: dict[str, Any] = {}
_ANYTHING = object()
_WORD = re.compile(r"[\w-]+")
_SHAPES: dict[str, Any] = {
    "profile": {"id": _NOTHING, "traits": _ANYTHING},
    "segments": [_NOTHING],
    "recommendations": [dict.fromkeys(_ITEM_FIELDS, _NOTHING)],
    "event": _ANYTHING,
    "campaign": {"id": _NOTHING, "name": _NOTHING},
    "unsubscribe_url": _NOTHING,
}
_ITEM_FIELDS_ELSEWHERE = {
    **dict.fromkeys(("title", "product_name"), "name"),
    **dict.fromkeys(("id", "sku", "item_id"), "product_id"),
    **dict.fromkeys(("link", "href", "product_url"), "url"),
    **dict.fromkeys(("image", "picture", "img", "image_link"), "image_url"),
}
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
_ENDS = ("first", "last")
_WORDS_ELSEWHERE = {**dict.fromkeys(("none", "null", "nil"), "nil"), "true": "true", "false": "false"}

_TAGS_ELSEWHERE = {
    **dict.fromkeys(("elif", "elseif", "else_if"), "elsif"),
    **dict.fromkeys(("set", "let", "var"), "assign"),
    **dict.fromkeys(("foreach", "each"), "for"),
    **dict.fromkeys(("endforeach", "endeach"), "endfor"),
    **dict.fromkeys(("switch",), "case"),
    **dict.fromkeys(("endswitch",), "endcase"),
}
_TAGS_INSIDE = {
    "elsif": "it stands within 'if' or 'unless'",
    "else": "it stands once, within 'if', 'unless', 'case' or 'for'",
    "when": "it stands within 'case'",
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
    return root in _SHAPES and _shape(path) is not None


def one_of(path: Sequence[object]) -> list[object] | None:
    """The path of what a loop takes from a list; None where it is not known what that is."""
    return [*path, 0] if path[0] in _SHAPES and isinstance(_shape(path), list) else None


def _shape(path: Sequence[object]) -> Any:
    """What stands at a path; None where nothing can."""
    shape = _SHAPES[str(path[0])]
    for part in path[1:]:
        # Whatever has a size; and what is worked out when the template is filled may be any part.
        if shape is _ANYTHING or part == "size" or (isinstance(part, list) and isinstance(shape, dict)):
            return _ANYTHING
        if isinstance(shape, list):
            is_place = not isinstance(part, str) or part in _ENDS
            shape = shape[0] if is_place else None
        elif shape and part in _ENDS:
            return _ANYTHING
        else:
            shape = shape.get(part)
        if shape is None:
            return None
    return shape


def name_of(path: Sequence[object]) -> str:
    """A path as a template has it."""
    return str(path[0]) + "".join(map(_step, path[1:]))


def _step(part: object) -> str:
    if isinstance(part, str):
        return f".{part}" if _WORD.fullmatch(part) else f"[{part!r}]"
    return f"[{name_of(part) if isinstance(part, list) else part}]"


def nearest(path: Sequence[object]) -> list[str]:
    """The names that may be meant, the nearest first; at most three."""
    found: list[str] = []
    for name in _suggested(path):
        if name not in found:
            found.append(name)
    return found[:_MOST]


def _suggested(path: Sequence[object]) -> Iterable[str]:
    if isinstance(_SHAPES.get(str(path[0])), list):
        return _in_list(path)
    return _above(path) or _near([part for part in path if isinstance(part, str)])


def _in_list(path: Sequence[object]) -> list[str]:
    """Names for what a list, or one of what it holds, does not have."""
    root, rest = path[0], list(path[1:])
    is_one = not isinstance(rest[0], str) or rest[0] in _ENDS
    if root == "segments":
        return [name_of(path[:2])] if is_one else [f"segments contains '{rest[0]}'"]
    field = next((part for part in rest[is_one:] if isinstance(part, str)), "")
    names = [_ITEM_FIELDS_ELSEWHERE[field]] if field in _ITEM_FIELDS_ELSEWHERE else []
    names += get_close_matches(field, _ITEM_FIELDS)
    one = path[:2] if is_one else [root, 0]
    return [name_of([*one, name]) for name in names]


def _above(path: Sequence[object]) -> list[str]:
    """The name of a single value of which something is wanted, though there is nothing in it."""
    if str(path[0]) not in _SHAPES:
        return []
    ends = range(1, len(path))
    return [name_of(path[:end]) for end in ends if _shape(path[:end]) is _NOTHING][:1]


def _near(parts: Sequence[str]) -> Iterator[str]:
    root, rest = parts[0], parts[1:]
    if not rest and root.lower() in _WORDS_ELSEWHERE:
        yield _WORDS_ELSEWHERE[root.lower()]
        return
    if root == "event":
        yield ".".join(["event", *rest[1:]])
        return
    if root == "campaign":
        yield from (f"campaign.{name}" for name in get_close_matches(parts[-1], _FIELDS["campaign"]))
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


def tag_inside(name: str) -> str:
    """Where a tag stands that stands only within others; empty for any other tag."""
    return _TAGS_INSIDE.get(name, "")


def near_filter(name: str, known: Sequence[str]) -> str:
    """The filter that may be meant; empty where none is near."""
    return _FILTERS_ELSEWHERE.get(name) or next(iter(get_close_matches(name, known, n=1, cutoff=0.75)), "")
