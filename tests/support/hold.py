"""The other side of the component `hold`, which executes for as long as a test wants."""

from collections.abc import Callable

from tests.support.lifelines import Lifelines


class Held(Lifelines):
    """Where the component `hold` connects to; each connection holds one task."""

    @property
    def count(self) -> int:
        """How many tasks have come."""
        return len(self._writers)

    async def next(self) -> Callable[[], None]:
        """Wait for a task; what lets it go on."""
        _, writer = await self._connected.get()
        return writer.close
