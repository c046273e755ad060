"""What only this gateway has to tell: followers, memory, runs, components, upstreams, the state. Others count calls."""

from typing import Final

from gateway.telemetry.metrics import Counter, Gauge, Histogram

_SHORT: Final = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0)
_LONG: Final = (0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0, 5.0, 10.0, 60.0, 300.0, 1800.0, 7200.0)
_NUMBERS: Final = (1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024)

FOLLOWERS: Final = Gauge("runs_gateway_followers", "Clients that follow a run or a set now.", ("kind",))
FOLLOWED_RUNS: Final = Gauge("runs_gateway_followed_runs", "Runs that somebody follows, or did until a moment ago.")
FOLLOWED_SETS: Final = Gauge("runs_gateway_followed_sets", "Sets that somebody follows, or did until a moment ago.")
UPSTREAM_WATCHES: Final = Gauge(
    "runs_gateway_upstream_watches", "Watches of runs and sets in the runtime, each for any number of followers."
)
STATES_CONFLATED: Final = Counter(
    "runs_gateway_states_conflated_total", "States that followers were not sent, since a later one had come."
)
UPDATE_AGE: Final = Histogram(
    "runs_gateway_update_age_seconds",
    "Time from the change of a state until it is sent to a follower. First states and heartbeats do not count.",
    _SHORT,
)
CONNECTIONS: Final = Gauge(
    "runs_gateway_connections", "Connections of clients. Those of gRPC count while they have open calls.", ("front",)
)

MEMORY: Final = Gauge("runs_gateway_memory_bytes", "Bytes held in the account of memory.", ("use",))
MEMORY_LIMIT: Final = Gauge("runs_gateway_memory_limit_bytes", "The size of the account of memory.")
REFUSALS: Final = Counter("runs_gateway_refusals_total", "Calls that were refused.", ("reason",))
# The alert sees no increase in a series that begins with its first event.
REFUSALS.labels("STATE_UNAVAILABLE")
TOKENS_REFUSED: Final = Counter(
    "runs_gateway_tokens_refused_total", "Credentials that were missing or not accepted.", ("reason",)
)

RUNS_SUBMITTED: Final = Counter("runs_gateway_runs_submitted_total", "Runs that the embedded runtime has accepted.")
RUNS_ENDED: Final = Counter(
    "runs_gateway_runs_ended_total", "Runs of the embedded runtime that have ended.", ("state",)
)
ITEMS_ENDED: Final = Counter(
    "runs_gateway_items_ended_total", "Items of the embedded runtime that have ended.", ("state",)
)
ITEMS_EXECUTING: Final = Gauge("runs_gateway_items_executing", "Items that have a place to execute.")
ITEMS_WAITING: Final = Gauge(
    "runs_gateway_items_waiting", "Items of runs in memory that have not ended and have no place to execute."
)

STATE_UP: Final = Gauge(
    "runs_gateway_state_up",
    "Whether the state that this gateway keeps can be written, as far as is known (1).",
    ("runtime",),
)

EVENT_LOOP_TURN: Final = Histogram(
    "runs_gateway_event_loop_turn_seconds", "Length of a turn of the event loop, sampled ten times a second.", _SHORT
)

COMPONENT_EXECUTIONS: Final = Counter(
    "runs_gateway_component_executions_total", "Executions of components, each attempt.", ("prefix", "outcome")
)
COMPONENT_SECONDS: Final = Histogram(
    "runs_gateway_component_execution_seconds", "Time of an execution of a component.", _LONG, ("prefix",)
)
COMPONENT_SERVER_UP: Final = Gauge(
    "runs_gateway_component_server_up", "Whether the components below a prefix are available (1).", ("prefix",)
)

UPSTREAM_CALLS: Final = Counter(
    "runs_gateway_upstream_calls_total", "Calls on a runtime elsewhere, each attempt.", ("runtime", "outcome")
)
UPSTREAM_SECONDS: Final = Histogram(
    "runs_gateway_upstream_call_seconds", "Time of a call on a runtime elsewhere.", _LONG, ("runtime",)
)
UPSTREAM_UP: Final = Gauge(
    "runs_gateway_upstream_up", "Whether the runtime elsewhere can be reached, as far as is known (1).", ("runtime",)
)

OBJECT_STORAGE_UP: Final = Gauge(
    "runs_gateway_object_storage_up", "Whether the object storage can be reached, as far as is known (1).", ("storage",)
)
OBJECT_CALLS: Final = Counter(
    "runs_gateway_object_calls_total", "Calls on object storage, each with all its attempts.", ("operation", "outcome")
)
OBJECT_SECONDS: Final = Histogram(
    "runs_gateway_object_call_seconds", "Time of a call on object storage.", _SHORT, ("operation",)
)
OBJECT_BYTES: Final = Counter(
    "runs_gateway_object_bytes_total", "Bytes of objects that were read or written.", ("direction",)
)

STATE_COMMIT: Final = Histogram("runs_gateway_state_commit_seconds", "Time of a commit to the state file.", _SHORT)
STATE_COMMIT_WRITES: Final = Histogram(
    "runs_gateway_state_commit_writes", "Writes that share a commit to the state file.", _NUMBERS
)
STATE_FILE: Final = Gauge("runs_gateway_state_file_bytes", "Size of the state file, with its log.")
RETENTION_RUNS: Final = Counter(
    "runs_gateway_retention_runs_deleted_total", "Runs that were deleted since they were not to be kept."
)
RETENTION_BLOBS: Final = Counter(
    "runs_gateway_retention_blobs_deleted_total", "Blobs that were deleted since they were not to be kept."
)
RETENTION_PASS: Final = Gauge(
    "runs_gateway_retention_last_pass_timestamp_seconds",
    "When all that was to go had gone, or the gateway began, in seconds since the epoch; 0 if everything is kept.",
)
