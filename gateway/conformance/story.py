"""What the kit's own server does to a client under test: the messages of a run, and how each call goes."""

from collections.abc import Sequence
from typing import Final, NamedTuple

import grpc

from runs.v1 import runs_pb2

RUN_ID: Final = "0190f1f8-0000-7000-8000-000000000001"

_TOKEN: Final = b"after %d"


class CallPlan(NamedTuple):
    """How one call goes: so many messages (None: all that are left), and what it ends with.

    `forgets` makes the server take no token; `heartbeats` come before the first message. `leaves_early`
    makes WatchRuns follow a run for one message only, the first time that a call asks for it.
    """

    messages: int | None = None
    end: grpc.StatusCode = grpc.StatusCode.OK
    forgets: bool = False
    heartbeats: int = 0
    leaves_early: bool = False


class Story(NamedTuple):
    """The values of a run, in the parts that messages bring, and how calls go.

    The item whose value is None fails.
    """

    parts: Sequence[Sequence[str | None]]
    plans: Sequence[CallPlan] = (CallPlan(),)
    run_id: str = RUN_ID

    def answer(self) -> str:
        """The JSON that the client has to print."""
        values = [value for part in self.parts for value in part]
        failed = any(value is None for value in values)
        results = ",".join(_result(index, value) for index, value in enumerate(values))
        return f'{{"status":"{"failed" if failed else "success"}","results":[{results}]}}'

    def message(self, number: int) -> runs_pb2.GetRunResponse:
        """The message with this number, from 0. The last one shows the end of the run."""
        before = sum(len(part) for part in self.parts[:number])
        total = sum(len(part) for part in self.parts)
        run = self._status(number, total)
        for index, value in enumerate(self.parts[number], before):
            result = run.results.add(item_index=index)
            if value is None:
                result.status = runs_pb2.RUN_STATE_FAILED
                result.error.CopyFrom(runs_pb2.ItemError(code=-32100, message="failed"))
            else:
                result.status = runs_pb2.RUN_STATE_SUCCESS
                result.value.json = value
        return self._around(run, number + 1)

    def heartbeats(self, request: runs_pb2.GetRunRequest, plan: CallPlan) -> list[runs_pb2.GetRunResponse]:
        """What comes before the first message of an answer."""
        beat = self.state(_known(request.resume_token, plan, len(self.parts)) or 0)
        beat.heartbeat = True
        return [beat] * plan.heartbeats

    def told(self, request: runs_pb2.GetRunRequest, plan: CallPlan) -> list[runs_pb2.GetRunResponse]:
        """The messages of an answer: at least one."""
        known = _known(request.resume_token, plan, len(self.parts))
        first = known or 0
        messages = [self.message(number) for number in range(first, len(self.parts))] or [self.state(first)]
        if request.resume_token and known is None:
            messages[0].restarted = True
        if not request.include_results:
            for message in messages:
                del message.run.results[:]
        return messages

    def state(self, number: int) -> runs_pb2.GetRunResponse:
        """The state after so many messages, without results: what a stream begins with that goes on there."""
        total = sum(len(part) for part in self.parts)
        return self._around(self._status(max(0, number - 1), total), number)

    def _around(self, run: runs_pb2.RunStatus, number: int) -> runs_pb2.GetRunResponse:
        return runs_pb2.GetRunResponse(run=run, revision=max(1, number), resume_token=_TOKEN % number)

    def _status(self, number: int, total: int) -> runs_pb2.RunStatus:
        values = [value for part in self.parts[: number + 1] for value in part]
        failed = values.count(None)
        status = runs_pb2.RunStatus(run_id=self.run_id, flow_id=f"sha256:{'0' * 64}", status=runs_pb2.RUN_STATE_RUNNING)
        succeeded = len(values) - failed
        status.items.CopyFrom(
            runs_pb2.ItemStatistics(total=total, success=succeeded, failed=failed, running=total - len(values))
        )
        status.created_at.FromSeconds(1_700_000_000)
        if number + 1 >= len(self.parts):
            status.status = runs_pb2.RUN_STATE_FAILED if failed else runs_pb2.RUN_STATE_SUCCESS
            status.completed_at.FromSeconds(1_700_000_001)
        return status


def plan_of(plans: Sequence[CallPlan], number: int) -> CallPlan:
    """How the call with this number goes, from 0. The last plan is that of all later calls."""
    return plans[min(number, len(plans) - 1)]


def _known(token: bytes, plan: CallPlan, most: int) -> int | None:
    """How many messages of a run a token is behind; None if it is none of the kit, or is forgotten."""
    return None if plan.forgets else next((number for number in range(most + 1) if token == _TOKEN % number), None)


def _result(index: int, value: str | None) -> str:
    if value is None:
        return f'{{"itemIndex":{index},"status":"failed","error":{{"code":-32100,"message":"failed"}}}}'
    return f'{{"itemIndex":{index},"status":"success","value":{value}}}'
