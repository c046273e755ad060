"""One client interface over each front, so that a test has one body for all. Errors are those of the gateway."""

import io
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Any, Protocol, TypeVar

import aiohttp
import grpc
from msgspec.structs import replace

from gateway.adapter import control_json, control_proto, jsonrpc
from gateway.adapter.blobs_proto import blob_from_get_response, blob_to_get_request, blob_to_put_request
from gateway.adapter.grpc_status import from_status
from gateway.adapter.items_json import item_list_from_json, items_params_to_json
from gateway.adapter.items_proto import item_list_from_proto, items_params_to_proto
from gateway.adapter.params_json import get_params_to_json, submit_params_to_json
from gateway.adapter.params_proto import get_params_to_proto, submit_params_to_proto
from gateway.adapter.status_from_json import run_status_from_json
from gateway.adapter.status_proto import run_status_from_proto
from gateway.core.control import (
    BulkProgress,
    CancelParams,
    CancelRunsParams,
    DeleteParams,
    DeleteRunsParams,
    ItemList,
    ItemsParams,
    ListParams,
    RunList,
)
from gateway.core.errors import GatewayError
from gateway.core.json_text import members, quote, string
from gateway.core.model import Blob, BlobType, GetParams, RunStatus, SubmitParams
from runs.v1 import blobs_pb2_grpc, runs_pb2_grpc

T = TypeVar("T")


class Client(Protocol):
    """What every front offers."""

    async def put_blob(self, blob: Blob) -> str: ...

    async def get_blob(self, blob_id: str) -> Blob: ...

    async def submit(self, params: SubmitParams) -> RunStatus: ...

    async def get(self, params: GetParams) -> RunStatus: ...

    async def cancel(self, params: CancelParams) -> RunStatus: ...

    async def list_runs(self, params: ListParams) -> RunList: ...

    async def delete(self, params: DeleteParams) -> None: ...

    async def items(self, params: ItemsParams) -> ItemList: ...

    async def cancel_many(self, params: CancelRunsParams) -> BulkProgress: ...

    async def delete_many(self, params: DeleteRunsParams) -> BulkProgress: ...

    async def close(self) -> None: ...


class GrpcClient:
    """Over gRPC; `get` folds the stream."""

    def __init__(self, address: str) -> None:
        options = [
            ("grpc.max_receive_message_length", -1),
            ("grpc.max_send_message_length", -1),
            # Each client has a connection of its own.
            ("grpc.use_local_subchannel_pool", 1),
        ]
        self._channel = grpc.aio.insecure_channel(address, options=options)
        self.runs = runs_pb2_grpc.RunsServiceStub(self._channel)
        self.blobs = blobs_pb2_grpc.BlobsServiceStub(self._channel)

    async def put_blob(self, blob: Blob) -> str:
        return (await _call(self.blobs.PutBlob, blob_to_put_request(blob))).blob_id

    async def get_blob(self, blob_id: str) -> Blob:
        return blob_from_get_response(await _call(self.blobs.GetBlob, blob_to_get_request(blob_id)))

    async def submit(self, params: SubmitParams) -> RunStatus:
        response = await _call(self.runs.SubmitRun, submit_params_to_proto(params))
        return run_status_from_proto(response.run, with_results=params.wait)

    async def get(self, params: GetParams) -> RunStatus:
        return fold([status async for status in self.follow(params)])

    async def cancel(self, params: CancelParams) -> RunStatus:
        response = await _call(self.runs.CancelRun, control_proto.cancel_params_to_proto(params))
        return run_status_from_proto(response.run, with_results=False)

    async def list_runs(self, params: ListParams) -> RunList:
        return control_proto.run_list_from_proto(
            await _call(self.runs.ListRuns, control_proto.list_params_to_proto(params))
        )

    async def delete(self, params: DeleteParams) -> None:
        await _call(self.runs.DeleteRun, control_proto.delete_params_to_proto(params))

    async def items(self, params: ItemsParams) -> ItemList:
        return item_list_from_proto(await _call(self.runs.ListItems, items_params_to_proto(params)))

    async def cancel_many(self, params: CancelRunsParams) -> BulkProgress:
        call = self.runs.CancelRuns(control_proto.cancel_runs_params_to_proto(params))
        return control_proto.cancel_progress_from_proto(await _last(call))

    async def delete_many(self, params: DeleteRunsParams) -> BulkProgress:
        call = self.runs.DeleteRuns(control_proto.delete_runs_params_to_proto(params))
        return control_proto.delete_progress_from_proto(await _last(call))

    async def follow(self, params: GetParams) -> AsyncGenerator[RunStatus, None]:
        """The statuses of a GetRun stream, as they came."""
        call = self.runs.GetRun(get_params_to_proto(params))
        try:
            async for response in call:
                yield run_status_from_proto(response.run, with_results=params.include_results)
        except grpc.aio.AioRpcError as error:
            raise gateway_error(error) from None
        finally:
            call.cancel()

    async def close(self) -> None:
        await self._channel.close()


