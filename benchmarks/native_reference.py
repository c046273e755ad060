"""The bare reference on the native transport: its low-level interface with the messages of `benchmarks.reference`.

It has no logic. A message is serialized once for each change of a run.
"""

import argparse
import asyncio
import itertools
import threading
from typing import Any

import uvloop
from pygrpc_native import EVENT_CANCEL, STREAM_CLOSED, STREAM_FULL, NativeGrpcFront

from benchmarks.control import Pacer, obey, tell
from benchmarks.measure import GET_RUN, SUBMIT_RUN
from benchmarks.reference import Run, finished
from benchmarks.sample import run_id
from gateway.server.app import tune_interpreter
from gateway.server.scheduling import use_batch_scheduling
from runs.v1 import runs_pb2

BATCH = 64
"""Calls that begin in one turn of the event loop, at most."""

ROOM_SECONDS = 0.005
"""How long full streams are left alone: nothing tells when a stream has room again."""


class NativeRun(Run):
    """A run whose latest message is bytes."""

    def change(self) -> None:
        super().change()
        self.data = self.message.SerializeToString()


class NativeRuns:
    """The methods of the service, one coroutine for each call."""

    def __init__(self, runs: int) -> None:
        self.front = NativeGrpcFront("127.0.0.1:0", [(SUBMIT_RUN, False), (GET_RUN, True)])
        self._methods = (self._submit, self._get)
        self._runs = {run_id(number): NativeRun(run_id(number)) for number in range(runs)}
        self._turn = itertools.cycle(self._runs.values())
        self._calls: dict[int, asyncio.Task[None]] = {}
        self._room: asyncio.Event | None = None

    def change(self) -> None:
        """Change the run whose turn it is."""
        next(self._turn).change()

    def start(self) -> None:
        """Take calls."""
        self.front.start()
        loop = asyncio.get_running_loop()
        threading.Thread(target=self._receive, args=(loop,), daemon=True).start()

    def _receive(self, loop: asyncio.AbstractEventLoop) -> None:
        """Hand calls to the event loop until the front is closed, in a thread."""
        while (events := self.front.recv_batch(BATCH)) is not None:
            loop.call_soon_threadsafe(self._take, events)

    def _take(self, events: list[Any]) -> None:
        for kind, call_id, method, payload, _ in events:
            if kind == EVENT_CANCEL:
                if (left := self._calls.pop(call_id, None)) is not None:
                    left.cancel()
            else:
                self._calls[call_id] = asyncio.create_task(self._methods[method](call_id, payload))

    async def _submit(self, call_id: int, payload: bytes) -> None:
        request = runs_pb2.SubmitRunRequest.FromString(payload)
        self.front.respond(call_id, finished(request).SerializeToString())
        del self._calls[call_id]

    async def _get(self, call_id: int, payload: bytes) -> None:
        run = self._runs[runs_pb2.GetRunRequest.FromString(payload).run_id]
        sent = None
        while True:
            if run.data is sent:
                await run.changed.wait()
            sent = run.data
            while (told := self.front.stream_try_send(call_id, sent)) == STREAM_FULL:
                await self._room_again()
                sent = run.data
            if told == STREAM_CLOSED:
                return

    async def _room_again(self) -> None:
        """Wait with all streams that are full, for a moment."""
        if self._room is None:
            self._room = asyncio.Event()
            asyncio.get_running_loop().call_later(ROOM_SECONDS, self._try_again)
        await self._room.wait()

    def _try_again(self) -> None:
        assert self._room is not None
        self._room.set()
        self._room = None


async def serve(runs: int) -> None:
    """Serve until standard input ends."""
    served = NativeRuns(runs)
    served.start()
    tune_interpreter()
    tell(grpc=f"127.0.0.1:{served.front.bound_port}")
    try:
        await obey(Pacer(served.change), dict)
    finally:
        served.front.close()


def main() -> None:
    """The program."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=1)
    arguments = parser.parse_args()
    use_batch_scheduling()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serve(arguments.runs))


if __name__ == "__main__":
    main()
