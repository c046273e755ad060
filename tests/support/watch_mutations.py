"""What a broken server may do to WatchRuns, one defect each."""

import grpc

from runs.v1 import runs_pb2
from tests.support.mutating_proxy import Answers, Message, Mutation
from tests.support.run_mutations import (
    TERMINAL,
    CutsStreams,
    DropsAMessage,
    EndsACutStreamWithOk,
    ReordersMessages,
    lost,
    numbered,
)


class WatchMutation(Mutation):
    method = "WatchRuns"


class LosesTheEnd(WatchMutation):
    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for message in messages:
            if not message.HasField("ended"):
                yield message


class DoublesTheEnd(WatchMutation):
    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for message in messages:
            yield message
            if message.HasField("ended"):
                yield message


class EndsBeforeTheLastUpdate(WatchMutation):
    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for message in messages:
            if message.HasField("update") and message.update.run.status in TERMINAL:
                yield runs_pb2.WatchRunsResponse(run_id=message.run_id, ended=runs_pb2.WatchEnded())
            if not message.HasField("ended"):
                yield message


class NamesOtherRuns(WatchMutation):
    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for message in messages:
            message.run_id = message.run_id and "00000000-0000-4000-8000-000000000000"
            yield message


class DropsUpdates(WatchMutation, DropsAMessage):
    """The second message does not come."""


class DoublesUpdates(WatchMutation):
    """Also of sets."""

    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for message in messages:
            yield message
            if message.HasField("update"):
                yield message


class ReordersUpdates(WatchMutation, ReordersMessages):
    """The first two come in the other order."""


class OneErrorEndsAll(WatchMutation):
    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for message in messages:
            if message.HasField("error"):
                raise lost()
            yield message


class HidesErrors(WatchMutation):
    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for message in messages:
            if message.HasField("error"):
                message.ended.SetInParent()
            yield message


class IgnoresTokensOfRuns(WatchMutation):
    def request(self, message: Message) -> Message:
        if message.HasField("add"):
            message.add.resume_token = b""
        return message


class IgnoresRemoves(WatchMutation):
    """It says that a run is removed, and sends on what it was told of the run."""

    async def answers(self, request: Message, messages: Answers) -> Answers:
        last = None
        async for message in messages:
            yield message
            if message.HasField("ended") and last is not None:
                yield last
            last = message if message.HasField("update") and message.run_id else last


class RefusesRemovesOfTheUnknown(WatchMutation):
    async def answers(self, request: Message, messages: Answers) -> Answers:
        known = set()
        async for message in messages:
            if message.HasField("update"):
                known.add(message.run_id)
            if message.run_id in known or message.set:
                yield message


class RepeatsRevisionsOfRuns(WatchMutation):
    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for message in messages:
            if message.HasField("update"):
                message.update.revision = 1
            yield message


class TakesEmptyRequests(WatchMutation):
    def request(self, message: Message) -> Message | None:
        return message if message.WhichOneof("action") else None


class CutsWatches(WatchMutation, CutsStreams):
    """After two messages, the call is lost."""


class EndsWatchesWithOk(WatchMutation, EndsACutStreamWithOk):
    """After two messages, the stream ends as if that was all."""


class DropsAMember(WatchMutation):
    """The first run of a set is not told."""

    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for number, message in numbered(messages):
            if number != 0 or not message.HasField("update"):
                yield message


class CatchesUpTooEarly(WatchMutation):
    async def answers(self, request: Message, messages: Answers) -> Answers:
        before: list[Message] = []
        async for message in messages:
            if message.HasField("caught_up"):
                yield message
                for earlier in before:
                    yield earlier
                before = []
            else:
                before.append(message)


class ChangesInPlaceOfAdds(WatchMutation):
    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for message in messages:
            if message.set_event == runs_pb2.SET_EVENT_ADDED:
                message.set_event = runs_pb2.SET_EVENT_CHANGED
            yield message


class RunsNeverLeave(WatchMutation):
    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for message in messages:
            if message.set_event == runs_pb2.SET_EVENT_LEFT:
                message.set_event = runs_pb2.SET_EVENT_CHANGED
            yield message


class ForgetsEndsOfMembers(WatchMutation):
    """A run of a set is told to go on when it has ended."""

    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for message in messages:
            if message.set and message.update.run.status == runs_pb2.RUN_STATE_CANCELLED:
                message.update.run.status = runs_pb2.RUN_STATE_FAILED
            yield message


class TellsAllInPlaceOfNew(WatchMutation):
    def request(self, message: Message) -> Message:
        if message.HasField("add_set"):
            message.add_set.only_new = False
        return message


class LosesResultsOfSets(WatchMutation):
    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for message in messages:
            if message.set and message.HasField("update"):
                del message.update.run.results[:]
            yield message


class DoublesResultsOfSets(WatchMutation):
    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for message in messages:
            if message.set and message.update.run.results:
                message.update.run.results.extend(list(message.update.run.results))
            yield message


class NamesOtherSets(WatchMutation):
    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for message in messages:
            message.set = message.set and "another"
            yield message


class GoesOnWithRemovedSets(WatchMutation):
    """A remove ends nothing; it is only answered."""

    def __init__(self) -> None:
        self.removed: list[str] = []

    def request(self, message: Message) -> Message | None:
        if message.HasField("remove_set"):
            self.removed.append(message.remove_set)
            return runs_pb2.WatchRunsRequest(remove="no-such-run")
        return message

    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for message in messages:
            if message.HasField("ended") and message.run_id == "no-such-run":
                yield runs_pb2.WatchRunsResponse(set=self.removed[-1], ended=runs_pb2.WatchEnded())
            else:
                yield message


class EndsForSetsWithoutName(WatchMutation):
    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for message in messages:
            if message.HasField("error"):
                raise grpc.aio.AioRpcError(
                    grpc.StatusCode.INVALID_ARGUMENT, grpc.aio.Metadata(), grpc.aio.Metadata(), "no name"
                )
            yield message


class LosesTokensOfSets(WatchMutation):
    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for message in messages:
            if message.set and message.HasField("update"):
                message.update.resume_token = b""
            yield message


class IgnoresTokensOfSets(WatchMutation):
    def request(self, message: Message) -> Message:
        if message.HasField("add_set"):
            message.add_set.resume_token = b""
        return message


class TokensAheadInSets(WatchMutation):
    """A message has the token of the one after it."""

    async def answers(self, request: Message, messages: Answers) -> Answers:
        held = None
        async for message in messages:
            if held is not None:
                held.update.resume_token = message.update.resume_token or message.caught_up.resume_token
                yield held
                held = None
            if message.set and message.HasField("update"):
                held = message
            else:
                yield message
        if held is not None:
            yield held


class RestartsSets(WatchMutation):
    """Tokens of sets are never understood."""

    def request(self, message: Message) -> Message:
        if message.HasField("add_set") and message.add_set.resume_token:
            message.add_set.resume_token = b"never understood"
        return message


class HidesRestartsOfSets(WatchMutation):
    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for message in messages:
            if message.HasField("update"):
                message.update.restarted = False
            if message.HasField("caught_up"):
                message.caught_up.restarted = False
            yield message


class ForgetsWhatWasMissed(WatchMutation):
    """After a cut, only what is new is told."""

    def request(self, message: Message) -> Message:
        if message.HasField("add_set") and message.add_set.resume_token:
            message.add_set.resume_token = b""
            message.add_set.only_new = True
        return message
