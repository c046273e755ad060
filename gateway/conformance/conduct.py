"""Tries promises on a target, one after the other, and notes what came of each."""

import time
from collections.abc import AsyncIterator, Sequence
from enum import StrEnum
from typing import NamedTuple

import grpc
from grpc import aio

from gateway.conformance.promise import NotTried, Promise, PromiseBroken
from gateway.conformance.scene import Scene


class Verdict(StrEnum):
    """What came of a promise."""

    KEPT = "kept"
    BROKEN = "broken"
    NOT_TRIED = "not tried"


class TriedPromise(NamedTuple):
    """A promise, what came of it, why, and how many seconds it took."""

    promise: Promise
    verdict: Verdict
    reason: str
    seconds: float


class TargetUnusable(Exception):
    """The target cannot be reached, or lets the kit do nothing."""


_UNUSABLE = {
    grpc.StatusCode.UNAUTHENTICATED,
    grpc.StatusCode.PERMISSION_DENIED,
}


async def outcomes(scene: Scene, promises: Sequence[Promise]) -> AsyncIterator[TriedPromise]:
    """Try each promise. Raises TargetUnusable if the target is not there from the beginning, or refuses the kit."""
    await _check(scene)
    for promise in promises:
        began = time.monotonic()
        verdict, reason = await _tried(scene, promise)
        yield TriedPromise(promise, verdict, reason, time.monotonic() - began)


async def _check(scene: Scene) -> None:
    """Submit a run. Raises TargetUnusable if that fails."""
    try:
        await scene.small_run()
    except aio.AioRpcError as error:
        raise TargetUnusable(f"{error.code().name}: {error.details()}") from None
    except NotTried as lacking:
        raise TargetUnusable(str(lacking)) from None


async def _tried(scene: Scene, promise: Promise) -> tuple[Verdict, str]:
    try:
        await promise.check(scene)
    except PromiseBroken as broken:
        return Verdict.BROKEN, str(broken)
    except NotTried as lacking:
        return Verdict.NOT_TRIED, str(lacking)
    except aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.UNIMPLEMENTED:
            return Verdict.NOT_TRIED, f"the target does not implement it: {error.details()}"
        return Verdict.BROKEN, f"a call failed: {error.code().name}: {error.details()}"
    return Verdict.KEPT, ""
