"""Long protobuf messages, read in turns with everything else.

`checkpoint` is awaited after each step.
"""

from typing import Final

from google.protobuf.message import DecodeError

from gateway.adapter.blobs_proto import put_request_kind, refuse_binary
from gateway.adapter.long_fields import FewFields
from gateway.adapter.long_values import long_value_to_text
from gateway.adapter.params_proto import input_from_proto, submit_params_without_inputs
from gateway.adapter.proto_wire import LENGTH_DELIMITED, WireField, field_at, length_prefix, short_fields_end
from gateway.core.errors import InvalidParams, InvalidRequest
from gateway.core.json_parts import LONG_TEXT, Checkpoint, Span, decoded, long_json_text
from gateway.core.json_text import elements
from gateway.core.model import Blob, JsonText, SubmitParams
from gateway.core.packed_texts import CHUNK_TEXT, PackedTexts
from runs.v1 import blobs_pb2, runs_pb2

_INPUTS: Final = runs_pb2.SubmitRunRequest.INPUTS_FIELD_NUMBER
_INPUTS_TAG: Final = _INPUTS << 3 | LENGTH_DELIMITED
_PARAMETERS: Final = runs_pb2.SubmitRunStreamRequest.PARAMETERS_FIELD_NUMBER
_JSON: Final = runs_pb2.JsonValue.JSON_FIELD_NUMBER
_VALUE: Final = runs_pb2.JsonValue.VALUE_FIELD_NUMBER
_BLOB_JSON: Final = blobs_pb2.PutBlobRequest.JSON_FIELD_NUMBER
_BLOB_BINARY: Final = blobs_pb2.PutBlobRequest.BINARY_FIELD_NUMBER
_AT_ONCE: Final = 4 << 10
_CLOCK_STRIDE: Final = 16
assert runs_pb2.SubmitRunStreamRequest.INPUTS_FIELD_NUMBER == _INPUTS


class LongInputs:
    """Appends the inputs in long messages, one after the other, to `inputs`."""

    def __init__(self, inputs: PackedTexts, checkpoint: Checkpoint) -> None:
        self._inputs = inputs
        self._checkpoint = checkpoint
        self._chunk: list[JsonText] = []
        self._number = 0

    async def take(self, data: bytes, start: int, stop: int, others: FewFields) -> list[bytes]:
        """Take the inputs out of a SubmitRunRequest or SubmitRunStreamRequest. Returns what `others` takes of it.

        Raises InvalidParams, with the place among all inputs, if one is not a JSON value; and what `others` raises.
        """
        rest: list[bytes] = []
        place = start
        while place < stop:
            end = short_fields_end(data, place, stop, _INPUTS_TAG, _AT_ONCE)
            if end > place:
                await self._add_short(data[place:end])
            else:
                field = field_at(data, place, stop)
                end = field.stop
                if (field.number, field.kind) == (_INPUTS, LENGTH_DELIMITED):
                    await self._add(data, field)
                else:
                    rest += await others.take(place, field)
            place = end
            await self._checkpoint()
        self._flush()
        return rest

    async def _add_short(self, data: bytes) -> None:
        values = runs_pb2.SubmitRunRequest.FromString(data).inputs
        texts = [value.json for value in values]
        joined = ",".join(texts)
        if not _are_elements(texts, joined):
            first = len(self._inputs) + self._number
            for index, value in enumerate(values):
                texts[index] = input_from_proto(value, first + index)
                if index % _CLOCK_STRIDE == 0:
                    await self._checkpoint()
            joined = ",".join(texts)
        self._chunk.append(joined)
        self._number += len(texts)
        if sum(map(len, self._chunk)) >= CHUNK_TEXT - _AT_ONCE:
            self._flush()

    async def _add(self, data: bytes, field: WireField) -> None:
        self._flush()
        index = len(self._inputs)
        if field.stop - field.start <= LONG_TEXT:
            value = runs_pb2.JsonValue.FromString(data[field.start : field.stop])
            self._inputs.append(input_from_proto(value, index))
        else:
            self._inputs.append(await self._long(data, field, index))

    async def _long(self, data: bytes, value: WireField, index: int) -> JsonText:
        place, last = value.start, value
        while place < value.stop:
            # Of several members of a oneof, the last one counts.
            last = field_at(data, place, value.stop)
            place = last.stop
            await self._checkpoint()
        if (last.number, last.kind) == (_VALUE, LENGTH_DELIMITED):
            return await long_value_to_text(data, last.start, last.stop, self._checkpoint, "inputs", index, "value")
        if (last.number, last.kind) != (_JSON, LENGTH_DELIMITED):
            return input_from_proto(runs_pb2.JsonValue.FromString(data[value.start : value.stop]), index)
        path = ("inputs", index, "json")
        text = await decoded(data, Span(last.start, last.stop), self._checkpoint, *path)
        return await long_json_text(text, self._checkpoint, *path)

    def _flush(self) -> None:
        if self._number:
            self._inputs.append_chunk(",".join(self._chunk), self._number)
            self._chunk, self._number = [], 0


