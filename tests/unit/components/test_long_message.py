import json

import pytest

from gateway.components.error import ComponentError
from gateway.components.long_message import read_message
from gateway.components.message import result_of
from gateway.concurrency.fair_turns import FairTurns

LONG = "x\N{GRINNING FACE}" * 50_000


async def output_of(message: object) -> str:
    line = FairTurns().line()
    text = message if isinstance(message, bytes) else json.dumps(message, ensure_ascii=False).encode()
    read, long = await read_message(text, line)
    result_of(read, "a")
    assert long is not None
    return await long.output(line)


async def test_the_output_of_a_long_answer_is_as_it_came() -> None:
    output = '{"b": 1e400,  "a": ' + json.dumps(LONG, ensure_ascii=False) + "}"
    text = b' {"jsonrpc":"2.0","result": {"x": 1, "output": %b }, "id":"a"}\n' % output.encode()
    assert await output_of(text) == output


async def test_a_long_request_is_one() -> None:
    text = json.dumps({"id": 7, "method": "blobs/put", "params": {"data": LONG}}).encode()
    message, long = await read_message(text, FairTurns().line())
    assert (message.method, bytes(message.id), long) == ("blobs/put", b"7", None)


async def test_a_long_error_is_one() -> None:
    error = {"id": "a", "error": {"code": -1, "message": "no", "data": LONG}}
    message, long = await read_message(json.dumps(error).encode(), FairTurns().line())
    assert long is None
    with pytest.raises(ComponentError) as caught:
        result_of(message, "a")
    assert (caught.value.code, caught.value.message) == (-1, "no")


@pytest.mark.parametrize(
    "text",
    [
        b'{"id":"a","result":{"output":"%b"}' % (b"x" * 100_000),
        b'{"id":"a","result":{"output":"%b\xff"}}' % (b"x" * 100_000),
        b'{"id":"a","result":{"output":"%b\\ud800"}}' % (b"x" * 100_000),
        b'{"id":"a","result":{"other":"%b"}}' % (b"x" * 100_000),
        b'{"id":"a","result":["%b"]}' % (b"x" * 100_000),
        b'["%b"]' % (b"x" * 100_000),
        b'{"id":"a","method":1,"result":"%b"}' % (b"x" * 100_000),
        b'{"id":"b","result":{"output":"%b"}}' % (b"x" * 100_000),
        b"{%b}" % b",".join(b'"%d":"%b"' % (n, b"x" * 50) for n in range(2_000)),
    ],
)
async def test_a_malformed_long_answer_is_refused(text: bytes) -> None:
    with pytest.raises(ComponentError, match="the component server answered"):
        await output_of(text)


async def test_a_long_answer_is_read_in_steps() -> None:
    """The clock is a counter here: each look at it is a tenth of a millisecond, so a turn has room for five steps."""
    ticks = 0

    def clock() -> float:
        nonlocal ticks
        ticks += 1
        return ticks / 10_000

    line = FairTurns(clock=clock).line()
    _, long = await read_message(json.dumps({"id": "a", "result": {"output": LONG * 10}}).encode(), line)
    assert long is not None
    await long.output(line)
    assert ticks > 500
