"""Looks for inputs that break an invariant: `python -m tests.fuzz --seconds 20 [--target NAME]...`.

Each target runs in a process of its own, as many at once as there are processors.
"""

import argparse
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final

from tests.fuzz.engine import tell

ROOT: Final = Path(__file__).parent
TARGETS: Final = sorted(path.stem for path in (ROOT / "targets").glob("*.py"))

_GRACE_SECONDS: Final = 120.0
"""How long a target may take beyond its time: to start, and to make a failing document smaller."""


def main() -> int:
    """Run the targets and tell what came of each; the status is 1 if one has failed."""
    parser = argparse.ArgumentParser(prog="make fuzz", description=__doc__)
    parser.add_argument("--seconds", type=float, default=20.0, help="how long each target runs")
    parser.add_argument("--target", action="append", choices=TARGETS, help="one of the targets; all by default")
    arguments = parser.parse_args()
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as processes:
        runs = [processes.submit(_run, name, arguments.seconds) for name in arguments.target or TARGETS]
        failed = [name for name in (run.result() for run in runs) if name]
    if failed:
        tell(f"failed: {', '.join(failed)}; CONTRIBUTING.md tells what to do with the documents")
    return 1 if failed else 0


def _run(name: str, seconds: float) -> str:
    """Run one target; its name if it has failed."""
    command = [sys.executable, "-m", "tests.fuzz.engine", name, str(seconds)]
    try:
        done = subprocess.run(
            command,
            check=False,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=seconds + _GRACE_SECONDS,
        )
    except subprocess.TimeoutExpired as late:
        tell(f"{name}: has not ended\n{late.output}")
        return name
    counts = [line.rpartition(" ")[2] for line in done.stdout.splitlines() if "stat::number_of_executed_units" in line]
    lines = [line for line in done.stdout.splitlines() if not line.startswith(("INFO: ", "WARNING: Failed to find"))]
    tell(f"{name}: {int(counts[0]):,} documents" if counts and done.returncode == 0 else "\n".join(lines))
    return name if done.returncode else ""


if __name__ == "__main__":
    sys.exit(main())
