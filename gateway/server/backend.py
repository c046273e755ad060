"""Everything behind the fronts of a gateway: the runtime that the settings name, and the services over it."""

from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING

from gateway.access.access import Access, ComponentAccess, OpenAccess
from gateway.access.capabilities import Capabilities, ServersAccess
from gateway.bridge import Bridge
from gateway.components import Components, ComponentServerView, asks_for_runs
from gateway.concurrency.bounded_cache import BoundedCache
from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.caller import Caller
from gateway.core.errors import GatewayError, ParentCancelled, RunNotFound
from gateway.core.owner import Owner, Permission
from gateway.core.runtime import Runtime
from gateway.flows.nesting import Nesting
from gateway.fronts.http.methods import JsonRpcMethods
from gateway.runs.service import RunsService
from gateway.runs.services import RunsServices
from gateway.runtimes.embedded.runtime import EmbeddedRuntime
from gateway.runtimes.jsonrpc.dialect import Dialect
from gateway.runtimes.jsonrpc.runtime import JsonRpcRuntime
from gateway.runtimes.relay.linked import LinkedRuntime
from gateway.runtimes.relay.runtime import RelayRuntime
from gateway.runtimes.stepflow.release import EngineError, Release, release_at
from gateway.runtimes.stepflow.runtime import StepflowRuntime
from gateway.server.access import open_access
from gateway.server.component_blobs import check_blob_api_url, namespaces_of, url_for
from gateway.server.component_servers import component_limits, open_components
from gateway.server.executing_runtime import ExecutingRuntime
from gateway.server.kept_time import retention_of
from gateway.server.setting_forms import RuntimeKind
from gateway.server.settings import BridgeSettings, ServeSettings, SettingsError, StartError
from gateway.server.tls_checks import upstream_credentials
from gateway.storage.idempotency import Keys
from gateway.storage.owned_file import StateError
from gateway.telemetry.gateway_metrics import STATE_UP, UPSTREAM_UP

if TYPE_CHECKING:
    from gateway.runtimes.temporal.runtime import TemporalRuntime

CONNECT_SECONDS = 2.0
"""Seconds that a gateway that starts waits for its upstream, before it serves without it."""

OWNERS = 10_000
"""The owners of how many runs a bridge remembers."""


class Backend:
    """A runtime, and the services over it that the fronts serve. What they hold for clients draws from `account`.

    `access` finds the callers of the fronts. What executes here is served through `inside`, or as all others are.
    """

    def __init__(
        self, runtime: Runtime, account: MemoryAccount, access: Access | None = None, *, inside: Runtime | None = None
    ) -> None:
        self.runtime = runtime
        self.service = self.inner_service = RunsService(runtime, account=account)
        self.services = self._inner_services = RunsServices(self.service)
        if inside is not None:
            self.inner_service = RunsService(inside, account=account, shared=self.service.shared)
            self._inner_services = RunsServices(self.inner_service)
        self.access = access or OpenAccess()
        self.methods = JsonRpcMethods(self.services, access=self.access)
        # Apart from those of the front: its queue refuses clients when it is long.
        self.component_access = ComponentAccess()
        share = account.share("component_callbacks")
        self._component_methods = JsonRpcMethods(self._inner_services, share, access=self.component_access)
        self.component_servers: Callable[[], list[ComponentServerView]] = list

    async def start(self, blob_api_url: str | None) -> None:
        """Start component servers, if they are in this process, and tell them the URL of the blob API."""

    def admit_servers(self, key: bytes, blob_api_url: str | None) -> None:
        """Let component servers in, if there are identities, by capabilities that are made with a key.

        Raises SettingsError if a capability has no place in the URL that the settings give to the blob API.
        """
        if self.access.configured:
            check_blob_api_url(blob_api_url)
            self.access.capabilities = Capabilities(key)

    def resume(self) -> None:
        """Go on with unfinished runs in the background, if they are in this process, after `start`."""

    async def finish_tasks(self) -> None:
        """Take no more tasks, and wait for those that have begun. Runs that wait for tasks still make progress."""

    async def stop_components(self) -> None:
        """Stop the component servers, if only the runtime of this process calls them, and it has drained."""

    async def close(self) -> None:
        """End the calls that wait for runs. The runtime is closed by the stack that opened it."""
        if self._inner_services is not self.services:
            await self._inner_services.close()
        await self.services.close()

    async def serve_component(self, body: bytes, scope: str) -> bytes | None:
        """Answer the JSON-RPC request of a component; `scope` is the task that it executes."""
        await self._component_methods.fair_queue.yield_turn()
        try:
            owner = await self.owner_of(scope)
        except GatewayError as error:
            return await self._component_methods.refuse(body, error)
        return await self._component_methods.call(body, scope, Caller.of_component(owner))

    async def owner_of(self, scope: str) -> Owner | None:
        """The owner of the run whose task `scope` is; None is nobody. Raises RunNotFound if there is no such task."""
        raise RunNotFound("no component executes anything here")


