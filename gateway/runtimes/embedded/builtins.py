"""The built-in components.

    /builtin/create_messages  {user_prompt, system_instructions?}            -> {messages: [{role, content}]}
    /builtin/map              {workflow, items, max_concurrency?}            -> {results: [result], successful, failed}
    /builtin/iterate          {flow, initial_input, max_iterations? = 1000}  -> {result, iterations, terminated}
    /builtin/eval             {flow_id, input}                               -> {result: result, run_id}
    /builtin/put_blob         {data, blob_type? = "data"}                    -> {blob_id}
    /builtin/get_blob         {blob_id}                                      -> {data}

A `result` is {"outcome": "success", "result": value} or {"outcome": "failed", "error": {code, message, data?}}.
Optional members may be null; other members are ignored.
"""

from collections.abc import Awaitable, Callable, Mapping
from typing import NamedTuple, TypeAlias

from gateway.core.errors import InvalidFlow, InvalidParams, TooLarge
from gateway.core.json_text import MAX_JSON_BYTES, elements, integer, members, quote, string
from gateway.core.model import (
    Blob,
    BlobType,
    ItemError,
    ItemResult,
    JsonText,
    RunState,
    RunStatus,
    blob_digest,
    blob_id_of,
)
from gateway.runtimes.embedded.evaluation import look_up
from gateway.runtimes.embedded.flow import Flow
from gateway.runtimes.embedded.task import BAD_INPUT, COMPONENT_FAILED, UNUSABLE_VALUE, Host, ItemFailure, Task
from gateway.runtimes.embedded.values import NULL, Value, write_array, write_object

DEFAULT_ITERATIONS = 1000
"""How often iterate runs its flow at most if its input has no `max_iterations`."""

MAX_ITERATIONS = 100_000
"""How often iterate runs its flow at most, whatever its input says."""

MAX_COUNT = 2**32 - 1
"""The largest number that an input may have."""

_RESULT, _NEXT = ("result",), ("next",)

Execute: TypeAlias = Callable[[Flow, JsonText, Mapping[str, JsonText], Host, Task], Awaitable[JsonText]]
"""`gateway.runtimes.embedded.execution.execute_flow`."""


class BuiltinCall(NamedTuple):
    """One call of a built-in. `execute` runs a flow in place."""

    input: JsonText
    host: Host
    task: Task
    execute: Execute


async def call_builtin(component: str, call: BuiltinCall) -> JsonText:
    """Execute a built-in. Raises ItemFailure if it fails, or an error of the host."""
    try:
        output = await BUILTINS[component](_BuiltinInput(members(call.input)), call)
    except InvalidParams as error:
        raise ItemFailure.of(BAD_INPUT, f"bad input of {component}: {error}") from error
    if len(output) > MAX_JSON_BYTES:
        raise ItemFailure.of(UNUSABLE_VALUE, f"the output of {component} exceeds {MAX_JSON_BYTES} characters")
    return output


class _BuiltinInput:
    """The members of an input. Each method raises InvalidParams if its member is invalid."""

    def __init__(self, values: Mapping[str, JsonText]) -> None:
        self._values = values

    def value(self, name: str) -> JsonText:
        """A required member of any type; it may be null."""
        if name not in self._values:
            raise InvalidParams.field(name, description="is required")
        return self._values[name]

    def has(self, name: str) -> bool:
        """Whether a member is present and not null."""
        return self._values.get(name, NULL) != NULL

    def string(self, name: str) -> JsonText:
        """A member that is a string, as JSON text."""
        string(self.value(name), name)
        return self.value(name)

    def count(self, name: str, least: int) -> int | None:
        """An optional member that is an integer, `least` or more."""
        if not self.has(name):
            return None
        number = integer(self.value(name), name)
        if not least <= number <= MAX_COUNT:
            raise InvalidParams.field(name, description=f"expected an integer from {least} to {MAX_COUNT}")
        return number

    def blob_id(self, name: str) -> str:
        """A member that is a blob id, in canonical spelling."""
        digest = blob_digest(string(self.value(name), name))
        if digest is None:
            raise InvalidParams.field(name, description="expected 64 hex digits, or 'sha256:' and 64 hex digits")
        return blob_id_of(digest)


async def _create_messages(given: _BuiltinInput, call: BuiltinCall) -> JsonText:
    messages = []
    for role, name in (("system", "system_instructions"), ("user", "user_prompt")):
        if role == "user" or given.has(name):
            messages.append(write_object({"role": quote(role), "content": given.string(name)}))
    return write_object({"messages": write_array(messages)})


async def _map(given: _BuiltinInput, call: BuiltinCall) -> JsonText:
    call.host.refuse_deeper(call.task)
    items = elements(given.value("items"), "items")
    max_concurrency = given.count("max_concurrency", 1)
    flow_id = await _put(Blob(given.value("workflow"), BlobType.FLOW), "workflow", call)
    run = await _run(call, flow_id, items, max_concurrency, "map")
    results = [_result(result) for result in run.results or ()]
    failed = len(results) - run.items.success
    return write_object({"results": write_array(results), "successful": str(run.items.success), "failed": str(failed)})


