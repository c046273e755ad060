"""Making tokens that are valid for a short time: the parameters and the answer."""

from typing import Annotated, Final

from msgspec import Meta, Struct, field

from gateway.core.model import Labels, Message, Nanoseconds
from gateway.core.owner import Permission

DEFAULT_LIFETIME: Final = 900.0
MAX_LIFETIME: Final = 86_400.0
"""How long a token is valid unless its maker says otherwise, and at most, in seconds."""


class TokenParams(Message, frozen=True, kw_only=True):
    """What a token is for: permissions in a namespace, for one run or for runs with labels if they are named.

    `lifetime` is in seconds.
    """

    permissions: Annotated[tuple[Permission, ...], Meta(min_length=1, max_length=len(Permission))]
    namespace: str | None = None
    run_id: str | None = None
    labels: Labels = field(default_factory=dict)
    lifetime: Annotated[float, Meta(gt=0, le=MAX_LIFETIME)] | None = None


class CreatedToken(Struct, frozen=True):
    """A token, and when it is valid no more."""

    token: str
    expires_at: Nanoseconds

    def __repr__(self) -> str:
        """The text without the token, for logs and traces."""
        return f"CreatedToken(expires_at={self.expires_at})"
