"""What GetRun promises of streams that were cut: they go on by the token of the last message."""

import grpc

from gateway.conformance.get_ended import ORDERS
from gateway.conformance.promise import PROTO, Promises, hold, same
from gateway.conformance.reading import finished, fold, get, indexes, is_terminal, last_token, read
from gateway.conformance.scene import ENDING, Scene
from runs.v1 import runs_pb2

PROMISES = Promises("resume", f"{PROTO}: GetRunRequest.resume_token")

_GARBAGE = (b"\0", b"no token of this server", b"x" * 1_000)


@PROMISES.promise("A stream goes on after any of its messages, without repeating or losing a result.")
async def goes_on_after_every_message(scene: Scene) -> None:
    run = await scene.large_run()
    for order in ORDERS:
        uncut = (await read(scene.target, get(run.run_id, result_order=order))).ended_in_order().messages
        for number in range(1, len(uncut) + 1):
            request = get(run.run_id, token=uncut[number - 1].resume_token, result_order=order)
            rest = (await read(scene.target, request)).ended_in_order().messages
            hold(not any(message.restarted for message in rest), f"restarted after message {number}")
            what = f"the items of a stream that was cut after message {number}"
            same(indexes(uncut[:number]) + indexes(rest), indexes(uncut), what)
            hold(fold(uncut[:number] + rest) == fold(uncut), f"the fold after a cut after message {number} differs")


@PROMISES.promise("A stream that is cut after each message comes to the same as one that is not.")
async def can_be_cut_each_time(scene: Scene) -> None:
    run = await scene.large_run()
    uncut = (await read(scene.target, get(run.run_id))).ended_in_order().messages
    received: list[runs_pb2.GetRunResponse] = []
    for _ in range(2 * run.items):
        reading = await read(scene.target, get(run.run_id, token=last_token(received)), most=1)
        received += reading.messages
        if not reading.messages or len(indexes(received)) >= run.items:
            break
    hold(received, "no message came")
    same(indexes(received), indexes(uncut), "the items of a stream that was cut after each message")
    hold(fold(received) == fold(uncut), "the fold of a stream that was cut after each message differs")


@PROMISES.promise("After the last message nothing is left: the terminal state comes without results, then OK.")
async def goes_on_after_the_end(scene: Scene) -> None:
    run = await scene.large_run()
    uncut = (await read(scene.target, get(run.run_id))).ended_in_order().messages
    rest = (await read(scene.target, get(run.run_id, token=last_token(uncut)))).ended_in_order().messages
    same(indexes(rest), [], "the items after the last message")
    hold(is_terminal(rest[-1]), "the last message shows no terminal state")
    same(rest[-1].revision, uncut[-1].revision, "the revision of the terminal state")


@PROMISES.promise("A token that is not understood starts anew, and the first message alone says so by `restarted`.")
async def foreign_tokens_begin_anew(scene: Scene) -> None:
    run, other = await scene.large_run(), await scene.small_run()
    by_completion = get(run.run_id, result_order=runs_pb2.RESULT_ORDER_BY_COMPLETION)
    foreign = [
        last_token((await read(scene.target, request)).ended_in_order().messages)
        for request in (get(other.run_id), by_completion)
    ]
    for token in (*_GARBAGE, *foreign):
        messages = (await read(scene.target, get(run.run_id, token=token))).ended_in_order().messages
        restarted = [message.restarted for message in messages]
        same(restarted, [True] + [False] * (len(messages) - 1), f"`restarted` after the token {token[:32]!r}")
        same(indexes(messages), list(range(run.items)), "the items of a stream that begins anew")


@PROMISES.promise("A stream without a token begins at the beginning, which is no restart.", f"{PROTO}: GetRunResponse")
async def the_beginning_is_no_restart(scene: Scene) -> None:
    run = await scene.large_run()
    messages = (await read(scene.target, get(run.run_id))).ended_in_order().messages
    same(any(message.restarted for message in messages), False, "`restarted` without a token")


@PROMISES.promise("A run that goes on is followed over any number of cuts, without an older state.")
async def open_runs_go_on(scene: Scene) -> None:
    received: list[runs_pb2.GetRunResponse] = []
    by_completion = runs_pb2.RESULT_ORDER_BY_COMPLETION
    async with scene.open_run() as run:
        uncut_request = get(run.run_id, result_order=by_completion)
        # Some engines count an item as finished before they show its result.
        while not received or finished(received[-1]) < len(ENDING):
            request = get(run.run_id, token=last_token(received), result_order=by_completion)
            # The first message of a stream may repeat the state; the second one tells something.
            reading = await read(scene.target, request, most=2, until=lambda message: finished(message) == len(ENDING))
            same(reading.end, None, "the end of a stream of a run that goes on")
            received.extend(reading.messages)
        await scene.cancel(run.run_id)
        request = get(run.run_id, token=last_token(received), result_order=by_completion)
        received += (await read(scene.target, request)).ended_in_order().messages
    uncut = (await read(scene.target, uncut_request)).ended_in_order().messages
    same(indexes(received), indexes(uncut), "the items of a stream that was cut")
    hold(fold(received) == fold(uncut), "the fold of a stream that was cut differs")
    revisions = [message.revision for message in received]
    same(revisions, sorted(revisions), "the revisions of a stream that was cut")


@PROMISES.promise("A deleted run is not found, also with a token.", f"{PROTO}: DeleteRun")
async def deleted_runs_are_gone(scene: Scene) -> None:
    run = await scene.small_run()
    messages = (await read(scene.target, get(run.run_id))).ended_in_order().messages
    await scene.delete(run.run_id)
    for token in (b"", last_token(messages)):
        reading = await read(scene.target, get(run.run_id, token=token))
        same(reading.end, grpc.StatusCode.NOT_FOUND, "how a stream of a deleted run ends")
        same(len(reading.messages), 0, "the number of messages of a deleted run")
