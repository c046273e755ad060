import io
import os
from collections.abc import Iterator
from typing import TextIO

import pytest

from gateway.server.log_stream import LogStream


@pytest.fixture
def ends() -> Iterator[tuple[int, TextIO]]:
    """The end of a pipe that is read, and the one that is written."""
    reader, writer = os.pipe()
    with os.fdopen(writer, "w", encoding="utf-8") as stream:
        yield reader, stream
    os.close(reader)


def test_a_pipe_that_nobody_reads_is_not_waited_for(ends: tuple[int, TextIO]) -> None:
    reader, writer = ends
    log = LogStream(writer)
    line = "x" * 99 + "\n"
    for _ in range(2_000):
        log.write(line)
    taken = os.read(reader, 1 << 20).decode()
    assert taken == line * (len(taken) // 100)
    log.write("after\n")
    lost = 2_000 - len(taken) // 100
    assert os.read(reader, 1 << 20).decode() == f"... {lost:,} entries of the log are lost: nobody read them\nafter\n"


def test_a_long_entry_is_cut_where_the_pipe_is_full(ends: tuple[int, TextIO]) -> None:
    reader, writer = ends
    log = LogStream(writer)
    log.write("x" * (1 << 20))
    assert 4_096 <= len(os.read(reader, 2 << 20)) < 1 << 20
    log.write("after\n")
    assert os.read(reader, 1 << 20).endswith(b"after\n")


def test_a_long_entry_that_finds_room_is_whole(ends: tuple[int, TextIO]) -> None:
    reader, writer = ends
    LogStream(writer).write("é" * 10_000)
    assert os.read(reader, 1 << 20).decode() == "é" * 10_000


def test_a_stream_without_a_descriptor_is_written_to() -> None:
    stream = io.StringIO()
    log = LogStream(stream)
    log.write("a\n")
    log.flush()
    assert stream.getvalue() == "a\n"
