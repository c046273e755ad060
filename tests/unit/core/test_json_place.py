"""Places in texts, for people who have them before them."""

import re

import pytest

from gateway.core.json_place import utf8_text


def test_bytes_are_the_text_that_they_encode() -> None:
    assert utf8_text("a\n→😀".encode()) == "a\n→😀"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\xff", "line 1, column 1: not UTF-8 (byte 0xff)"),
        ('{"a":\n "→'.encode() + b'\xe9"}', "line 2, column 4: not UTF-8 (byte 0xe9)"),
        ("a\n→".encode()[:-1], "line 2, column 1: not UTF-8 (byte 0xe2)"),
    ],
)
def test_bytes_that_are_none_are_refused_with_their_place(content: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        utf8_text(content)
