"""A process that owns a component server and is there to be killed: arguments are the command and a port to hold."""

import asyncio
import sys

from gateway.components import Components
from gateway.core.model import ObservabilityContext


async def main() -> None:
    async def callback(request: bytes, scope: str) -> bytes | None:
        return None

    components = Components({"/t": sys.argv[1]})
    await components.start(callback, None)
    await components.execute("/t/hold", sys.argv[2], attempt=1, observability=ObservabilityContext(), scope="")
    await asyncio.Event().wait()


asyncio.run(main())
