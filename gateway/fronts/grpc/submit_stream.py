"""A submit in parts: the inputs of one run, collected until the client has finished."""

from grpc import aio

from gateway.access.limits import CallerLimits
from gateway.adapter import params_proto
from gateway.adapter.long_messages import read_long_part
from gateway.concurrency.fair_queue import FairQueue, FairSlices
from gateway.core.errors import InvalidParams, TooLarge
from gateway.core.json_parts import LONG_TEXT
from gateway.core.model import SubmitParams
from gateway.core.packed_texts import PackedTexts
from gateway.fronts.grpc.answer_form import AnswerForm
from gateway.fronts.grpc.calls import Context
from gateway.fronts.grpc.connections import Connections
from gateway.fronts.grpc.inputs import read_inputs
from gateway.fronts.grpc.request_length import parsed
from gateway.fronts.grpc.server import GrpcLimits
from runs.v1 import runs_pb2

INPUT_BYTES = 64
"""What an input takes beyond the bytes of its text: many tiny inputs count as well."""


class Upload:
    """The messages of one SubmitRunStream call, read and checked as they come.

    What it holds is counted for its call.
    """

    def __init__(
        self,
        limits: GrpcLimits,
        connections: Connections,
        context: Context,
        fair_queue: FairQueue,
        caller_limits: CallerLimits,
    ) -> None:
        self._limits = limits
        self._caller_limits = caller_limits
        self._connections = connections
        self._context = context
        self._memory = connections.of(context)
        self._fair_queue = fair_queue
        self._size = 0
        self._inputs = PackedTexts()

    async def receive(self) -> tuple[SubmitParams, AnswerForm]:
        """The parameters with all inputs, and the form of the answer, when the client has closed its side.

        Raises InvalidParams, at once, if a message breaks a rule, TooLarge if the upload exceeds its limit, Overloaded
        if there is no room for it, RequestStalled if the client does not go on.
        """
        params: SubmitParams | None = None
        form: AnswerForm | None = None
        while (data := await self._connections.read(self._context)) is not aio.EOF:
            transient = len(data)
            self._memory.grow(transient)
            self._make_room(transient)
            reading = self._read_long(data) if transient > LONG_TEXT else self._read(data)
            del data
            request = await reading
            if params is None:
                if not request.HasField("parameters"):
                    raise InvalidParams.field("parameters", description="the first message must set it")
                params = params_proto.submit_params_without_inputs(request.parameters, self._inputs)
                form = AnswerForm.of(request.parameters)
            elif request.HasField("parameters"):
                raise InvalidParams.field("parameters", description="only the first message may set it")
            del request
            self._memory.shrink(transient)
        if params is None or form is None:
            raise InvalidParams.field("parameters", description="the first message must set it")
        return params, form

    async def _read(self, data: bytes) -> runs_pb2.SubmitRunStreamRequest:
        """Read a message, with its inputs."""
        request = parsed(runs_pb2.SubmitRunStreamRequest.FromString, data)
        number = len(request.inputs) + len(request.parameters.inputs)
        self._count(number, len(self._inputs))
        self._make_room(INPUT_BYTES * number)
        await read_inputs(request.parameters.inputs, self._inputs, self._fair_queue)
        await read_inputs(request.inputs, self._inputs, self._fair_queue)
        return request

    async def _read_long(self, data: bytes) -> runs_pb2.SubmitRunStreamRequest:
        """Read a long message; what is returned has none of its inputs."""
        before = len(self._inputs)
        reading = read_long_part(data, self._inputs, FairSlices(self._fair_queue).checkpoint)
        del data
        request = await reading
        self._count(len(self._inputs) - before, before)
        self._make_room(INPUT_BYTES * (len(self._inputs) - before))
        return request

    def _count(self, number: int, before: int) -> None:
        """Count inputs after those that came before. Raises InvalidParams, and QuotaExceeded, if there are too many."""
        if before + number > self._limits.inputs:
            raise InvalidParams.field("inputs", description=f"more than {self._limits.inputs:,}")
        if number:
            self._caller_limits.items(self._memory.caller, number, before)

    def _make_room(self, size: int) -> None:
        if self._size + size > self._limits.upload:
            raise TooLarge(f"inputs: more than {self._limits.upload:,} bytes in all")
        self._size += size
        self._memory.grow(size)
