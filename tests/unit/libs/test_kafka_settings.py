"""How Kafka lets us in is told by settings: their contradictions are told, what is secret never is."""

from pathlib import Path
from typing import ClassVar

import pytest
from pydantic import ValidationError

from cli.running import Running
from libs.errors import FailedPrecondition
from libs.messaging.kafka_access import KafkaAccess
from libs.settings import KafkaSettings, ServiceSettings, problems_of

URL = "kafka://one:9093,two:9093"


class _Settings(ServiceSettings):
    service: ClassVar[str] = "profile"


@pytest.fixture
def password_file(tmp_path: Path) -> Path:
    file = tmp_path / "password"
    file.write_text(" hunter2 \n")
    return file


def test_a_password_is_read_from_its_file_and_shown_by_nothing(password_file: Path) -> None:
    settings = KafkaSettings(
        event_log_url=URL,
        kafka_security_protocol="SASL_SSL",
        kafka_username="tessera",
        kafka_password_file=password_file,
    )
    access = KafkaAccess.of(settings)

    assert (" hunter2 ", "one:9093,two:9093", "SCRAM-SHA-512") == (
        access.password,
        access.servers,
        access.mechanism,
    )
    assert "hunter2" not in f"{settings!r} {access!r} {settings.model_dump_json()}"


def test_one_service_may_have_a_user_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "DATABASE_URL": "postgresql://db/tessera",
        "EVENT_LOG_URL": URL,
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_USERNAME": "everybody",
        "KAFKA_PASSWORD": "hunter2",
        "PROFILE_KAFKA_USERNAME": "profile",
    }.items():
        monkeypatch.setenv(name, value)
    settings = _Settings()  # type: ignore[call-arg]

    assert ("profile", "hunter2") == (settings.kafka_username, KafkaAccess.of(settings).password)
    assert "hunter2" not in repr(settings)


@pytest.mark.parametrize(
    ("told", "problem"),
    [
        ({"kafka_security_protocol": "SASL_SSL"}, "SASL_SSL needs KAFKA_USERNAME, and"),
        ({"kafka_security_protocol": "SASL_SSL", "kafka_username": "me"}, "SASL_SSL needs KAFKA_USERNAME"),
        ({"kafka_username": "me"}, "KAFKA_USERNAME is set, but KAFKA_SECURITY_PROTOCOL is PLAINTEXT"),
        ({"kafka_ca_file": __file__}, "KAFKA_CA_FILE is set, but KAFKA_SECURITY_PROTOCOL is PLAINTEXT"),
        ({"kafka_ca_file": "/nowhere", "kafka_security_protocol": "SSL"}, "KAFKA_CA_FILE is no file"),
        ({"kafka_key_file": __file__}, "KAFKA_KEY_FILE is set without KAFKA_CERTIFICATE_FILE"),
        ({"kafka_password": "hunter2", "kafka_password_file": __file__}, "are both set"),
        (
            {
                "kafka_security_protocol": "SASL_PLAINTEXT",
                "kafka_sasl_mechanism": "PLAIN",
                "kafka_username": "me",
                "kafka_password": "hunter2",
            },
            "PLAIN without TLS would show everybody the password",
        ),
        ({"kafka_sasl_mechanism": "GSSAPI"}, "KAFKA_SASL_MECHANISM Input should be"),
        ({"event_log_url": "kafka://me:hunter2@one:9092"}, "EVENT_LOG_URL may hold no credentials"),
        ({"event_log_url": "kafkas://one:9092"}, "EVENT_LOG_URL must be empty, or kafka://host:port"),
    ],
)
def test_settings_that_contradict_each_other_are_told(told: dict[str, str], problem: str) -> None:
    with pytest.raises(ValidationError) as caught:
        KafkaSettings.model_validate({"event_log_url": URL, **told})
    (said,) = problems_of(caught.value, "profile")

    assert problem in said
    assert "hunter2" not in said


def test_commands_get_in_as_the_environment_tells(password_file: Path) -> None:
    environment = {
        "EVENT_LOG_URL": URL,
        "KAFKA_SECURITY_PROTOCOL": "SASL_SSL",
        "KAFKA_USERNAME": "me",
        "KAFKA_PASSWORD_FILE": str(password_file),
        "KAFKA_HEAP_OPTS": "-Xmx1g",
    }
    access = Running.told_by(environment).kafka_access

    assert ("SASL_SSL", "me", " hunter2 ") == (access.protocol, access.username, access.password)
    del environment["KAFKA_USERNAME"]
    with pytest.raises(FailedPrecondition, match="SASL_SSL needs KAFKA_USERNAME"):
        Running.told_by(environment).kafka_access  # noqa: B018 - to ask is what fails
