"""Keys of submits that have none: with one, a submit that is repeated makes one run."""

import secrets
from typing import Final

from msgspec.structs import replace

from gateway.core.model import SubmitParams

_ONCE: Final = "once:"
"""How such keys begin. They are drawn at random: nobody finds their runs again by them."""


def with_key(params: SubmitParams) -> SubmitParams:
    """The parameters, with a key that no other submit has if they have none."""
    if params.idempotency_key is not None:
        return params
    return replace(params, idempotency_key=f"{_ONCE}{secrets.token_hex(16)}")
