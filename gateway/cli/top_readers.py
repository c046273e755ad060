"""What goes on behind `top`: threads that follow the runs and read the figures."""

import threading
import time
from collections.abc import Callable
from contextlib import closing
from typing import TYPE_CHECKING, Final

from gateway.cli.figures import Figures, figures_of
from gateway.cli.kept_runs import KeptRuns
from gateway.cli.metrics_source import MetricsSource, MetricsUnreadable, Scrape
from gateway.cli.output import notice_of

if TYPE_CHECKING:
    from gateway.client import RunFilter, RunsClient

KEPT: Final = 100_000
"""How many runs are kept at least, the newest ones. Each takes about a kilobyte."""

_BURST: Final = 0.05
"""Seconds of work between two pauses."""

_SHARE: Final = 0.2
"""Which part of a processor may follow changes. While it pauses, the gateway keeps the latest state of each run."""

_NOTE_SECONDS: Final = 5.0


class RunsReader:
    """Follows a set of runs in a thread, until the client is closed. `failure` is what has ended it before."""

    def __init__(self, client: "RunsClient", wanted: "RunFilter") -> None:
        self.runs = KeptRuns(KEPT)
        self.failure: Exception | None = None
        self.caught_up = threading.Event()
        self._client = client
        self._wanted = wanted
        self._note: tuple[str, float] | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._follow, name="runs", daemon=True)

    def __enter__(self) -> "RunsReader":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._client.close()
        self._thread.join(timeout=2)

    @property
    def note(self) -> str | None:
        """What has happened to the connection a moment ago."""
        note = self._note
        return note[0] if note is not None and time.monotonic() < note[1] else None

    def _follow(self) -> None:
        try:
            with closing(self._client.watch_set(self._wanted)) as events:
                worked = time.thread_time()
                for event in events:
                    if notice := notice_of(event):
                        self._note = notice, time.monotonic() + _NOTE_SECONDS
                    self.runs.add(event)
                    if not hasattr(event, "run"):
                        self.caught_up.set()
                    if (work := time.thread_time() - worked) >= _BURST and self.caught_up.is_set():
                        if self._stopped.wait(work * (1 / _SHARE - 1)):
                            return
                        worked = time.thread_time()
        except Exception as error:
            self.failure = error
        finally:
            self.caught_up.set()


class FiguresReader:
    """Reads figures in a thread, again and again, until the block is left. Without a source there are none."""

    def __init__(self, source: MetricsSource | None, interval: float, why_none: str) -> None:
        self.figures: Figures | None = None
        self.why_none: str | None = why_none if source is None else None
        self.tried = threading.Event()
        """Set when figures with rates are there, or none are to be had."""
        self._source = source
        self._interval = interval
        self._stopped = threading.Event()

    def __enter__(self) -> "FiguresReader":
        if self._source is None:
            self.tried.set()
        else:
            threading.Thread(target=self._read, args=(self._source.read,), name="figures", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()

    def _read(self, read: Callable[[], Scrape]) -> None:
        before: Scrape | None = None
        while True:
            try:
                now = read()
                self.figures, self.why_none = figures_of(before, now), None
                if before is not None:
                    self.tried.set()
                before = now
            except MetricsUnreadable as error:
                where = self._source.url if self._source else ""
                self.figures, self.why_none = None, f"no figures: {where}: {error} (--metrics-url)"
                before = None
                self.tried.set()
            if self._stopped.wait(self._interval):
                return
