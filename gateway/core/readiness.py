"""Whether runs are accepted, as health reports it."""

from collections.abc import Callable, Mapping


class BrokenError(Exception):
    """The gateway has to stop: what it keeps contradicts itself. The message is one line."""


class Readiness:
    """Whether a runtime accepts runs, and what keeps it from that."""

    def __init__(self) -> None:
        self._obstacle: str | None = None
        self._defect: str | None = None
        self._components: dict[str, bool] = {}
        self._listeners: list[Callable[[], None]] = []
        self._end: Callable[[], None] | None = None
        self.starting: str | None = None
        """What has to be done before the start is complete, in words; None if it is."""
        self.upstream_is_away: Callable[[], bool] = bool
        """Whether a runtime elsewhere could not be reached when it was called last, and has not been reached since."""

    @property
    def obstacle(self) -> str | None:
        """Why no run is accepted at the moment, in words for clients; None if runs are accepted."""
        return self._obstacle

    @property
    def defect(self) -> str | None:
        """Why the gateway has to stop, in one line for operators; None if it may go on."""
        return self._defect

    def report(self, obstacle: str | None) -> None:
        """Runs are not accepted, for this reason; or they are again, if it is None."""
        if obstacle != self._obstacle:
            self._obstacle = obstacle
            for listener in self._listeners:
                listener()

    @property
    def components(self) -> Mapping[str, bool]:
        """Whether components are available, by the prefixes of their paths. Runs of others are accepted in any case."""
        return self._components

    @property
    def missing(self) -> list[str]:
        """The prefixes of components that are not available at the moment."""
        return [prefix for prefix, available in self._components.items() if not available]

    def report_components(self, prefix: str, available: bool) -> None:
        """The components below a prefix are available, or they are not."""
        if self._components.get(prefix) != available:
            self._components[prefix] = available
            for listener in self._listeners:
                listener()

    def report_defect(self, defect: str) -> None:
        """Nothing can be accepted any more: the gateway has to stop. The first defect is the one that counts."""
        if self._defect is None:
            self._defect = defect
            if self._end is not None:
                self._end()

    def on_change(self, listener: Callable[[], None]) -> None:
        """Call `listener` whenever the obstacle changes, or what components are available."""
        self._listeners.append(listener)

    def on_defect(self, end: Callable[[], None] | None) -> None:
        """Call `end` when a defect is reported, or at once if one has been. None calls nothing any more."""
        self._end = end
        if end is not None and self._defect is not None:
            end()
