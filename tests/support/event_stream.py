"""A client of event streams: reads them as the HTML standard says, and follows runs with them."""

import json
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import aiohttp

MARKS = ("revision", "finishedPrefix", "resultCount", "restarted")
"""Members of a notification that are none of a status."""

HEADERS = {"Content-Type": "application/json", "Accept": "text/event-stream"}


class Event(NamedTuple):
    """An event; `id` is None if it names none."""

    id: str | None
    data: str

    @property
    def message(self) -> Any:
        """The data, which is JSON."""
        return json.loads(self.data)

    @property
    def params(self) -> Any:
        """The parameters of a notification `runs/status`."""
        message = self.message
        assert message.keys() == {"jsonrpc", "method", "params"}
        assert message["method"] == "runs/status"
        return message["params"]


async def read_events(lines: AsyncIterable[bytes]) -> AsyncGenerator[Event, None]:
    """The events of a stream; what no blank line ends is none."""
    event_id: str | None = None
    data: list[str] = []
    async for line in lines:
        name, _, value = line.decode().removesuffix("\n").partition(":")
        assert "\r" not in value
        if name == "id":
            event_id = value.removeprefix(" ")
        elif name == "data":
            data.append(value.removeprefix(" "))
        elif name not in ("", "retry"):
            raise AssertionError(f"no field of an event: {line!r}")
        elif line == b"\n" and data:
            yield Event(event_id, "\n".join(data))
            event_id, data = None, []


@asynccontextmanager
async def following(
    session: aiohttp.ClientSession,
    url: str,
    params: object,
    *,
    last_event_id: str | None = None,
    method: str = "runs/get",
) -> AsyncIterator[AsyncGenerator[Event, None]]:
    """Follow a run, or a set of them, by a request with the id 1; leaves when the block ends."""
    headers = HEADERS if last_event_id is None else {**HEADERS, "Last-Event-ID": last_event_id}
    body = json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params})
    async with session.post(url, data=body, headers=headers) as response:
        assert (response.status, response.headers["Content-Type"]) == (200, "text/event-stream")
        yield read_events(response.content)


def folded(events: Iterable[Event]) -> Any:
    """The answer of runs/get that notifications stand for."""
    notifications = [event.params for event in events]
    status = {name: member for name, member in notifications[-1].items() if name not in MARKS}
    if "results" in status:
        status["results"] = [result for params in notifications for result in params["results"]]
    return status
