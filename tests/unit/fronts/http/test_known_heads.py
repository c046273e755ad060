"""Heads that are known are not parsed again, and nothing else is taken for one."""

import asyncio
from itertools import pairwise

import pytest
from aiohttp.http import RawRequestMessage
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.fronts.http.intake import Intake, PiecewiseHandler
from gateway.fronts.http.known_heads import KnownHeads, WholeBody
from tests.support.http_front import head, post, running_front

KNOWN = post(b"[1]")
CHUNK = b"%x\r\n%b\r\n" % (len(KNOWN), KNOWN)
AGAIN = ("known", "without a body", "a known one as its body", "an empty line before it")
REQUESTS = {
    "known": KNOWN,
    "known, another length": post(b"[1,2]"),
    "without a body": head("/", "Content-Length: 0"),
    "without a length": head("/"),
    "chunked": head("/", "Transfer-Encoding: chunked") + b"3\r\n[1]\r\n0\r\n\r\n",
    "a known one as its body": post(KNOWN),
    "a known one as its chunk": head("/", "Transfer-Encoding: chunked") + CHUNK + b"0\r\n\r\n",
    "the last one": post(b"[1]", "/", "Connection: close"),
    "expects": post(b"[1]", "/", "Expect: 100-continue"),
    "an empty line before it": b"\r\n" + KNOWN,
    "malformed": post(b"[1]", "/", "Content-Length: 3"),
    "nothing": b"",
}
OTHERS = ("malformed", "the last one", "expects", "chunked", "without a length")


async def parsed(pieces: list[bytes], heads: KnownHeads | None) -> list[object]:
    """What a connection understands of what it receives; no head is known to it without `heads`."""
    connection = PiecewiseHandler(Intake())
    understood: list[object] = []
    for piece in pieces:
        connection._intake.heads = heads or KnownHeads()
        connection.parse(piece)
    for message, body, _ in connection.arrived:
        if isinstance(message, RawRequestMessage):
            assert body is not None
            content = body.read_nowait(-1)
            understood.append((message.path, message.should_close, message.raw_headers, content, body.is_eof()))
        else:
            understood.append(message.message)
    return understood


@given(st.lists(st.sampled_from(sorted(REQUESTS)), max_size=5), st.lists(st.integers(0, 400), max_size=4))
@example(["known", "known"], [len(KNOWN)])
@example(["a known one as its body"], [len(post(KNOWN)) - len(KNOWN)])
@example(["an empty line before it"], [2])
@example(["the last one", "known"], [len(REQUESTS["the last one"])])
@example(["known", "chunked", "known"], [len(KNOWN), len(KNOWN) + len(REQUESTS["chunked"])])
@example(["a known one as its chunk"], [len(REQUESTS["a known one as its chunk"]) - len(KNOWN) - 7])
def test_however_requests_come_they_are_understood_alike(names: list[str], cuts: list[int]) -> None:
    stream = b"".join(REQUESTS[name] for name in names)
    places = sorted({0, *(cut for cut in cuts if cut < len(stream)), len(stream)})
    pieces = [stream[start:stop] for start, stop in pairwise(places)]
    heads = KnownHeads()

    async def both() -> None:
        for request in REQUESTS.values():  # All heads are known that may be.
            await parsed([request], heads)
        assert await parsed(pieces, heads) == await parsed(pieces, None)

    asyncio.run(both())


async def learnt(name: str) -> bool:
    """Whether a request is known when it comes again."""
    heads = KnownHeads()
    await parsed([REQUESTS[name]], heads)
    return heads.find(REQUESTS[name]) is not None


@pytest.mark.parametrize("name", ["known", "without a body", "a known one as its body", "an empty line before it"])
async def test_a_head_is_known_when_it_comes_again(name: str) -> None:
    assert await learnt(name)


@pytest.mark.parametrize("name", OTHERS)
async def test_other_heads_are_parsed_again(name: str) -> None:
    assert not await learnt(name)


async def test_long_heads_are_not_kept_and_others_are_bounded() -> None:
    heads = KnownHeads()
    await parsed([long := post(b"{}", "/", f"X: {'x' * 1_024}")], heads)
    assert heads.find(long) is None
    for number in range(1_000):
        await parsed([post(b"{}", f"/{number}")], heads)
    assert sum(heads.find(post(b"{}", f"/{number}")) is not None for number in range(1_000)) <= 256


async def test_a_whole_body_is_read_once() -> None:
    body = WholeBody(b"abc")
    assert (await body.readany(), await body.readany(), body.read_nowait()) == (b"abc", b"", b"")
    body.set_exception(ValueError())
    assert body.is_eof()


async def test_a_known_head_is_answered_like_others() -> None:
    async with running_front() as front:
        connection = await front.connect()
        answers = [await connection.send(KNOWN).answer() for _ in range(3)]
        assert {answer.body for answer in answers} == {answers[0].body}
        connection.send(post(b"[1]", "/", "Connection: close"))
        assert (await connection.answer()).headers["connection"] == "close"
        again = (await front.connect()).send(post(b"[1]", "/", "Connection: close"))
        assert (await again.answer()).headers["connection"] == "close"
        assert await again.rest() == b""
