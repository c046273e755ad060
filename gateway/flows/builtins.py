"""The built-in components.

    /builtin/create_messages  {user_prompt, system_instructions?}            -> {messages: [{role, content}]}
    /builtin/map              {workflow, items, max_concurrency?}            -> {results: [result], successful, failed}
    /builtin/iterate          {flow, initial_input, max_iterations? = 1000}  -> {result, iterations, terminated}
    /builtin/eval             {flow_id, input}                               -> {result: result, run_id}
    /builtin/put_blob         {data, blob_type? = "data"}                    -> {blob_id}
    /builtin/get_blob         {blob_id}                                      -> {data}
    /builtin/load_file        {path, format? = by the ending}                -> {data, metadata}

A `result` is {"outcome": "success", "result": value} or {"outcome": "failed", "error": {code, message, data?}}.
Optional members may be null; other members are ignored.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from gateway.concurrency.time_slice import in_slices
from gateway.core.errors import InvalidFlow, InvalidParams, TooLarge
from gateway.core.json_text import MAX_JSON_BYTES, elements, integer, members, quote, string
from gateway.core.long_strings import joined
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
from gateway.core.packed_texts import packed_array
from gateway.flows.evaluation import look_up
from gateway.flows.flow import Flow
from gateway.flows.task import BAD_INPUT, COMPONENT_FAILED, UNUSABLE_VALUE, Host, ItemFailure, Task
from gateway.flows.values import ALWAYS_SHORT, NULL, Value, write_object

DEFAULT_ITERATIONS = 1000
"""How often iterate runs its flow at most if its input has no `max_iterations`."""

MAX_ITERATIONS = 100_000
"""How often iterate runs its flow at most, whatever its input says."""

MAX_COUNT = 2**32 - 1
"""The largest number that an input may have."""

_MEMBERS: Final = (
    "user_prompt",
    "system_instructions",
    "workflow",
    "items",
    "max_concurrency",
    "flow",
    "initial_input",
    "max_iterations",
    "flow_id",
    "input",
    "data",
    "blob_type",
    "blob_id",
    "path",
    "format",
)
_WRITTEN_AT_ONCE: Final = 64
_RESULT, _NEXT = ("result",), ("next",)

Execute: TypeAlias = Callable[[Flow, JsonText, Mapping[str, JsonText], Host, Task], Awaitable[JsonText]]
"""`gateway.flows.execution.execute_flow`."""


class BuiltinCall(NamedTuple):
    """One call of a built-in. `execute` runs a flow in place."""

    input: JsonText
    host: Host
    task: Task
    execute: Execute


async def call_builtin(component: str, call: BuiltinCall) -> JsonText:
    """Execute a built-in. Raises ItemFailure if it fails, or an error of the host."""
    try:
        output = await BUILTINS[component](await _read(call), call)
    except InvalidParams as error:
        raise ItemFailure.of(BAD_INPUT, f"bad input of {component}: {error}") from error
    if len(output) > MAX_JSON_BYTES:
        raise ItemFailure.of(UNUSABLE_VALUE, f"the output of {component} exceeds {MAX_JSON_BYTES} characters")
    return output


async def _read(call: BuiltinCall) -> "_BuiltinInput":
    """The members of the input that built-ins have. A long input is looked through in steps."""
    if len(call.input) <= ALWAYS_SHORT or not call.input.startswith("{"):
        return _BuiltinInput(members(call.input))
    whole = Value(call.input)
    await look_up(whole, [(name,) for name in _MEMBERS], call.task.work)
    found: dict[str, JsonText] = {}
    for name in _MEMBERS:
        text = await in_slices(whole.part((name,)), call.task.work)
        if text is not None:
            found[name] = text
    return _BuiltinInput(found)


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
        text = self.value(name)
        if not text.startswith('"'):
            raise InvalidParams.field(name, description="expected a string")
        return text

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
    messages: list[str] = []
    for role, name in (("system", "system_instructions"), ("user", "user_prompt")):
        if role == "user" or given.has(name):
            messages += ("," if messages else "", f'{{"role":"{role}","content":', given.string(name), "}")
    return "".join(('{"messages":[', *messages, "]}"))


async def _map(given: _BuiltinInput, call: BuiltinCall) -> JsonText:
    call.host.refuse_deeper(call.task)
    items = await _elements(given.value("items"), "items", call)
    max_concurrency = given.count("max_concurrency", 1)
    flow_id = await _put(Blob(given.value("workflow"), BlobType.FLOW), "workflow", call)
    run = await _run(call, flow_id, items, max_concurrency, "map")
    parts = ['{"results":[']
    results = {result.item_index: result for result in run.results or ()}
    for index in range(len(items)):
        parts += ("," if index else "", *_result(results.get(index)))
        if index % _WRITTEN_AT_ONCE == 0:
            await call.task.work.checkpoint()
    success = run.items.success
    parts.append(f'],"successful":{success},"failed":{len(items) - success}}}')
    return await in_slices(joined(parts), call.task.work)


async def _elements(text: JsonText, name: str, call: BuiltinCall) -> Sequence[JsonText]:
    if len(text) <= ALWAYS_SHORT or not text.startswith("["):
        return elements(text, name)
    return await in_slices(packed_array(text), call.task.work)


async def _run(
    call: BuiltinCall, flow_id: str, items: Sequence[JsonText], max_concurrency: int | None, key: str
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
    result = run.results[0] if run.results else None
    parts = ('{"result":', *_result(result), ',"run_id":', quote(run.run_id), "}")
    return await in_slices(joined(parts), call.task.work)


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


async def _load_file(given: _BuiltinInput, call: BuiltinCall) -> JsonText:
    path = string(given.value("path"), "path")
    kind = string(given.value("format"), "format") if given.has("format") else None
    if kind not in {None, "json", "yaml", "text"}:
        raise InvalidParams.field("format", description="expected 'json', 'yaml' or 'text'")
    file = await call.host.load_file(path, kind)
    metadata = {"resolved_path": quote(file.path), "size_bytes": str(file.size), "format": quote(file.format)}
    return await in_slices(joined(('{"data":', file.data, f',"metadata":{write_object(metadata)}}}')), call.task.work)


def _result(result: ItemResult | None) -> tuple[str, ...]:
    """The parts of a text: a value may be long, and is copied once, into the output. A cancelled item has no result."""
    if result is not None and result.status is RunState.SUCCESS:
        return '{"outcome":"success","result":', NULL if result.value is None else result.value, "}"
    error = (result and result.error) or ItemError(code=COMPONENT_FAILED, message="the item was cancelled")
    described = {"code": str(error.code), "message": quote(error.message)}
    if error.data is not None:
        described["data"] = error.data
    return '{"outcome":"failed","error":', write_object(described), "}"


BUILTINS: Mapping[str, Callable[[_BuiltinInput, BuiltinCall], Awaitable[JsonText]]] = {
    "/builtin/create_messages": _create_messages,
    "/builtin/map": _map,
    "/builtin/iterate": _iterate,
    "/builtin/eval": _eval,
    "/builtin/put_blob": _put_blob,
    "/builtin/get_blob": _get_blob,
    "/builtin/load_file": _load_file,
}
"""The built-in components, by name."""
