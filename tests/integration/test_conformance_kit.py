"""The conformance kit: our own server passes it, on each runtime, and each defect of a server is found out."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import grpc
import pytest
from grpc import aio

from gateway.client.security import Security
from gateway.conformance.all_promises import PROMISES
from gateway.conformance.conduct import TriedPromise, Verdict, each_tried, outcomes
from gateway.conformance.scene import Scene
from gateway.conformance.target import opened_target
from gateway.server.app import running
from gateway.server.settings import ServeSettings
from gateway.testing import InMemoryGateway, in_memory_gateway
from tests.integration.conftest import Start
from tests.support import payload_mutations as of_payloads
from tests.support import run_mutations as of_runs
from tests.support import watch_mutations as of_watches
from tests.support.mutating_proxy import Answers, Message, MutatingProxy, Mutation

PATIENCE = 60.0
SHORT_PATIENCE = 3.0
"""Where a defect is that something never comes."""

BY_NAME = {promise.name: promise for promise in PROMISES}
OF_RESTARTS = {name for name in BY_NAME if name.startswith("elsewhere/") and "restart" in name}
OF_OTHERS = {name for name in BY_NAME if name.startswith("elsewhere/")} - OF_RESTARTS

Restart = Callable[[], Awaitable[None]]


async def tried(
    address: str,
    *names: str,
    other: str | None = None,
    restart: Restart | None = None,
    patience: float = PATIENCE,
) -> list[TriedPromise]:
    """What comes of promises; of all of them without a name."""
    async with AsyncExitStack() as stack:
        target, *others = [
            await stack.enter_async_context(opened_target(Security(each, None, {}), patience))
            for each in (address, *([] if other is None else [other]))
        ]
        scene = Scene(target, others=others, restart=restart)
        found = [one async for one in outcomes(scene, [BY_NAME[name] for name in names] or PROMISES)]
        await scene.clear()
        return found


def not_kept(found: list[TriedPromise], *, but: Collection[str] = ()) -> dict[str, str]:
    """The promises that are not kept or could not be tried, and why."""
    return {
        one.promise.name: one.reason
        for one in found
        if one.verdict is not Verdict.KEPT and not (one.verdict is Verdict.NOT_TRIED and one.promise.name in but)
    }


async def test_a_gateway_and_its_relay_are_servers_of_one_state(start: Start) -> None:
    upstream = await start()
    relay = await start(runtime=f"grpc://{upstream.addresses.grpc}")
    for target, other in ((upstream, relay), (relay, upstream)):
        assert not_kept(await tried(target.addresses.grpc, *OF_OTHERS, other=other.addresses.grpc)) == {}


async def test_a_gateway_over_json_rpc_keeps_all_promises_but_those_of_sets(start: Start) -> None:
    upstream = await start()
    gateway = await start(runtime=f"jsonrpc+http://{upstream.addresses.http}/")
    of_sets = {name for name in BY_NAME if name.startswith("set")}
    assert not_kept(await tried(gateway.addresses.grpc), but=OF_RESTARTS | OF_OTHERS | of_sets) == {}


async def test_items_may_take_time_by_a_component_of_the_target() -> None:
    async def wait(value: dict[str, int]) -> int:
        await asyncio.sleep(value["milliseconds"] / 1_000)
        return value["item"]

    of_open_runs = [promise for promise in PROMISES if promise.name.startswith(("open/", "resume/open"))]
    async with (
        in_memory_gateway({"/python/wait": wait}) as gateway,
        opened_target(Security(gateway.address, None, {}), PATIENCE) as target,
    ):
        scene = Scene(target, component="/python/wait")
        assert not_kept([one async for one in each_tried(scene, of_open_runs)]) == {}
        await scene.clear()


class RefusesNumbers(Mutation):
    """No defect: the engine behind a server may have doubles alone."""

    method = "SubmitRun"

    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for message in messages:
            if len(request.inputs[0].json) > 3:
                refusal = grpc.StatusCode.INVALID_ARGUMENT
                raise aio.AioRpcError(refusal, aio.Metadata(), aio.Metadata(), "inputs[0]: no double holds it")
            yield message


OF_NUMBERS = [name for name in BY_NAME if name.startswith("get/") and name.endswith("-stay-exact")]


async def test_a_target_that_refuses_numbers_by_itself_is_not_accused(server: InMemoryGateway) -> None:
    async with MutatingProxy(server.address, RefusesNumbers).running() as proxy:
        found = await tried(proxy.address, *OF_NUMBERS)
    assert {one.verdict for one in found} == {Verdict.NOT_TRIED}
    assert all("refuses the input" in one.reason and "no double" in one.reason for one in found)


async def test_a_component_that_the_target_lacks_is_told(server: InMemoryGateway) -> None:
    async with opened_target(Security(server.address, None, {}), PATIENCE) as target:
        scene = Scene(target, component="/python/nothing")
        [found] = [one async for one in each_tried(scene, [BY_NAME["resume/open-runs-go-on"]])]
    assert (found.verdict, "--slow-component" in found.reason) == (Verdict.NOT_TRIED, True)


class Restarted:
    """A gateway with its state in a file, which can be restarted at the same address."""

    def __init__(self, stack: AsyncExitStack, state: Path) -> None:
        self._stack = stack
        self._settings = {"http_address": "127.0.0.1:0", "metrics_address": "off", "state": str(state)}
        self._running = AsyncExitStack()
        self.address = "127.0.0.1:0"

    async def start(self) -> None:
        """Start it, again."""
        await self._running.aclose()
        settings = ServeSettings.model_validate({**self._settings, "grpc_address": self.address})
        self._running = await self._stack.enter_async_context(AsyncExitStack())
        self.address = (await self._running.enter_async_context(running(settings))).grpc


@pytest.fixture
async def restarted(tmp_path: Path) -> AsyncIterator[Restarted]:
    async with AsyncExitStack() as stack:
        gateway = Restarted(stack, tmp_path / "state.db")
        await gateway.start()
        yield gateway


AFTER_RESTARTS: list[tuple[type[Mutation], str]] = [
    (of_runs.ForgetsTokens, "elsewhere/runs-go-on-after-a-restart"),
    (of_runs.IgnoresTokens, "elsewhere/runs-go-on-after-a-restart"),
    (of_watches.RestartsSets, "elsewhere/sets-go-on-after-a-restart"),
    (of_watches.ForgetsWhatWasMissed, "elsewhere/sets-go-on-after-a-restart"),
    (of_runs.ErrorsBecomeOk, "elsewhere/a-restart-is-a-cut"),
    (of_runs.RepeatsRevisions, "elsewhere/a-restart-is-a-cut"),
]


@pytest.mark.parametrize(("mutation", "promise"), AFTER_RESTARTS, ids=lambda value: getattr(value, "__name__", value))
async def test_each_defect_after_a_restart_is_found_out(
    restarted: Restarted, mutation: type[Mutation], promise: str
) -> None:
    async with MutatingProxy(restarted.address, mutation).running() as proxy:
        [found] = await tried(proxy.address, promise, restart=restarted.start)
    assert found.verdict is Verdict.BROKEN, found.reason


AT_OTHERS: list[tuple[type[Mutation], str]] = [
    (of_runs.ForgetsTokens, "elsewhere/runs-go-on-at-another-server"),
    (of_watches.IgnoresTokensOfSets, "elsewhere/sets-go-on-at-another-server"),
]


@pytest.mark.parametrize(("mutation", "promise"), AT_OTHERS, ids=lambda value: getattr(value, "__name__", value))
async def test_each_defect_at_another_server_is_found_out(
    server: InMemoryGateway, mutation: type[Mutation], promise: str
) -> None:
    async with MutatingProxy(server.address, mutation).running() as proxy:
        [found] = await tried(server.address, promise, other=proxy.address)
    assert found.verdict is Verdict.BROKEN, found.reason


def test_each_promise_has_a_defect_that_breaks_it() -> None:
    assert {promise for _, promise in (*MUTATIONS, *AFTER_RESTARTS, *AT_OTHERS)} == set(BY_NAME)


def test_each_defect_is_in_the_table() -> None:
    defects = {
        each
        for module in (of_payloads, of_runs, of_watches)
        for each in vars(module).values()
        if isinstance(each, type) and issubclass(each, Mutation) and each.__module__ == module.__name__
    }
    defects.remove(of_watches.WatchMutation)
    assert {defect for defect, _ in (*MUTATIONS, *AFTER_RESTARTS, *AT_OTHERS)} == defects


BASIC = {
    "GetRun": ("DropsAMessage", "DoublesAMessage", "ReordersMessages", "CutsStreams", "EndsACutStreamWithOk"),
    "watch": ("DropsUpdates", "DoublesUpdates", "ReordersUpdates", "CutsWatches", "EndsWatchesWithOk"),
    "set": ("DropsAMember", "DoublesUpdates", "ReordersUpdates", "CutsWatches", "EndsWatchesWithOk"),
}
"""What loses, doubles, reorders and cuts messages, and ends with OK too early, for each kind of stream."""


@pytest.mark.parametrize("stream", BASIC)
def test_the_defects_of_a_bad_connection_are_in_the_table(stream: str) -> None:
    groups = ("get", "resume", "open") if stream == "GetRun" else (stream,)
    names = {mutation.__name__ for mutation, promise in MUTATIONS if promise.partition("/")[0] in groups}
    assert names >= set(BASIC[stream])


MUTATIONS: list[tuple[type[Mutation], str]] = [
    (of_runs.DropsAMessage, "get/each-result-comes-once"),
    (of_runs.DropsAResult, "get/each-result-comes-once"),
    (of_runs.DoublesAMessage, "get/each-result-comes-once"),
    (of_runs.DoublesAResult, "get/each-result-comes-once"),
    (of_runs.ChangesAValue, "get/each-result-comes-once"),
    (of_runs.ReordersMessages, "get/results-come-by-index"),
    (of_runs.ReordersResults, "get/results-come-by-index"),
    (of_runs.AlwaysByCompletion, "get/results-come-by-index"),
    (of_runs.OrdersAnew, "get/results-come-by-completion"),
    (of_runs.MovesTimes, "get/results-come-by-completion"),
    (of_runs.EndsACutStreamWithOk, "get/ok-comes-after-the-end"),
    (of_runs.EndsBeforeTheEnd, "get/ok-comes-after-the-end"),
    (of_runs.CutsStreams, "get/folding-gives-the-answer"),
    (of_runs.NeverEnds, "resume/goes-on-after-the-end"),
    (of_runs.LosesTokens, "get/every-message-has-a-token"),
    (of_runs.LongTokens, "get/every-message-has-a-token"),
    (of_runs.SendsOneHugeMessage, "get/messages-can-be-received"),
    (of_runs.CountsAreWrong, "get/counts-add-up"),
    (of_runs.PrefixIsWrong, "get/counts-add-up"),
    (of_runs.ResultCountIsWrong, "get/counts-add-up"),
    (of_runs.RevisionsOfMessages, "get/one-state-has-one-revision"),
    (of_runs.SendsResultsUnasked, "get/no-results-unasked"),
    (of_payloads.RoundsNumbers, "get/long-integers-stay-exact"),
    (of_payloads.RoundsNumbers, "get/long-decimals-stay-exact"),
    (of_payloads.RoundsNumbers, "get/huge-numbers-stay-exact"),
    (of_payloads.LosesCodes, "get/errors-have-their-code"),
    (of_payloads.LosesData, "get/errors-have-their-data"),
    (of_runs.TokensOfTheMessageBefore, "resume/goes-on-after-every-message"),
    (of_runs.TokensOfTheMessageAfter, "resume/goes-on-after-every-message"),
    (of_runs.IgnoresTokens, "resume/goes-on-after-every-message"),
    (of_runs.AlwaysRestarts, "resume/goes-on-after-every-message"),
    (of_runs.TokensOfTheMessageBefore, "resume/can-be-cut-each-time"),
    (of_runs.IgnoresTokens, "resume/goes-on-after-the-end"),
    (of_runs.HidesRestarts, "resume/foreign-tokens-begin-anew"),
    (of_runs.RestartsInEachMessage, "resume/foreign-tokens-begin-anew"),
    (of_runs.AlwaysRestarts, "resume/the-beginning-is-no-restart"),
    (of_runs.IgnoresTokens, "resume/open-runs-go-on"),
    (of_runs.RevisionsShrink, "resume/open-runs-go-on"),
    (of_runs.ErrorsBecomeOk, "resume/deleted-runs-are-gone"),
    (of_runs.HoldsTheFirstMessageBack, "open/the-first-message-comes-at-once"),
    (of_runs.AlwaysWaits, "open/without-wait-the-state-is-the-answer"),
    (of_runs.IgnoresWait, "open/changes-follow-to-the-end"),
    (of_runs.RepeatsRevisions, "open/changes-follow-to-the-end"),
    (of_runs.RevisionsShrink, "open/changes-follow-to-the-end"),
    (of_runs.ShowsAnOlderState, "open/states-go-forward"),
    (of_runs.AlwaysByCompletion, "open/results-wait-for-those-before"),
    (of_runs.IgnoresTheOrder, "open/results-by-completion-wait-for-none"),
    (of_runs.IgnoresTimeouts, "open/a-timeout-ends-in-order"),
    (of_runs.IgnoresDeadlines, "open/a-deadline-ends-in-order"),
    (of_runs.HeartbeatsLookLikeNews, "open/heartbeats-show-that-it-lives"),
    (of_runs.HeartbeatsBringResults, "open/heartbeats-show-that-it-lives"),
    (of_runs.SendsNoHeartbeats, "open/heartbeats-show-that-it-lives"),
    (of_runs.LosesLaterResults, "open/slow-readers-miss-no-result"),
    (of_runs.EndsWithoutAReason, "open/followers-of-deleted-runs-are-told"),
    (of_runs.ErrorsBecomeOk, "refuse/unknown-runs"),
    (of_runs.ErrorsBecomeUnknown, "refuse/what-is-no-id"),
    (of_runs.IgnoresTimeouts, "refuse/negative-timeouts"),
    (of_runs.ErrorsBecomeUnknown, "refuse/hasty-heartbeats"),
    (of_watches.DropsUpdates, "watch/runs-are-followed-as-by-get"),
    (of_watches.DoublesUpdates, "watch/runs-are-followed-as-by-get"),
    (of_watches.NamesOtherRuns, "watch/runs-are-followed-as-by-get"),
    (of_watches.ReordersUpdates, "watch/runs-are-followed-as-by-get"),
    (of_watches.CutsWatches, "watch/runs-are-followed-as-by-get"),
    (of_watches.EndsWatchesWithOk, "watch/runs-are-followed-as-by-get"),
    (of_payloads.RoundsNumbersOfWatches, "watch/payloads-are-those-of-get"),
    (of_payloads.LosesDataOfWatches, "watch/payloads-are-those-of-get"),
    (of_watches.LosesTheEnd, "watch/the-end-of-a-run-is-a-message"),
    (of_watches.DoublesTheEnd, "watch/the-end-of-a-run-is-a-message"),
    (of_watches.EndsBeforeTheLastUpdate, "watch/the-end-of-a-run-is-a-message"),
    (of_watches.OneErrorEndsAll, "watch/errors-leave-others-alone"),
    (of_watches.HidesErrors, "watch/errors-leave-others-alone"),
    (of_watches.IgnoresTokensOfRuns, "watch/runs-go-on-after-cuts"),
    (of_watches.IgnoresRemoves, "watch/removed-runs-are-silent"),
    (of_watches.RefusesRemovesOfTheUnknown, "watch/unknown-runs-can-be-removed"),
    (of_watches.RepeatsRevisionsOfRuns, "watch/open-runs-are-followed-to-the-end"),
    (of_watches.TakesEmptyRequests, "watch/requests-have-an-action"),
    (of_watches.DropsAMember, "set/all-come-then-caught-up"),
    (of_watches.CatchesUpTooEarly, "set/all-come-then-caught-up"),
    (of_watches.ChangesInPlaceOfAdds, "set/all-come-then-caught-up"),
    (of_watches.DoublesUpdates, "set/all-come-then-caught-up"),
    (of_watches.ReordersUpdates, "set/open-runs-are-told"),
    (of_watches.CutsWatches, "set/all-come-then-caught-up"),
    (of_watches.EndsWatchesWithOk, "set/all-come-then-caught-up"),
    (of_watches.NamesOtherSets, "set/all-come-then-caught-up"),
    (of_watches.ChangesInPlaceOfAdds, "set/later-runs-come"),
    (of_watches.ForgetsEndsOfMembers, "set/open-runs-are-told"),
    (of_watches.RunsNeverLeave, "set/deleted-runs-leave"),
    (of_watches.RunsNeverLeave, "set/runs-leave-that-match-no-more"),
    (of_watches.TellsAllInPlaceOfNew, "set/only-new-leaves-out-the-rest"),
    (of_watches.LosesResultsOfSets, "set/results-come-with-the-end"),
    (of_watches.DoublesResultsOfSets, "set/results-come-with-the-end"),
    (of_watches.GoesOnWithRemovedSets, "set/removed-sets-are-silent"),
    (of_watches.EndsForSetsWithoutName, "set/sets-have-a-name"),
    (of_watches.LosesTokensOfSets, "set-resume/every-message-has-a-token"),
    (of_watches.IgnoresTokensOfSets, "set-resume/goes-on-after-every-message"),
    (of_watches.TokensAheadInSets, "set-resume/goes-on-after-every-message"),
    (of_watches.RestartsSets, "set-resume/goes-on-after-every-message"),
    (of_watches.ForgetsWhatWasMissed, "set-resume/what-was-missed-is-told"),
    (of_watches.TokensAheadInSets, "set-resume/can-be-cut-each-time"),
    (of_watches.IgnoresTokensOfSets, "set-resume/goes-on-with-what-comes"),
    (of_watches.HidesRestartsOfSets, "set-resume/foreign-tokens-begin-anew"),
]


@pytest.fixture(scope="module")
def server() -> Iterator[InMemoryGateway]:
    with in_memory_gateway() as gateway:
        yield gateway


NEVER_COMES = {
    of_watches.RunsNeverLeave,
    of_watches.TakesEmptyRequests,
    of_watches.EndsBeforeTheLastUpdate,
    of_watches.RefusesRemovesOfTheUnknown,
    of_watches.GoesOnWithRemovedSets,
    of_runs.HoldsTheFirstMessageBack,
    of_runs.AlwaysWaits,
    of_runs.IgnoresTheOrder,
    of_runs.IgnoresTimeouts,
    of_runs.SendsNoHeartbeats,
}


@pytest.mark.parametrize(("mutation", "promise"), MUTATIONS, ids=lambda value: getattr(value, "__name__", value))
async def test_each_defect_is_found_out(server: InMemoryGateway, mutation: type[Mutation], promise: str) -> None:
    patience = SHORT_PATIENCE if mutation in NEVER_COMES else PATIENCE
    async with MutatingProxy(server.address, mutation).running() as proxy:
        [found] = await tried(proxy.address, promise, patience=patience)
    assert found.verdict is Verdict.BROKEN, found.reason


async def test_a_proxy_that_spoils_nothing_is_not_accused(server: InMemoryGateway) -> None:
    async with MutatingProxy(server.address, Mutation).running() as proxy:
        assert not_kept(await tried(proxy.address), but=OF_RESTARTS | OF_OTHERS) == {}
