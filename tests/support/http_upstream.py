"""A gateway's HTTP front over a runtime that a test controls, which can be stopped and started again."""

from gateway.core.runtime import Runtime
from gateway.fronts.http.front import HttpFront
from gateway.fronts.http.methods import JsonRpcMethods
from gateway.runs.service import RunsService
from gateway.runs.services import RunsServices


class HttpUpstream:
    """Serves JSON-RPC, event streams and blobs; started again, on the port that it had."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime
        self._address = "127.0.0.1:0"
        self._front: HttpFront | None = None
        self.service = RunsService(runtime, grace=0)
        self._services = RunsServices(self.service)

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://{self._address}/"

    async def start(self) -> None:
        """Listen."""
        self.service = RunsService(self._runtime, grace=0)
        self._services = RunsServices(self.service)
        self._front = HttpFront(JsonRpcMethods(self._services), self._address)
        await self._front.start()
        self._address = self._front.address

    async def stop(self) -> None:
        """Stop as abruptly as a process that is killed: calls are cut off."""
        if self._front is not None:
            await self._front.stop(0)
            await self._services.close()
        self._front = None
