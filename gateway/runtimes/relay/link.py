"""The link of a worker to the runtime of its gateway."""

import asyncio
from collections.abc import AsyncGenerator, Callable
from itertools import count
from typing import Any, Final

import grpc

from gateway.adapter.grpc_status import from_status
from gateway.concurrency.patience import Patience
from gateway.core.errors import GatewayError, Unavailable
from gateway.core.model import ItemResult, SubmitParams
from gateway.core.runtime import Page, Snapshot
from gateway.peers.link.connection import LinkConnection
from gateway.peers.link.messages import (
    AskPage,
    AskState,
    AskSubmit,
    AskWatch,
    EndWatch,
    LinkMessage,
    NotOverLink,
    Told,
    ToldError,
    ToldResults,
    ToldState,
)
from gateway.telemetry import tracing

READ_SECONDS: Final = 30.0
SUBMIT_SECONDS: Final = 300.0
"""How long the runtime may take for an answer, at least; up to twice as long passes until that is noticed."""

_CODES: Final = {code.value[0]: code for code in grpc.StatusCode}


class BeyondLink(Exception):
    """The answer to a call is not for a link: the state and the results of this run can be had over gRPC."""

    def __init__(self, run_id: str) -> None:
        super().__init__(run_id)
        self.run_id = run_id


class Link:
    """The connection to the runtime. `lost` is called when it is lost; all calls fail then.

    The methods raise the GatewayErrors of the runtime, and BeyondLink.
    """

    def __init__(self, lost: Callable[[], None]) -> None:
        self._report_loss = lost
        self._connection: LinkConnection[Told] = LinkConnection(Told)  # type: ignore[arg-type]
        self._connection.receive = self._receive
        self._connection.lost = self._lost
        self._numbers = count()
        self._waiting: dict[int, asyncio.Future[Any]] = {}
        self._pages: dict[int, list[ItemResult]] = {}
        """Results of pages that have not arrived as a whole."""
        self._followed: dict[int, LinkedWatch] = {}
        self._reads = Patience(READ_SECONDS, _no_answer)
        self._submits = Patience(SUBMIT_SECONDS, _no_answer)
        self._closed = False
        self._failure: GatewayError | None = None

    async def connect(self, path: str) -> None:
        """Connect to the socket at a path. Raises OSError if nothing listens there."""
        await asyncio.get_running_loop().create_unix_connection(lambda: self._connection, path)

    async def submit(self, params: SubmitParams) -> Snapshot:
        """Accept a run, as part of the current trace."""
        trace = None if tracing.tracer is None else tracing.injected() or None
        snapshot: Snapshot = await self._call(lambda call: AskSubmit(call, params, trace), self._submits)
        return snapshot

    async def state(self, run_id: str, revision: int | None = None) -> Snapshot | None:
        """The state of a run; with a `revision`, one that is not older, or None if there is none."""
        snapshot: Snapshot | None = await self._call(lambda call: AskState(call, run_id, revision), self._reads)
        return snapshot

    async def results(self, run_id: str, page: Page) -> list[ItemResult]:
        """Results of a run: all of the page, or the first ones."""
        results: list[ItemResult] = await self._call(lambda call: AskPage(call, run_id, page), self._reads)
        return results

    async def states(self, run_id: str) -> AsyncGenerator[Snapshot, None]:
        """Yield the state of a run, then the latest one after each change, and end after the last one."""
        if self._failure is not None:
            raise self._failure.with_traceback(None)
        call, followed = next(self._numbers), LinkedWatch()
        self._followed[call] = followed
        self._connection.send(AskWatch(call, run_id))
        try:
            while True:
                snapshot = await followed.next()
                yield snapshot
                if snapshot.terminal:
                    return
        finally:
            # The runtime lets go by itself of a run that has ended, or cannot be followed.
            if self._followed.pop(call, None) is not None:
                self._connection.send(EndWatch(call))

    def end_watches(self, failure: GatewayError) -> None:
        """Let all watches fail."""
        for followed in self._followed.values():
            followed.fail(failure)

    def close(self) -> None:
        """Let go of the connection."""
        self._closed = True
        self._reads.close()
        self._submits.close()
        self._connection.close()

    async def _call(self, ask: Callable[[int], LinkMessage], patience: Patience) -> Any:
        if self._failure is not None:
            raise self._failure.with_traceback(None)
        call = next(self._numbers)
        waiting = self._waiting[call] = asyncio.get_running_loop().create_future()
        self._connection.send(ask(call))
        try:
            return await patience.wait(waiting)
        finally:
            del self._waiting[call]
            self._pages.pop(call, None)

    def _receive(self, message: Told) -> None:
        followed = self._followed.get(message.call)
        match message:
            case ToldState(call, snapshot):
                if followed is not None and snapshot is not None:
                    if snapshot.terminal:
                        del self._followed[call]
                    followed.tell(snapshot)
                else:
                    self._answer(call, snapshot)
            case ToldResults(call, results, more):
                self._collect(call, results, more=more)
            case NotOverLink(call, run_id):
                self._fail(call, followed, BeyondLink(run_id))
            case ToldError(call, code, text, details):
                self._fail(call, followed, from_status(_CODES[code], text, details))

    def _fail(self, call: int, followed: "LinkedWatch | None", failure: Exception) -> None:
        if followed is not None:
            del self._followed[call]
            followed.fail(failure)
        elif (waiting := self._waiting.get(call)) is not None and not waiting.done():
            waiting.set_exception(failure)

    def _collect(self, call: int, results: list[ItemResult], *, more: bool) -> None:
        """Put a page together of its messages."""
        if call in self._waiting and (more or call in self._pages):
            page = self._pages.setdefault(call, [])
            page += results
            results = page
        if not more:
            self._answer(call, results)

    def _answer(self, call: int, answer: object) -> None:
        waiting = self._waiting.get(call)
        if waiting is not None and not waiting.done():
            waiting.set_result(answer)

    def _lost(self) -> None:
        self._failure = Unavailable("the runtime of the gateway cannot be reached", retry_after=1.0)
        self.end_watches(self._failure)
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(self._failure)
        if not self._closed:
            self._report_loss()


class LinkedWatch:
    """The latest state of a run that has not been read."""

    def __init__(self) -> None:
        self._snapshot: Snapshot | None = None
        self._failure: Exception | None = None
        self._told = asyncio.Event()

    def tell(self, snapshot: Snapshot) -> None:
        """Take the next state, in place of one that has not been read."""
        self._snapshot = snapshot
        self._told.set()

    def fail(self, failure: Exception) -> None:
        """End it, after what has been told."""
        self._failure = failure
        self._told.set()

    async def next(self) -> Snapshot:
        """Wait for the next state. Raises the error that has ended it."""
        await self._told.wait()
        self._told.clear()
        snapshot, self._snapshot = self._snapshot, None
        if snapshot is None:
            assert self._failure is not None
            raise self._failure.with_traceback(None)
        if self._failure is not None:
            self._told.set()
        return snapshot


def _no_answer() -> Unavailable:
    return Unavailable("the runtime of the gateway did not answer in time", retry_after=1.0)
