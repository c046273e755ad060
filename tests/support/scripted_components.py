"""Components in this process, which take some turns of the event loop: so what executes can be counted and stepped."""

import asyncio
from collections import Counter
from collections.abc import Awaitable
from typing import Any

from gateway.components import ComponentError
from gateway.components.limits import Limits


class ScriptedComponents:
    """`/test/echo` gives back its input after some turns, `/test/flaky` fails once for each task before.

    `executing` counts what executes now, `begun` what has begun.
    """

    def __init__(self, turns: int = 3) -> None:
        self.limits = Limits(transport_retries=0)
        self.executing = 0
        self.begun = 0
        self._turns = turns
        self._attempts: Counter[str] = Counter()

    def settling(self, component: str) -> Awaitable[object] | None:
        """All have started."""
        return None

    async def resolve(self, component: str, *, patient: bool = False) -> bool:
        """All exist."""
        return True

    async def execute(self, component: str, payload: str, *, attempt: int, observability: Any, scope: str) -> str:
        """Take some turns, and answer."""
        self.executing += 1
        self.begun += 1
        try:
            for _ in range(self._turns):
                await asyncio.sleep(0)
            self._attempts[scope] += 1
            if component == "/test/flaky" and self._attempts[scope] == 1:
                raise ComponentError(-32100, "asked to fail once")
            return payload
        finally:
            self.executing -= 1
