"""What is written of the answers of a stream when its call ends within one of them."""

import asyncio
from types import SimpleNamespace
from typing import Any

import pytest
from aiohttp import HttpVersion11
from multidict import CIMultiDict, CIMultiDictProxy

from gateway.concurrency.fair_queue import FairQueue
from gateway.fronts.web.answer_stream import AnswerStream
from gateway.fronts.web.body_parts import PART
from gateway.fronts.web.failure import EXPIRED
from gateway.fronts.web.message_forms import PROTO
from gateway.fronts.web.wires import ConnectStream, GrpcWeb, Wire


class SlowClient:
    """A transport and a connection: the client reads nothing."""

    def __init__(self) -> None:
        self.transport = self
        self.writing_paused = True
        self.written = b""
        self.closed = False

    def write(self, data: bytes) -> None:
        self.written += data

    def is_closing(self) -> bool:
        return self.closed

    def close(self) -> None:
        self.closed = True

    async def drained(self) -> None:
        await asyncio.get_running_loop().create_future()


@pytest.mark.parametrize("wire", [ConnectStream(PROTO), GrpcWeb(PROTO), GrpcWeb(PROTO, is_text=True)])
@pytest.mark.parametrize("size", [PART, PART + 1])
async def test_a_call_that_ends_within_a_message_is_cut(wire: Wire, size: int) -> None:
    client = SlowClient()
    headers = CIMultiDictProxy(CIMultiDict[str]())
    request: Any = SimpleNamespace(
        connection=client, headers=headers, version=HttpVersion11, closes=False, cross_origin=b"", begun=False, status=0
    )
    stream = AnswerStream(request, wire, FairQueue())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await stream.send(bytes(size))
    written = client.written
    stream.fail(EXPIRED)
    # Nothing tells of the end within a message: it would be taken for the rest of that.
    assert client.closed is (size > PART)
    assert client.written.endswith(b"0\r\n\r\n") is (size <= PART)
    assert (client.written == written) is (size > PART)
