"""Gives each call of a client a time in which it has to be answered, so that a silent server keeps nobody."""

from datetime import timedelta
from typing import Any, Final, Protocol, TypeVar

from temporalio.client import (
    CancelWorkflowInput,
    CountWorkflowsInput,
    DescribeWorkflowInput,
    Interceptor,
    ListWorkflowsInput,
    OutboundInterceptor,
    SignalWorkflowInput,
    StartWorkflowInput,
    TerminateWorkflowInput,
    WorkflowExecutionAsyncIterator,
    WorkflowExecutionCount,
    WorkflowExecutionDescription,
    WorkflowHandle,
)

CALL_TIMEOUT: Final = timedelta(seconds=5)
"""How long each attempt of a call may take that says nothing else by `rpc_timeout`."""


class _TimedInput(Protocol):
    rpc_timeout: timedelta | None


Timed = TypeVar("Timed", bound=_TimedInput)


class TimelyCalls(Interceptor):
    """What clients are made with. Queries and long polls keep the times that they have."""

    def intercept_client(self, next: OutboundInterceptor) -> OutboundInterceptor:  # noqa: A002 - that of the SDK
        return _TimelyOutbound(next)


class _TimelyOutbound(OutboundInterceptor):
    async def start_workflow(self, input: StartWorkflowInput) -> WorkflowHandle[Any, Any]:  # noqa: A002
        return await super().start_workflow(_timely(input))

    async def describe_workflow(self, input: DescribeWorkflowInput) -> WorkflowExecutionDescription:  # noqa: A002
        return await super().describe_workflow(_timely(input))

    async def signal_workflow(self, input: SignalWorkflowInput) -> None:  # noqa: A002
        await super().signal_workflow(_timely(input))

    async def cancel_workflow(self, input: CancelWorkflowInput) -> None:  # noqa: A002
        await super().cancel_workflow(_timely(input))

    async def terminate_workflow(self, input: TerminateWorkflowInput) -> None:  # noqa: A002
        await super().terminate_workflow(_timely(input))

    async def count_workflows(self, input: CountWorkflowsInput) -> WorkflowExecutionCount:  # noqa: A002
        return await super().count_workflows(_timely(input))

    def list_workflows(self, input: ListWorkflowsInput) -> WorkflowExecutionAsyncIterator:  # noqa: A002
        return super().list_workflows(_timely(input))


def _timely(call: Timed) -> Timed:
    if call.rpc_timeout is None:
        call.rpc_timeout = CALL_TIMEOUT
    return call
