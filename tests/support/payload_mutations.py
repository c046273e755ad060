"""What a broken server may do to payloads and to the errors of items, one defect each."""

import json
from collections.abc import Iterable

from runs.v1 import runs_pb2
from tests.support.mutating_proxy import Answers, Message, Mutation


class RoundsNumbers(Mutation):
    """Results have been through doubles, as by a parser of JavaScript."""

    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for message in messages:
            round_numbers(message.run.results)
            yield message


class LosesCodes(Mutation):
    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for message in messages:
            for result in message.run.results:
                if result.HasField("error"):
                    result.error.code = 0
            yield message


class LosesData(Mutation):
    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for message in messages:
            lose_data(message.run.results)
            yield message


class RoundsNumbersOfWatches(Mutation):
    method = "WatchRuns"

    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for message in messages:
            round_numbers(message.update.run.results)
            yield message


class LosesDataOfWatches(Mutation):
    method = "WatchRuns"

    async def answers(self, request: Message, messages: Answers) -> Answers:
        async for message in messages:
            lose_data(message.update.run.results)
            yield message


def round_numbers(results: Iterable[runs_pb2.ItemResult]) -> None:
    for result in results:
        if result.value.json:
            result.value.json = json.dumps(json.loads(result.value.json, parse_int=float))


def lose_data(results: Iterable[runs_pb2.ItemResult]) -> None:
    for result in results:
        if result.HasField("error"):
            result.error.ClearField("data")
