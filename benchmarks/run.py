"""Runs the benchmarks: `python -m benchmarks.run`, or `make bench`."""

import argparse
import os
import resource
import shutil
import sys
import time
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from statistics import median

from benchmarks import chart, report
from benchmarks.measure import FOLLOW, POLL, PROJECT, Failure, join_the_load
from benchmarks.scenario import Scenario
from benchmarks.scenarios import Metrics
from benchmarks.suite import SCENARIOS

QUIET = 0.05
"""Figures count as undisturbed while other programs use at most so many cores."""

PAUSE = 0.3
"""Seconds between two measurements, for the end of the first."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, and write the report."""
    parser = argparse.ArgumentParser(prog="benchmarks", description=__doc__)
    parser.add_argument("--list", action="store_true", help="list the scenarios and stop")
    parser.add_argument("--only", action="append", default=[], metavar="NAME", help="scenarios whose name begins so")
    parser.add_argument("--quick", action="store_true", help="one short round, to see that everything works")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=2.0, help="how long to measure in each round")
    parser.add_argument("--no-report", action="store_true", help="print the figures only, write no report")
    options = parser.parse_args(arguments)
    chosen = [scenario for scenario in SCENARIOS.values() if _is_chosen(scenario, options.only)]
    if options.list:
        for scenario in chosen:
            _say(f"{scenario.name:24} {scenario.title}")
        return 0
    missing = [name for name in ("h2load", str(FOLLOW), str(POLL)) if shutil.which(name) is None]
    if missing:
        sys.stderr.write(f"{', '.join(missing)}: not found; `make bench` says what to install, and builds the rest\n")
        return 1
    join_the_load()
    rounds, seconds = (1, 1.0) if options.quick else (options.rounds, options.seconds)
    others = Others()
    medians = {scenario.name: _measure(scenario, rounds, seconds) for scenario in chosen}
    disturbance = others.cores()
    _say(f"\nOther programs used {disturbance:.2f} cores.")
    if not (options.no_report or options.quick):
        method = f"Medians of {rounds} rounds of {seconds:g} seconds"
        if disturbance > QUIET:
            method += f" (**preliminary**: other programs used {disturbance:.2f} cores meanwhile)"
        report.write(PROJECT / "docs", medians, method)
    return 0


class Others:
    """The processor time of other programs, from now on."""

    def __init__(self) -> None:
        self._begun, self._before = time.monotonic(), self._seconds()

    def cores(self) -> float:
        """Return how many cores the other programs have used on average."""
        return (self._seconds() - self._before) / (time.monotonic() - self._begun)

    def _seconds(self) -> float:
        """Return the time of all programs outside of the kernel, without this one and its children that have ended."""
        user, nice = Path("/proc/stat").read_text().split()[1:3]
        own = sum(resource.getrusage(who).ru_utime for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
        return (int(user) + int(nice)) / os.sysconf("SC_CLK_TCK") - own


def _measure(scenario: Scenario, rounds: int, seconds: float) -> dict[str, Metrics]:
    """Measure the variants in turn, round after round, and return the medians of each."""
    measured: dict[str, list[Metrics]] = defaultdict(list)
    _say(f"\n{scenario.title}")
    for _ in range(min(rounds, scenario.rounds or rounds)):
        for name, measure in scenario.variants.items():
            try:
                measured[name].append(measure(seconds))
            except Failure as failure:
                _say(f"  {name}: {failure}")
            time.sleep(PAUSE)
    medians: dict[str, Metrics] = {
        name: {metric: median(metrics[metric] for metrics in all_metrics) for metric in all_metrics[0]}
        for name, all_metrics in measured.items()
        if all_metrics
    }
    for name, metrics in medians.items():
        told = {heading: metrics[key] for key, heading in scenario.columns.items() if key in metrics}
        shown = "  ".join(f"{heading} {chart.short(value)}" for heading, value in told.items())
        _say(f"  {name:36} {shown}")
    return medians


def _is_chosen(scenario: Scenario, names: Sequence[str]) -> bool:
    return not names or any(scenario.name.startswith(name) for name in names)


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
