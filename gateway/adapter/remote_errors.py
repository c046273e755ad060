"""Errors of other servers as ours: whatever is known about one is kept, whichever transport brought it."""

import re
from collections.abc import Sequence

from gateway.core import errors
from gateway.core.errors import GatewayError, InvalidParams, Path, RemoteError, Violation, render_path
from gateway.core.model import JsonText

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
        errors.Internal,
    )
}
"""The class that a code alone tells. Not -32000: many servers use it for any error, not only for an unknown run."""

_KINDS: tuple[type[GatewayError], ...] = (
    *_BY_CODE.values(),
    errors.InvalidFlow,
    errors.InvalidBlobId,
    errors.FlowNotFound,
    errors.BlobNotFound,
    errors.RunNotFound,
)
_BY_REASON = {kind.reason: kind for kind in _KINDS}

_PATH_PART = re.compile(r"\[([0-9]{1,10})\]|\.?([^.\[]+)")


def foreign_error(
    code: int,
    message: str,
    *,
    data: JsonText | None = None,
    reason: str | None = None,
    violations: Sequence[Violation] = (),
    retry_after: float | None = None,
) -> GatewayError:
    """The error with this JSON-RPC code: of the class that its reason names, else of that which its code tells.

    A code that is none of ours makes a RemoteError.
    """
    kind = _BY_REASON.get(reason or "")
    if kind is None or kind.code != code:
        kind = _BY_CODE.get(code)
    error: GatewayError
    if kind is None or reason == RemoteError.reason:
        error = RemoteError(code, message, data=data)
    elif issubclass(kind, InvalidParams):
        error = kind(violations or [Violation((), message)], data=data)
        error.message = message
    else:
        error = kind(message, data=data)
    error.retry_after = retry_after
    return error


def parse_path(text: str) -> Path:
    """The path that is rendered like this; one of a single part, if names in it make it ambiguous."""
    path = tuple(int(index) if index else name for index, name in _PATH_PART.findall(text))
    return path if render_path(path) == text else (text,)
