"""To whom a run belongs: its namespace, the identity that submitted it, and what that one may do."""

import re
from enum import StrEnum
from typing import Final

from msgspec import Struct

DEFAULT_NAMESPACE: Final = "default"
"""The namespace of identities that name none, and of all runs and blobs of a gateway without identities."""

NAMESPACE_KEY: Final = "runs-namespace"
"""The metadata of gRPC, and the header of HTTP, by which a caller names a namespace."""

OWNER_KEY: Final = "runs-owner-bin"
"""The metadata that holds the owner of the run that a worker submits: an `Owner` in MessagePack, base64 on the wire.

Only the front of the runtime's process that its workers reach believes it.
"""

MAX_NAMESPACE: Final = 63

NAMESPACE_RULE: Final = f"1 to {MAX_NAMESPACE} of a-z, 0-9 and '.', '_', '-', but these not at the ends"
"""What a text is that may name a namespace, in words."""

_NAMESPACE = re.compile(r"[a-z0-9](?:[a-z0-9._-]{0,61}[a-z0-9])?")


class Permission(StrEnum):
    """What an identity may do."""

    SUBMIT = "runs:submit"
    READ = "runs:read"
    CANCEL = "runs:cancel"
    DELETE = "runs:delete"
    READ_BLOBS = "blobs:read"
    WRITE_BLOBS = "blobs:write"
    METRICS = "metrics:read"
    ADMIN = "admin"
    """Everything, in every namespace."""

    __hash__ = str.__hash__


class Owner(Struct, frozen=True, array_like=True, omit_defaults=True, gc=False):
    """The owner of a run. What its components ask for counts as asked by it, and they may do no more than it may.

    `labels` are given to every run that is submitted inside the run as well: the labels of a token that submitted it.
    """

    namespace: str = DEFAULT_NAMESPACE
    identity: str = ""
    permissions: tuple[Permission, ...] = ()
    labels: tuple[tuple[str, str], ...] = ()


def is_namespace(text: str) -> bool:
    """Whether a text may name a namespace, as NAMESPACE_RULE says."""
    return _NAMESPACE.fullmatch(text) is not None
