"""Which answers the native transport has not sent yet."""

import asyncio
from collections.abc import Iterator

import pytest
from pygrpc_native import NativeGrpcFront

from gateway.fronts.grpc.unsent_answers import UnsentAnswers
from tests.support.raw_http2 import RawHttp2, raw_http2

LIMIT = 30.0
PATH = "/test.Test/Method"
SIZE = 1 << 20


@pytest.fixture
def front() -> Iterator[NativeGrpcFront]:
    front = NativeGrpcFront("127.0.0.1:0", [(PATH, False)], metrics=True, delay_stream_headers=True)
    front.start()
    yield front
    front.close()


async def answered(front: NativeGrpcFront, answers: UnsentAnswers, raw: RawHttp2) -> tuple[int, asyncio.Task[None]]:
    """A call that has been answered: its stream, and a task that ends when the answer has been sent."""
    stream = raw.open(PATH, b"")
    events = await asyncio.to_thread(front.recv_batch, 1)
    assert events
    answers.open_calls[PATH] += 1
    assert front.respond(events[0][1], bytes(SIZE))
    sending = asyncio.create_task(answers.sent(PATH, SIZE))
    sending.add_done_callback(lambda _: answers.open_calls.subtract([PATH]))
    return stream, sending


def lost(answers: UnsentAnswers) -> asyncio.Task[None]:
    """An answer that the transport has dropped, since its client left as it was given."""
    answers.open_calls[PATH] += 1
    sending = asyncio.create_task(answers.sent(PATH, SIZE))
    sending.add_done_callback(lambda _: answers.open_calls.subtract([PATH]))
    return sending


async def test_an_answer_is_waited_for_until_its_client_reads_it(front: NativeGrpcFront) -> None:
    answers = UnsentAnswers(front)
    async with asyncio.timeout(LIMIT), raw_http2(f"127.0.0.1:{front.bound_port}") as raw:
        first, first_sending = await answered(front, answers, raw)
        second, second_sending = await answered(front, answers, raw)
        await lost(answers)  # By then the transport has been looked at often.
        assert not first_sending.done()
        assert not second_sending.done()
        raw.give_window(2 * SIZE, first)
        await asyncio.wait((first_sending, second_sending), return_when=asyncio.FIRST_COMPLETED)
        raw.give_window(2 * SIZE, second)
        await asyncio.gather(first_sending, second_sending)


async def test_answers_that_were_dropped_are_not_waited_for(front: NativeGrpcFront) -> None:
    answers = UnsentAnswers(front)
    async with asyncio.timeout(LIMIT):
        await asyncio.gather(*(lost(answers) for _ in range(3)))
        async with raw_http2(f"127.0.0.1:{front.bound_port}", window=2 * SIZE) as raw:
            for _ in range(3):
                _, sending = await answered(front, answers, raw)
                await sending


async def test_calls_that_are_still_to_be_answered_do_not_stand_for_dropped_ones(front: NativeGrpcFront) -> None:
    answers = UnsentAnswers(front)
    async with asyncio.timeout(LIMIT), raw_http2(f"127.0.0.1:{front.bound_port}") as raw:
        for _ in range(5):
            raw.open(PATH, b"")
            assert await asyncio.to_thread(front.recv_batch, 1)
            answers.open_calls[PATH] += 1
        await asyncio.gather(*(lost(answers) for _ in range(3)))
