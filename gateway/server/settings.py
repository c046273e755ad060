"""The configuration of the servers: from flags, the environment and a file, in this order of precedence."""

import json
import os
import tomllib
from collections.abc import Mapping
from enum import StrEnum
from importlib.util import find_spec
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

ENV_PREFIX = "RUNS_GATEWAY_"


class SettingsError(Exception):
    """A setting that cannot be used; the message is one line that names the setting and where it came from."""


class StartError(Exception):
    """The gateway cannot start; the message is one line that names the flag to change."""


def _check_address(address: str) -> str:
    if address.startswith("unix:/"):
        return address
    host, _, port = address.rpartition(":")
    bracketed = host.startswith("[") and host.endswith("]")
    if not host or (":" in host and not bracketed) or not (port.isascii() and port.isdigit()) or int(port) > 65535:
        raise ValueError(f"expected HOST:PORT or unix:/PATH, got {address!r}")
    return address


Address = Annotated[str, AfterValidator(_check_address)]
"""Where to listen: HOST:PORT, where port 0 takes a free one, or unix:/PATH."""

MAX_WORKERS = 64
"""How many processes one gateway may consist of."""

MAX_OPEN_CALLS = 10_000_000
"""The highest limit of open calls: all of all workers together are a number that grpc takes."""


DEFAULT_MAX_TASKS = 100
MaxTasks = Annotated[int, Field(ge=1, le=100_000)]


class RuntimeKind(StrEnum):
    """What executes the runs. The value is how an address of one begins."""

    EMBEDDED = "embedded"
    """This gateway."""
    RELAY = "grpc"
    """Another gateway."""
    JSONRPC = "jsonrpc"
    """A server of the canonical methods."""
    STEPFLOW = "stepflow"
    """A Stepflow engine."""


def _kind_of(runtime: str) -> RuntimeKind:
    """The kind of a runtime; ValueError if it is no address of one."""
    if runtime == RuntimeKind.EMBEDDED:
        return RuntimeKind.EMBEDDED
    if runtime.startswith("unix:/"):
        return RuntimeKind.RELAY
    scheme, _, address = runtime.partition("://")
    kind, _, transport = scheme.partition("+")
    host, slash, path = address.partition("/")
    elsewhere = kind == RuntimeKind.JSONRPC or (kind == RuntimeKind.STEPFLOW and not path)
    over_http = elsewhere and transport in {"http", "https"}
    over_grpc = scheme == RuntimeKind.RELAY and not slash
    if not (over_grpc or over_http) or "@" in host or _check_address(host).endswith(":0"):
        raise ValueError
    return RuntimeKind(kind)


def _check_runtime(runtime: str) -> str:
    try:
        _kind_of(runtime)
    except ValueError:
        raise ValueError(
            "expected embedded, grpc://HOST:PORT, unix:/PATH, jsonrpc+http://HOST:PORT/PATH or "
            f"stepflow+http://HOST:PORT, got {runtime!r}"
        ) from None
    return runtime


def _check_transport(transport: str) -> str:
    if transport == "native" and find_spec("pygrpc_native") is None:
        raise ValueError("native is not installed: pip install 'runs-gateway[native]'")
    return transport


def default_state(settings: Mapping[str, Any]) -> str:
    """Where state is kept unless something else is said: a file in the user's state directory."""
    return _state_file("runs.db" if settings["runtime"] == RuntimeKind.EMBEDDED else "keys.db")


def _state_file(name: str) -> str:
    home = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return str(Path(home) / "runs-gateway" / name)


