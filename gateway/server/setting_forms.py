"""The forms that settings have: how each is checked, and what follows its flag."""

import os
import re
import stat
from enum import StrEnum
from importlib.util import find_spec
from typing import Annotated, Any, Final, Literal, NamedTuple
from urllib.parse import urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from gateway.core.addresses import check_address
from gateway.core.durations import duration_seconds
from gateway.core.model import MAX_KEY_LENGTH, MAX_TIMEOUT
from gateway.core.owner import NAMESPACE_RULE, is_namespace
from gateway.core.page_origins import ANY_ORIGIN, is_origin
from gateway.core.sizes import parse_size
from gateway.runtimes.temporal.address import TemporalAddress

MAX_OPEN_CALLS = 10_000_000
"""The highest limit of open calls: the sum over all workers has to be a number that grpc takes."""

_HOST_NAME = re.compile(r"[^\s:/@\[\]?#,*]+|\[[0-9A-Fa-f:.]+\]")
FOREVER: Final = "forever"
"""What is said in place of a duration."""

_TEMPORAL_SCHEMES: Final = ("temporal://", "temporals://")
_GRPC_SCHEMES: Final = ("grpc", "grpcs")
_OBJECT_SCHEMES: Final = ("s3", "gs", "az")
_BUCKET: Final = re.compile(r"[A-Za-z0-9$][A-Za-z0-9._-]{0,254}")
_WHOLE_NUMBER = re.compile(r"\s*[-+]?[0-9]+\s*")


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
    TEMPORAL = "temporal"
    """This gateway and others, which share the work by a Temporal server."""


def expand_home(path: str) -> str:
    """A path whose leading `~` or `~user` has become a home directory. Raises ValueError if there is no such home.

    A home that is empty or relative is none: it would be another directory for each process.
    """
    expanded = os.path.expanduser(path)
    own = path.partition("/")[0] == "~"
    if expanded.startswith("~") or (own and not os.environ.get("HOME", "/").startswith("/")):
        raise ValueError(f"there is no home directory {path.partition('/')[0]}, in {path!r}")
    return expanded


def _expand_socket(address: str) -> str:
    """An address whose path begins in a home directory, if it is that of a unix socket."""
    return f"unix:{expand_home(address.removeprefix('unix:'))}" if address.startswith("unix:~") else address


def runtime_kind_of(runtime: str) -> RuntimeKind:
    """The kind of the runtime at an address. Raises ValueError if it is not the address of a runtime."""
    if runtime == RuntimeKind.EMBEDDED:
        return RuntimeKind.EMBEDDED
    if runtime.startswith("unix:/"):
        return RuntimeKind.RELAY
    if runtime.startswith(_TEMPORAL_SCHEMES):
        TemporalAddress.parse(runtime)
        return RuntimeKind.TEMPORAL
    scheme, _, address = runtime.partition("://")
    kind, _, transport = scheme.partition("+")
    host, slash, path = address.partition("/")
    elsewhere = kind == RuntimeKind.JSONRPC or (kind == RuntimeKind.STEPFLOW and not path)
    over_http = elsewhere and transport in {"http", "https"}
    over_grpc = scheme in _GRPC_SCHEMES and not slash
    if not (over_grpc or over_http) or "@" in host or check_address(host).endswith(":0"):
        raise ValueError
    return RuntimeKind.RELAY if over_grpc else RuntimeKind(kind)


def _check_runtime(runtime: str) -> str:
    try:
        runtime_kind_of(runtime)
    except ValueError as error:
        if runtime.startswith(_TEMPORAL_SCHEMES):
            raise ValueError(str(error)) from None
        raise ValueError(
            "expected embedded, grpc://HOST:PORT, grpcs://HOST:PORT, unix:/PATH, jsonrpc+http://HOST:PORT/PATH, "
            f"stepflow+http://HOST:PORT or temporal://HOST:PORT/NAMESPACE, got {runtime!r}"
        ) from None
    return runtime


def _check_engine(engine: str) -> str:
    try:
        if runtime_kind_of(f"{RuntimeKind.STEPFLOW}+{engine}") is not RuntimeKind.STEPFLOW:
            raise ValueError
    except ValueError:
        raise ValueError(f"expected http://HOST:PORT or https://HOST:PORT, got {engine!r}") from None
    return engine


def _check_gateway(gateway: str) -> str:
    try:
        if runtime_kind_of(gateway) is not RuntimeKind.RELAY:
            raise ValueError
    except ValueError:
        raise ValueError(f"expected grpc://HOST:PORT, grpcs://HOST:PORT or unix:/PATH, got {gateway!r}") from None
    return gateway


