"""What a component has failed at while the storage did."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import pytest

from gateway.components import ComponentError, Components
from gateway.components.error import Code
from gateway.concurrency.memory_account import MemoryAccount
from gateway.core.errors import Unavailable
from gateway.flows.files import Files
from gateway.flows.flow_cache import FlowCache
from gateway.flows.host import RunsApi
from gateway.flows.nesting import Nesting
from gateway.flows.run_record import RunRecord
from gateway.flows.task import ItemFailure, Task
from gateway.runtimes.temporal.item_host import ItemHost
from gateway.storage.objects import ObjectStore
from tests.support.item_work import Alone

RECORD = RunRecord("r", "sha256:" + "0" * 64, None, None, 1, None, None, "{}", None, "", None, "", 1)


class Failing(Components):
    """Executes by what the test says: each of `outcomes` once."""

    def __init__(self, *outcomes: Callable[[], Any]) -> None:
        super().__init__({})
        self.outcomes = [*outcomes]

    async def execute(self, *arguments: Any, **named: Any) -> str:
        return str(await self.outcomes.pop(0)())


def host(store: ObjectStore, components: Components) -> ItemHost:
    account = MemoryAccount()
    made = ItemHost(
        components, cast("RunsApi", None), Nesting(), FlowCache(1 << 20, account), Files((), account), record=RECORD
    )
    made.store = store
    return made


async def failed() -> str:
    raise ComponentError(-32100, "no blob")


async def test_what_has_failed_while_the_storage_did_is_executed_again_when_it_is_back(tmp_path: Path) -> None:
    (folder := tmp_path / "objects").mkdir()
    store = await ObjectStore.open(folder.as_uri(), MemoryAccount())

    async def while_away() -> str:
        folder.rename(tmp_path / "elsewhere")
        with pytest.raises(Unavailable):
            await store.put("a", b"a")
        return await failed()

    class Back(Alone):
        async def pause(self, seconds: float) -> None:
            await super().pause(seconds)
            if len(self.pauses) == 3:
                (tmp_path / "elsewhere").rename(folder)

    async def done() -> str:
        return "1"

    components = Failing(while_away, done)
    work = Back()
    task = Task("r", RECORD.flow_id, 0, work, ("s",))
    assert await host(store, components).execute("/t/put", "{}", 1, task) == "1"
    assert len(work.pauses) == 3
    await store.close()


@pytest.mark.parametrize("code", [-32100, Code.CONNECTION_LOST])
async def test_what_has_failed_otherwise_has_failed(tmp_path: Path, code: int) -> None:
    (folder := tmp_path / "objects").mkdir()
    store = await ObjectStore.open(folder.as_uri(), MemoryAccount())

    async def lost() -> str:
        if code == Code.CONNECTION_LOST:
            store.failed_at = float("inf")
        raise ComponentError(code, "no", unreachable=code == Code.CONNECTION_LOST)

    task = Task("r", RECORD.flow_id, 0, Alone(), ("s",))
    with pytest.raises(ItemFailure) as failure:
        await host(store, Failing(lost)).execute("/t/put", "{}", 1, task)
    assert failure.value.error.code == code
    assert failure.value.transport is (code == Code.CONNECTION_LOST)
    await store.close()
