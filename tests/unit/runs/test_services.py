import gc
import weakref
from collections.abc import AsyncIterator
from contextlib import aclosing

import pytest

from gateway.core.caller import ALL, CallerView
from gateway.core.control import DeleteRunsParams, ListParams
from gateway.core.errors import InvalidParams, RunNotFound, Unavailable
from gateway.core.model import GetParams, SubmitParams
from gateway.core.owner import Owner
from gateway.core.run_filter import RunFilter
from gateway.runs.service import RunsService
from gateway.runs.services import RunsServices
from tests.support.scripted_runtime import FLOW, ScriptedRuntime


@pytest.fixture
def runtime() -> ScriptedRuntime:
    return ScriptedRuntime()


@pytest.fixture
async def services(runtime: ScriptedRuntime) -> AsyncIterator[RunsServices]:
    services = RunsServices(RunsService(runtime, grace=0), kept=2)
    yield services
    await services.close()
    await runtime.watched(0)


async def submitted(services: RunsServices, namespace: str) -> str:
    service = services.of(CallerView(namespace))
    flow_id = await service.put_blob(FLOW)
    params = SubmitParams(flow_id=flow_id, inputs=["1"], owner=Owner(namespace))
    return (await service.submit(params)).run_id


def following(run_id: str) -> GetParams:
    return GetParams(run_id=run_id, wait=True, include_results=True)


async def test_everybody_who_sees_all_has_one_service(services: RunsServices) -> None:
    assert services.of(ALL) is services.of(CallerView())
    assert services.of(CallerView("a")) is services.of(CallerView("a")) is not services.of(CallerView("b"))
    assert len(services) == 2


async def test_idle_views_are_let_go_when_others_come(services: RunsServices) -> None:
    services.of(CallerView("a"))
    services.of(CallerView("b"))
    services.of(CallerView("a"))
    services.of(CallerView("c"))
    assert [view.namespace for view in services._views] == ["a", "c"]


async def test_a_view_is_kept_while_something_follows_in_it(runtime: ScriptedRuntime, services: RunsServices) -> None:
    run_id = await submitted(services, "a")
    service = services.of(CallerView("a"))
    with service.follower(following(run_id)):
        for number in range(20):
            services.of(CallerView(f"b{number}"))
        assert services.of(CallerView("a")) is service
        assert len(services) == 2
    await runtime.watched(0)


async def test_views_that_are_all_in_use_may_be_more(runtime: ScriptedRuntime, services: RunsServices) -> None:
    followers = [services.of(CallerView(name)).follower(following(await submitted(services, name))) for name in "abcd"]
    assert len(services) == 4
    for follower in followers:
        follower.close()
    services.of(CallerView("e"))
    assert len(services) == 2


async def test_a_view_that_is_let_go_is_freed_without_the_collector(
    runtime: ScriptedRuntime, services: RunsServices
) -> None:
    run_id = await submitted(services, "a")
    await runtime.succeed(0)
    async with aclosing(services.of(CallerView("a")).follow(following(run_id))) as updates:
        async for _ in updates:
            pass
    await services.of(CallerView("a")).lists.runs(ListParams())
    gone = weakref.ref(services.of(CallerView("a")))
    gc.disable()
    try:
        services.of(CallerView("b"))
        services.of(CallerView("c"))
        assert gone() is None
    finally:
        gc.enable()


async def test_one_that_was_let_go_is_closed_if_a_call_has_it(runtime: ScriptedRuntime, services: RunsServices) -> None:
    run_id = await submitted(services, "a")
    service = services.of(CallerView("a"))
    for name in "bc":
        services.of(CallerView(name))
    assert service is not services.of(CallerView("a"))
    follower = service.follower(following(run_id))
    await follower.next()
    await services.close()
    with pytest.raises(Unavailable):
        await follower.next()
    with pytest.raises(Unavailable):
        services.of(CallerView("a"))


async def test_results_are_read_once_for_all_views(runtime: ScriptedRuntime, services: RunsServices) -> None:
    run_id = await submitted(services, "a")
    await runtime.succeed(0)
    for view in (ALL, CallerView("a"), CallerView("a", run_id)):
        async with aclosing(services.of(view).follow(following(run_id))) as updates:
            assert [len(update.status.results or ()) async for update in updates] == [1]
    assert len(runtime.pages) == 1


async def test_results_that_others_have_read_are_not_told(runtime: ScriptedRuntime, services: RunsServices) -> None:
    run_id = await submitted(services, "a")
    await runtime.succeed(0)
    async with aclosing(services.of(ALL).follow(following(run_id))) as updates:
        token = [update.token_after(1) async for update in updates][-1]
    for view in (CallerView("b"), CallerView("a", labels=(("x", "y"),))):
        params = GetParams(run_id=run_id, wait=True, include_results=True, resume_token=token)
        with pytest.raises(RunNotFound):
            async with aclosing(services.of(view).follow(params)) as updates:
                await anext(updates)


async def test_page_tokens_belong_to_the_namespace(services: RunsServices) -> None:
    for _ in range(3):
        await submitted(services, "a")
        await submitted(services, "b")
        await submitted(services, "default")
    first = ListParams(page_size=1)
    tokens = {
        name: (await services.of(CallerView(name)).lists.runs(first)).next_page_token for name in (None, "default", "a")
    }
    # Tokens of before, when all was in one namespace, go on.
    for name in (None, "default"):
        for token in (tokens[None], tokens["default"]):
            page = await services.of(CallerView(name)).lists.runs(ListParams(page_size=1, page_token=token))
            assert len(page.runs) == 1
    for name, token in (("a", tokens[None]), ("b", tokens["a"]), ("default", tokens["a"]), (None, tokens["a"])):
        with pytest.raises(InvalidParams):
            await services.of(CallerView(name)).lists.runs(ListParams(page_size=1, page_token=token))


async def test_calls_that_concern_many_runs_work_within_the_view(
    runtime: ScriptedRuntime, services: RunsServices
) -> None:
    theirs = await submitted(services, "b")
    await submitted(services, "a")
    params = DeleteRunsParams(filter=RunFilter(), cancel=True)
    async with aclosing(services.of(CallerView("a")).bulk.delete(params)) as told:
        assert [(each.matched, each.done) async for each in told][-1] == (1, 1)
    assert runtime.run_ids == [theirs]
