"""What a broken server may do to GetRun, one defect each."""

from collections.abc import AsyncIterator

import grpc
from grpc import aio

from runs.v1 import runs_pb2
from tests.support.mutating_proxy import Answers, Message, Mutation

TERMINAL = {runs_pb2.RUN_STATE_SUCCESS, runs_pb2.RUN_STATE_FAILED, runs_pb2.RUN_STATE_CANCELLED}


class DropsAMessage(Mutation):
    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for number, message in numbered(messages):
            if number != 1:
                yield message


class DropsAResult(Mutation):
    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for message in messages:
            if len(message.run.results) > 1:
                del message.run.results[0]
            yield message


class DoublesAMessage(Mutation):
    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for number, message in numbered(messages):
            yield message
            if number == 1:
                yield message


class DoublesAResult(Mutation):
    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for message in messages:
            if message.run.results:
                message.run.results.add().CopyFrom(message.run.results[-1])
            yield message


class ReordersMessages(Mutation):
    """The first two come in the other order."""

    async def answers(self, request: Message, messages: Answers) -> Answers:
        held = await anext(messages, None)
        if held is not None:
            if (second := await anext(messages, None)) is not None:
                yield second
            yield held
        async for message in messages:
            yield message


class ReordersResults(Mutation):
    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for message in messages:
            reverse_results(message)
            yield message


class OrdersAnew(Mutation):
    """Results of streams that do not wait come in another order."""

    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for message in messages:
            if not request.wait:
                reverse_results(message)
            yield message


class MovesTimes(Mutation):
    """The first result of each message has finished a minute later."""

    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for message in messages:
            for result in message.run.results[:1]:
                result.completed_at.seconds += 60
            yield message


class ChangesAValue(Mutation):
    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for message in messages:
            for result in message.run.results[:1]:
                result.value.json = result.value.json.replace(":", ":1", 1)
            yield message


class EndsACutStreamWithOk(Mutation):
    """After two messages, the stream ends as if that was all."""

    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for number, message in numbered(messages):
            yield message
            if number == 1:
                return


class NeverEnds(Mutation):
    """The last message comes again and again."""

    async def answers(self, request: Message, messages: Answers) -> Answers:
        message = None
        async for message in messages:
            yield message
        while message is not None:
            yield message


class CutsStreams(Mutation):
    """After two messages, the call is lost."""

    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for number, message in numbered(messages):
            yield message
            if number == 1:
                raise lost()


class EndsBeforeTheEnd(Mutation):
    """The terminal state is never shown."""

    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for message in messages:
            if message.run.status in TERMINAL and request.wait:
                message.run.status = runs_pb2.RUN_STATE_RUNNING
            yield message


class EndsWithoutAReason(EndsBeforeTheEnd):
    """Neither the terminal state is shown, nor an error."""

    def failed(self, error: aio.AioRpcError) -> grpc.StatusCode:
        return grpc.StatusCode.OK


class LosesTokens(Mutation):
    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for message in messages:
            message.resume_token = b""
            yield message


class LongTokens(Mutation):
    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for message in messages:
            message.resume_token += b"-" * 64
            yield message


class TokensOfTheMessageBefore(Mutation):
    async def answers(self, request: Message, messages: Answers) -> Answers:
        before = request.resume_token
        async for message in messages:
            before, message.resume_token = message.resume_token, before
            yield message


class TokensOfTheMessageAfter(Mutation):
    async def answers(self, request: Message, messages: Answers) -> Answers:
        held = None
        async for message in messages:
            if held is not None:
                held.resume_token = message.resume_token
                yield held
            held = message
        if held is not None:
            yield held


class IgnoresTokens(Mutation):
    def request(self, message: Message) -> Message:
        message.resume_token = b""
        return message


class ForgetsTokens(Mutation):
    """Tokens are never understood."""

    def request(self, message: Message) -> Message:
        message.resume_token = message.resume_token and b"never understood"
        return message


class HidesRestarts(Mutation):
    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for message in messages:
            message.restarted = False
            yield message


class AlwaysRestarts(Mutation):
    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for number, message in numbered(messages):
            message.restarted = number == 0
            yield message


class RestartsInEachMessage(Mutation):
    async def answers(self, request: Message, messages: Answers) -> Answers:
        restarted = False
        async for message in messages:
            restarted = message.restarted = restarted or message.restarted
            yield message


