"""One error tree for every transport.

Each class carries its JSON-RPC code, the name of its gRPC status, its HTTP status and its reason; fronts and runtimes
only look these columns up. Codes that JSON-RPC leaves to the server follow the component protocol of Stepflow 0.11
where it has one for the case, and use free numbers where it has none.
"""

from collections.abc import Iterable, Sequence
from typing import ClassVar, Final, NamedTuple, Self

DOMAIN = "runs-gateway"
"""The domain of every reason, sent in google.rpc.ErrorInfo."""

Path = tuple[str | int, ...]
"""Where something is in a message: names of `gateway.core.model` fields, keys of JSON objects, and indexes."""


class GivenName(str):
    """A name in a path that is none of the model: a front tells it as the client wrote it."""

    __slots__ = ()


MAX_VIOLATIONS: Final = 100
"""How many violations one error names."""

MORE_VIOLATIONS: Final = "more were not looked for"
"""The end of the message of an error whose violations were not all looked for."""

MAX_NAME_CHARACTERS: Final = 100
"""How much of a name that a client has chosen goes into a message."""

_MAX_PATH_CHARACTERS: Final = 256
_MAX_DESCRIPTION_CHARACTERS: Final = 500


class Violation(NamedTuple):
    """One field that breaks its rule."""

    path: Path
    description: str

    def __str__(self) -> str:
        return f"{render_path(self.path)}: {self.description}" if self.path else self.description


