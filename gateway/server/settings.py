"""The settings of the servers.

Each setting stands here once. Flags and their help, names in the environment and in files, and the tables in documents
are made of it.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

from gateway.core.addresses import DEFAULT_GRPC_ADDRESS
from gateway.server.host_settings import HostSettings
from gateway.server.identity_settings import IdentitySettings
from gateway.server.limit_settings import LimitSettings
from gateway.server.machine_memory import machine_memory
from gateway.server.setting_forms import (
    BlobApiUrl,
    BridgedGateway,
    ByteSize,
    ComponentRoutes,
    DefaultText,
    Directories,
    Duration,
    EngineAddress,
    EntryFlag,
    ExecutionTimeouts,
    FileOnly,
    FilePath,
    FlagValue,
    KeepTime,
    ListenAddress,
    ListFlag,
    NonEmpty,
    OpenCalls,
    RetentionRule,
    RuntimeAddress,
    RuntimeKind,
    TransportName,
    Truth,
    WholeNumber,
    expand_home,
    runtime_kind_of,
)
from gateway.server.telemetry_settings import MetricsAddress, TelemetrySettings, metrics_address_field
from gateway.server.temporal_settings import TemporalSettings
from gateway.server.tls_settings import TlsSettings
from gateway.server.ui_settings import UiSettings

ENV_PREFIX = "RUNS_GATEWAY_"

MAX_WORKERS = 64
"""How many processes one gateway may consist of."""

MIN_MEMORY = 64 << 20
"""The least memory that clients may use, in bytes."""


class SettingsError(Exception):
    """A setting is not valid. The message is one line that names the setting and where it came from."""


class StartError(Exception):
    """The gateway cannot start. The message is one line that names the flag to change."""


def _half_of_memory() -> int:
    return max(MIN_MEMORY, machine_memory() // 2)


def _serve_state(settings: Mapping[str, Any]) -> str:
    return _state_file("runs.db" if settings["runtime"] == RuntimeKind.EMBEDDED else "keys.db")


def _bridge_state() -> str:
    # Not the file of a gateway: a gateway may run beside the bridge, and each owns its file.
    return _state_file("bridge.db")


def _state_file(name: str) -> str:
    """A file in the user's state directory. Raises SettingsError if the user has none."""
    # Its specification has relative paths ignored.
    home = os.environ.get("XDG_STATE_HOME", "")
    try:
        home = home if home.startswith("/") else expand_home("~/.local/state")
    except ValueError:
        raise SettingsError("state: this user has no home directory to keep it in; give --state, or set HOME") from None
    return str(Path(home) / "runs-gateway" / name)


