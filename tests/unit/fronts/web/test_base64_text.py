from base64 import b64encode
from collections.abc import AsyncGenerator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import InvalidRequest
from gateway.fronts.web.base64_text import decoded


async def chunks(*parts: bytes) -> AsyncGenerator[bytes, None]:
    for part in parts:
        yield part


async def text_of(*parts: bytes) -> bytes:
    return b"".join([part async for part in decoded(chunks(*parts))])


@given(st.lists(st.binary(max_size=20), max_size=4), st.integers(1, 9))
async def test_pieces_may_each_be_padded(pieces: list[bytes], size: int) -> None:
    text = b"".join(map(b64encode, pieces))
    assert await text_of(*(text[start : start + size] for start in range(0, len(text), size))) == b"".join(pieces)


@pytest.mark.parametrize("text", [b"A", b"AAA", b"A===", b"AA=A", b"****", b"====", b"AAAA\n"])
async def test_what_is_no_base64_is_refused(text: bytes) -> None:
    with pytest.raises(InvalidRequest):
        await text_of(text)
