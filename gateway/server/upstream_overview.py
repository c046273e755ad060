"""The overview of a worker's gateway, which the process with the runtime makes: over a unix socket."""

from collections.abc import AsyncGenerator
from typing import Final

from aiohttp import ClientError, ClientSession, ClientTimeout, UnixConnector

from gateway.core.errors import Unavailable
from gateway.peers.http.sse import EventReader, EventTooLarge

PAGE: Final = "/overview"
"""The path of the overview on the socket."""

_LONGEST_EVENT: Final = 16 << 20
_SILENCE: Final = ClientTimeout(total=None, connect=5.0, sock_read=60.0)


async def upstream_events(path: str) -> AsyncGenerator[bytes, None]:
    """Yield the events that the process tells whose socket this is. Close it explicitly.

    Raises Unavailable if it does not tell any, or no more.
    """
    reader = EventReader(_LONGEST_EVENT)
    try:
        async with (
            ClientSession(connector=UnixConnector(path), timeout=_SILENCE) as session,
            session.get(f"http://localhost{PAGE}", raise_for_status=True) as response,
        ):
            async for chunk in response.content.iter_any():
                for event in reader.feed(chunk):
                    if event is not None:
                        yield event
    except (ClientError, OSError, TimeoutError, EventTooLarge):
        raise Unavailable("the process with the runtime tells nothing", retry_after=1.0) from None
