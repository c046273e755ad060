"""Somebody who acts at random in one namespace, or in a view of it, and notes all that is told, without ids and times.

The same seed makes the same actions. Where an action takes something of somebody else, a board has it: what another
actor has left there, or a decoy if nobody has.
"""

import re
import uuid
from collections.abc import Awaitable, Callable
from contextlib import aclosing
from random import Random
from typing import Any, Final

import msgspec

from gateway.core.control import CancelParams, DeleteParams, DeleteRunsParams, ItemsParams, ListParams
from gateway.core.errors import GatewayError
from gateway.core.model import Blob, BlobType, GetParams, ObservabilityContext, RunStatus, SubmitParams
from gateway.core.owner import Owner
from gateway.core.page_token import page_token
from gateway.core.run_filter import RunFilter, RunOrder
from gateway.core.run_sets import SetParams
from gateway.runs.service import RunsService
from gateway.runs.set_update import SetCaughtUp, SetHeartbeat

FLOWS: Final = [
    Blob(f'{{"name":"f{number}","output":{{"value":{{"$input":"$"}}}},"steps":[]}}', BlobType.FLOW)
    for number in range(3)
]
BLOBS: Final = [*FLOWS, Blob('{"shared":1}', BlobType.DATA), Blob('{"shared":2}', BlobType.DATA)]
"""What every actor puts: the same in all namespaces."""

