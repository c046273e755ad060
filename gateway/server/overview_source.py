"""Where the events of the overview come from, in each kind of process.

A worker passes on what the process with the runtime tells, which knows the component servers, and asks all workers.
"""

from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path

from gateway.core.server_sockets import socket_path
from gateway.core.socket_directory import METRICS_SOCKET
from gateway.fronts.http.metrics_front import PageHandler
from gateway.fronts.http.metrics_page import CollectFamilies
from gateway.fronts.http.overview_stream import OverviewEvents, OverviewStream
from gateway.server.backend import Backend
from gateway.server.overview import Overview
from gateway.server.own_metrics import own_families
from gateway.server.settings import BridgeSettings, ServeSettings
from gateway.server.upstream_overview import PAGE, upstream_events
from gateway.telemetry.metrics import MetricFamily


def overview_events(
    settings: ServeSettings | BridgeSettings, backend: Backend, *, is_worker: bool
) -> OverviewEvents | None:
    """What makes the events of the overview for clients of this process; None if there is no live page."""
    if isinstance(settings, BridgeSettings) or not settings.ui:
        return None
    if is_worker and (runtime := socket_path(settings.runtime)) is not None:
        return partial(upstream_events, str(Path(runtime).with_name(METRICS_SOCKET)))
    return _overview(settings, backend, _of_this_process).events


def overview_pages(settings: ServeSettings, backend: Backend, collect: CollectFamilies) -> Mapping[str, PageHandler]:
    """The page for workers, if there is a live page; `collect` tells what all processes have counted."""
    return {PAGE: OverviewStream(_overview(settings, backend, collect).events).page} if settings.ui else {}


def _overview(settings: ServeSettings, backend: Backend, collect: CollectFamilies) -> Overview:
    kind = settings.runtime_kind.value
    return Overview(collect, backend.runtime.readiness, backend.component_servers, kind=kind)


async def _of_this_process() -> Iterable[Iterable[MetricFamily]]:
    return [await own_families("gateway")]
