"""The paths of Connect and gRPC-Web on the HTTP front."""

from collections.abc import Iterator
from typing import Final, cast

from grpc import aio

from gateway.access.access import Access
from gateway.access.method_permissions import STORING, STREAMS, is_for_everybody, permit_grpc
from gateway.concurrency.fair_queue import FairQueue
from gateway.concurrency.memory_account import MemoryHold
from gateway.core.errors import GatewayError, MethodNotFound
from gateway.fronts.grpc.connections import CallMemory, Connections
from gateway.fronts.grpc.front import GrpcFront
from gateway.fronts.grpc.observed_context import cancelled_status, carried
from gateway.fronts.http.coded_answers import CodedAnswers
from gateway.fronts.http.early_head import EarlyHead
from gateway.fronts.http.limits import HttpLimits
from gateway.fronts.http.request import HttpRequest
from gateway.fronts.http.responses import SERVER, HttpResponse, MethodNotAllowed, header_lines
from gateway.fronts.web.answer_stream import AnswerStream
from gateway.fronts.web.call_hold import CallHold
from gateway.fronts.web.failure import EXPIRED, Failure, code_of
from gateway.fronts.web.one_answer import answer_response, failed_response
from gateway.fronts.web.requests import FramedMessages, OneMessage, RequestMessages
from gateway.fronts.web.web_call import make_call
from gateway.fronts.web.web_context import WebContext
from gateway.fronts.web.web_method import WebMethod
from gateway.fronts.web.web_methods import WebMethods
from gateway.fronts.web.wires import REFUSING, Wire, declared_wire, named_wire, wire_for
from gateway.telemetry import tracing
from gateway.telemetry.observed_calls import ObservedCall

_UNIX: Final = "unix:"


class UnknownMethod(MethodNotFound):
    """The service has no such method."""

    http_status = 501


class WebLane:
    """Answers the requests whose paths are methods. What their calls hold is counted by `connections`."""

    def __init__(self, methods: WebMethods, connections: Connections, access: Access, limits: HttpLimits) -> None:
        self._methods = methods
        self._connections = connections
        self._access = access
        self._limits = limits
        self._fair_queue = FairQueue()
        self._answers = CodedAnswers(self._fair_queue)

    def route(self, path: str) -> str:
        """The method at a path, or `/SERVICE/*` if the service has no such method; "" if there is no such service."""
        return path if path in self._methods.by_path else self._methods.service(path)

    def refusal(self, request: HttpRequest, error: GatewayError) -> HttpResponse:
        """The answer to a request that is refused before it is known which call it is."""
        wire = declared_wire(request) or REFUSING
        if code_of(type(error)) is not None:
            return failed_response(wire, Failure.of(error))
        headers = {"Allow": error.allowed} if isinstance(error, MethodNotAllowed) else {}
        return HttpResponse(b"", header_lines({**headers, "Server": SERVER}), error.http_status)

    def early_refusal(self, head: EarlyHead, error: GatewayError) -> HttpResponse | None:
        """The answer to what is no request, but names a path; None if that is none of these."""
        if not self.route(head.path):
            return None
        return failed_response(named_wire(head.media_type) or REFUSING, Failure.of(error))

    async def answer(self, request: HttpRequest, held: MemoryHold) -> HttpResponse | None:
        """Answer a request; None if the answer has been written. Raises GatewayError if it is no call."""
        method = self._methods.by_path.get(request.path)
        if method is None:
            raise UnknownMethod("the service has no such method")
        wire = wire_for(request, method)
        call = ObservedCall(method.observed)
        context = WebContext(method, wire, call, _peer(request), wire.timeout(request.headers))
        if tracing.tracer is not None:
            call.trace(carried(_metadata(request)))
        status = ""
        try:
            memory = call.source = self._connections.count(context)  # type: ignore[arg-type]
            self._let_in(request, method, memory)
            memory.limit = request.limit
            try:
                status, response = await self._made(request, held, context, memory)
            finally:
                memory.limit = None  # It ends with the request, which gives all of it back.
            return response
        except GatewayError as error:
            failure = Failure.of(error)
            status = failure.code.name
            return failed_response(wire, failure)
        finally:
            status = status or cancelled_status(context)
            call.end(status, status)
            self._connections.end(context)  # type: ignore[arg-type]

    def _let_in(self, request: HttpRequest, method: WebMethod, memory: CallMemory) -> None:
        """Raise PermissionDenied if the caller may not call a method, QuotaExceeded if it is at a limit."""
        caller = memory.caller = request.caller
        try:
            request.limit.hold(memory.size)
            if not is_for_everybody(method.path):
                permit_grpc(caller, method.path)
            if method.path in STORING:
                self._access.limits.stored(caller)
            if method.path in STREAMS:
                request.limit.becomes_stream()
        except GatewayError as error:
            self._access.audit.refused(error, "http", method.path, request.peer, caller)
            raise

    async def _made(
        self, request: HttpRequest, held: MemoryHold, context: WebContext, memory: CallMemory
    ) -> tuple[str, HttpResponse | None]:
        """Make a call. Returns its status, and what is to be sent."""
        wire = context.wire
        messages = self._messages(request, held, wire, memory)
        stream = None
        if context.method.gives_many:
            if self._limits.connection_age is not None:
                request.closes = True  # The stream ends with its connection, and the client is to know it before.
            stream = AnswerStream(request, wire, self._fair_queue)
        context.open(messages, stream, memory, self._fair_queue)
        held_form = CallHold(memory)
        try:
            if stream is not None:
                request.connection.streams = True
                stream.begin()
            outcome = await make_call(context, memory, self._connections, held_form.grow)
            if isinstance(outcome, Failure):
                status, response = outcome.code.name, None
                request.stalled = request.stalled or outcome is EXPIRED  # Its client may have given up.
                if stream is None:
                    response = failed_response(wire, outcome)
                else:
                    stream.fail(outcome)
                return status, response
            if stream is None:
                return "OK", await answer_response(request, wire, outcome, self._answers, self._fair_queue)
            stream.succeed()
            return "OK", None
        finally:
            held_form.release()
            await messages.close()

    def _messages(self, request: HttpRequest, held: MemoryHold, wire: Wire, memory: CallMemory) -> RequestMessages:
        if wire.framed:
            return FramedMessages(request, wire, memory, self._limits, self._fair_queue)
        return OneMessage(request, held, self._limits, self._fair_queue)


def _peer(request: HttpRequest) -> str:
    """The address of a client as gRPC writes it."""
    return request.peer or _UNIX


def _metadata(request: HttpRequest) -> Iterator[tuple[str, str]]:
    return ((name.lower(), value) for name, value in request.headers.items())


def web_lane(front: GrpcFront, access: Access, limits: HttpLimits) -> WebLane:
    """A lane that has the methods of the gRPC front, within the limits of both."""
    methods = WebMethods()
    front.add_to(cast("aio.Server", methods))
    return WebLane(methods, front.calls, access, limits)
