"""What WatchRuns promises of sets whose stream was cut: nothing comes twice, and nothing is lost."""

from gateway.conformance.promise import PROTO, Promises, hold, same
from gateway.conformance.scene import Scene
from gateway.conformance.set_members import as_listed, asked, catch_up, follow_to_the_end, new_picture
from gateway.conformance.set_picture import Picture
from gateway.conformance.watching import watching
from runs.v1 import runs_pb2

PROMISES = Promises("set-resume", f"{PROTO}: WatchSet.resume_token")

_GARBAGE = (b"\0", b"no token of this server", b"x" * 1_000)


@PROMISES.promise("Every message has a token.", f"{PROTO}: WatchRunsResponse, CaughtUp")
async def every_message_has_a_token(scene: Scene) -> None:
    picture = new_picture()
    for _ in range(3):
        await scene.small_run(picture.name)
    async with watching(scene.target) as watch:
        await watch.ask(add_set=asked(scene, picture))
        for message in await catch_up(watch, picture):
            hold(message.caught_up.resume_token or message.update.resume_token, "a message has no token")


@PROMISES.promise("The set goes on after any of its messages: what has come is not told again, and the rest is.")
async def goes_on_after_every_message(scene: Scene) -> None:
    uncut = new_picture()
    made = [(await scene.small_run(uncut.name)).run_id for _ in range(4)]
    async with watching(scene.target) as watch:
        await watch.ask(add_set=asked(scene, uncut))
        messages = await catch_up(watch, uncut)
    for number in range(1, len(messages) + 1):
        picture = Picture(uncut.name)
        for message in messages[:number]:
            picture.take(message)
        async with watching(scene.target) as watch:
            await watch.ask(add_set=asked(scene, picture))
            rest = await catch_up(watch, picture)
        told = [message.run_id for message in (*messages[:number], *rest) if message.run_id]
        same(sorted(told), sorted(made), f"the runs that were told with a cut after message {number}")
        hold(not any(message.update.restarted or message.caught_up.restarted for message in rest), "restarted")
        await as_listed(scene, picture)


@PROMISES.promise("What happens while the client is away is told when it is back, and then `caught_up`.")
async def what_was_missed_is_told(scene: Scene) -> None:
    picture = new_picture()
    deleted = await scene.small_run(picture.name)
    async with scene.open_run(picture.name) as changed:
        async with watching(scene.target) as watch:
            await watch.ask(add_set=asked(scene, picture))
            await catch_up(watch, picture)
        await scene.cancel(changed.run_id)
        await scene.delete(deleted.run_id)
        added = await scene.small_run(picture.name)
    async with watching(scene.target) as watch:
        await watch.ask(add_set=asked(scene, picture))
        messages = await catch_up(watch, picture)
    told = {message.run_id: message.set_event for message in messages if message.run_id}
    same(told.pop(added.run_id, None) in {runs_pb2.SET_EVENT_ADDED, runs_pb2.SET_EVENT_CHANGED}, True, "a new run came")
    expected = {deleted.run_id: runs_pb2.SET_EVENT_LEFT, changed.run_id: runs_pb2.SET_EVENT_CHANGED}
    same(told, expected, "what is told of the runs that were known")
    await as_listed(scene, picture)


@PROMISES.promise("A set that is cut after each message has the runs that ListRuns lists.")
async def can_be_cut_each_time(scene: Scene) -> None:
    picture = new_picture()
    made = {(await scene.small_run(picture.name)).run_id for _ in range(4)}
    for _ in range(3 * len(made)):
        async with watching(scene.target) as watch:
            await watch.ask(add_set=asked(scene, picture))
            if picture.take(await watch.next()) == "caught_up":
                break
    same(set(picture.runs), made, "the runs after so many cuts")
    await as_listed(scene, picture)


@PROMISES.promise("Where nothing has happened, `caught_up` alone comes, and later runs after it.")
async def goes_on_with_what_comes(scene: Scene) -> None:
    picture = new_picture()
    await scene.small_run(picture.name)
    for number in range(2):
        async with watching(scene.target) as watch:
            await watch.ask(add_set=asked(scene, picture))
            messages = await catch_up(watch, picture)
            if number:
                same(len(messages), 1, "the number of messages where nothing has happened")
            run = await scene.small_run(picture.name)
            await follow_to_the_end(watch, picture, run.run_id)
    await as_listed(scene, picture)


@PROMISES.promise("A token that is not understood starts anew, and the first message alone says so by `restarted`.")
async def foreign_tokens_begin_anew(scene: Scene) -> None:
    picture, other = new_picture(), new_picture()
    run = await scene.small_run(picture.name)
    async with watching(scene.target) as watch:
        await watch.ask(add_set=asked(scene, other))
        await catch_up(watch, other)
    for token in (*_GARBAGE, other.token):
        async with watching(scene.target) as watch:
            picture.token = token
            picture.runs.clear()
            await watch.ask(add_set=asked(scene, picture))
            messages = await catch_up(watch, picture)
        restarted = [message.update.restarted or message.caught_up.restarted for message in messages]
        same(restarted, [True] + [False] * (len(messages) - 1), f"`restarted` after the token {token[:32]!r}")
        same(list(picture.runs), [run.run_id], "the runs of a set that begins anew")
