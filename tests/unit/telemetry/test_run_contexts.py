import asyncio
from collections.abc import Iterator

import pytest

from gateway.telemetry import run_contexts, tracing
from gateway.telemetry.run_contexts import RunContexts
from tests.support.spans import EndedSpans, ids_of, recorded_spans


@pytest.fixture
def spans() -> Iterator[EndedSpans]:
    with recorded_spans() as spans:
        yield spans


async def answered(run_id: str) -> str:
    return run_id


async def submit(contexts: RunContexts, run_id: str, name: str = "call") -> None:
    with tracing.span(name):
        await contexts.submitted(answered(run_id), str)


async def test_the_context_of_a_run_is_that_of_its_first_submit(spans: EndedSpans) -> None:
    contexts = RunContexts()
    await submit(contexts, "a", "first")
    await submit(contexts, "a", "second")
    assert tracing.ids(await contexts.of("a")) == ids_of(spans.only("first"))
    assert await contexts.of("b") is None


async def test_who_asks_for_a_run_waits_for_the_submits_that_are_under_way(spans: EndedSpans) -> None:
    contexts = RunContexts()
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    with tracing.span("call"):
        submitting = asyncio.create_task(contexts.submitted(answer, str))
        await asyncio.sleep(0)
    asking = asyncio.create_task(contexts.of("a"))
    await asyncio.sleep(0)
    assert not asking.done()
    answer.set_result("a")
    assert tracing.ids(await asking) == ids_of(spans.only("call"))
    await submitting


async def test_a_submit_that_fails_is_no_longer_waited_for(spans: EndedSpans) -> None:
    contexts = RunContexts()
    answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
    with tracing.span("call"):
        submitting = asyncio.create_task(contexts.submitted(answer, str))
        await asyncio.sleep(0)
    asking = asyncio.create_task(contexts.of("a"))
    await asyncio.sleep(0)
    answer.set_exception(KeyError())
    assert await asking is None
    with pytest.raises(KeyError):
        await submitting


async def test_those_that_were_asked_for_last_are_known(spans: EndedSpans, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_contexts, "MAX_RUNS", 2)
    contexts = RunContexts()
    await submit(contexts, "a")
    await submit(contexts, "b")
    await contexts.of("a")
    await submit(contexts, "c")
    assert [run_id for run_id in "abc" if await contexts.of(run_id)] == ["a", "c"]


async def test_nothing_is_kept_while_tracing_is_off() -> None:
    contexts = RunContexts()
    await submit(contexts, "a")
    assert await contexts.of("a") is None
