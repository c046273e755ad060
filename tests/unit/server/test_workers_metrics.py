"""The sum over workers: no counter goes down, whatever becomes of them."""

import asyncio
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.core.socket_directory import metrics_socket as path_of
from gateway.server import metrics_socket, workers_metrics
from gateway.server.workers_metrics import WorkersMetrics
from gateway.telemetry.gateway_metrics import FOLLOWED_RUNS, FOLLOWED_SETS, UPSTREAM_WATCHES
from gateway.telemetry.metrics import MetricFamily, added


class Worker:
    def __init__(self, pid: int) -> None:
        self.pid = pid


class Workers:
    """Workers that a test starts and ends; each tells the numbers of its id, or nothing."""

    def __init__(self, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.living: list[Any] = []
        self.told: dict[int, float | None] = {}
        self.metrics = WorkersMetrics(str(directory), lambda: self.living)
        monkeypatch.setattr(workers_metrics, "ask_metrics", self._ask)

    def start(self, pid: int, count: float | None) -> None:
        self.living.append(Worker(pid))
        self.told[pid] = count

    def end(self, pid: int) -> None:
        self.living = [worker for worker in self.living if worker.pid != pid]

    async def _ask(self, path: str) -> list[MetricFamily] | None:
        count = self.told[int(Path(path).suffix[1:])]
        return None if count is None else families(count)

    async def sums(self) -> Mapping[str, list[float]]:
        found = added(await self.metrics.collect())
        return {family.name: values for family in found for _, values in family.samples}


def families(count: float) -> list[MetricFamily]:
    return [
        MetricFamily("c_total", "counter", "", (), [((), [count])]),
        MetricFamily("g", "gauge", "", (), [((), [count])]),
        MetricFamily("h", "histogram", "", (), [((), [count, count, count / 2])], (1.0,)),
    ]


def expected(count: float, gauge: float) -> dict[str, list[float]]:
    return {"c_total": [count], "g": [gauge], "h": [count, count, count / 2]}


@pytest.fixture
def workers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workers:
    return Workers(tmp_path, monkeypatch)


async def test_what_a_dead_worker_has_counted_stays_and_its_gauges_do_not(workers: Workers, tmp_path: Path) -> None:
    workers.start(1, 10)
    workers.start(2, 5)
    assert await workers.sums() == expected(15, 15)
    socket = tmp_path / "metrics.2"
    socket.touch()
    workers.end(2)
    assert await workers.sums() == expected(15, 10)
    assert not socket.exists()
    workers.start(3, 1)
    assert await workers.sums() == expected(16, 11)
    workers.end(3)
    workers.end(1)
    assert await workers.sums() == {"c_total": [16], "h": [16, 16, 8]}


async def test_what_workers_follow_is_told_by_the_process_with_the_runtime(
    workers: Workers, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def ask(path: str) -> list[MetricFamily]:
        return [*families(1), FOLLOWED_RUNS.family(), FOLLOWED_SETS.family(), UPSTREAM_WATCHES.family()]

    monkeypatch.setattr(workers_metrics, "ask_metrics", ask)
    workers.start(1, 1)
    assert (await workers.sums()).keys() == {"c_total", "g", "h"}


async def test_a_worker_that_takes_the_id_of_a_dead_one_is_another_one(workers: Workers, tmp_path: Path) -> None:
    workers.start(1, 10)
    await workers.sums()
    workers.end(1)
    workers.start(1, 2)
    socket = tmp_path / "metrics.1"
    socket.touch()
    assert await workers.sums() == expected(12, 2)
    assert socket.exists()


async def test_a_worker_that_hangs_counts_with_what_it_has_told_last(workers: Workers) -> None:
    workers.start(1, None)
    assert await workers.sums() == {}
    workers.told[1] = 7
    assert await workers.sums() == expected(7, 7)
    workers.told[1] = None
    assert await workers.sums() == {"c_total": [7], "h": [7, 7, 3.5]}
    workers.told[1] = 9
    assert await workers.sums() == expected(9, 9)


async def test_a_process_is_asked_over_its_socket(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with metrics_socket.told_metrics(f"unix:{home}/runtime.sock", "worker-7"):
        path = path_of(str(home), os.getpid())
        answers = await asyncio.gather(*(metrics_socket.ask_metrics(path) for _ in range(20)))
        for answer in answers:
            assert answer is not None
            [cpu] = [family for family in answer if family.name == "process_cpu_seconds_total"]
            assert dict(cpu.samples)[("worker-7",)][0] > 0
    assert await metrics_socket.ask_metrics(path) is None

    left = asyncio.Event()

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"\x91")
        await reader.read()
        writer.close()
        left.set()

    monkeypatch.setattr(metrics_socket, "ANSWER_SECONDS", 0.05)
    async with await asyncio.start_unix_server(hang, f"{home}/hung"):
        assert await metrics_socket.ask_metrics(f"{home}/hung") is None
        await left.wait()


@pytest.mark.parametrize("answer", [b"", b"\xc1", b"\x91\x01", bytes(100)])
async def test_what_is_no_answer_is_none(home: Path, answer: bytes) -> None:
    async def say(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        writer.close()

    async with await asyncio.start_unix_server(say, f"{home}/other"):
        assert await metrics_socket.ask_metrics(f"{home}/other") is None


async def test_an_endless_answer_is_cut(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ended = asyncio.Event()

    async def flood(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                writer.write(bytes(1 << 16))
                await writer.drain()
        except ConnectionError:
            writer.close()
            ended.set()

    monkeypatch.setattr(metrics_socket, "_LONGEST_ANSWER", 1 << 20)
    async with await asyncio.start_unix_server(flood, f"{home}/flood"):
        assert await metrics_socket.ask_metrics(f"{home}/flood") is None
        await ended.wait()


async def test_a_process_whose_runtime_has_no_socket_tells_nothing() -> None:
    async with metrics_socket.told_metrics("grpc://127.0.0.1:1", "worker-1"):
        pass
