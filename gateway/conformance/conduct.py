"""Tries promises on a target, one after the other, and notes what came of each."""

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from enum import StrEnum
from typing import Final, NamedTuple

import grpc
from grpc import aio

from gateway.conformance.promise import NotTried, Promise, PromiseBroken, shown
from gateway.conformance.scene import Scene

_MOST_PATIENCES: Final = 30
"""How often as long as for one message the kit is patient with all that a promise needs."""

_OTHER_FORM: Final = "what came does not have the form that it has to have"


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
    """The target cannot be reached, lets the kit do nothing, or does not have the component that was named."""


async def outcomes(scene: Scene, promises: Sequence[Promise]) -> AsyncGenerator[TriedPromise, None]:
    """Try each promise. Raises TargetUnusable if the target is of no use from the beginning."""
    await _check(scene)
    async with aclosing(each_tried(scene, promises, _MOST_PATIENCES * scene.target.patience)) as tried:
        async for one in tried:
            yield one


async def each_tried(
    subject: object, promises: Sequence[Promise], seconds: float | None = None
) -> AsyncGenerator[TriedPromise, None]:
    """Try each promise on a scene, or on a client. One that takes more than so many `seconds` is broken."""
    for promise in promises:
        began = time.monotonic()
        verdict, reason = await _tried(subject, promise, seconds)
        yield TriedPromise(promise, verdict, reason, time.monotonic() - began)


def none_tried(promises: Sequence[Promise], reason: str) -> list[TriedPromise]:
    """What is told of promises if nothing could be tried."""
    return [TriedPromise(promise, Verdict.NOT_TRIED, reason, 0.0) for promise in promises]


async def _check(scene: Scene) -> None:
    """Submit a run, and one that calls the component that was named. Raises TargetUnusable if that fails."""
    try:
        await scene.small_run()
        await scene.check_component()
    except aio.AioRpcError as error:
        raise TargetUnusable(f"{error.code().name}: {error.details()}") from None
    except NotTried as lacking:
        raise TargetUnusable(str(lacking)) from None
    except Exception as error:
        raise TargetUnusable(_without_form(error)) from None


async def _tried(subject: object, promise: Promise, seconds: float | None) -> tuple[Verdict, str]:
    try:
        await _checked(subject, promise, seconds)
    except PromiseBroken as broken:
        return Verdict.BROKEN, str(broken)
    except NotTried as lacking:
        return Verdict.NOT_TRIED, str(lacking)
    except aio.AioRpcError as error:
        if error.code() is grpc.StatusCode.UNIMPLEMENTED:
            return Verdict.NOT_TRIED, f"the target does not implement it: {error.details()}"
        return Verdict.BROKEN, f"a call failed: {error.code().name}: {error.details()}"
    except Exception as error:
        # What a target sends may have any form, and the promises behind this one are to be tried.
        return Verdict.BROKEN, _without_form(error)
    return Verdict.KEPT, ""


async def _checked(subject: object, promise: Promise, seconds: float | None) -> None:
    """Try a promise. Raises PromiseBroken if that takes too long."""
    try:
        async with asyncio.timeout(seconds) as limit:
            await promise.check(subject)
    except TimeoutError:
        if not limit.expired():
            raise
        raise PromiseBroken(f"what has to come has not come within {seconds:g} s, while other things came") from None


def _without_form(error: Exception) -> str:
    """What is told of an answer that a check could not look at."""
    # For bytes that are no message of their type, grpc gives None.
    what = "what came is no message of the contract" if _is_of_none(error) else _OTHER_FORM
    return f"{what}: {shown(error)}"


def _is_of_none(error: Exception) -> bool:
    return isinstance(error, AttributeError) and error.obj is None and "NoneType" in str(error)
