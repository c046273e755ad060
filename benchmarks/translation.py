"""The microseconds to translate the inputs of a submit from protobuf to the body of a JSON-RPC request.

Three ways are measured: the text lane (`JsonValue.json`) and the value lane (`JsonValue.value`) by the gateway, and the
value lane by `google.protobuf.json_format`. The messages are parsed already, as gRPC passes them on.
"""

import argparse
import json
import time
from collections.abc import Callable

from google.protobuf import json_format

from benchmarks.control import tell
from benchmarks.sample import FLOW_ID
from gateway.adapter import jsonrpc
from gateway.adapter.params_json import submit_params_to_json
from gateway.adapter.params_proto import submit_params_from_proto
from gateway.server.app import tune_interpreter
from runs.v1 import runs_pb2

SIZES = {"200 B": 1, "20 KB": 100, "1 MB": 5_400}
"""The number of records in an input, by its size."""

BATCH_SECONDS = 0.2
BATCHES = 5


def payload(records: int) -> str:
    """Return an object with so many records of about 190 bytes."""
    record = {
        "id": 4711,
        "title": "summer in the mountains",
        "score": 0.875,
        "published": True,
        "place": None,
        "tags": ["sun", "snow", "lake"],
        "camera": {"maker": "acme", "model": "X-100", "iso": 200, "aperture": 2.8},
    }
    return json.dumps({"records": [record | {"id": number} for number in range(records)]}, separators=(",", ":"))


def by_gateway(message: runs_pb2.SubmitRunRequest) -> str:
    """Translate as the gateway does: check the text, and pass it on."""
    return jsonrpc.request("1", "runs/submit", submit_params_to_json(submit_params_from_proto(message)))


def by_json_format(message: runs_pb2.SubmitRunRequest) -> str:
    """Translate with protobuf's own library."""
    params = {"flowId": message.flow_id, "inputs": [json_format.MessageToDict(value.value) for value in message.inputs]}
    return json.dumps({"jsonrpc": "2.0", "id": 1, "method": "runs/submit", "params": params})


def microseconds(work: Callable[[], object]) -> float:
    """Return the time of one call of `work`, the mean in the fastest of several batches."""
    times = []
    for _ in range(BATCHES):
        count, begun = 0, time.perf_counter()
        while (lasted := time.perf_counter() - begun) < BATCH_SECONDS:
            work()
            count += 1
        times.append(lasted / count)
    return min(times) * 1e6


def main() -> None:
    """Write the times of each way for an input of a size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--size", choices=SIZES, required=True)
    text = payload(SIZES[parser.parse_args().size])
    tune_interpreter()
    as_text = runs_pb2.SubmitRunRequest(flow_id=FLOW_ID)
    as_text.inputs.add().json = text
    as_value = runs_pb2.SubmitRunRequest(flow_id=FLOW_ID)
    json_format.Parse(text, as_value.inputs.add().value)
    tell(
        bytes=len(text),
        text_us=microseconds(lambda: by_gateway(as_text)),
        value_us=microseconds(lambda: by_gateway(as_value)),
        json_format_us=microseconds(lambda: by_json_format(as_value)),
    )


if __name__ == "__main__":
    main()
