"""How calls of the native transport begin and end, event by event."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import grpc
import pytest
from pygrpc_native import EVENT_CALL, EVENT_CANCEL, NativeGrpcFront

from gateway.access.access import Access, OpenAccess
from gateway.access.limit_rules import LimitRule
from gateway.access.limits import CallerLimits
from gateway.concurrency.memory_account import MemoryAccount
from gateway.fronts.grpc.connections import CALL_BYTES, Connections
from gateway.fronts.grpc.native_calls import NativeMethod
from gateway.fronts.grpc.native_dispatch import NativeDispatch
from tests.support.tasks import all_ended

UNARY, STREAM, HEALTH = range(3)
PATHS = ("/runs.v1.RunsService/SubmitRun", "/runs.v1.RunsService/GetRun", "/grpc.health.v1.Health/Check")
MANY = 100


@pytest.fixture
def front() -> Iterator[NativeGrpcFront]:
    """A transport that knows of no calls: what they are answered with is lost."""
    front = NativeGrpcFront("127.0.0.1:0", [(path, path == PATHS[STREAM]) for path in PATHS], metrics=True)
    yield front
    front.close()


class Served:
    """Methods that wait for `go` if their request says so, and count."""

    def __init__(self, front: NativeGrpcFront, access: Access | None = None) -> None:
        self.begun = 0
        self.ended = 0
        self.go = asyncio.Event()
        self.account = MemoryAccount()
        unary: Any = grpc.unary_unary_rpc_method_handler(self._method)
        stream: Any = grpc.unary_stream_rpc_method_handler(self._method)
        methods = [NativeMethod(path, stream if path == PATHS[STREAM] else unary, access) for path in PATHS]
        self.dispatch = NativeDispatch(front, methods, Connections(self.account, 30.0), 1 << 20)

    async def _method(self, request: bytes, _: object) -> bytes:
        self.begun += 1
        try:
            if request:
                await self.go.wait()
        finally:
            self.ended += 1
        return b""

    def take(self, *events: tuple[Any, ...]) -> None:
        """Let events come as from the thread that receives them."""
        asyncio.get_running_loop().call_soon(self.dispatch.take, list(events))


@pytest.fixture
async def served(front: NativeGrpcFront) -> AsyncIterator[Served]:
    served = Served(front)
    yield served
    await served.dispatch.stop(0)
    await all_ended()
    assert not served.dispatch.calls
    assert served.account.held == 0


def call(number: int, method: int = UNARY, request: bytes = b"") -> tuple[Any, ...]:
    return EVENT_CALL, number, method, request, None, ((), "ipv4:127.0.0.1:1", None)


def cancel(number: int) -> tuple[Any, ...]:
    return EVENT_CANCEL, number, UNARY, None, None, None


async def turns(number: int) -> None:
    for _ in range(number):
        await asyncio.sleep(0)


async def test_a_call_that_ends_at_once_ends_in_the_turn_in_which_it_comes(served: Served) -> None:
    served.take(call(1), call(2))
    await turns(1)
    assert (served.begun, served.ended, served.account.held) == (2, 2, 0)


async def test_many_calls_begin_in_several_turns(served: Served) -> None:
    served.take(*(call(number) for number in range(MANY)))
    await turns(1)
    assert 0 < served.begun < MANY
    await turns(MANY)
    assert served.ended == MANY


async def test_a_flood_leaves_other_fronts_as_many_turns_as_they_need_to_go_on(served: Served) -> None:
    served.take(*(call(number) for number in range(MANY)))
    passed = 0
    while served.ended < MANY:
        await turns(1)
        passed += 1
    assert passed >= MANY // 4


@pytest.mark.parametrize("method", [UNARY, STREAM])
async def test_a_client_that_leaves_in_the_same_moment_leaves_nothing(served: Served, method: int) -> None:
    served.take(*(event for number in range(MANY) for event in (call(number, method, b"wait"), cancel(number))))
    await turns(MANY)
    assert not served.dispatch.calls
    assert served.account.held == 0
    assert served.begun == served.ended


async def test_a_client_that_leaves_is_heard_after_its_call_even_if_that_has_to_wait_for_its_turn(
    served: Served,
) -> None:
    served.take(*(call(number, UNARY, b"wait") for number in range(MANY)))
    served.take(cancel(MANY - 1))
    await turns(MANY)
    assert (served.begun, served.ended) == (MANY, 1)
    assert served.account.held == (MANY - 1) * CALL_BYTES


async def test_waiting_calls_end_when_what_they_wait_for_comes(served: Served) -> None:
    served.take(*(call(number, number % 2, b"wait") for number in range(MANY)))
    await turns(MANY)
    assert len(served.dispatch.calls) == served.begun == MANY
    served.go.set()
    await turns(MANY)
    assert served.ended == MANY
    assert not served.dispatch.calls


async def test_after_a_stop_calls_that_have_not_begun_do_not(served: Served) -> None:
    served.take(*(call(number) for number in range(MANY)))
    await turns(1)
    begun = served.begun
    await served.dispatch.stop(0)
    await turns(MANY)
    assert served.begun == begun < MANY


async def test_calls_beyond_a_limit_are_refused_without_taking_the_place_of_others(front: NativeGrpcFront) -> None:
    access = OpenAccess()
    access.limits = CallerLimits([LimitRule(max_calls=1)])
    served = Served(front, access)
    served.take(call(1, UNARY, b"wait"), *(call(number) for number in range(2, MANY // 4)), call(MANY, HEALTH))
    await turns(1)
    assert (served.begun, served.account.held) == (2, CALL_BYTES)
    assert list(served.dispatch.calls) == [1]
    served.go.set()
    await turns(MANY)
    served.take(call(1))
    await turns(1)
    assert (served.begun, served.ended, served.account.held) == (3, 3, 0)
