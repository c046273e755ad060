"""The attacks: valid requests whose cost, size or slowness no single limit shows."""

from collections.abc import Callable, Mapping
from functools import partial
from typing import Final, NamedTuple

from benchmarks.abuse import memory, parsing, work


class Row(NamedTuple):
    """An attack.

    `attack` takes the gRPC and the HTTP address and how many seconds to go on, and returns what came of it. With
    `component`, the gateway is told of a component server at a port, which the attack gets as one more argument.
    """

    title: str
    attack: Callable[..., str]
    seconds: float = 6.0
    state: str = "runs.db"
    component: bool = False


ROWS: Final[Mapping[str, Row]] = {
    "iterate-5000": Row("5,000 items that iterate for ever, all at once", partial(work.iterate, inputs=5000)),
    "iterate-20000": Row("20,000 items that iterate for ever, all at once", partial(work.iterate, inputs=20_000)),
    "retry": Row("3,000 parallel steps that fail and are retried for ever", work.retry),
    "eval-itself": Row("64 items that evaluate their own flow", work.evaluate_itself, 10.0),
    "map-itself": Row("a flow that maps itself over two copies of its input", work.map_itself, 10.0),
    "submit-itself": Row("a component that submits a run of its own flow", work.submit_itself, component=True),
    "deep-path": Row("a path of 450 steps into 8 MB nested 450 deep", parsing.deep_path),
    "deep-flow": Row("a flow of 40 MB below 95 arrays, overrides of 8 MB below 90 objects", parsing.deep_flow),
    "expressions": Row("flows of 1,000,000 expressions, and of as many mistakes", parsing.many_expressions),
    "copies": Row("60 copies of a 1 MB input in each of 60 outputs", parsing.copies, 10.0),
    "inputs": Row("a submit of 8,000,000 inputs beside 20 small ones", parsing.many_inputs),
    "tokens": Row("100 forged resume tokens for a run of 600,000 items", parsing.forged_positions, 75.0),
    "batch": Row("batches of 1,000 blobs of 1 MB, and of 20 MB", memory.batch),
    "unread-blobs": Row("60 HTTP clients that do not read 20 MB, and 60 that read and stay", memory.unread_blobs),
    "unread-grpc": Row("100 gRPC clients that do not read 30 MB", memory.unread_grpc),
    "unread-events": Row("300 event streams that are not read", memory.unread_events),
    "refused": Row("60 refused submits of 30 MB", memory.refused_submits),
    "tiny-items": Row("4,400,000 items of one character in memory", memory.tiny_items, state=":memory:"),
    "uploads": Row("17 uploads and 5 bodies that never end", memory.open_uploads),
    "streams": Row("empty gRPC streams without end on one connection", memory.empty_streams),
}
"""The attacks by name, in the order in which they are made."""