class JsonRpcClient:
    """Over JSON-RPC by POST."""

    def __init__(self, address: str) -> None:
        self._url = f"http://{address}/"
        self._http = aiohttp.ClientSession()

    async def put_blob(self, blob: Blob) -> str:
        assert isinstance(blob.content, str)
        params = f'{{"data":{blob.content},"blobType":{quote(blob.type.value)}}}'
        return string(members(await self.call("blobs/put", params))["blobId"])

    async def get_blob(self, blob_id: str) -> Blob:
        answer = members(await self.call("blobs/get", f'{{"blobId":{quote(blob_id)}}}'))
        return Blob(answer["data"], BlobType(string(answer["blobType"])))

    async def submit(self, params: SubmitParams) -> RunStatus:
        return run_status_from_json(await self.call("runs/submit", submit_params_to_json(params)))

    async def get(self, params: GetParams) -> RunStatus:
        return run_status_from_json(await self.call("runs/get", get_params_to_json(params)))

    async def cancel(self, params: CancelParams) -> RunStatus:
        return run_status_from_json(await self.call("runs/cancel", control_json.cancel_params_to_json(params)))

    async def list_runs(self, params: ListParams) -> RunList:
        return control_json.run_list_from_json(await self.call("runs/list", control_json.list_params_to_json(params)))

    async def delete(self, params: DeleteParams) -> None:
        assert await self.call("runs/delete", control_json.delete_params_to_json(params)) == "{}"

    async def items(self, params: ItemsParams) -> ItemList:
        return item_list_from_json(await self.call("runs/items", items_params_to_json(params)))

    async def cancel_many(self, params: CancelRunsParams) -> BulkProgress:
        return control_json.progress_from_json(
            await self.call("runs/cancel", control_json.cancel_params_to_json(params))
        )

    async def delete_many(self, params: DeleteRunsParams) -> BulkProgress:
        return control_json.progress_from_json(
            await self.call("runs/delete", control_json.delete_params_to_json(params))
        )

    async def call(self, method: str, params: str) -> str:
        """The text of the result; the error that was answered is raised."""
        return jsonrpc.parse_response(await self.post(jsonrpc.request('"1"', method, params)))

    async def post(self, body: str | bytes) -> bytes:
        """The body of the answer to any body."""
        data = io.BytesIO(body.encode() if isinstance(body, str) else body)
        async with self._http.post(self._url, data=data, headers={"content-type": "application/json"}) as response:
            return await response.read()

    async def close(self) -> None:
        await self._http.close()


def fold(statuses: list[RunStatus]) -> RunStatus:
    """The last status with the results of all, as GetRun defines it."""
    last = statuses[-1]
    if last.results is None:
        return last
    return replace(last, results=[result for status in statuses for result in status.results or []])


async def _call(method: Callable[[Any], Awaitable[T]], request: object) -> T:
    try:
        return await method(request)
    except grpc.aio.AioRpcError as error:
        raise gateway_error(error) from None


async def _last(stream: Any) -> Any:
    """The last message of a stream."""
    last = None
    try:
        async for message in stream:
            last = message
    except grpc.aio.AioRpcError as error:
        raise gateway_error(error) from None
    return last


def gateway_error(error: grpc.aio.AioRpcError) -> GatewayError:
    """The error that the server meant."""
    details = next((value for name, value in error.trailing_metadata() if name == "grpc-status-details-bin"), None)
    assert details is None or isinstance(details, bytes)
    return from_status(error.code(), error.details(), details)
