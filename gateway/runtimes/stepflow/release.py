"""The release of an engine: the gateway asks for it once, when it starts.

0.12 and 0.13 do not say which of the two they are. Nothing that the gateway uses of their REST API differs between
them.
"""

import re
from typing import Any, Final, NamedTuple

import msgspec

from gateway.core.errors import GatewayError
from gateway.core.upstream_credentials import NO_CREDENTIALS, UpstreamCredentials
from gateway.runtimes.stepflow.engine import EngineRequest, EngineRestClient
from gateway.runtimes.stepflow.wire_format import WireFormat

HEALTH_SECONDS: Final = 10.0
"""How long the engine may take to answer that it is healthy."""

SUPPORTED: Final = "0.10 to 0.13"

_LEGACY: Final = frozenset({"0.10", "0.11"})
_SERIES: Final = re.compile(r"([0-9]+\.[0-9]+)\.")


class EngineError(Exception):
    """The engine cannot be used; the message is one line that says what to do."""


class Release(NamedTuple):
    """A release of the engine: its name, as far as it is known, its wire format, and what it can do."""

    name: str
    wire_format: WireFormat

    @property
    def has_events(self) -> bool:
        """Whether there are event streams."""
        return self.wire_format is WireFormat.PROTO_JSON

    @property
    def has_queues(self) -> bool:
        """Whether workers pull tasks from it. Earlier releases call JSON-RPC component servers."""
        return self.wire_format is WireFormat.PROTO_JSON

    @property
    def takes_empty_runs(self) -> bool:
        """Whether a run may have no items. 0.10 breaks the connection off."""
        return not self.name.startswith("0.10.")


class _HealthBody(msgspec.Struct):
    status: str
    version: str | None = None
    build: dict[str, Any] | None = None


_DECODER: Final = msgspec.json.Decoder(_HealthBody)


async def release_at(url: str, credentials: UpstreamCredentials = NO_CREDENTIALS) -> Release:
    """Return the release of the engine at `http://HOST:PORT`. Raises EngineError as `release_of` does."""
    engine = EngineRestClient(url, credentials)
    try:
        return await release_of(engine)
    finally:
        await engine.close()


async def release_of(engine: EngineRestClient) -> Release:
    """Return the release of an engine.

    Raises EngineError if it cannot be reached, is of an unsupported release, or is not a Stepflow engine.
    """
    try:
        answer = await engine.request(EngineRequest("GET", "/health", HEALTH_SECONDS, repeatable=True))
    except GatewayError as error:
        raise EngineError(f"{engine.name}: {error.message}; start the engine, or name another one") from None
    name = release_from_health(answer.status, answer.body)
    if name is None:
        raise EngineError(f"{engine.name}: no Stepflow engine answers there; name the address of its REST API")
    if not name:
        return Release("0.12 or 0.13", WireFormat.PROTO_JSON)
    series = _SERIES.match(name)
    if series is None or series[1] not in _LEGACY:
        shown = name[:40] if name.isprintable() else "unknown"
        raise EngineError(f"{engine.name}: the engine is of release {shown}; run one of releases {SUPPORTED}")
    return Release(name, WireFormat.LEGACY)


def release_from_health(status: int, body: bytes) -> str | None:
    """Return the name of the release that the answer of an engine contains.

    It is empty for 0.12 and 0.13, which do not say it, and None if the answer is not that of a Stepflow engine.
    """
    try:
        health: _HealthBody = _DECODER.decode(body) if status == 200 else _HealthBody("")
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
    if health.status != "healthy":
        return None
    if health.build is not None and not health.version:
        return ""
    return health.version or None