class RepeatsRevisions(Mutation):
    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for message in messages:
            message.revision = 1
            yield message


class RevisionsOfMessages(Mutation):
    """Each message has a revision of its own, also where nothing has changed."""

    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for number, message in numbered(messages):
            message.revision += number
            yield message


class RevisionsShrink(Mutation):
    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for message in messages:
            message.revision = 1_000_000 - message.revision
            yield message


class ShowsAnOlderState(Mutation):
    """After each state comes the first one again."""

    async def answers(self, request: Message, messages: Answers) -> Answers:
        first = None
        async for message in messages:
            if first is not None and message.run.items.success > first.run.items.success:
                yield message
                older = without_results(message)
                older.run.items.CopyFrom(first.run.items)
                yield older
            else:
                first = first or without_results(message)
                yield message


class CountsAreWrong(Mutation):
    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for message in messages:
            message.run.items.pending += 1
            yield message


class PrefixIsWrong(Mutation):
    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for message in messages:
            message.finished_prefix = 0
            yield message


class ResultCountIsWrong(Mutation):
    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for message in messages:
            message.result_count = len(message.run.results)
            yield message


class HeartbeatsLookLikeNews(Mutation):
    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for message in messages:
            message.heartbeat = False
            yield message


class HeartbeatsBringResults(Mutation):
    async def answers(self, request: Message, messages: Answers) -> Answers:
        results: list[runs_pb2.ItemResult] = []
        async for message in messages:
            if message.heartbeat:
                message.run.results.extend(results)
            results = results or list(message.run.results)
            yield message


class SendsNoHeartbeats(Mutation):
    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for message in messages:
            if not message.heartbeat:
                yield message


class HoldsTheFirstMessageBack(Mutation):
    async def answers(self, request: Message, messages: Answers) -> Answers:
        held = await anext(messages, None)
        async for message in messages:
            if held is not None:
                yield held
            held = message
        if held is not None:
            yield held


class IgnoresTimeouts(Mutation):
    def request(self, message: Message) -> Message:
        message.ClearField("timeout")
        return message


class IgnoresDeadlines(Mutation):
    keeps_deadline = False


class IgnoresWait(Mutation):
    def request(self, message: Message) -> Message:
        message.wait = False
        return message


class AlwaysWaits(Mutation):
    def request(self, message: Message) -> Message:
        message.wait = True
        return message


class IgnoresTheOrder(Mutation):
    def request(self, message: Message) -> Message:
        message.result_order = runs_pb2.RESULT_ORDER_BY_INDEX
        return message


class AlwaysByCompletion(Mutation):
    def request(self, message: Message) -> Message:
        message.result_order = runs_pb2.RESULT_ORDER_BY_COMPLETION
        return message


class SendsResultsUnasked(Mutation):
    def request(self, message: Message) -> Message:
        message.include_results = True
        return message


class SendsOneHugeMessage(Mutation):
    async def answers(self, request: Message, messages: Answers) -> Answers:
        whole = None
        async for message in messages:
            results = [] if whole is None else list(whole.run.results)
            results.extend(message.run.results)
            whole = message
            del whole.run.results[:]
            whole.run.results.extend(results)
        if whole is not None:
            yield whole


class ErrorsBecomeOk(Mutation):
    def failed(self, error: aio.AioRpcError) -> grpc.StatusCode:
        return grpc.StatusCode.OK


class ErrorsBecomeUnknown(Mutation):
    def failed(self, error: aio.AioRpcError) -> grpc.StatusCode:
        return grpc.StatusCode.UNKNOWN


class LosesLaterResults(Mutation):
    """Only the first message has results, as if they belonged to states that may be skipped."""

    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for number, message in numbered(messages):
            if number > 0:
                del message.run.results[:]
            yield message


async def numbered(messages: Answers) -> AsyncIterator[tuple[int, Message]]:
    number = 0
    async for message in messages:
        yield number, message
        number += 1


def reverse_results(message: Message) -> None:
    results = list(message.run.results)[::-1]
    del message.run.results[:]
    message.run.results.extend(results)


def without_results(message: Message) -> Message:
    bare = runs_pb2.GetRunResponse()
    bare.CopyFrom(message)
    del bare.run.results[:]
    return bare


def lost() -> aio.AioRpcError:
    return aio.AioRpcError(grpc.StatusCode.UNAVAILABLE, aio.Metadata(), aio.Metadata(), "cut")
