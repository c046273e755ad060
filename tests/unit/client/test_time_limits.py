"""A server that takes calls and answers none: every method of both clients ends when its time has passed."""

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest

from gateway.client import AsyncRunsClient, RunsClient, Unavailable
from gateway.client.outage import ANSWER_SECONDS, first_call_timeout
from gateway.peers.grpc import upload
from tests.support.silent_server import Silence, silent_server

SHORT = 0.1
LONG = 60.0
"""So many seconds pass only when a test fails."""

RUN_ID = "00000000-0000-0000-0000-000000000001"
IN_DOUBT = "the run may have been accepted; a submit with the idempotency key 'k' returns it"


@pytest.fixture
def silence() -> Iterator[Silence]:
    with silent_server() as silence:
        yield silence


@pytest.fixture
def address(silence: Silence) -> str:
    return silence.address


Call = Callable[..., object]


@pytest.fixture(params=[RunsClient, AsyncRunsClient])
def call(request: pytest.FixtureRequest, address: str, monkeypatch: pytest.MonkeyPatch) -> Call:
    """Calls a method of a new client, to the end of what it yields."""
    for module in ("outage", "streams"):
        monkeypatch.setattr(f"gateway.client.{module}.ANSWER_SECONDS", SHORT)

    async def asynchronously(method: str, *arguments: object, **options: object) -> None:
        async with AsyncRunsClient(address) as client:
            called: Any = getattr(client, method)(*arguments, **options)
            if isinstance(called, AsyncIterator):
                async for _ in called:
                    pass
            else:
                await called

    def call(method: str, *arguments: object, **options: object) -> None:
        if request.param is AsyncRunsClient:
            asyncio.run(asynchronously(method, *arguments, **options))
            return
        with RunsClient(address) as client:
            for _ in getattr(client, method)(*arguments, **options):
                pass

    return call


@pytest.mark.parametrize(
    ("method", "arguments", "options", "error"),
    [
        ("put_flow", [{}], {}, "no answer in time"),
        ("get", [RUN_ID], {}, "no answer in time"),
        ("submit", ["f", [1]], {"idempotency_key": "k"}, IN_DOUBT),
        ("submit_stream", ["f", [1]], {"idempotency_key": "k"}, IN_DOUBT),
        ("submit_and_wait", ["f", [1]], {"idempotency_key": "k"}, IN_DOUBT),
        ("submit_and_wait", ["f", [1] * 2_000], {"idempotency_key": "k"}, IN_DOUBT),
    ],
    ids=["put_flow", "get", "submit", "submit_stream", "submit_and_wait", "submit_and_wait in parts"],
)
def test_a_call_has_the_time_that_it_is_given(
    method: str,
    arguments: list[object],
    options: dict[str, object],
    error: str,
    call: Call,
    silence: Silence,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("gateway.client.requests.MESSAGE_BYTES", 1_000)
    with pytest.raises(TimeoutError, match=error):
        call(method, *arguments, **options, timeout=SHORT)
    assert all(limit is not None and limit < 1 for limit in silence.limits)


@pytest.mark.parametrize(
    ("method", "runs"), [("wait", RUN_ID), ("watch", RUN_ID), ("results", RUN_ID), ("watch_many", [RUN_ID])]
)
def test_what_waits_for_a_run_does_not_wait_for_its_gateway(method: str, runs: object, call: Call) -> None:
    with pytest.raises(Unavailable, match=r"nothing has come for 0\.[12]"):
        call(method, runs, timeout=SHORT)


def test_the_key_that_was_not_given_is_told(call: Call) -> None:
    with pytest.raises(TimeoutError, match=r"with the idempotency key '[0-9a-f-]{36}' returns it"):
        call("submit_and_wait", "f", [1], timeout=0)


def test_inputs_that_come_slowly_are_asked_for_no_more(call: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    """They do not fill a part before the time has passed."""
    for name in ("PART_BYTES", "PART_LENGTH", "PART_SECONDS"):
        monkeypatch.setattr(upload, name, 1 << 40)

    def inputs() -> Iterator[int]:
        yield from range(300_000)
        raise AssertionError("the upload has gone on")

    with pytest.raises(TimeoutError):
        call("submit_stream", "f", inputs(), timeout=0)


async def test_inputs_that_do_not_come_are_waited_for_no_longer(address: str) -> None:
    closed = asyncio.Event()

    async def inputs() -> AsyncIterator[object]:
        yield 0
        try:
            await asyncio.Event().wait()
        finally:
            closed.set()

    async with asyncio.timeout(LONG), AsyncRunsClient(address) as client:
        with pytest.raises(TimeoutError, match="no answer in time"):
            await client.submit_stream("f", inputs(), timeout=SHORT)
    assert closed.is_set()


async def test_a_timeout_of_the_inputs_is_raised_as_it_is(address: str) -> None:
    failure = TimeoutError("of another service")

    async def inputs() -> AsyncIterator[object]:
        yield 0
        raise failure

    async with AsyncRunsClient(address) as client:
        with pytest.raises(TimeoutError) as raised:
            await client.submit_stream("f", inputs())
    assert raised.value is failure
    assert str(failure) == "of another service"


@pytest.mark.parametrize(
    ("timeout", "call_timeout", "seconds"),
    [
        (None, None, None),
        (None, 60.0, 60.0),
        (30.0, None, 30.0),
        (30.0, 60.0, 30.0),
        (300.0, 60.0, 60.0),
        (0.0, 60.0, ANSWER_SECONDS),
        (0.0, 1.0, 1.0),
    ],
)
def test_a_submit_has_the_time_of_the_whole_and_some_seconds_in_any_case(
    timeout: float | None, call_timeout: float | None, seconds: float | None
) -> None:
    assert first_call_timeout(timeout, call_timeout) == seconds
