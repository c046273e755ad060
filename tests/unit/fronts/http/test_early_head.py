"""What is read of heads that cannot be parsed."""

from itertools import pairwise

import pytest

from gateway.fronts.http.early_head import EarlyHead

HEAD = (
    b"POST /runs.v1.RunsService/GetRun?x=y HTTP/1.1\r\nhost: x\r\nORIGIN:\thttps://app.example \r\n"
    b"Content-Type: Application/Connect+JSON; charset=utf-8\r\n\r\n"
)
READ = ("/runs.v1.RunsService/GetRun", "https://app.example", "application/connect+json")


def read(head: EarlyHead) -> tuple[str, str, str]:
    return head.path, head.origin, head.media_type


@pytest.mark.parametrize("size", [1, 7, 60, 1_000])
def test_headers_are_read_in_whatever_pieces_they_come(size: int) -> None:
    begun = HEAD.index(b"?") + 1
    head = EarlyHead.beginning(HEAD[:begun])
    for start, stop in pairwise([*range(begun, len(HEAD), size), len(HEAD)]):
        head.add(HEAD[start:stop])
    assert read(head) == READ


def test_what_follows_the_head_is_not_read() -> None:
    head = EarlyHead.beginning(b"POST / HTTP/1.1\r\nHost: x\r\n\r\nOrigin: https://evil.example\r\n")
    head.add(b"\r\nOrigin: https://evil.example\r\n\r\n")
    assert head.origin == ""


def test_what_is_there_twice_is_not_known() -> None:
    head = EarlyHead.beginning(HEAD.replace(b"host: x", b"Origin: https://evil.example"))
    assert read(head) == (READ[0], "", READ[2])


def test_a_line_of_any_length_is_passed() -> None:
    head = EarlyHead.beginning(b"GET /x HTTP/1.1\r\nOrigin: ")
    for _ in range(100):
        head.add(b"x" * 1_000)
    head.add(b"\r\nContent-Type: a/b\r\n\r\n")
    assert read(head) == ("/x", "", "a/b")


@pytest.mark.parametrize("end", [b"", b"\r", b"x" * 301, b"\r\n\r\n"])
def test_a_header_of_much_white_space_is_read_in_one_go(end: bytes) -> None:
    # A pattern that goes back over it would take days for so much.
    head = EarlyHead.beginning(b"GET /x HTTP/1.1\r\nOrigin:" + b" " * 200_000 + end)
    assert read(head) == ("/x", "", "")
