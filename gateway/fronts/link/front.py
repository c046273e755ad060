"""Serves a runtime to the workers of its gateway, over links."""

import asyncio

from gateway.access.limits import NO_LIMITS, CallerLimits
from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.runtime import Runtime
from gateway.core.server_sockets import bind_unix, claimed
from gateway.fronts.link.session import LinkSession
from gateway.fronts.link.states import SharedStates
from gateway.runs.hub import Hub


class LinkFront:
    """Listens on a unix socket at `path`; `hub` follows the runs of `runtime`.

    What the calls of workers hold draws from `account`. `limits` are those of what callers have stored.
    """

    def __init__(
        self, runtime: Runtime, hub: Hub, path: str, account: MemoryAccount, *, limits: CallerLimits = NO_LIMITS
    ) -> None:
        self.address = f"unix:{path}"
        self._path = path
        self._runtime = runtime
        self._hub = hub
        self._account = account
        self._limits = limits
        self._states = SharedStates()
        self._server: asyncio.Server | None = None
        self._sessions: set[LinkSession] = set()

    async def start(self) -> None:
        """Listen. Raises OSError if the path cannot be taken."""
        async with claimed(self.address):
            bound = bind_unix(self._path)
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(self._connected, sock=bound)

    async def stop(self) -> None:
        """Take no more calls, and end open ones."""
        if self._server is not None:
            self._server.close()
        await asyncio.gather(*(session.close() for session in list(self._sessions)))

    def _connected(self) -> asyncio.Protocol:
        session = LinkSession(
            self._runtime,
            self._hub,
            self._account.share("workers"),
            self._states,
            self._sessions.discard,
            limits=self._limits,
        )
        self._sessions.add(session)
        return session.connection
