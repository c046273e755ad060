"""What GetRun promises of runs that have ended: one answer, whichever way it is asked for."""

import json
from typing import Any, Final

from gateway.conformance.promise import PROTO, Promises, hold, same
from gateway.conformance.reading import ReadStream, fold, get, indexes, is_terminal, read
from gateway.conformance.scene import KitRun, Scene
from runs.v1 import runs_pb2

PROMISES = Promises("get", f"{PROTO}: GetRun")

ORDERS = (runs_pb2.RESULT_ORDER_BY_INDEX, runs_pb2.RESULT_ORDER_BY_COMPLETION)

_RECEIVED: Final = 4 << 20
"""What libraries of gRPC receive unless they are told otherwise, in bytes."""

_CLOCKS: Final = 5_000_000_000
"""By how many nanoseconds the times of results may contradict their order."""


async def _whole(scene: Scene, run: KitRun, **fields: Any) -> ReadStream:
    return (await read(scene.target, get(run.run_id, **fields))).ended_in_order()


@PROMISES.promise("Every result comes exactly once, with the value that the item has.")
async def each_result_comes_once(scene: Scene) -> None:
    run = await scene.large_run()
    for wait in (False, True):
        messages = (await _whole(scene, run, wait=wait)).messages
        same(sorted(indexes(messages)), list(range(run.items)), "the items that have results")
        for result in (result for message in messages for result in message.run.results):
            same(result.status, runs_pb2.RUN_STATE_SUCCESS, f"the state of item {result.item_index}")
            value = json.loads(result.value.json)
            same(value["item"], result.item_index, f"the value of item {result.item_index}")


@PROMISES.promise("Folding the stream gives the answer of a stream that does not wait.")
async def folding_gives_the_answer(scene: Scene) -> None:
    run = await scene.large_run()
    for order in ORDERS:
        waited = await _whole(scene, run, result_order=order)
        answer = await _whole(scene, run, result_order=order, wait=False)
        hold(fold(waited.messages) == fold(answer.messages), "what the two streams come to differs")


@PROMISES.promise("With `wait`, OK ends the stream only after the terminal state.")
async def ok_comes_after_the_end(scene: Scene) -> None:
    run = await scene.large_run()
    messages = (await _whole(scene, run)).messages
    hold(is_terminal(messages[-1]), "the last message shows no terminal state")
    same(len(indexes(messages)), run.items, "the number of results before OK")


@PROMISES.promise("By index, results come by the position of the item's input.", f"{PROTO}: ResultOrder")
async def results_come_by_index(scene: Scene) -> None:
    for run in (await scene.large_run(), await scene.mixed_run()):
        messages = (await _whole(scene, run, result_order=runs_pb2.RESULT_ORDER_BY_INDEX)).messages
        same(indexes(messages), list(range(run.items)), "the items by index")


@PROMISES.promise(
    "By completion, results come in the order in which the items finished, which is the same for every stream.",
    f"{PROTO}: ResultOrder",
)
async def results_come_by_completion(scene: Scene) -> None:
    run = await scene.mixed_run()
    orders = []
    for wait in (True, False, True):
        messages = (await _whole(scene, run, wait=wait, result_order=runs_pb2.RESULT_ORDER_BY_COMPLETION)).messages
        orders.append(indexes(messages))
        times = [result.completed_at.ToNanoseconds() for message in messages for result in message.run.results]
        # Where items execute on several machines, each has a clock of its own, and the server learns of ends later.
        behind = max((before - after for number, after in enumerate(times) for before in times[:number]), default=0)
        hold(behind < _CLOCKS, f"a result comes after one that finished {behind / 1e9:g} s later")
    same(sorted(orders[0]), list(range(run.items)), "the items that have results")
    same(orders[1:], orders[:1] * 2, "the order of the results in further streams")


@PROMISES.promise("Every message carries a token, of less than 64 bytes.", f"{PROTO}: GetRunResponse")
async def every_message_has_a_token(scene: Scene) -> None:
    run = await scene.large_run()
    for number, message in enumerate((await _whole(scene, run)).messages, 1):
        hold(message.resume_token, f"message {number} has no token")
        hold(len(message.resume_token) < 64, f"the token of message {number} has {len(message.resume_token)} bytes")


@PROMISES.promise("Messages are those that libraries receive by default: 4 MiB at most, unless more is asked for.")
async def messages_can_be_received(scene: Scene) -> None:
    run = await scene.large_run()
    longest = max(message.ByteSize() for message in (await _whole(scene, run)).messages)
    hold(longest <= _RECEIVED, f"a message has {longest:,} bytes")


@PROMISES.promise(
    "The states of the items add up to `total`; `finished_prefix` and `result_count` tell how many have results.",
    f"{PROTO}: ItemStatistics, GetRunResponse",
)
async def counts_add_up(scene: Scene) -> None:
    run = await scene.large_run()
    for message in (await _whole(scene, run)).messages:
        items = message.run.items
        counted = items.pending + items.running + items.success + items.failed + items.cancelled
        same((items.total, counted), (run.items, run.items), "the number of items, and what the states add up to")
        same(message.finished_prefix, run.items, "finished_prefix of a run whose items have all finished")
        same(message.result_count, run.items, "result_count of a run whose items all have results")


@PROMISES.promise("Messages that share a state share its revision.", f"{PROTO}: GetRunResponse")
async def one_state_has_one_revision(scene: Scene) -> None:
    run = await scene.large_run()
    first, second = (await _whole(scene, run)).messages, (await _whole(scene, run, wait=False)).messages
    revisions = {message.revision for message in (*first, *second)}
    same(len(revisions), 1, "the number of revisions of one terminal state")


@PROMISES.promise("Results come only if they are asked for.", f"{PROTO}: GetRunRequest")
async def no_results_unasked(scene: Scene) -> None:
    run = await scene.large_run()
    messages = (await _whole(scene, run, include_results=False)).messages
    same(indexes(messages), [], "the results of a stream that did not ask for them")
    hold(is_terminal(messages[-1]), "the last message shows no terminal state")
