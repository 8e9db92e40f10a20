"""Text templates made from HTML templates."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.render.engine.model import language
from services.render.engine.model.text import text_template

TEMPLATES = sorted((Path(__file__).parents[3] / "examples").glob("*/templates/*/html.liquid"))


@pytest.mark.parametrize(
    ("html", "text"),
    [
        ("<p>Hello {{ name | escape }}</p>", "Hello {{ name }}\n"),
        ("<p>a &amp; b</p><p>c</p>", "a & b\n\nc\n"),
        ("<head><title>t</title><style>p {}</style></head><body>shown</body>", "shown\n"),
        ("<head><title>t</title><body>shown</body>", "shown\n"),
        ("<html><head><title>t</title><meta charset=utf-8><noscript>n<body>shown", "shown\n"),
        ("<head><style>p {}</style><p>shown</p>", "shown\n"),
        ("<table><tr><th>A</th><th>B</th></tr><tr><td>1</td><td>2</td></tr></table>", "A B\n\n1 2\n"),
        ("<p>{{ note | escape | newline_to_br }}</p>", "{{ note }}\n"),
        ("{% assign a = note | newline_to_br %}{{ a }}", "{% assign a = note %}{{ a }}\n"),
        ('<a href="{{ url }}">Shop</a>', "Shop: {{ url }}\n"),
        ('<a href="https://x.example">https://x.example</a>', "https://x.example\n"),
        ('<img src="a.png" alt="A lamp"><br/>next', "A lamp\nnext\n"),
        (
            "<ul>{% for i in l %}<li>{{ i }}</li>{% endfor %}</ul>",
            "{% for i in l %}\n- {{ i }}\n{% endfor %}\n",
        ),
        ('<td {% if x %}class="a"{% endif %}>cell</td>', "cell\n"),
        ("{% raw %}{{ kept }}{% endraw %}", "{% raw %}{{ kept }}{% endraw %}\n"),
        ("{% if a > 1 and b < 2 %}<b>both</b>{% endif %}", "{% if a > 1 and b < 2 %}both{% endif %}\n"),
    ],
)
def test_text_is_what_a_reader_sees_with_the_liquid_where_it_stood(html: str, text: str) -> None:
    assert text == text_template(html)


@pytest.mark.parametrize(
    ("html", "shown"),
    [
        ("&#123;&#123; x &#125;&#125;", "{{ x }}\n"),
        ("&#123;% if x %&#125;", "{% if x %}\n"),
        ("&lcub;{{ x }}", "{live\n"),
        ("&#123;&#123;&#123;", "{{{\n"),
        ("&#123;# x #&#125;", "{# x #}\n"),
        ('<a href="&#123;&#123;x}}">y</a>', "y: {{x}}\n"),
        ("a{b}", "a{b}\n"),
    ],
)
def test_a_brace_written_as_an_entity_begins_no_tag(html: str, shown: str) -> None:
    text = text_template(html)

    language.check("text", text)
    assert shown == language.render("text", text, {"x": "live"})


@pytest.mark.parametrize("path", TEMPLATES, ids=lambda path: f"{path.parts[-4]}-{path.parts[-2]}")
def test_the_examples_can_do_without_a_text_template(path: Path) -> None:
    text = text_template(path.read_text())
    language.check("text", text)
    context = {"recommendations": [{"name": "Lamp", "price": 5}], "unsubscribe_url": "https://x.example/u"}
    rendered = language.render("text", text, context)

    assert "Lamp" in rendered or "recommendations" not in path.read_text()
    assert "https://x.example/u" in rendered
    assert "<" not in rendered


@given(st.text(alphabet="<>/abp{}%= \"'\n&;!-", max_size=60))
def test_any_html_gives_some_text(html: str) -> None:
    assert text_template(html).endswith("\n")
