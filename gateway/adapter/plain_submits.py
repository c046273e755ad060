"""The usual call, a submit with few parameters, read in one step.

Nothing is told here of mistakes: what is not such a call, or not valid, is read as all other calls are.
"""

from typing import Annotated, Final, Literal

from msgspec import DecodeError, Meta, Raw, Struct, field
from msgspec.json import Decoder

from gateway.adapter.jsonrpc import Request
from gateway.core.model import SubmitParams

_SUBMIT: Final = "runs/submit"
_NAMED: Final = _SUBMIT.encode()
_STARTS_OF_IDS: Final = frozenset('"-0123456789n')


class _PlainParams(Struct, forbid_unknown_fields=True, gc=False):
    flow_id: Annotated[str, Meta(min_length=1)] = field(name="flowId")
    inputs: list[Raw]
    wait: bool = False


class _PlainSubmit(Struct, forbid_unknown_fields=True, gc=False):
    jsonrpc: Literal["2.0"]
    method: Literal["runs/submit"]
    params: _PlainParams
    id: Raw = field(default_factory=Raw)


_CALL: Final = Decoder(_PlainSubmit)


def read_plain_submit(body: bytes) -> Request | None:
    """Read the body of a POST that is a valid call of runs/submit with no parameters but the usual ones.

    The body is no longer than a text that is read at once.
    """
    if _NAMED not in body:
        return None
    try:
        call = _CALL.decode(body)
        inputs = [str(raw, "utf-8") for raw in call.params.inputs]
        request_id = str(call.id, "utf-8") or None
    except (DecodeError, UnicodeDecodeError, RecursionError):
        return None
    if request_id is not None and request_id[0] not in _STARTS_OF_IDS:
        return None
    return Request(request_id, _SUBMIT, SubmitParams(flow_id=call.params.flow_id, inputs=inputs, wait=call.params.wait))