def render_path(path: Path) -> str:
    """Write a path the way google.rpc.BadRequest does: `inputs[3].name`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{part}" if text else part
    return text


def shortened(text: str, limit: int = MAX_NAME_CHARACTERS) -> str:
    """The text, or its beginning and three dots if it has more than `limit` characters."""
    return text if len(text) <= limit else f"{text[: limit - 3]}..."


def _short(violation: Violation) -> Violation:
    """The violation as an error keeps it, with a path and a description of bounded length."""
    room = _MAX_PATH_CHARACTERS
    path: list[str | int] = []
    for part in violation.path:
        kept = shortened(part) if isinstance(part, str) else part
        room -= len(str(kept)) + 1
        if room < 0:
            path.append("...")
            break
        path.append(kept)
    return Violation(tuple(path), shortened(violation.description, _MAX_DESCRIPTION_CHARACTERS))


class GatewayError(Exception):
    """An error that clients are told: `message` is written for them and holds no internals.

    `data` is the text of the JSON value that goes into the JSON-RPC error as `data`. `retry_after` is how many seconds
    a client should wait before it tries again; None if the error does not pass by itself.
    """

    code: ClassVar[int]
    grpc_status: ClassVar[str]
    http_status: ClassVar[int]
    reason: ClassVar[str]

    def __init__(self, message: str, *, data: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.data = data
        self.retry_after = retry_after

    @property
    def jsonrpc_code(self) -> int:
        """The code of this very error: that of the class, unless it came from another JSON-RPC server."""
        return self.code


class ParseError(GatewayError):
    """The body is not JSON."""

    code, grpc_status, http_status, reason = -32700, "INVALID_ARGUMENT", 400, "PARSE_ERROR"


class InvalidRequest(GatewayError):
    """The body is JSON, but not a JSON-RPC request."""

    code, grpc_status, http_status, reason = -32600, "INVALID_ARGUMENT", 400, "INVALID_REQUEST"


class MethodNotFound(GatewayError):
    """No method has this name."""

    code, grpc_status, http_status, reason = -32601, "UNIMPLEMENTED", 404, "METHOD_NOT_FOUND"


class InvalidParams(GatewayError):
    """Parameters break their rules; `violations` names the fields that do, but at most MAX_VIOLATIONS of them.

    `rest` says how many more there are, or that there may be more; it is empty if there are no others.
    """

    code, grpc_status, http_status, reason = -32602, "INVALID_ARGUMENT", 400, "INVALID_PARAMS"

    def __init__(self, violations: Sequence[Violation], *, data: str | None = None, rest: str = "") -> None:
        hidden = len(violations) - MAX_VIOLATIONS
        self.rest = rest or (f"and {hidden:,} more" if hidden > 0 else "")
        self.violations = tuple(map(_short, violations[:MAX_VIOLATIONS]))
        super().__init__(self.describe(self.violations), data=data)

    @classmethod
    def field(cls, *path: str | int, description: str) -> Self:
        """One field that breaks its rule."""
        return cls([Violation(path, description)])

    def under(self, *prefix: str | int) -> "InvalidParams":
        """The same error for a value that sits at `prefix` of a larger message."""
        moved = [Violation((*prefix, *path), text) for path, text in self.violations]
        return type(self)(moved, data=self.data, rest=self.rest)

    def describe(self, violations: Iterable[Violation]) -> str:
        """The message, with these spellings of the violations."""
        return "; ".join([*map(str, violations), *([self.rest] if self.rest else [])])


class InvalidFlow(InvalidParams):
    """A document is not a valid flow; `violations` holds paths inside it."""

    reason = "INVALID_FLOW"


class InvalidRunId(InvalidParams):
    """A run id is not a UUID."""

    code, reason = -32004, "INVALID_RUN_ID"


class InvalidBlobId(InvalidParams):
    """A blob or flow id is neither `sha256:` and 64 hex digits nor the digits alone."""

    code, reason = -32005, "INVALID_BLOB_ID"


class NotFound(GatewayError):
    """What an id names does not exist."""

    code, grpc_status, http_status, reason = -32005, "NOT_FOUND", 404, "NOT_FOUND"


class FlowNotFound(NotFound):
    """No blob has this flow id."""

    reason = "FLOW_NOT_FOUND"


class BlobNotFound(NotFound):
    """No blob has this id."""

    reason = "BLOB_NOT_FOUND"


class RunNotFound(NotFound):
    """No run has this id."""

    code, reason = -32000, "RUN_NOT_FOUND"


class IdempotencyConflict(GatewayError):
    """An idempotency key was used before with other parameters."""

    code, grpc_status, http_status, reason = -32010, "ALREADY_EXISTS", 409, "IDEMPOTENCY_KEY_REUSED"


class TooLarge(GatewayError):
    """A message or a payload exceeds its limit."""

    code, grpc_status, http_status, reason = -32013, "RESOURCE_EXHAUSTED", 413, "PAYLOAD_TOO_LARGE"


class Overloaded(GatewayError):
    """The server is at a limit of its own; the call was not executed."""

    code, grpc_status, http_status, reason = -32014, "RESOURCE_EXHAUSTED", 429, "OVERLOADED"


class QuotaExceeded(Overloaded):
    """The caller, or all callers together, are at a limit that the settings set; the call was not executed.

    `quota` is the name of the limit, and `subject` whose it is: `identity:NAME`, or `all`.
    """

    reason = "QUOTA_EXCEEDED"

    def __init__(
        self,
        message: str,
        *,
        quota: str = "",
        subject: str = "",
        retry_after: float | None = None,
        data: str | None = None,
    ) -> None:
        super().__init__(message, data=data, retry_after=retry_after)
        self.quota = quota
        self.subject = subject


class Unavailable(GatewayError):
    """The server is shutting down, or its runtime cannot be reached."""

    code, grpc_status, http_status, reason = -32015, "UNAVAILABLE", 503, "UNAVAILABLE"


class GoAway(Unavailable):
    """The server ends a stream in order: the client goes on where it stopped, over a new connection."""

    reason = "GO_AWAY"


class ComponentUnavailable(Unavailable):
    """The server of a component has not answered yet, so it is not known whether the component exists."""

    reason = "COMPONENT_UNAVAILABLE"


class StateUnavailable(Unavailable):
    """The state of the gateway cannot be read or written now, or the clock is so wrong that no run can begin."""

    reason = "STATE_UNAVAILABLE"


class NestedTooDeeply(GatewayError):
    """A run, or a flow that runs in place, would be inside too many others."""

    code, grpc_status, http_status, reason = -32021, "FAILED_PRECONDITION", 400, "NESTED_TOO_DEEPLY"


class TooManyDescendants(GatewayError):
    """The runs inside a run have too many items that have not ended."""

    code, grpc_status, http_status, reason = -32022, "RESOURCE_EXHAUSTED", 429, "TOO_MANY_DESCENDANTS"


class Unsupported(GatewayError):
    """The runtime cannot do this; the message says why."""

    code, grpc_status, http_status, reason = -32018, "UNIMPLEMENTED", 501, "UNSUPPORTED"


class RunNotEnded(GatewayError):
    """Only a run that has ended can be deleted."""

    code, grpc_status, http_status, reason = -32019, "FAILED_PRECONDITION", 409, "RUN_NOT_ENDED"


class ParentCancelled(GatewayError):
    """The run that the call comes from, or one that it is inside, is cancelled: nothing may be begun in it."""

    code, grpc_status, http_status, reason = -32020, "FAILED_PRECONDITION", 409, "PARENT_CANCELLED"


class Unauthenticated(GatewayError):
    """There are no credentials that the server accepts. It does not say why: `why`, of a few words, is for metrics."""

    why = "other"
    code, grpc_status, http_status, reason = -32016, "UNAUTHENTICATED", 401, "UNAUTHENTICATED"


class PermissionDenied(GatewayError):
    """The caller may not do this; the message names the permission that is missing."""

    code, grpc_status, http_status, reason = -32017, "PERMISSION_DENIED", 403, "PERMISSION_DENIED"


SHUTTING_DOWN = "the server is shutting down"


def shutting_down() -> Unavailable:
    """The error of a call that begins or is open while the server stops."""
    return Unavailable(SHUTTING_DOWN, retry_after=1.0)


def go_away() -> GoAway:
    """The error of streams that end in order, and that clients go on with at once."""
    return GoAway("the stream goes on over a new connection", retry_after=0.0)


class Internal(GatewayError):
    """A defect. The message holds only the id under which the log explains it."""

    code, grpc_status, http_status, reason = -32603, "INTERNAL", 500, "INTERNAL"


class RemoteError(GatewayError):
    """An error of another JSON-RPC server with a code that is not ours; it keeps code, message and data."""

    code, grpc_status, http_status, reason = -32603, "UNKNOWN", 502, "REMOTE_ERROR"

    def __init__(self, code: int, message: str, *, data: str | None = None) -> None:
        super().__init__(message, data=data)
        self.remote_code = code

    @property
    def jsonrpc_code(self) -> int:
        return self.remote_code
