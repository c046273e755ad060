import base64
import json

import grpc
import pytest

from gateway.core.errors import InvalidParams, Overloaded
from gateway.fronts.web.connect_errors import error_body, http_status, stream_end
from gateway.fronts.web.failure import Failure


@pytest.mark.parametrize("code", [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK])
def test_each_code_has_a_name_and_a_status(code: grpc.StatusCode) -> None:
    error = json.loads(error_body(code, "", ()))
    assert error == {"code": "canceled" if code is grpc.StatusCode.CANCELLED else code.name.lower()}
    assert 400 <= http_status(code) < 600


def test_details_are_base64_without_padding() -> None:
    failure = Failure.of(InvalidParams.field("flow_id", description="x"))
    error = json.loads(error_body(*failure))
    assert error["code"] == "invalid_argument"
    for detail in error["details"]:
        assert "=" not in detail["value"]
        assert base64.b64decode(detail["value"] + "=" * (-len(detail["value"]) % 4))


def test_a_stream_ends_with_an_error_or_without() -> None:
    assert stream_end(None) == b"{}"
    failure = Failure.of(Overloaded("later", retry_after=1.0))
    assert json.loads(stream_end({"code": failure.code.name.lower()})) == {"error": {"code": "resource_exhausted"}}
