"""What is between the fronts and the embedded runtime."""

import asyncio
import json
from typing import Any

import pytest

from gateway.components import Components
from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.errors import BlobNotFound, ParentCancelled
from gateway.core.model import blob_id_of
from gateway.server.backend import ExecutingBackend
from tests.support.embedded import opened
from tests.support.held_component import HELD, HeldComponent
from tests.support.scripted_runtime import ScriptedRuntime


def request(method: str, **params: Any) -> dict[str, Any]:
    return {"jsonrpc": "2.0", "id": method, "method": method, "params": params}


async def test_whatever_a_component_asks_for_a_cancelled_run_is_refused() -> None:
    held = HeldComponent()
    async with held.server.running() as url, opened(components={"/test": url}) as embedded:
        await embedded.start()
        components = Components({})
        backend = ExecutingBackend(embedded.runtime, components, MemoryAccount())
        status = await embedded.submit(HELD, 1, wait=False)
        await held.executes(1)
        scope = f"{status.run_id}/0/s"
        may_write = asyncio.Event()
        complete = embedded.journal.complete

        async def hold(*arguments: Any, **named: Any) -> None:
            await may_write.wait()
            await complete(*arguments, **named)

        embedded.journal.complete = hold  # type: ignore[method-assign]
        flow_id = await embedded.put({"output": 1})
        calls = [
            request("blobs/put", data=1, blobType="data"),
            request("runs/submit", flowId=flow_id, inputs=[1]),
            request("runs/get", runId=status.run_id, wait=True),
        ]
        answer = json.loads(await backend.serve_component(json.dumps(calls[0]).encode(), scope) or b"")
        assert "result" in answer
        cancelled = asyncio.create_task(embedded.runtime.cancel(status.run_id, None))
        await held.loses(1)
        answers = json.loads(await backend.serve_component(json.dumps(calls).encode(), scope) or b"")
        for call in calls:
            answers.append(json.loads(await backend.serve_component(json.dumps(call).encode(), scope) or b""))
        assert [answer["id"] for answer in answers] == [call["id"] for call in calls] * 2
        assert {answer["error"]["code"] for answer in answers} == {ParentCancelled.code}
        notification = json.dumps({"jsonrpc": "2.0", "method": "runs/get"}).encode()
        assert await backend.serve_component(notification, scope) is None
        may_write.set()
        await cancelled
        await backend.close()


async def test_what_a_component_asks_for_is_served_through_the_runtime_inside() -> None:
    held = HeldComponent()
    async with held.server.running() as url, opened(components={"/test": url}) as embedded:
        await embedded.start()
        inside = ScriptedRuntime()
        backend = ExecutingBackend(embedded.runtime, Components({}), MemoryAccount(), inside=inside)
        status = await embedded.submit(HELD, 1, wait=False)
        await held.executes(1)
        put = json.dumps(request("blobs/put", data=1, blobType="data")).encode()
        blob_id = json.loads(await backend.serve_component(put, f"{status.run_id}/0/s") or b"")["result"]["blobId"]
        assert (await inside.get_blob(blob_id_of(blob_id))).content == "1"
        with pytest.raises(BlobNotFound):
            await embedded.runtime.get_blob(blob_id_of(blob_id))
        assert "result" in json.loads(await backend.methods.call(put) or b"")
        assert (await embedded.runtime.get_blob(blob_id_of(blob_id))).content == "1"
        await embedded.runtime.cancel(status.run_id, None)
        await backend.close()
