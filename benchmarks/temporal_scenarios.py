"""The scenarios of gateways on a Temporal server."""

from collections.abc import Iterator
from functools import partial

from benchmarks.scenario import Scenario
from benchmarks.temporal import FOLLOWERS, IN_FLIGHT, ages, latency, throughput
from gateway.core.counted import counted


def temporal_scenarios() -> Iterator[Scenario]:
    """All of them."""
    costs = {
        "runs_per_s": "runs/s",
        "items_per_s": "items/s",
        "gateway_ms_per_item": "CPU ms/item, gateways",
        "engine_ms_per_item": "engine",
        "storage_ms_per_item": "storage",
    }
    for number in (1, 20):
        yield Scenario(
            f"temporal-{number}",
            f"Gateways on a Temporal server: runs of {counted(number, 'item')}",
            f"SubmitRun with wait, of a flow without steps, {IN_FLIGHT} calls in flight over all gateways. The engine "
            "is the development server with its state in a file, the storage an S3 server; these, the gateways and "
            "the load share two cores.",
            costs,
            {counted(gateways, "gateway"): partial(throughput, gateways, number) for gateways in (1, 2, 3)},
        )
    yield Scenario(
        "temporal-latency",
        "A run on a Temporal server, beside the bare SDK",
        "SubmitRun with wait, of a run of one item, and `execute_workflow` of a workflow with one activity that gives "
        "its input back, in turn on the same server. The bare SDK has client and worker in one process.",
        {
            "direct_p50_ms": "bare SDK, p50 ms",
            "gateway_p50_ms": "gateway, p50 ms",
            "ratio": "gateway to bare SDK",
            "direct_p99_ms": "bare SDK, p99 ms",
            "gateway_p99_ms": "gateway, p99 ms",
            "ratio_p99": "gateway to bare SDK, p99",
        },
        {f"{number} at a time": partial(latency, number) for number in (1, 16)},
    )
    yield Scenario(
        "temporal-updates",
        "Following a run on a Temporal server",
        f"{FOLLOWERS} streams on two gateways follow one run with its results, four of whose items execute at "
        "the same time and take 100 ms. The age is that of a result when a follower has it.",
        {"age_p50_ms": "age p50 ms", "age_p99_ms": "age p99 ms"},
        {f"{FOLLOWERS} followers": ages},
    )
