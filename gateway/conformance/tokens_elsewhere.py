"""What the contract promises of tokens on another server of the same state, and after a restart."""

import grpc

from gateway.conformance.promise import GUARANTEES, PROTO, Promises, hold, same
from gateway.conformance.reading import fold, get, indexes, is_terminal, last_token, read, reading_beside
from gateway.conformance.scene import Scene
from gateway.conformance.set_members import as_listed, asked, catch_up, new_picture
from gateway.conformance.target import Target
from gateway.conformance.watching import watching
from runs.v1 import runs_pb2

PROMISES = Promises("elsewhere", f"{PROTO}: GetRunRequest.resume_token")

_SET_PLACE = f"{PROTO}: WatchSet.resume_token"


async def _run_goes_on(scene: Scene, there: Target, uncut: list[runs_pb2.GetRunResponse]) -> None:
    run = await scene.large_run()
    for number in (1, len(uncut) - 1, len(uncut)):
        rest = (await read(there, get(run.run_id, token=uncut[number - 1].resume_token))).ended_in_order().messages
        hold(not any(message.restarted for message in rest), f"restarted after message {number}")
        same(indexes(uncut[:number]) + indexes(rest), list(range(run.items)), f"the items with message {number} last")
        hold(fold(uncut[:number] + rest) == fold(uncut), f"the fold with message {number} last differs")
        hold(rest[-1].revision >= uncut[-1].revision, "the revision goes back")


@PROMISES.promise("The token of a run is valid on every server of the same state.")
async def runs_go_on_at_another_server(scene: Scene) -> None:
    there, run = scene.other(), await scene.large_run()
    await _run_goes_on(scene, there, (await read(scene.target, get(run.run_id))).ended_in_order().messages)


@PROMISES.promise("The token of a set is valid on every server of the same state.", _SET_PLACE)
async def sets_go_on_at_another_server(scene: Scene) -> None:
    there, picture = scene.other(), new_picture()
    await scene.small_run(picture.name)
    async with watching(scene.target) as watch:
        await watch.ask(add_set=asked(scene, picture))
        await catch_up(watch, picture)
    run = await scene.small_run(picture.name)
    async with watching(there) as watch:
        await watch.ask(add_set=asked(scene, picture))
        messages = await catch_up(watch, picture)
    hold(not any(message.update.restarted or message.caught_up.restarted for message in messages), "restarted")
    same({message.run_id for message in messages if message.run_id}, {run.run_id}, "the runs that are told there")
    await as_listed(scene, picture)


@PROMISES.promise("The token of a run is valid after a restart of the server.", f"{GUARANTEES}: Following runs")
async def runs_go_on_after_a_restart(scene: Scene) -> None:
    run = await scene.large_run()
    uncut = (await read(scene.target, get(run.run_id))).ended_in_order().messages
    await scene.restarted()
    await _run_goes_on(scene, scene.target, uncut)


@PROMISES.promise("The token of a set is valid after a restart of the server.", _SET_PLACE)
async def sets_go_on_after_a_restart(scene: Scene) -> None:
    picture = new_picture()
    await scene.small_run(picture.name)
    async with watching(scene.target) as watch:
        await watch.ask(add_set=asked(scene, picture))
        await catch_up(watch, picture)
    await scene.restarted()
    run = await scene.small_run(picture.name)
    async with watching(scene.target) as watch:
        await watch.ask(add_set=asked(scene, picture))
        messages = await catch_up(watch, picture)
    hold(not any(message.update.restarted or message.caught_up.restarted for message in messages), "restarted")
    same({message.run_id for message in messages if message.run_id}, {run.run_id}, "the runs that are told after it")
    await as_listed(scene, picture)


@PROMISES.promise("A restart cuts a stream by an error, never by OK; by its token it goes on to the end of the run.")
async def a_restart_is_a_cut(scene: Scene) -> None:
    by_completion = runs_pb2.RESULT_ORDER_BY_COMPLETION
    async with scene.open_run() as run:
        request = get(run.run_id, result_order=by_completion)
        received = (await read(scene.target, request, most=1)).messages
        request = get(run.run_id, token=last_token(received), result_order=by_completion)
        async with reading_beside(scene.target, request) as following:
            await scene.restarted()
            messages, end = await following
        hold(end not in {None, grpc.StatusCode.OK}, "the stream ended with OK, although the run goes on")
        received += messages
        await scene.cancel(run.run_id)
        request = get(run.run_id, token=last_token(received), result_order=by_completion)
        rest = (await read(scene.target, request)).ended_in_order().messages
    hold(not any(message.restarted for message in rest), "the token of before the restart was not understood")
    hold(is_terminal(rest[-1]), "the last message shows no terminal state")
    hold(rest[-1].revision > received[-1].revision, "the revision of the end is not greater than those before")
    answer = (await read(scene.target, get(run.run_id, result_order=by_completion))).ended_in_order().messages
    hold(fold(received + rest) == fold(answer), "what was told before and after the restart is not the answer")
