"""The workflow of this release goes on with the runs that other releases have begun: it asks for the same again.

Each history is replayed. The engine's SDK compares which commands come out. Beside that, what activities are given,
what the workflow begins anew with and what it results in is compared here.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Any, Final, NoReturn

import msgspec
import pytest
from temporalio.client import WorkflowHistory
from temporalio.worker import (
    ContinueAsNewInput,
    ExecuteWorkflowInput,
    Interceptor,
    Replayer,
    StartActivityInput,
    UnsandboxedWorkflowRunner,
    WorkflowInboundInterceptor,
    WorkflowInterceptorClassInput,
    WorkflowOutboundInterceptor,
)
from temporalio.workflow import ActivityHandle, NondeterminismError

from gateway.runtimes.temporal import messages, run_progress, workflow
from gateway.runtimes.temporal.converter import DATA_CONVERTER
from gateway.runtimes.temporal.messages import ItemChunk, NestedToCancel, PartsToKeep, RunResult, StartRun
from gateway.runtimes.temporal.workflow import RunWorkflow
from tests.support import temporal_histories

NAMES: Final = temporal_histories.names()

INPUTS: Final[dict[str, Any]] = {
    messages.EXECUTE_CHUNK: ItemChunk,
    messages.KEEP_PART: PartsToKeep,
    messages.KEEP_INDEX: PartsToKeep,
    messages.CANCEL_NESTED: NestedToCancel,
}
ANEW: Final = "begin anew"
END: Final = "end"

Asked = tuple[str, str, Any]
"""What is asked for, of which queue, and with what."""


class _Noting(Interceptor):
    """Notes what workflows ask for."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []

    def workflow_interceptor_class(self, input: WorkflowInterceptorClassInput) -> type[WorkflowInboundInterceptor]:  # noqa: A002 - the SDK's name
        asked = self.asked

        class Outbound(WorkflowOutboundInterceptor):
            def start_activity(self, input: StartActivityInput) -> ActivityHandle[Any]:  # noqa: A002
                asked.append((input.activity, input.task_queue or messages.TASK_QUEUE, input.args[0]))
                return super().start_activity(input)

            def continue_as_new(self, input: ContinueAsNewInput) -> NoReturn:  # noqa: A002
                asked.append((ANEW, messages.TASK_QUEUE, input.args[0]))
                super().continue_as_new(input)

        class Inbound(WorkflowInboundInterceptor):
            def init(self, outbound: WorkflowOutboundInterceptor) -> None:
                super().init(Outbound(outbound))

            async def execute_workflow(self, input: ExecuteWorkflowInput) -> Any:  # noqa: A002
                result = await super().execute_workflow(input)
                asked.append((END, messages.TASK_QUEUE, result))
                return result

        return Inbound


async def _replayed(history: WorkflowHistory) -> Sequence[Asked]:
    """What this release asks for. Raises NondeterminismError if it does not go with the history."""
    noting = _Noting()
    replayer = Replayer(
        workflows=[RunWorkflow],
        workflow_runner=UnsandboxedWorkflowRunner(),
        data_converter=DATA_CONVERTER,
        interceptors=[noting],
        debug_mode=True,  # Else what takes 2 s on a busy machine counts as a deadlock.
    )
    await replayer.replay_workflow(history)
    return noting.asked


def _recorded(history: WorkflowHistory) -> Iterable[Asked]:
    for event in history.events:
        if event.HasField("activity_task_scheduled_event_attributes"):
            wanted = event.activity_task_scheduled_event_attributes
            kind = wanted.activity_type.name
            yield kind, wanted.task_queue.name, _message(wanted.input, INPUTS[kind])
        elif event.HasField("workflow_execution_continued_as_new_event_attributes"):
            anew = event.workflow_execution_continued_as_new_event_attributes
            yield ANEW, anew.task_queue.name, _message(anew.input, StartRun)
        elif event.HasField("workflow_execution_completed_event_attributes"):
            result = event.workflow_execution_completed_event_attributes.result
            yield END, messages.TASK_QUEUE, _message(result, RunResult)


def _message(payloads: Any, kind: Any) -> Any:
    return msgspec.json.decode(payloads.payloads[0].data, type=kind)


@pytest.mark.parametrize("name", NAMES)
async def test_the_same_is_asked_for(name: str) -> None:
    history = temporal_histories.read(name)
    assert await _replayed(history) == list(_recorded(history))


def test_histories_have_all_that_a_workflow_asks_for() -> None:
    kinds = {kind for name in NAMES for kind, _, _ in _recorded(temporal_histories.read(name))}
    assert kinds == {*INPUTS, ANEW, END}


@pytest.mark.parametrize(
    ("name", "module", "constant", "value"),
    [
        ("0.1.0/one_item.json", workflow, "EXECUTE_CHUNK", "runs.v1.Other"),
        ("0.1.0/several_chunks.json", run_progress, "CHUNK_ITEMS", 1),
        ("0.1.0/results_put_together.json.gz", run_progress, "KEEP_SIZE", 1 << 20),
        ("0.1.0/begun_anew_1.json.gz", workflow, "MAX_EVENTS", 1 << 20),
    ],
)
async def test_other_commands_are_found(
    monkeypatch: pytest.MonkeyPatch, name: str, module: Any, constant: str, value: Any
) -> None:
    monkeypatch.setattr(module, constant, value)
    with pytest.raises(NondeterminismError):
        await _replayed(temporal_histories.read(name))


async def test_other_inputs_of_activities_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """The SDK does not compare them."""
    monkeypatch.setattr(workflow, "MAX_INLINE", 1)
    history = temporal_histories.read("0.1.0/one_item.json")
    assert await _replayed(history) != list(_recorded(history))


@pytest.mark.parametrize("name", NAMES)
def test_histories_tell_nothing_of_the_machine(name: str) -> None:
    """No process is named, and no folder, neither by the engine nor in what gateways have written."""
    text = "".join(str(event) for event in temporal_histories.read(name).events)
    assert set(re.findall(r'identity: "([^"]*)"', text)) == {"gateway"}
    assert re.search(r"\d+@[\w-]|/(?:tmp|home|root|work|usr|var)/|\.py\b", text) is None
