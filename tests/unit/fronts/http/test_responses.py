"""Refusals as responses."""

from types import SimpleNamespace
from typing import Any

import msgspec

from gateway.core.errors import QuotaExceeded
from gateway.fronts.http.responses import RPC_PATH, HttpResponse, refusal


def refused(path: str, *, retry_after: float = 0.2, data: str | None = None) -> HttpResponse:
    request: Any = SimpleNamespace(path=path)
    return refusal(request, QuotaExceeded("no", quota="max_calls", subject="all", retry_after=retry_after, data=data))


def test_refusals_that_are_the_same_are_written_once() -> None:
    assert refused(RPC_PATH) is refused(RPC_PATH)
    others = [refused("/api/v1/blobs"), refused(RPC_PATH, retry_after=1.2), refused(RPC_PATH, data='{"of":"another"}')]
    assert len({answer.body + answer.lines for answer in (*others, refused(RPC_PATH))}) == 4
    assert msgspec.json.decode(refused(RPC_PATH, data='{"of":"another"}').body)["error"]["data"]["of"] == "another"
    assert b"Retry-After: 1\r\n" in refused(RPC_PATH).lines
    assert b"Retry-After: 2\r\n" in others[1].lines
