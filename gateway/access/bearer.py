"""The header `authorization`."""

import re
from typing import Final

from gateway.access.refusals import unauthenticated

MAX_TOKEN: Final = 8_192
"""The longest token, in characters: what servers take as one header."""

_BEARER: Final = re.compile(r"bearer +([A-Za-z0-9\-._~+/]+=*)", re.IGNORECASE)
"""The scheme and the token of RFC 6750. The values of several headers, joined with commas, are none."""

_MAX_HEADER: Final = MAX_TOKEN + 16


def bearer_token(authorization: str) -> str:
    """The token in the value of a header. Raises Unauthenticated if it is not `Bearer` and one token."""
    match = _BEARER.fullmatch(authorization) if len(authorization) <= _MAX_HEADER else None
    if match is None or len(match[1]) > MAX_TOKEN:
        raise unauthenticated("malformed")
    return match[1]
