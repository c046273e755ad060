"""The command that shows a gateway at work: `top`."""

import os
import sys
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Annotated

from cyclopts import Parameter
from cyclopts.validators import Number

from gateway.cli.connection import connect
from gateway.cli.errors import ExitCode
from gateway.cli.filters import Filter, FilterFlags
from gateway.cli.forms import Form, FormFlags, OutputForm, print_value
from gateway.cli.gateway_flags import Gateway, GatewayFlags
from gateway.cli.metrics_source import DEFAULT_METRICS_URL, OFF, MetricsSource
from gateway.cli.parameters import duration, unless_empty, whole_number
from gateway.cli.sort_keys import SortKey
from gateway.core.addresses import is_local
from gateway.core.model import RunState

if TYPE_CHECKING:
    from gateway.cli.full_screen import FullScreen
    from gateway.cli.top_readers import FiguresReader, RunsReader
    from gateway.cli.top_screen import TopView

_UNFINISHED = (RunState.PENDING, RunState.RUNNING)


@dataclass(frozen=True, kw_only=True)
class TopFlags:
    """What to show, and how often."""

    sort: Annotated[SortKey, Parameter(name="--sort", help="Which runs are first.")] = SortKey.NEWEST
    metrics_url: Annotated[
        str | None,
        Parameter(
            name="--metrics-url",
            metavar="URL",
            env_var="RUNS_GATEWAY_METRICS_URL",
            env_var_split=unless_empty,
            help="Where the figures of the gateway are: http://HOST:PORT/PATH, https://..., unix:/PATH, or off. "
            f"{DEFAULT_METRICS_URL} for a gateway on this machine.",
        ),
    ] = None
    interval: Annotated[
        float,
        Parameter(
            name="--interval",
            converter=duration,
            validator=Number(gte=0.2),
            metavar="DURATION",
            allow_leading_hyphen=True,
            help="How long from one picture to the next.",
        ),
    ] = 1.0
    once: Annotated[bool, Parameter(name="--once", help="Print one picture, and end.")] = False
    limit: Annotated[
        int,
        Parameter(
            name="--limit",
            converter=whole_number,
            validator=Number(gte=0),
            help="How many runs a picture has at most that is printed; 0: all.",
        ),
    ] = 20

    def source(self, gateway: GatewayFlags) -> tuple[MetricsSource | None, str]:
        """Where figures are, or why there are none. Raises UsageError if the URL is of no use."""
        if self.metrics_url is None and not is_local(gateway.address):
            return None, "no figures: --metrics-url says where this gateway has them"
        if self.metrics_url == OFF:
            return None, "no figures: they are off (--metrics-url)"
        return MetricsSource(self.metrics_url or DEFAULT_METRICS_URL, gateway), ""


def top(
    *,
    filter_: Filter = None,
    flags: Annotated[TopFlags | None, Parameter(name="*")] = None,
    gateway: Gateway = None,
    form: Form = None,
) -> int:
    """Show the runs that have not ended, and how the gateway does: live, until 'q' or Ctrl-C.

    With --state, the runs in these states. Without a terminal, with --once, and with --output json or yaml, it prints
    one picture and ends; rates need two looks at the figures, an interval apart. Keys: 's' sorts by something else;
    arrows, page up, page down and home scroll.
    """
    chosen = (form or FormFlags()).given() or OutputForm.TABLE
    asked, where = flags or TopFlags(), (gateway or GatewayFlags()).checked()
    wanted = (filter_ or FilterFlags()).run_filter()
    wanted = wanted if wanted.states else replace(wanted, states=_UNFINISHED)
    source, why_none = asked.source(where)
    live = chosen is OutputForm.TABLE and not asked.once and sys.stdout.isatty() and os.environ.get("TERM") != "dumb"
    with connect(gateway) as client:
        # Fails at once if the gateway cannot be reached, or cannot list by this filter.
        client.runs_page(wanted, page_size=1)
    from gateway.cli.top_readers import FiguresReader, RunsReader

    with (
        connect(gateway, retry_for=None if live else 0.0) as client,
        RunsReader(client, wanted) as runs,
        FiguresReader(source, asked.interval, why_none) as figures,
    ):
        shown = Top(runs, figures, where.address, asked.sort, filtered=filter_ is not None)
        if live:
            return shown.show(asked.interval)
        shown.print_once(chosen, asked.limit)
    return ExitCode.OK


