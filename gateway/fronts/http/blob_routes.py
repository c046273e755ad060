"""The blob API: blobs are put by POST, and read by GET at their ids."""

from collections.abc import Awaitable, Callable
from typing import TypeAlias

from gateway.adapter import blobs_json
from gateway.adapter.long_requests import read_long_members
from gateway.concurrency.fair_queue import FairQueue, FairSlices
from gateway.concurrency.memory_account import MemoryHold
from gateway.core.json_parts import LONG_TEXT
from gateway.core.json_text import json_text
from gateway.core.model import Blob, BlobType
from gateway.fronts.http.coded_answers import CodedAnswers
from gateway.fronts.http.entrance import BLOBS_PATH, HttpEntrance
from gateway.fronts.http.long_texts import BlobText, encoded, is_long, read_blob
from gateway.fronts.http.request import HttpRequest
from gateway.fronts.http.request_body import SMALL_TEXT, declares_json, text_bytes
from gateway.fronts.http.responses import (
    BINARY,
    BINARY_HEADERS,
    JSON,
    HttpResponse,
    UnsupportedMediaType,
    json_response,
)
from gateway.runs.services import RunsServices

RouteHandler: TypeAlias = Callable[[HttpRequest, MemoryHold], Awaitable[HttpResponse | None]]
"""What answers a request; it returns None if it has sent the answer itself."""

ReadBody: TypeAlias = Callable[[HttpRequest, MemoryHold], Awaitable[bytes]]
"""What reads the body of a request, when its turn to be worked on has come."""


class BlobRoutes:
    """Answers the requests of the blob API. The work on long blobs passes `fair_queue`."""

    def __init__(
        self,
        services: RunsServices,
        entrance: HttpEntrance,
        answers: CodedAnswers,
        fair_queue: FairQueue,
        read_body: ReadBody,
    ) -> None:
        self._services = services
        self._entrance = entrance
        self._answers = answers
        self._fair_queue = fair_queue
        self._read_body = read_body
        self.of_all: dict[str, RouteHandler] = {"POST": self._put}
        """The methods of all blobs together."""
        self.of_one: dict[str, RouteHandler] = {"GET": self._get}
        """The methods of one blob."""

    async def _put(self, request: HttpRequest, held: MemoryHold) -> HttpResponse:
        origin = self._entrance.origin(request)
        origin.permit(self._entrance.access.audit, "blobs/put")
        origin.limit(self._entrance.access.limits, "blobs/put")
        binary = request.media_type == BINARY
        if not binary and not declares_json(request):
            raise UnsupportedMediaType(f"expected content-type: {JSON}, or {BINARY} for a binary blob")
        body = await self._read_body(request, held)
        if not binary and len(body) > SMALL_TEXT:
            held.grow(await text_bytes(body, self._fair_queue))
        blob = Blob(body, BlobType.DATA) if binary else await self._from_json(body)
        blob_id = await self._services.of(request.caller.view).put_blob(blob)
        return json_response(blobs_json.blob_id_to_json(blob_id))

    async def _from_json(self, body: bytes) -> Blob:
        if len(body) <= LONG_TEXT:
            return blobs_json.blob_from_json(json_text(body))
        return blobs_json.blob_from_json(await read_long_members(body, FairSlices(self._fair_queue).checkpoint))

    async def _get(self, request: HttpRequest, held: MemoryHold) -> HttpResponse | None:
        self._entrance.origin(request).permit(self._entrance.access.audit, "blobs/get")
        await self._fair_queue.admit()
        blob_id = request.path.removeprefix(f"{BLOBS_PATH}/")
        blob = await read_blob(self._services.of(request.caller.view), blob_id, held)
        await self._fair_queue.yield_turn()
        if BINARY not in request.headers.get("Accept", ""):
            if is_long(blob):
                await self._answers.send_text(request, BlobText(blob, blob_id, self._fair_queue))
                return None
            return await self._answers.send_whole(request, blobs_json.blob_to_json(blob, blob_id).encode())
        content = blob.content
        if is_long(blob):
            length = len(content) if isinstance(content, bytes) or content.isascii() else None
            await self._answers.send(request, BINARY_HEADERS, encoded(content), length)
            return None
        data = content.encode() if isinstance(content, str) else content
        return await self._answers.send_whole(request, data, binary=True)
