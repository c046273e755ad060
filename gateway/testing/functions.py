"""Python functions as components: how they are checked, called, and waited for."""

import asyncio
import inspect
import threading
import traceback
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any, Final, NamedTuple, TypeAlias

ComponentFunction: TypeAlias = Callable[..., Any]
"""A component: a function, plain or `async`, from the input of a step to its output, as Python values of JSON.

A function with two required parameters gets a `ComponentContext` as the second. An exception fails the step.
"""

THREAD_GRACE: Final = 5.0
"""Seconds that plain functions get to return when the gateway stops. No thread can be ended from outside."""

_RESERVED: Final = "/builtin"


class ComponentContext(NamedTuple):
    """One execution of a component: its path, the step, the run, and the number of the attempt, counted from 1."""

    component: str
    step_id: str | None
    run_id: str | None
    attempt: int


class FunctionFailed(Exception):
    """A component has failed; the message is for the client. `trace` is the traceback of the function, if it raised."""

    def __init__(self, message: str, trace: str | None = None) -> None:
        super().__init__(message)
        self.trace = trace


class Functions:
    """The components of a gateway, by their paths. Raises ValueError if a path or a function is unusable.

    `async` functions run on the event loop of the gateway. Each call of a plain one has a thread of its own, so that a
    function may block, and may itself wait for runs of the same gateway.
    """

    def __init__(self, functions: Mapping[str, ComponentFunction]) -> None:
        self._functions = dict(functions)
        self._takes_context = {path: _checked(path, function) for path, function in functions.items()}
        self._in_threads: dict[asyncio.Future[tuple[Any, BaseException | None]], str] = {}

    @property
    def paths(self) -> list[str]:
        """The paths of all components."""
        return list(self._functions)

    async def call(self, value: Any, context: ComponentContext) -> Any:
        """Call the function of a component. Raises FunctionFailed if it raises.

        Cancelling the call cancels an `async` function; a plain one goes on.
        """
        function = self._functions[context.component]
        arguments = (value, context) if self._takes_context[context.component] else (value,)
        try:
            if inspect.iscoroutinefunction(function):
                return await function(*arguments)
            returned, raised = await self._call_in_thread(function, arguments, context.component)
            if raised is not None:
                raise raised
            return await returned if inspect.isawaitable(returned) else returned
        except BaseException as error:  # The failures of pytest and of others are no Exception.
            if isinstance(error, asyncio.CancelledError) and _is_cancelled():
                raise
            raise FunctionFailed(described(error), _trace(error)) from error

    async def close(self) -> None:
        """Wait until the plain functions have returned. Those that take too long are named in a warning."""
        if self._in_threads:
            await asyncio.wait(self._in_threads, timeout=THREAD_GRACE)
        late, self._in_threads = self._in_threads, {}  # A gateway that starts again does not wait for them.
        for path in sorted(set(late.values())):
            warnings.warn(f"component {path} has not returned although the gateway has stopped", stacklevel=2)

    async def _call_in_thread(
        self, function: ComponentFunction, arguments: tuple[Any, ...], path: str
    ) -> tuple[Any, BaseException | None]:
        """The value that a function has returned, and the exception that it has raised."""
        loop = asyncio.get_running_loop()
        outcome: asyncio.Future[tuple[Any, BaseException | None]] = loop.create_future()

        def run() -> None:
            value, raised = None, None
            try:
                value = function(*arguments)
            except BaseException as error:
                raised = error
            with suppress(RuntimeError):  # The loop is closed: the function has outlived the gateway.
                loop.call_soon_threadsafe(end, value, raised)

        def end(value: Any, raised: BaseException | None) -> None:
            thread.join()
            self._in_threads.pop(outcome, None)
            outcome.set_result((value, raised))

        thread = threading.Thread(target=run, name=f"component {path}", daemon=True)
        self._in_threads[outcome] = path
        thread.start()
        return await asyncio.shield(outcome)


def _checked(path: object, function: ComponentFunction) -> bool:
    """Whether a function takes a context. Raises ValueError if the path or the function is unusable."""
    if not isinstance(path, str) or path != _sendable(path):
        raise ValueError(f"component {path!r}: a path is text that can be sent")
    root, *segments = path.split("/")
    if root or not segments or not all(segments) or any(character.isspace() for character in path):
        raise ValueError(f"component {path!r}: a path is written /name or /group/name")
    if path == _RESERVED or path.startswith(f"{_RESERVED}/"):
        raise ValueError(f"component {path!r}: {_RESERVED} is reserved")
    if not callable(function):
        raise ValueError(f"component {path!r}: expected a function, got {function!r}")
    try:
        signature = inspect.signature(function)
    except ValueError:
        return False  # Functions in C need not tell their parameters.
    if _accepts(signature, 1):
        return False
    if not _accepts(signature, 2):
        raise ValueError(f"component {path!r}: the function must take the input, and may take a context: {signature}")
    return True


def _accepts(signature: inspect.Signature, number: int) -> bool:
    try:
        signature.bind(*range(number))
    except TypeError:
        return False
    return True


def _is_cancelled() -> bool:
    """Whether this call is being cancelled. If not, a CancelledError is a failure of the function."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def described(error: BaseException) -> str:
    """The type and the message of an exception, as text that can be sent."""
    name = type(error).__name__
    try:
        message = str(error)
    except BaseException:
        message = "<unprintable>"
    return _sendable(f"{name}: {message}" if message else name)


def _trace(error: BaseException) -> str | None:
    try:
        return _sendable("".join(traceback.format_exception(error)))
    except Exception:  # A SyntaxError may have a position that Python cannot show.
        return None


def _sendable(text: str) -> str:
    """Text without surrogates, which the names of files may bring along."""
    return text.encode(errors="backslashreplace").decode()
