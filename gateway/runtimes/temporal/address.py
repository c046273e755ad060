"""The address of a namespace of a Temporal server: `temporal://HOST:PORT/NAMESPACE`, or `temporals://` over TLS."""

import re
from typing import Final, NamedTuple, Self

from gateway.core.addresses import check_address

FORM: Final = "temporal://HOST:PORT/NAMESPACE"
"""What an address looks like."""

PLAIN: Final = "temporal"
ENCRYPTED: Final = "temporals"

_NAMESPACE: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{1,254}")
"""What a namespace may be called. A server takes more, but such names are no part of an address."""

NAMESPACE_RULE: Final = (
    "the namespace has 2 to 255 letters, digits, '.', '_' and '-', and begins with a letter or a digit"
)
"""The same in words."""


class TemporalAddress(NamedTuple):
    """Where a server is reached, and which of its namespaces has the runs."""

    target: str
    """`HOST:PORT`."""
    namespace: str
    encrypted: bool = False

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read an address. Raises ValueError, which says what is wrong with it."""
        scheme, _, rest = text.partition("://")
        if scheme not in (PLAIN, ENCRYPTED):
            raise ValueError(f"expected {FORM}, got {text!r}")
        target, _, namespace = rest.partition("/")
        try:
            listens = not check_address(target).startswith("unix:") and not target.endswith(":0")
        except ValueError as error:
            raise ValueError(f"expected {FORM}, got {text!r}{str(error).partition(repr(target))[2]}") from None
        if not listens:
            raise ValueError(f"expected {FORM}, got {text!r}")
        if not _NAMESPACE.fullmatch(namespace):
            raise ValueError(f"expected {FORM}, where {NAMESPACE_RULE}, got {text!r}")
        return cls(target, namespace, scheme == ENCRYPTED)

    def __str__(self) -> str:
        return f"{ENCRYPTED if self.encrypted else PLAIN}://{self.target}/{self.namespace}"
