"""The OpenRPC document of the JSON-RPC methods, made once from the models, and the method `rpc.discover`."""

import json
from functools import cache
from importlib.metadata import version
from typing import Any, Final

from gateway.access.method_permissions import JSONRPC_PERMISSIONS
from gateway.adapter.control_json import known_members
from gateway.adapter.json_members import Params
from gateway.adapter.message_schemas import message_schemas
from gateway.adapter.method_examples import EXAMPLES
from gateway.adapter.method_schemas import METHODS, MethodSchema
from gateway.concurrency.fair_queue import FairQueue
from gateway.core.model import JsonText
from gateway.fronts.http.long_texts import Held
from gateway.fronts.http.rpc_method import Origin, RpcMethod

OPENRPC: Final = "1.3.2"
DISCOVER: Final = "rpc.discover"

_TEXT: Final = (
    "JSON-RPC 2.0 over HTTP: POST to /, also in batches. Parameters are given by name. Errors have `data` with a "
    "`reason`, by which those of one code differ, and more: see the schema ErrorData. Where a runtime elsewhere is a "
    "JSON-RPC server, its errors pass with their codes."
)


@cache
def openrpc_document() -> JsonText:
    """The text of the document."""
    document = {
        "openrpc": OPENRPC,
        "info": {"title": "runs-gateway", "description": _TEXT, "version": version("runs-gateway")},
        "methods": [_method(name, method) for name, method in METHODS.items()],
        "components": {"schemas": message_schemas()},
    }
    return json.dumps(document, separators=(",", ":"))


def _method(name: str, method: MethodSchema) -> dict[str, Any]:
    permission = JSONRPC_PERMISSIONS[name]
    made = {
        "name": name,
        "description": method.text,
        "paramStructure": "by-name",
        "params": method.params(name),
        "result": {"name": "result", "schema": method.result},
        "errors": method.error_objects(),
        "x-unknown-params": "kept" if method.keeps else "refused",
    }
    if name in EXAMPLES:
        made["examples"] = [EXAMPLES[name].pairing()]
    if permission is not None:
        made["x-permission"] = permission.value
    if method.tells is not None:
        told, schema = method.tells
        made["x-notification"] = {"name": told, "params": schema}
    return made


class Discovery:
    """Answers `rpc.discover`. The document tells no secret, and is the same for everybody who may call at all."""

    def __init__(self, fair_queue: FairQueue) -> None:
        self._fair_queue = fair_queue
        self._document = openrpc_document()

    def table(self) -> dict[str, RpcMethod]:
        """The method by its name."""
        return {DISCOVER: RpcMethod(self._discover, self._write)}

    async def _discover(self, params: Params, origin: Origin, held: Held) -> JsonText:
        if params != "[]":  # What clients send that know no parameters by name.
            known_members(params, {})
        return self._document

    async def _write(self, document: JsonText, held: Held) -> JsonText:
        await self._fair_queue.yield_turn()
        return document
