"""Makes a text template from an HTML template, keeping its Liquid: once, when it is published."""

import re
from collections.abc import Sequence
from html.parser import HTMLParser

# Stand-ins of Liquid tags while the HTML is read: characters for private use, which no mail has.
_OPEN, _CLOSE = "\ue000", "\ue001"
_RAW = r"\{%-?\s*raw\s*-?%\}.*?\{%-?\s*endraw\s*-?%\}"
_COMMENT = r"\{%-?\s*comment\s*-?%\}.*?\{%-?\s*endcomment\s*-?%\}"
_LIQUID = re.compile(rf"{_RAW}|{_COMMENT}|\{{%.*?%\}}|\{{\{{.*?\}}\}}", re.DOTALL)
_STAND_IN = re.compile(f"{_OPEN}([0-9]+){_CLOSE}")
# What is meant for HTML alone.
_ESCAPING = re.compile(r"\|\s*(escape|escape_once|safe|newline_to_br)\s*(?=\||-?[}%]\}|\n)")
_AS_IT_IS = re.compile(rf"{_RAW}|{_COMMENT}", re.DOTALL)
# A brace of the text itself, where it would begin a tag.
_BRACE = re.compile(rf"\{{(?=[{{%#{_OPEN}])")

_IN_HEAD = frozenset({"title", "style", "script", "template", "noscript", "meta", "link", "base"})
_HIDDEN = frozenset({"head", "style", "script", "title", "template"})
_VOID = frozenset({"br", "hr", "img", "input", "meta", "link", "col", "area", "base", "wbr", "source"})
_PARAGRAPHS = frozenset({"p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "table", "blockquote", "pre"})
_LINES = frozenset({"div", "tr", "li", "section", "article", "header", "footer", "center", "body"})


def text_template(html: str) -> str:
    """The text that a reader of the HTML would see, with the Liquid tags where they stood."""
    tags: list[str] = []

    def stand_in(match: re.Match[str]) -> str:
        tags.append(match[0])
        return f"{_OPEN}{len(tags) - 1}{_CLOSE}"

    reader = _Reader()
    reader.feed(_LIQUID.sub(stand_in, html.replace(_OPEN, "").replace(_CLOSE, "")))
    reader.close()
    text = _BRACE.sub("{{ '{' }}", reader.text())
    return _tidy(_STAND_IN.sub(lambda match: _plain(tags, int(match[1])), text))


def _plain(tags: Sequence[str], number: int) -> str:
    """A tag as it was; in text nothing is escaped."""
    tag = tags[number]
    return tag if _AS_IT_IS.fullmatch(tag) else _ESCAPING.sub("", tag)


def _tidy(text: str) -> str:
    lines = [line.strip() for line in text.split("\n")]
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip() + "\n"


class _Reader(HTMLParser):
    """Gathers text, with line breaks where blocks begin and end, and the addresses of links."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._parts: list[str] = []
        self._hidden: list[str] = []
        self._links: list[tuple[str, int]] = []

    def text(self) -> str:
        """What was gathered."""
        return "".join(self._parts)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if self._ends_head(tag):
            self._hidden.clear()
        if self._hidden or tag in _HIDDEN:
            if tag not in _VOID:
                self._hidden.append(tag)
            return
        values = {name: value or "" for name, value in attrs}
        if tag == "a":
            self._links.append((values.get("href", ""), len(self._parts)))
        elif tag == "img":
            self._parts.append(values.get("alt", ""))
        elif tag == "hr":
            self._parts.append("\n--\n")
        self._break(tag)
        if tag == "li":
            self._parts.append("- ")

    def handle_endtag(self, tag: str) -> None:
        if self._hidden:
            if tag in self._hidden:
                while self._hidden.pop() != tag:
                    continue
            return
        if tag in _VOID:
            return
        if tag == "a" and self._links:
            self._end_link()
        elif tag in ("td", "th"):
            self._parts.append(" ")
        self._break(tag)

    def handle_data(self, data: str) -> None:
        if not self._hidden:
            self._parts.append(re.sub(r"\s+", " ", data))

    def _ends_head(self, tag: str) -> bool:
        """As in HTML, whose head needs no end tag."""
        return self._hidden[:1] == ["head"] and (
            tag == "body" or (len(self._hidden) == 1 and tag not in _IN_HEAD)
        )

    def _break(self, tag: str) -> None:
        if tag in _PARAGRAPHS:
            self._parts.append("\n\n")
        elif tag in _LINES or tag == "br":
            self._parts.append("\n")

    def _end_link(self) -> None:
        address, begin = self._links.pop()
        shown = "".join(self._parts[begin:]).strip()
        if address and not address.startswith("#") and address != shown:
            self._parts.append(f": {address}" if shown else address)
