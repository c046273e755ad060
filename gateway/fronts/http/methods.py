"""The JSON-RPC methods, for clients over HTTP and for components while they execute."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import msgspec

from gateway.adapter import blobs_json, jsonrpc, params_json, status_to_json
from gateway.concurrency.fair_queue import FairQueue
from gateway.core.errors import GatewayError, MethodNotFound
from gateway.core.internal_errors import report_unexpected
from gateway.core.model import Blob, JsonText, ObservabilityContext, RunStatus
from gateway.runs.service import RunsService

BATCH_CONCURRENCY = 16
"""How many calls of one batch are executed at the same time."""


class _Method(NamedTuple):
    execute: Callable[[JsonText | None, str], Awaitable[Any]]
    write: Callable[[Any], Awaitable[JsonText]]


class JsonRpcMethods:
    """Answers JSON-RPC 2.0 requests, batches and notifications with a runs service.

    Every request gets an answer, whatever is wrong with it. Work passes `fair_queue`: a caller before it calls, and a
    call before each member of a batch and before it writes an answer, or a slice of a long one.
    """

    def __init__(self, service: RunsService) -> None:
        self.fair_queue = FairQueue()
        self._service = service
        self._methods = {
            "runs/submit": _Method(self._submit, self._write_status),
            "runs/get": _Method(self._get, self._write_status),
            "blobs/put": _Method(self._put_blob, self._write_blob_id),
            "blobs/get": _Method(self._get_blob, self._write_blob),
        }

    async def call(self, body: bytes, scope: str = "") -> bytes | None:
        """Execute what a body asks for and return the body of the answer; None if it holds notifications only.

        `scope` is that of idempotency keys: the task that calls. Without one, a caller whose `observability` holds a
        run id and a span id has the scope of the task that these and the step id name: the key that components send,
        `subflowKey`, is unique within one task only. All other callers share one scope.
        """
        return await self.answer(read_body(body), scope)

    async def answer(self, calls: jsonrpc.Call | jsonrpc.Batch, scope: str = "") -> bytes | None:
        """Like `call`, for a body that `read_body` has read."""
        if not isinstance(calls, jsonrpc.Batch):
            answer = await self._answer(calls, scope)
            return None if answer is None else answer.encode()
        answers = await self._answer_batch(calls.calls, scope)
        return f"[{','.join(answers)}]".encode() if answers else None

    async def _answer_batch(self, calls: list[jsonrpc.Call], scope: str) -> list[str]:
        """The answers in the order of the calls; none for notifications."""
        answers: list[str | None] = [None] * len(calls)
        rest = iter(enumerate(calls))

        async def work() -> None:
            for index, call in rest:
                await self.fair_queue.yield_turn()
                answers[index] = await self._answer(call, scope)

        async with asyncio.TaskGroup() as workers:
            for _ in range(min(BATCH_CONCURRENCY, len(calls))):
                workers.create_task(work())
        return [answer for answer in answers if answer is not None]

    async def _answer(self, call: jsonrpc.Call, scope: str) -> str | None:
        if isinstance(call, jsonrpc.Refused):
            return jsonrpc.error_response(call.id, call.error)
        try:
            method = self._methods.get(call.method)
            if method is None:
                raise MethodNotFound(f"no method {call.method!r}; there are {', '.join(self._methods)}")
            result = await method.execute(call.params, scope)
            if call.id is None:
                return None
            return jsonrpc.response(call.id, await method.write(result))
        except GatewayError as error:
            answer = error
        except Exception as error:
            answer = report_unexpected(error)
        return None if call.id is None else jsonrpc.error_response(call.id, answer)

    async def _submit(self, params: JsonText | None, scope: str) -> RunStatus:
        submit = params_json.submit_params_from_json(params)
        return await self._service.submit(submit, scope=scope or _scope(submit.observability))

    async def _get(self, params: JsonText | None, scope: str) -> RunStatus:
        return await self._service.get(params_json.get_params_from_json(params))

    async def _put_blob(self, params: JsonText | None, scope: str) -> str:
        return await self._service.put_blob(blobs_json.blob_from_json(params))

    async def _get_blob(self, params: JsonText | None, scope: str) -> tuple[Blob, str]:
        blob_id = blobs_json.blob_id_from_json(params)
        return await self._service.get_blob(blob_id), blob_id

    async def _write_status(self, status: RunStatus) -> JsonText:
        results = status.results or []
        texts: list[JsonText] = []
        for part in status_to_json.result_slices(results):
            await self.fair_queue.yield_turn()
            texts.append(status_to_json.results_to_json(results[part]))
        opening, closing = status_to_json.around_results(status)
        return f"{opening}{','.join(texts)}{closing}"

    async def _write_blob_id(self, blob_id: str) -> JsonText:
        await self.fair_queue.yield_turn()
        return blobs_json.blob_id_to_json(blob_id)

    async def _write_blob(self, found: tuple[Blob, str]) -> JsonText:
        await self.fair_queue.yield_turn()
        return blobs_json.blob_to_json(*found)


def read_body(body: bytes) -> jsonrpc.Call | jsonrpc.Batch:
    """Read a body. One that cannot be read is a call that is refused."""
    try:
        return jsonrpc.parse_body(body)
    except GatewayError as error:
        return jsonrpc.Refused("null", error)
    except Exception as error:
        return jsonrpc.Refused("null", report_unexpected(error))


def _scope(context: ObservabilityContext | None) -> str:
    """The scope of the task that a trace names; "" if it names none."""
    if context is None or not context.run_id or not context.span_id:
        return ""
    return msgspec.json.encode([context.run_id, context.step_id, context.span_id]).decode()
