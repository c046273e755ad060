# ruff: noqa: ASYNC109 - a timeout is a parameter of a run here: when it has passed, nothing is cancelled.
"""The methods of the client for asyncio that find runs, look into them, and follow sets of them."""

from collections.abc import AsyncGenerator, Iterable

from gateway.client import control_requests
from gateway.client.calls_async import AsyncCalls
from gateway.client.control_requests import RunsPage
from gateway.client.filters import RunFilter
from gateway.client.items import Item
from gateway.client.outage import Outage
from gateway.client.run_sets import RunSetEvent, SetStream
from gateway.client.status import RunStatus
from gateway.core.model import RunState
from gateway.core.run_filter import RunOrder
from runs.v1 import runs_pb2


class AsyncListCalls(AsyncCalls):
    """Lists runs and items, and follows sets of runs, for a client for asyncio."""

    async def runs(
        self,
        wanted: RunFilter | None = None,
        *,
        order: RunOrder = RunOrder.NEWEST_FIRST,
        page_size: int = 0,
        timeout: float | None = None,
    ) -> AsyncGenerator[RunStatus, None]:
        """Yield the runs that match (None: all), without results, and ask for one page after the other meanwhile.

        A run that exists from the first page to the last, and matches all the time, comes once. `page_size` is how many
        runs are asked for at a time, at most 1,000; 0 means 100. `timeout` limits the call for each page.
        Raises InvalidParams if the filter is not valid, and Unsupported if the runtime of the gateway cannot list.
        """
        request = control_requests.list_request(wanted, order, page_size)
        while True:
            page = await self._runs_page(request, timeout)
            for run in page.runs:
                yield run
            if not page.next_page_token:
                return
            request.page_token = page.next_page_token

    async def runs_page(
        self,
        wanted: RunFilter | None = None,
        *,
        order: RunOrder = RunOrder.NEWEST_FIRST,
        page_size: int = 0,
        page_token: str = "",
        include_total: bool = False,
        timeout: float | None = None,
    ) -> RunsPage:
        """Return a page of the runs that `runs` yields.

        `page_token` is that of the page before, for the same filter and order. A page may have fewer runs than
        `page_size` although more follow: its own token tells. `include_total` counts all runs that match, which takes
        time in proportion to their number. Raises errors as `runs` does.
        """
        request = control_requests.list_request(wanted, order, page_size, page_token, include_total=include_total)
        return await self._runs_page(request, timeout)

    async def items(
        self,
        run_id: str,
        *,
        states: Iterable[RunState] = (),
        include_inputs: bool = False,
        page_size: int = 0,
        timeout: float | None = None,
    ) -> AsyncGenerator[Item, None]:
        """Yield the items of a run by index: what each of them executes now, and what became of its steps.

        `states` are those of the items to yield; empty: all. Inputs exist until the run has ended, or longer. Pages are
        as with `runs`. Raises RunNotFound if the run does not exist, and Unsupported if the runtime of the gateway
        cannot list items.
        """
        request = control_requests.items_request(run_id, states, page_size, include_inputs=include_inputs)
        while True:
            response = await self._call(
                "runs.v1.RunsService/ListItems",
                lambda to, seconds: to.runs.ListItems(request, timeout=seconds),
                timeout,
            )
            for item in control_requests.items_of(response):
                yield item
            if not response.next_page_token:
                return
            request.page_token = response.next_page_token

    def watch_set(
        self,
        wanted: RunFilter | None = None,
        *,
        only_new: bool = False,
        include_results: bool = False,
        timeout: float | None = None,
        resume_token: bytes = b"",
    ) -> AsyncGenerator[RunSetEvent, None]:
        """Yield the runs that match (None: all), then CaughtUp, then each run that comes, changes or leaves.

        It goes on for ever, or until `timeout` seconds have passed. `RunSet` makes a picture of the events: the latest
        status of each run that has not left. At each CaughtUp, and whenever nothing is on its way, the picture is what
        `runs` yields. Intermediate states may be skipped, the last one never.

        A lost connection is made again, and the events go on where they stopped, nothing twice and nothing lost:
        with what has happened meanwhile, then CaughtUp again. `resume_token`, that of an earlier event, does the same
        in another process. An event that is marked `restarted` comes after a loss: the gateway did not understand the
        token, or it was too old; the picture begins anew. So the beginning is told again, also with `only_new`.

        `only_new` leaves out what matches already: CaughtUp comes first. `include_results` sends the results of each
        run that has ended with it. Raises errors as `runs` does.
        """
        outage = Outage(self._retry_for)
        stream = SetStream(
            wanted,
            outage,
            only_new=only_new,
            include_results=include_results,
            timeout=timeout,
            resume_token=resume_token,
        )
        return self._events(
            "runs.v1.RunsService/WatchRuns",
            stream,
            lambda to: to.runs.WatchRuns(iter(stream.requests()), timeout=stream.call_timeout()),
        )

    async def _runs_page(self, request: runs_pb2.ListRunsRequest, timeout: float | None) -> RunsPage:
        return control_requests.runs_page(
            await self._call(
                "runs.v1.RunsService/ListRuns",
                lambda to, seconds: to.runs.ListRuns(request, timeout=seconds),
                timeout,
            )
        )
