"""Where a gateway serves its metrics: at the address of its own that the settings name."""

import logging
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from importlib.metadata import version
from typing import Final

from gateway.access.access import Access
from gateway.core.addresses import is_local
from gateway.core.descriptors import descriptor_limit
from gateway.core.server_tls import ServerTls
from gateway.fronts.http.metrics_front import SCRAPERS, MetricsFront, PageHandler
from gateway.fronts.http.metrics_page import METRICS_PATH, CollectFamilies, MetricsPage
from gateway.server.access import open_access
from gateway.server.listening import listen
from gateway.server.settings import BridgeSettings, ServeSettings, StartError
from gateway.server.summed_metrics import SummedMetrics
from gateway.server.telemetry_settings import OFF
from gateway.server.worker_pool import WorkerPool
from gateway.server.workers_metrics import WorkersMetrics
from gateway.telemetry.process_metrics import BUILD_INFO, WORKERS

_PACKAGE: Final = "runs-gateway"

_log = logging.getLogger(__name__)


async def open_metrics(
    settings: ServeSettings | BridgeSettings,
    stack: AsyncExitStack,
    *,
    access: Access,
    tls: ServerTls | None,
    workers: WorkerPool | None = None,
    for_workers: Callable[[CollectFamilies], Mapping[str, PageHandler]] = lambda _: {},
) -> str | None:
    """Serve metrics until `stack` is closed, and return the URL, or `unix:PATH`; None if they are not served.

    Workers are served `for_workers` as well, pages made of what `SummedMetrics` collects. Raises StartError if the
    address that the settings name cannot be had; the default one is done without.
    """
    of_workers = None if workers is None else WorkersMetrics(workers.directory, workers.living)
    summed = SummedMetrics("bridge" if isinstance(settings, BridgeSettings) else "gateway", of_workers)
    stack.push_async_callback(summed.close)
    page = MetricsPage(summed.collect)
    stack.push_async_callback(page.close)
    BUILD_INFO.labels(version(_PACKAGE)).value = 1
    stack.enter_context(WORKERS.read_from(lambda: 1 if workers is None else len(workers.living())))
    pages = {METRICS_PATH: page.answer}
    if workers is not None:
        await _open(MetricsFront({**pages, **for_workers(summed.collect)}, workers.metrics), "TMPDIR", stack)
    if settings.metrics_address == OFF:
        return None
    limits = SCRAPERS._replace(connections=max(1, min(SCRAPERS.connections, descriptor_limit() // 10)))
    hosts = settings.allow_hosts
    if is_local(settings.metrics_address):
        front = MetricsFront(pages, settings.metrics_address, limits=limits, allowed_hosts=hosts)
    else:
        if workers is not None:
            # The fronts are in the workers, and so is the access that the settings name.
            watched = await open_access(settings, stack)
            watched.audit = access.audit
            access = watched
        front = MetricsFront(
            pages, settings.metrics_address, access=access, limits=limits, allowed_hosts=hosts, tls=tls
        )
    return await _url_of(front, settings, stack)


async def _url_of(front: MetricsFront, settings: ServeSettings | BridgeSettings, stack: AsyncExitStack) -> str | None:
    try:
        await _open(front, "--metrics-address", stack)
    except StartError as error:
        if "metrics_address" in settings.model_fields_set:
            raise
        _log.warning("metrics are not served: %s", error)
        return None
    if front.address.startswith("unix:"):
        return front.address
    return f"{'https' if front.is_encrypted else 'http'}://{front.address}{METRICS_PATH}"


async def _open(front: MetricsFront, flag: str, stack: AsyncExitStack) -> None:
    await listen(front, flag)
    stack.push_async_callback(front.stop)
