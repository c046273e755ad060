"""What WatchRuns promises of sets: the runs that match a filter, those that come later as well."""

import uuid

from gateway.conformance.promise import GUARANTEES, PROTO, Promises, hold, same
from gateway.conformance.reading import TERMINAL, state
from gateway.conformance.scene import Scene
from gateway.conformance.set_picture import Picture
from gateway.conformance.watching import WatchedStream, watching
from runs.v1 import runs_pb2

PROMISES = Promises("set", f"{PROTO}: WatchSet")


def asked(scene: Scene, picture: Picture, **fields: object) -> runs_pb2.WatchSet:
    """The request that follows a set, from where its picture is."""
    request = runs_pb2.WatchSet(name=picture.name, filter=scene.filter(picture.name), resume_token=picture.token)
    request.MergeFrom(runs_pb2.WatchSet(**fields))  # type: ignore[arg-type]
    return request


async def catch_up(watch: WatchedStream, picture: Picture) -> list[runs_pb2.WatchRunsResponse]:
    """Take messages until the present is complete."""
    messages = await watch.until(lambda message: message.WhichOneof("event") == "caught_up")
    for message in messages:
        picture.take(message)
    return messages


async def follow_to_the_end(watch: WatchedStream, picture: Picture, run_id: str) -> list[runs_pb2.WatchRunsResponse]:
    """Take messages until a run of the set is shown as ended."""

    def shows_the_end(message: runs_pb2.WatchRunsResponse) -> bool:
        return message.run_id == run_id and message.update.run.status in TERMINAL

    messages = await watch.until(shows_the_end)
    for message in messages:
        picture.take(message)
    return messages


async def as_listed(scene: Scene, picture: Picture) -> None:
    """Raise PromiseBroken if a picture is not what ListRuns lists."""
    listed = {run_id: state(run) for run_id, run in (await scene.listed(picture.name)).items()}
    same(sorted(picture.runs), sorted(listed), "the runs that the set was told to have")
    for run_id, known in picture.runs.items():
        hold(known == listed[run_id], f"what was told of the run {run_id} is not what ListRuns lists")


def new_picture() -> Picture:
    """The picture of a set that nobody has followed."""
    return Picture(uuid.uuid4().hex)


@PROMISES.promise("First every run of the set comes as ADDED, once; then `caught_up`: the set is what ListRuns lists.")
async def all_come_then_caught_up(scene: Scene) -> None:
    picture = new_picture()
    made = {(await scene.small_run(picture.name)).run_id for _ in range(3)}
    async with watching(scene.target) as watch:
        await watch.ask(add_set=asked(scene, picture))
        *added, _ = await catch_up(watch, picture)
    events = sorted((message.run_id, message.set_event) for message in added)
    same(events, sorted((run_id, runs_pb2.SET_EVENT_ADDED) for run_id in made), "what comes before `caught_up`")
    await as_listed(scene, picture)


@PROMISES.promise("A run that is submitted later comes, changes and ends; then the set is what ListRuns lists.")
async def later_runs_come(scene: Scene) -> None:
    picture = new_picture()
    await scene.small_run(picture.name)
    async with watching(scene.target) as watch:
        await watch.ask(add_set=asked(scene, picture))
        await catch_up(watch, picture)
        run = await scene.small_run(picture.name)
        messages = await follow_to_the_end(watch, picture, run.run_id)
    same(messages[0].set_event, runs_pb2.SET_EVENT_ADDED, "the event by which a run comes")
    same({message.set_event for message in messages[1:]} - {runs_pb2.SET_EVENT_CHANGED}, set(), "later events")
    await as_listed(scene, picture)


@PROMISES.promise("A run that goes on is told at once, and its end when it comes.")
async def open_runs_are_told(scene: Scene) -> None:
    picture = new_picture()
    async with scene.open_run(picture.name) as run, watching(scene.target) as watch:
        await watch.ask(add_set=asked(scene, picture))
        await catch_up(watch, picture)
        same(list(picture.runs), [run.run_id], "the runs before `caught_up`")
        await scene.cancel(run.run_id)
        *_, last = await follow_to_the_end(watch, picture, run.run_id)
    same(last.update.run.status, runs_pb2.RUN_STATE_CANCELLED, "the state of a run that was cancelled")
    await as_listed(scene, picture)


