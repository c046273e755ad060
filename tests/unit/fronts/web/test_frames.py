from collections.abc import AsyncGenerator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.core.errors import InvalidRequest, TooLarge
from gateway.fronts.web.frames import Frame, FrameReader, frame


async def chunks(*parts: bytes) -> AsyncGenerator[bytes, None]:
    for part in parts:
        yield part


class Held:
    """Counts what is held."""

    def __init__(self) -> None:
        self.size = 0

    def grow(self, size: int) -> None:
        self.size += size

    def shrink(self, size: int) -> None:
        self.size -= size


async def frames_in(*parts: bytes, most: int = 1_000) -> tuple[list[Frame], int]:
    """The frames in the chunks of a body, and how much is held at the end."""
    held = Held()
    reader = FrameReader(chunks(*parts), most, held)
    found = []
    while (read := await reader.next()) is not None:
        found.append(read)
    await reader.close()
    return found, held.size


@given(st.lists(st.tuples(st.integers(0, 255), st.binary(max_size=20)), max_size=5), st.integers(1, 7))
async def test_frames_are_read_however_they_are_cut(sent: list[tuple[int, bytes]], size: int) -> None:
    body = b"".join(frame(content, flags) for flags, content in sent)
    found, held = await frames_in(*(body[start : start + size] for start in range(0, len(body), size)))
    assert found == [Frame(flags, content) for flags, content in sent]
    assert held == sum(len(content) for _, content in sent)


@pytest.mark.parametrize("body", [b"\0", b"\0\0\0\0", b"\0\0\0\0\5abcd", frame(b"x") + b"\0\0"])
async def test_a_body_that_is_cut_is_refused(body: bytes) -> None:
    with pytest.raises(InvalidRequest):
        await frames_in(body)


async def test_a_frame_beyond_the_limit_is_refused_before_it_comes() -> None:
    with pytest.raises(TooLarge):
        await frames_in(b"\0\0\0\3\xe9")
    assert (await frames_in(frame(bytes(1_000))))[0] == [Frame(0, bytes(1_000))]
