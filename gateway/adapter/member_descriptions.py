"""What the members of JSON-RPC are, in words: of parameters, and of the objects in them and in answers."""

from collections.abc import Mapping
from typing import Final

_TIMES: Final = {
    "createdAt": "When the run was submitted.",
    "startedAt": "When the first attempt began.",
    "completedAt": "When it ended; absent before.",
    "expiresAt": "When the run will be deleted, if that is known.",
    "createdAfter": "Only runs that were submitted then or later.",
    "createdBefore": "Only runs that were submitted before.",
}

_DESCRIPTIONS: Final[Mapping[str, str]] = {
    **_TIMES,
    "_meta": "What the call belongs to: `traceparent` and `tracestate`, as headers would say it.",
    "runId": "The id of the run: a UUID.",
    "flowId": "The id of the blob with the flow: `sha256:` and 64 hexadecimal digits, or the digits alone.",
    "inputs": "One input for each item.",
    "wait": "Whether to answer only when the run has ended, or `timeoutSecs` have passed.",
    "timeoutSecs": "How many seconds to wait at most.",
    "maxConcurrency": "How many items execute at the same time at most.",
    "overrides": "Changes to steps of the flow for this run: `{STEP: {value: MERGE_PATCH}}`.",
    "observability": "The trace that the call belongs to.",
    "subflowKey": "The idempotency key: a submit that is repeated with the same key submits no second run.",
    "variables": "The values of variables of the flow, by name.",
    "flowLabel": "A text for the run, by which it can be found.",
    "labels": "Texts for the run by names, by which it can be found.",
    "executionTimeoutSecs": "After how many seconds the run is cancelled if it has not ended.",
    "includeResults": "Whether the answer has the results.",
    "resultOrder": "The order of results: by the index of their items, or as they came.",
    "resumeToken": "For streams: the id of the last event that was received, after which to go on.",
    "heartbeatSecs": "For streams: after how many seconds of silence there is a sign of life.",
    "filter": "Which runs: those that meet every condition.",
    "reason": "Why, for people.",
    "cancel": "Whether to cancel what has not ended, and delete it then.",
    "pageSize": "How many entries the page has at most; 0 is 100, and more than 1,000 are 1,000.",
    "pageToken": "The `nextPageToken` of the page before.",
    "order": "Which runs come first.",
    "includeTotal": "Whether to count all that match.",
    "states": "Only those in one of these states.",
    "flowIds": "Only runs of these flows.",
    "flowName": "The name of the flow.",
    "parentRunId": "The run that has submitted this one.",
    "rootRunId": "The outermost run that this one is inside.",
    "rootsOnly": "Only runs that are not inside another one.",
    "includeInputs": "Whether entries have the inputs.",
    "onlyNew": "Whether to leave out what is in the set already.",
    "permissions": "What the token permits.",
    "namespace": "The namespace.",
    "lifetimeSecs": "For how many seconds the token is valid; 900 if it is absent.",
    "status": "The state.",
    "items": "How many items are in each state.",
    "results": "The results, if they were asked for.",
    "depth": "How many runs the run is inside.",
    "cancelReason": "Why the run was cancelled.",
    "total": "The number of all.",
    "pending": "The number of those that have not begun.",
    "running": "The number of those that execute.",
    "success": "The number of those that succeeded.",
    "completed": "The same number as `success`, by the name that other releases give it.",
    "failed": "The number of those that failed.",
    "cancelled": "The number of those that were cancelled.",
    "itemIndex": "The index of the item, which is that of its input.",
    "result": "What the item came to; absent if it came to nothing.",
    "input": "The input, if it was asked for.",
    "attempts": "How often it has been tried; absent if that is not known.",
    "steps": "The steps that were needed, in the order in which they were.",
    "stepId": "The id of the step, or its path `STEP/ITERATION/STEP` in a flow that runs in place.",
    "component": "The path of the component.",
    "error": "The error of the last attempt.",
    "code": "The code of the error.",
    "message": "The error in words.",
    "data": "More about the error.",
}

_OF_OBJECTS: Final[Mapping[tuple[str, str], str]] = {
    ("RunFilter", "flowLabel"): "Only runs with this label, or, with a `*` at the end, with one that begins so.",
    ("RunFilter", "flowName"): "Only runs of flows with this name, or, with a `*` at the end, with one that begins so.",
    ("RunFilter", "labels"): "Only runs that have all of these labels.",
    ("RunFilter", "parentRunId"): "Only runs that this one has submitted.",
    ("RunFilter", "rootRunId"): "Only runs inside this one.",
    ("runs/token", "runId"): "The one run that the token is for; all if it is absent.",
    ("runs/token", "labels"): "The token is for runs that have all of these labels.",
    ("runs/token", "namespace"): "The namespace that the token is for; that of the caller if it is absent.",
    ("runs/watch", "includeResults"): "Whether the status that shows the end of a run has its results.",
}
"""Those that mean something else in one object, or one method, than in others."""

_OBSERVED: Final = "A part of the trace, or of the task, that the call belongs to."


def description_of(name: str, member: str) -> str:
    """What a member of an object, or a parameter of a method, is."""
    if name == "ObservabilityContext":
        return _OBSERVED
    return _OF_OBJECTS.get((name, member)) or _DESCRIPTIONS[member]
