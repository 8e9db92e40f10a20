"""What a service says of settings that it can't start with."""

import os

import pytest
from pydantic import ValidationError

from libs.settings import problems_of
from services.render.settings import Settings
from services.segment.settings import Settings as SegmentSettings


@pytest.fixture(autouse=True)
def _alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in os.environ:
        if name.startswith("RENDER_") or name.endswith(("_ADDRESS", "_URL")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DATABASE_URL", "postgresql://me:secret@db/tessera")
    for name in ("PROFILE_ADDRESS", "SEGMENT_ADDRESS", "RECOMMEND_ADDRESS"):
        monkeypatch.setenv(name, "127.0.0.1:1")
    monkeypatch.setenv("UNSUBSCRIBE_KEYS", "0123456789abcdef")
    monkeypatch.setenv("PUBLIC_URL", "https://events.example.com")


def _problems() -> list[str]:
    with pytest.raises(ValidationError) as caught:
        Settings()
    return problems_of(caught.value, "render")


def test_a_setting_that_is_missing_is_named_as_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROFILE_ADDRESS")

    assert ["PROFILE_ADDRESS is not set, nor is RENDER_PROFILE_ADDRESS"] == _problems()


def test_a_value_that_is_wrong_is_named_and_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TOPIC_PARTITIONS", "hunter2")
    (problem,) = _problems()

    assert problem.startswith("TOPIC_PARTITIONS ")
    assert "hunter2" not in problem
    assert "secret" not in problem


def test_a_name_that_nobody_knows_is_told_with_its_owner(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RENDER_ADDRESS", "127.0.0.1:1")

    assert ["unknown: RENDER_ADDRESS. All that begins with RENDER_ is render's own"] == _problems()


def test_segment_does_not_guess_where_profile_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PROFILE_ADDRESS")

    with pytest.raises(ValidationError) as caught:
        SegmentSettings()
    assert ["PROFILE_ADDRESS is not set, nor is SEGMENT_PROFILE_ADDRESS"] == problems_of(
        caught.value, "segment"
    )
