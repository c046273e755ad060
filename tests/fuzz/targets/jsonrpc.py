"""Bodies of JSON-RPC: each gets an answer, whose errors are of the tree, and whose ids are those that came."""

import json
from typing import Any, Final

from hypothesis import strategies as st

from gateway.adapter import jsonrpc
from gateway.core.errors import Internal
from gateway.core.json_text import elements, json_text, members
from gateway.core.model import blob_id_of
from gateway.fronts.http.methods import JsonRpcMethods
from gateway.runs.services import RunsServices
from tests.fuzz.serving import FLOW_ID, Renewed, ServedRuns
from tests.fuzz.targets import expressions


class Served(ServedRuns):
    """The methods over a gateway in memory."""

    async def start(self) -> None:
        await super().start()
        assert self.flow_id == FLOW_ID
        self.methods = JsonRpcMethods(RunsServices(self.service))


GATEWAY: Final = Renewed(Served)

_IDS: Final = st.none() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text() | st.booleans()
_FLOW_IDS: Final = st.sampled_from((FLOW_ID, FLOW_ID[7:], blob_id_of("0" * 64), "x", 7))
_PARAMS: Final[st.SearchStrategy[Any]] = (
    st.fixed_dictionaries(
        {},
        optional={
            "flowId": _FLOW_IDS,
            "flow_id": _FLOW_IDS,
            "inputs": st.lists(expressions.VALUES, max_size=3) | expressions.VALUES,
            "wait": st.booleans() | st.none(),
            "maxConcurrency": st.integers() | st.none(),
            "overrides": expressions.VALUES,
            "variables": expressions.VALUES,
            "timeoutSecs": st.integers(-1, 1) | st.just(1e300),
            "subflowKey": st.text() | st.none(),
            "flowLabel": st.text() | st.none(),
            "observability": expressions.VALUES,
        },
    )
    | st.fixed_dictionaries(
        {},
        optional={
            "runId": st.sampled_from(("00000000-0000-4000-8000-000000000000", "x", 1, None)),
            "includeResults": st.booleans(),
            "resultOrder": st.sampled_from(("byIndex", "by_completion", "x", 1)),
            "resumeToken": st.text() | st.integers(),
            "heartbeatSecs": st.integers(-1, 5),
        },
    )
    | st.fixed_dictionaries(
        {},
        optional={
            "data": expressions.VALUES | st.just({"output": {"$input": "$"}}),
            "blobType": st.sampled_from(("flow", "data", "binary", "x", 1)),
            "blobId": _FLOW_IDS,
        },
    )
    | expressions.VALUES
)
_CALLS: Final = st.fixed_dictionaries(
    {"jsonrpc": st.just("2.0"), "method": st.sampled_from(("runs/submit", "runs/get", "blobs/put", "blobs/get", "x"))},
    optional={"id": _IDS, "params": _PARAMS},
) | st.fixed_dictionaries({}, optional={"jsonrpc": _IDS, "id": _IDS, "method": _IDS, "params": _PARAMS})

DOCUMENTS: Final[st.SearchStrategy[bytes]] = (_CALLS | st.lists(_CALLS, max_size=4)).map(
    lambda calls: json.dumps(calls).encode()
)


def check(data: bytes) -> None:
    """Call the methods with a body."""
    answer = GATEWAY.call(lambda served: served.methods.call(data))
    parsed = GATEWAY.call(lambda served: served.methods.read(data))
    calls = parsed.calls if isinstance(parsed, jsonrpc.Batch) else [parsed]
    expected = [call.id for call in calls if call.id is not None]
    if answer is None:
        assert not expected, "a request was not answered"
        return
    text = json_text(answer)
    answers = elements(text) if isinstance(parsed, jsonrpc.Batch) else [text]
    assert [members(each)["id"] for each in answers] == expected, "an answer has another id than its request"
    for each in answers:
        parts = members(each)
        assert parts.keys() in ({"jsonrpc", "id", "result"}, {"jsonrpc", "id", "error"})
        if "error" in parts:
            assert json.loads(parts["error"])["code"] != Internal.code, "a body is taken for a defect"
            assert len(parts["error"]) <= 64 << 10, "an error is far longer than what it is about"
