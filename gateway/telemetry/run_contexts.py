"""In which contexts runs were submitted that an engine executes, which has a trace of its own for each of them.

So what executes the tasks of such runs goes on in the traces of those who submitted them, as far as this process knows.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from opentelemetry import context as contexts
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace import NonRecordingSpan

from gateway.telemetry import tracing

MAX_RUNS: Final = 4_096
"""Of how many runs the contexts are known: those that were submitted, or asked for, last."""

PATIENCE: Final = 1.0
"""Seconds to wait at most for the answers to submits that are under way: a task may come before the id of its run."""

_T = TypeVar("_T")


class RunContexts:
    """The contexts of runs. Nothing is kept while tracing is off."""

    def __init__(self) -> None:
        self._known: OrderedDict[str, Context] = OrderedDict()
        self._under_way: set[asyncio.Future[None]] = set()

    async def submitted(self, submitting: Awaitable[_T], run_id_of: Callable[[_T], str]) -> _T:
        """Wait for the answer to a submit. The current context is that of the run, unless it is known already."""
        span = trace.get_current_span().get_span_context()
        if tracing.tracer is None or not span.is_valid:
            return await submitting
        context = trace.set_span_in_context(NonRecordingSpan(span), contexts.get_current())
        answered = asyncio.get_running_loop().create_future()
        self._under_way.add(answered)
        try:
            answer = await submitting
            self._known.setdefault(run_id_of(answer), context)
            if len(self._known) > MAX_RUNS:
                self._known.popitem(last=False)
            return answer
        finally:
            self._under_way.discard(answered)
            answered.set_result(None)

    async def of(self, run_id: str) -> Context | None:
        """The context of a run; None if it was submitted elsewhere, or long ago."""
        if run_id not in self._known and self._under_way:
            await asyncio.wait([*self._under_way], timeout=PATIENCE)
        context = self._known.get(run_id)
        if context is not None:
            self._known.move_to_end(run_id)
        return context
