import asyncio
from collections.abc import Iterable, Iterator
from itertools import chain, repeat

from gateway.fronts.http.stall_guard import StallGuard

SOON = 0.01


class Transport(asyncio.Transport):
    """A transport that says how much is unsent, each time that it is asked."""

    def __init__(self, unsent: Iterable[int]) -> None:
        super().__init__()
        self._unsent: Iterator[int] = iter(unsent)
        self.asked = 0
        self.aborted = asyncio.Event()
        self.at_end = asyncio.Event()

    def get_write_buffer_size(self) -> int:
        self.asked += 1
        size = next(self._unsent)
        if not size:
            self.at_end.set()
        return size

    def abort(self) -> None:
        self.aborted.set()


async def test_a_client_that_reads_nothing_is_cut() -> None:
    transport = Transport(repeat(100))
    guard = StallGuard(SOON)
    guard.watch(transport)
    await transport.aborted.wait()
    assert transport.asked == 5


async def test_a_client_that_reads_slowly_stays() -> None:
    transport = Transport(chain(*([size] * 3 for size in range(20, 0, -1)), [0]))
    guard = StallGuard(SOON)
    guard.watch(transport)
    await transport.at_end.wait()
    assert not transport.aborted.is_set()


async def test_a_client_that_has_read_everything_in_between_stays() -> None:
    """It may be behind with as much as before, but it is something else."""
    transport = Transport([*[100] * 9, 0])
    guard = StallGuard(SOON)
    guard.watch(transport)
    while transport.asked < 9:
        await asyncio.sleep(0)
        if transport.asked % 3 == 0:
            guard.all_sent()
            guard.watch(transport)
    await transport.at_end.wait()
    assert not transport.aborted.is_set()


async def test_a_connection_that_is_lost_is_not_looked_at() -> None:
    transport = Transport([100])
    guard = StallGuard(SOON)
    guard.watch(transport)
    guard.close()
    guard.close()
    other = Transport(repeat(100))
    StallGuard(SOON).watch(other)
    await other.aborted.wait()
    assert transport.asked == 1
