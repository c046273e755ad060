"""A component that answers when it is told to, and notes what it is asked and which exchanges are closed."""

import asyncio
from typing import Any, Final

from tests.support.component_server import Call, ComponentServer

HELD: Final[dict[str, Any]] = {
    "steps": [{"id": "s", "component": "/test/held", "input": {"$input": "$"}}],
    "output": {"$step": "s"},
}
"""A flow that calls it, if it is below `/test`."""


_HANDSHAKE: Final = {
    "initialize": {"serverProtocolVersion": 1},
    "components/list": {"components": [{"component": "/held"}]},
}


class HeldComponent:
    """A component that answers when it is told to; `given` are its inputs, `lost` those whose exchange was closed.

    `changed` is told of both. Several may share one.
    """

    def __init__(self, changed: asyncio.Condition | None = None) -> None:
        self.given: list[Any] = []
        self.lost: list[Any] = []
        self.changed = changed or asyncio.Condition()
        self._answers: dict[Any, asyncio.Event] = {}
        self.server = ComponentServer(self._answer, _HANDSHAKE)

    async def _answer(self, call: Call) -> None:
        value = call.message["params"]["input"]
        await self._note(self.given, value)
        answered = asyncio.create_task(self._answers.setdefault(value, asyncio.Event()).wait())
        closed = asyncio.create_task(call.closed())
        try:
            await asyncio.wait({answered, closed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            answered.cancel()
            closed.cancel()
        lost = closed.done()
        # It has let go of the connection before that is read again.
        await asyncio.wait({answered, closed})
        if lost:
            await self._note(self.lost, value)
            call.abort()
        else:
            await call.result({"output": value})

    async def _note(self, noted: list[Any], value: Any) -> None:
        async with self.changed:
            noted.append(value)
            self.changed.notify_all()

    async def executes(self, number: int) -> None:
        """Wait until it has been called so many times."""
        async with self.changed:
            await self.changed.wait_for(lambda: len(self.given) >= number)

    async def loses(self, number: int) -> None:
        """Wait until so many exchanges have been closed."""
        async with self.changed:
            await self.changed.wait_for(lambda: len(self.lost) >= number)

    def release(self, *values: Any) -> None:
        """Answer, now or when it is asked."""
        for value in values:
            self._answers.setdefault(value, asyncio.Event()).set()
