"""The list of the promises, and how a try of one ends."""

import asyncio
from collections.abc import Iterable

import grpc
import pytest
from grpc import aio

from gateway.conformance.all_promises import PROMISES
from gateway.conformance.conduct import TargetUnusable, Verdict, outcomes
from gateway.conformance.promise import NotTried, Promise, PromiseBroken, Promises, hold, same
from gateway.conformance.scene import KitRun, Scene
from gateway.conformance.target import Target
from runs.v1 import runs_pb2

WITHOUT_FORM = "what came does not have the form that it has to have: "


class Idle(Scene):
    """A scene without a server."""

    def __init__(self) -> None:
        super().__init__(Target(None, None, 1.0))  # type: ignore[arg-type]

    async def small_run(self, set_name: str = "") -> KitRun:
        return KitRun("-", 0)


def call_error(code: grpc.StatusCode) -> aio.AioRpcError:
    return aio.AioRpcError(code, aio.Metadata(), aio.Metadata(), "words")


def test_names_are_unique_and_texts_are_sentences() -> None:
    names = [promise.name for promise in PROMISES]
    assert len(names) == len(set(names))
    assert [promise.name for promise in PROMISES if not promise.text.endswith(".")] == []
    assert [promise.name for promise in PROMISES if not promise.place.startswith(("protos/", "docs/"))] == []


def test_a_promise_has_the_name_of_its_function() -> None:
    group = Promises("get", "runs.proto")

    @group.promise("It is kept.", "elsewhere")
    async def it_is_kept(_: Scene) -> None:
        """Never called."""

    assert group == [Promise("get/it-is-kept", "It is kept.", "elsewhere", it_is_kept)]


@pytest.mark.parametrize(
    ("error", "verdict", "reason"),
    [
        (None, Verdict.KEPT, ""),
        (PromiseBroken("lost"), Verdict.BROKEN, "lost"),
        (NotTried("lacks it"), Verdict.NOT_TRIED, "lacks it"),
        (call_error(grpc.StatusCode.UNIMPLEMENTED), Verdict.NOT_TRIED, "the target does not implement it: words"),
        (call_error(grpc.StatusCode.INTERNAL), Verdict.BROKEN, "a call failed: INTERNAL: words"),
        (KeyError("a"), Verdict.BROKEN, f"{WITHOUT_FORM}KeyError('a')"),
        (AttributeError("a"), Verdict.BROKEN, f"{WITHOUT_FORM}AttributeError('a')"),
        (RecursionError("a"), Verdict.BROKEN, f"{WITHOUT_FORM}RecursionError('a')"),
        (ExceptionGroup("a", [OSError(1)]), Verdict.BROKEN, f"{WITHOUT_FORM}ExceptionGroup('a', [OSError(1)])"),
    ],
)
async def test_how_a_try_ends(error: Exception | None, verdict: Verdict, reason: str) -> None:
    async def check(_: Scene) -> None:
        if error is not None:
            raise error

    [tried] = [one async for one in outcomes(Idle(), [Promise("a/b", "Text.", "place", check)])]
    assert (tried.verdict, tried.reason) == (verdict, reason)


async def test_a_promise_that_takes_too_long_is_broken() -> None:
    async def check(_: Scene) -> None:
        await asyncio.get_running_loop().create_future()

    scene = Idle()
    scene.target.patience = 0.001
    [tried] = [one async for one in outcomes(scene, [Promise("a/b", "Text.", "place", check)])]
    assert tried.verdict is Verdict.BROKEN
    assert "has not come within 0.03 s" in tried.reason


class Unusable(Idle):
    """A scene with a target whose answer to the first call has no form."""

    async def small_run(self, set_name: str = "") -> KitRun:
        raise AttributeError("blob_id")


async def test_a_target_whose_first_answer_has_no_form_is_of_no_use() -> None:
    with pytest.raises(TargetUnusable, match=r"does not have the form .* AttributeError\('blob_id'\)"):
        await anext(outcomes(Unusable(), PROMISES))


class Endless(Idle):
    """A scene with a target that is too busy with a run to say before the deadline that it goes on."""

    async def _flow(self, name: str, text: str) -> str:
        return "-"

    async def _submit(
        self, flow_id: str, inputs: Iterable[str], set_name: str, *, wait: bool = False
    ) -> runs_pb2.RunStatus:
        raise call_error(grpc.StatusCode.DEADLINE_EXCEEDED)


async def test_a_run_that_does_not_fail_in_time_breaks_no_promise() -> None:
    with pytest.raises(NotTried, match="a run of the kit has not ended within 1 s"):
        await Endless().failed_run("endless", "{}")


async def test_what_fails_when_the_runs_are_deleted_is_no_promise() -> None:
    await Idle().clear()


def test_what_is_wrong_is_told_in_short() -> None:
    hold(1, "never")
    deep: list[object] = []
    for _ in range(100_000):
        deep = [deep]
    with pytest.raises(PromiseBroken, match="got <a list that is nested too deeply>"):
        same(deep, 1, "the items")
    with pytest.raises(PromiseBroken, match=r"the items: expected 'x{299}\.\.\., got 1"):
        same(1, "x" * 1_000, "the items")


async def test_restarts_and_other_servers_are_named_by_flags() -> None:
    with pytest.raises(NotTried, match="--restart"):
        await Idle().restarted()
    with pytest.raises(NotTried, match="--other"):
        Idle().other()
