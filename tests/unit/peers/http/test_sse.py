import itertools
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.peers.http.sse import EventReader, EventTooLarge


def read(*chunks: bytes, limit: int = 1000) -> list[bytes]:
    reader = EventReader(limit)
    return [event for chunk in chunks for event in reader.feed(chunk) if event is not None]


@pytest.mark.parametrize("end", [b"\n", b"\r", b"\r\n"])
def test_each_way_to_end_a_line(end: bytes) -> None:
    assert read(b"data: 1" + end + end + b"data: 2" + end + end) == [b"1", b"2"]


def test_lines_of_data_are_joined() -> None:
    assert read(b"data: [1,\r\ndata:2]\r\n\r\n") == [b"[1,\n2]"]


def test_comments_other_fields_and_a_byte_order_mark_are_skipped() -> None:
    assert read(b"\xef\xbb\xbf: hello\nevent: message\nid: 7\nretry\n\ndata: 1\nnonsense\n\n\n\n") == [b"1"]


def test_only_one_space_belongs_to_the_field() -> None:
    assert read(b"data:  1\n\ndata\n\n") == [b" 1", b""]


def test_an_unfinished_event_is_none() -> None:
    assert read(b"data: 1\n") == []


@given(
    st.lists(st.text().map(json.dumps), max_size=5),
    st.sampled_from(["\n", "\r", "\r\n"]),
    st.lists(st.integers(min_value=0, max_value=200)),
)
def test_where_chunks_are_cut_makes_no_difference(events: list[str], end: str, cuts: list[int]) -> None:
    stream = "".join(f": é\N{GRINNING FACE}{end}data: {event}{end}{end}" for event in events).encode()
    places = sorted({0, len(stream), *(cut for cut in cuts if cut < len(stream))})
    chunks = [stream[start:stop] for start, stop in itertools.pairwise(places)]
    assert read(*chunks, limit=len(stream) + 1) == [event.encode() for event in events]


@pytest.mark.parametrize(
    "chunk",
    [b"x" * 101, b"data: x\n" * 15, b": comment\n" * 12, b"\n" * 101, b"data: " + b"x" * 100 + b"\n\n"],
)
def test_more_than_the_limit_without_an_event_is_refused(chunk: bytes) -> None:
    with pytest.raises(EventTooLarge):
        read(chunk, limit=100)


def test_the_limit_holds_over_chunks() -> None:
    with pytest.raises(EventTooLarge):
        read(*[b"data: x"] * 20, limit=100)


def test_events_below_the_limit_go_on_for_ever() -> None:
    assert len(read(*[b"data: 1\n\n"] * 1000, limit=100)) == 1000


def test_the_last_id_is_known() -> None:
    reader = EventReader(1_000)
    chunks = [b"id: a\ndata: 1\n\nda", b"ta: 2\n\nid:b\ndata: 3\n\n"]
    assert [(event, reader.last_id) for chunk in chunks for event in reader.feed(chunk) if event is not None] == [
        (b"1", "a"),
        (b"2", "a"),
        (b"3", "b"),
    ]


@pytest.mark.parametrize("line", [b": comment\n", b"\n", b"data\n"])
def test_lines_that_complete_no_event_are_read_in_steps(line: bytes) -> None:
    steps = list(EventReader(100_000).feed(line * 10_000))
    assert steps == [None] * len(steps)
    assert len(steps) >= 100
