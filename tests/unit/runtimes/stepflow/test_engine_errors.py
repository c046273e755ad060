"""What an engine says is wrong: as errors of the gateway."""

import pytest

from gateway.core.errors import (
    FlowNotFound,
    GatewayError,
    InvalidFlow,
    InvalidParams,
    RemoteError,
    TooLarge,
    render_path,
)
from gateway.runtimes.stepflow.engine_errors import MAX_MESSAGE, answer_error, submit_error
from tests.support.engine_bodies import RELEASES, recorded


@pytest.mark.parametrize("release", RELEASES)
def test_recorded_unknown_flow(release: str) -> None:
    (_, body), *_ = recorded(release, "POST /api/v1/runs", 404)
    assert isinstance(submit_error(404, body, f"sha256:{'a' * 64}"), FlowNotFound)


@pytest.mark.parametrize(
    ("status", "body", "kind", "path"),
    [
        (400, b'{"error":{"code":400,"message":"error analyzing workflow"}}', InvalidFlow, "flow_id"),
        (400, b'{"code":400,"message":"error analyzing workflow","stack":[]}', InvalidFlow, "flow_id"),
        (500, b'{"error":{"code":500,"message":"failed to get flow: Serialization error"}}', InvalidFlow, "flow_id"),
        (400, b'{"error":{"code":400,"message":"failed to apply workflow overrides"}}', InvalidParams, "overrides"),
        (422, b"overrides.steps: invalid type: integer `5`, expected a map", InvalidParams, "overrides.steps"),
        (
            400,
            b"Failed to parse the request body as JSON: input[2].a: number out of range",
            InvalidParams,
            "inputs[2].a",
        ),
        (
            400,
            b"Failed to parse the request body as JSON: input" + b"[0]" * 125 + b": deep",
            InvalidParams,
            "inputs" + "[0]" * 7,
        ),
        (422, b"something else", InvalidParams, ""),
        (413, b"Failed to buffer the request body: length limit exceeded", TooLarge, ""),
        (500, b'{"error":{"code":500,"message":"out of disk"}}', RemoteError, ""),
        (200, b"", RemoteError, ""),
    ],
)
def test_refused_submits(status: int, body: bytes, kind: type[GatewayError], path: str) -> None:
    error = submit_error(status, body, "sha256:x")
    assert type(error) is kind
    if isinstance(error, InvalidParams):
        assert [render_path(violation.path) for violation in error.violations] == [path]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b'{"code":500,"message":"broken","stack":[{"error":"secret"}]}', ": broken"),
        (b'{"error":{"message":"bro\\nken"}}', ": bro ken"),
        (b"<html>welcome</html>", ""),
        (b"", ""),
        (b"x" * 10 * MAX_MESSAGE, ": " + "x" * MAX_MESSAGE),
    ],
)
def test_failures_tell_no_more_than_the_message(body: bytes, told: str) -> None:
    assert answer_error(500, body).message == f"the engine answered with HTTP status 500{told}"
