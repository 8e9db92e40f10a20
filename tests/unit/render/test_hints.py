"""What a writer is told: hints for mistakes, warnings for unknown names, other vendors' languages."""

from collections.abc import Sequence

import pytest

from services.render.engine.model import language


def refusal(source: str, part: str = "html") -> tuple[int, str]:
    with pytest.raises(language.Refused) as refused:
        language.check(part, source)
    complaint = refused.value.complaint
    return complaint.line, complaint.problem


@pytest.mark.parametrize(
    ("source", "hint"),
    [
        ("{% if a %}\n{% elif b %}{% endif %}", "did you mean 'elsif'?"),
        ("{% if a %}\n{% elseif b %}{% endif %}", "did you mean 'elsif'?"),
        ("{% if a %}\n{%- else if b -%}{% endif %}", "'else if' is written 'elsif'"),
        ("\n{% foreach x in event.items %}", "did you mean 'for'?"),
        ("\n{% set x = 1 %}", "did you mean 'assign'?"),
        ("\n{% asign x = 1 %}", "did you mean 'assign'?"),
        ("\n{{ event.name | upper }}", "did you mean 'upcase'?"),
        ("\n{{ event.name | captialize }}", "did you mean 'capitalize'?"),
        ("\n{% if a %}{{ event.name | append }}{% endif %}", "append: missing a required argument"),
    ],
)
def test_a_template_with_elif_is_refused_with_a_hint(source: str, hint: str) -> None:
    line, problem = refusal(source)

    assert (2, True) == (line, hint in problem), problem


@pytest.mark.parametrize(
    ("source", "place"),
    [
        ("{% elsif a %}", "it stands within 'if' or 'unless'"),
        ("{% for i in a %}{% elsif a %}{% endfor %}", "it stands within 'if' or 'unless'"),
        ("{% else %}", "it stands once, within"),
        ("{% when 1 %}", "it stands within 'case'"),
    ],
)
def test_a_tag_in_the_wrong_place_is_told_its_place_and_not_its_own_name(source: str, place: str) -> None:
    _, problem = refusal(source)

    assert place in problem
    assert "did you mean" not in problem


@pytest.mark.parametrize(
    ("source", "language_"),
    [
        ("Hi\n%%=v(@name)=%%", "AMPscript"),
        ("Hi\n%%[ SET @x = 1 ]%%", "AMPscript"),
        ("Hi\n%%FirstName%%", "AMPscript"),
        ("Hi\n*|FNAME|*", "Mailchimp's"),
        ("Hi\n*|IF:NAME=Ada|*", "Mailchimp's"),
        ("Hi\n{{${first_name}}}", "Braze's"),
        ("Hi\n{{#if name}}x{{/if}}", "Handlebars"),
        ("Hi\n{{{ name }}}", "Handlebars"),
        ("Hi\n*|fname|*", "Mailchimp's"),
        ("Hi\n<%= name %>", "ERB"),
        ("Hi\n<%=name%>", "ERB"),
        ("Hi\n<%name%>", "ERB"),
        ("Hi\n{# a note\nfor us #}", "Jinja"),
        ("Hi\n%recipient.name%", "Mailgun's"),
    ],
)
@pytest.mark.parametrize("part", ["html", "subject"])
def test_percent_percent_and_fname_in_a_liquid_template_are_refused_as_another_dialect_s(
    source: str, language_: str, part: str
) -> None:
    line, problem = refusal(source, part)

    assert (2, True) == (line, f" is {language_}" in problem), problem


@pytest.mark.parametrize(
    "source",
    [
        "{% raw %}*|FNAME|* %%=v(@x)=%%{% endraw %}",
        "{% comment %}*|FNAME|*{% endcomment %}",
        '<td width="100%"> 50%% off, 20%% more',
        "a * b | c * d",
        "5% < 6%, 7 *|* 8 {{ event.url }}#a",
        "<style>#a{color:#fff}#b{}</style><%",
        "{{ event.name }} {{- event.price -}} {% if event.a %}{% else %}{% endif %}",
        "<style>a { color: red } b{{ '{' }}</style>",
    ],
)
def test_what_only_looks_like_another_language_is_taken(source: str) -> None:
    assert [] == language.check("html", source)


