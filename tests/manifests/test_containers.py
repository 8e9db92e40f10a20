"""The Dockerfile and docker-compose.yml, checked without a Docker engine."""

import hashlib
import json
import re
import subprocess
from typing import Any

import pytest
import yaml

from libs.settings import ServiceSettings
from tests.manifests.rendering import SERVICES
from tests.manifests.test_manifests import OWN_SETTINGS
from tests.manifests.tools import ROOT, script

DOCKERFILE = (ROOT / "Dockerfile").read_text()
DEVELOPMENT = ROOT / "k8s" / "overlays" / "dev"


@pytest.fixture(scope="module")
def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
    return loaded


def test_hadolint_finds_nothing_in_the_dockerfile() -> None:
    command = [str(script("hadolint")), "--failure-threshold", "style", str(ROOT / "Dockerfile")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stdout


@pytest.mark.parametrize("requirements", [*SERVICES, "training", "uv"])
def test_every_image_installs_a_lock_file_with_hashes(requirements: str) -> None:
    lock = (ROOT / "requirements" / f"{requirements}.txt").read_text()
    pins = [line for line in lock.splitlines() if line and line[0] not in " #-"]

    assert pins
    assert all("==" in pin and "--hash=sha256:" in lock for pin in pins)
    assert DOCKERFILE.count("--require-hashes") == 2


def test_dependencies_are_installed_before_the_code_is_copied() -> None:
    copied = re.findall(r"^COPY (?!--from)(\S+)", DOCKERFILE, re.MULTILINE)

    assert copied == [
        "requirements/uv.txt",
        "requirements/${REQUIREMENTS}.txt",
        "libs",
        "services/__init__.py",
        "services/${SERVICE}",
    ]
    assert DOCKERFILE.index("uv pip sync") < DOCKERFILE.index("COPY libs")


def test_the_image_runs_as_a_numbered_user_without_a_shell() -> None:
    final = DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]
    (entrypoint,) = re.findall(r"^ENTRYPOINT (.+)$", final, re.MULTILINE)

    assert re.search(r"^USER [1-9]\d*:[1-9]\d*$", final, re.MULTILINE)
    assert json.loads(entrypoint)[0] == "python"
    assert "\nRUN " not in final
    assert "latest" not in DOCKERFILE


def test_the_build_context_holds_what_the_dockerfile_copies_and_nothing_else() -> None:
    lines = (ROOT / ".dockerignore").read_text().splitlines()

    assert "*" in lines
    assert {"!libs", "!services", "!requirements"} == {line for line in lines if line.startswith("!")}


def test_docker_compose_keeps_to_its_schema() -> None:
    command = [
        str(script("check-jsonschema")),
        "--builtin-schema",
        "vendor.compose-spec",
        str(ROOT / "docker-compose.yml"),
    ]
    result = subprocess.run(command, capture_output=True, text=True, check=False)

    assert result.returncode == 0, result.stdout


def test_docker_compose_migrates_every_service_before_it_starts(compose: dict[str, Any]) -> None:
    for service in SERVICES:
        process, migration = compose["services"][service], compose["services"][f"{service}-migrate"]

        assert process["command"] == ["--role", "all"]
        assert migration["command"] == ["--role", "migrate"]
        assert process["depends_on"][f"{service}-migrate"] == {"condition": "service_completed_successfully"}
        assert migration["depends_on"]["postgres"] == {"condition": "service_healthy"}
        assert migration["depends_on"]["kafka"] == {"condition": "service_healthy"}
        assert process["image"] == migration["image"] == f"tessera-{service}:0.1.0"
        assert {"SERVICE": service} == process["build"]["args"]


def test_docker_compose_sets_only_what_a_service_knows(compose: dict[str, Any]) -> None:
    shared = {name.upper() for name in ServiceSettings.model_fields}
    for service in SERVICES:
        own = {name for name, services in OWN_SETTINGS.items() if service in services}
        variables = compose["services"][service]["environment"]

        assert variables.keys() <= shared | own, service
        assert own <= variables.keys(), service


def test_docker_compose_pins_its_images_keeps_its_data_and_listens_on_loopback(
    compose: dict[str, Any],
) -> None:
    for name, service in compose["services"].items():
        assert re.fullmatch(r"[a-z/-]+:\d[\d.]*", service["image"]), name
        assert all(port.startswith("127.0.0.1:") for port in service.get("ports", [])), name
        assert all(volume.split(":")[0] in compose["volumes"] for volume in service.get("volumes", [])), name
    for name in ("postgres", "kafka", *SERVICES):
        assert "healthcheck" in compose["services"][name], name
    for config in compose["configs"].values():
        path = re.sub(r"^\$\{\w+:-(.+)\}$", r"\1", config["file"])

        assert (ROOT / path).is_file()


def test_the_development_keys_hold_permissions_that_the_contracts_name() -> None:
    keys = json.loads((DEVELOPMENT / "api-keys.json").read_text())
    asked = {
        permission
        for contract in (ROOT / "protos").rglob("*.proto")
        for permission in re.findall(r'options\.v1\.permission\) = "([^"]+)"', contract.read_text())
    }

    assert keys["admin"]["permissions"] == ["*"]
    assert set(keys["services"]["permissions"]) <= asked | {"pii.read"}
    assert hashlib.sha256(b"development-service-key").hexdigest() == keys["services"]["sha256"]
    assert hashlib.sha256(b"development-admin-key").hexdigest() == keys["admin"]["sha256"]


def test_development_has_a_database_for_every_service() -> None:
    script_text = (DEVELOPMENT / "databases.sh").read_text()

    assert f"for service in {' '.join(SERVICES)}; do" in script_text
