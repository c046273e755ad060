"""What callers are told that are not let in: the same words for every reason."""

from typing import Literal, TypeAlias

from gateway.core.errors import GatewayError, PermissionDenied, Unauthenticated
from gateway.telemetry.gateway_metrics import TOKENS_REFUSED

TokenFault: TypeAlias = Literal[
    "missing", "malformed", "unknown", "not_verified", "expired", "claims", "certificate", "capability", "other"
]
"""Why credentials are not accepted. Metrics tell it; callers are not told."""


def unauthenticated(why: TokenFault = "other") -> Unauthenticated:
    """The error of a call without credentials, and of one whose credentials are not accepted."""
    error = Unauthenticated("credentials are missing, or are not accepted")
    error.why = why
    return error


def count_refused_token(error: GatewayError) -> None:
    """Count a call that is not let in, if its credentials are the reason. Fronts do, where calls come in."""
    if isinstance(error, Unauthenticated):
        TOKENS_REFUSED.inc(error.why)


def foreign_namespace() -> PermissionDenied:
    """The error of a call for another namespace than the caller's, whether there is such a namespace or not."""
    return PermissionDenied("the namespace is none of the caller's")
