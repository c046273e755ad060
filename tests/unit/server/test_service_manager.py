"""The datagrams that a service manager gets, on a real socket."""

import asyncio
import logging
import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import pytest
import uvloop

from gateway.server.service_manager import told_to_service_manager


@pytest.fixture(params=["path", "abstract"])
def place(request: pytest.FixtureRequest, home: Path) -> str:
    """The name of a socket."""
    return f"{home}/notify" if request.param == "path" else f"@runs-gateway-test-{os.getpid()}"


@pytest.fixture
def manager(place: str) -> Iterator[socket.socket]:
    """The socket of a service manager; reading from it waits for a datagram."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(place.replace("@", "\0", 1) if place.startswith("@") else place)
        manager.settimeout(60)
        yield manager


def test_it_is_told_of_the_begin_and_of_the_end(manager: socket.socket, place: str) -> None:
    async def serve() -> None:
        async with told_to_service_manager({"NOTIFY_SOCKET": place}, "gRPC 127.0.0.1:1,\nHTTP 127.0.0.1:2"):
            assert manager.recv(4096) == b"READY=1\nSTATUS=gRPC 127.0.0.1:1, HTTP 127.0.0.1:2"

    for factory in (uvloop.new_event_loop, asyncio.new_event_loop):
        with asyncio.Runner(loop_factory=factory) as runner:
            runner.run(serve())
        assert manager.recv(4096) == b"STOPPING=1\nSTATUS=stopping"


async def test_it_is_told_of_the_end_by_a_task_that_was_cancelled(manager: socket.socket, place: str) -> None:
    ready = asyncio.Event()

    async def serve() -> None:
        async with told_to_service_manager({"NOTIFY_SOCKET": place}, ""):
            ready.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(serve())
    await ready.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert [manager.recv(4096).split(b"\n")[0] for _ in range(2)] == [b"READY=1", b"STOPPING=1"]


@pytest.mark.parametrize("pid", [None, str(os.getpid())], ids=["any process", "this process"])
async def test_it_gets_signs_of_life_if_it_wants_them(manager: socket.socket, place: str, pid: str | None) -> None:
    wants = {"NOTIFY_SOCKET": place, "WATCHDOG_USEC": "2000", **({} if pid is None else {"WATCHDOG_PID": pid})}
    async with told_to_service_manager(wants, ""):
        told = [await asyncio.to_thread(manager.recv, 4096) for _ in range(3)]
    assert told[0].startswith(b"READY=1")
    assert told[1:] == [b"WATCHDOG=1"] * 2


@pytest.mark.parametrize(
    "wants",
    [
        {},
        {"WATCHDOG_USEC": "2000", "WATCHDOG_PID": "1"},
        {"WATCHDOG_USEC": "0"},
        {"WATCHDOG_USEC": "a"},
        {"WATCHDOG_USEC": "9" * 5_000},
    ],
)
async def test_it_gets_no_signs_that_it_does_not_want(
    manager: socket.socket, place: str, wants: dict[str, str]
) -> None:
    async with told_to_service_manager({"NOTIFY_SOCKET": place, **wants}, ""):
        assert len(asyncio.all_tasks()) == 1
    assert [manager.recv(4096).split(b"\n")[0] for _ in range(2)] == [b"READY=1", b"STOPPING=1"]


async def test_without_a_manager_nothing_is_told() -> None:
    async with told_to_service_manager({"WATCHDOG_USEC": "2000"}, ""):
        assert len(asyncio.all_tasks()) == 1


@pytest.mark.parametrize("place", ["/nowhere/notify", "a\0b", "/" + "x" * 200])
async def test_a_manager_that_cannot_be_told_is_in_the_log(place: str, caplog: pytest.LogCaptureFixture) -> None:
    async with told_to_service_manager({"NOTIFY_SOCKET": place}, ""):
        pass
    assert [record.levelno for record in caplog.records] == [logging.WARNING] * 2
    assert "READY=1" in caplog.messages[0]


async def test_a_manager_that_reads_nothing_holds_up_nobody(
    manager: socket.socket, place: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("gateway.server.service_manager._SECONDS", 0.01)
    with ExitStack() as senders:
        has_room = True
        while has_room:  # What one sender may have under way is limited as well.
            other = senders.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
            other.setblocking(False)
            other.connect(place.replace("@", "\0", 1) if place.startswith("@") else place)
            has_room = False
            with suppress(BlockingIOError):
                while True:
                    other.send(b"x")
                    has_room = True
        async with told_to_service_manager({"NOTIFY_SOCKET": place}, ""):
            pass
    assert "it has no room" in caplog.messages[0]
