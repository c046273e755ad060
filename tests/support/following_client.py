"""A client for the conformance kit: follows a run with the client of this project, and prints what came of it.

With a defect as the first argument, it is one that knows less: `no-token`, `ok-is-the-end`, `keeps-all`, `no-retry`,
`rounds`, `no-errors`, `doubles` or `insists`.
"""

import json
import sys
from typing import Any

import grpc

from gateway.client import ItemResult, RunsClient
from gateway.core.errors import GatewayError
from runs.v1 import runs_pb2, runs_pb2_grpc

STATES = {runs_pb2.RUN_STATE_SUCCESS: "success", runs_pb2.RUN_STATE_FAILED: "failed"}


def main() -> None:
    *defects, mode, address, run_id = sys.argv[1:]
    if mode != "follow":
        sys.exit(64)
    try:
        printed = follow_badly(defects[0], address, run_id) if defects else follow(address, run_id)
    except GatewayError as error:
        printed = json.dumps({"error": error.grpc_status})
    sys.stdout.write(f"{printed}\n")


def follow(address: str, run_id: str) -> str:
    with RunsClient(address) as client:
        run = client.wait(run_id, include_results=True)
    return answer(run.status.value, [shown(result) for result in run.results or []])


def shown(result: ItemResult) -> str:
    head = f'"itemIndex":{result.item_index},"status":"{result.status.value}"'
    if result.error is not None:
        return f'{{{head},"error":{json.dumps({"code": result.error.code, "message": result.error.message})}}}'
    return f'{{{head},"value":{result.value_json}}}'


def answer(status: str, results: list[str]) -> str:
    return f'{{"status":"{status}","results":[{",".join(results)}]}}'


def follow_badly(defect: str, address: str, run_id: str) -> str:
    results: list[str] = []
    token, status = b"", runs_pb2.RUN_STATE_UNSPECIFIED
    with grpc.insecure_channel(address) as channel:
        runs = runs_pb2_grpc.RunsServiceStub(channel)
        while True:
            request = runs_pb2.GetRunRequest(run_id=run_id, wait=True, include_results=True, resume_token=token)
            try:
                for message in runs.GetRun(request):
                    if message.restarted and defect != "keeps-all":
                        results.clear()
                    token = b"" if defect == "no-token" else message.resume_token
                    status = message.run.status
                    came = [of_message(result, defect) for result in message.run.results]
                    results += came * 2 if defect == "doubles" else came
                if status in STATES or defect == "ok-is-the-end":
                    break
            except grpc.RpcError as error:
                missing = error.code() is grpc.StatusCode.NOT_FOUND
                if missing and defect == "insists":
                    defect = ""
                elif missing or defect == "no-retry":
                    return json.dumps({"error": error.code().name})
                elif status in STATES:
                    break
    return answer(STATES.get(status, "running"), results)


def of_message(result: runs_pb2.ItemResult, defect: str) -> str:
    if result.HasField("error") and defect != "no-errors":
        error: dict[str, Any] = {"code": result.error.code, "message": result.error.message}
        return f'{{"itemIndex":{result.item_index},"status":"failed","error":{json.dumps(error)}}}'
    value = result.value.json or "null"
    if defect == "rounds":
        value = json.dumps(json.loads(value, parse_int=float))
    return f'{{"itemIndex":{result.item_index},"status":"success","value":{value}}}'


if __name__ == "__main__":
    main()