@pytest.mark.parametrize(
    ("source", "name", "suggestions"),
    [
        ("{{ user.segment }}", "user.segment", ["segments", "profile.traits.segment"]),
        ("{{ customer.first_name }}", "customer.first_name", ["profile.traits.first_name"]),
        ("{{ profile.first_name }}", "profile.first_name", ["profile.traits.first_name"]),
        ("{{ first_name }}", "first_name", ["profile.traits.first_name"]),
        ("{{ event.properties.name }}", "event.properties.name", ["event.name"]),
        ("{% if campaign.nam %}{% endif %}", "campaign.nam", ["campaign.name"]),
        ("{% for r in recomendations %}{% endfor %}", "recomendations", ["recommendations"]),
        ("{{ recommendations[0].prise }}", "recommendations[0].prise", ["recommendations[0].price"]),
        ("{{ recommendations.first.title }}", "recommendations.first.title", ["recommendations.first.name"]),
        ("{{ recommendations.zzz }}", "recommendations.zzz", []),
        ("{{ recommendations.name }}", "recommendations.name", ["recommendations[0].name"]),
        ("{{ recommendations[0].price.x }}", "recommendations[0].price.x", ["recommendations[0].price"]),
        ("{% for p in recommendations %}{{ p.prise }}{% endfor %}", "p.prise", ["p.price"]),
        ("{% tablerow p in recommendations %}{{ p.price.x }}{% endtablerow %}", "p.price.x", ["p.price"]),
        ("{% for s in segments %}{{ s.name }}{% endfor %}", "s.name", ["s"]),
        ("{{ segments.vip }}", "segments.vip", ["segments contains 'vip'"]),
        ("{% if segments.vip %}{% endif %}", "segments.vip", ["segments contains 'vip'"]),
        ("{{ unsubscribe_url.x }}", "unsubscribe_url.x", ["unsubscribe_url"]),
        ("{{ campaign.name.x }}", "campaign.name.x", ["campaign.name"]),
        ("{{ profile.id.x }}", "profile.id.x", ["profile.id"]),
        ("{% if event.a == None %}{% endif %}", "None", ["nil"]),
        ("{% if event.a == True %}{% endif %}", "True", ["true"]),
        ("{% if event.a == FALSE %}{% endif %}", "FALSE", ["false"]),
        ("{{ unsubscribe_link }}", "unsubscribe_link", ["unsubscribe_url"]),
    ],
)
def test_user_segment_is_warned_of_with_the_nearest_names(
    source: str, name: str, suggestions: Sequence[str]
) -> None:
    (warning,) = language.check("html", f"<p>\n{source}")

    assert (name, 2, "html") == (warning.name, warning.line, warning.part)
    assert list(suggestions) == list(warning.suggestions)[: len(suggestions)]
    assert name in warning.message


def test_a_name_is_warned_of_once_and_what_a_template_makes_itself_never() -> None:
    source = """{{ user.a }}{{ user.a }}{% assign total = 1 %}{{ total }}{% capture x %}{% endcapture %}
      {{ x }}
      {% for item in event.items %}{{ item.anything }}{{ forloop.index }}{% endfor %}
      {% for p in recommendations %}{{ p.name.size }}{{ p[event.key] }}{{ p.price | money }}{% endfor %}
      {% for r in recommendations %}{% for r in event.items %}{{ r.own }}{% endfor %}{% endfor %}
      {% for t in profile.traits %}{{ t[0] }}{% endfor %}{% for c in campaign %}{{ c[0] }}{% endfor %}
      {{ campaign.first }}{{ recommendations.first.name }}{{ recommendations[event.n].url }}
      {{ segments[0] }}{{ segments.first }}
      {{ profile.traits.anything.at.all }}{{ event.anything }}{{ segments.size }}{{ segments | join }}"""

    assert ["user.a"] == [warning.name for warning in language.check("html", source)]
