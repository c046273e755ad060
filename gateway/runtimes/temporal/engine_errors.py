"""What the errors of a Temporal server mean to the clients of this gateway."""

from collections.abc import Callable, Mapping
from typing import Final

from temporalio.api.errordetails.v1 import NamespaceNotFoundFailure
from temporalio.service import RPCError, RPCStatusCode

from gateway.core.errors import (
    GatewayError,
    NotFound,
    Overloaded,
    PermissionDenied,
    TooLarge,
    Unauthenticated,
    Unavailable,
    shortened,
)
from gateway.runtimes.temporal.connect_words import connect_words

RETRY_SECONDS: Final = 1.0
"""After how long a client may call again."""

AWAY: Final = "the engine cannot be reached"
FAILED: Final = "the engine has failed to answer"

_TOLD: Final = 200
"""How much of what the engine says is told on."""

_SILENT: Final = frozenset({RPCStatusCode.UNAVAILABLE, RPCStatusCode.DEADLINE_EXCEEDED, RPCStatusCode.CANCELLED})
"""There was no answer. The SDK says CANCELLED when a call takes too long, and when its connection is closed."""

_FAILED: Final = frozenset(
    {RPCStatusCode.UNKNOWN, RPCStatusCode.INTERNAL, RPCStatusCode.ABORTED, RPCStatusCode.DATA_LOSS}
)
"""A broken connection, or a defect of the engine or a proxy before it."""

_TOO_LARGE: Final = ("larger than max", "exceeds size limit", "exceeds limit")
"""What the engine says, in several ways, of what is too large for it."""

_NO_ATTRIBUTE: Final = ("no mapping", "invalid search attribute", "invalid value type", "not a valid", "not defined")
"""What the engine says of a search attribute that a namespace lacks, or that is of another type there."""


class NoSuchWorkflow(NotFound):
    """The engine has no workflow with this id."""

    reason = "RUN_NOT_FOUND"


class EngineFailure(Unavailable):
    """The engine cannot be used now. `what` tells operators why, and what to do."""

    def __init__(self, message: str, what: str | None = None) -> None:
        super().__init__(message, retry_after=RETRY_SECONDS)
        self.what = what or message


class EngineAbsent(EngineFailure):
    """No answer has come: the engine may have executed the call or not."""


class EngineUnprepared(EngineFailure):
    """The namespace is not there, or lacks search attributes."""

    def __init__(self, what: str) -> None:
        super().__init__("the engine is not prepared for runs", what)


def engine_error(error: RPCError) -> GatewayError | None:
    """What an error of the engine means; None if it says that the gateway has asked for something impossible."""
    if error.status in _SILENT:
        return EngineAbsent(AWAY, f"{AWAY}: {_shown(error.message)}")
    if error.status in _FAILED:
        return EngineAbsent(FAILED, f"{FAILED}: {_shown(error.message)}")
    meaning = _MEANINGS.get(error.status)
    return None if meaning is None else meaning(error)


def connect_error(error: RuntimeError) -> GatewayError:
    """What it means that the SDK could not connect. It has no error of its own for that, and tells all in a text."""
    told = str(error)
    text = _shown(connect_words(told))
    if "code: Unauthenticated" in told:
        return Unauthenticated(text)
    if "code: PermissionDenied" in told:
        return PermissionDenied(text)
    return EngineAbsent(AWAY, f"{AWAY}: {text}")


def refused_preparation(error: RPCError) -> EngineUnprepared:
    """What it means that the engine finds something wrong with what is made there."""
    return EngineUnprepared(f"the engine cannot be prepared: {_shown(error.message)}")


def namespace_is_missing(error: RPCError) -> bool:
    """Whether an error says that the namespace does not exist."""
    if error.status is not RPCStatusCode.NOT_FOUND:
        return False
    kind = NamespaceNotFoundFailure.DESCRIPTOR.full_name
    return any(detail.type_url.endswith(f"/{kind}") for detail in error.grpc_status.details)


def attribute_is_missing(error: RPCError) -> bool:
    """Whether an error says that the namespace does not have a search attribute, or one of another type."""
    text = error.message.lower()
    return (
        error.status is RPCStatusCode.INVALID_ARGUMENT
        and "search attribute" in text
        and any(problem in text for problem in _NO_ATTRIBUTE)
    )


def _not_found(error: RPCError) -> GatewayError:
    if namespace_is_missing(error):
        return EngineUnprepared("the namespace does not exist")
    return NoSuchWorkflow("the engine has no such run")


def _exhausted(error: RPCError) -> GatewayError:
    if _is_too_large(error):
        return TooLarge("this is more than the engine takes")
    return Overloaded("the engine is at a limit of its own", retry_after=RETRY_SECONDS)


def _invalid(error: RPCError) -> GatewayError | None:
    if _is_too_large(error):
        return TooLarge("this is more than the engine takes")
    return EngineUnprepared("the namespace lacks search attributes") if attribute_is_missing(error) else None


def _unauthenticated(error: RPCError) -> GatewayError:
    return Unauthenticated(_shown(error.message))


def _denied(error: RPCError) -> GatewayError:
    return PermissionDenied(_shown(error.message))


_MEANINGS: Final[Mapping[RPCStatusCode, Callable[[RPCError], GatewayError | None]]] = {
    RPCStatusCode.NOT_FOUND: _not_found,
    RPCStatusCode.RESOURCE_EXHAUSTED: _exhausted,
    RPCStatusCode.UNAUTHENTICATED: _unauthenticated,
    RPCStatusCode.PERMISSION_DENIED: _denied,
    RPCStatusCode.INVALID_ARGUMENT: _invalid,
}


def _is_too_large(error: RPCError) -> bool:
    return any(words in error.message for words in _TOO_LARGE)


def _shown(message: str) -> str:
    """What the engine or the SDK says, in one line of a bounded length."""
    return shortened(" ".join(message.split()), _TOLD)
