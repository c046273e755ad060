"""A gateway with runs to look at: components that work, wait until they are let go, or fail."""

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from gateway.core.model import Blob, BlobType, ObservabilityContext, RunStatus, SubmitParams
from tests.support.clients import Client
from tests.support.component_server import Call, ComponentServer

ORDER: Final[dict[str, Any]] = {
    "name": "orders/settle",
    "steps": [
        {"id": "load_order", "component": "/shop/load", "input": {"$input": "$"}},
        {"id": "price", "component": "/shop/price", "input": {"$step": "load_order"}},
        {"id": "reserve_stock", "component": "/shop/reserve", "input": {"$step": "load_order"}},
        {"id": "charge_card", "component": "/shop/charge", "input": {"$step": "price"}},
    ],
    "output": {
        "order": {"$step": "load_order"},
        "charged": {"$step": "charge_card"},
        "stock": {"$step": "reserve_stock"},
    },
}
"""An input with `hold` waits in its last step; one with `refuse` fails there."""

ECHO: Final[dict[str, Any]] = {"name": "echo", "steps": [], "output": {"$input": "$"}}


class Showcase:
    """The components. What waits goes on when `gate` is set. Each step takes `pause` seconds at least."""

    def __init__(self, pause: float = 0.0) -> None:
        self.pause = pause
        self.gate = asyncio.Event()
        self._steps = {"/load": self._load, "/price": self._price, "/reserve": self._reserve, "/charge": self._charge}

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[str]:
        """Serve the components; yields their URL."""
        components = [{"component": name} for name in self._steps]
        handshake = {"initialize": {"serverProtocolVersion": 1}, "components/list": {"components": components}}
        async with ComponentServer(self._execute, handshake).running() as url:
            yield url

    async def _execute(self, call: Call) -> None:
        params = call.message["params"]
        try:
            output = await self._steps[params["component"]](params["input"])
        except ValueError as error:
            await call.error(-32100, str(error))
        else:
            await call.result({"output": output})

    async def _load(self, order: Any) -> Any:
        await asyncio.sleep(self.pause * 1.5)
        return order

    async def _price(self, order: Any) -> Any:
        await asyncio.sleep(self.pause)
        return order

    async def _reserve(self, order: Any) -> Any:
        await asyncio.sleep(self.pause * 3)
        return {"warehouse": "north", "reserved": True}

    async def _charge(self, order: Any) -> Any:
        await asyncio.sleep(self.pause * 2)
        if order.get("hold"):
            await self.gate.wait()
        if order.get("refuse"):
            raise ValueError("the card was declined: limit exceeded")
        return {"amount": 1999, "currency": "EUR"}


async def submitted(
    client: Client, flow: dict[str, Any], inputs: list[Any], *, inside: str | None = None, **options: Any
) -> RunStatus:
    """Submit a run of a flow; `inside` is the run that seems to submit it."""
    flow_id = await client.put_blob(Blob(json.dumps(flow), BlobType.FLOW))
    texts = [each if isinstance(each, str) else json.dumps(each) for each in inputs]
    trace = None if inside is None else ObservabilityContext(run_id=inside, span_id="00000000000000ab")
    return await client.submit(SubmitParams(flow_id=flow_id, inputs=texts, observability=trace, **options))
