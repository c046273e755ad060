"""What GetRun promises of runs that go on."""

from itertools import pairwise

import grpc
from google.protobuf.duration_pb2 import Duration

from gateway.conformance.promise import GUARANTEES, PROTO, NotTried, PromiseBroken, Promises, hold, same
from gateway.conformance.reading import (
    finished,
    fold,
    get,
    indexes,
    is_terminal,
    next_message,
    read,
    reading_beside,
    state,
)
from gateway.conformance.scene import ENDING, KitRun, Scene
from runs.v1 import runs_pb2

PROMISES = Promises("open", f"{PROTO}: GetRun")

_BY_COMPLETION = runs_pb2.RESULT_ORDER_BY_COMPLETION
_DEADLINES = (1.0, 2.0, 5.0, 10.0)
"""Seconds. A server that is far away keeps more of a longer deadline for the way of its answer."""

_HEARTBEAT = Duration(nanos=100_000_000)


async def _all_but_the_first(scene: Scene, run: KitRun) -> None:
    """Wait until the items behind the first one have ended. Raises NotTried if they do not."""
    try:
        await read(scene.target, get(run.run_id), until=lambda message: finished(message) == len(ENDING))
    except PromiseBroken:
        raise NotTried("the target does not execute items beside one that takes long") from None


async def _followed_until_cancelled(scene: Scene) -> list[runs_pb2.GetRunResponse]:
    """What is told of an open run, which is cancelled when all items have ended but one."""
    async with (
        scene.open_run() as run,
        reading_beside(scene.target, get(run.run_id, result_order=_BY_COMPLETION)) as following,
    ):
        await read(scene.target, get(run.run_id), until=lambda message: finished(message) == len(ENDING))
        await scene.cancel(run.run_id)
        return (await following).ended_in_order().messages


@PROMISES.promise("The first message comes at once and holds the current state.")
async def the_first_message_comes_at_once(scene: Scene) -> None:
    async with scene.open_run() as run:
        # Nothing changes any more, so that nothing but the start of the stream can bring a message.
        await read(scene.target, get(run.run_id), until=lambda message: finished(message) == len(ENDING))
        reading = await read(scene.target, get(run.run_id), most=1)
        same(len(reading.messages), 1, "the number of messages of a run that does not change")
        same(finished(reading.messages[0]), len(ENDING), "the items that the first message shows as finished")


@PROMISES.promise("Without `wait` the stream ends with the current state.")
async def without_wait_the_state_is_the_answer(scene: Scene) -> None:
    async with scene.open_run() as run:
        messages = (await read(scene.target, get(run.run_id, wait=False))).ended_in_order().messages
        hold(not is_terminal(messages[-1]), "a run that goes on is shown as ended")


@PROMISES.promise("With `wait` changes follow, then the terminal state, then OK; every change has a greater revision.")
async def changes_follow_to_the_end(scene: Scene) -> None:
    messages = await _followed_until_cancelled(scene)
    same(messages[-1].run.status, runs_pb2.RUN_STATE_CANCELLED, "the state of a run that was cancelled")
    for earlier, later in pairwise(messages):
        changed = state(earlier.run) != state(later.run)
        hold(later.revision >= earlier.revision, "a revision goes back")
        # It may grow by what a status does not show, as when a cancel begins.
        hold(later.revision > earlier.revision or not changed, "the state has changed, and the revision has not")
    hold(messages[-1].revision > messages[0].revision, "the end of the run has the revision of its beginning")


@PROMISES.promise("No state is older than one before it: counts of finished items never go back.")
async def states_go_forward(scene: Scene) -> None:
    messages = await _followed_until_cancelled(scene)
    sent = 0
    for earlier, later in pairwise(messages):
        sent += len(earlier.run.results)
        hold(finished(later) >= finished(earlier), "fewer items have finished than before")
        hold(later.result_count >= earlier.result_count, "`result_count` goes back")
        hold(later.finished_prefix >= earlier.finished_prefix, "`finished_prefix` goes back")
        hold(earlier.result_count >= sent, "more results were sent than `result_count` says there are")
        hold(not is_terminal(earlier) or is_terminal(later), "the run goes on after its end")


@PROMISES.promise("By index, a result waits for those before it; when the stream ends early, the rest is sent last.")
async def results_wait_for_those_before(scene: Scene) -> None:
    async with scene.open_run(held_first=True) as run:
        await _all_but_the_first(scene, run)
        following = await read(scene.target, get(run.run_id), most=1)
        same(indexes(following.messages), [], "results that come before that of the first item")
        timed_out = await read(scene.target, get(run.run_id, timeout=Duration(nanos=1_000_000)))
        behind = list(range(1, run.items))
        same(indexes(timed_out.ended_in_order().messages), behind, "the results when the stream ends early")


