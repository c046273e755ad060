"""The JSON-RPC methods, for clients over HTTP and for components while they execute."""

import asyncio
from collections.abc import Collection
from contextlib import aclosing, suppress
from functools import partial
from io import BytesIO
from typing import Final, Self, TypeAlias

import msgspec

from gateway.access.access import Access, OpenAccess
from gateway.access.limits import UNLIMITED, LimitedCall
from gateway.adapter import blobs_json, jsonrpc, params_json, status_to_json, tokens_json
from gateway.adapter.json_members import Params
from gateway.adapter.long_requests import read_long_body
from gateway.adapter.plain_submits import read_plain_submit
from gateway.adapter.sets_json import set_params_from_json
from gateway.concurrency.fair_queue import FairQueue, FairSlices
from gateway.concurrency.memory_account import MemoryAccount, MemoryShare
from gateway.core.caller import ANYBODY, Caller, owned
from gateway.core.errors import GatewayError, InvalidRequest, MethodNotFound, PermissionDenied, QuotaExceeded, shortened
from gateway.core.internal_errors import error_to_tell
from gateway.core.json_parts import LONG_TEXT
from gateway.core.model import Blob, JsonText, ObservabilityContext
from gateway.core.observed_params import joined
from gateway.core.refusals import count_refusal
from gateway.core.tokens import CreatedToken
from gateway.fronts.http.batch import UNCOUNTED, BatchHold, KeptAnswer, KeptText
from gateway.fronts.http.control_methods import ControlMethods
from gateway.fronts.http.long_texts import (
    PART,
    BlobText,
    Enclosed,
    Held,
    LongText,
    StatusText,
    is_long,
    read_blob,
)
from gateway.fronts.http.observed_methods import ObservedMethods, ended
from gateway.fronts.http.openrpc import Discovery
from gateway.fronts.http.rpc_method import Origin, RpcMethod, give_back
from gateway.runs.run_answer import RunAnswer
from gateway.runs.services import RunsServices
from gateway.telemetry.call_metrics import CANCELLED
from gateway.telemetry.observed_calls import ObservedCall

BATCH_CONCURRENCY = 16
"""How many calls of one batch are executed at the same time."""

_COPIES: Final = 2
"""How many times the answer to a component is in memory while it is put together."""

RpcAnswer: TypeAlias = bytes | LongText | None
"""A short answer, or a long one that is made while it is read; None if there is nothing to say."""


class _Refusal(JsonText):
    """The text of an answer to a call that the caller may not make, or not now."""

    error: GatewayError

    def __new__(cls, text: str, error: GatewayError) -> Self:
        made = super().__new__(cls, text)
        made.error = error
        return made


class RefusedAnswer(bytes):
    """The answer to such a call, as the only one of a request."""

    error: GatewayError

    def __new__(cls, refusal: _Refusal) -> Self:
        made = super().__new__(cls, refusal.encode())
        made.error = refusal.error
        return made


