"""A JSON-RPC component server over HTTP whose components are Python functions."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from http import HTTPStatus
from typing import Any, Final

from aiohttp import web

from gateway.testing.functions import ComponentContext, FunctionFailed, Functions, described

_COMPONENT_FAILED: Final = -32100
_NOT_FOUND: Final = -32001
_METHOD_NOT_FOUND: Final = -32601


class _MethodFailed(Exception):
    """The error of a JSON-RPC response."""

    def __init__(self, code: int, message: str, data: Mapping[str, Any] | None = None) -> None:
        super().__init__(message)
        self.error = {"code": code, "message": message, **({} if data is None else {"data": data})}


@asynccontextmanager
async def component_server(functions: Functions) -> AsyncIterator[str]:
    """Serve functions as components. It yields the URL; once the block is left, nothing executes any more."""

    async def respond(request: web.Request) -> web.Response:
        message = json.loads(await request.read())
        if "id" not in message:
            return web.Response(status=HTTPStatus.ACCEPTED)
        try:
            member, value = "result", await _result(functions, message["method"], message["params"])
        except _MethodFailed as failed:
            member, value = "error", _encoded(failed.error)
        body = b'{"jsonrpc":"2.0","id":%b,"%b":%b}' % (_encoded(message["id"]), member.encode(), value)
        return web.Response(body=body, content_type="application/json")

    # The gateway bounds its requests.
    application = web.Application(client_max_size=0)
    application.router.add_post("/", respond)
    # A handler ends with its request, and a request with the gateway: none is left to be waited for.
    runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1, access_log=None)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0]
        yield f"http://{host}:{port}/"
    finally:
        await runner.cleanup()
        await functions.close()


async def _result(functions: Functions, method: str, params: Mapping[str, Any]) -> bytes:
    """The result of a method, as JSON. Raises _MethodFailed if it has none."""
    match method:
        case "initialize":
            return _encoded({"serverProtocolVersion": 1})
        case "components/list":
            return _encoded({"components": [{"component": path} for path in functions.paths]})
        case "components/info" if params["component"] in functions.paths:
            return _encoded({"info": {"component": params["component"]}})
        case "components/execute" if params["component"] in functions.paths:
            return b'{"output":%b}' % await _output(functions, params)
        case "components/info" | "components/execute":
            raise _MethodFailed(_NOT_FOUND, f"no function is the component {params['component']}")
    raise _MethodFailed(_METHOD_NOT_FOUND, f"no method {method}")


async def _output(functions: Functions, params: Mapping[str, Any]) -> bytes:
    component, observability = params["component"], params["observability"]
    context = ComponentContext(
        component, observability.get("step_id"), observability.get("run_id"), attempt=params["attempt"]
    )
    try:
        output = await functions.call(params["input"], context)
    except FunctionFailed as failed:
        data = {"component": component, "traceback": failed.trace}
        raise _MethodFailed(_COMPONENT_FAILED, str(failed), data) from None
    try:
        encoded = _encoded(output)
        _check_keys(output)
    except BaseException as error:  # The containers of an output may be of any class, which raises anything.
        message = f"component {component} has returned a value that JSON does not have: {described(error)}"
        raise _MethodFailed(_COMPONENT_FAILED, message, {"component": component}) from None
    return encoded


def _encoded(value: object) -> bytes:
    """The JSON of a value. Raises TypeError, ValueError or RecursionError if there is none."""
    return json.dumps(value, ensure_ascii=False, allow_nan=False).encode()


def _check_keys(value: object) -> None:
    """Raises TypeError if a key is not text. `json` would write the keys 1 and "1" alike."""
    pending = [value]
    while pending:
        container = pending.pop()
        if isinstance(container, dict):
            for key in container:
                if not isinstance(key, str):
                    raise TypeError(f"the keys of an object must be strings, got {key!r}")
            pending.extend(container.values())
        elif isinstance(container, list | tuple):
            pending.extend(container)
