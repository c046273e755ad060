"""Errors of other servers -> errors of the gateway, for all transports."""

import re
from collections.abc import Sequence

from gateway.core import errors
from gateway.core.errors import GatewayError, InvalidParams, Path, RemoteError, Unsupported, Violation, render_path
from gateway.core.model import JsonText, RunStatus

_BY_CODE: dict[int, type[GatewayError]] = {
    kind.code: kind
    for kind in (
        errors.ParseError,
        errors.InvalidRequest,
        errors.MethodNotFound,
        errors.InvalidParams,
        errors.InvalidRunId,
        errors.NotFound,
        errors.IdempotencyConflict,
        errors.TooLarge,
        errors.Overloaded,
        errors.Unavailable,
        errors.NestedTooDeeply,
        errors.TooManyDescendants,
        errors.Unsupported,
        errors.RunNotEnded,
        errors.ParentCancelled,
        errors.Unauthenticated,
        errors.PermissionDenied,
        errors.Internal,
    )
}
"""The classes whose codes are enough to tell them. -32000 is not: many servers use it for any error."""

_KINDS: tuple[type[GatewayError], ...] = (
    *_BY_CODE.values(),
    errors.InvalidFlow,
    errors.InvalidBlobId,
    errors.FlowNotFound,
    errors.BlobNotFound,
    errors.RunNotFound,
    errors.GoAway,
    errors.ComponentUnavailable,
    errors.StateUnavailable,
    errors.QuotaExceeded,
)
_BY_REASON = {kind.reason: kind for kind in _KINDS}

_PATH_PART = re.compile(r"\[([0-9]{1,10})\]|\.?([^.\[]+)")


def remote_error(
    code: int,
    message: str,
    *,
    data: JsonText | None = None,
    reason: str | None = None,
    violations: Sequence[Violation] = (),
    rest: str = "",
    retry_after: float | None = None,
    quota: str = "",
    subject: str = "",
) -> GatewayError:
    """Return the error for a JSON-RPC code, of the class that `reason` names, or else that the code tells.

    `rest` says how many violations there are beside those that are given; `quota` and `subject` are those of a limit.

    Codes that no class has make a RemoteError.
    """
    kind = _BY_REASON.get(reason or "")
    if kind is None or kind.code != code:
        kind = _BY_CODE.get(code)
    error: GatewayError
    if kind is None or reason == RemoteError.reason:
        error = RemoteError(code, message, data=data)
    elif issubclass(kind, InvalidParams):
        error = kind(violations or [Violation((), message)], data=data, rest=rest)
        error.message = message
    elif issubclass(kind, errors.QuotaExceeded):
        error = kind(message, quota=quota, subject=subject, data=data)
    else:
        error = kind(message, data=data)
    error.retry_after = retry_after
    return error


def parse_path(text: str) -> Path:
    """Return the path that `render_path` writes like this. It has a single part if its names make it ambiguous."""
    path = tuple(int(index) if index else name for index, name in _PATH_PART.findall(text))
    return path if render_path(path) == text else (text,)


def refuse_without_namespaces(run: RunStatus | None, namespace: str | None) -> None:
    """Raise Unsupported if another gateway tells of a run that is not of the namespace that was asked for.

    One of an earlier release would tell of the runs of all.
    """
    if run is not None and namespace not in (None, run.namespace):
        raise Unsupported("the upstream gateway is of a release that knows no namespaces")
