"""How long callers wait for a server that is away, and which calls are made again."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.core.errors import GatewayError, Overloaded, RemoteError, Unavailable
from gateway.runtimes.jsonrpc import reachability as module
from gateway.runtimes.jsonrpc.answers import ConnectionLost
from gateway.runtimes.jsonrpc.dialect import Dialect
from gateway.runtimes.jsonrpc.reachability import Reachability, Retries


class Server:
    """Answers probes, or fails with `failure`. Probes are counted."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.probes = 0
        self._probed = asyncio.Condition()

    async def probed(self, count: int) -> None:
        """Wait until it was probed so often."""
        async with self._probed:
            await self._probed.wait_for(lambda: self.probes >= count)

    async def probe(self) -> Dialect:
        async with self._probed:
            self.probes += 1
            self._probed.notify_all()
        if self.failure is not None:
            raise self.failure
        return Dialect.DOCUMENT


@pytest.fixture(autouse=True)
def short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_DELAY", 0.001)
    monkeypatch.setattr(module, "LAST_DELAY", 0.001)


@pytest.fixture
def server() -> Server:
    return Server()


@pytest.fixture
async def reachability(server: Server) -> AsyncIterator[Reachability]:
    reachability = Reachability("server:1", server.probe, patience=60.0)
    yield reachability
    await reachability.close()


class Attempts:
    """Ends with each of these failures in turn, then with a result."""

    def __init__(self, *failures: GatewayError) -> None:
        self._failures = list(failures)
        self.made = 0

    async def __call__(self) -> str:
        self.made += 1
        if self._failures:
            raise self._failures.pop(0)
        return "done"


async def test_a_server_is_probed_once_for_all_callers(server: Server, reachability: Reachability) -> None:
    assert set(await asyncio.gather(*(reachability.ready() for _ in range(10)))) == {Dialect.DOCUMENT}
    assert await reachability.ready() is Dialect.DOCUMENT
    assert server.probes == 1


async def test_a_broken_connection_has_the_server_probed_again(server: Server, reachability: Reachability) -> None:
    await reachability.ready()
    reachability.recheck()
    await reachability.ready()
    assert server.probes == 2


async def test_callers_wait_for_a_server_that_is_away(server: Server, reachability: Reachability) -> None:
    server.failure = ConnectionLost("cannot be reached", request_sent=False)
    waiting = asyncio.create_task(reachability.ready())
    await server.probed(3)
    assert not waiting.done()
    server.failure = None
    assert await waiting is Dialect.DOCUMENT


async def test_nobody_waits_any_more_when_the_gateway_stops(server: Server, reachability: Reachability) -> None:
    server.failure = ConnectionLost("cannot be reached", request_sent=False)
    waiting = asyncio.create_task(reachability.ready())
    await server.probed(1)
    reachability.stop_waiting()
    with pytest.raises(Unavailable, match="cannot be reached"):
        await waiting
    assert reachability.patience == 0.0


async def test_a_closed_one_probes_no_more(server: Server, reachability: Reachability) -> None:
    await reachability.close()
    with pytest.raises(Unavailable, match="shutting down"):
        await reachability.ready()
    assert server.probes == 0


async def test_a_server_that_speaks_something_else_is_not_waited_for(
    server: Server, reachability: Reachability, caplog: pytest.LogCaptureFixture
) -> None:
    server.failure = RemoteError(RemoteError.code, "not JSON-RPC")
    assert not await reachability.connected(60.0)
    with pytest.raises(RemoteError, match="not JSON-RPC"):
        await reachability.ready()
    assert [record.getMessage() for record in caplog.records] == [
        "the upstream at server:1 cannot be used: not JSON-RPC"
    ]


async def test_defects_of_the_probe_are_told_by_an_id_only(server: Server, reachability: Reachability) -> None:
    server.failure = ValueError("secret")
    assert not await reachability.connected(0.01)
    reachability.stop_waiting()
    with pytest.raises(Unavailable, match="internal error, id") as error:
        await reachability.ready()
    assert "secret" not in error.value.message


SENT = ConnectionLost("was lost before it answered")
UNSENT = ConnectionLost("cannot be reached", request_sent=False)
LATE = ConnectionLost("did not answer in time", timed_out=True)


@pytest.mark.parametrize(
    ("failure", "repeatable", "made"),
    [
        (SENT, True, 2),
        (SENT, False, 1),
        (UNSENT, True, 2),
        (UNSENT, False, 2),
        (LATE, True, 1),
        (LATE, False, 1),
        (Unavailable("shutting down"), True, 2),
        (Unavailable("shutting down"), False, 1),
        (Overloaded("full"), True, 1),
    ],
)
async def test_calls_are_made_again_where_that_has_no_effect_twice(
    reachability: Reachability, failure: GatewayError, repeatable: bool, made: int
) -> None:
    attempts = Attempts(failure)
    outcome = await asyncio.gather(reachability.retried(attempts, repeatable=repeatable), return_exceptions=True)
    assert attempts.made == made
    assert list(outcome) == ["done" if made == 2 else failure]


async def test_retries_end_with_patience_and_say_when_to_come_back(server: Server) -> None:
    retries = Retries(Reachability("server:1", server.probe, patience=0.0))
    failure = Unavailable("away")
    with pytest.raises(Unavailable) as error:
        await retries.pause(failure)
    assert error.value is failure
    assert failure.retry_after == 1.0
