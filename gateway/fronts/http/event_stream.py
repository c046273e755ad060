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
cut, or ended when its connection was old or the gateway was about to stop: then a comment says so, and `retry`.

`runs/watch` follows a set of runs, and only by such a stream. Its notifications are `runs/set`. Their `params` have an
`event`:

- `added`, `changed` and `left` have `runId`, and `run` and `revision` unless the run has been deleted. With
  `includeResults`, the status that shows the end of a run has its results; many come in several events, of which the
  last one has an id.
- `caughtUp`: everything is told that had happened when the set was asked for. `heartbeat`: nothing has happened.

`restarted` is true in the first event if the token was not understood. The stream goes on until the client leaves; a
response is the error that ends it.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from typing import Final, NamedTuple, Self

from msgspec.structs import replace

from gateway.access.method_permissions import permit_jsonrpc
from gateway.access.refusals import unauthenticated
from gateway.adapter import jsonrpc, params_json, sets_json, status_to_json
from gateway.adapter.json_members import Params
from gateway.concurrency.fair_queue import FairQueue
from gateway.concurrency.fair_turns import FairTurns
from gateway.concurrency.memory_account import MemoryShare
from gateway.concurrency.stream_lives import StreamLives
from gateway.core.caller import Caller
from gateway.core.errors import GatewayError, GoAway
from gateway.core.internal_errors import error_to_tell
from gateway.core.model import GetParams, JsonText, canonical_run_id
from gateway.core.observed_params import joined
from gateway.core.run_sets import SetParams
from gateway.core.runtime import text_sizes
from gateway.fronts.http.connection import ClientLeft
from gateway.fronts.http.observed_methods import fails
from gateway.fronts.http.pace import Pace
from gateway.fronts.http.preferences import ranks
from gateway.fronts.http.sending import Broken
from gateway.fronts.http.written_update import WrittenUpdate, event_lines, event_of
from gateway.runs.follower import Follower
from gateway.runs.service import RunsService
from gateway.runs.services import RunsServices
from gateway.runs.set_follower import SetFollower
from gateway.runs.set_update import SetCaughtUp, SetHeartbeat
from gateway.runs.update import Update
from gateway.telemetry.observed_calls import NOBODY, ObservedCall

HEADERS: Final = {
    "Content-Type": "text/event-stream",
    # Proxies are asked to keep nothing back, neither an event nor, by compressing them, a part of one.
    "Cache-Control": "no-store, no-transform",
    "X-Accel-Buffering": "no",
}

_EVENTS: Final = "text/event-stream"
_PLAIN: Final = ("application/json", "application/*", "*/*")
_GO_ON: Final = b": the stream goes on over a new connection\nretry: 100\n\n"
"""The end of a stream that goes on elsewhere. The client comes back after so many milliseconds, with the last id."""

_PIECE: Final = 64 << 10
_READERS: Final[dict[str, Callable[[Params], GetParams | SetParams]]] = {
    "runs/get": params_json.get_params_from_json,
    "runs/watch": sets_json.set_params_from_json,
}


class Follow(NamedTuple):
    """A request to follow a run, or a set of them."""

    id: JsonText
    method: str
    params: GetParams | SetParams

    def joined(self, call: ObservedCall) -> Self:
        """The same, as part of the trace of the call."""
        params = self.params
        if params.resume_token:
            call.resumes()
        if isinstance(params, SetParams):
            return self
        call.run_id = canonical_run_id(params.run_id) or ""
        return self._replace(params=joined(call, params))


def is_preferred(accept: str) -> bool:
    """Whether an `Accept` header names event streams and ranks them above plain JSON.

    Clients that rank both equally get JSON: component SDKs name both, and read a single answer.
    """
    if _EVENTS not in accept.lower():
        return False
    rank = ranks(accept)
    plain = next((rank[kind] for kind in _PLAIN if kind in rank), 0.0)
    return rank.get(_EVENTS, 0.0) > plain


