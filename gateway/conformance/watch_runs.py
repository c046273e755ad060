"""What WatchRuns promises of runs that are followed by their ids."""

import uuid

import grpc

from gateway.conformance import get_exact
from gateway.conformance.promise import PROTO, NotTried, Promises, hold, same
from gateway.conformance.reading import fold, get, indexes, is_terminal, last_token, read
from gateway.conformance.scene import KitRun, Scene
from gateway.conformance.watching import ends, updates_of, watching
from runs.v1 import runs_pb2

PROMISES = Promises("watch", f"{PROTO}: WatchRuns")


async def _followed(scene: Scene, *run_ids: str) -> list[runs_pb2.WatchRunsResponse]:
    """All messages of a stream that follows these runs, and nothing else."""
    async with watching(scene.target) as watch:
        for run_id in run_ids:
            await watch.ask(add=get(run_id))
        await watch.done_asking()
        return await watch.rest()


@PROMISES.promise("Each run is followed as GetRun follows it, and its updates name it; then the stream ends with OK.")
async def runs_are_followed_as_by_get(scene: Scene) -> None:
    runs = [await scene.large_run(), await scene.small_run(), await scene.small_run()]
    messages = await _followed(scene, *(run.run_id for run in runs))
    same({message.run_id for message in messages}, {run.run_id for run in runs}, "the runs that messages name")
    for run in runs:
        alone = (await read(scene.target, get(run.run_id))).ended_in_order().messages
        updates = updates_of(run.run_id, messages)
        hold(updates, f"no update of the run {run.run_id}")
        same(indexes(updates), indexes(alone), "the items of a run that is followed among others")
        hold(fold(updates) == fold(alone), "what the updates of a run come to is not what GetRun tells")


@PROMISES.promise("Updates have the numbers and errors that GetRun tells, to the last digit.")
async def payloads_are_those_of_get(scene: Scene) -> None:
    runs = await _runs_of_payloads(scene)
    messages = await _followed(scene, *(run.run_id for run in runs))
    for run in runs:
        alone = (await read(scene.target, get(run.run_id))).ended_in_order().messages
        updates = updates_of(run.run_id, messages)
        hold(updates, f"no update of the run {run.run_id}")
        hold(fold(updates) == fold(alone), "a result is not what GetRun tells")


async def _runs_of_payloads(scene: Scene) -> list[KitRun]:
    """A run for each payload that the target takes. Raises NotTried if there is none."""
    making = [scene.number_run(number) for number in get_exact.NUMBERS]
    making += [get_exact.run_without_a_value(scene), get_exact.run_at_a_limit(scene)]
    runs = []
    for each in making:
        try:
            runs.append(await each)
        except NotTried:
            continue
    if not runs:
        raise NotTried("the target takes none of the numbers, and no item of it fails")
    return runs


@PROMISES.promise("The end of a run is one message, after its terminal state and after everything else about it.")
async def the_end_of_a_run_is_a_message(scene: Scene) -> None:
    runs = [await scene.small_run(), await scene.small_run()]
    messages = await _followed(scene, *(run.run_id for run in runs))
    for run in runs:
        kinds = [message.WhichOneof("event") for message in messages if message.run_id == run.run_id]
        same((kinds.count("ended"), kinds[-1:]), (1, ["ended"]), "the ends of a run, and its last message")
        hold(is_terminal(updates_of(run.run_id, messages)[-1]), "the last update shows no terminal state")


@PROMISES.promise("An error of one run is a message, by the code of GetRun, and leaves the others alone.")
async def errors_leave_others_alone(scene: Scene) -> None:
    run, unknown = await scene.small_run(), str(uuid.uuid4())
    messages = await _followed(scene, unknown, run.run_id)
    codes = [message.error.code for message in messages if message.run_id == unknown]
    same(codes, [grpc.StatusCode.NOT_FOUND.value[0]], "the errors of a run that does not exist")
    same(sorted(indexes(updates_of(run.run_id, messages))), list(range(run.items)), "the results of another run")


@PROMISES.promise(
    "After a cut, each run goes on by the token of its last update, without repeating or losing a result."
)
async def runs_go_on_after_cuts(scene: Scene) -> None:
    runs = [await scene.large_run(), await scene.small_run()]
    received: dict[str, list[runs_pb2.GetRunResponse]] = {run.run_id: [] for run in runs}
    unfinished = set(received)
    for _ in range(3 * runs[0].items):
        async with watching(scene.target) as watch:
            for run_id in sorted(unfinished):
                await watch.ask(add=get(run_id, token=last_token(received[run_id])))
            message = await watch.next()
        hold(message.run_id in unfinished and message.HasField("update"), "the first message is not about a run")
        received[message.run_id].append(message.update)
        held = len(indexes(received[message.run_id]))
        unfinished -= {run.run_id for run in runs if run.run_id == message.run_id and held >= run.items}
        if not unfinished:
            break
    for run in runs:
        alone = (await read(scene.target, get(run.run_id))).ended_in_order().messages
        same(indexes(received[run.run_id]), indexes(alone), "the items of a run whose stream was cut")
        hold(fold(received[run.run_id]) == fold(alone), "the fold of a run whose stream was cut differs")


@PROMISES.promise("The answer to a remove is an `ended`; nothing is sent for the run after it.")
async def removed_runs_are_silent(scene: Scene) -> None:
    async with scene.open_run() as run, watching(scene.target) as watch:
        await watch.ask(add=get(run.run_id))
        await watch.next()
        await watch.ask(remove=run.run_id)
        await watch.until(ends(run.run_id))
        await scene.cancel(run.run_id)
        other = await scene.small_run()
        await watch.ask(add=get(other.run_id))
        await watch.done_asking()
        rest = await watch.rest()
    same({message.run_id for message in rest}, {other.run_id}, "the runs that are told of after the remove")


@PROMISES.promise("A run that is not followed can be removed: no error, an `ended`.", f"{PROTO}: WatchRunsRequest")
async def unknown_runs_can_be_removed(scene: Scene) -> None:
    unknown = str(uuid.uuid4())
    async with watching(scene.target) as watch:
        await watch.ask(remove=unknown)
        await watch.done_asking()
        messages = await watch.rest()
    kinds = [(message.run_id, message.WhichOneof("event")) for message in messages]
    same(kinds, [(unknown, "ended")], "the answers to a remove")


@PROMISES.promise("A run that goes on keeps the stream open; its changes come, and its end.")
async def open_runs_are_followed_to_the_end(scene: Scene) -> None:
    async with scene.open_run() as run, watching(scene.target) as watch:
        await watch.ask(add=get(run.run_id))
        await watch.done_asking()
        first = await watch.next()
        hold(not is_terminal(first.update), "a run that goes on is shown as ended")
        await scene.cancel(run.run_id)
        updates = updates_of(run.run_id, [first, *await watch.rest()])
    same(updates[-1].run.status, runs_pb2.RUN_STATE_CANCELLED, "the state of a run that was cancelled")
    hold(updates[-1].revision > updates[0].revision, "the end of the run has the revision of its beginning")


@PROMISES.promise("INVALID_ARGUMENT: a request holds no action.", f"{PROTO}: WatchRuns, Errors")
async def requests_have_an_action(scene: Scene) -> None:
    async with watching(scene.target) as watch:
        await watch.ask()
        same(await watch.refused(), grpc.StatusCode.INVALID_ARGUMENT, "the end of a stream with an empty request")
