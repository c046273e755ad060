"""The head of a JWT, which tells how it claims to be signed. Nothing in it is trusted, and little is looked at."""

from base64 import urlsafe_b64decode
from typing import Final

import msgspec
from msgspec import UNSET, Struct, UnsetType

from gateway.access.refusals import unauthenticated

_MAX_HEAD: Final = 1_024
"""The longest head, in characters of Base64."""

_SEGMENTS: Final = 3


class JwtHead(Struct, frozen=True):
    """The members of a head that count. Where keys are is never taken from it: `jku`, `x5u`, `jwk` mean nothing.

    `crit` and `b64` change what the rest means, and none of what they may ask for is known here.
    """

    alg: str
    kid: str | None = None
    typ: str | None = None
    crit: msgspec.Raw | UnsetType = UNSET
    b64: msgspec.Raw | UnsetType = UNSET


_DECODER: Final = msgspec.json.Decoder(JwtHead)


def is_jwt(token: str) -> bool:
    """Whether a token has the parts of a JWT. No token of a file has them: `token create` makes none with dots."""
    return token.count(".") == _SEGMENTS - 1


def head_of(token: str) -> JwtHead:
    """The head of a token that has the parts of a JWT. Raises Unauthenticated if it cannot be one that is accepted."""
    text = token.partition(".")[0]
    try:
        if len(text) > _MAX_HEAD:
            raise ValueError
        head = _DECODER.decode(urlsafe_b64decode(text + "=" * (-len(text) % 4)))
    except (ValueError, RecursionError):
        raise unauthenticated("malformed") from None
    if head.crit is not UNSET or head.b64 is not UNSET:
        raise unauthenticated("malformed")
    return head