def follow_request(call: jsonrpc.Call | jsonrpc.Batch, last_event_id: str) -> Follow | None:
    """The request to follow a run that a call is; None if it is anything else, mistakes included.

    `last_event_id` counts before the token in the call: a client that comes back sends the same body again.
    """
    if not isinstance(call, jsonrpc.Request) or call.id is None or call.method not in _READERS:
        return None
    try:
        params = _READERS[call.method](call.params)
    except GatewayError:
        return None
    if last_event_id:
        token = params_json.resume_token_from_text(last_event_id)
        params = replace(params, resume_token=token)
        if isinstance(params, SetParams):
            params = replace(params, only_new=False)
    return None if isinstance(params, GetParams) and not params.wait else Follow(call.id, call.method, params)


class EventStreams:
    """Writes event streams. The events of an update are written once for all followers, and draw from `share`.

    Events of all streams share turns, and slices of a response pass `fair_queue`. It is in step with its
    client: an event is made when the one before has left this process, and a client that is behind holds no more than
    the event that waits for it.
    """

    def __init__(
        self, services: RunsServices, fair_queue: FairQueue, share: MemoryShare, lives: StreamLives | None = None
    ) -> None:
        self._services = services
        self._lives = lives or StreamLives()
        self._fair_queue = fair_queue
        # Events of all streams: thousands of heartbeats may be due at once.
        self._line = FairTurns().line()
        self._share = share

    async def events(
        self, follow: Follow, pace: Pace, caller: Caller, call: ObservedCall = NOBODY
    ) -> AsyncGenerator[bytes, None]:
        """Yield the stream, whose large events come in pieces. Close it explicitly.

        Each piece must have been written when the next one is asked for. Errors of the service are raised before the
        first event. Later, an error is the response, or raises Broken if an event that has begun cannot be completed.
        The credentials of the caller that expire are such an error.
        """
        begun = False
        try:
            permit_jsonrpc(caller, follow.method)
            service = self._services.of(caller.view)
            parts = [self._notifications(service, follow.params, pace, caller.expires, call)]
            if isinstance(follow.params, GetParams):
                parts.append(self._response(service, follow.id, follow.params, pace, call))
            for part in parts:
                async with aclosing(part) as pieces:
                    async for piece in pieces:
                        call.bytes_out += len(piece)
                        yield piece
                        del piece
                        begun = True
            call.status = "OK"
        except ClientLeft:
            raise
        except Broken:
            fails(call)
            raise
        except Exception as error:
            if not begun:
                raise
            yield _last_event(follow.id, error, call)

    async def _notifications(
        self,
        service: RunsService,
        params: GetParams | SetParams,
        pace: Pace,
        expires: float | None,
        call: ObservedCall,
    ) -> AsyncGenerator[bytes, None]:
        with _follower(service, params) as follower, self._lives.begin(follower.end) as life:
            while not life.over:
                update = await (follower.next() if expires is None else _before(expires, follower))
                if update is None:
                    break
                if not isinstance(update, Update):
                    await self._line.checkpoint()
                    call.sent()
                    yield _event_of_set(update)
                    continue
                written = self._of(update)
                for part in written.slices:
                    await self._line.checkpoint()
                    call.sent()
                    if written.is_large(update, part):
                        async with aclosing(self._large(update, written.large_event(update, part), pace)) as pieces:
                            async for piece in pieces:
                                yield piece
                                del piece
                    else:
                        yield written.event(update, part)
                    if pace.paused and await pace.falls_behind():
                        follower.rewind(update.position_after(part.stop))
                        break
                del update, written  # They may hold a mebibyte of results, and the next ones may be hours away.
                if pace.behind:
                    await pace.catch_up()
            life.check()

    async def _response(
        self, service: RunsService, request_id: JsonText, params: GetParams, pace: Pace, call: ObservedCall
    ) -> AsyncGenerator[bytes, None]:
        """The response, of which at most a page of results and a piece are held."""
        begun = False
        try:
            async with aclosing(self._pieces_of_response(service, request_id, params, pace)) as pieces:
                async for piece in pieces:
                    if not begun:
                        call.sent()
                    yield piece
                    del piece
                    begun = True
        except ClientLeft:
            raise
        except Exception as error:
            if not begun:
                raise
            if not isinstance(error, Broken):
                error_to_tell(error)
            raise Broken from error

    async def _pieces_of_response(
        self, service: RunsService, request_id: JsonText, params: GetParams, pace: Pace
    ) -> AsyncGenerator[bytes, None]:
        params = replace(params, wait=False, resume_token=b"", heartbeat_interval=None)
        piece = comma = closing = b""
        with service.follower(params) as follower:
            while (update := await follower.next()) is not None:
                if not closing:
                    piece, closing = _around_response(request_id, update)
                written = self._of(update)
                for part in written.slices:
                    await self._fair_queue.yield_turn()
                    if written.is_large(update, part):
                        yield piece + comma
                        piece = b""
                        async with aclosing(self._large(update, written.large_results(update, part), pace)) as larges:
                            async for large in larges:
                                yield large
                                del large
                    else:
                        results = written.results(update, part)
                        piece += comma + results if results else b""
                    comma = b"," if update.status.results else comma
                    if len(piece) >= _PIECE:
                        yield piece
                        piece = b""
                    if pace.paused and await pace.falls_behind():
                        follower.rewind(update.position_after(part.stop))
                        break
                del update, written
                if pace.behind:
                    await pace.catch_up()
        yield piece + closing

    async def _large(self, update: Update, pieces: Iterator[bytes], pace: Pace) -> AsyncGenerator[bytes, None]:
        """Yield the pieces of a large result, which is held until all of them have been sent."""
        begun = False
        try:
            with pace.holding(text_sizes(update.status.results or ())):
                for piece in pieces:
                    yield piece
                    begun = True
                    await self._fair_queue.yield_turn()
                    await pace.catch_up()
        except ClientLeft:
            raise
        except Exception as error:
            if not begun:
                raise
            raise Broken from error

    def _of(self, update: Update) -> WrittenUpdate:
        written: WrittenUpdate | None = update.made.get(self)
        if written is None:
            written = update.made[self] = WrittenUpdate(update, self._share)
        return written