class ExecutingBackend(Backend):
    """A runtime that executes items in this process, with the component servers that it calls."""

    def __init__(
        self,
        runtime: "EmbeddedRuntime | TemporalRuntime",
        components: Components,
        account: MemoryAccount,
        access: Access | None = None,
        *,
        inside: Runtime | None = None,
    ) -> None:
        super().__init__(runtime, account, access, inside=inside)
        self._runtime: ExecutingRuntime = runtime
        self._components = components
        self.services.server_namespaces = self._namespaces
        self.component_servers = lambda: components.servers
        components.on_change(runtime.readiness.report_components)

    async def start(self, blob_api_url: str | None) -> None:
        await self._components.start(
            self.serve_component, blob_api_url, url_for=partial(url_for, self.access, blob_api_url)
        )
        await self._runtime.start(self.inner_service)

    def resume(self) -> None:
        self._runtime.resume()

    async def stop_components(self) -> None:
        await self._components.close()

    async def _namespaces(self, server: str, permission: Permission) -> set[str]:
        return await namespaces_of(self._components.tasks_of(server), permission, self.owner_of)

    async def owner_of(self, scope: str) -> Owner | None:
        return self._runtime.owner_of(scope)

    async def serve_component(self, body: bytes, scope: str) -> bytes | None:
        try:
            self._runtime.refuse_cancelled(scope)
        except ParentCancelled as error:
            return await self._component_methods.refuse(body, error)
        if asks_for_runs(body):
            self._runtime.waits_for_runs(scope)
        return await super().serve_component(body, scope)


class BridgedBackend(Backend):
    """A runtime elsewhere, with a bridge that executes the tasks of an engine's queue here."""

    def __init__(self, runtime: Runtime, bridge: Bridge, account: MemoryAccount, access: Access | None = None) -> None:
        super().__init__(runtime, account, access)
        self._bridge = bridge
        self._owners: BoundedCache[str, Owner] = BoundedCache(OWNERS)
        self.services.server_namespaces = self._namespaces
        self.component_servers = lambda: bridge.component_servers
        bridge.on_components_change(runtime.readiness.report_components)
        if isinstance(runtime, StepflowRuntime | RelayRuntime):
            runtime.run_contexts = bridge.run_contexts
        if isinstance(runtime, StepflowRuntime):
            # The engine tells a bridge by and by; this process knows it at once.
            runtime.on_cancelled(bridge.cancel_run)

    async def start(self, blob_api_url: str | None) -> None:
        await self._bridge.start(
            self.serve_component, blob_api_url, url_for=partial(url_for, self.access, blob_api_url)
        )

    async def finish_tasks(self) -> None:
        await self._bridge.drain()

    async def _namespaces(self, server: str, permission: Permission) -> set[str]:
        return await namespaces_of(self._bridge.tasks_of(server), permission, self.owner_of)

    async def owner_of(self, scope: str) -> Owner | None:
        run_id = self._bridge.run_of(scope)
        if run_id is None:
            raise RunNotFound("the task has ended")
        owner = self._owners.use(run_id)
        if owner is None:
            # Only runs that were submitted here are known to belong to somebody.
            with suppress(RunNotFound):
                owner = await self.runtime.owner_of_run(run_id)
            owner = owner or Owner()
            self._owners.put(run_id, owner)
        return owner

    async def close(self) -> None:
        # First the bridge: a task must not fail because the service refuses the runs that it asks for.
        await self._bridge.close()
        await super().close()


