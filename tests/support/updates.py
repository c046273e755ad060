"""Following a run over each front: what a stream tells, update by update, whichever transport brings it."""

from collections.abc import AsyncGenerator
from typing import NamedTuple, Protocol

import grpc
from msgspec.structs import replace

from gateway.adapter import jsonrpc
from gateway.adapter.params_json import get_params_to_json, resume_token_from_text
from gateway.adapter.params_proto import get_params_to_proto
from gateway.adapter.status_from_json import run_status_from_json
from gateway.adapter.status_proto import run_status_from_proto
from gateway.core.json_text import members
from gateway.core.model import GetParams, RunStatus
from tests.support.clients import Client, GrpcClient, JsonRpcClient, fold, gateway_error
from tests.support.event_stream import HEADERS, MARKS, read_events

_LONGEST_LINE = 16 << 20
"""The response that ends a stream is one line, with all results."""


class Update(NamedTuple):
    """A status with the results that no earlier update held; `token` is the resume token of the point after it.

    `prefix` counts the leading items that have finished, `completions` the results that exist.
    """

    status: RunStatus
    revision: int
    restarted: bool
    token: bytes
    prefix: int
    completions: int


class Follower(Client, Protocol):
    """A client that can follow runs."""

    def updates(self, params: GetParams) -> AsyncGenerator[Update, None]:
        """The updates of a run until it has finished. Close it explicitly."""
        ...


class GrpcFollower(GrpcClient):
    """Follows by GetRun."""

    async def updates(self, params: GetParams) -> AsyncGenerator[Update, None]:
        call = self.runs.GetRun(get_params_to_proto(replace(params, wait=True)))
        try:
            async for response in call:
                status = run_status_from_proto(response.run, with_results=params.include_results)
                counts = response.finished_prefix, response.result_count
                yield Update(status, response.revision, response.restarted, response.resume_token, *counts)
        except grpc.aio.AioRpcError as error:
            raise gateway_error(error) from None
        finally:
            call.cancel()


class JsonRpcFollower(JsonRpcClient):
    """Follows by the event stream of runs/get."""

    async def updates(self, params: GetParams) -> AsyncGenerator[Update, None]:
        text = get_params_to_json(replace(params, wait=True))
        body = jsonrpc.request('"1"', "runs/get", text).encode()
        async with self._http.post(self._url, data=body, headers=HEADERS, read_bufsize=_LONGEST_LINE) as response:
            if response.content_type != "text/event-stream":
                jsonrpc.parse_response(await response.read())  # raises the error that it is
            async for event in read_events(response.content):
                if event.id is None:
                    jsonrpc.parse_response(event.data.encode())
                    return
                yield _update(members(event.data)["params"], resume_token_from_text(event.id))
        raise AssertionError("the stream was cut")


def folded(updates: list[Update]) -> RunStatus:
    """The answer of runs/get that these updates stand for."""
    return fold([update.status for update in updates])


def _update(text: str, token: bytes) -> Update:
    status = run_status_from_json(text)
    marks = {name: status.extensions[name] for name in MARKS if name in status.extensions}
    extensions = {name: member for name, member in status.extensions.items() if name not in MARKS}
    plain = replace(status, extensions=extensions)
    counts = int(marks["finishedPrefix"]), int(marks["resultCount"])
    return Update(plain, int(marks["revision"]), marks.get("restarted") == "true", token, *counts)
