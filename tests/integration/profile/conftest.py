"""A deployment of profile for each test."""

import hashlib
from collections.abc import AsyncIterator

import pytest

from libs import rpc
from tests.integration.profile.harness import Deployment, deployed


@pytest.fixture
async def deployment(database_url: str) -> AsyncIterator[Deployment]:
    async with deployed(database_url) as made:
        yield made


@pytest.fixture
def admin_keys() -> rpc.ApiKeys:
    caller = rpc.Caller("admin", frozenset({"*"}))
    return rpc.ApiKeys({hashlib.sha256(b"admin").hexdigest(): caller})
