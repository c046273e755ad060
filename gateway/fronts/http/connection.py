"""One connection of a client to the HTTP front."""

import asyncio
from typing import Any

from aiohttp import web

from gateway.concurrency.memory_account import MemoryShare
from gateway.core.errors import GatewayError, InvalidRequest
from gateway.core.internal_errors import report_unexpected
from gateway.fronts.http.responses import refusal

_OPTIONS: dict[str, Any] = {"access_log": None, "auto_decompress": False}


class HttpConnection(web.RequestHandler):
    """A connection that answers malformed HTTP like all other requests: with JSON, without a traceback in the log.

    What its requests make the front hold draws from `share`.
    """

    __slots__ = ("share",)

    def __init__(self, server: web.Server, share: MemoryShare) -> None:
        super().__init__(server, loop=asyncio.get_running_loop(), **_OPTIONS)
        self.share = share

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        if status >= 500 and exc is not None:
            error: GatewayError = report_unexpected(exc)
        else:
            error = InvalidRequest("the request is no HTTP/1.1 request that this server takes")
        response = refusal(request, error, status=status)
        response.force_close()
        return response


def connection_of(request: web.BaseRequest) -> HttpConnection:
    """The connection of a request."""
    connection = request.protocol
    assert isinstance(connection, HttpConnection)
    return connection
