"""Attacks a running gateway in every way of the suite: `python -m benchmarks.abuse.run`, or `make abuse`."""

import argparse
import socket
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NamedTuple

from benchmarks.abuse import report
from benchmarks.abuse.suite import ROWS, Row
from benchmarks.abuse.target import Target, attack, probing
from benchmarks.measure import PROJECT, join_the_load

SETTINGS: Final[dict[str, tuple[str, ...]]] = {
    "default": (),
    "512MiB": ("--max-memory", "512MiB"),
}
"""The settings that the gateway is attacked with, by name."""


class Figures(NamedTuple):
    """What an attack has done to a gateway. `idle_p99_ms` is for the machine: of a gateway that nobody attacked."""

    p99_ms: float
    idle_p99_ms: float
    max_ms: float
    memory_mib: int
    stop_seconds: float
    ready_seconds: float
    outcome: str


def main(arguments: Sequence[str] | None = None) -> int:
    """Attack, print the figures, and write them into docs/limits.md."""
    parser = argparse.ArgumentParser(prog="abuse", description=__doc__)
    parser.add_argument("--list", action="store_true", help="list the attacks and stop")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="attacks whose name begins so")
    parser.add_argument("--settings", choices=SETTINGS, action="append", default=[], help="with these settings only")
    parser.add_argument("--no-report", action="store_true", help="print the figures only, write no report")
    options = parser.parse_args(arguments)
    chosen = {name: row for name, row in ROWS.items() if _is_chosen(name, options.only)}
    if options.list:
        for name, row in chosen.items():
            _say(f"{name:16} {row.title}")
        return 0
    join_the_load()
    measured: dict[str, dict[str, Figures]] = {}
    idle = Target(("--state", ":memory:"))
    for name, row in chosen.items():
        for settings in options.settings or SETTINGS:
            figures = measured.setdefault(name, {})[settings] = _measure(name, row, SETTINGS[settings], idle)
            _say(f"{name:16} {settings:8} {_shown(figures)}")
    idle.kill()
    if not options.no_report:
        report.write(PROJECT / "docs" / "limits.md", measured)
    return 0


def _measure(name: str, row: Row, flags: Sequence[str], idle: Target) -> Figures:
    with tempfile.TemporaryDirectory(prefix="abuse-") as directory:
        state = row.state if row.state == ":memory:" else str(Path(directory) / row.state)
        port = _free_port()
        component = ("--component", f"/abuse=http://127.0.0.1:{port}/") if row.component else ()
        all_flags = ("--state", state, *component, *flags)
        target = Target(all_flags)
        with target.sampled() as memory, probing(target) as probed, probing(idle) as machine:
            outcome = attack(name, target, row.seconds, *([str(port)] if row.component else []))
        stopped = target.stop()
        again = Target(all_flags)
        again.stop()
    ready = again.ready_seconds
    return Figures(
        probed["p99"], machine["p99"], probed["max"], max(memory) >> 20, round(stopped, 1), round(ready, 1), outcome
    )


def _shown(figures: Figures) -> str:
    return (
        f"p99 {figures.p99_ms:8.1f} ms (idle {figures.idle_p99_ms:6.1f})  max {figures.max_ms:8.1f} ms  "
        f"{figures.memory_mib:5} MiB  stop {figures.stop_seconds:4.1f} s  "
        f"ready {figures.ready_seconds:4.1f} s  {figures.outcome}"
    )


def _free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def _is_chosen(name: str, names: Sequence[str]) -> bool:
    return not names or any(name.startswith(each) for each in names)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
