"""`runs/get` with `wait`, answered by a stream of server-sent events to clients that would rather have one.

Every event but the last is a notification, `runs/status`: its `params` are the status as `runs/get` writes it, with
those results that no earlier event of the stream held, and besides

- `revision`, which grows with each change of the run;
- `finishedPrefix`, how many leading items have all finished, and `resultCount`, how many results exist;
- `heartbeat`, true if nothing has changed and the event only shows that the stream lives;
- `restarted`, true in the first event if the resume token was not understood.

The id of an event is the resume token of the point after it: `Last-Event-ID`, or the parameter `resumeToken`, goes on
there. The last event has no id. It is the response to the request: what `runs/get` without `wait` answers then, all
results included, or the error that ended the stream. A stream without a response was cut.
"""

from collections.abc import AsyncGenerator, Callable
from contextlib import aclosing
from typing import Final, NamedTuple, TypeVar

from gateway.adapter import jsonrpc, params_json, status_to_json
from gateway.concurrency.fair_queue import FairQueue
from gateway.core.errors import GatewayError
from gateway.core.internal_errors import report_unexpected
from gateway.core.model import GetParams, JsonText
from gateway.runs.hub import Update
from gateway.runs.service import RunsService

HEADERS: Final = {
    "Content-Type": "text/event-stream",
    # Proxies are asked to keep nothing back.
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
}

_EVENTS: Final = "text/event-stream"
_PLAIN: Final = ("application/json", "application/*", "*/*")
_PIECE: Final = 64 << 10


class Follow(NamedTuple):
    """A request to follow a run."""

    id: JsonText
    params: GetParams


class Broken(Exception):
    """The response cannot be completed: the stream must be cut, since it has no way left to say so."""


def is_preferred(accept: str) -> bool:
    """Whether an `Accept` header names event streams and ranks them above plain JSON.

    Who takes either alike gets JSON: component SDKs name both, and read a single answer.
    """
    ranks = dict(map(_rank, accept.lower().split(",")))
    plain = next((ranks[kind] for kind in _PLAIN if kind in ranks), 0.0)
    return ranks.get(_EVENTS, 0.0) > plain


def follow_request(body: bytes, last_event_id: str) -> Follow | None:
    """The request to follow a run that a body holds; None if it holds anything else, mistakes included.

    `last_event_id` counts before the token in the body: a client that comes back sends the same body again.
    """
    try:
        call = jsonrpc.parse_body(body)
        if not isinstance(call, jsonrpc.Request) or call.id is None or call.method != "runs/get":
            return None
        params = params_json.get_params_from_json(call.params)
    except GatewayError:
        return None
    if last_event_id:
        params = params.model_copy(update={"resume_token": params_json.resume_token_from_text(last_event_id)})
    return Follow(call.id, params) if params.wait else None


async def events(service: RunsService, fair_queue: FairQueue, follow: Follow) -> AsyncGenerator[bytes, None]:
    """Yield the stream: each notification whole, the response perhaps in several pieces. Close it explicitly.

    The errors of the service are raised before the first event; later, one is the response, or raises Broken if the
    response has begun. The stream passes `fair_queue` between slices of work that could follow each other at once.
    """
    begun = False
    try:
        async with aclosing(_notifications(service, fair_queue, follow.params)) as notifications:
            async for event in notifications:
                yield event
                del event
                begun = True
        async with aclosing(_response(service, fair_queue, follow)) as pieces:
            async for piece in pieces:
                yield piece
    except Exception as error:
        if not begun or isinstance(error, Broken):
            raise
        told = error if isinstance(error, GatewayError) else report_unexpected(error)
        yield b"data: %b\n\n" % _lines(jsonrpc.error_response(follow.id, told))


async def _notifications(service: RunsService, fair_queue: FairQueue, params: GetParams) -> AsyncGenerator[bytes, None]:
    more = False
    async with aclosing(service.follow(params)) as updates:
        async for update in updates:
            for part in _slices(update):
                if more or part.start:
                    await fair_queue.yield_turn()
                yield b"".join(_part(update, part))
            more = update.more
            del update  # It may hold a mebibyte of results, and the next one may be hours away.


async def _response(service: RunsService, fair_queue: FairQueue, follow: Follow) -> AsyncGenerator[bytes, None]:
    """The response, of which no more is held than a page of results and a piece."""
    params = follow.params.model_copy(update={"wait": False, "resume_token": b"", "heartbeat_interval": None})
    piece = comma = closing = b""
    begun = False
    try:
        async with aclosing(service.follow(params)) as updates:
            async for update in updates:
                if not closing:
                    piece, closing = _around_response(follow.id, update)
                for part in _slices(update):
                    await fair_queue.yield_turn()
                    if results := _part(update, part).results:
                        piece += comma + results
                        comma = b","
                    if len(piece) >= _PIECE:
                        yield piece
                        begun, piece = True, b""
        yield piece + closing
    except Exception as error:
        if not begun:
            raise
        if not isinstance(error, GatewayError):
            report_unexpected(error)
        raise Broken from error


class _Part(NamedTuple):
    """The notification of some results of an update: they, and what stands before and after them."""

    opening: bytes
    results: bytes
    closing: bytes


def _part(update: Update, part: slice) -> _Part:
    return _once(update, ("event", part.start), lambda: _written(update, part))


def _written(update: Update, part: slice) -> _Part:
    token = update.position_after(part.stop).token(update.status.run_id)
    more = {
        "revision": str(update.revision),
        "finishedPrefix": str(update.prefix),
        "resultCount": str(update.completions),
    }
    if update.heartbeat:
        more["heartbeat"] = "true"
    if update.restarted and part.start == 0:
        more["restarted"] = "true"
    before, after = jsonrpc.around_params("runs/status")
    opening, closing = status_to_json.around_results(update.status, more)
    return _Part(
        b"id: %b\ndata: %b" % (params_json.resume_token_to_text(token).encode(), _lines(before + opening)),
        _lines(status_to_json.results_to_json((update.status.results or [])[part])),
        _lines(closing + after) + b"\n\n",
    )


def _around_response(request_id: JsonText, update: Update) -> tuple[bytes, bytes]:
    before, after = jsonrpc.around_result(request_id)
    opening, closing = status_to_json.around_results(update.status)
    return b"data: " + _lines(before + opening), _lines(closing + after) + b"\n\n"


def _slices(update: Update) -> list[slice]:
    return _once(update, "slices", lambda: list(status_to_json.result_slices(update.status.results)))


_T = TypeVar("_T")


def _once(update: Update, key: object, build: Callable[[], _T]) -> _T:
    """What `build` makes of an update, for all who are sent it."""
    built: _T | None = update.built.get(key)
    if built is None:
        built = update.built[key] = build()
    return built


def _lines(text: str) -> bytes:
    """Text as it stands in the data of an event, where each line has a name. Every line break becomes a line feed."""
    content = text.encode()
    if b"\r" in content:
        content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return content.replace(b"\n", b"\ndata: ")


def _rank(media_range: str) -> tuple[str, float]:
    """A member of an `Accept` header: what it names, and its rank."""
    kind, *parameters = (part.strip() for part in media_range.split(";"))
    try:
        return kind, next((float(text[2:]) for text in parameters if text.startswith("q=")), 1.0)
    except ValueError:
        return kind, 0.0
