"""Writes the figures of the attacks into the page of limits. The text around them, written by hand, stays."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from benchmarks.abuse.suite import ROWS

BEGIN: Final = "<!-- abuse: written by make abuse -->"
END: Final = "<!-- end of abuse -->"


class Measured(Protocol):
    """The figures of one attack."""

    @property
    def p99_ms(self) -> float: ...
    @property
    def idle_p99_ms(self) -> float: ...
    @property
    def memory_mib(self) -> int: ...
    @property
    def stop_seconds(self) -> float: ...
    @property
    def ready_seconds(self) -> float: ...


def write(page: Path, measured: Mapping[str, Mapping[str, Measured]]) -> None:
    """Replace the table between the marks of the page."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    after = rest.partition(END)[2]
    page.write_text(f"{before}{BEGIN}\n\n{table(measured)}\n\n{END}{after}", encoding="utf-8")


def table(measured: Mapping[str, Mapping[str, Measured]]) -> str:
    """The figures of each attack with each of the settings, in Markdown."""
    lines = [
        "| attack | settings | health p99 | idle | memory | stop | ready again |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    for name, by_settings in measured.items():
        for settings, figures in by_settings.items():
            cells = (
                ROWS[name].title,
                settings if settings == "default" else f"`--max-memory {settings}`",
                f"{figures.p99_ms:.1f} ms",
                f"{figures.idle_p99_ms:.1f} ms",
                f"{figures.memory_mib:,} MiB",
                f"{figures.stop_seconds:.1f} s",
                f"{figures.ready_seconds:.1f} s",
            )
            lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)
