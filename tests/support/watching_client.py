"""Clients of WatchRuns that know less than the contract wants, for the conformance kit. A defect makes each of them.

Of runs: `one-run`, `no-token`, `ok-is-the-end`, `no-retry`, `keeps-all`, `beats-count`, `ended-is-the-end`, `insists`.
Of sets: `no-left`, `hasty`, `no-token`, `ok-is-the-end`, `deadline-is-final`, `keeps-all`.
"""

import json
from collections.abc import Iterator, Sequence

import grpc

from runs.v1 import runs_pb2, runs_pb2_grpc

ENDED = (runs_pb2.RUN_STATE_SUCCESS, runs_pb2.RUN_STATE_FAILED, runs_pb2.RUN_STATE_CANCELLED)


def name(state: "runs_pb2.RunState.ValueType") -> str:
    return runs_pb2.RunState.Name(state).removeprefix("RUN_STATE_").lower()


class FollowedRun:
    """What is known of one of the runs."""

    def __init__(self, run_id: str) -> None:
        self.run_id = run_id
        self.token = b""
        self.state = runs_pb2.RUN_STATE_PENDING
        self.results: list[runs_pb2.ItemResult] = []
        self.missing = 0
        self.left = False

    def take(self, message: runs_pb2.WatchRunsResponse, defect: str) -> None:
        update = message.update
        if message.HasField("error"):
            self.missing += 1
        elif message.HasField("ended"):
            self.left = self.state in ENDED or defect == "ended-is-the-end"
        else:
            if update.restarted and defect != "keeps-all":
                self.results.clear()
            if update.heartbeat and defect == "beats-count":
                self.results.extend(self.results[-1:])
            self.token = b"" if defect == "no-token" else update.resume_token
            self.state = update.run.status
            self.results.extend(update.run.results)

    def known(self, defect: str) -> bool:
        """Whether it need not be asked for again."""
        return self.left or self.missing >= (2 if defect == "insists" else 1)

    def shown(self) -> str:
        if self.missing:
            return '{"error":"NOT_FOUND"}'
        return f'{{"status":"{name(self.state)}","results":[{",".join(map(shown, self.results))}]}}'


def shown(result: runs_pb2.ItemResult) -> str:
    head = f'"itemIndex":{result.item_index},"status":"{name(result.status)}"'
    if result.HasField("error"):
        error = {"code": result.error.code, "message": result.error.message}
        return f'{{{head},"error":{json.dumps(error)}}}'
    return f'{{{head},"value":{result.value.json}}}'


def watch_badly(defect: str, address: str, run_ids: Sequence[str]) -> str:
    runs = {run_id: FollowedRun(run_id) for run_id in run_ids}
    first = runs[run_ids[0]]
    with grpc.insecure_channel(address) as channel:
        while asked := [run for run in runs.values() if not run.known(defect)]:
            try:
                for message in messages(channel, [add(run) for run in asked]):
                    run = runs[message.run_id]
                    run.take(message, defect)
                    if defect == "one-run" and run is not first:
                        first.results.extend(run.results)
                        run.results.clear()
                    # A stream whose run is to be added anew is begun anew.
                    if message.HasField("ended") and not run.known(defect):
                        break
                if defect == "ok-is-the-end":
                    break
            except grpc.RpcError:
                if defect == "no-retry":
                    break
    return f"{{{','.join(f'{json.dumps(run_id)}:{run.shown()}' for run_id, run in runs.items())}}}"


def add(run: FollowedRun) -> runs_pb2.WatchRunsRequest:
    asked = runs_pb2.GetRunRequest(run_id=run.run_id, wait=True, include_results=True, resume_token=run.token)
    return runs_pb2.WatchRunsRequest(add=asked)


def messages(
    channel: grpc.Channel, requests: Sequence[runs_pb2.WatchRunsRequest]
) -> Iterator[runs_pb2.WatchRunsResponse]:
    yield from runs_pb2_grpc.RunsServiceStub(channel).WatchRuns(iter(requests))


def follow_set_badly(defect: str, address: str, last: str) -> str:
    states: dict[str, runs_pb2.RunState.ValueType] = {}
    token = b""
    with grpc.insecure_channel(address) as channel:
        while True:
            watch = runs_pb2.WatchSet(name="all", resume_token=token)
            complete = defect == "hasty"
            try:
                for message in messages(channel, [runs_pb2.WatchRunsRequest(add_set=watch)]):
                    event = message.caught_up if message.HasField("caught_up") else message.update
                    complete |= message.HasField("caught_up")
                    token = b"" if defect == "no-token" else event.resume_token
                    if event.restarted and defect != "keeps-all":
                        states.clear()
                    if message.set_event == runs_pb2.SET_EVENT_LEFT and defect != "no-left":
                        states.pop(message.run_id, None)
                    elif message.HasField("update") and message.update.HasField("run"):
                        states[message.run_id] = message.update.run.status
                    if complete and states.get(last) in ENDED:
                        return json.dumps({run_id: name(state) for run_id, state in states.items()})
                if defect == "ok-is-the-end":
                    return json.dumps({run_id: name(state) for run_id, state in states.items()})
            except grpc.RpcError as error:
                if defect == "deadline-is-final" and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
                    return json.dumps({"error": error.code().name})
