"""The JSON-RPC messages between this side and a component server."""

from typing import Any

import msgspec
from msgspec import UNSET, Raw, UnsetType

from gateway.components.error import Code, ComponentError

_NULL = b"null"
_RUNS = "runs/"


class ComponentMessage(msgspec.Struct):
    """Any message of a server: a request or notification of its own when it has a method, else an answer."""

    id: Raw = Raw(_NULL)
    method: str | UnsetType = UNSET
    result: Raw | UnsetType = UNSET
    error: Raw | UnsetType = UNSET

    @property
    def wants_answer(self) -> bool:
        """Whether a request is not a notification, which has no id."""
        return bytes(self.id) != _NULL


class _ErrorObject(msgspec.Struct):
    code: int
    message: str
    data: Raw = Raw(_NULL)


class _ComponentRequest(msgspec.Struct):
    id: str
    method: str
    params: Any
    jsonrpc: str = "2.0"


class _Notification(msgspec.Struct):
    method: str
    params: Any
    jsonrpc: str = "2.0"


class _NamedMethod(msgspec.Struct):
    method: str = ""


def asks_for_runs(body: bytes) -> bool:
    """Whether a request of a component submits a run or asks for one. False if it cannot be read."""
    try:
        return msgspec.json.decode(body, type=_NamedMethod).method.startswith(_RUNS)
    except (msgspec.DecodeError, RecursionError):
        return False


def encode_request(request_id: str, method: str, params: object) -> bytes:
    """The text of a request. `msgspec.Raw` in the parameters goes in as it is."""
    return msgspec.json.encode(_ComponentRequest(request_id, method, params))


def encode_notification(method: str, params: object) -> bytes:
    """The text of a notification."""
    return msgspec.json.encode(_Notification(method, params))


def encode_internal_error(request_id: Raw) -> bytes:
    """The answer to a request that could not be served."""
    return b'{"jsonrpc":"2.0","id":' + bytes(request_id) + b',"error":{"code":-32603,"message":"Internal error"}}'


def decode_message(text: bytes) -> ComponentMessage:
    """Check a message and find its parts, which are valid UTF-8 JSON. Raises ComponentError if it is malformed."""
    try:
        text.decode()
        return msgspec.json.decode(text, type=ComponentMessage)
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError) as error:
        raise broken("something that is not a JSON-RPC message") from error


def result_of(message: ComponentMessage, request_id: str) -> Raw:
    """Return the result in an answer. Raises ComponentError if it is an error, or the answer to another request.

    An error without an id counts as the answer: servers send it when they could not read the request.
    """
    error = None if message.error is UNSET or bytes(message.error) == _NULL else message.error
    unread = error is not None and not message.wants_answer
    if not unread and not _is(message.id, request_id):
        raise broken("another id than that of the request")
    if error is not None:
        raise _component_error(error)
    if message.result is UNSET:
        raise broken("neither a result nor an error")
    return message.result


def has_error(message: ComponentMessage) -> bool:
    """Whether a message tells of an error as JSON-RPC says; proxies have errors of their own."""
    try:
        return message.error is not UNSET and bool(msgspec.json.decode(message.error, type=_ErrorObject))
    except (msgspec.DecodeError, RecursionError):
        return False


def broken(what: str, *, recurs: bool = True) -> ComponentError:
    """The error for a server that answered with `what`, and would do so again unless told otherwise."""
    return ComponentError(Code.PROTOCOL_BROKEN, f"the component server answered with {what}", recurs=recurs)


def _is(text: Raw, request_id: str) -> bool:
    try:
        return msgspec.json.decode(text, type=str) == request_id
    except msgspec.DecodeError:
        return False


def _component_error(text: Raw) -> ComponentError:
    try:
        error = msgspec.json.decode(text, type=_ErrorObject)
    except (msgspec.DecodeError, RecursionError):
        raise broken("an error without code or message") from None
    if not -(2**63) <= error.code < 2**63:
        raise broken("an error whose code is out of range")
    data = bytes(error.data)
    return ComponentError(error.code, error.message, data=None if data == _NULL else data.decode())
