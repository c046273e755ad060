"""What callers are told that are not let in: the same words for every reason."""

from gateway.core.errors import PermissionDenied, Unauthenticated


def unauthenticated() -> Unauthenticated:
    """The error of a call without credentials, and of one whose credentials are not accepted."""
    return Unauthenticated("credentials are missing, or are not accepted")


def foreign_namespace() -> PermissionDenied:
    """The error of a call for another namespace than the caller's, whether there is such a namespace or not."""
    return PermissionDenied("the namespace is none of the caller's")
