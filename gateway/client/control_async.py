# ruff: noqa: ASYNC109 - a timeout is a parameter of a run here: when it has passed, nothing is cancelled.
"""The methods of the client for asyncio that end runs."""

from collections.abc import AsyncGenerator, Awaitable

from gateway.client import control_requests
from gateway.client.calls_async import AsyncCalls
from gateway.client.connection_async import AsyncConnection
from gateway.client.control_requests import BulkCall
from gateway.client.filters import RunFilter
from gateway.client.outage import ANSWER_SECONDS, Outage, deadline_after, time_until
from gateway.client.status import RunStatus, answered
from gateway.core.control import BulkProgress
from gateway.core.errors import RunNotFound
from runs.v1 import runs_pb2


class AsyncControlCalls(AsyncCalls):
    """Cancels and deletes runs, for a client for asyncio."""

    async def cancel(
        self, run_id: str, *, reason: str | None = None, wait: bool = False, timeout: float | None = None
    ) -> RunStatus:
        """Cancel a run and the runs inside it, and return its status, without results.

        Items that have results keep them. A run that has ended, also by an earlier cancel, stays as it is: the status
        tells. With `wait` the answer comes when nothing of the run executes any more, or when `timeout` seconds have
        passed (None: no limit); the run is cancelled in any case. `reason` is for people, at most 1,000 characters.

        Raises RunNotFound if the run does not exist, and Unsupported if the runtime of the gateway cannot cancel.
        """
        request = control_requests.cancel_request(run_id, reason, wait=wait, timeout=timeout if wait else None)
        deadline = deadline_after(timeout)

        def call(to: AsyncConnection, seconds: float | None) -> Awaitable[runs_pb2.CancelRunResponse]:
            if wait:
                control_requests.set_timeout(request, time_until(deadline))
            return to.runs.CancelRun(request, timeout=seconds)

        limit = None if timeout is None else timeout + ANSWER_SECONDS
        outage = Outage(self._retry_for, deadline_after(limit)) if wait else self._outage(timeout)
        return answered(await self._retried("runs.v1.RunsService/CancelRun", call, outage))

    async def delete(self, run_id: str, *, cancel: bool = False, timeout: float | None = None) -> None:
        """Delete a run that has ended, with its inputs, its results and its idempotency key. Runs inside it stay.

        With `cancel`, a run that has not ended is cancelled before. Raises RunNotFound if the run does not exist,
        RunNotEnded if it has not ended, and Unsupported if the runtime of the gateway cannot delete.
        """
        request = control_requests.delete_request(run_id, cancel=cancel)
        calls = 0

        def call(to: AsyncConnection, seconds: float | None) -> Awaitable[runs_pb2.DeleteRunResponse]:
            nonlocal calls
            calls += 1
            return to.runs.DeleteRun(request, timeout=seconds)

        try:
            await self._call("runs.v1.RunsService/DeleteRun", call, timeout)
        except RunNotFound:
            if calls == 1:
                raise
            # An earlier call, whose answer was lost, has deleted it.

    def cancel_many(
        self, wanted: RunFilter, *, reason: str | None = None, timeout: float | None = None
    ) -> AsyncGenerator[BulkProgress, None]:
        """Cancel all runs that match when the call begins, each as `cancel` does, and yield how far it has come.

        Progress comes at the beginning, about once a second, and at the end. `RunFilter()` means all runs. The call
        stops if the iterator is closed, after `timeout` seconds (None: no limit), or with the connection: it is not
        made again after it has told something, since later runs might match. Cancelled runs stay so in any case.
        Raises InvalidParams if the filter is not valid, and Unsupported if the runtime of the gateway cannot do it.
        """
        request = control_requests.cancel_many_request(wanted, reason)
        call = BulkCall(Outage(self._retry_for, deadline_after(timeout)))
        return self._events(
            "runs.v1.RunsService/CancelRuns",
            call,
            lambda to: to.runs.CancelRuns(request, timeout=call.call_timeout()),
        )

    def delete_many(
        self, wanted: RunFilter, *, cancel: bool = False, timeout: float | None = None
    ) -> AsyncGenerator[BulkProgress, None]:
        """Delete all runs that match when the call begins, each as `delete` does, and yield how far it has come.

        Runs that have not ended are left, and counted as unchanged, unless `cancel` is true. Progress comes, and the
        call stops, as with `cancel_many`. Raises errors as it does.
        """
        request = control_requests.delete_many_request(wanted, cancel=cancel)
        call = BulkCall(Outage(self._retry_for, deadline_after(timeout)))
        return self._events(
            "runs.v1.RunsService/DeleteRuns",
            call,
            lambda to: to.runs.DeleteRuns(request, timeout=call.call_timeout()),
        )
