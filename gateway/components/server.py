"""A component server that listens: the handshake, its components, and their execution."""

import asyncio
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Final, NamedTuple

import msgspec
from msgspec import Raw

from gateway.components.error import Code, ComponentError
from gateway.components.exchange import NOTHING, Address, Callback, Exchange, notify
from gateway.components.long_message import LongResult
from gateway.components.message import broken
from gateway.components.seats import Seat
from gateway.core.counted import counted
from gateway.core.model import JsonText, ObservabilityContext

PROTOCOL_VERSION: Final = 1
_METHOD_NOT_FOUND: Final = -32601
_KNOWN_INSTANCES: Final = 64


class Execution(NamedTuple):
    """One execution of a component.

    `component` is its path on the server: "/double". `attempt` counts from 1. `scope` names the task, and is the same
    in all its attempts. It may take `timeout` seconds; None: any time. `carried` is the trace that it belongs to, as
    headers; nothing while tracing is off.
    """

    component: str
    input: JsonText
    attempt: int
    observability: ObservabilityContext
    scope: str
    timeout: float | None = None
    carried: Mapping[str, str] = NOTHING


class _Listed(msgspec.Struct):
    component: str


class _ComponentList(msgspec.Struct):
    components: list[_Listed]


class _Executed(msgspec.Struct):
    output: Raw


class Server:
    """A component server at an address, in its seat. `introduced`: the
    handshake was made, and nothing has hinted since that another process listens there now. `lost` is set when that
    ends.
    """

    def __init__(self, address: Address, callback: Callback, seat: Seat) -> None:
        self.introduced = False
        self.lost = asyncio.Event()
        self._address = address
        self._callback = callback
        self._seat = seat
        self._listed: frozenset[str] | None = None
        self._instances: deque[str] = deque(maxlen=_KNOWN_INSTANCES)
        self._running: set[asyncio.Timeout] = set()
        self._end_reason: ComponentError | None = None
        self._end = asyncio.Event()

    @property
    def url(self) -> str:
        """Where it listens."""
        return self._address.url

    async def handshake(self) -> None:
        """Introduce both sides, and learn which components the server has.

        Raises ComponentError if the server does not answer as the protocol says.
        """
        # Both spellings: SDKs up to 0.9 demand the second. Without a blobThreshold, SDKs leave payloads in place.
        version = {"runtimeProtocolVersion": PROTOCOL_VERSION, "runtime_protocol_version": PROTOCOL_VERSION}
        url = self._seat.blob_api_url
        await self._ask("initialize", {**version, "capabilities": {} if url is None else {"blobApiUrl": url}})
        with self._in_time():
            async with asyncio.timeout(self._address.limits.handshake_timeout):
                await notify(self._address, "initialized", {})
        self._listed = await self._list()
        self.introduced = True
        self.lost.clear()

    async def offers(self, component: str) -> bool:
        """Whether the server has a component; True if it cannot be told.

        A component that is not listed may exist: SDKs do not list those with parameters in their paths, and list
        nothing if they cannot describe every component.
        """
        if self._listed is not None and component in self._listed:
            return True
        try:
            await self._ask("components/info", {"component": component})
        except ComponentError as error:
            if error.code == _METHOD_NOT_FOUND:
                return self._listed is None
            return error.code != Code.COMPONENT_NOT_FOUND
        return True

    async def execute(self, execution: Execution) -> JsonText:
        """Execute a component and return its output. Raises ComponentError if it has none."""
        exchange = Exchange(self._address, self._callback, execution.scope, execution.observability, execution.carried)
        scope = asyncio.timeout(execution.timeout)
        try:
            async with scope:
                self._running.add(scope)
                with self._seat.executing(execution.scope):
                    result = await exchange.call("components/execute", _params(execution))
        except TimeoutError:
            if self._end_reason is not None:
                raise self._end_reason.again() from None
            waited = counted(execution.timeout or 0, "second")
            raise ComponentError(Code.TIMED_OUT, f"the component did not finish within {waited}") from None
        except ComponentError as error:
            if error.unreachable:
                self._forget()
            raise
        finally:
            self._running.discard(scope)
            self._meet(exchange.instance)
        return await result.output(exchange.line) if isinstance(result, LongResult) else _output(result)

    def end(self, reason: ComponentError) -> None:
        """Make all executions fail for this reason: the server is gone."""
        self._end_reason = reason
        self._end.set()
        now = asyncio.get_running_loop().time()
        for scope in self._running:
            if not scope.expired():
                scope.reschedule(now)

    async def ended(self, patience: float) -> None:
        """Wait up to `patience` seconds for the end."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience):
                await self._end.wait()

    def _meet(self, instance: str | None) -> None:
        """Note which process answered. One that was not there before has to be introduced."""
        if instance is None or instance in self._instances:
            return
        if self._instances:
            self._forget()
        self._instances.append(instance)

    def _forget(self) -> None:
        self.introduced = False
        self.lost.set()

    async def _list(self) -> frozenset[str] | None:
        """Return the components that the server lists; None if it does not list them."""
        try:
            result = await self._ask("components/list", {})
        except ComponentError as error:
            if error.unreachable:
                raise
            return None
        try:
            listed = msgspec.json.decode(result, type=_ComponentList).components
        except (msgspec.DecodeError, RecursionError):
            raise broken("a malformed list of components", recurs=False) from None
        return frozenset("/" + entry.component.lstrip("/") for entry in listed)

    async def _ask(self, method: str, params: Mapping[str, object]) -> Raw:
        with self._in_time():
            async with asyncio.timeout(self._address.limits.handshake_timeout):
                result = await Exchange(self._address).call(method, params)
                return Raw(result.text[slice(*result.span)]) if isinstance(result, LongResult) else result

    @contextmanager
    def _in_time(self) -> Iterator[None]:
        try:
            yield
        except TimeoutError:
            raise ComponentError(Code.TIMED_OUT, "the component server does not answer", unreachable=True) from None
        except ComponentError as error:
            error.recurs = False  # Nothing was executed, so another attempt costs little.
            raise


def _params(execution: Execution) -> dict[str, object]:
    context = execution.observability
    observability: dict[str, object] = {name: Raw(text.encode()) for name, text in context.extensions.items()}
    for name in ("trace_id", "span_id", "run_id", "flow_id", "step_id"):
        if (value := getattr(context, name)) is not None:
            observability[name] = value
    params = {
        "component": execution.component,
        "input": Raw(execution.input.encode()),
        "attempt": execution.attempt,
        "observability": observability,
    }
    if execution.carried:
        params["_meta"] = execution.carried
    return params


def _output(result: Raw) -> JsonText:
    try:
        return bytes(msgspec.json.decode(result, type=_Executed).output).decode()
    except (msgspec.DecodeError, RecursionError):
        raise broken("an execution without an output") from None
