"""Components that store blobs while the object storage is away fail no items, whatever their SDK makes of it."""

import asyncio
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from gateway.core.model import Blob, BlobType, GetParams, RunState, SubmitParams
from tests.integration.conftest import Join, command
from tests.support import sdk

pytestmark = pytest.mark.slow

FLOW: dict[str, Any] = {
    "steps": [{"id": "b", "component": "/sdk/blobs", "input": {"data": {"$input": "$"}}}],
    "output": {"$step": "b", "path": "$.data"},
}


class Told(logging.Handler):
    """Sets an event when the log tells something."""

    def __init__(self) -> None:
        super().__init__()
        self.event = asyncio.Event()

    def emit(self, record: logging.LogRecord) -> None:
        self.event.set()


@pytest.mark.parametrize("version", sdk.VERSIONS)
async def test_items_whose_components_cannot_store_blobs_wait_for_the_storage(
    sdk_python: Callable[[str], Path], join: Join, tmp_path: Path, version: str
) -> None:
    gateway = await join(components={"/sdk": command(sdk.SERVER, python=sdk_python(version))})
    client = gateway.grpc
    flow_id = await client.put_blob(Blob(json.dumps(FLOW), BlobType.FLOW))
    warm = await client.submit(SubmitParams(flow_id=flow_id, inputs=["0"], wait=True))
    assert warm.status is RunState.SUCCESS
    objects = tmp_path / "objects"
    await asyncio.to_thread(objects.rename, tmp_path / "elsewhere")
    failure = Told()
    log = logging.getLogger("gateway.storage.objects")
    log.addHandler(failure)
    run = await client.submit(SubmitParams(flow_id=flow_id, inputs=["1", "2"]))
    await failure.event.wait()
    log.removeHandler(failure)
    await asyncio.to_thread((tmp_path / "elsewhere").rename, objects)
    status = await client.get(GetParams(run_id=run.run_id, wait=True, include_results=True))
    assert [(result.value, result.error) for result in status.results or []] == [("1", None), ("2", None)]
