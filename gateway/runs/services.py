"""The services over one runtime, one for each view of it that callers have."""

import weakref
from collections import OrderedDict
from typing import Final

from gateway.core.caller import ALL, SERVER_NAMESPACE, CallerView
from gateway.core.errors import shutting_down
from gateway.runs.seen_runtime import SeenRuntime
from gateway.runs.server_blobs import ServerBlobs, ServerNamespaces
from gateway.runs.service import RunsService

KEPT_VIEWS: Final = 256
"""How many views keep a service while nothing is followed in them. Tokens for one run or for labels make many views."""

_LOOKS: Final = 8
"""How many views are looked at, when one comes, to find one that is let go: a few, since all may be in use."""


class RunsServices:
    """Finds the service over the view of a caller. That over everything, `service`, is there from the start.

    Runs are watched once in each view that follows them. What is to be bounded is shared by all views.
    """

    def __init__(self, service: RunsService, *, kept: int = KEPT_VIEWS) -> None:
        self._all = service
        self.readiness = service.readiness
        """Whether runs are accepted."""
        self.server_namespaces: ServerNamespaces | None = None
        """Finds where component servers execute something; None where a gateway upstream finds that."""
        self._kept = kept
        self._views: OrderedDict[CallerView, RunsService] = OrderedDict()
        self._open: weakref.WeakSet[RunsService] = weakref.WeakSet()
        """Those that are let go may still answer calls that have them."""
        self._closed = False

    def __len__(self) -> int:
        """How many views have a service that is kept."""
        return len(self._views)

    def of(self, view: CallerView) -> RunsService:
        """The service over a view. Hold on to it while it is used: it may be let go when nothing is followed in it.

        Raises Unavailable after `close`, but not for the view of everything.
        """
        if view is ALL or view == ALL:
            return self._all
        service = self._views.get(view)
        if service is None:
            service = self._add(view)
        else:
            self._views.move_to_end(view)
        return service

    async def close(self) -> None:
        """End everything that follows runs in any view: it gets Unavailable."""
        self._closed = True
        for service in [*self._open]:
            await service.close()
        self._views.clear()
        await self._all.close()

    def _add(self, view: CallerView) -> RunsService:
        if self._closed:
            raise shutting_down()
        self._let_go()
        service = self._views[view] = RunsService(
            self._seen(view),
            grace=self._all.hub.grace,
            shared=self._all.shared,
            namespace=view.namespace,
        )
        self._open.add(service)
        return service

    def _seen(self, view: CallerView) -> SeenRuntime:
        if self.server_namespaces is not None and (view.namespace or "").startswith(SERVER_NAMESPACE):
            return ServerBlobs(self._all.runtime, view, self.server_namespaces)
        return SeenRuntime(self._all.runtime, view)

    def _let_go(self) -> None:
        """Make room for a view: the first one goes of those that were used longest ago and in which nothing follows."""
        for _ in range(_LOOKS):
            if len(self._views) < self._kept:
                return
            view, service = next(iter(self._views.items()))
            if service.follows:
                self._views.move_to_end(view)
            else:
                del self._views[view]