class ServeSettings(BaseModel):
    """Everything that `serve` can be told. Field names are the settings' names in a file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    grpc_address: Address = "127.0.0.1:50051"
    """Where to serve gRPC."""
    http_address: Address = "127.0.0.1:8080"
    """Where to serve JSON-RPC and the blob API over HTTP."""
    runtime: Annotated[str, AfterValidator(_check_runtime)] = RuntimeKind.EMBEDDED.value
    """What executes runs: this gateway (`embedded`), another one (`grpc://HOST:PORT` or `unix:/PATH`), a server of the
    canonical methods (`jsonrpc+http://HOST:PORT/PATH`), or a Stepflow engine (`stepflow+http://HOST:PORT`)."""
    state: Annotated[str, Field(min_length=1)] = Field(default_factory=default_state)
    """The file that keeps flows, runs and results, or, for a runtime elsewhere, the idempotency keys that it does not
    keep itself. `:memory:` keeps nothing."""
    dialect: Literal["document", "superset", "0.9", "0.10"] | None = None
    """The spelling that a server of the canonical methods understands; unset, it is found out."""
    lossy_numbers: bool = False
    """Whether numbers that an engine cannot hold exactly are rounded as it does, rather than refused."""
    components: dict[str, str] = {}
    """Component servers: path prefixes, each with a URL or with the command line that starts the server."""
    component_env: dict[str, str] = {}
    """The environment of component servers that are started by command; they inherit nothing."""
    queue: Annotated[str, Field(min_length=1)] | None = None
    """The queue of a Stepflow engine whose tasks the component servers are to execute: see `runs-gateway bridge`."""
    max_tasks: MaxTasks = DEFAULT_MAX_TASKS
    """How many tasks of a queue may execute at the same time, but for those that wait for runs of their own."""
    max_message_bytes: Annotated[int, Field(ge=1 << 16, lt=1 << 31)] = 64 << 20
    """The largest message, in bytes; a single JSON value may have 64 MiB at most in any case."""
    max_calls: Annotated[int, Field(ge=1, le=MAX_OPEN_CALLS)] = 4_096
    """How many gRPC calls that do not wait for a run may be open at the same time; more are refused."""
    max_waiting_calls: Annotated[int, Field(ge=1, le=MAX_OPEN_CALLS)] = 50_000
    """How many gRPC calls that wait for a run, and how many HTTP requests, may be open at the same time."""
    workers: Annotated[int, Field(ge=1, le=MAX_WORKERS)] = 1
    """How many processes serve: 1 is this one; more are processes of their own that share the ports."""
    transport: Annotated[Literal["grpcio", "native"], AfterValidator(_check_transport)] = "grpcio"
    """What speaks HTTP/2 for gRPC: grpcio, or the package that the extra `native` installs, which is faster."""

    @property
    def runtime_kind(self) -> RuntimeKind:
        """What `runtime` names."""
        return _kind_of(self.runtime)


def _check_engine(engine: str) -> str:
    try:
        if _kind_of(f"{RuntimeKind.STEPFLOW}+{engine}") is not RuntimeKind.STEPFLOW:
            raise ValueError
    except ValueError:
        raise ValueError(f"expected http://HOST:PORT or https://HOST:PORT, got {engine!r}") from None
    return engine


def _check_gateway(gateway: str) -> str:
    try:
        if _kind_of(gateway) is not RuntimeKind.RELAY:
            raise ValueError
    except ValueError:
        raise ValueError(f"expected grpc://HOST:PORT or unix:/PATH, got {gateway!r}") from None
    return gateway


class BridgeSettings(BaseModel):
    """Everything that `bridge` can be told."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    engine: Annotated[str, AfterValidator(_check_engine)]
    """The Stepflow engine: `http://HOST:PORT`."""
    queue: Annotated[str, Field(min_length=1)]
    """The queue whose tasks are executed: `queueName` in the configuration of the engine."""
    gateway: Annotated[str, AfterValidator(_check_gateway)] | None = None
    """A gateway over this engine that the runs of components go through, `grpc://HOST:PORT` or `unix:/PATH`: bridges
    that name the same one share its idempotency keys. Unset, they go to the engine, and the keys into `state`."""
    components: Annotated[dict[str, str], Field(min_length=1)]
    """Component servers, as in `ServeSettings`."""
    component_env: dict[str, str] = {}
    """The environment of component servers that are started by command; they inherit nothing."""
    max_tasks: MaxTasks = DEFAULT_MAX_TASKS
    """How many tasks may execute at the same time, but for those that wait for runs of their own."""
    # Not the file of a gateway: that may run beside the bridge, and each owns its own.
    state: Annotated[str, Field(min_length=1)] = Field(default_factory=lambda: _state_file("bridge.db"))
    """The file that keeps which run each key of a component stands for. `:memory:` keeps nothing."""
    lossy_numbers: bool = False
    """Whether numbers that an engine cannot hold exactly are rounded as it does, rather than refused."""
    http_address: Address = "127.0.0.1:0"
    """Where component servers reach the blob API."""

    def as_serve(self) -> ServeSettings:
        """The settings of a gateway with this bridge in it."""
        runtime = self.gateway or f"{RuntimeKind.STEPFLOW}+{self.engine}"
        return ServeSettings(runtime=runtime, **self.model_dump(exclude={"engine", "gateway"}))


Config = TypeVar("Config", ServeSettings, BridgeSettings)

_MAPS = frozenset({"components", "component_env"})
_KINDS_WITH: Mapping[str, frozenset[RuntimeKind]] = {
    "state": frozenset(RuntimeKind) - {RuntimeKind.RELAY},
    "components": frozenset({RuntimeKind.EMBEDDED, RuntimeKind.STEPFLOW}),
    "component_env": frozenset({RuntimeKind.EMBEDDED, RuntimeKind.STEPFLOW}),
    "queue": frozenset({RuntimeKind.STEPFLOW}),
    "max_tasks": frozenset({RuntimeKind.STEPFLOW}),
    "dialect": frozenset({RuntimeKind.JSONRPC}),
    "lossy_numbers": frozenset({RuntimeKind.STEPFLOW}),
}
"""Settings that only some runtimes have."""


