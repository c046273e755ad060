"""The connection to a namespace of a Temporal server: clients of the SDK, and whether the server is there.

A gateway starts without its engine, and goes on when it is there. Files of credentials are followed: a token is
replaced, and with other certificates come other clients.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Final

from temporalio.client import Client
from temporalio.converter import DataConverter
from temporalio.service import (
    GrpcCompression,
    KeepAliveConfig,
    PayloadLimitsConfig,
    RetryConfig,
    RPCError,
    TLSConfig,
)

from gateway.concurrency.tasks import create_shared_task
from gateway.core.client_tls import ClientTls
from gateway.core.errors import GatewayError
from gateway.core.tls_files import TlsFileError, file_stamps
from gateway.core.token_file import LOOK_SECONDS
from gateway.core.upstream_credentials import NO_CREDENTIALS, UpstreamCredentials
from gateway.core.upstream_refusals import UpstreamRefusals
from gateway.runtimes.temporal.address import TemporalAddress
from gateway.runtimes.temporal.engine_call import EngineCall, told_error
from gateway.runtimes.temporal.engine_errors import (
    AWAY,
    EngineAbsent,
    EngineFailure,
    connect_error,
    engine_error,
    refused_preparation,
)
from gateway.runtimes.temporal.presence import PATIENCE_SECONDS, EnginePresence
from gateway.runtimes.temporal.sdk_runtime import sdk_metrics, sdk_runtime
from gateway.runtimes.temporal.timely_calls import CALL_TIMEOUT, TimelyCalls
from gateway.telemetry.semconv import SpanAttributes, server_attributes

CONNECT_SECONDS: Final = 5.0
"""How long an attempt to connect may take."""

WATCH_SECONDS: Final = 5.0
"""How often a server is asked whether it is well. Then an outage is noticed also while no client calls."""

WORKER_PATIENCE: Final = 300.0
"""How long a worker goes on telling a server that is away what it has executed."""

_KEEP_ALIVE: Final = KeepAliveConfig(interval_millis=15_000, timeout_millis=10_000)
"""Servers refuse pings that come more often than every 10 seconds."""

_NO_WARNINGS: Final = PayloadLimitsConfig(payloads_warn_size=0, memo_warn_size=0)
"""What is long goes to object storage; the engine has limits of its own."""

_log = logging.getLogger(__name__)

Prepare = Callable[[Client], Awaitable[None]]
"""Makes a namespace ready for runs. May raise RPCError, and GatewayError."""


class TemporalConnection:
    """The namespace at an address. Create, use and close it in one event loop.

    `prepare` is awaited whenever the server has been found, before any call is made. Payloads pass `data_converter`,
    that of the SDK if it is None.
    """

    def __init__(
        self,
        address: TemporalAddress,
        credentials: UpstreamCredentials = NO_CREDENTIALS,
        *,
        prepare: Prepare | None = None,
        data_converter: DataConverter | None = None,
        patience: float = PATIENCE_SECONDS,
    ) -> None:
        self.address = address
        self.presence = EnginePresence(str(address), self.look, patience)
        self.refusals = UpstreamRefusals("the engine", str(address))
        self.server_attributes: SpanAttributes = server_attributes(address.target)
        self.on_worker_client: Callable[[Client], None] | None = None
        """Called with the client that workers are to use from now on, when there is another one."""
        self._credentials = credentials
        self._prepare = prepare
        self._converter = data_converter or DataConverter.default
        self._patience = patience
        self._client: Client | None = None
        self._worker_client: Client | None = None
        self._authorization = ""
        self._stamps = file_stamps(self._tls_paths)
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def client(self) -> Client:
        """The client of the SDK. There is one once the engine has been found."""
        assert self._client is not None, "no call is made before the engine is there"
        return self._client

    def engine_call(self, method: str, *, waits: bool = False) -> EngineCall:
        """A block in which one call is made, by the client that it gives. All calls on the engine are made so."""
        return EngineCall(self, method, waits=waits)

    async def connect(self, seconds: float) -> bool:
        """Look for the engine, and wait for it so long. False if it is away: then it is looked for."""
        if not self._tasks:
            self._tasks.append(create_shared_task(self._watch()))
            self._tasks.append(create_shared_task(sdk_metrics().follow()))
            if self._credentials.token is not None or self._tls_paths:
                self._tasks.append(create_shared_task(self._follow_files()))
        return await self.presence.found(seconds)

    async def worker_client(self) -> Client:
        """The client for workers, which goes on for minutes with a call that tells what has been executed.

        Raises Unavailable if the engine is away.
        """
        await self.presence.here()
        if self._worker_client is None:
            self._worker_client = await self._connected(WORKER_PATIENCE)
        return self._worker_client

    async def close(self) -> None:
        """Stop looking for the engine. The SDK closes connections when nobody has the clients any more."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self.presence.close()
        self._client = self._worker_client = None

    async def look(self) -> None:
        """Connect, and prepare the namespace. Raises GatewayError unless it can be used now."""
        if self._client is None:
            self._client = await self._connected(self._patience)
        try:
            if self._prepare is not None:
                await self._prepare(self._client)
        except RPCError as error:
            raise (told_error(self.refusals, error) or refused_preparation(error)) from None
        self.refusals.accepted()

    async def _connected(self, patience: float) -> Client:
        """A client that repeats a call so long if there is no answer. Raises GatewayError if it cannot connect."""
        token = self._credentials.token
        self._authorization = "" if token is None else token.authorization
        try:
            # Reading the authorities of a system takes milliseconds.
            tls = await asyncio.to_thread(_tls_config, self._credentials.tls) if self.address.encrypted else False
            async with asyncio.timeout(CONNECT_SECONDS):
                return await Client.connect(
                    self.address.target,
                    namespace=self.address.namespace,
                    data_converter=self._converter,
                    interceptors=[TimelyCalls()],
                    tls=tls,
                    retry_config=_retries(patience),
                    keep_alive_config=_KEEP_ALIVE,
                    rpc_metadata=self._metadata,
                    runtime=sdk_runtime(),
                    # The engine is near, and compressing takes longer than sending.
                    grpc_compression=GrpcCompression.NONE,
                    payload_limits=_NO_WARNINGS,
                )
        except TlsFileError as error:
            raise EngineAbsent(AWAY, str(error)) from None
        except TimeoutError:
            raise EngineAbsent(AWAY) from None
        except RuntimeError as error:
            _log.debug("no connection to the engine: %s", error)
            raise self.refusals.told(connect_error(error)) from None

    @property
    def _metadata(self) -> dict[str, str | bytes]:
        return {"authorization": self._authorization} if self._authorization else {}

    @property
    def _tls_paths(self) -> tuple[str, ...]:
        return self._credentials.tls.paths if self.address.encrypted else ()

    async def _watch(self) -> None:
        """Notice when the server goes away, for as long as there is a connection."""
        while True:
            await asyncio.sleep(WATCH_SECONDS)
            if self._client is None or not self.presence.is_here:
                continue
            try:
                await self._client.service_client.check_health(timeout=CALL_TIMEOUT)
            except RPCError as error:
                # Not all that servers have before them answers this.
                if isinstance(engine_error(error), EngineAbsent):
                    self.presence.lost()

    async def _follow_files(self) -> None:
        """Use what the files of credentials hold, for as long as there is a connection."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            token, stamps = self._credentials.token, file_stamps(self._tls_paths)
            if token is not None and token.authorization != self._authorization:
                self._authorization = token.authorization
                for client in (self._client, self._worker_client):
                    if client is not None:
                        client.rpc_metadata = self._metadata
            if stamps != self._stamps and await self._renewed():
                self._stamps = stamps

    async def _renewed(self) -> bool:
        """Let other clients take the place of those that were made with other files. False if that has to wait."""
        try:
            if self._client is not None:
                self._client = await self._connected(self._patience)
            if self._worker_client is not None:
                self._worker_client = await self._connected(WORKER_PATIENCE)
                if self.on_worker_client is not None:
                    self.on_worker_client(self._worker_client)
        except GatewayError as error:
            what = error.what if isinstance(error, EngineFailure) else error.message
            _log.warning("the files of TLS have changed, and the engine is still called with the old ones: %s", what)
            return False
        return True


def _tls_config(tls: ClientTls) -> TLSConfig:
    """Raises TlsFileError if a file cannot be used."""
    roots, key, chain = tls.pem()
    return TLSConfig(server_root_ca_cert=roots, client_cert=chain, client_private_key=key)


def _retries(seconds: float) -> RetryConfig:
    """Attempts for so long, in milliseconds; no number of them ends it."""
    return RetryConfig(
        initial_interval_millis=50,
        randomization_factor=0.5,
        multiplier=2.0,
        max_interval_millis=1_000,
        max_elapsed_time_millis=round(seconds * 1_000),
        max_retries=0,
    )