def _follower(service: RunsService, params: GetParams | SetParams) -> Follower | SetFollower:
    return service.follow_set(params) if isinstance(params, SetParams) else service.follower(params)


async def _before(expires: float, follower: Follower | SetFollower) -> Update | SetCaughtUp | SetHeartbeat | None:
    """The next update. Raises Unauthenticated if it does not come before credentials expire, at this time."""
    if (left := expires - time.time()) <= 0:
        raise unauthenticated("expired")
    try:
        async with asyncio.timeout(left) as ending:
            return await follower.next()
    except TimeoutError:
        if ending.expired():
            raise unauthenticated("expired") from None
        raise


def _last_event(request_id: JsonText, error: Exception, call: ObservedCall) -> bytes:
    """What tells of an error. The age of a connection is none: the stream goes on elsewhere."""
    if isinstance(error, GoAway):
        call.status = "OK"
        return _GO_ON
    told = error_to_tell(error)
    fails(call, told)
    call.sent()
    return b"data: %b\n\n" % event_lines(jsonrpc.error_response(request_id, told))


def _event_of_set(update: SetCaughtUp | SetHeartbeat) -> bytes:
    if isinstance(update, SetCaughtUp):
        return event_of(update.token, sets_json.caught_up_to_json(restarted=update.restarted))
    return event_of(update.token, sets_json.heartbeat_to_json())


def _around_response(request_id: JsonText, update: Update) -> tuple[bytes, bytes]:
    before, after = jsonrpc.around_result(request_id)
    opening, closing = status_to_json.around_results(update.status)
    return b"data: " + event_lines(before + opening), event_lines(closing + after) + b"\n\n"
