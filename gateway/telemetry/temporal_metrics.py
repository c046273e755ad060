"""What the SDK of Temporal counts in a gateway, as far as operators need it, and what a gateway does for it."""

from typing import Final

from gateway.telemetry.metrics import Counter, Gauge, Histogram

_SECONDS: Final = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 60.0)

TASK_SLOTS_USED: Final = Gauge(
    "runs_gateway_temporal_task_slots_used", "Tasks of a Temporal server that this gateway works on now.", ("task",)
)
TASK_SLOTS_FREE: Final = Gauge(
    "runs_gateway_temporal_task_slots_free", "How many more it would take, if their number is fixed.", ("task",)
)
TASK_DELAY: Final = Histogram(
    "runs_gateway_temporal_task_delay_seconds",
    "Time that a task has waited in the engine until a gateway took it: if it grows, more gateways are needed.",
    _SECONDS,
    ("task",),
)
TASK_SECONDS: Final = Histogram(
    "runs_gateway_temporal_task_seconds", "Time that this gateway has worked on a task.", _SECONDS, ("task",)
)
TASKS_FAILED: Final = Counter(
    "runs_gateway_temporal_tasks_failed_total", "Tasks that have failed, and are handed out again.", ("task",)
)
POLLERS: Final = Gauge(
    "runs_gateway_temporal_pollers", "Calls that wait for tasks: 0 if this gateway takes none.", ("task",)
)
POLLS: Final = Counter(
    "runs_gateway_temporal_polls_total", "Calls for steps of workflows, with a task or without.", ("result",)
)
CACHED_WORKFLOWS: Final = Gauge(
    "runs_gateway_temporal_cached_workflows", "Workflows whose state is in the memory of this gateway."
)
CACHE_LOOKUPS: Final = Counter(
    "runs_gateway_temporal_cache_lookups_total",
    "Steps of workflows whose state was in memory, or was not: then it is made from the history.",
    ("result",),
)
CACHE_EVICTIONS: Final = Counter(
    "runs_gateway_temporal_cache_evictions_total", "Workflows that left the memory although they had not ended."
)
REQUESTS_FAILED: Final = Counter(
    "runs_gateway_temporal_requests_failed_total",
    "Attempts of requests to the engine that have failed, those that wait for tasks or ends apart.",
    ("request",),
)
CHUNKS_EXECUTED: Final = Counter(
    "runs_gateway_temporal_chunks_executed_total", "Chunks of items that this gateway has executed, also in part."
)
CHUNK_ITEMS_ENDED: Final = Counter(
    "runs_gateway_temporal_items_ended_total", "Items that have ended in this gateway.", ("state",)
)
