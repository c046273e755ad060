"""The server-sent events of an update, which are written once for all streams that send them."""

from collections.abc import Iterator

from gateway.adapter import jsonrpc, params_json, sets_json, status_to_json
from gateway.concurrency.memory_account import MemoryShare
from gateway.fronts.http.long_texts import PART
from gateway.runs.set_update import ChangeUpdate
from gateway.runs.update import Update


class WrittenUpdate:
    """The notifications of an update: one for each slice of its results, written when it is first sent.

    They are held of `share` for as long as this lives. It does not refer to the update, which methods are given again.
    """

    __slots__ = ("_events", "_held", "slices")

    def __init__(self, update: Update, share: MemoryShare) -> None:
        self.slices = list(status_to_json.result_slices(update.status.results))
        self._events: dict[int, tuple[bytes, slice]] = {}
        self._held = share.hold()

    def __del__(self) -> None:
        self._held.shrink(self._held.size)

    def event(self, update: Update, part: slice) -> bytes:
        """The notification of a slice. Raises Overloaded if there is no room for it."""
        return self._event(update, part)[0]

    def results(self, update: Update, part: slice) -> bytes:
        """The entries of a slice. Raises as `event` does."""
        event, results = self._event(update, part)
        return event[results]

    def is_large(self, update: Update, part: slice) -> bool:
        """Whether a slice is one large result, which is not kept."""
        return status_to_json.is_large((update.status.results or [])[part])

    def large_event(self, update: Update, part: slice) -> Iterator[bytes]:
        """The notification of a large result, in pieces."""
        opening, closing = _around(update, part)
        yield opening
        yield from self.large_results(update, part)
        yield closing

    def large_results(self, update: Update, part: slice) -> Iterator[bytes]:
        """The entry of a large result, in pieces."""
        carried = b""
        for text in status_to_json.result_pieces((update.status.results or [])[part.start]):
            for start in range(0, len(text), PART):
                piece = carried + text[start : start + PART].encode()
                # A line break must not be torn apart.
                carried = b"\r" if piece.endswith(b"\r") else b""
                yield _in_lines(piece.removesuffix(b"\r"))
        yield _in_lines(carried)

    def _event(self, update: Update, part: slice) -> tuple[bytes, slice]:
        written = self._events.get(part.start)
        if written is None:
            opening, closing = _around(update, part)
            results = event_lines(status_to_json.results_to_json((update.status.results or [])[part]))
            self._held.grow(len(opening) + len(results) + len(closing))
            event = b"".join((opening, results, closing))
            written = event, slice(len(opening), len(opening) + len(results))
            self._events[part.start] = written
        return written


def event_lines(text: str) -> bytes:
    """Text as it stands in the data of an event, where each line has a name. Every line break becomes a line feed."""
    return _in_lines(text.encode())


def event_of(token: bytes, text: str) -> bytes:
    """A whole event, after which the point with this token is reached; an empty one names no point."""
    return _id_line(token) + b"data: %b\n\n" % event_lines(text)


def _id_line(token: bytes) -> bytes:
    return b"id: %b\n" % params_json.resume_token_to_text(token).encode() if token else b""


def _around_change(update: ChangeUpdate, part: slice) -> tuple[bytes, bytes]:
    opening, closing = sets_json.around_change(
        update.event,
        update.status,
        update.revision,
        deleted=update.deleted,
        restarted=update.restarted and part.start == 0,
    )
    id_line = _id_line(update.token_after(part.stop))
    return id_line + b"data: " + event_lines(opening), event_lines(closing) + b"\n\n"


def _around(update: Update, part: slice) -> tuple[bytes, bytes]:
    if isinstance(update, ChangeUpdate):
        return _around_change(update, part)
    token = update.token_after(part.stop)
    more = {
        "revision": str(update.revision),
        "finishedPrefix": str(update.prefix),
        "resultCount": str(update.completions),
    }
    if update.heartbeat:
        more["heartbeat"] = "true"
    if update.restarted and part.start == 0:
        more["restarted"] = "true"
    before, after = jsonrpc.around_params("runs/status")
    opening, closing = status_to_json.around_results(update.status, more)
    return (
        b"id: %b\ndata: %b" % (params_json.resume_token_to_text(token).encode(), event_lines(before + opening)),
        event_lines(closing + after) + b"\n\n",
    )


def _in_lines(content: bytes) -> bytes:
    if b"\r" in content:
        content = content.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    return content.replace(b"\n", b"\ndata: ")
