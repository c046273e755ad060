"""An HTTP server in the place of an engine: passes requests on to a real one, or fails as a test says."""

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from aiohttp import ClientSession, web

LOSE = "lose"
"""Pass the request on, and cut the connection instead of answering."""

CUT = "cut"
"""Cut the connection without passing the request on."""

HOLD = "hold"
"""Neither pass on nor answer."""

Reply = tuple[int, bytes] | bytes | str
"""An answer of its own: status and body; or raw bytes, after which the connection ends; or one of the names above."""


class EngineProxy:
    """`replies` are given to requests in turn; others, and all when there are none, are passed on to `target`.

    With `only`, replies are given to requests of this method and path below /api/v1. `requests` are those that came,
    and `headers` what they had.
    """

    def __init__(self, target: str = "", *, only: str = "") -> None:
        self.url = ""
        self.port = 0
        self.replies: deque[Reply] = deque()
        self.requests: list[str] = []
        self.headers: list[dict[str, str]] = []
        self._target = target
        self._only = only
        self._closing = asyncio.Event()
        self._came = asyncio.Condition()

    async def waiting(self, count: int) -> None:
        """Wait until so many requests have come."""
        async with self._came:
            await self._came.wait_for(lambda: len(self.requests) >= count)

    @asynccontextmanager
    async def running(self) -> AsyncIterator["EngineProxy"]:
        """Listen; on the port that it had before, if it did."""
        self._closing.clear()
        application = web.Application(client_max_size=1 << 30)
        application.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", self.port, reuse_address=True).start()
        self.port = runner.addresses[0][1]
        self.url = f"http://127.0.0.1:{self.port}"
        try:
            yield self
        finally:
            self._closing.set()
            await runner.cleanup()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        name = f"{request.method} {request.path.removeprefix('/api/v1')}"
        async with self._came:
            self.requests.append(name)
            self.headers.append({header.lower(): value for header, value in request.headers.items()})
            self._came.notify_all()
        reply = self.replies.popleft() if self.replies and self._only in ("", name) else None
        if reply is None or reply == LOSE:
            response = await self._passed_on(request)
            if reply is None:
                return response
        if isinstance(reply, tuple):
            return web.Response(status=reply[0], body=reply[1], content_type="application/json")
        if reply == HOLD:
            await self._closing.wait()
        transport = request.transport
        assert isinstance(transport, asyncio.Transport)
        if isinstance(reply, bytes):
            transport.write(reply)
            transport.close()
        else:
            transport.abort()
        return web.Response()

    async def _passed_on(self, request: web.Request) -> web.Response:
        assert self._target, "nothing was to be passed on"
        headers = {name: request.headers[name] for name in ("Content-Type", "Accept") if name in request.headers}
        async with (
            ClientSession() as client,
            client.request(
                request.method, self._target + request.path_qs, data=await request.read(), headers=headers
            ) as answer,
        ):
            kept = {name: answer.headers[name] for name in ("Content-Type", "x-blob-type") if name in answer.headers}
            return web.Response(status=answer.status, body=await answer.read(), headers=kept)
