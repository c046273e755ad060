"""Lists of a state with many runs: `python -m benchmarks.listed_runs 1000000` for one number."""

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Final

from benchmarks import measure
from benchmarks.measure import Failure, join_the_load
from benchmarks.scenarios import JOURNAL, Metrics, channel
from gateway.core.model import ItemResult, RunState
from gateway.flows.run_ids import id_prefix
from gateway.flows.run_record import Outcome, RunRecord
from gateway.runtimes.embedded.journal import Ended
from gateway.runtimes.embedded.run_keys import key_at
from gateway.runtimes.embedded.sqlite_journal import SqliteJournal
from runs.v1 import runs_pb2, runs_pb2_grpc

LISTED: Final = 1_000_000
"""The number of runs in the suite: they take two minutes to make."""

PAGE: Final = 100

_TOGETHER: Final = 1_000
_CALLS: Final = 200
_FIRST_AT: Final = 1_600_000_000_000
_FLOWS: Final = 100
_LABELS: Final = 1_000
_TEAMS: Final = 10
_RARE: Final = 997
"""One in so many runs has failed, one is nested, and one is of a label that few have."""


def _flow(number: int) -> str:
    return f"sha256:{number % _FLOWS:064x}"


def _filters() -> dict[str, runs_pb2.RunFilter]:
    middle = runs_pb2.RunFilter()
    middle.created_after.FromMilliseconds(_FIRST_AT + 1_000)
    middle.created_before.FromMilliseconds(_FIRST_AT + 2_000)
    failed, success = runs_pb2.RUN_STATE_FAILED, runs_pb2.RUN_STATE_SUCCESS
    return {
        "all": runs_pb2.RunFilter(),
        "state, nearly all": runs_pb2.RunFilter(states=[success]),
        "state, few": runs_pb2.RunFilter(states=[failed]),
        "flow id": runs_pb2.RunFilter(flow_ids=[_flow(7)]),
        "flow name": runs_pb2.RunFilter(flow_name="flow-7"),
        "flow name, prefix": runs_pb2.RunFilter(flow_name="flow-7*"),
        "flow label": runs_pb2.RunFilter(flow_label="label-7"),
        "flow label, prefix": runs_pb2.RunFilter(flow_label="label-7*"),
        "created": middle,
        "parent": runs_pb2.RunFilter(parent_run_id=_run_id(0)),
        "root": runs_pb2.RunFilter(root_run_id=_run_id(0)),
        "roots only": runs_pb2.RunFilter(roots_only=True),
        "label": runs_pb2.RunFilter(labels={"team": "team-7"}),
        "state and flow id": runs_pb2.RunFilter(states=[failed], flow_ids=[_flow(7)]),
        "label and flow label": runs_pb2.RunFilter(labels={"team": "team-7"}, flow_label="label-7*"),
        "roots only and created": runs_pb2.RunFilter(roots_only=True, created_before=middle.created_before),
    }


def listed_runs(name: str, number: int, seconds: float) -> Metrics:
    """Measure the first page of a filter, one call after the other. Raises Failure if a run is not of the filter."""
    with measure.gateway(str(_state(number))) as target, channel(target) as opened:
        runs = runs_pb2_grpc.RunsServiceStub(opened)
        request = runs_pb2.ListRunsRequest(filter=_filters()[name], page_size=PAGE)
        found = runs.ListRuns(request).runs
        if not found:
            raise Failure(f"no run is listed: {name}")
        times = []
        cpu = target.cpu_seconds()
        for _ in range(_CALLS):
            begun = time.perf_counter()
            runs.ListRuns(request)
            times.append(time.perf_counter() - begun)
        cpu = target.cpu_seconds() - cpu
    times.sort()
    return {
        "p50_ms": times[len(times) // 2] * 1e3,
        "p99_ms": times[len(times) * 99 // 100] * 1e3,
        "cpu_ms": cpu / _CALLS * 1e3,
        "runs": len(found),
    }


@cache
def _folder() -> "tempfile.TemporaryDirectory[str]":
    return tempfile.TemporaryDirectory()


@cache
def _state(number: int) -> Path:
    """A state file with so many runs; made once."""
    path = Path(_folder().name, f"{number}-{JOURNAL}")
    asyncio.run(_fill(path, number))
    return path


async def _fill(path: Path, number: int) -> None:
    journal = await SqliteJournal.open(path)
    for first in range(0, number, _TOGETHER):
        chosen = range(first, min(first + _TOGETHER, number))
        await asyncio.gather(*(journal.create(_record(run), (), _ended(run)) for run in chosen))
    await journal.close()


def _run_id(number: int) -> str:
    return f"{id_prefix(key_at(_moment(number)))}8000-{number:012x}"


def _moment(number: int) -> int:
    return (_FIRST_AT + number) * 10**6


def _record(number: int) -> RunRecord:
    nested = number % _RARE == 1
    return RunRecord(
        run_id=_run_id(number),
        flow_id=_flow(number),
        flow_name=f"flow-{number % _FLOWS}",
        flow_label=f"label-{number % _LABELS}",
        total=1,
        max_concurrency=None,
        overrides=None,
        variables="{}",
        observability=None,
        scope="",
        key=None,
        fingerprint="",
        created_at=_moment(number),
        depth=int(nested),
        root_id=_run_id(0) if nested else None,
        parent_id=_run_id(0) if nested else None,
        labels=f'{{"team":"team-{number % _TEAMS}"}}',
    )


def _ended(number: int) -> Ended:
    at = _moment(number)
    state = RunState.FAILED if number % _RARE == 0 else RunState.SUCCESS
    result = ItemResult(item_index=0, status=state, value=str(number), completed_at=at)
    return Ended(Outcome(state, int(state is RunState.SUCCESS), int(state is RunState.FAILED), at), [result])


FILTERS: Final = tuple(_filters())
"""The names of the filters: each single field, and pairs."""


@contextmanager
def _kept(number: int) -> Iterator[None]:
    try:
        _state(number)
        yield
    finally:
        _folder().cleanup()


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("number", type=int)
    number = parser.parse_args().number
    join_the_load()
    with _kept(number):
        for name in FILTERS:
            told = "  ".join(f"{key} {value:,.2f}" for key, value in listed_runs(name, number, 0).items())
            sys.stdout.write(f"{name:24} {told}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
