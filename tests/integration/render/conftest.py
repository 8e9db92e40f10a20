"""What the tests of render share."""

from collections.abc import AsyncIterator

import pytest

from tests.integration.render.rig import Rig, open_rig


@pytest.fixture
async def rig(database_url: str) -> AsyncIterator[Rig]:
    async with open_rig(database_url) as rig:
        yield rig
