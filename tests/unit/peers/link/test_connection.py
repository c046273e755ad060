"""One end of a link, over a real pair of sockets."""

import asyncio
import socket
from collections.abc import AsyncIterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.peers.link.connection import FRAMES_AT_ONCE, MOST_UNREAD, LinkConnection


class Ends:
    """A connection whose messages are texts, what it has received, and the other end of its socket."""

    def __init__(self) -> None:
        self.connection = LinkConnection(str)
        self.received: list[str] = []
        self.connection.receive = self.received.append
        self.lost = asyncio.Event()
        self.connection.lost = self.lost.set
        ours, self.theirs = socket.socketpair()
        self._ours = ours
        self.theirs.setblocking(False)

    async def __aenter__(self) -> "Ends":
        loop = asyncio.get_running_loop()
        await loop.create_unix_connection(lambda: self.connection, sock=self._ours)
        return self

    async def __aexit__(self, *_: object) -> None:
        self.connection.close()
        await self.lost.wait()
        self.theirs.close()


@pytest.fixture
async def ends() -> AsyncIterator[Ends]:
    async with Ends() as ends:
        yield ends


def frame(text: str) -> bytes:
    sender = LinkConnection(str)
    sent = bytearray()
    sender._encoder.encode_into(text, sent)
    return len(sent).to_bytes(4, "big") + sent


@given(st.lists(st.text(max_size=300), max_size=40), st.lists(st.integers(min_value=1, max_value=700), min_size=1))
def test_where_the_bytes_are_cut_makes_no_difference(texts: list[str], cuts: list[int]) -> None:
    async def cut() -> list[str]:
        connection, received = LinkConnection(str), list[str]()
        connection.receive = received.append
        sent = b"".join(map(frame, texts))
        for size in cuts * (len(sent) // sum(cuts) + 1):
            connection.data_received(sent[:size])
            sent = sent[size:]
        for _ in range(len(texts)):
            await asyncio.sleep(0)
        return received

    assert asyncio.run(cut()) == texts


async def test_messages_of_a_turn_make_one_write(ends: Ends) -> None:
    for text in ("a", "b", "c"):
        ends.connection.send(text)
    assert await asyncio.get_running_loop().sock_recv(ends.theirs, 1000) == frame("a") + frame("b") + frame("c")


async def test_messages_are_handed_over_a_few_in_each_turn(ends: Ends) -> None:
    ends.connection.data_received(b"".join(frame(str(number)) for number in range(3 * FRAMES_AT_ONCE)))
    counts = []
    for _ in range(3):
        counts.append(len(ends.received))
        await asyncio.sleep(0)
    assert counts == [FRAMES_AT_ONCE, 2 * FRAMES_AT_ONCE, 3 * FRAMES_AT_ONCE]


@pytest.mark.parametrize("sent", [b"\0\0\0\1\xc1", b"\0\0\0\1\1", (MOST_UNREAD + 1).to_bytes(4, "big")])
async def test_what_cannot_be_read_closes_the_connection(
    sent: bytes, ends: Ends, caplog: pytest.LogCaptureFixture
) -> None:
    await asyncio.get_running_loop().sock_sendall(ends.theirs, frame("a") + sent + frame("b"))
    await ends.lost.wait()
    assert ends.received == ["a"]
    assert caplog.messages == ["a message on a link cannot be read"]


async def test_numbers_that_no_frame_holds_leave_nothing_behind(ends: Ends) -> None:
    ends.connection.send("a")
    with pytest.raises(OverflowError):
        ends.connection.send(["x" * 1000, 1 << 70])
    ends.connection.send("b")
    assert await asyncio.get_running_loop().sock_recv(ends.theirs, 10_000) == frame("a") + frame("b")


async def test_an_end_that_does_not_read_is_noticed(ends: Ends) -> None:
    resumed = asyncio.Event()
    ends.connection.resumed = resumed.set
    sent = 0
    while not ends.connection.congested:
        ends.connection.send("x" * 60_000)
        sent += len(frame("x" * 60_000))
        await asyncio.sleep(0)
    writable = asyncio.create_task(ends.connection.writable())
    while sent:
        sent -= len(await asyncio.get_running_loop().sock_recv(ends.theirs, sent))
    await resumed.wait()
    await writable
    assert not ends.connection.congested


async def test_more_than_is_handed_over_is_not_read(ends: Ends) -> None:
    texts = ["x" * 60_000] * 200
    sending = asyncio.create_task(asyncio.get_running_loop().sock_sendall(ends.theirs, b"".join(map(frame, texts))))
    while len(ends.received) < len(texts):
        assert len(ends.connection._unread) <= MOST_UNREAD + (1 << 18)
        await asyncio.sleep(0)
    await sending
    assert ends.received == texts
