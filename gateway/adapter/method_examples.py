"""An example of each method of JSON-RPC: the messages of one gateway, in their order."""

from collections.abc import Mapping
from typing import Any, Final, NamedTuple

from gateway.core.json_schema import JsonSchema

RUN_ID: Final = "01a21e78-2e54-790a-ab42-5b51cc0e242e"
_DIGEST: Final = "72660cda85bce0dbc4efaea57e80462145a3b69383bb6491784924c1ec510e92"
_FLOW: Final = {"name": "double", "steps": [], "output": {"twice": [{"$input": "n"}, {"$input": "n"}]}}
_BLOB_ID: Final = {"blobId": _DIGEST, "blob_id": _DIGEST}
_CREATED: Final = "2026-11-27T19:25:22.388564952Z"
_ENDED: Final = "2026-11-27T19:25:22.388759403Z"
_LABELS: Final = {"team": "search"}
_RUN: Final = {
    "runId": RUN_ID,
    "flowId": f"sha256:{_DIGEST}",
    "flowName": "double",
    "status": "success",
    "items": {"total": 2, "pending": 0, "running": 0, "success": 2, "failed": 0, "cancelled": 0, "completed": 2},
    "createdAt": _CREATED,
    "completedAt": _ENDED,
    "startedAt": _ENDED,
    "labels": _LABELS,
}
_OUTPUTS: Final = [{"twice": [1, 1]}, {"twice": [2, 2]}]
_WITH_RESULTS: Final = {
    **_RUN,
    "results": [
        {
            "itemIndex": index,
            "status": "completed",
            "result": {"outcome": "success", "value": value, "result": value},
            "completedAt": _ENDED,
        }
        for index, value in enumerate(_OUTPUTS)
    ],
}
_ITEMS: Final = [
    {
        "itemIndex": index,
        "status": "success",
        "result": {
            "itemIndex": index,
            "result": {"outcome": "success", "value": value},
            "completedAt": _ENDED,
        },
        "completedAt": _ENDED,
    }
    for index, value in enumerate(_OUTPUTS)
]
_TOKEN: Final = "eyJhbGciOiJIUzI1NiIsInR5cCI6InJ1bnMtZ2F0ZXdheStqd3QifQ.eyJzdWIiOiJhZG1pbiJ9.c2lnbmF0dXJl"


class MethodExample(NamedTuple):
    """A call: its parameters, and the result that they had."""

    text: str
    params: Mapping[str, Any]
    result: Any

    def pairing(self) -> JsonSchema:
        """The example as an OpenRPC document has it."""
        return {
            "name": self.text,
            "params": [{"name": name, "value": value} for name, value in self.params.items()],
            "result": {"name": "result", "value": self.result},
        }


EXAMPLES: Final[Mapping[str, MethodExample]] = {
    "blobs/put": MethodExample("Store a flow", {"blobType": "flow", "data": _FLOW}, _BLOB_ID),
    "blobs/get": MethodExample(
        "Read it", {"blobId": _DIGEST}, {"data": _FLOW, "blobType": "flow", "blob_type": "flow", **_BLOB_ID}
    ),
    "runs/submit": MethodExample(
        "Run it for two inputs, and wait",
        {"flowId": _DIGEST, "inputs": [{"n": 1}, {"n": 2}], "wait": True, "labels": _LABELS},
        _WITH_RESULTS,
    ),
    "runs/get": MethodExample("See its results", {"runId": RUN_ID, "includeResults": True}, _WITH_RESULTS),
    "runs/list": MethodExample("Find it by a label", {"filter": {"labels": _LABELS}, "pageSize": 10}, {"runs": [_RUN]}),
    "runs/items": MethodExample("See its items", {"runId": RUN_ID}, {"items": _ITEMS}),
    "runs/watch": MethodExample("Follow all with a label", {"filter": {"labels": _LABELS}}, None),
    "runs/token": MethodExample(
        "Make a token for reading",
        {"permissions": ["runs:read"], "lifetimeSecs": 900},
        {"token": _TOKEN, "expiresAt": "2026-11-27T19:40:10.963149824Z"},
    ),
    "runs/cancel": MethodExample(
        "Cancel a run, which has ended here", {"runId": RUN_ID, "reason": "not needed any more"}, _RUN
    ),
    "runs/delete": MethodExample("Delete it", {"runId": RUN_ID}, {}),
}
"""By the names of methods. `rpc.discover` has none: its result is the document that has these."""