class Top:
    """Shows what readers have read."""

    def __init__(
        self, runs: "RunsReader", figures: "FiguresReader", address: str, sort: SortKey, *, filtered: bool
    ) -> None:
        self._runs = runs
        self._figures = figures
        self._address = address
        self._key = sort
        self._filtered = filtered
        self._skipped = 0

    def print_once(self, form: OutputForm, limit: int) -> None:
        """Print one picture, when all is there that is to be had. Raises the error that the reading ended with."""
        self._runs.caught_up.wait()
        self._figures.tried.wait()
        if self._runs.failure is not None:
            raise self._runs.failure
        view = self._view(limit or sys.maxsize, live=False)
        if form is OutputForm.TABLE:
            from rich.console import Console

            from gateway.cli.top_screen import TopPicture

            Console(highlight=False).print(TopPicture(view))
            return
        states = ",".join(f'"{state}":{view.runs.states[state]}' for state in RunState)
        runs = ",".join(run.to_json() for run in view.runs.runs)
        gateway = "null" if view.figures is None else view.figures.to_json()
        print_value(f'{{"gateway":{gateway},"states":{{{states}}},"runs":[{runs}]}}', form)

    def show(self, interval: float) -> int:
        """Show pictures until somebody has had enough. Return the exit code.

        Raises the error that the reading ended with.
        """
        from rich.console import Console

        from gateway.cli.full_screen import full_screen

        with full_screen(Console(highlight=False)) as screen:
            while screen.ended is None:
                if self._runs.failure is not None:
                    raise self._runs.failure
                self._draw(screen)
                if self._until_next(screen, time.monotonic() + interval):
                    return ExitCode.OK
            return screen.ended

    def _draw(self, screen: "FullScreen") -> None:
        from gateway.cli.top_screen import TopPicture, rows_that_fit

        picture = TopPicture(view := self._view(rows_that_fit(screen.console.height), live=True))
        last = max(0, view.runs.number - picture.rows(screen.console))
        if self._skipped > last:
            self._skipped = last
            picture = TopPicture(self._view(rows_that_fit(screen.console.height), live=True))
        screen.draw(picture)

    def _until_next(self, screen: "FullScreen", moment: float) -> bool:
        """Wait for the time of the next picture, or a key that changes it. Return whether somebody has had enough."""
        while screen.ended is None:
            keys = screen.keys(moment - time.monotonic())
            if keys is None:
                return False
            if "q" in keys:
                return True
            for key in keys:
                self._press(key, max(1, screen.console.height // 2))
            self._draw(screen)
        return False

    def _press(self, key: str, page: int) -> None:
        if key == "s":
            keys = [*SortKey]
            self._key = keys[(keys.index(self._key) + 1) % len(keys)]
        moves = {"up": -1, "down": 1, "page up": -page, "page down": page, "home": -self._skipped}
        self._skipped = max(0, self._skipped + moves.get(key, 0))

    def _view(self, number: int, *, live: bool) -> "TopView":
        from gateway.cli.top_screen import TopView, time_of_day

        runs = self._runs.runs.seen(number, self._skipped, self._key)
        return TopView(
            address=self._address,
            runs=runs,
            figures=self._figures.figures,
            why_none=self._figures.why_none,
            key=self._key,
            skipped=self._skipped,
            note=self._runs.note,
            filtered=self._filtered,
            live=live,
            moment=time_of_day(),
        )
