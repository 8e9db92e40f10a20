"""Each service's folder has a page, and the page is true."""

import re
from pathlib import Path

import pytest

from cli.ports import SERVICES

ROOT = Path(__file__).resolve().parents[2]


def _page(service: str) -> str:
    return (ROOT / "services" / service / "README.md").read_text()


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_that_the_readme_leads_to_has_a_page(service: str) -> None:
    assert f"(services/{service})" in (ROOT / "README.md").read_text()
    assert _page(service).startswith(f"# {service}\n")


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_s_page_names_all_its_capabilities_and_no_others(service: str) -> None:
    named = re.findall(r"^\| \[(\w+)\]\(\1\) \|", _page(service), re.MULTILINE)
    there = {path.parent.name for path in (ROOT / "services" / service).glob("*/__init__.py")}

    assert sorted(there - {"migrations", "model"}) == sorted(named)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_s_page_names_all_its_contracts(service: str) -> None:
    contracts = ROOT / "protos" / "tessera" / service / "v1"

    for contract in contracts.glob("*_service.proto"):
        assert f"/{contract.name})" in _page(service)


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_s_page_leads_to_what_there_is(service: str) -> None:
    for link in re.findall(r"\]\((?!http)([^)#]+)", _page(service)):
        assert (ROOT / "services" / service / link).exists(), link
    for folder in re.findall(r"`(tests/[\w/]+)`", _page(service)):
        assert (ROOT / folder).is_dir(), folder
