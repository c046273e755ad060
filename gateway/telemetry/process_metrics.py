"""What processes use, and which there are: the metrics `process_*` by the name of the process, and those of workers.

Their numbers come from files of the system, which take long where thousands of descriptors are open. So they are
measured in a thread, and then told in the event loop, before metrics are read.
"""

from typing import Final

from prometheus_client import ProcessCollector

from gateway.telemetry.metrics import Counter, Gauge

_LABELS: Final = ("process",)

_MEASURED: Final[tuple[Counter, ...]] = (
    Counter("process_cpu_seconds_total", "Processor time of a process, of the user and of the system.", _LABELS),
    Gauge("process_virtual_memory_bytes", "Virtual memory of a process.", _LABELS),
    Gauge("process_resident_memory_bytes", "Resident memory of a process.", _LABELS),
    Gauge("process_start_time_seconds", "When a process was started, since the epoch.", _LABELS),
    Gauge("process_open_fds", "Open descriptors of a process.", _LABELS),
    Gauge("process_max_fds", "How many descriptors a process may have.", _LABELS),
)

WORKERS: Final = Gauge("runs_gateway_workers", "Processes that serve clients: 1 without `--workers`.")

WORKER_RESTARTS: Final = Counter(
    "runs_gateway_worker_restarts_total", "Worker processes that have died, for which others were started."
)

BUILD_INFO: Final = Gauge("runs_gateway_build_info", "1, with the version of the gateway.", ("version",))

_collector: Final = ProcessCollector(registry=None)


def measured() -> dict[str, float]:
    """What this process uses, by the names of metrics; nothing on systems without `/proc`. It reads files."""
    return {sample.name: sample.value for metric in _collector.collect() for sample in metric.samples}


def tell(process: str, numbers: dict[str, float]) -> None:
    """Let the metrics of a process have the numbers that were measured. For the event loop."""
    for metric in _MEASURED:
        if (number := numbers.get(metric.name)) is not None:
            metric.labels(process).value = number
