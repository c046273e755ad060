"""The Stepflow runtime: an engine of one of the releases 0.10 to 0.13 as a runtime.

Ids are those of the engine: a run's as it is, a blob's as `sha256:` and the engine's digits. The engine names a blob by
the bytes that it keeps, so nothing has to be remembered to translate: what it changes in a document (white space
between tokens, the spelling of decimals) is changed before the id is made, and reading the blob gives those bytes.

Idempotency keys, which the engine does not know, are kept by the gateway.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping
from types import MappingProxyType
from typing import Any, Final

from gateway.adapter.stepflow_numbers import Numbers, refuse_lost_numbers
from gateway.concurrency.tasks import retrieve_exception
from gateway.core.errors import BlobNotFound, InvalidFlow, InvalidParams, Violation, shutting_down
from gateway.core.json_text import json_text
from gateway.core.model import Blob, BlobType, ItemResult, Nanoseconds, RunStatus, SubmitParams, blob_digest
from gateway.core.runtime import Page, Runtime, Snapshot
from gateway.runtimes.stepflow.engine import Answer, AnswerLost, EngineRequest, EngineRestClient
from gateway.runtimes.stepflow.engine_errors import answer_error, unexpected_response
from gateway.runtimes.stepflow.flows import blob_id_from_json, blob_to_store, flow_to_check, refuse_invalid_flow
from gateway.runtimes.stepflow.in_doubt import MAX_SEARCHED, InDoubtSubmit, InDoubtSubmits, ScopedKey
from gateway.runtimes.stepflow.progress import snapshot
from gateway.runtimes.stepflow.release import Release, release_of
from gateway.runtimes.stepflow.runs import READ_SECONDS, Runs
from gateway.runtimes.stepflow.watch import Watches
from gateway.storage.idempotency import Keys, fingerprint

BLOB_SECONDS: Final = 60.0
"""How long the engine may take to store a blob, or to give one."""

_BYTES: Final = "application/octet-stream"
_BLOB_TYPE: Final = "x-blob-type"
"""The header by which the engine says of what type a blob is."""


class StepflowRuntime(Runtime):
    """A Stepflow engine as a runtime. `keys` is closed by the caller."""

    @classmethod
    async def open(cls, url: str, keys: Keys, *, lossy_numbers: bool = False) -> "StepflowRuntime":
        """Connect to the engine at `http://HOST:PORT` or `https://HOST:PORT`, `stepflow+` before it or not.

        With `lossy_numbers`, numbers that the engine rounds are passed on; they are refused otherwise. EngineError, one
        line, if the engine cannot be reached, is of an unsupported release, or is none.
        """
        engine = EngineRestClient(url.removeprefix("stepflow+"))
        try:
            release = await release_of(engine)
        except BaseException:
            await engine.close()
            raise
        return cls(engine, release, keys, lossy_numbers=lossy_numbers)

    def __init__(self, engine: EngineRestClient, release: Release, keys: Keys, *, lossy_numbers: bool = False) -> None:
        self.release = release
        self._engine = engine
        self._keys = keys
        self._stored_numbers = Numbers.ROUNDED if lossy_numbers else Numbers.INTEGERS
        self._run_numbers = Numbers.ROUNDED if lossy_numbers else release.wire_format.numbers
        self._runs = Runs(engine, release)
        self._watches = Watches(engine, self._runs.read, has_streams=release.has_events)
        self._in_doubt = InDoubtSubmits()
        self._submitting: set[asyncio.Task[Any]] = set()
        self._draining = False

    async def put_blob(self, blob: Blob) -> str:
        self._refuse_if_draining()
        if isinstance(blob.content, bytes):
            return blob_id_from_json(await self._stored(blob.content, {"Content-Type": _BYTES}))
        if blob.type is BlobType.DATA:
            refuse_lost_numbers(blob.content, self._stored_numbers, "data")
            return blob_id_from_json(await self._stored(blob_to_store(blob.content, "data")))
        await self._check_flow(blob.content)
        blob_id = blob_id_from_json(await self._stored(blob_to_store(blob.content, "flow")))
        if (await self.get_blob(blob_id)).type is not BlobType.FLOW:
            what = "stored as data before, which the engine does not change; change its description to make it another"
            raise InvalidFlow([Violation((), what)])
        return blob_id

    async def get_blob(self, blob_id: str) -> Blob:
        path = f"/blobs/{blob_digest(blob_id)}"
        request = EngineRequest("GET", path, BLOB_SECONDS, repeatable=True, headers={"Accept": _BYTES})
        answer = await self._engine.request(request)
        if answer.status == 404:
            raise BlobNotFound(f"no blob has the id '{blob_id}'")
        if answer.status != 200:
            raise answer_error(answer.status, answer.body)
        return _blob(answer)

    async def submit(self, params: SubmitParams, scope: str) -> Snapshot:
        """A submit that waits finds a run that takes no component over at once: then it returns that."""
        self._refuse_if_draining()
        self._check(params)
        # A task of its own: the engine must not be left in the middle of it when the client leaves.
        submitting = asyncio.create_task(self._submit(params, scope))
        self._submitting.add(submitting)
        submitting.add_done_callback(self._submitting.discard)
        submitting.add_done_callback(retrieve_exception)
        return snapshot(await asyncio.shield(submitting))

    async def get(self, run_id: str) -> Snapshot:
        return snapshot(await self._runs.read(run_id))

    def watch(self, run_id: str) -> AsyncGenerator[Snapshot, None]:
        return self._watches.watch(run_id)

    async def results(self, run_id: str, page: Page) -> list[ItemResult]:
        return await self._runs.results(run_id, page)

    async def drain(self) -> None:
        self._draining = True
        self._watches.drain()

    async def close(self) -> None:
        """Runs go on: they are the engine's."""
        await self.drain()
        for task in self._submitting:
            task.cancel()
        await asyncio.gather(*self._submitting, return_exceptions=True)
        await self._engine.close()

    def _check(self, params: SubmitParams) -> None:
        """InvalidParams for what the engine would change, or what would break it."""
        if not params.inputs and not self.release.takes_empty_runs:
            raise InvalidParams.field(
                "inputs", description=f"release {self.release.name} of the engine takes no empty runs"
            )
        numbers = self._run_numbers
        for index, text in enumerate(params.inputs):
            refuse_lost_numbers(text, numbers, "inputs", index)
        for name, text in params.variables.items():
            refuse_lost_numbers(text, numbers, "variables", name)
        if params.overrides is not None:
            refuse_lost_numbers(params.overrides, numbers, "overrides")

    async def _submit(self, params: SubmitParams, scope: str) -> RunStatus:
        if params.idempotency_key is None:
            status = await self._runs.submit(params)
            self._in_doubt.settle(None, status.run_id)
            return status
        key, digest = ScopedKey(scope, params.idempotency_key), fingerprint(params)
        accepted: list[RunStatus] = []

        async def once() -> str:
            earlier = self._in_doubt.get(key, digest)
            run_id = None
            if earlier is not None:
                run_id = self._in_doubt.find_run(earlier, await self._runs.latest(MAX_SEARCHED))
            if run_id is None:
                began = time.time_ns() if earlier is None else earlier.began
                accepted.append(await self._attempt(params, key, digest, began))
                run_id = accepted[0].run_id
            self._in_doubt.settle(key, run_id)
            return run_id

        run_id, _ = await self._keys.once(scope, key.key, digest, once)
        return accepted[0] if accepted else await self._runs.read(run_id)

    async def _attempt(self, params: SubmitParams, key: ScopedKey, digest: str, began: Nanoseconds) -> RunStatus:
        """Submit a run, and remember the submit, first sent at `began`, if the answer is lost."""
        try:
            return await self._runs.submit(params)
        except AnswerLost:
            submit = InDoubtSubmit(digest, params.flow_id, len(params.inputs), began, time.time_ns())
            self._in_doubt.add(key, submit)
            raise

    async def _stored(self, body: bytes, headers: Mapping[str, str] = MappingProxyType({})) -> bytes:
        request = EngineRequest("POST", "/blobs", BLOB_SECONDS, repeatable=True, body=body, headers=headers)
        answer = await self._engine.request(request)
        if answer.status == 400:
            what = "the engine refuses it: a number is out of range, or it nests too deeply"
            raise InvalidParams.field("data", description=what)
        if answer.status != 200:
            raise answer_error(answer.status, answer.body)
        return answer.body

    async def _check_flow(self, flow: str) -> None:
        try:
            refuse_lost_numbers(flow, self._run_numbers)
        except InvalidParams as error:
            raise InvalidFlow(error.violations) from None
        body = flow_to_check(flow, self.release.wire_format)
        request = EngineRequest("POST", "/flows", READ_SECONDS, repeatable=True, body=body)
        answer = await self._engine.request(request)
        refuse_invalid_flow(answer.status, answer.body)

    def _refuse_if_draining(self) -> None:
        if self._draining:
            raise shutting_down()


def _blob(answer: Answer) -> Blob:
    kind = answer.headers.get(_BLOB_TYPE)
    if kind not in ("flow", "data"):
        return Blob(answer.body, BlobType.DATA)
    try:
        return Blob(json_text(answer.body), BlobType(kind))
    except InvalidParams:
        raise unexpected_response("a blob that is not JSON") from None
