"""What each method of JSON-RPC takes, answers and fails with, for programs: as an OpenRPC document says it."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeAlias

from gateway.adapter.control_json import CANCEL, DELETE, LIST
from gateway.adapter.items_json import ITEMS
from gateway.adapter.json_members import META, Members
from gateway.adapter.json_schemas import is_required, member_schema, nullable, reference
from gateway.adapter.member_descriptions import description_of
from gateway.adapter.message_schemas import BLOB_TYPE
from gateway.adapter.params_json import GET, SUBMIT
from gateway.adapter.sets_json import WATCH
from gateway.adapter.tokens_json import TOKEN
from gateway.core import errors
from gateway.core.control import CancelParams, CancelRunsParams, DeleteParams, DeleteRunsParams, ItemsParams, ListParams
from gateway.core.errors import GatewayError
from gateway.core.json_schema import JsonSchema
from gateway.core.model import GetParams, SubmitParams
from gateway.core.run_sets import SetParams
from gateway.core.tokens import TokenParams

Errors: TypeAlias = tuple[type[GatewayError], ...]

EVERY: Final[Errors] = (
    errors.InvalidParams,
    errors.Unauthenticated,
    errors.PermissionDenied,
    errors.TooLarge,
    errors.Overloaded,
    errors.QuotaExceeded,
    errors.Unavailable,
    errors.ParentCancelled,
    errors.Internal,
)
"""What every call may fail with; a component of a run that is cancelled gets PARENT_CANCELLED."""

_STATE: Final[Errors] = (errors.StateUnavailable,)
_RUN: Final[Errors] = (errors.InvalidRunId, errors.RunNotFound, errors.StateUnavailable)


class MethodSchema(NamedTuple):
    """A method: what it does, the schema of its result, its errors, and its parameters.

    These are members that fill one of some models, or content descriptors as they stand. `keeps`: those that are not
    known are kept, and not refused. `tells` has the name of the notifications of a stream, and the schema of their
    parameters.
    """

    text: str
    result: JsonSchema
    errors: Errors
    members: Members = MappingProxyType({})
    models: Sequence[type[Any]] = ()
    descriptors: Sequence[JsonSchema] = ()
    keeps: bool = False
    tells: tuple[str, JsonSchema] | None = None

    def params(self, method: str) -> list[JsonSchema]:
        """The content descriptors of the parameters."""
        described = []
        for name, member in self.members.items():
            required, schema = is_required(member, self.models), member_schema(member, self.models)
            described.append(_param(name, schema, description_of(method, name), required=required))
        return [*described, *self.descriptors, _param(META, {"type": "object"}, description_of(method, META))]

    def error_objects(self) -> list[JsonSchema]:
        """The errors by code: several of one code differ by the reason in their data."""
        by_code: dict[int, dict[str, str]] = {}
        for error in (*self.errors, *EVERY):
            by_code.setdefault(error.code, {})[error.reason] = _sentence(error)
        return [
            {"code": code, "message": " ".join(reasons.values()), "data": {"reasons": reasons}}
            for code, reasons in sorted(by_code.items(), reverse=True)
        ]


def _sentence(error: type[GatewayError]) -> str:
    """The first sentence about an error."""
    return (error.__doc__ or "").partition("\n")[0].partition("; ")[0].partition(": ")[0].rstrip(".") + "."


def _param(name: str, schema: JsonSchema, text: str, *, required: bool = False) -> JsonSchema:
    return {"name": name, "description": text, "required": required, "schema": schema if required else nullable(schema)}


_BLOB_ID: Final = {
    **_param(
        "blobId",
        {"type": "string"},
        "The id of the blob, as 64 hexadecimal digits. `blob_id` may stand for it.",
        required=True,
    ),
    "x-other-spelling": "blob_id",
}
_BLOB: Final = [
    _param("data", {}, "A JSON value, or of binary content the base64.", required=True),
    *(
        _param(name, BLOB_TYPE, "What it is, in either spelling; `data` if it is absent.")
        for name in ("blobType", "blob_type")
    ),
]

METHODS: Final[Mapping[str, MethodSchema]] = {
    "runs/submit": MethodSchema(
        "Submits a run of a stored flow. The run is durable when the answer arrives.",
        reference("RunStatus"),
        (
            errors.InvalidFlow,
            errors.InvalidBlobId,
            errors.FlowNotFound,
            errors.IdempotencyConflict,
            errors.NestedTooDeeply,
            errors.TooManyDescendants,
            errors.ComponentUnavailable,
            *_STATE,
        ),
        SUBMIT,
        [SubmitParams],
        keeps=True,
    ),
    "runs/get": MethodSchema(
        "Answers with the state of a run. With `wait`, and `Accept: text/event-stream`, each change is told first.",
        reference("RunStatus"),
        (*_RUN, errors.GoAway),
        GET,
        [GetParams],
        keeps=True,
        tells=("runs/status", reference("RunUpdate")),
    ),
    "runs/cancel": MethodSchema(
        "Cancels a run and those inside it, or by a filter many. One that has ended stays as it is.",
        {"anyOf": [reference("RunStatus"), reference("BulkProgress")]},
        (*_RUN, errors.Unsupported),
        CANCEL,
        [CancelParams, CancelRunsParams],
    ),
    "runs/list": MethodSchema(
        "Lists runs, a page at a time.",
        reference("RunList"),
        (*_STATE, errors.Unsupported),
        LIST,
        [ListParams],
    ),
    "runs/delete": MethodSchema(
        "Deletes a run that has ended, or by a filter many, with their inputs, results and idempotency keys.",
        {"anyOf": [reference("BulkProgress"), {"type": "object", "maxProperties": 0}]},
        (*_RUN, errors.RunNotEnded, errors.Unsupported),
        DELETE,
        [DeleteParams, DeleteRunsParams],
    ),
    "runs/items": MethodSchema(
        "Lists the items of a run by index, a page at a time: what executes, and what became of each step.",
        reference("ItemList"),
        (*_RUN, errors.Unsupported),
        ITEMS,
        [ItemsParams],
    ),
    "runs/watch": MethodSchema(
        "Follows all runs that match a filter: only as a stream, by `Accept: text/event-stream`. An error ends it.",
        {
            "type": "null",
            "description": "There is none: the stream goes on until an error, or until its client leaves.",
        },
        (*_STATE, errors.InvalidRequest, errors.Unsupported, errors.GoAway),
        WATCH,
        [SetParams],
        keeps=True,
        tells=("runs/set", reference("SetUpdate")),
    ),
    "runs/token": MethodSchema(
        "Makes a token that is valid for a short time and for less than the caller may do.",
        reference("CreatedToken"),
        (errors.Unsupported,),
        TOKEN,
        [TokenParams],
    ),
    "blobs/put": MethodSchema(
        "Stores a blob. The same content always has the same id.",
        reference("BlobId"),
        (errors.InvalidFlow, *_STATE),
        descriptors=_BLOB,
        keeps=True,
    ),
    "blobs/get": MethodSchema(
        "Answers with a blob.",
        reference("Blob"),
        (errors.InvalidBlobId, errors.BlobNotFound, *_STATE),
        descriptors=[_BLOB_ID],
        keeps=True,
    ),
    "rpc.discover": MethodSchema("Answers with this document.", {"type": "object"}, ()),
}