@PROMISES.promise("A run leaves when it is deleted.", f"{PROTO}: SetEvent; {GUARANTEES}: Ending runs")
async def deleted_runs_leave(scene: Scene) -> None:
    picture = new_picture()
    run, stays = await scene.small_run(picture.name), await scene.small_run(picture.name)
    async with watching(scene.target) as watch:
        await watch.ask(add_set=asked(scene, picture))
        await catch_up(watch, picture)
        await scene.delete(run.run_id)
        picture.take(left := await watch.next())
    same((left.run_id, left.set_event), (run.run_id, runs_pb2.SET_EVENT_LEFT), "what is told of a deleted run")
    same(list(picture.runs), [stays.run_id], "the runs that are left")


@PROMISES.promise("A run leaves when its state matches no more.", f"{PROTO}: SetEvent")
async def runs_leave_that_match_no_more(scene: Scene) -> None:
    picture = new_picture()
    wanted = scene.filter(picture.name)
    wanted.states.extend((runs_pb2.RUN_STATE_PENDING, runs_pb2.RUN_STATE_RUNNING))
    async with scene.open_run(picture.name) as run, watching(scene.target) as watch:
        await watch.ask(add_set=runs_pb2.WatchSet(name=picture.name, filter=wanted))
        await catch_up(watch, picture)
        same(list(picture.runs), [run.run_id], "the open runs")
        await scene.cancel(run.run_id)
        messages = await watch.until(lambda message: message.set_event == runs_pb2.SET_EVENT_LEFT)
        for message in messages:
            picture.take(message)
    same((messages[-1].run_id, list(picture.runs)), (run.run_id, []), "the run that left, and those that are left")


@PROMISES.promise("With `only_new`, `caught_up` comes first, and only what happens later is told.")
async def only_new_leaves_out_the_rest(scene: Scene) -> None:
    picture = new_picture()
    await scene.small_run(picture.name)
    async with watching(scene.target) as watch:
        await watch.ask(add_set=asked(scene, picture, only_new=True))
        same((await watch.next()).WhichOneof("event"), "caught_up", "the first message")
        run = await scene.small_run(picture.name)
        await follow_to_the_end(watch, picture, run.run_id)
    same(list(picture.runs), [run.run_id], "the runs that are told")


@PROMISES.promise("With `include_results`, the results of a run come with the status that shows its end.")
async def results_come_with_the_end(scene: Scene) -> None:
    picture = new_picture()
    before = await scene.small_run(picture.name)
    async with watching(scene.target) as watch:
        await watch.ask(add_set=asked(scene, picture, include_results=True))
        await catch_up(watch, picture)
        after = await scene.small_run(picture.name)
        await follow_to_the_end(watch, picture, after.run_id)
    for run in (before, after):
        same(picture.results[run.run_id], list(range(run.items)), "the items with results of a run of the set")


@PROMISES.promise("The answer to a remove is an `ended` that names the set; nothing is sent for it after that.")
async def removed_sets_are_silent(scene: Scene) -> None:
    removed, kept = new_picture(), new_picture()
    async with watching(scene.target) as watch:
        for picture in (removed, kept):
            await watch.ask(add_set=asked(scene, picture))
            await catch_up(watch, picture)
        await watch.ask(remove_set=removed.name)
        ended = await watch.next()
        same((ended.set, ended.WhichOneof("event")), (removed.name, "ended"), "the answer to a remove")
        await scene.small_run(removed.name)
        run = await scene.small_run(kept.name)
        await follow_to_the_end(watch, kept, run.run_id)
        await watch.ask(remove_set=kept.name)
        await watch.done_asking()
        same({message.set for message in await watch.rest()}, {kept.name}, "the sets that are told of at the end")


@PROMISES.promise("A set without a name is an error of this set, and others go on.", f"{PROTO}: WatchSet.name")
async def sets_have_a_name(scene: Scene) -> None:
    picture = new_picture()
    run = await scene.small_run(picture.name)
    async with watching(scene.target) as watch:
        await watch.ask(add_set=runs_pb2.WatchSet())
        error = await watch.next()
        same((error.WhichOneof("event"), error.error.code), ("error", 3), "the answer to a set without a name")
        await watch.ask(add_set=asked(scene, picture))
        await catch_up(watch, picture)
    same(list(picture.runs), [run.run_id], "the runs of another set")
