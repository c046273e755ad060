"""The conformance kit on servers that answer in no form at all: each promise is tried, and a report tells of each."""

from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import pytest

from gateway.client.security import Security
from gateway.conformance.all_promises import PROMISES
from gateway.conformance.conduct import TargetUnusable, TriedPromise, Verdict, outcomes
from gateway.conformance.scene import Scene
from gateway.conformance.target import opened_target
from gateway.testing import in_memory_gateway
from tests.support.mutating_proxy import MutatingProxy

STREAMS = ("GetRun", "WatchRuns")
GARBAGE = b"\xff\xff\xff"


class BrokenServer(MutatingProxy):
    """A proxy that ends streams after so many messages, or spoils the bytes of messages."""

    def __init__(self, target: str, *, ends_after: int = 1_000, garbage: bool = False, unary: bool = False) -> None:
        super().__init__(target, None)
        self._ends_after = ends_after
        self._garbage = garbage
        self._unary = unary

    async def _passed(
        self, path: str, requests: AsyncIterator[bytes], context: Any, *, deadline: bool = True
    ) -> AsyncGenerator[bytes, None]:
        spoiled = (path.rpartition("/")[2] in STREAMS) is not self._unary
        answers, number = super()._passed(path, requests, context, deadline=deadline), 0
        try:
            async for answer in answers:
                if spoiled and number == self._ends_after:
                    return
                number += 1
                yield GARBAGE if spoiled and self._garbage else answer
        finally:
            await answers.aclose()


class AwayServer(MutatingProxy):
    """A proxy that answers the first call of each of these methods with UNAVAILABLE."""

    AWAY = ("SubmitRun", "CancelRun", "DeleteRun", "ListRuns")

    def __init__(self, target: str) -> None:
        super().__init__(target, None)
        self.calls: Counter[str] = Counter()

    async def _passed(
        self, path: str, requests: AsyncIterator[bytes], context: Any, *, deadline: bool = True
    ) -> AsyncGenerator[bytes, None]:
        method = path.rpartition("/")[2]
        self.calls[method] += 1
        if method in self.AWAY and self.calls[method] == 1:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "for a while")
        async for answer in super()._passed(path, requests, context, deadline=deadline):
            yield answer


@asynccontextmanager
async def tried(**how: Any) -> AsyncIterator[list[TriedPromise]]:
    """What comes of all promises on a broken server."""
    with in_memory_gateway() as gateway:
        async with (
            BrokenServer(gateway.address, **how).running() as proxy,
            opened_target(Security(proxy.address, None, {}), 2.0) as target,
        ):
            scene = Scene(target)
            yield [one async for one in outcomes(scene, PROMISES)]
            await scene.clear()


@pytest.mark.parametrize("how", [{"ends_after": 0}, {"ends_after": 1}, {"garbage": True}], ids=str)
async def test_streams_without_form_break_promises(how: dict[str, Any], capfd: pytest.CaptureFixture[str]) -> None:
    async with tried(**how) as found:
        broken = [one.promise.name for one in found if one.verdict is Verdict.BROKEN]
    assert [one.promise for one in found] == list(PROMISES)
    assert "open/heartbeats-show-that-it-lives" in broken
    assert "Traceback" not in capfd.readouterr().err


async def test_answers_that_are_no_messages_make_a_target_of_no_use() -> None:
    with pytest.raises(TargetUnusable, match="no message of the contract"):
        async with tried(garbage=True, unary=True):
            pytest.fail("a promise was tried")


async def test_a_server_may_be_unavailable_for_a_while_where_runs_are_prepared() -> None:
    with in_memory_gateway() as gateway:
        proxy = AwayServer(gateway.address)
        async with proxy.running(), opened_target(Security(proxy.address, None, {}), 60.0) as target:
            scene = Scene(target)
            run = await scene.small_run("set")
            assert list(await scene.listed("set")) == [run.run_id]
            await scene.cancel(run.run_id)
            await scene.delete(run.run_id)
    assert proxy.calls == {"PutBlob": 1, **dict.fromkeys(AwayServer.AWAY, 2)}
