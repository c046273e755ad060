"""A server of the runs methods that shares no protocol code with the gateway: JSON-RPC over HTTP by `pjrpc`.

It speaks as the specification does, and nothing else: its status words, its item counts, `sha256:` ids, times in whole
seconds, members that it does not name ignored. Where the specification is silent (blobs, the codes of errors), it does
as the release that comes closest to it, Stepflow 0.9. Like most servers it reads JSON into the language's own values:
numbers become integers and doubles, and what is stored is written anew.

Behind the protocol runs are executed by any runtime of the gateway, as a stand-in for an engine.
"""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, NoReturn

from aiohttp import web
from pjrpc.server import MethodRegistry
from pjrpc.server.exceptions import InvalidParamsError, JsonRpcError
from pjrpc.server.integration.aiohttp import Application
from pydantic import ValidationError

from gateway.components import Components
from gateway.core.errors import GatewayError, InvalidRunId, NotFound, RunNotFound
from gateway.core.model import Blob, BlobType, GetParams, ItemResult, Nanoseconds, ResultOrder, RunStatus, SubmitParams
from gateway.core.runtime import Runtime
from gateway.runs.service import RunsService
from gateway.runtimes.embedded.runtime import EmbeddedRuntime

UNKNOWN_RUN = -32000
NOT_FOUND = -32011
MALFORMED_RUN_ID = -32012
"""Codes of Stepflow 0.9; likewise the two above."""

_MAX_BODY = 64 << 20


class DocumentServer:
    """Serves the runs methods over `runtime`. Stopped, it can be started again, on the port that it had.

    `calls` are the methods that were called, with their parameters, in order.
    """

    def __init__(self, runtime: Runtime) -> None:
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.port = 0
        self._runtime = runtime
        self._service = RunsService(runtime, grace=0)
        self._runner: web.AppRunner | None = None

    @property
    def url(self) -> str:
        """Where it serves."""
        return f"http://127.0.0.1:{self.port}/rpc"

    async def start(self) -> None:
        """Listen."""
        registry = MethodRegistry()
        registry.add_method(self._submit, "runs/submit")
        registry.add_method(self._get, "runs/get")
        registry.add_method(self._put_blob, "blobs/put")
        registry.add_method(self._get_blob, "blobs/get")
        application = Application("/rpc", web.Application(client_max_size=_MAX_BODY)).add_methods(registry)
        self._service = RunsService(self._runtime, grace=0)
        self._runner = web.AppRunner(application.http_app, handler_cancellation=True, shutdown_timeout=0.01)
        await self._runner.setup()
        site = web.TCPSite(self._runner, "127.0.0.1", self.port)
        await site.start()
        self.port = self._runner.addresses[0][1]

    async def stop(self) -> None:
        """Stop as abruptly as a process that is killed: calls are cut off."""
        if self._runner is not None:
            await self._runner.cleanup()
            await self._service.close()
        self._runner = None

    async def _submit(
        self,
        flowId: str,  # noqa: N803 - the specification's spelling, here and below
        inputs: list[Any],
        wait: bool | None = None,
        maxConcurrency: int | None = None,  # noqa: N803
        overrides: dict[str, Any] | None = None,
        **_: Any,
    ) -> dict[str, Any]:
        self.calls.append(("runs/submit", {"flowId": flowId, "inputs": inputs, "wait": wait}))
        try:
            params = SubmitParams(
                flow_id=flowId,
                inputs=[_written(value) for value in inputs],
                wait=wait or False,
                max_concurrency=maxConcurrency,
                overrides=None if overrides is None else _written(overrides),
            )
            return _status(await self._service.submit(params))
        except (GatewayError, ValidationError) as error:
            _refuse(error)

    async def _get(
        self,
        runId: str,  # noqa: N803
        wait: bool | None = None,
        includeResults: bool | None = None,  # noqa: N803
        resultOrder: str | None = None,  # noqa: N803
        **_: Any,
    ) -> dict[str, Any]:
        self.calls.append(("runs/get", {"runId": runId, "wait": wait, "includeResults": includeResults}))
        if resultOrder not in (None, "byIndex", "byCompletion"):
            raise InvalidParamsError("resultOrder: expected byIndex or byCompletion")
        try:
            params = GetParams(
                run_id=runId,
                wait=wait or False,
                include_results=includeResults or False,
                result_order=ResultOrder(resultOrder or "byIndex"),
            )
            return _status(await self._service.get(params))
        except (GatewayError, ValidationError) as error:
            _refuse(error)

    async def _put_blob(self, data: Any, blob_type: str | None = None, **_: Any) -> dict[str, Any]:
        self.calls.append(("blobs/put", {"blob_type": blob_type}))
        if blob_type not in (None, "flow", "data"):
            raise InvalidParamsError("blob_type: expected flow or data")
        try:
            return {"blob_id": await self._service.put_blob(Blob(_written(data), BlobType(blob_type or "data")))}
        except GatewayError as error:
            _refuse(error)

    async def _get_blob(self, blob_id: str, **_: Any) -> dict[str, Any]:
        self.calls.append(("blobs/get", {"blob_id": blob_id}))
        try:
            blob = await self._service.get_blob(blob_id)
        except GatewayError as error:
            _refuse(error)
        return {"data": json.loads(blob.content), "blob_type": blob.type.value}