class JsonRpcMethods:
    """Answers JSON-RPC 2.0 requests, batches and notifications with a runs service.

    Every request gets an answer, whatever is wrong with it. Work passes `fair_queue`: a caller before it calls, and a
    call before each member of a batch and before it writes an answer, or a slice of a long one. Answers to components
    draw from `share`. Tokens are made by `access`.
    """

    def __init__(
        self, services: RunsServices, share: MemoryShare | None = None, *, access: Access | None = None
    ) -> None:
        self.fair_queue = FairQueue()
        self.services = services
        self._access = access or OpenAccess()
        self._share = share or MemoryAccount().share()
        self._methods = {
            "runs/submit": RpcMethod(self._submit, self._write_status),
            "runs/get": RpcMethod(self._get, self._write_status),
            **ControlMethods(services, self.fair_queue, self._access).table(),
            "runs/watch": RpcMethod(_refuse_watch, self._write_blob_id),
            "runs/token": RpcMethod(self._create_token, self._write_token),
            "blobs/put": RpcMethod(self._put_blob, self._write_blob_id),
            "blobs/get": RpcMethod(self._get_blob, self._write_blob),
            **Discovery(self.fair_queue).table(),
        }
        self.observed = ObservedMethods(self._methods)

    @property
    def names(self) -> Collection[str]:
        """The names of all methods."""
        return self._methods.keys()

    async def call(self, body: bytes, scope: str = "", caller: Caller = ANYBODY) -> bytes | None:
        """Execute what a body asks for and return the body of the answer; None if it holds notifications only.

        `scope` is that of idempotency keys: the task that calls. Without one, a caller whose `observability` holds a
        run id and a span id has the scope of the task that these and the step id name: the key that components send,
        `subflowKey`, is unique within one task only. All other callers share one scope. A call whose answer finds no
        room in memory is answered with an error.
        """
        with self._share.hold() as held:
            calls = await self.read(body)
            del body
            origin = Origin(caller, scope)
            if isinstance(calls, jsonrpc.Batch):
                answers = await self._execute(calls.calls, origin, held, _COPIES)
                return await _joined(KeptText(answers, batch=True)) if answers else None
            answer = await self._keep(calls, origin, KeptAnswer(held, _COPIES))
            if answer is None or isinstance(answer, str):
                return None if answer is None else answer.encode()
            return await _joined(KeptText([answer], batch=False))

    async def refuse(self, body: bytes, error: GatewayError) -> bytes | None:
        """Answer all requests in a body with an error; None if it holds notifications only."""
        calls = await self.read(body)
        if isinstance(calls, jsonrpc.Batch):
            answers = [jsonrpc.error_response(call.id, error) for call in calls.calls if call.id is not None]
            return f"[{','.join(answers)}]".encode() if answers else None
        return None if calls.id is None else jsonrpc.error_response(calls.id, error).encode()

    async def read(self, body: bytes) -> jsonrpc.Call | jsonrpc.Batch:
        """Read a body. One that cannot be read is a call that is refused."""
        try:
            if len(body) <= LONG_TEXT:
                return read_plain_submit(body) or jsonrpc.parse_body(body)
            return await read_long_body(body, FairSlices(self.fair_queue).checkpoint)
        except Exception as error:
            return jsonrpc.Refused("null", error_to_tell(error))

    async def answer(self, calls: jsonrpc.Call | jsonrpc.Batch, held: Held, origin: Origin) -> RpcAnswer:
        """Like `call`, for a body of a client that `read` has read.

        What the answer holds, `held` grows by; the caller gives it back when the answer has been sent. What `held`
        holds of a single call that waits for a run is given back as soon as the call has begun to wait.
        """
        if not isinstance(calls, jsonrpc.Batch):
            answering = self._answer(calls, origin, held)
            del calls
            answer = await answering
            if isinstance(answer, str):
                return RefusedAnswer(answer) if isinstance(answer, _Refusal) else answer.encode()
            return answer
        answers = await self._execute(calls.calls, origin, held)
        if not answers:
            return None
        short = [answer for answer in answers if isinstance(answer, str)]
        if len(short) < len(answers) or sum(map(len, short)) > PART:
            return KeptText(answers, batch=True)
        return f"[{','.join(short)}]".encode()

    async def _execute(
        self, calls: list[jsonrpc.Call], origin: Origin, held: Held, copies: int = 1
    ) -> list[JsonText | KeptAnswer]:
        """The answers in the order of the calls; none for notifications.

        Calls that find no place beside others of their caller come one after the other, in the place of the request.
        """
        answers: list[JsonText | KeptAnswer | None] = [None] * len(calls)
        rest = iter(enumerate(calls))
        held = BatchHold(held)

        async def work(place: LimitedCall) -> None:
            kept = KeptAnswer(held, copies)
            with suppress(QuotaExceeded), place:
                for index, call in rest:
                    await self.fair_queue.yield_turn()
                    answers[index] = await self._keep_next(call, origin, kept, counted=not index)
                    if answers[index] is kept:
                        kept = KeptAnswer(held, copies)

        async with asyncio.TaskGroup() as workers:
            for number in range(min(BATCH_CONCURRENCY, len(calls))):
                has_place = not number or origin.scope
                workers.create_task(work(UNLIMITED if has_place else self._access.limits.place(origin.caller)))
        return [answer for answer in answers if answer is not None]

    async def _keep_next(
        self, call: jsonrpc.Call, origin: Origin, kept: KeptAnswer, *, counted: bool
    ) -> JsonText | KeptAnswer | None:
        """The answer to a call of a batch, which counts for its caller unless it has been counted."""
        if not counted and not origin.scope:
            try:
                self._access.limits.request(origin.caller)
            except QuotaExceeded as error:
                count_refusal(error)
                return None if call.id is None else jsonrpc.error_response(call.id, error)
        return await self._keep(call, origin, kept)

    async def _keep(self, call: jsonrpc.Call, origin: Origin, kept: KeptAnswer) -> JsonText | KeptAnswer | None:
        """The answer to a call as a whole, in `kept` if it is long, or the error that there is no room for it."""
        answer = await self._answer(call, origin, kept)
        if answer is not None and (isinstance(answer, LongText) or len(answer) > UNCOUNTED):
            try:
                await kept.keep(answer)
            except Exception as error:
                answer = jsonrpc.error_response(call.id, error_to_tell(error))
            else:
                return kept
        if kept.size:
            kept.forget()
        return answer

    async def _answer(self, call: jsonrpc.Call, origin: Origin, held: Held) -> JsonText | LongText | None:
        observed = self.observed.begin(call, origin)
        origin = origin._replace(call=observed)
        request_id = call.id
        try:
            if isinstance(call, jsonrpc.Refused):
                raise call.error
            method = self._permitted(call.method, origin)
            executing = method.execute(call.params, origin, held)
            del call  # It may hold many inputs, and the end of the run may be far away.
            result = await executing
            if request_id is None:
                ended(observed, None, origin.source)
                return None
            text = await method.write(result, held)
        except asyncio.CancelledError:
            observed.end(CANCELLED, "CANCELLED", origin.source)
            raise
        except Exception as error:
            told = error_to_tell(error)
            count_refusal(told)
        else:
            return _answered(observed, origin, request_id, text)
        if request_id is None:
            ended(observed, told, origin.source)
            return None
        text = jsonrpc.error_response(request_id, told)
        observed.sent(len(text))
        ended(observed, told, origin.source)
        return _Refusal(text, told) if isinstance(told, PermissionDenied | QuotaExceeded) else text

    def _permitted(self, name: str, origin: Origin) -> RpcMethod:
        """The method with this name. Raises MethodNotFound, PermissionDenied and QuotaExceeded."""
        method = self._methods.get(name)
        if method is None:
            raise MethodNotFound(f"no method {shortened(name)!r}; there are {', '.join(self._methods)}")
        origin.permit(self._access.audit, name)
        origin.limit(self._access.limits, name)
        return method

    async def _submit(self, params: Params, origin: Origin, held: Held) -> RunAnswer:
        submit = params_json.submit_params_from_json(params)
        del params
        caller = origin.caller
        with origin.entry(self._access.audit, "runs/submit") as entry:
            if (limits := self._access.limits).limited and not origin.scope:
                limits.items(caller, len(submit.inputs))
            if caller is not ANYBODY:
                submit = owned(submit, caller)
            scope = origin.scope or _scope(submit.observability)
            submit = joined(origin.call, submit)
            submitting = self.services.of(caller.view).open_submit(
                submit, scope=scope, accepted=partial(give_back, held)
            )
            del submit
            answer = await submitting
            entry.names(answer.status.run_id)
            origin.call.run_id = answer.status.run_id
            return answer

    async def _get(self, params: Params, origin: Origin, held: Held) -> RunAnswer:
        get = joined(origin.call, params_json.get_params_from_json(params))
        origin.concerns(get.run_id)
        if get.wait:
            del params
            give_back(held)
        return await self.services.of(origin.caller.view).open_get(get)

    async def _put_blob(self, params: Params, origin: Origin, held: Held) -> str:
        return await self.services.of(origin.caller.view).put_blob(blobs_json.blob_from_json(params))

    async def _get_blob(self, params: Params, origin: Origin, held: Held) -> tuple[Blob, str]:
        blob_id = blobs_json.blob_id_from_json(params)
        return await read_blob(self.services.of(origin.caller.view), blob_id, held), blob_id

    async def _create_token(self, params: Params, origin: Origin, held: Held) -> CreatedToken:
        token = tokens_json.token_params_from_json(params)
        with origin.entry(self._access.audit, "runs/token") as entry:
            entry.makes_token(token)
            return self._access.create_token(origin.caller, token)

    async def _write_token(self, created: CreatedToken, held: Held) -> JsonText:
        return tokens_json.created_token_to_json(created)

    async def _write_status(self, answer: RunAnswer, held: Held) -> JsonText | LongText:
        status, results = answer.status, answer.results
        if results is None:
            await self.fair_queue.yield_turn()
            return "".join(status_to_json.around_results(status))
        page = await results.next()
        if not results.ended or status_to_json.results_size(page) > PART:
            return StatusText(status, page, results, held, self.fair_queue)
        texts: list[JsonText] = []
        for part in status_to_json.result_slices(page):
            await self.fair_queue.yield_turn()
            texts.append(status_to_json.results_to_json(page[part]))
        opening, closing = status_to_json.around_results(status, with_results=True)
        return f"{opening}{','.join(texts)}{closing}"

    async def _write_blob_id(self, blob_id: str, held: Held) -> JsonText:
        await self.fair_queue.yield_turn()
        return blobs_json.blob_id_to_json(blob_id)

    async def _write_blob(self, found: tuple[Blob, str], held: Held) -> JsonText | LongText:
        await self.fair_queue.yield_turn()
        return BlobText(*found, self.fair_queue) if is_long(found[0]) else blobs_json.blob_to_json(*found)


async def _refuse_watch(params: Params, origin: Origin, held: Held) -> str:
    """A set is followed by an event stream; what is wrong with the parameters is told first."""
    set_params_from_json(params)
    raise InvalidRequest("runs/watch is answered by an event stream: send 'Accept: text/event-stream', and an id")


def _answered(
    call: ObservedCall, origin: Origin, request_id: JsonText, text: JsonText | LongText
) -> JsonText | LongText:
    """The answer to a call, which has ended. A long one is made, and sent, from now on."""
    if isinstance(text, str):
        text = jsonrpc.response(request_id, text)
        call.sent(len(text))
    else:
        before, after = jsonrpc.around_result(request_id)
        text = Enclosed(before, text, after)
        call.sent(text.content_length or 0)
    ended(call, None, origin.source)
    return text


async def _joined(text: LongText) -> bytes:
    whole = BytesIO()
    async with aclosing(text.parts()) as parts:
        async for part in parts:
            whole.write(part)
    return whole.getvalue()


def _scope(context: ObservabilityContext | None) -> str:
    """The scope of the task that a trace names; "" if it names none."""
    if context is None or not context.run_id or not context.span_id:
        return ""
    return msgspec.json.encode([context.run_id, context.step_id, context.span_id]).decode()
