"""The pauses of a client for asyncio between its calls."""

import asyncio
from contextlib import suppress


class AsyncPauses:
    """Pauses that end when the client is closed: its next call says so."""

    def __init__(self) -> None:
        self._ended = asyncio.Event()

    def end(self) -> None:
        """Let all pauses end at once, also later ones."""
        self._ended.set()

    async def pause(self, seconds: float) -> None:
        """Pause for so many seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._ended.wait()