@asynccontextmanager
async def document_server() -> AsyncIterator[DocumentServer]:
    """A server over an engine with its state in memory and the built-in components only."""

    async def no_callback(body: bytes, scope: str) -> bytes | None:
        raise AssertionError("there is no component server that could call back")

    components = Components({})
    runtime = await EmbeddedRuntime.open(":memory:", components)
    server = DocumentServer(runtime)
    await components.start(no_callback, None)
    nested = RunsService(runtime)
    await runtime.start(nested)
    try:
        await server.start()
        yield server
    finally:
        await runtime.drain()
        await server.stop()
        await nested.close()
        await runtime.close()
        await components.close()


def _written(value: Any) -> str:
    """A value as JSON again. What JSON cannot write, infinity, was a number beyond the range of doubles."""
    try:
        return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    except ValueError:
        raise InvalidParamsError("a number is out of range") from None


def _status(status: RunStatus) -> dict[str, Any]:
    items = status.items
    written: dict[str, Any] = {
        "runId": status.run_id,
        "flowId": status.flow_id,
        "flowName": status.flow_name,
        "status": status.status.value,
        "items": {
            "total": items.total,
            "pending": items.pending,
            "running": items.running,
            "success": items.success,
            "failed": items.failed,
            "cancelled": items.cancelled,
        },
        "createdAt": _time(status.created_at),
        "completedAt": _time(status.completed_at),
    }
    if status.results is not None:
        written["results"] = [_result(result) for result in status.results]
    return {name: member for name, member in written.items() if member is not None}


def _result(result: ItemResult) -> dict[str, Any]:
    if result.error is None:
        outcome: dict[str, Any] = {"outcome": "success", "value": json.loads(result.value or "null")}
    else:
        outcome = {"outcome": "failed", "error": {"code": result.error.code, "message": result.error.message}}
        if result.error.data is not None:
            outcome["error"]["data"] = json.loads(result.error.data)
    return {"itemIndex": result.item_index, "result": outcome, "completedAt": _time(result.completed_at)}


def _time(time: Nanoseconds | None) -> str | None:
    """A time in whole seconds, as in the examples of the specification."""
    if time is None:
        return None
    return datetime.fromtimestamp(time // 10**9, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def _refuse(error: GatewayError | ValidationError) -> NoReturn:
    if isinstance(error, RunNotFound):
        raise JsonRpcError(UNKNOWN_RUN, "Failed to get run")
    if isinstance(error, InvalidRunId):
        raise JsonRpcError(MALFORMED_RUN_ID, "Invalid value for field 'runId': expected a UUID")
    if isinstance(error, NotFound):
        raise JsonRpcError(NOT_FOUND, f"Not found: {error.message}")
    raise InvalidParamsError(error.message if isinstance(error, GatewayError) else str(error))
