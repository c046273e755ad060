"""Server-sent events: where chunks are cut makes no difference, and the memory has a bound."""

from typing import Final

from hypothesis import strategies as st

from gateway.peers.http.sse import EventReader, EventTooLarge

LIMIT: Final = 1_000

_LINES: Final = st.sampled_from(
    (b"data: x", b"data:", b"data", b"id: 7", b"id:\xff", b": comment", b"event: y", b"retry: 1", b"", b"\xef\xbb\xbf")
) | st.binary(max_size=8)
_ENDS: Final = st.sampled_from((b"\n", b"\r", b"\r\n", b"\n\n", b"\r\r", b"\r\n\r\n"))

DOCUMENTS: Final[st.SearchStrategy[bytes]] = st.lists(st.tuples(_LINES, _ENDS), max_size=12).map(
    lambda lines: b"".join(line + end for line, end in lines)
)


def check(data: bytes) -> None:
    """Read the stream as a whole, byte by byte, and in pieces of which the first byte tells the size."""
    whole = _read(data, max(1, len(data)))
    for size in {1, 1 + (data[0] % 16 if data else 0)}:
        events, last_id, refused = _read(data, size)
        # A stream beyond the limit is refused sooner or later, as the chunks come.
        if refused or whole[2]:
            shorter = min(len(events), len(whole[0]))
            assert events[:shorter] == whole[0][:shorter]
        else:
            assert (events, last_id) == whole[:2], "the events depend on where the chunks are cut"


def _read(data: bytes, size: int) -> tuple[list[bytes], str, bool]:
    """The events of a stream that comes in chunks of a size, its last id, and whether it is refused."""
    reader = EventReader(LIMIT)
    events: list[bytes] = []
    try:
        for start in range(0, len(data), size):
            for event in reader.feed(data[start : start + size]):
                if event is None:
                    continue
                assert len(event) <= LIMIT
                assert b"\r" not in event
                events.append(event)
    except EventTooLarge:
        return events, "", True
    return events, reader.last_id, False