@PROMISES.promise("By completion, no result waits for that of another item.", f"{PROTO}: ResultOrder")
async def results_by_completion_wait_for_none(scene: Scene) -> None:
    async with scene.open_run(held_first=True) as run:
        await _all_but_the_first(scene, run)
        behind = set(range(1, run.items))
        came: list[int] = []

        def all_came(message: runs_pb2.GetRunResponse) -> bool:
            came.extend(indexes([message]))
            return behind <= set(came)

        await read(scene.target, get(run.run_id, result_order=_BY_COMPLETION), until=all_came)
    same(sorted(came), sorted(behind), "the results that come while the first item goes on")


@PROMISES.promise("When `timeout` has passed, the stream ends with the current state and OK.")
async def a_timeout_ends_in_order(scene: Scene) -> None:
    async with scene.open_run() as run:
        messages = (await read(scene.target, get(run.run_id, timeout=Duration(nanos=200_000_000)))).ended_in_order()
        hold(not is_terminal(messages.messages[-1]), "a run that goes on is shown as ended")


@PROMISES.promise("Shortly before the deadline of the call, the stream ends with the current state and OK.")
async def a_deadline_ends_in_order(scene: Scene) -> None:
    async with scene.open_run() as run:
        for deadline in _DEADLINES:
            # Nothing comes before the end, for which the kit is patient as for any message.
            seconds = min(deadline, scene.target.patience / 2)
            reading = await read(scene.target, get(run.run_id), deadline=seconds)
            # The way there and back, or a busy machine, may bring the end too late: the deadline is that of both sides.
            if reading.end is not grpc.StatusCode.DEADLINE_EXCEEDED:
                break
        hold(not is_terminal(reading.ended_in_order().messages[-1]), "a run that goes on is shown as ended")


@PROMISES.promise(
    "While nothing changes, heartbeats come if asked for: without results, with the revision and token of before.",
    f"{PROTO}: GetRunRequest.heartbeat_interval",
)
async def heartbeats_show_that_it_lives(scene: Scene) -> None:
    async with scene.open_run() as run:
        await read(scene.target, get(run.run_id), until=lambda message: finished(message) == len(ENDING))
        request = get(run.run_id, heartbeat_interval=_HEARTBEAT, result_order=_BY_COMPLETION)
        messages = (await read(scene.target, request, most=3)).messages
        same(len(messages), 3, "the number of messages before the stream ended")
        told, heartbeat, again = messages
        same((heartbeat.heartbeat, again.heartbeat), (True, True), "whether messages without news are heartbeats")
        same(indexes([heartbeat, again]), [], "the results of heartbeats")
        same((told.heartbeat, sorted(indexes([told]))), (False, list(ENDING)), "the results of the first message")
        same((heartbeat.revision, again.revision), (told.revision,) * 2, "the revisions of heartbeats")
        same((heartbeat.resume_token, again.resume_token), (told.resume_token,) * 2, "the tokens of heartbeats")


@PROMISES.promise(
    "A reader that reads slowly skips states in between, never a result and never the terminal state.",
    f"{PROTO}: GetRun; {GUARANTEES}: Following runs",
)
async def slow_readers_miss_no_result(scene: Scene) -> None:
    async with scene.open_run() as run:
        request = get(run.run_id, result_order=_BY_COMPLETION)
        call = scene.target.runs.GetRun(request)
        try:
            messages = [await next_message(scene.target, call, 0)]
            hold(messages[0] is not grpc.aio.EOF, "the stream ended with OK without a message")
            await read(scene.target, get(run.run_id), until=lambda message: finished(message) == len(ENDING))
            await scene.cancel(run.run_id)
            while not is_terminal(messages[-1]):
                message = await next_message(scene.target, call, len(messages))
                hold(message is not grpc.aio.EOF, "the stream ended before the terminal state")
                messages.append(message)
            same(await next_message(scene.target, call, 0), grpc.aio.EOF, "what follows the terminal state")
            same(await call.code(), grpc.StatusCode.OK, "the status that ends the stream")
        finally:
            call.cancel()
        answer = (await read(scene.target, request)).ended_in_order().messages
    hold(fold(messages) == fold(answer), "what the slow reader was told is not the answer")


@PROMISES.promise(
    "Who follows a run that is deleted gets NOT_FOUND, unless it has seen the end before.",
    f"{GUARANTEES}: Ending runs and finding them",
)
async def followers_of_deleted_runs_are_told(scene: Scene) -> None:
    async with scene.open_run() as run, reading_beside(scene.target, get(run.run_id)) as following:
        await read(scene.target, get(run.run_id), most=1)
        await scene.cancel(run.run_id)
        await scene.delete(run.run_id)
        messages, end = await following
    saw_the_end = bool(messages) and is_terminal(messages[-1])
    hold(end is grpc.StatusCode.NOT_FOUND or saw_the_end, f"the stream ended with {end} and without a terminal state")
