"""The blobs of an engine, flows among them.

A blob's id is `sha256:` and the engine's digits. The engine names a blob by the bytes that it keeps. What it changes in
a document (white space between tokens, the spelling of decimals) is changed before the id is made, and reading the blob
gives the changed bytes. So the gateway has to remember nothing to translate ids.
"""

from collections.abc import Mapping
from contextlib import suppress
from types import MappingProxyType
from typing import Final

from gateway.adapter.stepflow_numbers import Numbers, refuse_inexact_numbers
from gateway.core.errors import BlobNotFound, GatewayError, InvalidFlow, InvalidParams, Violation
from gateway.core.json_text import json_text
from gateway.core.model import Blob, BlobType, JsonText, blob_digest, blob_id_of
from gateway.runtimes.stepflow.engine import Answer, EngineRequest, EngineRestClient
from gateway.runtimes.stepflow.engine_errors import answer_error, unexpected_response
from gateway.runtimes.stepflow.flows import blob_id_from_json, blob_to_store, flow_to_check, refuse_invalid_flow
from gateway.runtimes.stepflow.release import Release

BLOB_SECONDS: Final = 60.0
"""How long the engine may take to store a blob, or to return one."""

CHECK_SECONDS: Final = 30.0
"""How long the engine may take to check a flow."""

_BYTES: Final = "application/octet-stream"
_NO_BLOB: Final = blob_id_of("0" * 64)
_BLOB_TYPE: Final = "x-blob-type"
"""The header that holds the type of a blob."""


class Blobs:
    """The blobs of an engine of this release. With `lossy_numbers`, numbers that the engine rounds are accepted."""

    def __init__(self, engine: EngineRestClient, release: Release, *, lossy_numbers: bool) -> None:
        self._engine = engine
        self._wire_format = release.wire_format
        self._data_numbers = Numbers.ROUNDED if lossy_numbers else Numbers.INTEGERS
        self._flow_numbers = Numbers.ROUNDED if lossy_numbers else release.wire_format.numbers

    async def put(self, blob: Blob) -> str:
        """Store a blob and return its id.

        Raises InvalidFlow if the engine cannot run a flow, and InvalidParams if it cannot hold data exactly.
        """
        if isinstance(blob.content, bytes):
            return await self._store(blob.content, {"Content-Type": _BYTES})
        if blob.type is BlobType.DATA:
            refuse_inexact_numbers(blob.content, self._data_numbers, "data")
            return await self._store(blob_to_store(blob.content, "data"))
        await self._check_flow(blob.content)
        blob_id = await self._store(blob_to_store(blob.content, "flow"))
        if (await self.get(blob_id)).type is not BlobType.FLOW:
            what = "stored as data before, which the engine does not change; change its description to make it another"
            raise InvalidFlow([Violation((), what)])
        return blob_id

    async def get(self, blob_id: str) -> Blob:
        """Return a blob. Raises BlobNotFound if the engine does not have it."""
        path = f"/blobs/{blob_digest(blob_id)}"
        request = EngineRequest("GET", path, BLOB_SECONDS, repeatable=True, headers={"Accept": _BYTES})
        answer = await self._engine.request(request)
        if answer.status == 404:
            raise _blob_not_found(blob_id)
        if answer.status != 200:
            raise answer_error(answer.status, answer.body)
        return _blob_of(answer)

    async def missing(self, blob_id: str, *, as_others: bool) -> BlobNotFound:
        """The error for a blob of another namespace. With `as_others`, the engine is asked, as it is for others there.

        So it takes the time that it takes for a blob that the engine does not have.
        """
        if as_others:
            with suppress(GatewayError):
                await self.get(_NO_BLOB)
        return _blob_not_found(blob_id)

    async def _store(self, body: bytes, headers: Mapping[str, str] = MappingProxyType({})) -> str:
        request = EngineRequest("POST", "/blobs", BLOB_SECONDS, repeatable=True, body=body, headers=headers)
        answer = await self._engine.request(request)
        if answer.status == 400:
            what = "the engine refuses it: a number is out of range, or it nests too deeply"
            raise InvalidParams.field("data", description=what)
        if answer.status != 200:
            raise answer_error(answer.status, answer.body)
        return blob_id_from_json(answer.body)

    async def _check_flow(self, flow: JsonText) -> None:
        try:
            refuse_inexact_numbers(flow, self._flow_numbers)
        except InvalidParams as error:
            raise InvalidFlow(error.violations) from None
        body = flow_to_check(flow, self._wire_format)
        answer = await self._engine.request(EngineRequest("POST", "/flows", CHECK_SECONDS, repeatable=True, body=body))
        refuse_invalid_flow(answer.status, answer.body)


def _blob_not_found(blob_id: str) -> BlobNotFound:
    return BlobNotFound(f"no blob has the id '{blob_id}'")


def _blob_of(answer: Answer) -> Blob:
    kind = answer.headers.get(_BLOB_TYPE)
    if kind not in ("flow", "data"):
        return Blob(answer.body, BlobType.DATA)
    try:
        return Blob(json_text(answer.body), BlobType(kind))
    except InvalidParams:
        raise unexpected_response("a blob that is not JSON") from None