def _check_transport(transport: str) -> str:
    if transport == "native" and find_spec("pygrpc_native") is None:
        raise ValueError("native is not installed: pip install 'runs-gateway[native]'")
    return transport


def _check_directories(paths: str) -> str:
    expanded = [expand_home(path) for path in paths.split(":")]
    for path in expanded:
        if not path.startswith("/") or "\0" in path:
            raise ValueError(f"expected directories by their absolute paths, got {path!r}")
        try:
            mode = os.stat(path).st_mode
        except OSError as error:
            raise ValueError(f"{path!r} cannot be used: {error.strerror}") from None
        if not stat.S_ISDIR(mode):
            raise ValueError(f"{path!r} is not a directory")
    return ":".join(expanded)


def _check_whole(number: Any) -> Any:
    """Refuse what pydantic would take for a whole number: truth values, fractions and texts of them."""
    if isinstance(number, int) and not isinstance(number, bool):
        return number
    if isinstance(number, str) and _WHOLE_NUMBER.fullmatch(number):
        return number
    raise ValueError(f"expected a whole number, got {number!r}")


def split_list(values: Any) -> Any:
    """The entries of a list, also if it is a text with commas between them."""
    return [part.strip() for part in values.split(",") if part.strip()] if isinstance(values, str) else values


def _split_each(values: Any) -> Any:
    """The entries of a list, of which one may be a text with commas between several."""
    if isinstance(values, str):
        return split_list(values)
    if isinstance(values, list) and all(isinstance(value, str) for value in values):
        return [part for value in values for part in split_list(value)]
    return values


def _check_roles(roles: tuple[str, ...]) -> tuple[str, ...]:
    if not roles or not set(roles) <= {"front", "worker"}:
        raise ValueError(f"expected front, worker, or both with a comma between them, got {','.join(roles)!r}")
    return tuple(dict.fromkeys(roles))


def _check_hosts(names: tuple[str, ...]) -> tuple[str, ...]:
    for name in names:
        if not _HOST_NAME.fullmatch(name):
            raise ValueError(f"expected the name of a host, without a port, got {name!r}")
    return names


def _check_origins(origins: tuple[str, ...]) -> tuple[str, ...]:
    if ANY_ORIGIN in origins and len(set(origins)) > 1:
        raise ValueError(f"{ANY_ORIGIN} stands alone: pages of the other origins may call as well")
    for origin in origins:
        if origin != ANY_ORIGIN and not is_origin(origin):
            raise ValueError(f"expected SCHEME://HOST or SCHEME://HOST:PORT, as browsers write it, got {origin!r}")
    return origins


def _lower(text: Any) -> Any:
    return text.lower() if isinstance(text, str) else text


def _check_truth(value: Any) -> Any:
    if isinstance(value, bool | str):
        return value
    raise ValueError(f"expected true or false, got {value!r}")


def _check_number(number: Any) -> Any:
    if isinstance(number, bool):
        raise ValueError(f"expected a number, got {number!r}")
    return number


def _check_duration(value: Any) -> Any:
    return duration_seconds(value) if isinstance(value, str) else _check_number(value)


def _check_keep(value: Any) -> Any:
    return None if value == FOREVER else _check_duration(value)


def _check_seconds(timeouts: dict[str, float]) -> dict[str, float]:
    """Bring the prefixes of paths into one spelling."""
    checked: dict[str, float] = {}
    for prefix, seconds in timeouts.items():
        spelled = "/" + prefix.strip("/")
        if spelled in checked:
            raise ValueError(f"{spelled!r} is given twice")
        checked[spelled] = seconds
    return checked


def _check_url(url: str) -> str:
    try:
        parts = urlsplit(url)
        valid = parts.scheme in {"http", "https"} and parts.hostname and parts.port != 0
    except ValueError:
        valid = False
    if not valid or parts.query or parts.fragment:
        raise ValueError(f"expected http://HOST:PORT/PATH, got {url!r}")
    return url


def _check_blobs(url: str) -> str:
    # The URL is not repeated: somebody may have put credentials into it.
    try:
        parts = urlsplit(url)
        host, local = parts.netloc, parts.scheme == "file"
        valid = local or (parts.scheme in _OBJECT_SCHEMES and _BUCKET.fullmatch(host))
    except ValueError:
        valid = False
    if not valid or parts.query or parts.fragment or (local and (host or not parts.path.startswith("/"))):
        raise ValueError(
            "expected s3://BUCKET/PREFIX, gs://BUCKET/PREFIX, az://CONTAINER/PREFIX or file:///DIRECTORY; credentials "
            "and endpoints come from the environment"
        )
    return url


