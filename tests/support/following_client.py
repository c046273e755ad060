"""A client for the conformance kit: follows runs with the client of this project, and prints what came of them.

With a defect as the first argument, it is one that knows less: `no-token`, `ok-is-the-end`, `keeps-all`, `no-retry`,
`deadline-is-final`, `rounds`, `no-errors`, `doubles` or `insists`; those of WatchRuns are in `watching_client`.
"""

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import closing
from typing import Any

import grpc

from gateway.client import CaughtUp, ItemResult, RunsClient, RunSet, RunStatus, RunUpdate
from gateway.client.streams import Fold
from gateway.core.errors import GatewayError
from runs.v1 import runs_pb2, runs_pb2_grpc
from tests.support.watching_client import follow_set_badly, watch_badly

STATES = {runs_pb2.RUN_STATE_SUCCESS: "success", runs_pb2.RUN_STATE_FAILED: "failed"}


def main() -> None:
    defect, mode, address, *run_ids = sys.argv[1:] if sys.argv[1] not in MODES else ["", *sys.argv[1:]]
    try:
        printed = MODES[mode](defect, address, run_ids)
    except GatewayError as error:
        printed = error_text(error)
    sys.stdout.write(f"{printed}\n")


def follow_one(defect: str, address: str, run_ids: Sequence[str]) -> str:
    return follow_badly(defect, address, run_ids[0]) if defect else follow(address, run_ids[0])


def watch(defect: str, address: str, run_ids: Sequence[str]) -> str:
    if defect:
        return watch_badly(defect, address, run_ids)
    folds = {run_id: Fold() for run_id in run_ids}
    errors: dict[str, str] = {}
    with RunsClient(address) as client, closing(client.watch_many(run_ids, include_results=True)) as events:
        for run_id, event in events:
            if isinstance(event, GatewayError):
                errors[run_id] = error_text(event)
            elif isinstance(event, RunUpdate):
                folds[run_id].add(event)
    return members({run_id: errors.get(run_id) or text_of(fold.status()) for run_id, fold in folds.items()})


def follow_set(defect: str, address: str, run_ids: Sequence[str]) -> str:
    if defect:
        return follow_set_badly(defect, address, run_ids[0])
    picture, complete = RunSet(), False
    with RunsClient(address) as client, closing(client.watch_set()) as events:
        for event in events:
            picture.add(event)
            complete = isinstance(event, CaughtUp) or (complete and not event.reconnected)
            last = picture.runs.get(run_ids[0])
            if complete and last is not None and last.status.terminal:
                break
    return json.dumps({run_id: run.status.value for run_id, run in picture.runs.items()})


def follow(address: str, run_id: str) -> str:
    with RunsClient(address) as client:
        run = client.wait(run_id, include_results=True)
    return text_of(run)


def text_of(run: RunStatus) -> str:
    return answer(run.status.value, [shown(result) for result in run.results or []])


def error_text(error: GatewayError) -> str:
    return json.dumps({"error": error.grpc_status})


def members(texts: Mapping[str, str]) -> str:
    return f"{{{','.join(f'{json.dumps(name)}:{text}' for name, text in texts.items())}}}"


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
                late = error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
                if missing and defect == "insists":
                    defect = ""
                elif missing or defect == "no-retry" or (late and defect == "deadline-is-final"):
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


MODES = {"follow": follow_one, "watch": watch, "set": follow_set}

if __name__ == "__main__":
    main()
