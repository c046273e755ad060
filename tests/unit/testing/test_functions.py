"""Python functions as components: which are accepted, and how they are called."""

import asyncio
import math
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from gateway.testing.functions import ComponentContext, ComponentFunction, FunctionFailed, Functions

CONTEXT = ComponentContext("/f", "step", "run", 1)


def plain(value: Any) -> Any:
    return value


@pytest.mark.parametrize("path", ["/a", "/a/b", "/python/double", "/builtins/a"])
def test_usable_paths(path: str) -> None:
    assert Functions({path: plain}).paths == [path]


@pytest.mark.parametrize(
    "path",
    ["", "/", "a", "a/b", "/a/", "//a", "/a//b", "/a b", "/a\n", "/builtin", "/builtin/map", "/\udc80", 5, None, b"/a"],
)
def test_unusable_paths(path: Any) -> None:
    with pytest.raises(ValueError, match="component"):
        Functions({path: plain})


@pytest.mark.parametrize("function", [None, 5, lambda: 1, lambda a, b, c: 1, lambda *, a: 1])
def test_unusable_functions(function: Any) -> None:
    with pytest.raises(ValueError, match="component '/f'"):
        Functions({"/f": function})


def optional(value: Any, other: int = 7) -> Any:
    return [value, other]


def with_context(value: Any, context: ComponentContext) -> Any:
    return [value, *context]


async def asynchronous(value: Any, context: ComponentContext) -> Any:
    await asyncio.sleep(0)
    return [value, *context]


class Callable:
    async def __call__(self, value: Any) -> Any:
        return [value]


@pytest.mark.parametrize(
    ("function", "output"),
    [
        (plain, 16),
        (math.sqrt, 4.0),
        (str, "16"),
        (optional, [16, 7]),
        (with_context, [16, "/f", "step", "run", 1]),
        (asynchronous, [16, "/f", "step", "run", 1]),
        (Callable(), [16]),
        (lambda *values: list(values), [16]),
    ],
)
async def test_how_functions_are_called(function: ComponentFunction, output: Any) -> None:
    functions = Functions({"/f": function})
    assert await functions.call(16, CONTEXT) == output
    await functions.close()


class Unprintable(Exception):
    def __str__(self) -> str:
        raise pytest.fail.Exception("no text")


@pytest.mark.parametrize(
    ("raised", "message"),
    [
        (ValueError("too few"), "ValueError: too few"),
        (StopIteration(), "StopIteration"),
        (pytest.fail.Exception("no"), "Failed: no"),
        (SystemExit(3), "SystemExit: 3"),
        (KeyboardInterrupt(), "KeyboardInterrupt"),
        (GeneratorExit(), "GeneratorExit"),
        (asyncio.CancelledError(), "CancelledError"),
        (asyncio.CancelledError("by me"), "CancelledError: by me"),
        (Unprintable(), "Unprintable: <unprintable>"),
        (OSError("a\udc80"), "OSError: a\\udc80"),
    ],
)
@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_whatever_a_function_raises_fails_it(raised: BaseException, message: str, kind: str) -> None:
    def fail(value: Any) -> Any:
        raise raised

    async def fail_later(value: Any) -> Any:
        await asyncio.sleep(0)
        raise raised

    functions = Functions({"/f": fail if kind == "plain" else fail_later})
    with pytest.raises(FunctionFailed) as caught:
        await functions.call(1, CONTEXT)
    # Python itself turns a StopIteration that leaves a coroutine into a RuntimeError.
    assert str(caught.value) == message or (kind == "async" and isinstance(raised, StopIteration))
    assert caught.value.trace is not None
    assert "test_functions.py" in caught.value.trace
    assert caught.value.trace.isascii()


async def test_an_exception_that_python_cannot_show_has_no_trace() -> None:
    def fail(value: Any) -> Any:
        raise SyntaxError("odd", ("file", 1, "a column", "text"))  # type: ignore[arg-type]

    with pytest.raises(FunctionFailed, match="SyntaxError: odd") as caught:
        await Functions({"/f": fail}).call(1, CONTEXT)
    assert caught.value.trace is None


async def test_a_task_that_was_cancelled_fails_the_function_that_awaits_it() -> None:
    async def wait_for_a_cancelled_task(value: Any) -> None:
        task = asyncio.ensure_future(asyncio.Event().wait())
        task.cancel()
        await task

    with pytest.raises(FunctionFailed, match=r"^CancelledError$") as caught:
        await Functions({"/f": wait_for_a_cancelled_task}).call(1, CONTEXT)
    assert "await task" in str(caught.value.trace)


async def test_a_call_that_is_cancelled_is_no_failure() -> None:
    entered = asyncio.Event()

    async def hold(value: Any) -> None:
        entered.set()
        await asyncio.Event().wait()

    call = asyncio.create_task(Functions({"/f": hold}).call(1, CONTEXT))
    await entered.wait()
    call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await call


async def test_plain_functions_may_wait_for_each_other() -> None:
    barrier = threading.Barrier(100)
    functions = Functions({"/f": lambda _: barrier.wait(60)})
    calls = await asyncio.gather(*(functions.call(None, CONTEXT) for _ in range(100)))
    assert sorted(calls) == list(range(100))


async def test_closing_waits_for_functions_that_were_abandoned() -> None:
    entered, released = threading.Event(), threading.Event()
    ends = []

    def hold(value: Any) -> None:
        entered.set()
        released.wait()
        ends.append(value)

    functions = Functions({"/f": hold})
    call = asyncio.create_task(functions.call(1, CONTEXT))
    await asyncio.to_thread(entered.wait)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    closing = asyncio.create_task(functions.close())
    await asyncio.sleep(0)
    assert not closing.done()
    released.set()
    await closing
    assert ends == [1]


async def test_a_function_that_does_not_return_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.testing.functions.THREAD_GRACE", 0.0)
    released, threads = threading.Event(), []

    def hold(value: Any) -> None:
        threads.append(threading.current_thread())
        released.wait()

    functions = Functions({"/f": hold})
    call = asyncio.create_task(functions.call(1, CONTEXT))
    await asyncio.sleep(0)
    call.cancel()
    await asyncio.gather(call, return_exceptions=True)
    with pytest.warns(UserWarning, match="component /f has not returned"):
        await functions.close()
    await functions.close()  # It is named once.
    released.set()
    await asyncio.to_thread(threads[0].join)


def test_functions_are_taken_as_they_are_when_the_gateway_is_made() -> None:
    functions: dict[str, ComponentFunction] = {"/f": plain}
    taken = Functions(functions)
    functions.clear()
    assert isinstance(functions, Mapping)
    assert taken.paths == ["/f"]