def _check_namespace(name: str) -> str:
    if not is_namespace(name):
        raise ValueError(f"expected {NAMESPACE_RULE}, got {name!r}")
    return name


class FlagValue(NamedTuple):
    """Names what follows a flag, where the type of the setting does not tell."""

    form: str


Duration = Annotated[
    float, FlagValue("DURATION"), BeforeValidator(_check_duration), Field(gt=0, le=MAX_TIMEOUT, allow_inf_nan=False)
]
KeepTime = Annotated[
    Annotated[float, Field(gt=0, le=MAX_TIMEOUT, allow_inf_nan=False)] | None,
    FlagValue("DURATION"),
    BeforeValidator(_check_keep),
]


class EntryFlag(NamedTuple):
    """Marks a map. Its flag gives one entry, so the flag has a name in the singular and may be repeated."""

    name: str
    form: str
    """What follows the flag, for instance `NAME=VALUE`."""


class ListFlag(NamedTuple):
    """Marks a list. Its flag gives one entry, and may be repeated; a variable has commas between entries."""

    name: str
    form: str


class FileOnly(NamedTuple):
    """Marks a setting that only files have."""


class DefaultText(NamedTuple):
    """Describes a default that is not a fixed value."""

    text: str


class RetentionRule(BaseModel):
    """How long runs are kept that match, counted from their end."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    states: tuple[Literal["success", "failed", "cancelled"], ...] = ()
    flow_label: Annotated[str, Field(min_length=1, max_length=MAX_KEY_LENGTH + 1)] | None = None
    labels: dict[str, str] = {}
    namespace: Annotated[str, AfterValidator(_check_namespace)] | None = None
    keep: KeepTime


ListenAddress = Annotated[str, AfterValidator(_expand_socket), AfterValidator(check_address)]
RuntimeAddress = Annotated[str, AfterValidator(_expand_socket), AfterValidator(_check_runtime)]
EngineAddress = Annotated[str, AfterValidator(_check_engine)]
BridgedGateway = Annotated[str, AfterValidator(_expand_socket), AfterValidator(_check_gateway)]
TransportName = Annotated[Literal["grpcio", "native"], AfterValidator(_check_transport)]
Truth = Annotated[bool, BeforeValidator(_check_truth)]
HostNames = Annotated[
    tuple[str, ...], ListFlag("allow-host", "NAME"), BeforeValidator(split_list), AfterValidator(_check_hosts)
]
PageOrigins = Annotated[
    tuple[str, ...], ListFlag("allow-origin", "ORIGIN"), BeforeValidator(split_list), AfterValidator(_check_origins)
]
GatewayRoles = Annotated[
    tuple[str, ...],
    ListFlag("roles", "front,worker"),
    BeforeValidator(_split_each),
    AfterValidator(_check_roles),
]
ComponentRoutes = Annotated[
    dict[str, str],
    EntryFlag("component", "PREFIX=TARGET"),
    Field(description="The server of the components under a path prefix: a URL, or the command line that starts it."),
]
Seconds = Annotated[float, BeforeValidator(_check_number), Field(gt=0, le=10_000_000, allow_inf_nan=False)]
ExecutionTimeouts = Annotated[
    dict[str, Seconds],
    AfterValidator(_check_seconds),
    EntryFlag("execution-timeout", "PREFIX=SECONDS"),
]
BlobApiUrl = Annotated[str, AfterValidator(_check_url), FlagValue("URL")]
BlobsUrl = Annotated[str, AfterValidator(_check_blobs), FlagValue("URL")]
LogLevel = Annotated[Literal["critical", "error", "warning", "info", "debug"], BeforeValidator(_lower)]
Directories = Annotated[str, Field(min_length=1), AfterValidator(_check_directories)]
NonEmpty = Annotated[str, Field(min_length=1)]
FilePath = Annotated[NonEmpty, AfterValidator(expand_home)]
WholeNumber = Annotated[int, BeforeValidator(_check_whole)]
ByteSize = Annotated[int, FlagValue("SIZE"), BeforeValidator(parse_size)]
OpenCalls = Annotated[WholeNumber, Field(ge=1, le=MAX_OPEN_CALLS)]
