"""What a JSON-RPC method is: it reads its parameters and calls the service, and it writes the answer."""

from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

from gateway.adapter.json_members import Params
from gateway.core.caller import Caller
from gateway.core.model import JsonText
from gateway.fronts.http.long_texts import Held, LongText


class Origin(NamedTuple):
    """Where a call comes from: its caller, and the scope of its idempotency keys."""

    caller: Caller
    scope: str = ""


class RpcMethod(NamedTuple):
    """`execute` is given the parameters, where the call comes from, and what counts its memory; `write` what it
    returns, and the count.
    """

    execute: Callable[[Params, Origin, Held], Awaitable[Any]]
    write: Callable[[Any, Held], Awaitable[JsonText | LongText]]


def give_back(held: Held) -> None:
    """Hold nothing any more of a request that has been read."""
    held.shrink(held.size)
