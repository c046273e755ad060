"""One watched run: its latest state, for the reader of the watch."""

from gateway.concurrency.notify import Notify
from gateway.core.errors import GatewayError
from gateway.core.runtime import Snapshot


class WatchedRun:
    """A slot for the latest state, or for what has ended the watch."""

    def __init__(self) -> None:
        self.latest: Snapshot | None = None
        self._read: Snapshot | None = None
        self._failure: GatewayError | None = None
        self._notify = Notify()

    def show(self, snapshot: Snapshot | None) -> bool:
        """Take the next state, if it is one; tells whether it was newer than the last."""
        if snapshot is None or (self.latest is not None and snapshot.revision <= self.latest.revision):
            return False
        self.latest = snapshot
        self._notify.set()
        return True

    def fail(self, failure: GatewayError) -> None:
        """End the watch. A terminal state that was not read yet is read before."""
        self._failure = failure
        self._notify.set()

    async def next(self) -> Snapshot:
        """The latest state, when there is one that was not read yet. Raises what has ended the watch."""
        while True:
            latest = self.latest
            if latest is not None and latest is not self._read:
                self._read = latest
                if self._failure is None or latest.terminal:
                    return latest
            if self._failure is not None:
                raise self._failure
            await self._notify.wait()
