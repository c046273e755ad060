"""Calls by each protocol of the HTTP address, as bytes on the wire: the same calls, and the same answers."""

import base64
import json
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

import aiohttp
from google.protobuf import json_format

from gateway.fronts.web.frames import frame
from runs.v1 import blobs_pb2, runs_pb2
from tests.support.web_front import WebAnswer

_ENDS: Final = 0x82
"""The flags of the frame that ends a stream: Connect's, and gRPC-Web's."""

_NAMES: Final = {"invalid_argument": 3, "not_found": 5, "already_exists": 6, "unimplemented": 12}
"""The codes that Connect names."""


class Told(NamedTuple):
    """The messages of an answer, and the status at its end."""

    messages: Sequence[Any]
    code: int


class WebLaneClient(NamedTuple):
    """A client of one protocol: `connect+json`, `connect+proto`, `grpc-web+proto` or `grpc-web-text+proto`."""

    session: aiohttp.ClientSession
    address: str
    protocol: str

    async def unary(self, method: str, request: Any) -> Told:
        """A call with one answer."""
        if self.protocol.startswith("grpc"):
            return await self.stream(method, request)
        answer = await self._post(method, self.protocol.removeprefix("connect+"), self._written(request))
        if answer.status != 200:
            return Told((), _NAMES[answer.json()["code"]])
        return Told((self._read(method, answer.body),), 0)

    async def stream(self, method: str, *requests: Any) -> Told:
        """A call with a stream, in one direction or in both."""
        body = b"".join(frame(self._written(request)) for request in requests)
        text = "text" in self.protocol
        answer = await self._post(method, self.protocol, base64.b64encode(body) if text else body)
        frames = answer.frames()
        messages = [self._read(method, content) for flags, content in frames if not flags & _ENDS]
        [end] = [content for flags, content in frames if flags & _ENDS]
        return Told(messages, self._code(end))

    async def _post(self, method: str, kind: str, body: bytes) -> WebAnswer:
        service = "BlobsService" if method.endswith("Blob") else "RunsService"
        url, headers = f"http://{self.address}/runs.v1.{service}/{method}", {"content-type": f"application/{kind}"}
        async with self.session.post(url, data=body, headers=headers) as response:
            return WebAnswer(response.status, response.headers, await response.read())

    def _written(self, message: Any) -> bytes:
        if "json" in self.protocol:
            return json_format.MessageToJson(message, indent=None).encode()
        written: bytes = message.SerializeToString()
        return written

    def _read(self, method: str, content: bytes) -> Any:
        answer = getattr(blobs_pb2 if method.endswith("Blob") else runs_pb2, f"{_ANSWERS.get(method, method)}Response")
        return json_format.Parse(content, answer()) if "json" in self.protocol else answer.FromString(content)

    def _code(self, end: bytes) -> int:
        if self.protocol.startswith("connect"):
            error = json.loads(end).get("error")
            return 0 if error is None else _NAMES[error["code"]]
        trailers = dict(line.split(":", 1) for line in end.decode().split("\r\n") if line)
        return int(trailers["grpc-status"])


_ANSWERS: Final = {"SubmitRunStream": "SubmitRun"}
"""What answers a method whose answer has another name than it."""
