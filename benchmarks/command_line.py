"""The time of a command: from the start of its process to its end."""

import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Final

from benchmarks import measure
from benchmarks.measure import environment
from benchmarks.scenarios import MEMORY, Metrics, put_flow, submit, submit_request

GET: Final = "`runs-gateway get`"
IMPORT: Final = "`import grpc` alone"


def get(seconds: float) -> Metrics:
    """Measure the printing of the state of a run."""
    with measure.gateway(MEMORY) as target:
        run = submit(target, submit_request(put_flow(target))).run.run_id
        program = "from gateway.cli import main; main()"
        return _measured(["-c", program, "get", run, "--address", target.grpc], seconds)


def importing(seconds: float) -> Metrics:
    """Measure what nothing that calls a gateway over gRPC can do without."""
    return _measured(["-c", "import grpc"], seconds)


def _measured(arguments: Sequence[str], seconds: float) -> Metrics:
    def run() -> None:
        subprocess.run([sys.executable, *arguments], stdout=subprocess.DEVNULL, env=environment(), check=True)

    run()
    return {"seconds": fmean(_times(run, seconds))}


def _times(run: Callable[[], None], seconds: float) -> list[float]:
    times, end = [], time.monotonic() + seconds
    while (begun := time.monotonic()) < end:
        run()
        times.append(time.monotonic() - begun)
    return times


COMMANDS: Final = {IMPORT: importing, GET: get}
