"""Where HTTP requests come in: their callers are found, and counted, before their bodies are read."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from gateway.access.access import Access
from gateway.access.presented import Presented
from gateway.access.refusals import count_refused_token
from gateway.concurrency.memory_account import MemoryHold
from gateway.core.errors import GatewayError, QuotaExceeded
from gateway.core.owner import NAMESPACE_KEY
from gateway.fronts.http.request import HttpRequest
from gateway.fronts.http.responses import RPC_PATH
from gateway.fronts.http.rpc_method import Origin

BLOBS_PATH: Final = "/api/v1/blobs"

OVERVIEW_PATH: Final = "/ui/overview"

CAPABILITY_PATH: Final = "/c/"
"""What stands before the capability of a component server, and this before the path of the blob API."""


class HttpEntrance:
    """Lets requests in, within the limits of their callers, and has the audit log told of those that are refused."""

    def __init__(self, access: Access) -> None:
        self.access = access

    async def identify(self, request: HttpRequest) -> None:
        """Find the caller. Raises Unauthenticated, and PermissionDenied if the namespace is none of its own."""
        try:
            if (capabilities := self.access.capabilities) is not None and request.path.startswith(CAPABILITY_PATH):
                capability, _, path = request.path.removeprefix(CAPABILITY_PATH).partition("/")
                request.path = f"/{path}"
                request.caller = capabilities.caller(capability)
                return
            presented = _presented(request)
            request.caller = self.access.known(presented) or await self.access.identify(presented)
        except GatewayError as error:
            self.refused(error, request)
            raise

    @contextmanager
    def counted(self, request: HttpRequest) -> Iterator[MemoryHold]:
        """Count a request for its caller while the block lasts, with what it holds. Raises QuotaExceeded."""
        limits, caller = self.access.limits, request.caller
        call = limits.call(caller)
        try:
            call.__enter__()
        except QuotaExceeded as error:
            self.refused(error, request)
            raise
        try:
            request.limit = call
            with limits.share(caller, request.connection.share).hold() as held:
                yield held
        finally:
            call.__exit__()

    def refused(self, error: GatewayError, request: HttpRequest) -> None:
        """A request is refused before it is known what it asks for."""
        count_refused_token(error)
        if (audit := self.access.audit).on:
            audit.refused(
                error, "http", request.route or f"{request.method} {_place(request.path)}", request.peer, request.caller
            )

    def origin(self, request: HttpRequest) -> Origin:
        """Where the calls of a request come from."""
        return Origin(request.caller, peer=request.peer if self.access.audit.on else "", client=request)


def _place(path: str) -> str:
    """What the audit log is told of a path: a client can write anything there, a credential in the wrong place, say."""
    if path.startswith(f"{BLOBS_PATH}/"):
        return f"{BLOBS_PATH}/*"
    return path if path in (RPC_PATH, BLOBS_PATH, OVERVIEW_PATH) else "another path"


def _presented(request: HttpRequest) -> Presented:
    """What a request presents. Headers that are there twice are one list, which nothing accepts."""
    headers = request.headers
    authorization = ", ".join(headers.getall("Authorization")) if "Authorization" in headers else None
    namespace = ", ".join(headers.getall(NAMESPACE_KEY)) if NAMESPACE_KEY in headers else None
    return Presented(authorization, namespace, request.connection.certificate)