def load(flags: Mapping[str, Any], environ: Mapping[str, str], file: Path | None = None) -> ServeSettings:
    """Merge the sources, maps by key. `flags` holds only what was given. SettingsError for what is not valid."""
    config, origins = _merged(ServeSettings, flags, environ, file)
    _check_combination(config, origins)
    return config


def load_bridge(flags: Mapping[str, Any], environ: Mapping[str, str], file: Path | None = None) -> BridgeSettings:
    """The same for a bridge."""
    config, origins = _merged(BridgeSettings, flags, environ, file)
    if config.gateway is not None and "state" in origins:
        why = f"the gateway keeps the idempotency keys (gateway from {origins['gateway']})"
        raise SettingsError(f"state (from {origins['state']}): {why}")
    return config


def _merged(
    model: type[Config], flags: Mapping[str, Any], environ: Mapping[str, str], file: Path | None
) -> tuple[Config, dict[str, str]]:
    """The settings, and where each came from."""
    settings: dict[str, Any] = {}
    origins: dict[str, str] = {}
    for source in (_read_file(file) if file else {}, _read_environment(model, environ), _read_flags(flags)):
        for name, (value, origin) in source.items():
            merge = name in _MAPS and isinstance(value, dict) and isinstance(settings.get(name), dict)
            settings[name] = {**settings[name], **value} if merge else value
            origins[name] = origin
    try:
        return model.model_validate(settings), origins
    except ValidationError as error:
        faults = [item for item in error.errors() if item["type"] != "default_factory_not_called"]
        raise SettingsError("; ".join(_describe(item, origins) for item in faults)) from None


def _check_combination(config: ServeSettings, origins: Mapping[str, str]) -> None:
    """Refuse settings that the others leave without a meaning."""
    for name, kinds in _KINDS_WITH.items():
        if name in origins and config.runtime_kind not in kinds:
            origin = f" (from {origins['runtime']})" if "runtime" in origins else ""
            raise SettingsError(
                f"{name} (from {origins[name]}): a runtime of this kind does not have it: {config.runtime!r}{origin}"
            )
    if config.runtime_kind is RuntimeKind.STEPFLOW and (config.queue is None) != (not config.components):
        raise SettingsError(
            "components and queue: an engine's tasks come from a queue and go to component servers; give both, or none"
        )
    for name in ("grpc_address", "http_address"):
        if config.workers > 1 and getattr(config, name).startswith("unix:"):
            raise SettingsError(
                f"{name} (from {origins[name]}): workers share a port, and a unix socket has none "
                f"(workers from {origins['workers']})"
            )


_Source = dict[str, tuple[Any, str]]
"""Settings by name, each with the words that tell where it came from."""


def _read_flags(flags: Mapping[str, Any]) -> _Source:
    return {name: (value, f"--{_flag(name)}") for name, value in flags.items()}


def _flag(name: str) -> str:
    return {"components": "component"}.get(name, name).replace("_", "-")


def _read_environment(model: type[BaseModel], environ: Mapping[str, str]) -> _Source:
    # Other variables with the prefix are not ours to judge: Kubernetes sets RUNS_GATEWAY_PORT and more of the kind in
    # every container that runs next to a service with this name.
    source: _Source = {}
    for name in model.model_fields:
        variable = ENV_PREFIX + name.upper()
        if (text := environ.get(variable)) is None:
            continue
        source[name] = (_parse_map(text, variable) if name in _MAPS else text, variable)
    return source


def _parse_map(text: str, variable: str) -> Any:
    try:
        return json.loads(text)
    except ValueError as error:
        raise SettingsError(f"{variable}: expected a JSON object: {error}") from None


def _read_file(file: Path) -> _Source:
    """Read a file of settings: TOML, or YAML if its name says so."""
    try:
        text = file.read_text(encoding="utf-8")
        is_yaml = file.suffix in {".yaml", ".yml"}
        settings = yaml.safe_load(text) if is_yaml else tomllib.loads(text)
    except OSError as error:
        raise SettingsError(f"{file}: {error.strerror}") from None
    except (ValueError, yaml.YAMLError, RecursionError) as error:
        raise SettingsError(f"{file}: {_one_line(error)}") from None
    if settings is None:
        return {}
    if not isinstance(settings, dict):
        raise SettingsError(f"{file}: expected settings by name")
    return {str(name): (value, str(file)) for name, value in settings.items()}


def _describe(error: Any, origins: Mapping[str, str]) -> str:
    name, *path = error["loc"]
    if error["type"] == "missing":
        return f"{name}: is needed; give --{_flag(name)}, or {ENV_PREFIX}{name.upper()}"
    where = ".".join([name, *map(str, path)])
    what = "unknown setting" if error["type"] == "extra_forbidden" else error["msg"].removeprefix("Value error, ")
    return f"{where} (from {origins[name]}): {_one_line(what)}"


def _one_line(text: object) -> str:
    return " ".join(str(text).split())
