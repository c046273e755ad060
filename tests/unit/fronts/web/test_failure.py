"""The codes of errors over HTTP."""

import grpc
import pytest

from gateway.core.errors import GatewayError, NotFound
from gateway.fronts.http.responses import (
    MethodNotAllowed,
    RequestTimeout,
    UnsupportedContentCoding,
    UnsupportedMediaType,
)
from gateway.fronts.web.failure import Failure, code_of


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotFound("none"), grpc.StatusCode.NOT_FOUND),
        (RequestTimeout("late"), grpc.StatusCode.DEADLINE_EXCEEDED),
        (UnsupportedContentCoding("br"), grpc.StatusCode.UNIMPLEMENTED),
    ],
)
def test_a_call_fails_with_the_code_of_its_error(error: GatewayError, code: grpc.StatusCode) -> None:
    assert code_of(type(error)) is Failure.of(error).code is code


@pytest.mark.parametrize("kind", [MethodNotAllowed, UnsupportedMediaType])
def test_a_request_in_no_protocol_has_none(kind: type[GatewayError]) -> None:
    assert code_of(kind) is None
