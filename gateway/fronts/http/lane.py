"""What serves paths of the HTTP front in protocols of its own."""

from typing import Protocol

from gateway.concurrency.memory_account import MemoryHold
from gateway.core.errors import GatewayError
from gateway.fronts.http.early_head import EarlyHead
from gateway.fronts.http.request import HttpRequest
from gateway.fronts.http.responses import HttpResponse


class Lane(Protocol):
    """Serves some paths. The front has found the caller of a request, and counts it."""

    def route(self, path: str) -> str:
        """The route of a path, of which there are few; "" if it is none of these."""

    async def answer(self, request: HttpRequest, held: MemoryHold) -> HttpResponse | None:
        """Answer a request; None if the answer has been written. Raises GatewayError."""

    def refusal(self, request: HttpRequest, error: GatewayError) -> HttpResponse:
        """The answer to a request that is refused."""

    def early_refusal(self, head: EarlyHead, error: GatewayError) -> HttpResponse | None:
        """The answer to what is no request, but names a path; None if that is none of these."""
