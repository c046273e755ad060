"""Reading the body of a request: how large it may be, and what it is declared to be."""

from aiohttp import web

from gateway.concurrency.memory_account import MemoryHold
from gateway.core.errors import ParseError, TooLarge
from gateway.fronts.http.limits import HttpLimits
from gateway.fronts.http.responses import JSON, UnsupportedMediaType


async def read_request_body(request: web.BaseRequest, held: MemoryHold, limits: HttpLimits) -> bytes:
    """The body of a request. `held` grows by what has arrived.

    Raises TooLarge, ParseError, UnsupportedMediaType if it is not taken, Overloaded if there is no memory for it.
    """
    if request.headers.get("Content-Encoding", "identity") != "identity":
        raise UnsupportedMediaType("bodies are taken without content-encoding only")
    if (request.content_length or 0) > limits.body:
        raise _too_large(limits)
    chunks: list[bytes] = []
    size = 0
    try:
        while chunk := await request.content.readany():
            size += len(chunk)
            if size > limits.body:
                raise _too_large(limits)
            held.grow(len(chunk))
            chunks.append(chunk)
    except (web.RequestPayloadError, ConnectionError):
        raise ParseError("the body ends too early or is encoded wrongly") from None
    return b"".join(chunks)


def declares_json(request: web.BaseRequest) -> bool:
    """Whether the body is declared as JSON."""
    kind = media_type(request)
    return kind == JSON or (kind.startswith("application/") and kind.endswith("+json"))


def media_type(request: web.BaseRequest) -> str:
    """The media type of the body, or "": aiohttp would take a missing one for that of binary content."""
    return request.headers.get("Content-Type", "").partition(";")[0].strip().lower()


def _too_large(limits: HttpLimits) -> TooLarge:
    return TooLarge(f"the body is larger than {limits.body} bytes")