async def _run(
    call: BuiltinCall, flow_id: str, items: list[JsonText], max_concurrency: int | None, key: str
) -> RunStatus:
    """Run a flow and wait for it. Meanwhile the item does not count as executing."""
    work = call.task.work
    await work.checkpoint()
    async with work.waiting():
        run = await call.host.run_flow(flow_id, items, max_concurrency, call.task, key)
    await work.checkpoint()
    return run


async def _iterate(given: _BuiltinInput, call: BuiltinCall) -> JsonText:
    call.host.refuse_deeper(call.task)
    flow = await _flow(given, "flow", call)
    value = given.value("initial_input")
    limit = given.count("max_iterations", 0)
    limit = DEFAULT_ITERATIONS if limit is None else limit
    for iteration in range(min(limit, MAX_ITERATIONS)):
        output = Value(await call.execute(flow, value, {}, call.host, call.task.within(iteration)))
        await look_up(output, (_RESULT, _NEXT), call.task.work)
        if (result := output.find(_RESULT)) is not None:
            return _iterated(result, iteration + 1, terminated=False)
        if (following := output.find(_NEXT)) is None:
            raise ItemFailure.of(COMPONENT_FAILED, "an iterated flow must return an object with 'result' or 'next'")
        value = following
        await call.task.work.checkpoint()
    if limit > MAX_ITERATIONS:
        raise ItemFailure(call.task.limit_reached(f"has iterated {MAX_ITERATIONS} times without a result"))
    return _iterated(value, limit, terminated=True)


def _iterated(result: JsonText, iterations: int, *, terminated: bool) -> JsonText:
    """The output of iterate. `terminated` is True if the limit, and not the flow, ended it."""
    return write_object(
        {"result": result, "iterations": str(iterations), "terminated": "true" if terminated else "false"}
    )


async def _eval(given: _BuiltinInput, call: BuiltinCall) -> JsonText:
    call.host.refuse_deeper(call.task)
    flow_id = given.blob_id("flow_id")
    run = await _run(call, flow_id, [given.value("input")], None, "eval")
    results = [_result(result) for result in run.results or ()]
    return write_object({"result": results[0], "run_id": quote(run.run_id)})


async def _put_blob(given: _BuiltinInput, call: BuiltinCall) -> JsonText:
    kind = string(given.value("blob_type"), "blob_type") if given.has("blob_type") else BlobType.DATA
    if kind not in {*BlobType}:
        raise InvalidParams.field("blob_type", description="expected 'flow' or 'data'")
    blob_id = await _put(Blob(given.value("data"), BlobType(kind)), "data", call)
    # Flows and components know blob ids by their bare digits.
    return write_object({"blob_id": quote(blob_digest(blob_id) or blob_id)})


async def _flow(given: _BuiltinInput, name: str, call: BuiltinCall) -> Flow:
    """Compile the member `name` of the input."""
    try:
        return await call.host.compile(given.value(name), name)
    except InvalidFlow as error:
        raise error.under(name) from None


async def _put(blob: Blob, name: str, call: BuiltinCall) -> str:
    """Store the member `name` of the input as a blob."""
    try:
        return await call.host.put_blob(blob)
    except InvalidFlow as error:
        raise error.under(name) from None
    except TooLarge as error:
        raise TooLarge(f"{name}{error.message.removeprefix('data')}") from None


async def _get_blob(given: _BuiltinInput, call: BuiltinCall) -> JsonText:
    blob = await call.host.get_blob(given.blob_id("blob_id"))
    if isinstance(blob.content, bytes):
        raise ItemFailure.of(COMPONENT_FAILED, "the blob holds binary data, which is no JSON value")
    return write_object({"data": blob.content})


def _result(result: ItemResult) -> JsonText:
    if result.status is RunState.SUCCESS:
        return write_object({"outcome": '"success"', "result": NULL if result.value is None else result.value})
    error = result.error or ItemError(code=COMPONENT_FAILED, message="the item was cancelled")
    described = {"code": str(error.code), "message": quote(error.message)}
    if error.data is not None:
        described["data"] = error.data
    return write_object({"outcome": '"failed"', "error": write_object(described)})


BUILTINS: Mapping[str, Callable[[_BuiltinInput, BuiltinCall], Awaitable[JsonText]]] = {
    "/builtin/create_messages": _create_messages,
    "/builtin/map": _map,
    "/builtin/iterate": _iterate,
    "/builtin/eval": _eval,
    "/builtin/put_blob": _put_blob,
    "/builtin/get_blob": _get_blob,
}
"""The built-in components, by name."""
