"""Streams that cannot be written to their end, since the client has left or something is wrong with the gateway."""

import asyncio

import pytest

from gateway.fronts.web.answer_stream import AnswerStream
from tests.support.web_front import RUNS, STREAM, WebServer, framed, web_server


async def rest_of_stream(server: WebServer) -> bytes:
    """What is answered to a stream, to the end of the connection."""
    run = await server.submit("1")
    reader, writer = await asyncio.open_connection(*server.front.address.rsplit(":", 1))
    body = framed({"runId": run["runId"]})
    head = f"POST /{RUNS}/GetRun HTTP/1.1\r\nHost: localhost\r\nContent-Type: {STREAM['Content-Type']}\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    answer = await reader.read()
    writer.close()
    return answer


async def test_a_client_that_leaves_is_no_defect(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    succeed = AnswerStream.succeed

    def lost(stream: AnswerStream) -> None:
        stream._connection.force_close()
        succeed(stream)

    monkeypatch.setattr(AnswerStream, "succeed", lost)
    async with web_server() as server:
        await rest_of_stream(server)
        assert not server.grpc.calls.number
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_a_defect_within_a_stream_cuts_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def defect(_: AnswerStream) -> None:
        raise ValueError("a defect")

    monkeypatch.setattr(AnswerStream, "succeed", defect)
    async with web_server() as server:
        answer = await rest_of_stream(server)
    assert answer.count(b"HTTP/1.1") == 1
    assert not answer.endswith(b"0\r\n\r\n")
    assert "a defect" in caplog.text
