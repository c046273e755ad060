"""The JSON Schemas of the objects in parameters and answers of JSON-RPC, in draft 7, by name."""

from typing import Any, Final

from gateway.adapter.blobs_json import BINARY
from gateway.adapter.filters_json import FILTER
from gateway.adapter.items_json import ITEM, STEP
from gateway.adapter.json_members import Members
from gateway.adapter.json_schemas import described, nullable, object_schema, reference
from gateway.adapter.params_json import OBSERVABILITY
from gateway.adapter.status_from_json import ITEM_ERROR, ITEM_RESULT, RUN_STATUS, STATISTICS
from gateway.core.items import Item, StepStatus
from gateway.core.json_schema import JsonSchema
from gateway.core.model import BlobType, ItemError, ItemResult, ItemStatistics, ObservabilityContext, RunStatus
from gateway.core.run_filter import RunFilter
from gateway.core.run_sets import SetEvent

_TEXT: Final[JsonSchema] = {"type": "string"}
_TIME: Final[JsonSchema] = {"type": "string", "format": "date-time"}
_TRUE: Final[JsonSchema] = {"const": True}
_COUNT: Final[JsonSchema] = {"type": "integer", "minimum": 0}

BLOB_TYPE: Final[JsonSchema] = {"type": "string", "enum": [*BlobType, BINARY]}


def message_schemas() -> dict[str, JsonSchema]:
    """The schemas by name: those of classes by the names of these."""
    return {
        "RunStatus": object_schema("RunStatus", RUN_STATUS, RunStatus),
        "ItemStatistics": object_schema("ItemStatistics", STATISTICS, ItemStatistics, {"completed": _COUNT}),
        "ItemResult": _item_result(),
        "ItemOutcome": _outcome(),
        "ItemError": object_schema("ItemError", ITEM_ERROR, ItemError),
        "Item": object_schema("Item", ITEM, Item),
        "StepStatus": object_schema("StepStatus", STEP, StepStatus),
        "RunFilter": {**_asked("RunFilter", FILTER, RunFilter), "additionalProperties": False},
        "ObservabilityContext": _asked("ObservabilityContext", OBSERVABILITY, ObservabilityContext),
        "RunList": _page("runs", reference("RunStatus"), totalSize=_COUNT),
        "ItemList": _page("items", reference("Item")),
        "BulkProgress": _object(
            "matched", "unchanged", matched=_COUNT, cancelled=_COUNT, deleted=_COUNT, unchanged=_COUNT
        ),
        "Blob": _object(
            "data", "blobType", data={}, blobType=BLOB_TYPE, blob_type=BLOB_TYPE, blobId=_TEXT, blob_id=_TEXT
        ),
        "BlobId": _object("blobId", blobId=_TEXT, blob_id=_TEXT),
        "CreatedToken": _object("token", "expiresAt", token=_TEXT, expiresAt=_TIME),
        "RunUpdate": _run_update(),
        "SetUpdate": _set_update(),
        "ErrorData": _error_data(),
    }


def _object(*required: str, **properties: JsonSchema) -> JsonSchema:
    return {"type": "object", "properties": properties, "required": [*required]}


def _asked(name: str, members: Members, model: type[Any]) -> JsonSchema:
    """An object in parameters: null stands for a member that is absent."""
    schema = object_schema(name, members, model)
    return {**schema, "properties": {key: nullable(member) for key, member in schema["properties"].items()}}


def _item_result() -> JsonSchema:
    """The document gives the state of an item only where nothing else tells it."""
    schema = object_schema("ItemResult", ITEM_RESULT, ItemResult, {"result": reference("ItemOutcome")})
    return {**schema, "required": ["itemIndex"]}


def _outcome() -> JsonSchema:
    same = described({}, "The same, by the name that other releases give it.")
    success = _object("outcome", outcome={"const": "success"}, value=described({}, "The output."), result=same)
    failed = _object("outcome", "error", outcome={"const": "failed"}, error=reference("ItemError"))
    return {"oneOf": [success, failed]}


def _page(name: str, entry: JsonSchema, **more: JsonSchema) -> JsonSchema:
    token = described(_TEXT, "What to ask for the next page with; absent on the last one.")
    return _object(name, **{name: {"type": "array", "items": entry}}, nextPageToken=token, **more)


def _run_update() -> JsonSchema:
    more = _object(
        "revision",
        "finishedPrefix",
        "resultCount",
        revision=described(_COUNT, "It grows with each change of the run."),
        finishedPrefix=described(_COUNT, "How many leading items have all finished."),
        resultCount=described(_COUNT, "How many results exist."),
        heartbeat=described(_TRUE, "Nothing has changed."),
        restarted=described(_TRUE, "The resume token was not understood: the stream begins anew."),
    )
    text = (
        "The status, with the results that no earlier event of the stream had. The id of the event is the resume token."
    )
    return {"description": text, "allOf": [reference("RunStatus"), more]}


def _set_update() -> JsonSchema:
    events: JsonSchema = {"type": "string", "enum": [*SetEvent, "caughtUp", "heartbeat"]}
    return _object(
        "event",
        event=described(events, "What a run has come to be in the set, or that the present is complete, or nothing."),
        runId=_TEXT,
        revision=_COUNT,
        run=described(reference("RunStatus"), "Absent if the run has been deleted."),
        restarted=described(_TRUE, "The resume token was not understood: the set begins anew."),
    )


def _error_data() -> JsonSchema:
    violation = _object("field", "description", field=_TEXT, description=_TEXT)
    return {
        "description": "The `data` of the errors of this server. Errors of other servers have the data of these.",
        **_object(
            "reason",
            reason=described(_TEXT, "The error in one word, for programs."),
            violations={"type": "array", "items": violation},
            retryAfterSecs={"type": "number", "minimum": 0},
            quota=described(_TEXT, "The limit of callers that is reached."),
            subject=described(_TEXT, "Whose limit it is."),
        ),
    }
