"""Compiles flows in steps, and keeps those that were used last."""

import asyncio
import weakref
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Final

from gateway.concurrency.bounded_cache import BoundedCache
from gateway.concurrency.memory_account import MemoryAccount
from gateway.concurrency.time_slice import TimeSlice, in_slices
from gateway.core.errors import InvalidFlow, TooLarge, Violation
from gateway.core.json_layout import SHORT, Steps, at_once
from gateway.core.json_text import limit_text
from gateway.core.model import Blob, JsonText
from gateway.flows.flow import Flow, compile_flow

DEFAULT_MAX_FLOW_BYTES: Final = 4 << 20
"""The longest flow, and the longest overrides, unless told otherwise, in bytes of UTF-8."""

CACHED_FLOWS: Final = 256
CACHED_BYTES: Final = 64 << 20
"""How many compiled flows stay in memory, and about how many bytes these take. The latest one stays in any case."""

COUNTED_BYTES: Final = 1 << 16
"""Flows that take more are counted in the account, for as long as somebody has them."""

BUILD_FACTOR: Final = 25
"""How many times its length a flow takes at most while it is compiled."""


class FlowCache:
    """The compiled flows of a runtime, by the ids of their blobs or by their texts.

    A flow, and overrides, may have `max_bytes`. What they take draws from `account`: while they are compiled, and until
    the cache and the last run have let go of them.
    """

    def __init__(self, max_bytes: int = DEFAULT_MAX_FLOW_BYTES, account: MemoryAccount | None = None) -> None:
        self._max_bytes = max_bytes
        self._share = (account or MemoryAccount()).share("flows")
        self._flows: BoundedCache[str, Flow] = BoundedCache(CACHED_FLOWS, CACHED_BYTES)
        # One long flow at a time: together they would take much memory, and be finished no sooner.
        self._turn = asyncio.Lock()

    def get(self, key: str) -> Flow | None:
        """The flow with this key; None if it is not there."""
        return self._flows.use(key)

    async def compile(self, key: str, content: JsonText | bytes, field: str) -> Flow:
        """Return the flow with this key, which has this content; `field` has it, for messages.

        Raises InvalidFlow if it is not a flow, TooLarge if it is too long, Overloaded if no memory is left for it.
        """
        flow = self.get(key)
        if flow is None:
            if isinstance(content, bytes):
                raise InvalidFlow([Violation((), "a flow is a JSON document, not binary data")])
            self._check_length(content, field, "a flow")
            async with self._turn_for(len(content)):
                flow = self.get(key)
                if flow is None:
                    flow = await self._make(compile_flow(content), len(content))
                    self._flows.put(key, flow, flow.size)
        return flow

    async def compile_stored(self, key: str, blob: Blob) -> Flow:
        """Return the flow in a blob that a submit names. Its type does not matter: components store flows as data, too.

        Raises as `compile` does.
        """
        try:
            return await self.compile(key, blob.content, "flow_id")
        except InvalidFlow as error:
            raise InvalidFlow(
                [Violation(("flow_id",), f"the blob is not a valid flow: {named}") for named in error.violations],
                rest=error.rest,
            ) from error

    def forget(self, key: str) -> None:
        """Let go of a flow that the state does not keep: a run of it could not go on after a restart."""
        self._flows.remove(key)

    async def override(self, flow: Flow, overrides: JsonText) -> Flow:
        """Return the flow with some steps changed.

        Raises InvalidParams, with paths under `overrides`, if the result is not a valid flow. Raises TooLarge if the
        overrides or the result are too long, and Overloaded if no memory is left for it.
        """
        self._check_length(overrides, "overrides", "overrides")
        length = flow.length + len(overrides)
        async with self._turn_for(length):
            return await self._make(flow.with_overrides(overrides, self._max_bytes), length)

    def _turn_for(self, length: int) -> AbstractAsyncContextManager[None]:
        return nullcontext() if length < SHORT else self._turn

    def _check_length(self, text: JsonText, field: str, what: str) -> None:
        if len(text) > self._max_bytes or (not text.isascii() and len(text.encode()) > self._max_bytes):
            raise TooLarge(f"{field}: {what} of more than {limit_text(self._max_bytes)}")

    async def _make(self, steps: Steps[Flow], length: int) -> Flow:
        """Take the steps that make a flow out of so many characters."""
        if length < SHORT:
            flow = at_once(steps)
        else:
            with self._share.hold(BUILD_FACTOR * length):
                flow = await in_slices(steps, TimeSlice())
        if flow.size > COUNTED_BYTES:
            self._share.take(flow.size)
            weakref.finalize(flow, self._share.give_back, flow.size).atexit = False
        return flow
