"""What GetRun promises of payloads: numbers keep all their digits, and the errors of items are whole."""

import json
from decimal import Decimal, InvalidOperation
from typing import Final

from gateway.conformance import flows
from gateway.conformance.promise import PROTO, NotTried, Promises, hold, same
from gateway.conformance.reading import get, read
from gateway.conformance.scene import KitRun, Scene
from runs.v1 import runs_pb2

PROMISES = Promises("get", f"{PROTO}: JsonValue.json")

NUMBERS: Final = ("1152921504606846977", "0.1234567890123456789", "1e400")
"""Numbers that no double holds: 2^60+1, a decimal of many digits, and one beyond the range."""

_UNDEFINED: Final = -32200
_LIMIT_REACHED: Final = -32104


@PROMISES.promise("Integers of any size stay what they are.")
async def long_integers_stay_exact(scene: Scene) -> None:
    await _stays_exact(scene, NUMBERS[0])


@PROMISES.promise("Decimals keep all their digits.")
async def long_decimals_stay_exact(scene: Scene) -> None:
    await _stays_exact(scene, NUMBERS[1])


@PROMISES.promise("Numbers beyond the range of doubles stay what they are, where the target takes them.")
async def huge_numbers_stay_exact(scene: Scene) -> None:
    await _stays_exact(scene, NUMBERS[2])


@PROMISES.promise("An item that fails has an error with its code and a message.", f"{PROTO}: ItemError, docs/errors.md")
async def errors_have_their_code(scene: Scene) -> None:
    for error in await _errors(scene, await run_without_a_value(scene)):
        same(error.code, _UNDEFINED, "the code of an expression that refers to something that does not exist")
        hold(error.message, "the error has no message")


@PROMISES.promise("An item that fails has an error with its data.", f"{PROTO}: ItemError, docs/flow-language.md")
async def errors_have_their_data(scene: Scene) -> None:
    for error in await _errors(scene, await run_at_a_limit(scene)):
        if error.code != _LIMIT_REACHED:
            raise NotTried(f"the target has no error with data that the kit knows: its code is {error.code}")
        hold(error.HasField("data"), "the error of a loop that has reached its limit has no data")
        same(json.loads(error.data.json), {"path": ["loop"]}, "the data: the place of the loop")


async def run_without_a_value(scene: Scene) -> KitRun:
    """A run whose item has failed by an expression."""
    return await scene.failed_run("missing", flows.missing_flow())


async def run_at_a_limit(scene: Scene) -> KitRun:
    """A run whose item has failed since it has reached a limit."""
    return await scene.failed_run("endless", flows.endless_flow())


async def _stays_exact(scene: Scene, number: str) -> None:
    for result in await _results(scene, await scene.number_run(number)):
        text = result.value.json
        hold(_read(text) == Decimal(number), f"the result of the input {number}: got {text[:100] or 'no text'}")


async def _errors(scene: Scene, run: KitRun) -> list[runs_pb2.ItemError]:
    results = await _results(scene, run)
    for result in results:
        same(result.status, runs_pb2.RUN_STATE_FAILED, "the state of an item that has failed")
        hold(result.HasField("error"), "an item that has failed has no error")
    return [result.error for result in results]


async def _results(scene: Scene, run: KitRun) -> list[runs_pb2.ItemResult]:
    """The result of a run with one item, by a stream that waits, and by one that does not."""
    found = []
    for wait in (True, False):
        messages = (await read(scene.target, get(run.run_id, wait=wait))).ended_in_order().messages
        results = [result for message in messages for result in message.run.results]
        same(len(results), run.items, "the number of results")
        found += results
    return found


def _read(text: str) -> Decimal | None:
    try:
        return Decimal(text.strip())
    except InvalidOperation:
        return None
