"""What is kept of what a component server prints."""

import asyncio
import shlex
import sys
import time

from gateway.components.output import LAST_LINES, SHOWN_LENGTH, SHOWN_LINES, ServerOutput
from gateway.components.registry import Components
from tests.support.tasks import LIMIT


def stream(content: bytes) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    reader.feed_data(content)
    reader.feed_eof()
    return reader


async def test_the_last_lines_are_kept_with_their_times_and_streams() -> None:
    output, before = ServerOutput("/t"), time.time()
    await output.read(stream(b"one\n\ntwo\x1b\n"), "stdout")
    await output.read(stream(b"three"), "stderr")
    output.close()
    assert [(line.stream, line.text) for line in output.recent] == [
        ("stdout", "one"),
        ("stdout", "two\\x1b"),
        ("stderr", "three"),
    ]
    assert all(before <= line.time <= time.time() for line in output.recent)


async def test_their_number_and_length_are_bounded() -> None:
    output = ServerOutput("/t")
    await output.read(stream(b"".join(b"%d%b\n" % (number, b"x" * 100_000) for number in range(200))), "stderr")
    output.close()
    assert (len(output.recent), len(output.last)) == (SHOWN_LINES, LAST_LINES)
    assert output.recent[-1].text.startswith("199x")
    assert max(len(line.text) for line in output.recent) < SHOWN_LENGTH + 50


async def test_servers_are_seen_with_their_last_lines_also_after_their_end() -> None:
    script = "import sys; print('said', file=sys.stderr); print('{\"port\": \"no\"}')"
    components = Components({"/t": shlex.join([sys.executable, "-c", script]), "/u": "http://127.0.0.1:1"})

    async def serve(_: bytes, __: str) -> None: ...

    assert components.servers == []
    await components.start(serve, None)
    try:
        async with asyncio.timeout(LIMIT):
            await components.ready()
        command, elsewhere = components.servers
        assert (command.prefix, command.up, elsewhere.prefix, elsewhere.up) == ("/t", False, "/u", False)
        assert {(line.stream, line.text) for line in command.lines} >= {
            ("stderr", "said"),
            ("stdout", '{"port": "no"}'),
        }
        assert list(elsewhere.lines) == []
    finally:
        await components.close()