async def open_backend(
    settings: ServeSettings, account: MemoryAccount, stack: AsyncExitStack, *, is_worker: bool = False
) -> Backend:
    """Open the backend of a gateway; `stack` closes it. What it keeps for clients draws from `account`.

    A worker is as ready as its upstream, which is of the same gateway; other relays answer for themselves.
    Raises SettingsError if a setting cannot be used, and StartError if the state or the engine cannot.
    """
    if settings.runtime_kind is RuntimeKind.EMBEDDED:
        return await _embedded(settings, account, stack)
    if settings.runtime_kind is RuntimeKind.TEMPORAL:
        from gateway.server.temporal_backend import open_temporal

        return await open_temporal(settings, account, stack)
    if is_worker:
        return await _worker(settings, account, stack)
    return await _elsewhere(settings, account, stack, _http_url(settings), "--runtime")


async def open_bridge(settings: BridgeSettings, account: MemoryAccount, stack: AsyncExitStack) -> Backend:
    """Open the backend of a bridge; `stack` closes it. Raises as `open_backend` does."""
    if settings.gateway is not None:
        await _refuse_without_queues(settings)
    return await _elsewhere(settings.as_serve(), account, stack, settings.engine, "--engine")


async def _embedded(settings: ServeSettings, account: MemoryAccount, stack: AsyncExitStack) -> Backend:
    components = open_components(settings, account, stack)
    try:
        nesting = Nesting(settings.max_depth, settings.max_descendants, account)
        runtime = await EmbeddedRuntime.open(
            settings.state,
            components,
            account=account,
            nesting=nesting,
            max_flow_bytes=settings.max_flow_bytes,
            max_executing_items=settings.max_executing_items,
            file_directories=settings.directories,
            run_timeout=settings.run_timeout,
            retention=retention_of(settings),
        )
    except StateError as error:
        raise StartError(f"{error} (--state)") from None
    stack.push_async_callback(runtime.close)
    stack.enter_context(runtime.gauged())
    stack.enter_context(STATE_UP.read_from(lambda: runtime.readiness.obstacle is None, "embedded"))
    backend = ExecutingBackend(runtime, components, account, await open_fronts_access(settings, stack))
    stack.push_async_callback(backend.close)
    return backend


async def open_fronts_access(settings: ServeSettings, stack: AsyncExitStack) -> Access:
    """The access of the fronts of this process. With workers, the fronts are in these, and so is the access."""
    if settings.workers > 1:
        return ServersAccess() if settings.has_identities else OpenAccess()
    return await open_access(settings, stack)


async def _elsewhere(
    settings: ServeSettings, account: MemoryAccount, stack: AsyncExitStack, engine: str, flag: str
) -> Backend:
    """A runtime elsewhere, bridged if there is a queue: that of the engine at the URL `engine`, which `flag` sets."""
    match settings.runtime_kind:
        case RuntimeKind.RELAY:
            runtime: Runtime = await _relay(settings, stack)
        case RuntimeKind.JSONRPC:
            runtime = await _jsonrpc(settings, account, stack)
        case RuntimeKind.STEPFLOW:
            runtime = await _stepflow(settings, account, stack, flag)
        case RuntimeKind.EMBEDDED | RuntimeKind.TEMPORAL:
            raise AssertionError("these runs are not elsewhere")
    kind = settings.runtime_kind.name.lower()
    stack.enter_context(UPSTREAM_UP.read_from(lambda: not runtime.readiness.upstream_is_away(), kind))
    if not isinstance(runtime, RelayRuntime):
        # The keys of submits, for runtimes that know none.
        stack.enter_context(STATE_UP.read_from(lambda: runtime.readiness.obstacle is None, kind))
    access = await open_fronts_access(settings, stack)
    backend = (
        Backend(runtime, account, access)
        if settings.queue is None
        else BridgedBackend(runtime, _bridge(settings, engine, settings.queue, account), account, access)
    )
    stack.push_async_callback(backend.close)
    return backend


