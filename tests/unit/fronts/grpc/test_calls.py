"""How calls end that have failed: within the headers that proxies take, with what gRPC itself knows of retries."""

import base64
import string
from collections.abc import Iterable
from urllib.parse import quote

import grpc
import pytest

from gateway.adapter.grpc_status import MAX_TRAILERS_BYTES
from gateway.core.errors import InvalidParams, Unavailable, Violation
from gateway.fronts.grpc import GrpcLimits
from gateway.fronts.grpc.calls import ending
from runs.v1 import runs_pb2
from tests.support.grpc_calls import Client, Serve
from tests.support.scripted_runtime import MISSING_RUN, ScriptedRuntime

PLAIN = string.printable.replace("%", "")
"""What gRPC does not encode in a message."""


def size(metadata: Iterable[tuple[str, str | bytes]]) -> int:
    values = (len(base64.b64encode(value)) if isinstance(value, bytes) else len(value) for _, value in metadata)
    return sum(len(name) for name, _ in metadata) + sum(values)


class ManyViolations(ScriptedRuntime):
    """Refuses every submit with more violations than any header holds."""

    async def submit(self, *_: object) -> None:  # type: ignore[override]
        raise InvalidParams([Violation(("inputs", index), "is not what the flow declares: ü") for index in range(500)])


@pytest.fixture
def runtime() -> ScriptedRuntime:
    return ManyViolations()


async def test_everything_around_an_error_has_two_kilobytes_at_most(client: Client, runtime: ScriptedRuntime) -> None:
    call = client.runs.SubmitRun(runs_pb2.SubmitRunRequest(flow_id=f"sha256:{'0' * 64}"))
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await call
    error = raised.value
    assert (error.details() or "").endswith(" more violations")
    trailing, initial = list(error.trailing_metadata() or ()), list(error.initial_metadata() or ())
    assert size(trailing) + size(initial) + len(quote(error.details() or "", safe=PLAIN)) <= MAX_TRAILERS_BYTES


async def test_what_passes_by_itself_says_so_to_grpc(serve: Serve, transport: str) -> None:
    _, client = await serve(GrpcLimits(calls=0))
    with pytest.raises(grpc.aio.AioRpcError) as raised:
        await client.get(MISSING_RUN).read()
    names = [name for name, _ in raised.value.trailing_metadata() or ()]
    assert ("grpc-retry-pushback-ms" in names) is (transport == "grpcio"), "the native package refuses to send it"
    assert "grpc-status-details-bin" in names


@pytest.mark.parametrize(
    ("retry_after", "pushback"), [(0.25, ["250"]), (0.0, ["0"]), (1e9, [str((1 << 31) - 1)]), (None, [])]
)
def test_the_time_of_a_retry_is_in_milliseconds(retry_after: float | None, pushback: list[str]) -> None:
    trailers = ending(Unavailable("later", retry_after=retry_after))[2]
    assert [value for name, value in trailers if name == "grpc-retry-pushback-ms"] == pushback
