"""Where clients of any language play their scenario: gateways, and proxies that do to connections what happens."""

import asyncio
import json
from collections import defaultdict
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from itertools import repeat
from pathlib import Path
from typing import Any, Final, TypeAlias

from gateway.server.app import running
from gateway.server.settings import ServeSettings
from tests.support.certificates import Certificates
from tests.support.component_server import Call, ComponentServer
from tests.support.free_port import free_port
from tests.support.identities import token_entry, token_of, write_tokens
from tests.support.scenario_modes import serving, settings_of
from tests.support.stream_proxy import StreamProxy
from tests.support.temporal_server import TemporalServer

Place: TypeAlias = dict[str, Any]

_WHOLE: Final = ("slow", "restarting", "again", "together", "setting", "leaving")
"""Places where nothing happens to connections, but something else does."""

_RESTARTS: Final = ("restarting", "again", "together")

_LOOPBACK: Final = {"grpc_address": "127.0.0.1:0", "http_address": "127.0.0.1:0", "metrics_address": "off"}


class Tasks:
    """The component of the scenario. Its input says what it waits for, which others it lets go on, and if it fails."""

    def __init__(self) -> None:
        self._gates: defaultdict[str, asyncio.Event] = defaultdict(asyncio.Event)
        handshake = {"initialize": {"serverProtocolVersion": 1}, "components/list": {"components": []}}
        handshake["components/list"] = {"components": [{"component": "/task"}]}
        self.server = ComponentServer(self._execute, handshake)

    def open(self, gate: str) -> None:
        """Let those go on that wait for this."""
        self._gates[gate].set()

    def open_all(self) -> None:
        """Let all go on that wait: a bridge that stops waits for its tasks."""
        for gate in self._gates.values():
            gate.set()

    async def _execute(self, call: Call) -> None:
        given = call.message["params"]["input"]
        asked = given if isinstance(given, dict) else {}
        if "after" in asked:
            await self._gates[asked["after"]].wait()
        if "opens" in asked:
            self.open(asked["opens"])
        if "fails" in asked:
            error = {"code": -32050, "message": asked["fails"], "data": asked["data"]}
            answer = {"jsonrpc": "2.0", "id": call.message["id"], "error": error}
            await call.respond(json.dumps(answer, separators=(",", ":")).encode())
        else:
            await call.result({"output": given})


class Restarted:
    """A gateway that is at the same address after each restart."""

    def __init__(self, stack: AsyncExitStack, settings: dict[str, Any]) -> None:
        self.address = ""
        self._stack = stack
        self._settings = settings
        self._running = AsyncExitStack()

    async def start(self) -> None:
        """Serve until the stack is left."""
        self._running = await self._stack.enter_async_context(AsyncExitStack())
        addresses = await self._running.enter_async_context(serving(self._settings))
        self.address = self._settings["grpc_address"] = addresses.grpc

    async def restart(self) -> None:
        """Stop in order, and start again."""
        await self._running.aclose()
        await self.start()


@asynccontextmanager
async def places(directory: Path, mode: str, temporal: Callable[[], TemporalServer]) -> AsyncIterator[dict[str, Place]]:
    """What clients read in the file of places, for one client to play the scenario once, in a mode of `settings_of`."""
    async with AsyncExitStack() as stack:
        tasks = Tasks()
        url = await stack.enter_async_context(tasks.server.running())
        settings = settings_of(mode, directory, {"/scenario": url}, temporal)
        gateway = Restarted(stack, await stack.enter_async_context(settings))
        await gateway.start()
        plain = await _plain_places(stack, gateway, tasks)
        stack.callback(tasks.open_all)
        yield {**plain, **await _secured_places(stack, directory)}


async def _plain_places(stack: AsyncExitStack, gateway: Restarted, tasks: Tasks) -> dict[str, Place]:
    proxies = {
        "cutting": StreamProxy(gateway.address, repeat(3)),
        "failing": StreamProxy(gateway.address, [0, 0]),
        "losing": StreamProxy(gateway.address, [0]),
        "silent": StreamProxy(gateway.address, [2], silent=True),
        "mute": StreamProxy(gateway.address, [4], silent=True),
        **{name: StreamProxy(gateway.address, []) for name in _WHOLE},
    }
    for proxy in proxies.values():
        await stack.enter_async_context(proxy.running())
    waiting = await stack.enter_async_context(asyncio.TaskGroup())

    def when(name: str, condition: Callable[[StreamProxy], bool], gate: str) -> None:
        async def wait() -> None:
            await proxies[name].until(lambda: condition(proxies[name]))
            if name in _RESTARTS:
                await gateway.restart()
            tasks.open(gate)

        stack.callback(waiting.create_task(wait()).cancel)

    when("silent", lambda proxy: proxy.cuts == 1, "silence")
    when("mute", lambda proxy: proxy.cuts == 1, "mute")
    when("slow", lambda proxy: proxy.messages >= 1, "slow")
    when("restarting", lambda proxy: proxy.messages >= 1, "restart")
    when("again", lambda proxy: proxy.messages >= 2, "again")
    when("together", lambda proxy: proxy.messages >= 4, "together")
    when("setting", lambda proxy: proxy.messages >= 3, "set")
    when("leaving", lambda proxy: proxy.messages >= 2, "left")
    nobody = {"address": f"127.0.0.1:{free_port()}", "giveUpAfter": 0.5}
    through = {name: {"address": proxy.address} for name, proxy in proxies.items()}
    return {"plain": {"address": gateway.address}, **through, "nobody": nobody}


async def _secured_places(stack: AsyncExitStack, directory: Path) -> dict[str, Place]:
    authority, other = Certificates(directory), Certificates(directory, "other")
    files, own = authority.server(), authority.client("client", "spiffe://scenario/client")
    readers = (token_entry(name, ["runs:read"]) for name in ("reader", "hasty"))
    tokens = write_tokens(directory / "tokens.toml", token_entry("submitter"), *readers)
    limits = [{"identities": ["hasty"], "requests_per_second": 2, "burst": 1}]
    settings = {
        **_LOOPBACK,
        "state": ":memory:",
        "tls_cert": files.cert,
        "tls_key": files.key,
        "tokens": str(tokens),
        "limits": limits,
    }
    place = {"address": await _at_localhost(stack, settings), "ca": authority.ca}
    mutual = {**settings, "tokens": None, "limits": [], "tls_client_ca": authority.ca}
    known = {"address": await _at_localhost(stack, mutual), "ca": authority.ca}
    return {
        "secured": {**place, "token": token_of("submitter")},
        "stranger": {**place, "token": token_of("nobody")},
        "reader": {**place, "token": token_of("reader")},
        "hasty": {**place, "token": token_of("hasty")},
        "distrusted": {**place, "ca": other.ca, "token": token_of("submitter"), "giveUpAfter": 0.5},
        "certified": {**known, "cert": own.cert, "key": own.key},
        "uncertified": {**known, "giveUpAfter": 0.5},
    }


async def _at_localhost(stack: AsyncExitStack, settings: dict[str, Any]) -> str:
    """Serve until the stack is left, and return the address by the name that certificates have."""
    addresses = await stack.enter_async_context(running(ServeSettings.model_validate(settings)))
    return f"localhost:{addresses.grpc.rpartition(':')[2]}"