class _SharedSettings(HostSettings, IdentitySettings, LimitSettings, TelemetrySettings, TlsSettings, BaseModel):
    """Settings that gateways and bridges have in common. Field names are the names of settings in a file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    components: ComponentRoutes = {}
    component_env: Annotated[dict[str, str], EntryFlag("component-env", "NAME=VALUE")] = Field(
        default={},
        description="The environment of component servers that are started by command. They inherit nothing.",
    )
    execution_timeouts: ExecutionTimeouts = Field(
        default={},
        description="How many seconds one execution of the components under a path prefix may take, the longest prefix "
        "counting: `/=60` is for all. Then it fails as if its server were lost, and is tried again. None by default.",
    )
    blob_api_url: Annotated[BlobApiUrl | None, DefaultText("where the gateway serves it")] = Field(
        default=None,
        description="The URL at which component servers reach the blob API, if they cannot at the address where the "
        "gateway listens, as from other containers: `http://gateway:8080/api/v1/blobs`.",
    )
    max_tasks: WholeNumber = Field(
        default=100,
        ge=1,
        le=100_000,
        description="How many tasks of a queue may execute at the same time, not counting those that wait for runs of "
        "their own.",
    )
    max_memory: Annotated[ByteSize, DefaultText("half of what the machine or its control group has")] = Field(
        default_factory=_half_of_memory,
        ge=MIN_MEMORY,
        le=1 << 60,
        description="The memory that clients can make the gateway hold, in bytes or as `512MiB`. What does not fit is "
        "refused. All processes of the gateway share it.",
    )
    body_timeout: WholeNumber = Field(
        default=30,
        ge=1,
        le=3_600,
        description="How many seconds the body of an HTTP request, or an upload by gRPC, may come no further before it "
        "is refused.",
    )
    lossy_numbers: Truth = Field(
        default=False,
        description="Let a Stepflow engine round the numbers that it cannot hold exactly. By default they are refused.",
    )


class ServeSettings(_SharedSettings, TemporalSettings, UiSettings):
    """The settings of `runs-gateway serve`."""

    grpc_address: ListenAddress = Field(
        default=DEFAULT_GRPC_ADDRESS,
        description="Where to serve gRPC: `HOST:PORT`, where port 0 takes a free one, or `unix:/PATH`.",
    )
    http_address: ListenAddress = Field(
        default="127.0.0.1:8080",
        description="Where to serve JSON-RPC and the blob API, in the same form.",
    )
    runtime: RuntimeAddress = Field(
        default=RuntimeKind.EMBEDDED.value,
        description="What executes runs: `embedded` (this gateway), `grpc://HOST:PORT` or `unix:/PATH` (another "
        "gateway), `jsonrpc+http://HOST:PORT/PATH` (a server of the runs methods), `stepflow+http://HOST:PORT` (a "
        "Stepflow engine) or `temporal://HOST:PORT/NAMESPACE` (gateways that share a Temporal server). Over TLS it is "
        "`grpcs`, `jsonrpc+https`, `stepflow+https` and `temporals`.",
    )
    state: Annotated[
        FilePath, DefaultText("`~/.local/state/runs-gateway/runs.db`; `keys.db` if the runtime is elsewhere")
    ] = Field(
        default_factory=_serve_state,
        description="The file that keeps flows, runs and results, or the idempotency keys for a runtime elsewhere; "
        "one on Temporal has none. `:memory:` keeps nothing.",
    )
    dialect: Annotated[Literal["document", "superset", "0.9", "0.10"] | None, DefaultText("found out")] = Field(
        default=None,
        description="The dialect of a JSON-RPC server of the runs methods. The gateway finds it out if it is not set.",
    )
    queue: NonEmpty | None = Field(
        default=None,
        description="Be a bridge as well: the queue of the Stepflow engine whose tasks the component servers execute.",
    )
    workers: WholeNumber = Field(
        default=1,
        ge=1,
        le=MAX_WORKERS,
        description="How many processes serve, on shared ports. Limits of calls are limits of each process.",
    )
    drain_delay: WholeNumber = Field(
        default=0,
        ge=0,
        le=3_600,
        description="How many seconds after SIGTERM calls are still taken, while health already reports the end. Give "
        "load balancers the time to notice.",
    )
    drain_seconds: WholeNumber = Field(
        default=0,
        ge=0,
        le=3_600,
        description="In how many seconds after SIGTERM, and after `drain_delay`, streams are ended, a few at a time, "
        "while runs go on. Their clients then come back elsewhere, and not all at once.",
    )
    max_connection_age: Duration | None = Field(
        default=None,
        description="About how long a connection takes calls, and a stream lasts: in seconds, or as `30s`, `1h`. Each "
        "is a tenth shorter or longer, at random. Clients go on over a new connection, which a load balancer may lead "
        "elsewhere. Without end by default.",
    )
    max_connection_age_grace: Duration | None = Field(
        default=None,
        description="How long calls may still take when a connection and its streams have reached their age. Without "
        "end by default.",
    )
    transport: TransportName = Field(
        default="grpcio",
        description="What speaks HTTP/2 for gRPC: `grpcio`, or `native`, which is faster (`pip install "
        "'runs-gateway[native]'`).",
    )
    max_message_bytes: ByteSize = Field(
        default=64 << 20,
        ge=1 << 16,
        lt=1 << 31,
        description="The largest message, in bytes or as `64MiB`. One JSON value may have 64 MiB at most in any case.",
    )
    max_calls: OpenCalls = Field(
        default=4_096,
        description="How many gRPC calls that do not wait for a run may be open at the same time. More are refused.",
    )
    max_waiting_calls: OpenCalls = Field(
        default=50_000,
        description="How many gRPC calls that wait for a run may be open at the same time, and how many HTTP requests.",
    )
    max_flow_bytes: ByteSize = Field(
        default=4 << 20,
        ge=1 << 10,
        le=64 << 20,
        description="The largest flow, the largest overrides, and the largest flow with overrides, in bytes or as "
        "`4MiB`.",
    )
    transport_retries: WholeNumber = Field(
        default=3,
        ge=0,
        le=1_000,
        description="How often a step is tried again after a failure of the way to its component server that may pass, "
        "before its `onError` counts: the server died, could not be reached, or did not answer in time or to the end.",
    )
    max_executing_items: WholeNumber = Field(
        default=1_000,
        ge=1,
        le=1_000_000,
        description="How many items of all runs may execute at the same time, not counting those that wait for runs of "
        "their own.",
    )
    run_timeout: Duration | None = Field(
        default=None,
        description="How long a run may take, from when it is accepted: in seconds, or as `45s`, `2h`, `30d`. One that "
        "has not ended by then is cancelled, also over restarts. A run may ask for less.",
    )
    keep: KeepTime = Field(
        default=None,
        description="How long runs are kept after their end that no rule of `retention` concerns: in seconds, or as "
        "`12h`, `30d`. For ever by default.",
    )
    keep_runs: WholeNumber | None = Field(
        default=None,
        ge=0,
        description="How many runs are kept that have ended and that no rule of `retention` concerns: the ones that "
        "ended last, in each namespace. All by default.",
    )
    keep_blobs: Annotated[KeepTime, DefaultText("`7d`")] = Field(
        default=7 * 86_400.0,
        description="How long blobs are kept after they were last put, read or used by a run, if no run refers to them "
        "as its flow. `forever` keeps all.",
    )
    retention: Annotated[tuple[RetentionRule, ...], FileOnly()] = Field(
        default=(),
        description="Rules for how long runs are kept after their end, of which the first that matches a run counts: "
        "tables with `states`, `flow_label` (with a `*` at its end: what begins so), `labels`, `namespace` and "
        "`keep`, a duration or `forever`.",
    )
    file_directories: Directories | None = Field(
        default=None,
        description="The directories below which `/builtin/load_file` may load files: absolute paths, with colons "
        "between them.",
    )
    max_depth: WholeNumber = Field(
        default=32,
        ge=0,
        le=1_000,
        description="How deep runs may nest that flows and components start, and flows that `/builtin/iterate` runs. 0 "
        "allows none.",
    )
    max_descendants: WholeNumber = Field(
        default=100_000,
        ge=1,
        le=1 << 32,
        description="How many items all runs inside one run may have at a time, until these runs end.",
    )

    @property
    def directories(self) -> list[str]:
        """The paths in `file_directories`."""
        return self.file_directories.split(":") if self.file_directories else []

    @property
    def runtime_kind(self) -> RuntimeKind:
        """The kind of `runtime`."""
        return runtime_kind_of(self.runtime)


class BridgeSettings(_SharedSettings):
    """The settings of `runs-gateway bridge`."""

    engine: EngineAddress = Field(
        description="The Stepflow engine: `http://HOST:PORT`.",
    )
    queue: NonEmpty = Field(
        description="The queue to take tasks from: `queueName` in the engine's configuration.",
    )
    components: Annotated[ComponentRoutes, Field(min_length=1)]
    gateway: BridgedGateway | None = Field(
        default=None,
        description="A gateway over the same engine that receives the runs of components: `grpc://HOST:PORT`, "
        "`grpcs://HOST:PORT` or `unix:/PATH`. Bridges with the same gateway share its idempotency keys: a task that "
        "another bridge executes again submits no run twice. Without it, runs go to the engine and keys into `state`.",
    )
    state: Annotated[FilePath, DefaultText("`~/.local/state/runs-gateway/bridge.db`")] = Field(
        default_factory=_bridge_state,
        description="The file that keeps the run of each idempotency key, unless `gateway` is set. `:memory:` keeps "
        "nothing.",
    )
    http_address: ListenAddress = Field(
        default="127.0.0.1:0",
        description="Where component servers reach the blob API: `HOST:PORT`, where port 0 takes a free one.",
    )
    metrics_address: MetricsAddress = metrics_address_field("127.0.0.1:9465")

    def as_serve(self) -> ServeSettings:
        """The settings of a gateway with this bridge in it."""
        runtime = self.gateway or f"{RuntimeKind.STEPFLOW}+{self.engine}"
        return ServeSettings(runtime=runtime, **self.model_dump(exclude={"engine", "gateway"}))


class Setting(NamedTuple):
    """One setting, as flags, the environment and documents name it."""

    name: str
    """The name in a file."""
    field: FieldInfo

    @property
    def file_only(self) -> bool:
        """Whether there is no flag, and no name in the environment."""
        return any(isinstance(mark, FileOnly) for mark in self.field.metadata)

    @property
    def entry(self) -> EntryFlag | None:
        """How the flag gives one entry, if the setting is a map."""
        return next((mark for mark in self.field.metadata if isinstance(mark, EntryFlag)), None)

    @property
    def list_entry(self) -> ListFlag | None:
        """How the flag gives one entry, if the setting is a list."""
        return next((mark for mark in self.field.metadata if isinstance(mark, ListFlag)), None)

    @property
    def flag(self) -> str:
        """The flag, with its dashes."""
        mark = self.entry or self.list_entry
        return f"--{mark.name if mark else self.name.replace('_', '-')}"

    @property
    def form(self) -> str | None:
        """What follows the flag, where the setting says so."""
        return next(
            (mark.form for mark in self.field.metadata if isinstance(mark, EntryFlag | ListFlag | FlagValue)), None
        )

    @property
    def variable(self) -> str:
        """The name in the environment."""
        return f"{ENV_PREFIX}{self.name.upper()}"

    @property
    def has_default(self) -> bool:
        """Whether something is there if the setting is not set."""
        return not self.field.is_required() and bool(self.field.default_factory or self.field.default)

    @property
    def default(self) -> Any:
        """The default on this machine, with the embedded runtime. Required settings have none."""
        return self.field.get_default(call_default_factory=True, validated_data={"runtime": RuntimeKind.EMBEDDED})

    @property
    def default_text(self) -> str | None:
        """The default in words, where it is not a fixed value."""
        return next((mark.text for mark in self.field.metadata if isinstance(mark, DefaultText)), None)


def settings_of(model: type[BaseModel]) -> dict[str, Setting]:
    """The settings of a server by their names: first those of its own, then those that servers share."""
    names = dict.fromkeys([*model.__annotations__, *model.model_fields])
    return {name: Setting(name, model.model_fields[name]) for name in names}
