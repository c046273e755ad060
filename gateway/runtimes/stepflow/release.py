"""Which release of the engine is there: asked once, when the gateway starts.

0.12 and 0.13 do not say which of the two they are. Nothing that the gateway uses of their REST API differs between
them.
"""

import re
from typing import Final, NamedTuple

from gateway.core.errors import GatewayError
from gateway.runtimes.stepflow.engine import EngineRequest, EngineRestClient
from gateway.runtimes.stepflow.run_bodies import Form, release_from_health

HEALTH_SECONDS: Final = 10.0
"""How long the engine may take to say that it is there."""

SUPPORTED: Final = "0.10 to 0.13"

_WORDS: Final = frozenset({"0.10", "0.11"})
_SERIES: Final = re.compile(r"([0-9]+\.[0-9]+)\.")


class EngineError(Exception):
    """The engine cannot be used; the message is one line that says what to do."""


class Release(NamedTuple):
    """A release of the engine: its name, as far as it is known, in which form it speaks, and what it lacks."""

    name: str
    form: Form

    @property
    def has_events(self) -> bool:
        """Whether there are event streams."""
        return self.form is Form.PROTO

    @property
    def has_queues(self) -> bool:
        """Whether workers pull tasks from it. Before, it calls JSON-RPC component servers."""
        return self.form is Form.PROTO

    @property
    def takes_empty_runs(self) -> bool:
        """Whether a run may have no items. 0.10 breaks the connection off."""
        return not self.name.startswith("0.10.")


async def release_at(url: str) -> Release:
    """The release of the engine at `http://HOST:PORT`. EngineError as `release_of`."""
    engine = EngineRestClient(url)
    try:
        return await release_of(engine)
    finally:
        await engine.close()


async def release_of(engine: EngineRestClient) -> Release:
    """The release of the engine. EngineError if it cannot be reached, is not supported, or is no engine."""
    try:
        answer = await engine.request(EngineRequest("GET", "/health", HEALTH_SECONDS, repeatable=True))
    except GatewayError as error:
        raise EngineError(f"{engine.name}: {error.message}; start the engine, or name another one") from None
    name = release_from_health(answer.status, answer.body)
    if name is None:
        raise EngineError(f"{engine.name}: no Stepflow engine answers there; name the address of its REST API")
    if not name:
        return Release("0.12 or 0.13", Form.PROTO)
    series = _SERIES.match(name)
    if series is None or series[1] not in _WORDS:
        shown = name[:40] if name.isprintable() else "unknown"
        raise EngineError(f"{engine.name}: the engine is of release {shown}; run one of releases {SUPPORTED}")
    return Release(name, Form.WORDS)
