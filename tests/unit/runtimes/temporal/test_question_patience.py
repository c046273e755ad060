"""Questions wait for those who may answer them, and not for long if nobody is there."""

import asyncio
from contextlib import AbstractAsyncContextManager, nullcontext
from typing import Any, cast

import pytest
from google.protobuf.timestamp_pb2 import Timestamp
from temporalio.api.taskqueue.v1 import PollerInfo
from temporalio.api.workflowservice.v1 import DescribeTaskQueueResponse

from gateway.runtimes.temporal import question_patience
from gateway.runtimes.temporal.address import TemporalAddress
from gateway.runtimes.temporal.connection import TemporalConnection
from gateway.runtimes.temporal.question_patience import QuestionPatience


class KnownPollers:
    """A connection to an engine that somebody has asked for work at the times `asked`."""

    def __init__(self, *asked: int) -> None:
        self.asked = list(asked)
        self.looked = asyncio.Event()
        self.is_busy = False
        self.address = TemporalAddress("engine:1", "default")
        self.client = self.workflow_service = self

    def engine_call(self, method: str) -> AbstractAsyncContextManager[Any]:
        assert method == "DescribeTaskQueue"
        return nullcontext(self)

    async def describe_task_queue(self, *_: Any, **__: Any) -> DescribeTaskQueueResponse:
        self.looked.set()
        if self.is_busy:
            self.asked.append(self.asked[-1] + 1)
        pollers = [PollerInfo(last_access_time=Timestamp(seconds=at)) for at in self.asked]
        return DescribeTaskQueueResponse(pollers=pollers)

    async def comes(self, patience: QuestionPatience) -> None:
        """Somebody comes, and answers a question when it has been looked who is there."""
        question = Question()
        self.asked.append(100)
        self.looked.clear()
        waiting = asyncio.create_task(patience.answer(question()))
        await self.looked.wait()
        question.answered.set()
        assert await waiting == "answer"

    def patience(self) -> QuestionPatience:
        return QuestionPatience(cast("TemporalConnection", self))


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(question_patience, "SOON_SECONDS", 0.02)
    monkeypatch.setattr(question_patience, "SILENT_SECONDS", 0.01)
    monkeypatch.setattr(question_patience, "LOOK_SECONDS", 0.0)


class Question:
    """A question, which is answered when the test says so."""

    def __init__(self) -> None:
        self.answered = asyncio.Event()
        self.given_up = False

    async def __call__(self) -> str:
        try:
            await self.answered.wait()
        except asyncio.CancelledError:
            self.given_up = True
            raise
        return "answer"


async def test_a_question_that_is_answered_at_once_looks_for_nobody() -> None:
    pollers, question = KnownPollers(), Question()
    question.answered.set()
    assert await pollers.patience().answer(question()) == "answer"
    assert not pollers.looked.is_set()


async def test_nobody_is_waited_for_if_nobody_is_there() -> None:
    pollers, question = KnownPollers(), Question()
    patience = pollers.patience()
    for _ in range(2):
        with pytest.raises(TimeoutError):
            await patience.answer(question())
    assert question.given_up
    await pollers.comes(patience)


async def test_one_who_is_gone_is_waited_for_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(question_patience, "ANSWER_SECONDS", 0.04)
    pollers, question = KnownPollers(5, 9), Question()
    patience = pollers.patience()
    with pytest.raises(TimeoutError):
        await patience.answer(question())
    monkeypatch.setattr(question_patience, "ANSWER_SECONDS", 1_000.0)
    with pytest.raises(TimeoutError):
        await patience.answer(question())
    await pollers.comes(patience)


async def test_one_who_is_busy_goes_on_being_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(question_patience, "ANSWER_SECONDS", 0.04)
    pollers = KnownPollers(5)
    pollers.is_busy = True
    patience = pollers.patience()
    with pytest.raises(TimeoutError):
        await patience.answer(Question()())
    assert not await patience.is_silent()


async def test_what_a_question_fails_with_is_told() -> None:
    async def broken() -> None:
        raise KeyError("broken")

    with pytest.raises(KeyError, match="broken"):
        await KnownPollers().patience().answer(broken())
