"""Requests that come together, and something malformed among them."""

import pytest

from gateway.fronts.http.intake import PIECE, _head_by_head
from tests.support.http_front import running_front

HEALTH = b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"
LAST = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"
OLD = b"GET /health HTTP/1.0\r\nHost: localhost\r\n\r\n"
POST = b"POST /nowhere HTTP/1.1\r\nHost: localhost\r\nContent-Length: 8\r\n\r\n"
BODY = b"\r\n\r\n" * 2
MALFORMED = b"nonsense\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "statuses"),
    [
        (HEALTH + MALFORMED, [200, 400]),
        (HEALTH * 3 + MALFORMED, [200, 200, 200, 400]),
        (POST + BODY + HEALTH + MALFORMED, [404, 200, 400]),
        (POST + BODY + MALFORMED, [404, 400]),
        (LAST + HEALTH, [200]),
        (LAST + MALFORMED, [200]),
        (OLD + HEALTH, [200]),
        (HEALTH + b"non", [200, 400]),
    ],
)
@pytest.mark.parametrize("known", [False, True])
async def test_requests_before_a_malformed_one_are_answered(data: bytes, statuses: list[int], *, known: bool) -> None:
    async with running_front() as front:
        if known:
            for request in (HEALTH, POST + BODY):
                await (await front.connect()).send(request).answer()
        connection = (await front.connect()).send(data)
        assert [(await connection.answer()).status for _ in statuses] == statuses
        assert await connection.half_close().rest() == b""


@pytest.mark.parametrize("data", [b"", BODY, HEALTH * 3, b"\r\n\r\n" * (PIECE // 4), OLD + BODY * 20 + LAST])
def test_a_piece_is_divided_no_more_often_than_it_may_have_heads(data: bytes) -> None:
    parts = list(_head_by_head(data))
    assert b"".join(parts) == data
    assert len(parts) <= 1 + len(data) // len(b"GET / HTTP/1.0\r\n\r\n")
