"""The backend of a gateway whose runs are on a Temporal server.

The SDK is an extra, and takes long to import: what imports it is imported when it is needed.
"""

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Final

from gateway.concurrency.memory_account import MemoryAccount
from gateway.flows.files import Files
from gateway.flows.flow_cache import FlowCache
from gateway.flows.nesting import Nesting
from gateway.runs.patient_runtime import PatientRuntime
from gateway.runtimes.temporal.address import TemporalAddress
from gateway.server.backend import Backend, ExecutingBackend, open_fronts_access
from gateway.server.component_servers import open_components
from gateway.server.object_storage import open_objects
from gateway.server.payload_keys import payload_keys
from gateway.server.settings import ServeSettings
from gateway.server.temporal_sdk import check_sdk
from gateway.server.tls_checks import upstream_credentials
from gateway.storage.payload_keys import PayloadKeys
from gateway.telemetry.gateway_metrics import UPSTREAM_UP

if TYPE_CHECKING:
    from gateway.runtimes.temporal.connection import TemporalConnection

CONNECT_SECONDS: Final = 2.0
"""Seconds that a gateway that starts waits for the engine, before it serves without it."""


async def open_temporal(settings: ServeSettings, account: MemoryAccount, stack: AsyncExitStack) -> Backend:
    """Open the backend; `stack` closes it. What it keeps for clients draws from `account`.

    Raises SettingsError if a setting cannot be used, and StartError if what it names cannot.
    """
    keys = await payload_keys(settings)
    objects = await open_objects(settings, account, stack, keys)
    connection = await open_connection(settings, stack, keys)
    components = open_components(settings, account, stack)
    from gateway.runtimes.temporal.runtime import TemporalRuntime

    runtime = TemporalRuntime(
        connection,
        objects,
        components,
        account=account,
        nesting=Nesting(settings.max_depth, settings.max_descendants, account),
        flows=FlowCache(settings.max_flow_bytes, account),
        files=Files(settings.directories, account),
        max_executing_items=settings.max_executing_items,
        run_timeout=settings.run_timeout,
        works=settings.executes,
    )
    stack.push_async_callback(runtime.close)
    access = await open_fronts_access(settings, stack)
    backend = ExecutingBackend(runtime, components, account, access, inside=PatientRuntime(runtime))
    stack.push_async_callback(backend.close)
    return backend


async def open_connection(
    settings: ServeSettings, stack: AsyncExitStack, keys: PayloadKeys | None = None
) -> "TemporalConnection":
    """The connection to the engine, which may be away; `stack` closes it. With `keys`, what it sees is encrypted.

    Raises StartError if the SDK is not installed, or a file of credentials cannot be used.
    """
    check_sdk()
    from gateway.runtimes.temporal.connection import TemporalConnection
    from gateway.runtimes.temporal.converter import data_converter
    from gateway.runtimes.temporal.setup import preparation

    address = TemporalAddress.parse(settings.runtime)
    connection = TemporalConnection(
        address, upstream_credentials(settings), prepare=preparation(address), data_converter=data_converter(keys)
    )
    stack.push_async_callback(connection.close)
    stack.enter_context(UPSTREAM_UP.read_from(lambda: not connection.presence.is_away(), "temporal"))
    await connection.connect(CONNECT_SECONDS)
    return connection
