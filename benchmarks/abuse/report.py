"""Writes the figures of the attacks into the page of limits. The text around them, written by hand, stays."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final, Protocol

from benchmarks.abuse.suite import ROWS

BEGIN: Final = "<!-- abuse: written by make abuse -->"
END: Final = "<!-- end of abuse -->"

_HEAD: Final = ["attack", "settings", "health p99", "idle", "memory", "stop", "ready again"]
_ALIGNED: Final = ["---", "---", *["---:"] * 5]


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
    """Write rows of the table between the marks of the page. Rows that were not measured stay as they are."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    earlier, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n\n{table(measured, earlier)}\n\n{END}{after}", encoding="utf-8")


def table(measured: Mapping[str, Mapping[str, Measured]], earlier: str = "") -> str:
    """The figures of each attack with each of the settings, in Markdown: those of an earlier table, or newer ones."""
    rows = {tuple(cells[:2]): cells for line in earlier.splitlines() if len(cells := _cells(line)) == len(_HEAD)}
    for name, by_settings in measured.items():
        for settings, figures in by_settings.items():
            cells = _row(ROWS[name].title, settings, figures)
            rows[tuple(cells[:2])] = cells
    titles = [row.title for row in ROWS.values()]
    known = [cells for cells in rows.values() if cells[0] in titles]
    known.sort(key=lambda cells: titles.index(cells[0]))
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (_HEAD, _ALIGNED, *known))


def _row(title: str, settings: str, figures: Measured) -> list[str]:
    return [
        title,
        settings if settings == "default" else f"`--max-memory {settings}`",
        f"{figures.p99_ms:.1f} ms",
        f"{figures.idle_p99_ms:.1f} ms",
        f"{figures.memory_mib:,} MiB",
        f"{figures.stop_seconds:.1f} s",
        f"{figures.ready_seconds:.1f} s",
    ]


def _cells(line: str) -> list[str]:
    return line.removeprefix("| ").removesuffix(" |").split(" | ")
