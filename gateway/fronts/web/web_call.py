"""Making one call by Connect or gRPC-Web: its method is called, and how that has ended is told."""

import asyncio
from collections.abc import Awaitable
from typing import Any

from grpc import aio

from gateway.adapter.message_json import Hold
from gateway.core.errors import InvalidRequest
from gateway.core.internal_errors import release_frames
from gateway.fronts.grpc.connections import COPIES, SMALL_MESSAGE, CallMemory, Connections
from gateway.fronts.grpc.entrance import until_expired
from gateway.fronts.http.connection import ClientLeft
from gateway.fronts.web.failure import EXPIRED, Failure
from gateway.fronts.web.web_context import WebAbort, WebContext


async def make_call(context: WebContext, memory: CallMemory, connections: Connections, hold: Hold) -> bytes | Failure:
    """Make a call. Returns its one answer; b"" if it gives many, and has written them; or how it has failed.

    `hold` holds what the one answer takes besides what the servicer counts.
    Raises CancelledError and ClientLeft if its client has left.
    """
    try:
        async with asyncio.timeout(context.time_remaining()) as timer:
            return await _answered(context, memory, connections, hold)
    except TimeoutError as error:
        return EXPIRED if timer.expired() else Failure.of(error)
    except WebAbort as abort:
        release_frames(abort)
        return Failure(abort.code, abort.details, abort.trailers)
    except (ClientLeft, asyncio.CancelledError) as error:
        release_frames(error)
        raise
    except Exception as error:
        return Failure.of(error)


async def _answered(context: WebContext, memory: CallMemory, connections: Connections, hold: Hold) -> bytes:
    method = context.method
    answering = await _begun(context, memory, connections)
    if not method.gives_many:
        answer = await context.written(await answering, hold)
        context.call.sent(len(answer))
        return answer
    if (expires := memory.caller.expires) is not None:
        answering = until_expired(answering, expires)
    await answering
    return b""


async def _begun(context: WebContext, memory: CallMemory, connections: Connections) -> Awaitable[Any]:
    """The method, with its request if it takes one."""
    serve = context.method.serve
    if context.method.takes_many:
        begun: Awaitable[Any] = serve(context.requests(), context)
        return begun
    request = await connections.read(context)  # type: ignore[arg-type]
    if request is aio.EOF:
        raise InvalidRequest("the call has no request")
    if context.size > SMALL_MESSAGE:
        memory.grow(COPIES * context.size)
    answering: Awaitable[Any] = serve(request, context)
    return answering
