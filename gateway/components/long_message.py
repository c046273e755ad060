"""Long messages of component servers, read in turns with everything else: outputs of some MiB and more."""

from typing import Final, NamedTuple

from msgspec import Raw

from gateway.components.message import ComponentMessage, broken, decode_message
from gateway.concurrency.fair_turns import Line
from gateway.core.errors import InvalidParams
from gateway.core.json_parts import LONG_TEXT, Span, check_json, decoded, member_spans, stripped
from gateway.core.json_text import string
from gateway.core.model import JsonText

_MEMBERS: Final = 1_000
"""The most members of a long message, and of the result in it. Few of them mean anything."""


class LongResult(NamedTuple):
    """The result in a long answer: where it is in the text."""

    text: bytes
    span: Span

    async def output(self, line: Line) -> JsonText:
        """The output in the result of an execution. Raises ComponentError if it has none."""
        try:
            if self.text.startswith(b"{", self.span.start):
                members = await member_spans(self.text, self.span, line.checkpoint, _MEMBERS)
                if "output" in members and len(members) <= _MEMBERS:
                    return await decoded(self.text, members["output"], line.checkpoint)
        except InvalidParams:
            pass
        raise broken("an execution without an output") from None


async def read_message(text: bytes, line: Line) -> tuple[ComponentMessage, LongResult | None]:
    """Check a message as `decode_message` does. The result of a long one is not in the message, but beside it."""
    if len(text) <= LONG_TEXT:
        return decode_message(text), None
    try:
        await check_json(text, line.checkpoint)
        whole = stripped(text, Span(0, len(text)))
        if text.startswith(b"{", whole.start):
            spans = await member_spans(text, whole, line.checkpoint, _MEMBERS)
            if len(spans) > _MEMBERS:
                raise broken("a message with too many members")
            message = ComponentMessage()
            if "id" in spans:
                message.id = _raw(text, spans["id"])
            if "method" in spans:
                message.method = string(await decoded(text, spans["method"], line.checkpoint))
            if "error" in spans:
                message.error = _raw(text, spans["error"])
            if "result" not in spans:
                return message, None
            message.result = Raw(b"null")  # It stands for the one beside it.
            return message, LongResult(text, spans["result"])
    except (InvalidParams, UnicodeDecodeError):
        pass
    raise broken("something that is not a JSON-RPC message")


def _raw(text: bytes, span: Span) -> Raw:
    part = text[span.start : span.stop]
    part.decode()
    return Raw(part)
