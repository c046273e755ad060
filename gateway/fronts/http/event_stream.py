"""`runs/get` with `wait`, answered by a stream of server-sent events to clients that prefer one.

Every event but the last is a notification, `runs/status`. Its `params` are the status as `runs/get` writes it, with
the results that no earlier event of the stream held, and these members:

- `revision`, which grows with each change of the run;
- `finishedPrefix`, how many leading items have all finished, and `resultCount`, how many results exist;
- `heartbeat`, true if nothing has changed and the event only shows that the stream lives;
- `restarted`, true in the first event if the resume token was not understood.

The id of an event is the resume token of the point after it: a stream with this `Last-Event-ID`, or parameter
`resumeToken`, goes on there. The last event has no id. It is the response to the request: the answer to `runs/get`
without `wait` at that moment, with all results, or the error that ended the stream. A stream without a response was
cut.
"""

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Final, NamedTuple

from gateway.adapter import jsonrpc, params_json, status_to_json
from gateway.concurrency.fair_queue import FairQueue
from gateway.concurrency.weak_memo import WeakMemo
from gateway.core.errors import GatewayError
from gateway.core.internal_errors import report_unexpected
from gateway.core.model import GetParams, JsonText
from gateway.runs.service import RunsService
from gateway.runs.update import Update

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
    """The response cannot be completed: the stream must be cut, as it cannot tell of the error any more."""


def is_preferred(accept: str) -> bool:
    """Whether an `Accept` header names event streams and ranks them above plain JSON.

    Clients that rank both equally get JSON: component SDKs name both, and read a single answer.
    """
    ranks = dict(map(_rank, accept.lower().split(",")))
    plain = next((ranks[kind] for kind in _PLAIN if kind in ranks), 0.0)
    return ranks.get(_EVENTS, 0.0) > plain


def follow_request(call: jsonrpc.Call | jsonrpc.Batch, last_event_id: str) -> Follow | None:
    """The request to follow a run that a call is; None if it is anything else, mistakes included.

    `last_event_id` counts before the token in the call: a client that comes back sends the same body again.
    """
    if not isinstance(call, jsonrpc.Request) or call.id is None or call.method != "runs/get":
        return None
    try:
        params = params_json.get_params_from_json(call.params)
    except GatewayError:
        return None
    if last_event_id:
        params = params.model_copy(update={"resume_token": params_json.resume_token_from_text(last_event_id)})
    return Follow(call.id, params) if params.wait else None


class EventStreams:
    """Writes event streams. The events of an update are written once for all followers.

    A stream passes `fair_queue` between slices of work that could follow each other at once.
    """

    def __init__(self, service: RunsService, fair_queue: FairQueue) -> None:
        self._service = service
        self._fair_queue = fair_queue
        self._written: WeakMemo[Update, _Written] = WeakMemo()

    async def events(self, follow: Follow) -> AsyncGenerator[bytes, None]:
        """Yield the stream: each notification whole, the response perhaps in several pieces. Close it explicitly.

        Errors of the service are raised before the first event. Later, an error is the response, or raises Broken if
        the response has begun.
        """
        begun = False
        try:
            async with aclosing(self._notifications(follow.params)) as notifications:
                async for event in notifications:
                    yield event
                    del event
                    begun = True
            async with aclosing(self._response(follow)) as pieces:
                async for piece in pieces:
                    yield piece
        except Exception as error:
            if not begun or isinstance(error, Broken):
                raise
            told = error if isinstance(error, GatewayError) else report_unexpected(error)
            yield b"data: %b\n\n" % _lines(jsonrpc.error_response(follow.id, told))

    async def _notifications(self, params: GetParams) -> AsyncGenerator[bytes, None]:
        more = False
        async with aclosing(self._service.follow(params)) as updates:
            async for update in updates:
                written = self._of(update)
                for part in written.slices:
                    if more or part.start:
                        await self._fair_queue.yield_turn()
                    yield b"".join(written.part(update, part))
                more = update.more
                del update, written  # They may hold a mebibyte of results, and the next ones may be hours away.

    async def _response(self, follow: Follow) -> AsyncGenerator[bytes, None]:
        """The response, of which at most a page of results and a piece are held."""
        params = follow.params.model_copy(update={"wait": False, "resume_token": b"", "heartbeat_interval": None})
        piece = comma = closing = b""
        begun = False
        try:
            async with aclosing(self._service.follow(params)) as updates:
                async for update in updates:
                    if not closing:
                        piece, closing = _around_response(follow.id, update)
                    written = self._of(update)
                    for part in written.slices:
                        await self._fair_queue.yield_turn()
                        if results := written.part(update, part).results:
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

    def _of(self, update: Update) -> "_Written":
        written = self._written.get(update)
        return self._written.set(update, _Written(update)) if written is None else written


class _Part(NamedTuple):
    """The notification of some results of an update: the results, and the text before and after them."""

    opening: bytes
    results: bytes
    closing: bytes


class _Written:
    """The notifications of an update: one for each slice of its results, written when it is first sent."""

    __slots__ = ("_parts", "slices")

    def __init__(self, update: Update) -> None:
        self.slices = list(status_to_json.result_slices(update.status.results))
        self._parts: dict[int, _Part] = {}

    def part(self, update: Update, part: slice) -> _Part:
        written = self._parts.get(part.start)
        if written is None:
            written = self._parts[part.start] = _write(update, part)
        return written


def _write(update: Update, part: slice) -> _Part:
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
