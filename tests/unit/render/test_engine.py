"""Liquid in processes of its own: what it can, what it may not, and what stops it."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import orjson
import psutil
import pytest

from services.render.engine.clients import Engine
from services.render.engine.model.parts import Unrenderable

CONTEXT = {"profile": {"traits": {"name": "<Ada> & Co", "amount": 1234.5, "tags": ["a", "b"]}}}


@pytest.fixture
async def engine() -> AsyncIterator[Engine]:
    async with Engine(seconds=0.3) as engine:
        yield engine


async def filled(engine: Engine, source: str, part: str = "text") -> str:
    return (await engine.render({part: source}, orjson.dumps(CONTEXT)))[part]


async def test_only_html_is_escaped(engine: Engine) -> None:
    html = await filled(engine, "{{ profile.traits.name }}", "html")
    text = await filled(engine, "{{ profile.traits.name }}")
    marked = await filled(engine, "{{ profile.traits.name | safe }}", "html")

    assert "&lt;Ada&gt; &amp; Co" == html
    assert "<Ada> & Co" == text == marked


@pytest.mark.parametrize(
    ("source", "expected"),
    [
        ("[{{ nobody.has.this }}]", "[]"),
        ("{{ nobody | default: 'friend' }}", "friend"),
        ("{{ profile.traits.amount | money: '€' }}", "€1,234.50"),
        ("{{ -0.005 | money }} {{ 'much' | money }} {{ nobody | money }}", "-0.01 much "),
        ("{{ profile.traits.name | url_encode }}", "%3CAda%3E+%26+Co"),
        ("{{ profile.traits.tags | json }} {{ nobody | json }}", '["a","b"] null'),
        ("{{ '2026-01-31T12:00:00Z' | date: '%d.%m.%Y' }}", "31.01.2026"),
        ("{% for tag in profile.traits.tags %}{{ tag }};{% endfor %}", "a;b;"),
    ],
)
async def test_filters_do_what_writers_expect(engine: Engine, source: str, expected: str) -> None:
    assert expected == await filled(engine, source)


async def test_json_can_stand_in_a_script(engine: Engine) -> None:
    found = await filled(engine, "{{ profile.traits.name | json | safe }}", "html")

    assert '"\\u003cAda\\u003e \\u0026 Co"' == found


@pytest.mark.parametrize(
    ("source", "line", "problem"),
    [
        ("one\n{{ x | nope }}", 2, "unknown filter 'nope'"),
        ("one\ntwo\n{% if %}{% endif %}", 3, "missing expression"),
        ("{% for i in (1..3) %}\n{{ i }}", 2, "expected tag endfor"),
        ("{% include 'other' %}", 1, "unexpected tag 'include'"),
        ("{{ x", 1, "expected '}}'"),
    ],
)
async def test_a_wrong_template_is_refused_with_its_part_and_line(
    engine: Engine, source: str, line: int, problem: str
) -> None:
    with pytest.raises(Unrenderable) as refused:
        await engine.check({"html": source})

    assert "template.html" == refused.value.field
    assert str(line) == refused.value.metadata["line"]
    assert problem in refused.value.problem


@pytest.mark.parametrize(
    "attack",
    [
        "{% for i in (1..1000000000) %}x{% endfor %}",
        "{% for i in (1..10000) %}{% for j in (1..10000) %}x{% endfor %}{% endfor %}",
        "{% for i in (1..9000) %}" + "x" * 200 + "{% endfor %}",
        "{% assign a = 'x' %}{% for i in (1..60) %}{% assign a = a | append: a %}{% endfor %}",
    ],
    ids=["loop", "nested loops", "output", "doubling"],
)
async def test_an_attack_within_python_is_refused(engine: Engine, attack: str) -> None:
    with pytest.raises(Unrenderable):
        await filled(engine, attack)

    assert "fine" == await filled(engine, "fine")


async def test_an_html_part_of_which_no_text_can_be_made_in_time_is_refused(engine: Engine) -> None:
    for html in ("<p " * 30_000, "{%" * 100_000):
        with pytest.raises(Unrenderable, match="did not finish within"):
            await engine.check({"html": html, "text": ""})


async def test_a_check_makes_the_text_that_is_not_given(engine: Engine) -> None:
    parts, _ = await engine.check({"html": "<p>Hello {{ profile.traits.name }}</p>", "text": ""})
    given, _ = await engine.check({"html": "<p>Hello</p>", "text": "Good day"})

    assert "Hello {{ profile.traits.name }}\n" == parts["text"]
    assert "Good day" == given["text"]


async def test_nesting_has_a_limit(engine: Engine) -> None:
    with pytest.raises(Unrenderable):
        await engine.check({"html": "{% if true %}" * 500 + "{% endif %}" * 500})


@pytest.mark.parametrize(
    "attack",
    [
        "{{ (1..100000000) | join: ',' }}",
        "{{ (1..4000000000) | size }}{{ (1..900000000) | reverse | first }}",
    ],
)
async def test_a_template_that_spins_is_stopped_and_the_next_one_is_served(
    engine: Engine, attack: str
) -> None:
    async with asyncio.timeout(20):
        with pytest.raises(Unrenderable):
            await filled(engine, attack)

        assert "fine" == await filled(engine, "fine")


async def test_a_template_that_ran_away_twice_is_not_tried_again_for_a_minute() -> None:
    now = 0.0
    attack = "{% for i in (1..19999) %}{{ (1..19999) | join | size }}{% endfor %}"
    async with Engine(seconds=0.1, clock=lambda: now) as engine:
        for _ in range(2):
            with pytest.raises(Unrenderable, match="did not finish within"):
                await filled(engine, attack)
        with pytest.raises(Unrenderable, match="not tried again"):
            await filled(engine, attack)
        now = 61.0
        with pytest.raises(Unrenderable, match="did not finish within"):
            await filled(engine, attack)


async def test_a_caller_who_gives_up_does_not_leave_his_answer_to_the_next(engine: Engine) -> None:
    slow = asyncio.ensure_future(filled(engine, "{% for i in (1..15000) %}slow{% endfor %}"))
    await asyncio.sleep(0)
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)

    assert "mine" == await filled(engine, "mine")


async def test_an_engine_that_was_started_has_its_processes_before_the_first_job() -> None:
    before = {child.pid for child in psutil.Process().children()}
    async with Engine(processes=2) as engine:
        await engine.start()
        started = {child.pid for child in psutil.Process().children()} - before

        assert len(started) == 2
        assert "fine" == await filled(engine, "fine")
        assert started == {child.pid for child in psutil.Process().children()} - before


async def test_a_process_that_somebody_else_ended_fails_no_template(engine: Engine) -> None:
    await filled(engine, "start the process")
    process = engine._processes[0]._running
    assert process is not None
    process.kill()
    await process.wait()

    assert "fine" == await filled(engine, "fine")


async def test_a_template_sees_no_secret_of_the_service(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SERVICE_API_KEY", "secret")
    await filled(engine, "start the process")
    process = engine._processes[0]._running

    assert process is not None
    environment = await asyncio.to_thread(Path(f"/proc/{process.pid}/environ").read_text)
    assert "secret" not in environment