UNKNOWN_BLOB: Final = f"sha256:{'0' * 64}"
_UUID: Final = re.compile(r"[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


class Board:
    """What an actor has left for others: a run, and tokens. At first they are decoys."""

    def __init__(self) -> None:
        self.run_id = str(uuid.uuid4())
        self.page = page_token("decoy", b"decoy")
        self.position = b"decoy"
        self.resume = b"decoy"


class Actor:
    """`board` is that of another actor; `own` is for others to take from. `told` is what the actor has been told."""

    def __init__(self, service: RunsService, namespace: str, seed: int, board: Board) -> None:
        self.told: list[object] = []
        self.own = Board()
        self._service = service
        self._namespace = namespace
        self._owner = Owner(namespace)
        self._board = board
        self._chance = Random(seed)
        self._names: dict[str, str] = {}
        self._foreign: set[str] = set()
        self._position = b""

    async def act(self) -> None:
        """Do something, and note what comes of it."""
        weights = dict(_ACTIONS)
        action = self._chance.choices(list(weights), list(weights.values()))[0]
        try:
            told = await action(self)
        except GatewayError as error:
            told = [type(error).__name__, error.jsonrpc_code, error.message, error.data, error.retry_after]
        self.told.append((action.__name__, self._plain(told)))

    async def put(self) -> object:
        return await self._service.put_blob(self._chance.choice(BLOBS))

    async def read_blob(self) -> object:
        blob_id = self._chance.choice([*_IDS, UNKNOWN_BLOB])
        return (await self._service.get_blob(blob_id)).type

    async def submit(self) -> object:
        chance = self._chance
        flow_id = chance.choice(_IDS[: len(FLOWS)])
        labels = {"team": chance.choice("xy")} if chance.random() < 0.5 else {}
        params = SubmitParams(
            flow_id=flow_id,
            inputs=[str(number) for number in range(chance.randint(1, 3))],
            wait=True,
            idempotency_key=chance.choice([None, None, "k1", "k2"]),
            labels=labels if chance.random() < 0.8 else {},
            observability=ObservabilityContext(run_id=self._any_run()) if chance.random() < 0.3 else None,
            owner=self._owner,
        )
        run = await self._service.submit(params)
        self._names.setdefault(run.run_id, f"run-{len(self._names)}")
        self.own.run_id = run.run_id
        return self._status(run)

    async def read(self) -> object:
        run_id = self._any_run()
        return self._status(await self._service.get(GetParams(run_id=run_id, include_results=True)))

    async def follow(self) -> object:
        """With a token of another run, or none."""
        token = self._chance.choice([b"", self._board.resume])
        params = GetParams(run_id=self._any_run(), wait=True, include_results=True, resume_token=token)
        updates = []
        async with aclosing(self._service.follow(params)) as following:
            async for update in following:
                self.own.resume = update.token_after(len(update.status.results or ()))
                updates.append(update)
        results = [result.value for update in updates for result in update.status.results or ()]
        return [updates[0].restarted, self._status(updates[-1].status), updates[-1].completions, results]

    async def cancel(self) -> object:
        return self._status(await self._service.control.cancel(CancelParams(run_id=self._any_run(), reason="why")))

    async def delete(self) -> object:
        await self._service.control.delete(DeleteParams(run_id=self._any_run()))
        return "deleted"

    async def delete_many(self) -> object:
        params = DeleteRunsParams(filter=self._filter())
        async with aclosing(self._service.bulk.delete(params)) as told:
            return [(each.matched, each.done) async for each in told][-1]

    async def list_all(self) -> object:
        wanted, order = self._filter(), self._chance.choice(list(RunOrder))
        size = self._chance.randint(1, 4)
        pages, token, total = list[list[RunStatus]](), "", None
        while token or not pages:
            params = ListParams(filter=wanted, order=order, page_size=size, page_token=token, include_total=True)
            page = await self._service.lists.runs(params)
            pages.append(page.runs)
            token, total = page.next_page_token, page.total_size
            self.own.page = token or self.own.page
        listed = sorted((self._status(run) for page in pages for run in page), key=str)
        return [list(map(len, pages)), total, listed]

    async def list_with_a_token_of_another(self) -> object:
        return (await self._service.lists.runs(ListParams(page_size=2, page_token=self._board.page))).total_size

    async def items(self) -> object:
        page = await self._service.lists.items(ItemsParams(run_id=self._any_run(), include_inputs=True))
        return [(item.item_index, item.status, item.input) for item in page.items]

    async def follow_set(self) -> object:
        """From the beginning, from where it was, or with a token of another."""
        token = self._chance.choice([b"", self._position, self._board.position])
        told = []
        with self._service.follow_set(SetParams(filter=RunFilter(), resume_token=token)) as following:
            while not isinstance(update := await following.next(), SetCaughtUp):
                assert update is not None
                assert not isinstance(update, SetHeartbeat)
                told.append((str(update.event), update.restarted, self._status(update.status)))
        self._position = self.own.position = update.token
        return [token != b"" and (update.restarted or any(each[1] for each in told)), sorted(told, key=str)]

    def _any_run(self) -> str:
        """A run of its own, or one of another actor."""
        own = list(self._names)
        if not own or self._chance.random() < 0.3:
            self._foreign.add(self._board.run_id)
            return self._board.run_id
        return self._chance.choice(own)

    def _filter(self) -> RunFilter:
        return self._chance.choice([RunFilter(), RunFilter(labels={"team": "x"}), RunFilter(flow_name="f1")])

    def _status(self, run: RunStatus) -> dict[str, Any]:
        """A status without times."""
        told: dict[str, Any] = msgspec.to_builtins(run)
        for result in told.get("results") or ():
            result.pop("completed_at", None)
        return {name: value for name, value in told.items() if not name.endswith("_at")}

    def _plain(self, told: object) -> str:
        """What was told, with its own runs by their names."""

        def named(found: re.Match[str]) -> str:
            foreign = "FOREIGN" if found[0] in self._foreign else "UNKNOWN"
            return self._names.get(found[0], foreign)

        return _UUID.sub(named, repr(told)).replace(self._namespace, "NAMESPACE")


_Action = Callable[[Actor], Awaitable[object]]

_ACTIONS: Final[dict[_Action, int]] = {
    Actor.put: 6,
    Actor.read_blob: 3,
    Actor.submit: 8,
    Actor.read: 4,
    Actor.follow: 3,
    Actor.cancel: 2,
    Actor.delete: 2,
    Actor.delete_many: 1,
    Actor.list_all: 4,
    Actor.list_with_a_token_of_another: 1,
    Actor.items: 2,
    Actor.follow_set: 4,
}

_IDS: Final[list[str]] = []


async def prepare(service: RunsService) -> None:
    """Find out the ids that a runtime gives the blobs, in a namespace of which nobody hears again."""
    _IDS[:] = [await service.put_blob(blob) for blob in BLOBS]
