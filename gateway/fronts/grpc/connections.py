"""What connections make the front hold: every call draws from the share that its connection has of the account."""

import asyncio
from collections.abc import Awaitable
from functools import partial
from typing import Any, Final

from msgspec import Struct

from gateway.access.limits import LimitedCall
from gateway.concurrency.memory_account import SMALL_BYTES, MemoryAccount, MemoryShare
from gateway.concurrency.patience import Patience
from gateway.core.caller import ANYBODY, Caller
from gateway.fronts.grpc.calls import Context, RequestStalled
from gateway.fronts.grpc.long_answers import LONG, LongAnswers

CALL_BYTES: Final = 24 << 10
"""What an open call takes in any case: grpc's state and buffers, tasks, a small request and a small answer. grpcio
takes as much for a call whose request does not come; the native transport half of it, before the call is counted."""

SMALL_MESSAGE: Final = 4 << 10
"""The largest message, in bytes, that `CALL_BYTES` allows for."""

COPIES: Final = 2
"""How often a larger message is held: as bytes here and in grpc, as bytes and a message, or as a message and text."""

BUILDING: Final = 3
"""How often the content of an answer is held while the answer is built: as text, as a message, and as bytes. Long blobs
are not held as a message."""

LEAST_CALLS: Final = 1_024
MOST_CALLS: Final = 16_384
"""How many open calls one connection may have, with little memory and with plenty of it."""

_NAMELESS: Final = "unix:"
"""The peer of every connection over a unix socket. Each of their calls has a share of its own."""


def open_calls(memory: int) -> int:
    """How many open calls one connection may have: they take a sixteenth of the memory, whether they are counted yet
    or not.
    """
    return min(MOST_CALLS, max(LEAST_CALLS, memory // 16 // CALL_BYTES))


def _stalled() -> RequestStalled:
    return RequestStalled("the client has not sent the rest of its request in time")


class CallMemory(Struct, eq=False):
    """What one call makes the front hold, until the call has ended and its answer has been sent: CALL_BYTES or more,
    which `share` holds. It remembers who calls.
    """

    peer: str
    share: MemoryShare
    size: int = CALL_BYTES
    long: int = 0
    """The bytes of long answers that have not been read."""
    caller: Caller = ANYBODY
    limit: LimitedCall | None = None
    """What its caller may do at a time, if that is limited: the call counts until it has ended."""

    @property
    def identity(self) -> str:
        """The name of the caller, or ""."""
        return self.caller.identity

    def limit_by(self, limit: LimitedCall) -> None:
        """Count the call for its caller, with what it holds. Raises QuotaExceeded."""
        limit.__enter__()
        try:
            limit.hold(self.size)
        except BaseException:
            limit.__exit__()
            raise
        self.limit = limit

    def grow(self, size: int) -> None:
        """Hold more. Raises Overloaded if there is no room."""
        if self.limit is not None:
            self.limit.hold(size)
        try:
            self.share.take(size)
        except BaseException:
            if self.limit is not None:
                self.limit.hold(-size)
            raise
        self.size += size

    def shrink(self, size: int) -> None:
        """Hold less."""
        self.share.give_back(size)
        self.size -= size
        if self.limit is not None:
            self.limit.hold(-size)

    def release(self) -> None:
        """Hold no more than any open call."""
        if self.size != CALL_BYTES:
            self.shrink(self.size - CALL_BYTES)


class Connections:
    """The shares of all connections that have open calls, and what each call holds of them.

    A client has `patience` seconds to send its request, or the next message of it.
    """

    def __init__(self, account: MemoryAccount, patience: float) -> None:
        self._account = account
        self._patience = Patience(patience, _stalled)
        self.nameless_small = SMALL_BYTES
        """How much a call over a unix socket may take of what is kept for small requests."""
        self._long_answers = LongAnswers(account.limit)
        self.long_turn = self._long_answers.turn
        self._shares: dict[str, MemoryShare] = {}
        self._calls: dict[Context, CallMemory] = {}
        self.show_certificates = False
        """Whether clients may show certificates."""
        self.begun = 0
        """How many calls have begun so far."""

    @property
    def number(self) -> int:
        """How many connections to a host and port have open calls."""
        return len(self._shares)

    def begin(self, context: Context) -> CallMemory:
        """Count a call until its task has ended. Raises Overloaded if there is no room for it."""
        self.begun += 1
        memory = self.count(context)
        # Not the callbacks of grpcio's contexts: they are a cycle, which holds the call until it is collected.
        task = asyncio.current_task()
        assert task is not None
        task.add_done_callback(partial(self.end, context))
        return memory

    def count(self, context: Context) -> CallMemory:
        """Count a call until `end`. Raises Overloaded if there is no room for it."""
        peer = context.peer()
        share = self._shares.get(peer)
        if share is not None:
            share.take(CALL_BYTES)
        elif peer == _NAMELESS:
            share = self._account.share("grpc_calls", self.nameless_small)
            share.take(CALL_BYTES)
        else:
            share = self._account.share("grpc_calls")
            share.take(CALL_BYTES)
            self._shares[peer] = share
        memory = self._calls[context] = CallMemory(peer, share)
        return memory

    def end(self, context: Context, _: object = None) -> None:
        """A call has ended; nothing happens if it has not been counted."""
        memory = self._calls.pop(context, None)
        if memory is not None:
            if memory.long:
                self.end_long(memory, memory.long)
            if memory.limit is not None:
                memory.limit.__exit__()
            share = memory.share
            share.give_back(memory.size)
            if not share.held:
                self._shares.pop(memory.peer, None)

    def of(self, context: Context) -> CallMemory:
        """What an open call holds."""
        return self._calls[context]

    def read(self, context: Context) -> Awaitable[Any]:
        """The next message of a request; `aio.EOF` if there are no more. Raises RequestStalled if it does not come."""
        return self._patience.wait(context.read())

    async def write(self, context: Context, message: bytes) -> None:
        """Send a message of a stream. Raises Overloaded if there is no room to keep it until the client reads it."""
        size = len(message)
        if size <= SMALL_MESSAGE:
            await context.write(message)
            return
        memory = self._calls[context]
        if size > LONG:
            await self.begin_long(memory, COPIES * size)
        try:
            memory.grow(COPIES * size)
            try:
                if size > LONG:
                    await self.long_turn()
                await context.write(message)
            finally:
                memory.shrink(COPIES * size)
        finally:
            if size > LONG:
                self.end_long(memory, COPIES * size)

    async def begin_long(self, memory: CallMemory, size: int) -> None:
        """Wait until there is room for a long answer of a call that takes `size` bytes, by default until the call ends.

        That draws nothing from the account. Raises Overloaded if there is no room for too long.
        """
        await self._long_answers.take("" if memory.peer == _NAMELESS else memory.peer, size)
        memory.long += size

    def end_long(self, memory: CallMemory, size: int) -> None:
        """A long answer of a call has been read."""
        memory.long -= size
        self._long_answers.give_back("" if memory.peer == _NAMELESS else memory.peer, size)

    def close(self) -> None:
        """Look after the reading of requests no more."""
        self._patience.close()