async def _worker(settings: ServeSettings, account: MemoryAccount, stack: AsyncExitStack) -> Backend:
    """The runtime of the gateway that this process is a worker of."""
    runtime = LinkedRuntime(settings.runtime)
    stack.push_async_callback(runtime.close)
    await runtime.connect(CONNECT_SECONDS)
    await runtime.follow_readiness()
    backend = Backend(runtime, account, await open_fronts_access(settings, stack))
    stack.push_async_callback(backend.close)
    return backend


async def _relay(settings: ServeSettings, stack: AsyncExitStack) -> Runtime:
    runtime = RelayRuntime(settings.runtime, credentials=upstream_credentials(settings))
    stack.push_async_callback(runtime.close)
    # It starts without its upstream as well: the two can then be started, and restarted, in any order.
    await runtime.connect(CONNECT_SECONDS)
    return runtime


async def _jsonrpc(settings: ServeSettings, account: MemoryAccount, stack: AsyncExitStack) -> Runtime:
    dialect = None if settings.dialect is None else Dialect(settings.dialect)
    runtime = JsonRpcRuntime(
        _http_url(settings),
        await _keys(settings, stack),
        dialect=dialect,
        account=account,
        credentials=upstream_credentials(settings),
    )
    stack.push_async_callback(runtime.close)
    await runtime.connect(CONNECT_SECONDS)
    return runtime


async def _stepflow(settings: ServeSettings, account: MemoryAccount, stack: AsyncExitStack, flag: str) -> Runtime:
    keys = await _keys(settings, stack)
    try:
        runtime = await StepflowRuntime.open(
            _http_url(settings),
            keys,
            lossy_numbers=settings.lossy_numbers,
            account=account,
            credentials=upstream_credentials(settings),
        )
    except EngineError as error:
        raise StartError(f"{error} ({flag})") from None
    stack.push_async_callback(runtime.close)
    if settings.queue is not None:
        _check_queues(runtime.release, flag)
    return runtime


async def _keys(settings: ServeSettings, stack: AsyncExitStack) -> Keys:
    try:
        keys = await Keys.open(settings.state)
    except StateError as error:
        raise StartError(f"{error} (--state)") from None
    stack.push_async_callback(keys.close)
    return keys


def _http_url(settings: ServeSettings) -> str:
    """The URL of a runtime that is reached over HTTP."""
    return settings.runtime.removeprefix(f"{settings.runtime_kind}+")


def _bridge(settings: ServeSettings, engine: str, queue: str, account: MemoryAccount) -> Bridge:
    try:
        return Bridge(
            engine,
            queue,
            settings.components,
            environment=settings.component_env,
            max_tasks=settings.max_tasks,
            lossy_numbers=settings.lossy_numbers,
            share=account.share("component_requests"),
            limits=component_limits(settings),
            credentials=upstream_credentials(settings),
        )
    except ValueError as error:
        raise SettingsError(f"{error} (--component)") from None


async def _refuse_without_queues(settings: BridgeSettings) -> None:
    try:
        release = await release_at(settings.engine, upstream_credentials(settings))
    except EngineError as error:
        raise StartError(f"{error} (--engine)") from None
    _check_queues(release, "--engine")


def _check_queues(release: Release, flag: str) -> None:
    if not release.has_queues:
        raise StartError(
            f"the engine is of release {release.name}, which has no queues: it calls JSON-RPC component servers"
            f" itself; a bridge is for 0.12 and later ({flag})"
        )
