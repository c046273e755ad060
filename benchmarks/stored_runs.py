"""The cost of a state file that holds many runs: `python -m benchmarks.stored_runs 10000000` for one number."""

import argparse
import asyncio
import random
import sys
import tempfile
from pathlib import Path
from typing import Final

from benchmarks import measure
from benchmarks.measure import Failure, join_the_load
from benchmarks.sample import FLOW_ID
from benchmarks.scenarios import JOURNAL, Metrics, channel, put_flow, submit_request
from gateway.core.model import ItemResult, RunState
from gateway.flows.run_record import Outcome, RunRecord
from gateway.runtimes.embedded.journal import Ended
from gateway.runtimes.embedded.sqlite_journal import SqliteJournal
from runs.v1 import runs_pb2, runs_pb2_grpc

STORED: Final = (10_000, 100_000, 1_000_000)
"""The numbers of stored runs in the suite: the last one takes a minute to make."""

_TOGETHER: Final = 1_000
_CALLS: Final = 1_000
_KEYED: Final = 10
_FIRST_AT: Final = 1_600_000_000_000
"""When the first of the stored runs was accepted, in milliseconds."""


def stored_runs(number: int, seconds: float) -> Metrics:
    """Measure the start, submits, and reads of stored runs by id. Raises Failure if a run is not the expected one."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory, JOURNAL)
        asyncio.run(fill(path, number))
        with measure.gateway(str(path)) as target:
            started, memory = target.cpu_seconds(), target.memory()
            flow_id = put_flow(target)
            with channel(target) as opened:
                runs = runs_pb2_grpc.RunsServiceStub(opened)
                cpu = target.cpu_seconds()
                for _ in range(_CALLS):
                    runs.SubmitRun(submit_request(flow_id))
                submits, cpu = target.cpu_seconds() - cpu, target.cpu_seconds()
                for chosen in random.Random(1).choices(range(number), k=_CALLS):
                    (found,) = runs.GetRun(runs_pb2.GetRunRequest(run_id=stored_id(chosen), include_results=True))
                    if found.run.results[0].value.json != str(chosen):
                        raise Failure(f"not the run that was expected: {found}")
                reads = target.cpu_seconds() - cpu
            return {
                "start_cpu_s": started,
                "submit_cpu_us": submits / _CALLS * 1e6,
                "read_cpu_us": reads / _CALLS * 1e6,
                "memory_mib": memory / 2**20,
                "memory_after_mib": target.memory() / 2**20,
                "file_mib": path.stat().st_size / 2**20,
            }


async def fill(path: Path, number: int) -> None:
    """Make a state file with so many finished runs, one in ten with an idempotency key."""
    journal = await SqliteJournal.open(path)
    for first in range(0, number, _TOGETHER):
        chosen = range(first, min(first + _TOGETHER, number))
        await asyncio.gather(*(journal.create(_record(run), (), _ended(run)) for run in chosen))
    await journal.close()


def stored_id(number: int) -> str:
    """Return the id of a stored run."""
    moment = f"{_FIRST_AT + number:012x}"
    return f"{moment[:8]}-{moment[8:]}-7000-8000-{number:012x}"


def _record(number: int) -> RunRecord:
    return RunRecord(
        run_id=stored_id(number),
        flow_id=FLOW_ID,
        flow_name="echo",
        flow_label=None,
        total=1,
        max_concurrency=None,
        overrides=None,
        variables="{}",
        observability=None,
        scope="",
        key=None if number % _KEYED else str(number),
        fingerprint="",
        created_at=(_FIRST_AT + number) * 10**6,
    )


def _ended(number: int) -> Ended:
    at = (_FIRST_AT + number) * 10**6
    result = ItemResult(item_index=0, status=RunState.SUCCESS, value=str(number), completed_at=at)
    return Ended(Outcome(RunState.SUCCESS, 1, 0, at), [result])


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("number", type=int)
    join_the_load()
    for name, value in stored_runs(parser.parse_args().number, 0).items():
        sys.stdout.write(f"{name:20} {value:,.1f}\n")


if __name__ == "__main__":
    main()
