"""How long callers wait for an engine that is away, and what they are told after that."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from gateway.core.errors import Overloaded, Unavailable
from gateway.core.upstream_refusals import UpstreamRefusal
from gateway.runtimes.temporal import presence as module
from gateway.runtimes.temporal.engine_errors import EngineAbsent, EngineUnprepared
from gateway.runtimes.temporal.presence import EnginePresence


class Engine:
    """Is found, or not because of `failure`. Looks are counted; `held` keeps them waiting."""

    def __init__(self) -> None:
        self.failure: Exception | None = None
        self.looks = 0
        self.held = asyncio.Event()
        self.held.set()
        self._looked = asyncio.Condition()

    async def looked(self, count: int) -> None:
        async with self._looked:
            await self._looked.wait_for(lambda: self.looks >= count)

    async def look(self) -> None:
        async with self._looked:
            self.looks += 1
            self._looked.notify_all()
        await self.held.wait()
        if self.failure is not None:
            raise self.failure


@pytest.fixture(autouse=True)
def short_delays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FIRST_DELAY", 0.001)
    monkeypatch.setattr(module, "LAST_DELAY", 0.001)


@pytest.fixture
def engine() -> Engine:
    return Engine()


@pytest.fixture
async def presence(engine: Engine) -> AsyncIterator[EnginePresence]:
    presence = EnginePresence("engine:1", engine.look, patience=60.0)
    yield presence
    await presence.close()


async def test_an_engine_that_is_there_is_looked_for_once(engine: Engine, presence: EnginePresence) -> None:
    assert await presence.found(60.0)
    await presence.here()
    assert (engine.looks, presence.is_away()) == (1, False)


async def test_callers_wait_for_an_engine_that_comes(engine: Engine, presence: EnginePresence, caplog) -> None:
    engine.failure = EngineAbsent("away", "away: connection refused")
    calls = [asyncio.create_task(presence.here()) for _ in range(10)]
    await engine.looked(3)
    assert presence.is_away()
    engine.failure = None
    await asyncio.gather(*calls)
    assert not presence.is_away()
    assert [record.getMessage() for record in caplog.records] == [
        "the engine at engine:1 cannot be used: away: connection refused",
        "the engine at engine:1 is back",
    ]


async def test_after_the_patience_calls_are_refused_at_once(engine: Engine) -> None:
    presence = EnginePresence("engine:1", engine.look, patience=0.0)
    engine.failure = EngineAbsent("away", "away: connection refused")
    for _ in range(2):
        with pytest.raises(Unavailable, match="away") as told:
            await presence.here()
        assert (told.value.message, told.value.retry_after) == ("away", 1.0)
    engine.failure = None
    await presence.found(60.0)
    await presence.here()
    await presence.close()


async def test_a_start_waits_no_longer_than_it_may(engine: Engine, presence: EnginePresence, caplog) -> None:
    engine.held.clear()
    assert not await presence.found(0.001)
    assert presence.is_away()
    assert caplog.messages == [
        "the engine at engine:1 cannot be used: it has not answered yet, or is still being prepared"
    ]
    engine.held.set()
    await presence.here()
    assert not presence.is_away()


async def test_who_calls_after_a_lost_call_waits_for_one_look_and_no_longer(
    engine: Engine, presence: EnginePresence
) -> None:
    await presence.here()
    engine.held.clear()
    presence.lost()
    presence.lost()
    call = asyncio.create_task(presence.here())
    await engine.looked(2)
    assert not call.done()
    engine.failure = EngineAbsent("away")
    engine.held.set()
    with pytest.raises(Unavailable):
        await call
    engine.failure = None
    assert await presence.found(60.0)


async def test_credentials_that_are_refused_end_the_wait(engine: Engine, presence: EnginePresence, caplog) -> None:
    engine.failure = UpstreamRefusal("not accepted", known=False)
    errors = [await _error(presence) for _ in range(2)]
    assert {error.message for error in errors} == {"not accepted"}
    assert len({id(error) for error in errors}) == 2
    assert caplog.messages == []
    engine.failure = None
    assert await presence.found(60.0)


async def test_what_is_missing_is_told_to_operators_and_not_to_clients(engine: Engine, caplog) -> None:
    presence = EnginePresence("engine:1", engine.look, patience=0.0)
    engine.failure = EngineUnprepared("the namespace does not exist")
    error = await _error(presence)
    assert error.message == "the engine is not prepared for runs"
    assert caplog.messages == ["the engine at engine:1 cannot be used: the namespace does not exist"]
    await presence.close()


async def test_a_limit_of_the_engine_is_told_as_unavailable(engine: Engine) -> None:
    presence = EnginePresence("engine:1", engine.look, patience=0.0)
    engine.failure = Overloaded("busy", retry_after=7.0)
    error = await _error(presence)
    assert (type(error), error.message, error.retry_after) == (Unavailable, "busy", 7.0)
    await presence.close()


async def test_a_close_ends_the_wait(engine: Engine, presence: EnginePresence) -> None:
    engine.failure = EngineAbsent("away")
    call = asyncio.create_task(presence.here())
    await engine.looked(2)
    await presence.close()
    with pytest.raises(Unavailable, match="shutting down"):
        await call
    presence.look_for()
    with pytest.raises(Unavailable, match="shutting down"):
        await presence.here()


async def _error(presence: EnginePresence) -> Unavailable:
    with pytest.raises(Unavailable) as told:
        await presence.here()
    return told.value
