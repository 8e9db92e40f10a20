import socket
from pathlib import Path

import pytest

from cli.environment import Environment, own_database
from cli.home import Home
from cli.ports import SERVICES, Ports
from cli.secret_files import SecretFiles
from libs.errors import FailedPrecondition


def _environment(tmp_path: Path, given: dict[str, str], urls: dict[str, str] | None = None) -> Environment:
    home = Home.at(tmp_path)
    home.create()
    return Environment(home, Ports.usual(), SecretFiles(home.secrets), given, database_urls=urls or {})


def test_only_callers_are_told_addresses_and_get_a_key(tmp_path: Path) -> None:
    environment = _environment(tmp_path, {})

    assert "PROFILE_ADDRESS" not in environment.of("profile")
    assert "SERVICE_API_KEY" not in environment.of("profile")
    assert "127.0.0.1:50052" == environment.of("segment")["PROFILE_ADDRESS"]
    assert {"PROFILE_ADDRESS", "SEGMENT_ADDRESS", "RECOMMEND_ADDRESS"} <= environment.of("render").keys()
    assert environment.of("render")["SERVICE_API_KEY"] != environment.of("segment")["SERVICE_API_KEY"]


def test_an_address_in_the_user_s_environment_does_not_stop_its_own_service(tmp_path: Path) -> None:
    environment = _environment(tmp_path, {"PROFILE_ADDRESS": "elsewhere:1", "PATH": "/bin"})

    assert "PROFILE_ADDRESS" not in environment.of("profile")
    assert "127.0.0.1:50052" == environment.of("segment")["PROFILE_ADDRESS"]
    assert "/bin" == environment.of("profile")["PATH"]


def test_what_is_ours_wins_over_a_prefixed_name_and_the_rest_passes(tmp_path: Path) -> None:
    given = {
        "PROFILE_LOG_FORMAT": "console",
        "PROFILE_CLOCK_SECONDS": "1",
        "DATABASE_URL": "postgresql://mine",
    }
    environment = _environment(tmp_path, given).of("profile")

    assert "PROFILE_LOG_FORMAT" not in environment
    assert "json" == environment["LOG_FORMAT"]
    assert "1" == environment["PROFILE_CLOCK_SECONDS"]
    assert "postgresql://mine" == environment["DATABASE_URL"]


def test_the_embedded_database_has_a_role_for_each_service(tmp_path: Path) -> None:
    environment = _environment(
        tmp_path, {}, {"profile": "postgresql://profile", "ingest": "postgresql://ingest"}
    )

    assert "postgresql://profile" == environment.of("profile")["DATABASE_URL"]
    assert "postgresql://ingest" == environment.of("ingest")["DATABASE_URL"]


@pytest.mark.parametrize("name", ["DATABASE_URL", "SEGMENT_DATABASE_URL"])
def test_a_database_of_the_user_s_takes_the_embedded_one_s_place(name: str) -> None:
    assert "postgresql://x" == own_database({name: "postgresql://x"})
    assert "" == own_database({"EVENT_LOG_URL": "kafka://x", name: ""})


def test_ports_follow_a_base() -> None:
    ports = Ports.chosen(9000)

    assert 9000 == ports.http
    assert [9001, 9002, 9003, 9004, 9005] == [ports.grpc[name] for name in SERVICES]
    assert len({ports.http, *ports.grpc.values(), *ports.metrics.values()}) == 11


def test_free_ports_are_all_different_and_free() -> None:
    ports = Ports.chosen(0)
    ports.check(SERVICES)

    assert len({ports.http, *ports.grpc.values(), *ports.metrics.values()}) == 11


def test_a_port_that_is_taken_is_named_with_who_took_it_and_what_to_do() -> None:
    ports = Ports.free()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports.grpc["segment"]))
        taken.listen()

        with pytest.raises(FailedPrecondition) as caught:
            ports.check(SERVICES)

    assert f"port {ports.grpc['segment']} (segment's gRPC) is taken by process" in caught.value.message
    assert "--port-base" in caught.value.message


def test_the_ports_of_a_service_that_is_left_out_may_be_taken() -> None:
    ports = Ports.free()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", ports.grpc["segment"]))
        taken.listen()
        ports.check(["ingest", "profile"])
