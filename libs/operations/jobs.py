"""Work that the clock starts."""

import asyncio
from typing import Final

from libs.database import is_transient
from libs.lifecycle import repeat
from libs.operations.use_cases import Operations

_LOOK_SECONDS: Final = 30.0


class SilenceJob:
    """Ends the operations whose process is gone: a lifecycle component, harmless several times at once."""

    def __init__(self, operations: Operations) -> None:
        self._operations = operations

    async def run(self, stopping: asyncio.Event) -> None:
        """Look every half a minute until asked to stop."""
        await repeat(self._operations.fail_silent, stopping, _LOOK_SECONDS, is_transient)
