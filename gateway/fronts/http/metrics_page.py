"""The page `/metrics`: all metrics, in the format and the coding that a client asks for.

They are written in a thread, once for all clients that ask for the same at the same time.
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import Final, TypeAlias

from gateway.concurrency.single_flight import SingleFlight
from gateway.fronts.http.compressing import Coding, coding_of_answer
from gateway.fronts.http.request import HttpRequest
from gateway.fronts.http.responses import SERVER, HttpResponse, header_lines
from gateway.telemetry.exposition import Encoder, encoder_for, exposition
from gateway.telemetry.metrics import MetricFamily, added

METRICS_PATH: Final = "/metrics"

CollectFamilies: TypeAlias = Callable[[], Awaitable[Iterable[Iterable[MetricFamily]]]]
"""Returns what each process has counted."""


class MetricsPage:
    """Answers requests with what `collect` returns, added up. Close it."""

    def __init__(self, collect: CollectFamilies) -> None:
        self._collect = collect
        self._written = SingleFlight(self._write)

    async def answer(self, request: HttpRequest) -> HttpResponse:
        """The page for a request."""
        encoder, media_type = encoder_for(",".join(request.headers.getall("Accept", ())))
        return await self._written.get((media_type, coding_of_answer(request.headers)), encoder)

    async def close(self) -> None:
        """Write no more pages."""
        await self._written.close()

    async def _write(self, key: tuple[str, Coding | None], encoder: Encoder) -> HttpResponse:
        media_type, coding = key
        of_processes = await self._collect()
        body = await asyncio.to_thread(_body, of_processes, encoder, coding)
        headers = {
            "Content-Type": media_type,
            "Vary": "Accept, Accept-Encoding",
            "X-Content-Type-Options": "nosniff",
            "Server": SERVER,
        }
        if coding is not None:
            headers["Content-Encoding"] = coding.name
        return HttpResponse(body, header_lines(headers))


def _body(of_processes: Iterable[Iterable[MetricFamily]], encoder: Encoder, coding: Coding | None) -> bytes:
    text = exposition(added(of_processes), encoder)
    if coding is None:
        return text
    compressor = coding.start()
    return compressor.compress(text) + compressor.flush()
