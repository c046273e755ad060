"""What the gateways run on with which clients play their scenario."""

import uuid
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Final

from gateway.server.app import running, running_with
from gateway.server.listening import Addresses
from gateway.server.settings import ServeSettings
from gateway.server.worker_pool import WorkerPool
from tests.support.bridged_engine import QUEUE, bridged_engine
from tests.support.component_health import components_available
from tests.support.temporal_server import TemporalServer

FILE: Final = "state file"
MODES: Final = (FILE, "workers", "relay", "temporal", "stepflow")

_LOOPBACK: Final = {"grpc_address": "127.0.0.1:0", "http_address": "127.0.0.1:0", "metrics_address": "off"}

_NUMBERS: Final = "the engine keeps numbers as doubles, and the gateway refuses those that they cannot hold"

_DELETES: Final = "the engine has no deletes"

_ORDER: Final = "the order is that in which the engine learns of items that end at once"

LEFT_OUT: Final[Mapping[str, Mapping[str, str]]] = {
    "temporal": {
        "results by completion": _ORDER,
        "many runs by completion": _ORDER,
        "watch a cancelled run": "items that were cancelled are among the results",
    },
    "stepflow": {
        "set": "the engine tells of no changes of runs that nobody asks for",
        "put what is no flow": "the engine finds the fault, and says it in its own words",
        "results by completion": "the engine tells its own order",
        "many runs by completion": "the engine tells its own order",
        "many runs on one stream": _NUMBERS,
        "delete": _DELETES,
        "get a deleted run": _DELETES,
        "get another deleted run": _DELETES,
        "a slow reader": "the engine writes payloads anew, without the spaces that are counted here",
        "watch a cancelled run": "items that were cancelled are among the results",
        "submit an item that fails": _NUMBERS,
        "watch a run that fails": _NUMBERS,
        "submit exact numbers": _NUMBERS,
        "exact numbers": _NUMBERS,
        "submit b of a set": _NUMBERS,
        "a list in pages": "b is not in it",
    },
}
"""What differs in a mode, by the names of steps and of what they do, and why: docs/engines.md has each."""

RESPELLED: Final = frozenset({"stepflow"})
"""Where the text of payloads is another one, with the same values."""


def left_out(mode: str, step: Mapping[str, Any]) -> str | None:
    """Why a step is not played in a mode, or None."""
    reasons = LEFT_OUT.get(mode, {})
    return reasons.get(step["step"], reasons.get(step["do"]))


@asynccontextmanager
async def settings_of(
    mode: str, folder: Path, components: Mapping[str, str], temporal: Callable[[], TemporalServer]
) -> AsyncIterator[dict[str, Any]]:
    """The settings of a gateway in one of `MODES`, which may be restarted, and what it runs on.

    `temporal` gives a server that may be shared.
    """
    own = {**_LOOPBACK, "components": components}
    state = {"state": str(folder / "state.db")}
    match mode:
        case "relay":
            async with serving({**own, **state}) as upstream:
                yield {**_LOOPBACK, "runtime": f"grpc://{upstream.grpc}"}
        case "temporal":
            namespace = temporal().runtime(f"test-{uuid.uuid4()}")
            yield {**own, "runtime": namespace, "blobs": f"file://{folder}"}
        case "stepflow":
            async with bridged_engine("0.13.0", folder, route="/scenario") as engine:
                over = {**_LOOPBACK, "runtime": engine.runtime}
                # Another gateway is the bridge: one that stops waits for its tasks, and these wait for the restart.
                async with serving({**over, "components": components, "queue": QUEUE}):
                    yield {**over, **state}
        case _:
            yield {**own, **state, "workers": 2 if mode == "workers" else 1}


@asynccontextmanager
async def serving(settings: dict[str, Any]) -> AsyncIterator[Addresses]:
    """A gateway whose components are there."""
    read = ServeSettings.model_validate(settings)
    async with AsyncExitStack() as stack:
        if read.workers > 1:
            workers = await stack.enter_async_context(WorkerPool(read))
            addresses = await stack.enter_async_context(running_with(workers, read))
        else:
            addresses = await stack.enter_async_context(running(read))
        await components_available(addresses.grpc, settings.get("components", ()))
        yield addresses