async def read_long_submit(data: bytes, checkpoint: Checkpoint) -> tuple[SubmitParams, runs_pb2.SubmitRunRequest]:
    """The parameters of a submit, and its message without the inputs. Raises InvalidRequest if it is malformed."""
    inputs = PackedTexts()
    others = FewFields(data, runs_pb2.SubmitRunRequest.DESCRIPTOR, checkpoint)
    try:
        rest = await LongInputs(inputs, checkpoint).take(data, 0, len(data), others)
        message = runs_pb2.SubmitRunRequest.FromString(b"".join(rest))
    except DecodeError:
        raise InvalidRequest("the request cannot be decoded") from None
    return submit_params_without_inputs(message, inputs), message


async def read_long_part(data: bytes, inputs: PackedTexts, checkpoint: Checkpoint) -> runs_pb2.SubmitRunStreamRequest:
    """A part of a submit without its inputs, which are appended to `inputs`.

    Raises InvalidRequest if it is malformed.
    """
    taking = LongInputs(inputs, checkpoint)
    others = FewFields(data, runs_pb2.SubmitRunStreamRequest.DESCRIPTOR, checkpoint)
    parameters = FewFields(data, runs_pb2.SubmitRunRequest.DESCRIPTOR, checkpoint, ("parameters",))
    rest: list[bytes] = []
    place = 0
    try:
        while place < len(data):
            field = field_at(data, place, len(data))
            if (field.number, field.kind) == (_PARAMETERS, LENGTH_DELIMITED):
                others.count(field)
                left = await taking.take(data, field.start, field.stop, parameters)
                rest += [length_prefix(_PARAMETERS, sum(map(len, left))), *left]
                place = field.stop
            else:
                rest += await taking.take(data, place, len(data), others)
                place = len(data)
        return runs_pb2.SubmitRunStreamRequest.FromString(b"".join(rest))
    except DecodeError:
        raise InvalidRequest("the request cannot be decoded") from None


async def read_long_blob(data: bytes, checkpoint: Checkpoint) -> Blob:
    """Read a PutBlobRequest as `blobs_proto.blob_from_put_request` does."""
    content: WireField | None = None
    others = FewFields(data, blobs_pb2.PutBlobRequest.DESCRIPTOR, checkpoint)
    rest: list[bytes] = []
    place = 0
    try:
        while place < len(data):
            field = field_at(data, place, len(data))
            if field.number in (_BLOB_JSON, _BLOB_BINARY) and field.kind == LENGTH_DELIMITED:
                others.count(field)
                content = field
            else:
                rest += await others.take(place, field)
            place = field.stop
            await checkpoint()
        message = blobs_pb2.PutBlobRequest.FromString(b"".join(rest))
    except DecodeError:
        raise InvalidRequest("the request cannot be decoded") from None
    kind = put_request_kind(message)
    if content is None:
        raise InvalidParams.field("content", description="set json or binary")
    if content.number == _BLOB_BINARY:
        refuse_binary(content.stop - content.start, kind)
        return Blob(data[content.start : content.stop], kind)
    text = await decoded(data, Span(content.start, content.stop), checkpoint, "json")
    return Blob(await long_json_text(text, checkpoint, "json"), kind)


def _are_elements(texts: list[JsonText], joined: JsonText) -> bool:
    """Whether each of some texts is one JSON value, without white space around it."""
    try:
        return elements(f"[{joined}]") == texts
    except InvalidParams:
        return False
