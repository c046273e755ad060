"""Where a follower is in the results of a run, and the resume token that says so.

A position names results that have been sent, in terms that hold for ever: the index of an item, and its place in the
order of completion. So it is valid after a restart, and in every process that serves the same run.
"""

import hashlib
import struct
from typing import Final, NamedTuple

from gateway.core.model import ItemResult, ResultOrder
from gateway.core.runtime import Page, Snapshot

_VERSION: Final = 2
_ORDERS: Final = (ResultOrder.BY_INDEX, ResultOrder.BY_COMPLETION)
_ORDER_NUMBERS: Final = {order: number for number, order in enumerate(_ORDERS)}
_TOKEN: Final = struct.Struct(">BBQQQQ")
_CHECK_LENGTH: Final = 8
_PERSON: Final = b"runs-gw token"


class Position(NamedTuple):
    """What has been sent: the first `completion_offset` results in order of completion, and those of the items below
    `indexes`.

    BY_INDEX sends a result when all items before it have finished. When a stream ends before that, it sweeps up what
    has finished: `sweep` is the number of completions of the unfinished sweep that is under way, in which `indexes`
    counts only results whose place is below it; 0 otherwise.
    """

    order: ResultOrder
    completion_offset: int = 0
    indexes: int = 0
    sweep: int = 0

    @property
    def started(self) -> bool:
        """Whether any result has been sent."""
        return self.completion_offset > 0 or self.indexes > 0 or self.sweep > 0

    def missing(self, snapshot: Snapshot, *, last: bool) -> Page | None:
        """The page of results to send next, of those that the snapshot has; None if all have been sent.

        `last`: no state follows this one that could fill the gaps between finished items.
        """
        total = snapshot.status.items.total
        if self.order is ResultOrder.BY_COMPLETION:
            page = Page(self.order, 0, total, self.completion_offset, snapshot.completions)
        elif self.sweep:
            page = Page(self.order, self.indexes, total, self.completion_offset, self.sweep)
        else:
            stop = total if last else snapshot.prefix
            page = Page(self.order, self.indexes, stop, self.completion_offset, snapshot.completions)
        return page if page.start < page.stop and page.first < page.completions else None

    def after(self, page: Page, results: list[ItemResult], snapshot: Snapshot) -> "Position":
        """The position when these results of a page have been sent; with none, the page is exhausted."""
        if self.order is ResultOrder.BY_COMPLETION:
            sent = self.completion_offset + len(results) if results else page.completions
            return self._replace(completion_offset=sent)
        reached = results[-1].item_index + 1 if results else page.stop
        if not self.sweep and page.stop <= snapshot.prefix:
            return self._replace(indexes=reached)
        if reached < page.stop:
            return self._replace(indexes=reached, sweep=page.completions)
        return Position(self.order, completion_offset=page.completions)

    @classmethod
    def before(cls, page: Page) -> "Position":
        """The position of a follower that is sent this page next; the page must not be empty.

        By index that is a sweep: whatever has finished of the page.
        """
        if page.order is ResultOrder.BY_COMPLETION:
            return cls(page.order, completion_offset=page.first)
        return cls(page.order, completion_offset=page.first, indexes=page.start, sweep=page.completions)

    def fits(self, snapshot: Snapshot) -> bool:
        """Whether a run in this state can have been followed to this position."""
        if self.order is ResultOrder.BY_COMPLETION:
            return self.completion_offset <= snapshot.completions and not self.indexes and not self.sweep
        if self.sweep:
            within = self.completion_offset < self.sweep <= snapshot.completions
            return within and self.indexes < snapshot.status.items.total
        return self.completion_offset <= snapshot.completions and self.indexes <= snapshot.prefix


STARTS: Final = {order: Position(order) for order in ResultOrder}
"""Where a follower is that has been sent nothing, by the order of results."""


class ResumePoint(NamedTuple):
    """What a client has been sent: results up to a position, and the state with a revision; 0 stands for any state."""

    position: Position
    revision: int = 0

    def token(self, run_id: str) -> bytes:
        """The opaque form for clients."""
        return resume_token(run_id, self.position, self.revision)

    @classmethod
    def from_token(cls, token: bytes, run_id: str, order: ResultOrder) -> "ResumePoint | None":
        """The point of a token; None if the token is not of this version, for this run and in this order."""
        body, check = token[: _TOKEN.size], token[_TOKEN.size :]
        if len(token) != _TOKEN.size + _CHECK_LENGTH or check != _check(body, run_id):
            return None
        version, order_number, *numbers, revision = _TOKEN.unpack(body)
        if version != _VERSION or _ORDERS[order_number : order_number + 1] != (order,):
            return None
        return cls(Position(order, *numbers), revision)


def resume_token(run_id: str, position: Position, revision: int) -> bytes:
    """The opaque form of a `ResumePoint`."""
    order, offset, indexes, sweep = position
    body = _TOKEN.pack(_VERSION, _ORDER_NUMBERS[order], offset, indexes, sweep, revision)
    return body + _check(body, run_id)


def of_page(
    page: Page, results: list[ItemResult], after: ResumePoint | None, received: int
) -> tuple[list[ItemResult], bool]:
    """Those of the results that belong to a page, and whether more of it can follow.

    The results were sent to a follower that began at `Position.before(page)`, had `received` others, and is at `after`.
    """
    if page.order is ResultOrder.BY_COMPLETION:
        left = page.completions - page.first - received
        return [result for result in results[:left] if page.start <= result.item_index < page.stop], len(results) < left
    position = None if after is None else after.position
    swept = Position(page.order, completion_offset=page.completions)
    if results and (position is None or not (position.sweep == page.completions or position == swept)):
        # The sweep is over; these results finished later.
        return [], False
    wanted = [result for result in results if result.item_index < page.stop]
    return wanted, len(wanted) == len(results) and position != swept


def _check(body: bytes, run_id: str) -> bytes:
    """A checksum that tells tokens from anything else. It guards against mix-ups; a forger harms only himself."""
    return hashlib.blake2b(body + run_id.encode(), digest_size=_CHECK_LENGTH, person=_PERSON).digest()
