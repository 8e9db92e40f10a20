from pathlib import Path

import pytest

from cli.definitions import load
from cli.replay import sample_shop
from libs.errors import Invalid, NotFound
from tessera.render.v1.campaign_pb2 import STREAM_TRANSACTIONAL

_SEGMENT = '[[segments]]\nsegment_id = "a"\nexpression = "true"\n'


def _problem(folder: Path) -> str:
    with pytest.raises(Invalid) as caught:
        load(folder)
    return caught.value.message


def test_the_sample_shop_is_read_whole() -> None:
    found = load(sample_shop.EXAMPLES)
    campaigns = {one.definition_id: one.message for one in found.campaigns}
    triggers = {one.definition_id: one.message for one in found.triggers}
    templates = {one.definition_id: one.message for one in found.templates}

    assert "lapsed" in {one.definition_id for one in found.segments}
    assert STREAM_TRANSACTIONAL == campaigns["order-thanks"].stream
    assert 3600 == triggers["cart-abandoned"].delay.seconds
    assert templates["welcome"].html
    assert not templates["welcome"].subject.endswith("\n")


def test_an_unknown_field_is_named_with_file_and_entry(tmp_path: Path) -> None:
    (tmp_path / "segments.toml").write_text(_SEGMENT + 'colour = "red"\n')
    problem = _problem(tmp_path)

    assert 'segments.toml, segment "a": ' in problem
    assert "there is no field colour" in problem
    assert "display_name" in problem
    assert "tessera.segment.v1" not in problem


def test_an_entry_without_an_id_is_named_by_its_number(tmp_path: Path) -> None:
    (tmp_path / "segments.toml").write_text(_SEGMENT + "[[segments]]\n")

    assert _problem(tmp_path).endswith("segments.toml, segment number 2: has no segment_id")


def test_an_id_that_is_there_twice_is_refused(tmp_path: Path) -> None:
    (tmp_path / "segments.toml").write_text(_SEGMENT * 2)

    assert _problem(tmp_path).endswith('segment "a": is there twice')


def test_what_is_no_toml_is_told_with_its_line(tmp_path: Path) -> None:
    (tmp_path / "triggers.toml").write_text("[[triggers]\n")

    assert "triggers.toml: is not valid TOML" in _problem(tmp_path)
    assert "line 1" in _problem(tmp_path)


def test_a_table_of_another_kind_is_refused(tmp_path: Path) -> None:
    (tmp_path / "segments.toml").write_text('[[segment]]\nsegment_id = "a"\n')

    assert "holds [[segments]] and nothing else, not segment" in _problem(tmp_path)


@pytest.mark.parametrize("delay", ["", "3", "1 hour", "-5s"])
def test_a_delay_needs_a_number_and_a_unit(tmp_path: Path, delay: str) -> None:
    (tmp_path / "triggers.toml").write_text(
        f'[[triggers]]\ntrigger_id = "t"\nevent_name = "x"\ndelay = "{delay}"\n'
    )

    assert 'trigger "t": delay: must be a number with a unit' in _problem(tmp_path)


def test_a_stream_is_one_of_two(tmp_path: Path) -> None:
    (tmp_path / "campaigns.toml").write_text('[[campaigns]]\ncampaign_id = "c"\nstream = "spam"\n')

    assert "'spam'" in _problem(tmp_path)


def test_a_template_needs_its_parts_and_has_no_others(tmp_path: Path) -> None:
    folder = tmp_path / "templates" / "welcome"
    folder.mkdir(parents=True)
    (folder / "subject.liquid").write_text("Hello\n")
    without = _problem(tmp_path)
    (folder / "html.liquid").write_text("<p>")
    (folder / "footer.liquid").write_text("")

    assert "welcome: lacks html.liquid" in without
    assert "none of subject, preheader, html, text: footer" in _problem(tmp_path)


def test_a_folder_without_definitions_is_told_what_belongs_there(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"segments\.toml"):
        load(tmp_path)
    with pytest.raises(NotFound, match="no folder"):
        load(tmp_path / "none")


def _template(folder: Path, html: str) -> Path:
    template = folder / "templates" / "hello"
    template.mkdir(parents=True)
    (template / "subject.liquid").write_text("Hello")
    (template / "html.liquid").write_text(html)
    return folder


def test_a_picture_that_a_template_names_comes_inside_it(tmp_path: Path) -> None:
    _template(
        tmp_path,
        '<img src="pictures/a.png" alt="pictures"><img src=\'https://x.example.com/b.png\'>'
        '<img src="{{ item.image_url }}">{% assign picture = "pictures/a.png" %}{% if x == "none.gif" %}',
    )
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a.png").write_bytes(b"\x89PNG")
    (template,) = load(tmp_path).templates

    assert (
        '<img src="data:image/png;base64,iVBORw==" alt="pictures"><img src=\'https://x.example.com/b.png\'>'
        '<img src="{{ item.image_url }}">{% assign picture = "data:image/png;base64,iVBORw==" %}'
        '{% if x == "none.gif" %}'
    ) == template.message.html


def test_a_picture_that_is_not_there_is_told(tmp_path: Path) -> None:
    problem = _problem(_template(tmp_path, '<img src="pictures/a.jpeg">'))

    assert "templates/hello: html.liquid shows the picture pictures/a.jpeg" in problem
