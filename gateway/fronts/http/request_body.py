"""Reading the body of a request: what it may be declared as, how large it may be, and how long it may take."""

import asyncio
from io import BytesIO

from aiohttp import HttpVersion11
from aiohttp.web import RequestPayloadError

from gateway.concurrency.fair_queue import FairQueue
from gateway.concurrency.memory_account import MemoryHold
from gateway.core.counted import counted
from gateway.core.errors import InvalidRequest, ParseError, TooLarge, shortened
from gateway.core.internal_errors import release_frames
from gateway.fronts.http.connection import INTERIM, BodyTooScattered
from gateway.fronts.http.expanded_content import ExpandedContent
from gateway.fronts.http.expanding import Expander, expander_of
from gateway.fronts.http.limits import HttpLimits
from gateway.fronts.http.request import HttpRequest
from gateway.fronts.http.responses import (
    JSON,
    ExpectationFailed,
    RequestTimeout,
    UnsupportedMediaType,
)

SMALL_TEXT = 16 << 10
"""The text of a body of so many bytes does not count."""

_SCANNED_AT_ONCE = 256 << 10
_UTF_8 = frozenset({"utf-8", "utf8", "us-ascii"})
_JSON_TYPES = frozenset({JSON, "application/json-rpc", "application/jsonrequest"})


def check_expectation(request: HttpRequest) -> None:
    """Raise ExpectationFailed if the client expects anything but an interim response before it sends the body."""
    expected = ",".join(request.headers.getall("Expect", ()))
    if expected.strip().lower() != "100-continue" and request.version >= HttpVersion11:
        raise ExpectationFailed("expected no expectation, or 100-continue")


def check_transfer_coding(request: HttpRequest) -> None:
    """Raise InvalidRequest if a body is encoded for its transfer in another way than by chunks, and close after that.

    The parser asks only whether chunks are the last coding.
    """
    codings = ",".join(request.headers.getall("Transfer-Encoding", ()))
    if codings.strip().lower() != "chunked":
        request.closes = True
        raise InvalidRequest(f"expected no transfer coding but chunked, not {shortened(codings)}")


async def read_request_body(request: HttpRequest, held: MemoryHold, limits: HttpLimits, fair_queue: FairQueue) -> bytes:
    """The body of a request, expanded, which is asked for if the client waits for that.

    `held` grows by what has arrived. Raises TooLarge, UnsupportedContentCoding, ParseError or RequestTimeout if the
    body is not taken, Overloaded if there is no memory for it. Expanding a body passes `fair_queue`.
    """
    expander = expander_of(request)
    if expander is None and request.content.is_eof():
        body = request.content.read_nowait()
        if len(body) > limits.body:
            raise _too_large(limits)
        held.grow(len(body))
        return body
    declared = request.content_length or 0
    if declared > limits.body:
        raise _too_large(limits)
    if not request.content.is_eof():
        _ask_for_body(request, held, declared)
    if expander is not None:
        return await _read_expanded(request, held, limits, expander, fair_queue)
    buffer = BytesIO()
    while chunk := await _next_chunk(request, limits):
        if buffer.tell() + len(chunk) > limits.body:
            raise _too_large(limits)
        held.grow(len(chunk))
        buffer.write(chunk)
    # The buffer has grown in its place. It becomes the body without a copy.
    return buffer.getvalue()


async def _read_expanded(
    request: HttpRequest, held: MemoryHold, limits: HttpLimits, expander: Expander, fair_queue: FairQueue
) -> bytes:
    """Read and expand a body. Neither its encoded nor its expanded form may be larger than a body may be."""
    content = ExpandedContent(expander, limits.body, held, fair_queue, "the body")
    encoded = 0
    while chunk := await _next_chunk(request, limits):
        encoded += len(chunk)
        if encoded > limits.body:
            raise _too_large(limits)
        await content.add(chunk)
    return content.ended() if encoded else b""  # Nothing is encoded as nothing: so says Connect, and so clients do.


async def drop_rest(request: HttpRequest, seconds: float, silent_seconds: float | None = None) -> None:
    """Read the rest of a body for so long: a client may read the answer only when it has sent all.

    Ends before if nothing comes for `silent_seconds`.
    """
    try:
        async with asyncio.timeout(seconds):
            while request.connection.transport is not None:
                async with asyncio.timeout(silent_seconds):
                    if not await request.content.readany():
                        break
    except (RequestPayloadError, ConnectionError, TimeoutError) as error:
        release_frames(error)  # The body keeps it.


async def text_bytes(body: bytes, fair_queue: FairQueue) -> int:
    """How many bytes the text of a long body takes, and its slices take as much again. Counting passes `fair_queue`."""
    # A text has 1 byte for each character, 4 if there is one beyond the basic plane, and 2 otherwise.
    width = 1
    for start in range(0, len(body), _SCANNED_AT_ONCE):
        part = body[start : start + _SCANNED_AT_ONCE]
        if not part.isascii():
            width = 4 if any(lead in part for lead in range(0xF0, 0xF5)) else 2
        if width == 4:
            break
        await fair_queue.yield_turn()
    return 2 * width * len(body)


def declares_json(request: HttpRequest) -> bool:
    """Whether the body is declared as JSON. Raises UnsupportedMediaType if it is not UTF-8."""
    declared = request.headers.get("Content-Type", "")
    if declared == JSON:
        return True
    kind = request.media_type
    if kind not in _JSON_TYPES and not (kind.startswith("application/") and kind.endswith("+json")):
        return False
    if (request.charset or "utf-8") not in _UTF_8:
        raise UnsupportedMediaType("expected content-type with charset=utf-8, or without charset: JSON is UTF-8")
    return True


def _ask_for_body(request: HttpRequest, held: MemoryHold, declared: int) -> None:
    """Let a client send the body that waits to be asked, unless there is no memory for it."""
    held.grow(declared)
    held.shrink(declared)
    invite_body(request)


def invite_body(request: HttpRequest) -> None:
    """Let a client send the body that waits to be asked. Nothing of the answer may have been written."""
    transport = request.connection.transport
    if "Expect" in request.headers and request.version >= HttpVersion11 and transport is not None:
        transport.write(INTERIM)


async def _next_chunk(request: HttpRequest, limits: HttpLimits) -> bytes:
    """What has arrived of the body, b"" at its end. Raises RequestTimeout if nothing comes for too long."""
    try:
        async with asyncio.timeout(limits.body_seconds):
            return await request.content.readany()
    except asyncio.CancelledError:
        request.stalled = True  # Who waits for it has lost patience, or its deadline has passed.
        raise
    except TimeoutError:
        request.stalled = True
        raise RequestTimeout(f"nothing of the body has come for {counted(limits.body_seconds, 'second')}") from None
    except BodyTooScattered:
        raise ParseError("the chunks of the body are too small, or have too much around them") from None
    except (RequestPayloadError, ConnectionError):
        raise ParseError("the body ends too early or is encoded wrongly") from None


def _too_large(limits: HttpLimits) -> TooLarge:
    return TooLarge(f"the body is larger than {limits.body} bytes")
