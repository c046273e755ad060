"""Answers of a Stepflow engine that are errors -> errors of the gateway. No I/O."""

import re
from typing import Final

import msgspec

from gateway.adapter.remote_errors import parse_path
from gateway.core.errors import (
    FlowNotFound,
    GatewayError,
    InvalidFlow,
    InvalidParams,
    Overloaded,
    Path,
    RemoteError,
    TooLarge,
    Violation,
)

MAX_MESSAGE: Final = 1_000
"""How many characters of an engine's error message are passed on."""

MAX_PATH: Final = 8
"""How many parts of a path in a request are passed on. The engine may name a value that is some hundred levels deep."""

_PATH_AND_REASON: Final = re.compile(
    r"(?:Failed to parse the request body as JSON: )?((?:input|variables|overrides)(?![^.\[:])[^\s:]*): (.*)", re.DOTALL
)
"""Matches a message about one value of a request, which begins with the path of the value."""


class _ErrorAnswer(msgspec.Struct):
    message: str | None = None
    error: "_ErrorAnswer | None" = None


_DECODER: Final = msgspec.json.Decoder(_ErrorAnswer)


def message_of(body: bytes) -> str:
    """Return the engine's error message, without the stack trace that some releases add to it."""
    try:
        answer: _ErrorAnswer = _DECODER.decode(body)
        text = (answer.error or answer).message or ""
    except (msgspec.DecodeError, UnicodeDecodeError):
        # Some errors are plain text. The HTML page of a proxy is of no use to a client.
        text = "" if body.lstrip().startswith(b"<") else body.decode(errors="replace")
    text = "".join(character if character.isprintable() else " " for character in text[:MAX_MESSAGE])
    return text.removeprefix("Failed to deserialize the JSON body into the target type: ").strip()


def answer_error(status: int, body: bytes) -> GatewayError:
    """Return the error for an answer with an HTTP status that the request does not expect."""
    if status == 413:
        return too_large()
    message = message_of(body)
    text = f"the engine answered with HTTP status {status}" + f": {message}" * bool(message)
    return Overloaded(text, retry_after=1.0) if status == 429 else RemoteError(RemoteError.code, text)


def flow_not_found(flow_id: str) -> FlowNotFound:
    """Return the error for a flow that is not there."""
    return FlowNotFound(f"no flow has the id '{flow_id}'")


def submit_error(status: int, body: bytes, flow_id: str) -> GatewayError:
    """Return the error for an answer to a submit that is not a run."""
    message = message_of(body)
    if status == 404:
        return flow_not_found(flow_id)
    if status in (400, 422) and (found := _PATH_AND_REASON.match(message)) is not None:
        return InvalidParams([Violation(_params_path(found[1]), found[2])])
    if status == 400 and "overrides" in message:
        return InvalidParams.field("overrides", description=message)
    if (status == 400 and "analyzing workflow" in message) or (status == 500 and "Serialization error" in message):
        return InvalidFlow([Violation(("flow_id",), "the engine cannot run this flow: store it again to learn why")])
    if status in (400, 422):
        return InvalidParams([Violation((), f"the engine refuses the run: {message}")])
    return answer_error(status, body)


def unexpected_response(what: str = "") -> RemoteError:
    """Return the error for an answer that does not have the form it should have."""
    return RemoteError(RemoteError.code, "unexpected response from the engine" + f": {what}" * bool(what))


def too_large() -> TooLarge:
    """Return the error for a request that the engine refuses because of its size."""
    return TooLarge("the message is larger than the engine takes; releases 0.10 and 0.11 take 2 MB")


def _params_path(text: str) -> Path:
    """Return the path in the parameters of a submit for the engine's path, cut to MAX_PATH parts."""
    path = parse_path(text.replace("input", "inputs", 1) if text.startswith("input") else text)
    return path[:MAX_PATH]
