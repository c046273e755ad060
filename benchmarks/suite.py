"""The suite of scenarios. The variants of a scenario are measured in turn, round after round."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Final

from benchmarks import observed, secured
from benchmarks.command_line import COMMANDS
from benchmarks.engine import ORCHESTRATOR, sequential_submits
from benchmarks.indexed_submits import indexed_submits
from benchmarks.listed_runs import FILTERS, LISTED, listed_runs
from benchmarks.overloaded import WAYS, overloaded
from benchmarks.scenario import Scenario
from benchmarks.scenarios import (
    BARE,
    BARE_NATIVE,
    DEMAND,
    GATEWAY,
    JOURNAL,
    MAX_CHANGES,
    MEMORY,
    NATIVE,
    NATIVE_OFFERED,
    OVERLOAD,
    QUEUES,
    UNSCHEDULED,
    Measure,
    Metrics,
    fan_out,
    idle_memory,
    items,
    overload,
    polling,
    results,
    slow_reader,
    storm,
    streaming,
    translation,
    watch_runs,
    watch_set,
)
from benchmarks.stored_runs import STORED, stored_runs
from benchmarks.submits import SUBMITS, UNSCHEDULED_SUBMITS, WORKERS
from benchmarks.temporal_scenarios import temporal_scenarios
from benchmarks.workers import CHANGES, RUNS, followed_through

_UNARY = {"calls_per_s": "calls/s", "cpu_us_per_call": "CPU us/call", "mean_ms": "mean ms"}
_STREAMS = {
    "messages_per_s": "updates/s",
    "cpu_us_per_message": "CPU us/update",
    "age_p50_ms": "age p50 ms",
    "age_p99_ms": "age p99 ms",
}
_SUBSCRIBERS = (100, 1_000, 10_000)
_STREAMED = (BARE, GATEWAY, *([NATIVE] if NATIVE_OFFERED else []))
_BOTH_BARE = (BARE, *([BARE_NATIVE] if NATIVE_OFFERED else []), *_STREAMED[1:])


def _each(
    measure: Callable[..., Metrics], *arguments: object, servers: Sequence[str] = _STREAMED, **options: object
) -> dict[str, Measure]:
    """Return a variant for each server that streams."""
    return {variant: partial(measure, variant, *arguments, **options) for variant in servers}


def _submits() -> Iterator[Scenario]:
    yield Scenario(
        "submit",
        "Unary calls: SubmitRun with wait",
        "A flow without steps, one input of 200 B as JSON text, 64 calls in flight over 8 connections; the run is "
        "executed and its result returned. The references answer with their input. They are scheduled as the gateway "
        "is; one is also as the kernel does by default.",
        _UNARY,
        {UNSCHEDULED: UNSCHEDULED_SUBMITS.many, **{name: submits.many for name, submits in SUBMITS.items()}},
    )
    yield Scenario(
        "sequential",
        "One call after the other: SubmitRun with wait",
        "The same on one connection, one call at a time. h2load is the client, for JSON-RPC as well.",
        {"mean_us": "mean us", "p50_us": "p50 us", "p99_us": "p99 us"},
        {name: submits.single for name, submits in SUBMITS.items()},
    )
    yield Scenario(
        "secured-submits",
        "A checked token and TLS: SubmitRun with wait",
        "The same over TLS 1.3, with a token in each call. The reference compares the token in an interceptor of one "
        "line; the gateway finds its caller, permissions and namespace by it.",
        _UNARY,
        {name: partial(secured.submits, name) for name in secured.VARIANTS},
    )
    yield Scenario(
        "secured-updates",
        "A checked token and TLS: updates",
        f"{secured.STREAMS} streams follow one run that changes {secured.CHANGES} times a second, by a client in "
        "Python: what counts is the processor time of the server.",
        {"messages_per_s": "updates/s", "cpu_us_per_message": "CPU us/update"},
        {name: partial(secured.updates, name) for name in secured.VARIANTS},
    )
    yield Scenario(
        "observed-submits",
        "Metrics and traces: SubmitRun with wait",
        "The same without TLS, beside a gateway that has no code of metrics, logs of calls and traces. With traces, "
        "each call is a span with those of its run within it, all of them sampled, and sent over OTLP to a collector "
        "that forgets them.",
        _UNARY,
        {name: partial(observed.submits, name) for name in observed.VARIANTS},
    )
    yield Scenario(
        "observed-updates",
        "Metrics and traces: updates",
        f"{observed.SUBSCRIBERS:,} subscribers of one run, when there is always another update to send. A stream is "
        "one span, whatever it sends.",
        _STREAMS,
        {name: partial(observed.updates, name) for name in observed.VARIANTS},
    )
    yield Scenario(
        "overload-callers",
        "Overload by one identity",
        "Two identities ask for three times what the gateway can serve, in an open loop: one for a tenth of the "
        "capacity, within its limit, and the other one for all the rest, of which it may have half of the capacity. "
        "A slow machine may refuse later than it answers.",
        {
            "capacity": "submits/s",
            "alone_p99_ms": "p99 alone ms",
            "beside_p99_ms": "p99 beside ms",
            "ratio": "to that alone",
            "refused": "refused",
            "refused_p99_ms": "refused p99 ms",
            "memory_growth_mib": "memory growth MiB",
        },
        {way: partial(overloaded, way) for way in WAYS},
    )
    yield Scenario(
        "workers",
        "Workers: SubmitRun with wait",
        "64 calls in flight over 8 connections, as above, with the servers and the load on both cores. The process "
        "with the runtime executes what its workers relay: what the runtime takes for a submit in a loop of its own is "
        "not counted as relaying.",
        {
            "calls_per_s": "calls/s",
            "cpu_us_per_call": "CPU us/call, all processes",
            "parent_us_per_call": "of the process with the runtime",
            "relaying_us_per_call": "beyond executing",
            "mean_ms": "mean ms",
        },
        WORKERS,
    )
    yield Scenario(
        "follow-workers",
        "Following runs through workers",
        f"{RUNS} runs change in turn, {CHANGES:,} times a second, and each worker follows all of them. The processor "
        "time is that of the process with the runtime, for each update and each worker, beyond what the changes take "
        "when nobody follows. Of the workers only the links are there.",
        {
            "updates_per_s": "updates/s, all workers",
            "cpu_share": "CPU of the process with the runtime",
            "parent_us_per_update": "CPU us per update and worker",
        },
        {f"{number} workers": partial(followed_through, number) for number in (2, 4, 8)},
    )


def _suite() -> Iterator[Scenario]:
    yield from _submits()
    for number in _SUBSCRIBERS:
        yield Scenario(
            f"fan-out-{number}",
            f"Fan-out to {number:,} subscribers of one run",
            f"The run changes more often than all can be told ({DEMAND:,} updates/s are asked for): what counts is how "
            "many updates arrive.",
            {**_STREAMS, "upstream_watches": "upstream watches"},
            _each(fan_out, number, servers=_BOTH_BARE),
        )
    yield Scenario(
        "idle-memory",
        "Memory per idle subscriber",
        "10,000 subscribers of one run that does not change, 100 to a connection.",
        {"kib_per_subscriber": "KiB per subscriber"},
        _each(idle_memory, 10_000),
    )
    yield Scenario(
        "storm",
        "Reconnect storm",
        "10,000 streams are opened at once; they are cut, and 10,000 others opened at once.",
        {"served": "served", "reset": "reset", "first_seconds": "all served in s", "again_seconds": "the second time"},
        _each(storm, 10_000),
    )
    yield Scenario(
        "overload",
        "Overload",
        f"1,000 subscribers of a run that changes {OVERLOAD // 1000} times a second: {OVERLOAD:,} updates/s, more than "
        "can be sent. A queue per subscriber loses nothing but time; the gateway sends the latest state.",
        {**_STREAMS, "memory_growth_mib": "memory growth MiB"},
        {QUEUES: partial(overload, QUEUES, 1_000), **_each(overload, 1_000)},
    )
    yield Scenario(
        "slow-reader",
        "A reader that does not read",
        "1,000 subscribers of one run under full load, without and with one more on a connection of its own that never "
        "reads.",
        {**_STREAMS, "memory_growth_mib": "memory growth MiB"},
        {"without": partial(slow_reader, 0, 1_000), "with": partial(slow_reader, 1, 1_000)},
    )
    yield Scenario(
        "polling",
        "Following a run: streams against polling",
        "1,000 clients learn of the changes of one run: by `runs/get` over HTTP every 100 ms, which is 10,000 polls a "
        "second, or by GetRun. The age is that of a change when a client first sees it.",
        {
            "cpu_share": "server CPU",
            "messages_per_s": "answers/s",
            "age_p50_ms": "age p50 ms",
            "age_p99_ms": "age p99 ms",
        },
        {
            f"{name}, {rate} change{'s' * (rate > 1)}/s": partial(way, 1_000, rate)
            for rate in (1, 10)
            for name, way in (("polling", polling), ("streams", streaming))
        },
    )
    yield Scenario(
        "translation",
        "Translation of a submit's input to the body of a JSON-RPC request",
        "The text lane and the value lane of the gateway, and the value lane by `google.protobuf.json_format`.",
        {
            "text_us": "text lane us",
            "value_us": "value lane us",
            "json_format_us": "json_format us",
            "ratio": "text lane is faster by",
        },
        {size: partial(translation, size) for size in ("200 B", "20 KB", "1 MB")},
    )
    yield Scenario(
        "many-runs",
        "1,000 runs with 10 subscribers each",
        f"The runs change in turn, {MAX_CHANGES:,} times a second: {DEMAND:,} updates/s are asked for.",
        {**_STREAMS, "upstream_watches": "upstream watches"},
        _each(fan_out, 10_000, servers=_BOTH_BARE, runs=1_000),
    )
    yield Scenario(
        "watch-runs",
        "WatchRuns: 10,000 runs on one stream",
        f"The runs change in turn, {MAX_CHANGES:,} times a second: so many updates/s are asked for.",
        _STREAMS,
        _each(watch_runs, 10_000),
    )
    yield Scenario(
        "watch-set",
        "Sets: 10,000 running runs, 100 followers",
        "Each stream follows the set of all running runs, without those that there are at first. They change in turn, "
        f"{MAX_CHANGES:,} times a second: "
        f"{100 * MAX_CHANGES:,} updates/s are asked for, and what counts is how many arrive.",
        _STREAMS,
        _each(watch_set, 100, 10_000, servers=_STREAMED[1:]),
    )
    yield Scenario(
        "results",
        "100,000 results",
        "The results of a finished run of 100,000 items, 200 B each, streamed to one client by GetRun. The reference "
        "has its messages ready.",
        {
            "items_per_s": "items/s",
            "mib_per_s": "MiB/s",
            "cpu_us_per_item": "CPU us/item",
            "messages": "messages",
            "peak_growth_mib": "memory growth MiB",
        },
        {name: partial(results, name, 100_000) for name in (BARE, "gateway, :memory:", "gateway, journalled")},
    )
    yield Scenario(
        "stored-runs",
        "A state file with many finished runs",
        "What the gateway takes when its file has so many runs, of which one in ten has an idempotency key: processor "
        "time to start, and for submits and reads of runs by id, one after the other; and memory, after the start and "
        "after 2,000 calls. Starting is mostly importing.",
        {
            "start_cpu_s": "start CPU s",
            "submit_cpu_us": "CPU us/submit",
            "read_cpu_us": "CPU us/read",
            "memory_mib": "memory MiB",
            "memory_after_mib": "memory MiB after calls",
            "file_mib": "file MiB",
        },
        {f"{number:,} runs": partial(stored_runs, number) for number in STORED},
        rounds=1,
    )
    yield Scenario(
        "listed-runs",
        "The first page of 100 of 1,000,000 runs",
        "ListRuns, one call after the other, newest first, for each single condition and for pairs: one run in a "
        "thousand has failed, or is nested; there are 100 flows, 1,000 flow labels and 10 teams.",
        {"p50_ms": "p50 ms", "p99_ms": "p99 ms", "cpu_ms": "CPU ms/call", "runs": "runs"},
        {name: partial(listed_runs, name, LISTED) for name in FILTERS},
        rounds=1,
    )
    yield Scenario(
        "indexed-submits",
        "Journalled submits with and without the index of runs",
        "In one process, without fronts: 64 submits of one small item at a time. At least 0.95 of the calls/s without "
        "the index are the goal.",
        {"calls_per_s": "calls/s", "cpu_us": "CPU us/call"},
        {name: partial(indexed_submits, indexed=name == "indexed") for name in ("indexed", "not indexed")},
    )
    yield Scenario(
        "command-line",
        "The start of a command",
        "From the start of the process to its end.",
        {"seconds": "mean s"},
        COMMANDS,
    )
    yield Scenario(
        "engine",
        "A Stepflow engine behind the gateway: SubmitRun with wait",
        "The same flow and input on a released orchestrator, one call after the other: to the orchestrator's own gRPC "
        "(`CreateRun` with wait, by grpcio), and to the gateway over it, which speaks REST with it. The orchestrator "
        "sends the end of a gRPC answer only when the client has acknowledged its beginning, 40 ms later.",
        {
            "direct_ms": "orchestrator, median ms",
            "gateway_ms": "gateway, median ms",
            "ratio": "gateway to orchestrator",
        },
        {ORCHESTRATOR: sequential_submits},
    )
    yield from temporal_scenarios()
    yield from _growth()


def _growth() -> Iterator[Scenario]:
    for number in (10, 300, 3_000):
        yield Scenario(
            f"growth-subscribers-{number}",
            f"{number:,} subscribers of one run",
            "",
            _STREAMS,
            {name: _shorter(partial(fan_out, name, number)) for name in (BARE, GATEWAY)},
            rounds=1,
        )
    for number in (10, 100, 1_000):
        yield Scenario(
            f"growth-runs-{number}",
            f"{number:,} runs with 1,000 subscribers together",
            "",
            _STREAMS,
            {name: _shorter(partial(fan_out, name, 1_000, runs=number)) for name in (BARE, GATEWAY)},
            rounds=1,
        )
    for number in (1, 10, 100, 1_000, 10_000, 100_000):
        yield Scenario(
            f"growth-items-{number}",
            f"Runs of {number:,} item{'s' * (number > 1)}",
            "",
            {"items_per_s": "items/s", "cpu_us_per_item": "CPU us/item"},
            {f"gateway, {title}": _shorter(partial(items, state, number)) for title, state in _STATES.items()},
            rounds=1,
        )


def _shorter(measure: Measure) -> Measure:
    """Return a measurement that takes half the time, for a point of a curve."""
    return lambda seconds: measure(seconds / 2)


_STATES = {":memory:": MEMORY, "journalled": JOURNAL}

SCENARIOS: Final = {scenario.name: scenario for scenario in _suite()}
"""The suite, in order."""
