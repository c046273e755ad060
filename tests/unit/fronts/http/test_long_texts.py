from collections.abc import AsyncGenerator
from contextlib import aclosing

import pytest

from gateway.adapter import blobs_json, status_to_json
from gateway.concurrency.fair_queue import FairQueue
from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.model import Blob, BlobType, GetParams, JsonText, SubmitParams
from gateway.fronts.http.long_texts import PART, BlobText, Enclosed, LongText, StatusText, encoded
from gateway.runs.service import RunsService
from tests.support.scripted_runtime import FLOW, ScriptedRuntime

BLOB_ID = "0" * 64


class Text(LongText):
    def __init__(self, *pieces: JsonText) -> None:
        self._pieces = pieces

    async def pieces(self) -> AsyncGenerator[JsonText, None]:
        for piece in self._pieces:
            yield piece


async def parts(text: LongText) -> list[bytes]:
    async with aclosing(text.parts()) as found:
        return [part async for part in found]


@pytest.mark.parametrize(
    "pieces",
    [
        (),
        ("a", "é"),
        ("x",) * (3 * PART // 2),
        ("a", "b" * PART, "c"),
        ("a", "😀" * (2 * PART + 1), "b", "c" * (PART - 1), "d"),
    ],
)
async def test_parts_are_the_pieces_in_utf_8(pieces: tuple[str, ...]) -> None:
    found = await parts(Text(*pieces))
    assert b"".join(found) == "".join(pieces).encode()
    assert max(map(len, found)) <= 4 * 2 * PART
    assert len(found) <= 2 * len("".join(pieces)) // PART + 2


@pytest.mark.parametrize(
    "content", ['"' + "x" * 200_000 + '"', '"' + "é😀" * 50_000 + '"', bytes(range(256)) * 1_000, b"x", "1"]
)
async def test_a_blob_in_parts_is_the_blob_in_json(content: str | bytes) -> None:
    blob = Blob(content, BlobType.DATA)
    text = Enclosed('{"é":', BlobText(blob, BLOB_ID, FairQueue()), "}")
    whole = b"".join(await parts(text))
    assert whole.decode() == f'{{"é":{blobs_json.blob_to_json(blob, BLOB_ID)}}}'
    assert text.content_length in {None, len(whole)}
    assert (text.content_length is None) == (isinstance(content, str) and not content.isascii())


@pytest.mark.parametrize("content", ["", "é" * 200_000, b"\xff" * 200_000])
async def test_content_is_encoded_in_parts(content: str | bytes) -> None:
    whole = b"".join([part async for part in encoded(content)])
    assert whole == (content.encode() if isinstance(content, str) else content)


async def test_a_status_in_parts_is_the_status_in_json() -> None:
    runtime = ScriptedRuntime()
    service = RunsService(runtime, grace=0)
    account = MemoryAccount()
    params = SubmitParams(flow_id=await service.put_blob(FLOW), inputs=["1"] * 30)
    run_id = (await service.submit(params)).run_id
    for index in range(30):
        await runtime.succeed(index, f'"{"é" * 100_000}"' if index % 7 == 3 else '"\\n"')
    get = GetParams(run_id=run_id, include_results=True)
    answer = await service.open_get(get)
    assert answer.results is not None
    with account.share().hold() as held:
        text = StatusText(answer.status, await answer.results.next(), answer.results, held, FairQueue())
        assert held.size > 0
        whole = b"".join(await parts(text)).decode()
    assert whole == status_to_json.run_status_to_json(await service.get(get))
    await service.close()
    assert account.held == 0
